"""Where everything meets: takes in what trainers send, writes it down, then shows it and carries requests back.

One event loop, no locks but a run's `writing`. A viewer is only a position: whoever reads slowly holds nothing up and
keeps nothing in memory; it gets what it missed from the ring, or thinned from the store.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from pydantic import JsonValue

from clipcore.settings import difference
from server.catalogue import Catalogue
from server.changes import Changes
from server.endings import Ending
from server.fanout import Channel, FanOut
from server.live import LiveRun
from server.metrics import STEPS
from server.peer import TAKEN_OVER, BadMessageError
from server.protocol import (
    DESCRIPTION,
    MAX_COUNT,
    Applied,
    Command,
    Event,
    Finish,
    FromTrainer,
    Hello,
    Layers,
    LineKind,
    LogEntry,
    LoopState,
    Note,
    Patch,
    Rejected,
    RunInfo,
    Steps,
)
from server.rows import after, numbered, without
from server.sql.reading import UnknownRunError
from server.sql.writing import MAX_OWN_METRICS
from server.store import Store
from server.trainer import Answer, LeftOut, Refusal, TakenOverError, Trainer, asked_id
from server.viewer import Viewer
from server.wording import changes_line

log = logging.getLogger("clipcore.server")


class Hub:
    """All runs, who feeds them and who watches them.

    Args:
        store: where everything is kept.
        keep_runs: runs to keep; beyond that the oldest that nobody feeds are deleted.

    Attributes:
        catalogue: the runs.

    Raises:
        StoreError: the store cannot be read.
    """

    def __init__(self, store: Store, keep_runs: int) -> None:
        self._store = store
        self._fan_out = FanOut(store, lambda: self.catalogue.brief)
        self.catalogue = Catalogue(store, keep_runs, on_change=self._fan_out.list_changed)

    def resume(self) -> list[str]:
        """At the start: see to what the server before this one left behind.

        Returns:
            Runs of its workers that are not over, though no worker outlives its server.
        """
        self.catalogue.purge_in_time()
        return [run.known.id for run in self.catalogue if run.known.workload and not run.over]

    async def edit(self, run_id: str, **changes: str) -> RunInfo:
        """Change a run's name or note.

        Raises:
            UnknownRunError: there is no such run.
            StoreError: it could not be written.
        """
        async with self.catalogue.run(run_id).writing:
            run = self.catalogue.run(run_id)  # it may have gone meanwhile
            await self._update(run, **changes, updated=run.known.updated)
        return run.info

    # --- trainers ---

    @asynccontextmanager
    async def attached(self, trainer: Trainer, hello: Hello) -> AsyncIterator[LiveRun]:
        """Let a trainer feed its run, known or new, within this context; one that feeds it already is sent away."""
        now = time.time()
        run = await self.catalogue.take_up(
            RunInfo(id=hello.run, name=hello.name, state="running", created=now, updated=now)
        )
        replaced, run.trainer = run.trainer, trainer
        log.info("run %s (%s): %s feeds it", hello.run, hello.name, trainer.name)
        try:
            if replaced is not None:
                await replaced.close(TAKEN_OVER, "another connection has taken this run over")
            await self._introduce(run, hello)
            yield run
        finally:
            trainer.give_up_requests()
            await self._detach(trainer, run)

    async def _introduce(self, run: LiveRun, hello: Hello) -> None:
        async with run.writing:
            run.has_returned = run.over
            state = "running" if run.known.state == "starting" else run.known.state
            described = {name: getattr(hello, name) for name in DESCRIPTION}
            described["state"] = state  # not its name: a person may have given it another
            if _is_another(run, hello):  # whose loop has yet to say that it obeys
                described |= {"commands": False, "state": "running" if state == "paused" else state}
            if changes := _changed_meanwhile(run, hello):
                pairs: dict[str, JsonValue] = {name: [*pair] for name, pair in changes.items()}
                data: dict[str, JsonValue] = {"changes": pairs, "command": None, "id": None}
                step = min(run.known.step + 1, MAX_COUNT)
                await self._note(run, "applied", changes_line(changes), data, step=step, **described)
            else:
                await self._update(run, **described)
            run.fed_since = hello.started

    async def _detach(self, trainer: Trainer, run: LiveRun) -> None:
        if run.trainer is not trainer:
            return
        run.trainer = None
        log.info("run %s: %s has left", run.known.id, trainer.name)
        async with run.writing:
            if run.trainer is None:
                run.forget_rows()
            if run not in self.catalogue:
                return  # it has made room for another one
            if run.over or run.trainer is not None:
                await self._update(run)
            else:
                await self._note(run, "state", "the trainer is disconnected", {"state": "disconnected"})

    async def take(self, trainer: Trainer, run: LiveRun, message: FromTrainer | LeftOut) -> None:
        """Commit what a trainer sent; what is committed already is passed over.

        Raises:
            TakenOverError: another connection feeds the run now.
            BadMessageError: the message does not belong here.
            StoreError: it could not be written; nothing of it counts.
        """
        async with run.writing:
            if run.trainer is not trainer:
                raise TakenOverError
            match message:
                case Steps():
                    await self._take_steps(run, message)
                case Layers():
                    await self._take_layers(run, message)
                case Hello():
                    raise BadMessageError("expected hello only once")
                case LeftOut():
                    await self._leave_out(trainer, run, message)
                case _ if message.n > run.last_note:
                    await self._take_note(run, message)
        if isinstance(message, Applied | Rejected):
            trainer.answer(message)

    async def _take_steps(self, run: LiveRun, message: Steps) -> None:
        rows = after(numbered(message.seq, message.columns), run.known.seq)
        if not len(rows):
            return
        missing = rows.seq[0] - run.known.seq - 1
        await self._go_on(run)
        left_out = await asyncio.wrap_future(self._store.append(run.known.id, rows))
        run.add_rows(without(rows, left_out))
        STEPS.inc(len(rows))
        self._fan_out.changed(run)
        if missing:
            steps = "the step" if missing == 1 else f"{missing:,} steps"
            await self._note(run, "warning", f"{steps} before step {rows.step[0]:,} never arrived", {})
        if left_out and not run.is_full:
            run.is_full = True
            more = f" and {len(left_out) - 1} more" if left_out[1:] else ""
            text = f"metric {left_out[0]!r}{more} left out: a run has at most {MAX_OWN_METRICS} metrics of its own"
            await self._note(run, "warning", text, {})

    async def _go_on(self, run: LiveRun) -> None:
        """What is new of a run that was over, from a trainer that has come since, makes it run again."""
        if run.over and run.has_returned:
            run.has_returned = False
            said: dict[str, JsonValue] = {"state": "running"}
            fresh: dict[str, Any] = {"state": "running", "reason": "", "cut_short": False, "commands": False}
            await self._note(run, "state", "resumed after it had ended", said, **fresh)

    async def _take_layers(self, run: LiveRun, message: Layers) -> None:
        await asyncio.wrap_future(self._store.add_layers(run.known.id, message))
        run.set_layers(message)
        self._fan_out.changed(run)

    async def _leave_out(self, trainer: Trainer, run: LiveRun, message: LeftOut) -> None:
        """Say so, of each note but of a trainer's other messages only the first of a type: there may be many."""
        if not (message.note > run.last_note or trainer.is_news(message)):
            return
        text = f"a message of type {message.type!r} is left out: {message.reason}"
        log.warning("run %s: %s", run.known.id, text)
        await self._note(run, "warning", text, {}, of=message)

    async def _take_note(self, run: LiveRun, message: Note) -> None:
        match message:
            case Applied():
                text = message.command or changes_line(message.changes)
                data = message.model_dump(mode="json", include={"changes", "command"}) | {"id": asked_id(message.id)}
                await self._note(run, "applied", text, data, of=message, control=message.config)
            case Rejected():
                await self._note(run, "rejected", message.reason, {"id": asked_id(message.id)}, of=message)
            case Event(kind="state"):
                await self._go_on(run)
                loop = LoopState.model_validate(message.data)  # checked when it was read
                changes: dict[str, Any] = {} if run.over else {"state": loop.state, "commands": loop.commands}
                await self._note(run, "state", message.text or loop.state, message.data, of=message, **changes)
            case Event():
                await self._note(run, message.kind, message.text, message.data, of=message)
            case Finish():
                await self._end(run, Ending(message.state, message.reason), message)

    async def _end(self, run: LiveRun, ending: Ending, of: Finish | None = None) -> None:
        data: dict[str, JsonValue] = {"state": ending.state, "reason": ending.reason}
        await self._note(run, "finish", ending.state, data, of=of, **({} if run.over else asdict(ending)))

    async def _note(
        self,
        run: LiveRun,
        kind: LineKind,
        text: str,
        data: dict[str, JsonValue],
        *,
        of: Note | LeftOut | None = None,
        step: int | None = None,
        **changes: Any,
    ) -> None:
        """Add a line to the run's log, with what it changes about the run; `of` is the trainer's note it comes from."""
        known = run.changed(**changes)
        if step is None:
            step = of.step if isinstance(of, Applied | Event) else known.step
        entry = LogEntry(
            n=run.line + 1,
            step=step,
            time=known.updated if of is None or isinstance(of, LeftOut) else of.time,
            kind=kind,
            text=text,
            data=data,
        )
        note = of.note if isinstance(of, LeftOut) else of.n if of else 0
        await asyncio.wrap_future(self._store.add_line(known, entry, note or None))
        run.last_note = note or run.last_note
        run.add_line(entry)
        self._updated(run, known)

    async def _update(self, run: LiveRun, **changes: Any) -> None:
        known = run.changed(**changes)
        await asyncio.wrap_future(self._store.save(known))
        self._updated(run, known)

    def _updated(self, run: LiveRun, known: RunInfo) -> None:
        if run.update(known):
            self._fan_out.list_changed()
        self._fan_out.changed(run)

    # --- requests ---

    async def ask(self, run_id: str, id_: str, request: Patch | Command) -> Answer:
        """Ask a run's trainer to change the clipper or the loop; waits for its answer.

        Raises:
            UnknownRunError: there is no such run.
        """
        run = self.catalogue.run(run_id)
        if not request:
            return Refusal('nothing to change: a patch names at least one setting, such as {"max_norm": 0.5}')
        if run.trainer is None:
            return Refusal(f"no trainer is attached to run {run_id!r} ({run.info.state})", attached=False)
        if not isinstance(request, str):
            run.refresh()  # all viewers see what the trainer has yet to answer
            self._fan_out.changed(run)
        return await run.trainer.ask(id_, request)

    # --- workers, as the supervisor reports them ---

    async def worker_started(self, run_id: str, workload: str, config: dict[str, JsonValue]) -> None:
        """A worker process for this run is about to start."""
        now = time.time()
        await self.catalogue.take_up(
            RunInfo(
                id=run_id, name=workload, state="starting", created=now, updated=now, workload=workload, config=config
            )
        )

    async def worker_exited(self, run_id: str, ending: Ending) -> None:
        """A worker process has ended; what it said itself about its end stands."""
        try:
            run = self.catalogue.run(run_id)
        except UnknownRunError:
            return
        async with run.writing:
            if not run.over:
                await self._end(run, ending)

    # --- viewers ---

    def watch(self, viewer: Viewer, run_id: str | None) -> Channel:
        """Let a viewer watch a run (None: the newest, or a first one to come).

        Raises:
            UnknownRunError: there is no such run.
        """
        run = self.catalogue.run(run_id) if run_id is not None else self.catalogue.newest
        return self._fan_out.join(viewer, run)

    @property
    def trainers(self) -> int:
        """How many feed a run."""
        return sum(run.trainer is not None for run in self.catalogue)

    @property
    def viewers(self) -> int:
        """How many watch something."""
        return self._fan_out.viewers

    def unwatch(self, viewer: Viewer) -> None:
        """Let a viewer watch nothing any more."""
        self._fan_out.leave(viewer)


def _changed_meanwhile(run: LiveRun, hello: Hello) -> Changes:
    """What another process of the run begins with that the one before did not end with.

    What the same process has changed it tells itself: its notes come again after a reconnect.
    """
    return difference(run.known.control, hello.control) if _is_another(run, hello) and run.known.seq else {}


def _is_another(run: LiveRun, hello: Hello) -> bool:
    """Whether another process than before feeds the run.

    When the server has been restarted, the time tells: a process of before was there at the run's last sign of life.
    """
    return hello.started > run.known.updated if run.fed_since is None else hello.started != run.fed_since
