"""Trainings as child processes of the server: started, asked to end, and explained when they end by themselves.

A child lives no longer than its server, however that ends: its standard input is a pipe that closes with the server
(see `server.worker`).
"""

import asyncio
import logging
import os
import signal
import sys
import uuid
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from server.endings import ASKED, WITH_SERVER, Ending
from server.workloads import find
from server.workloads.options import Options
from server.writer import StoreError

log = logging.getLogger("clipcore.server")

STOP_GRACE_S = 10.0  # for the step at hand and the delivery of what is left
CLOSE_GRACE_S = 2.0  # the server itself is expected to end within seconds
TELL_INTERVAL_S = 5.0  # between tries to have an end written down while the disk is full
KEPT_OUTPUT_BYTES = 50_000  # a traceback is at the end

_PACKAGES = Path(__file__).parents[1]


class TooManyWorkersError(Exception):
    """As many train as may at a time; `running` names them as the page does."""

    def __init__(self, running: Iterable[str], most: int) -> None:
        names = " or ".join(running)
        what_helps = f"stop {names}, or wait" if names else "start it elsewhere"
        super().__init__(f"no more workers may train at once than CLIPCORE_MAX_WORKERS (={most}): {what_helps}")


class NotStartedError(Exception):
    """The system does not let a worker start."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the worker could not be started: {error}")


@dataclass
class _Worker:
    workload: str
    process: Process
    watch: asyncio.Task[None]
    asked: Ending | None = None  # what it was asked for


class Supervisor:
    """Starts and ends the server's workers.

    Args:
        url: where workers reach this server, http.
        token: what they show it, if it asks for one.
        most: how many may train at a time.
        on_start: awaited as `on_start(run_id, workload, config)` before a worker is started.
        on_exit: awaited as `on_exit(run_id, ending)` when it has ended; what the worker told the server itself
            about its end is more exact.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        most: int,
        on_start: Callable[[str, str, dict[str, JsonValue]], Awaitable[None]],
        on_exit: Callable[[str, Ending], Awaitable[None]],
    ) -> None:
        self._environment = {"CLIPCORE_URL": url, "CLIPCORE_TOKEN": token or ""}
        self._most = most
        self._on_start = on_start
        self._on_exit = on_exit
        self._workers: dict[str, _Worker] = {}
        self._untold: set[asyncio.Task[None]] = set()  # ends that are yet to be written down
        self._starting = asyncio.Lock()

    @property
    def workers(self) -> int:
        """How many are training."""
        return len(self._workers)

    async def start(self, workload: str, config: Mapping[str, JsonValue]) -> str:
        """Start a worker and return its run's id.

        Raises:
            ValueError: an unknown workload, or an option that is not allowed.
            TooManyWorkersError: as many are running already as may at a time.
            NotStartedError: the system does not let it start; its run has failed.
            StoreError: its run could not be written down.
        """
        options = find(workload).options.parse(config)
        async with self._starting:
            if len(self._workers) >= self._most:
                names = (f"{worker.workload} {run_id[:4]}" for run_id, worker in self._workers.items())
                raise TooManyWorkersError(names, self._most)
            run_id = uuid.uuid4().hex[:12]
            await self._on_start(run_id, workload, options.model_dump(mode="json"))
            try:
                process = await self._spawn(run_id, workload, options)
            except OSError as error:
                refusal = NotStartedError(error)
                await self.tell(run_id, Ending("failed", str(refusal)))
                raise refusal from error
            watch = asyncio.create_task(self._watch(run_id, process))
            self._workers[run_id] = _Worker(workload, process, watch)
            log.info("run %s: %s trains in process %d", run_id, workload, process.pid)
        return run_id

    async def stop(self, run_id: str) -> None:
        """Let a worker end after the step at hand; kill it when that takes too long. Returns when it has ended.

        Raises:
            KeyError: no worker trains this run.
        """
        await _end(self._workers[run_id], ASKED, STOP_GRACE_S)

    async def tell(self, run_id: str, ending: Ending) -> None:
        """Tell how a worker has ended; again and again while that cannot be written down, which nobody waits for."""
        try:
            await self._on_exit(run_id, ending)
        except StoreError as error:
            log.error("run %s has ended (%s), which cannot be written down yet: %s", run_id, ending.state, error)
            telling = asyncio.create_task(self._tell_later(run_id, ending))
            self._untold.add(telling)
            telling.add_done_callback(self._untold.discard)

    async def close(self) -> None:
        """End all workers, quickly. Ends that could not be written down are the next server's to tell."""
        for telling in self._untold:
            telling.cancel()
        async with self._starting:
            await asyncio.gather(*(_end(worker, WITH_SERVER, CLOSE_GRACE_S) for worker in self._workers.values()))

    async def _spawn(self, run_id: str, workload: str, options: Options) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "server.worker", workload),
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            cwd=_PACKAGES,  # -m looks here first, and a directory named server may be anywhere else
            env={
                "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while a browser wants their core cost 30 x
                "PYTHONFAULTHANDLER": "1",
                **os.environ,
                **self._environment,
                "CLIPCORE_RUN_ID": run_id,
            },
            start_new_session=True,  # Ctrl-C in the server's terminal is the server's to answer
        )
        assert process.stdin is not None  # it was asked for
        process.stdin.write(options.model_dump_json().encode() + b"\n")  # read when the worker has got so far
        return process

    async def _watch(self, run_id: str, process: Process) -> None:
        output = await _last_output(process)
        code = await process.wait()
        asked = self._workers.pop(run_id).asked
        ending = _ending(code, output, asked)
        log.info("run %s: %s", run_id, f"{ending.state}, {ending.reason}" if ending.reason else ending.state)
        await self.tell(run_id, ending)

    async def _tell_later(self, run_id: str, ending: Ending) -> None:
        while True:
            await asyncio.sleep(TELL_INTERVAL_S)
            with suppress(StoreError):
                await self._on_exit(run_id, ending)
                return


async def _last_output(process: Process) -> str:
    """Read all that a process prints, and keep the end."""
    assert process.stdout is not None  # it was asked for
    kept = b""
    while chunk := await process.stdout.read(4096):
        kept = (kept + chunk)[-KEPT_OUTPUT_BYTES:]
    return kept.decode(errors="replace").strip()


async def _end(worker: _Worker, asked: Ending, grace_s: float) -> None:
    worker.asked = worker.asked or asked
    for send in (worker.process.terminate, worker.process.kill):
        with suppress(ProcessLookupError):
            send()
        done, _ = await asyncio.wait([worker.watch], timeout=grace_s)
        if done:
            return


def _ending(code: int, output: str, asked: Ending | None) -> Ending:
    """What an exit code means, negative for a signal."""
    if asked and code <= 0:
        return asked
    if code == 0:
        return Ending("finished")
    if code > 0:
        return Ending("failed", output or f"ended with exit code {code}")
    name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
    cause = "killed by SIGKILL (out of memory?)" if name == "SIGKILL" else f"killed by {name}"
    return Ending("failed", f"{cause}\n\n{output}".strip())
