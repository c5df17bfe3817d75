"""Attach a training script to a clipcore server, in two lines.

    run = clipcore.connect(clipper, name="my run")
    ...
    run.log(clipper.clip_(), loss=loss)

The training thread only hands each step to the recorder; everything else happens on the link's thread. Whatever happens
on the wire, training goes on.
"""

import logging
import math
import os
import socket
import sys
import threading
import time
import traceback
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType, UnionType
from typing import Any, Literal, Self, get_args

from torch import Tensor

from clipcore import lifetime
from clipcore.announcements import Announcements
from clipcore.clipper import Clipper
from clipcore.culprits import Culprits
from clipcore.gate import Gate
from clipcore.link import Link, header_token
from clipcore.metrics import Admission
from clipcore.outbox import Outbox
from clipcore.recorder import MetricError, Record, Recorder
from clipcore.settings import Update
from clipcore.stats import ClipStats
from clipcore.wire import (
    MAX_LAYERS,
    MAX_NAME,
    MAX_OBJECT_BYTES,
    MAX_OBJECT_DEPTH,
    MAX_TEXT,
    VERSION,
    decode_number,
    fitting,
    layers_message,
    websocket_url,
)

log = logging.getLogger("clipcore")

DEFAULT_URL = "http://127.0.0.1:8420"
LAYERS_INTERVAL_S = 0.5
MAX_SENTENCES = 100

EXIT_TIMEOUT_S = 5.0

End = Literal["finished", "stopped", "failed"]

#: How a run ends whose Clipper is gone: nothing tells whether the training came to its end.
LET_GO: tuple[End, str] = ("stopped", "the script dropped its Clipper without calling run.finish()")
#: So long after that: a script whose last function has returned is about to exit, which ends the run as "finished".
LET_GO_S = 2.0


def connect(
    clipper: Clipper,
    name: str | Path | None = None,
    url: str | None = None,
    token: str | None = None,
    config: Mapping[str, Any] | Any | None = None,
) -> "Run":
    """Show a clipper's steps on a clipcore server, and let the server's page steer it.

    Returns at once, whether the server is there or not: steps are kept, in memory and then in a temporary file of at
    most 1 GiB, and sent when it answers. A run that the same Clipper has had until then ends as "stopped".
    A script that resumes from a checkpoint goes on with its run when the environment's CLIPCORE_RUN_ID is its id.

    Args:
        clipper: whose steps are logged and whose configuration the page may change.
        name: what the page calls the run; the script's file name when not given.
        url: the server, `http(s)://host:port[/path]`; else the environment's CLIPCORE_URL, else http://127.0.0.1:8420.
        token: the server's token if it asks for one; else the environment's CLIPCORE_TOKEN.
        config: what to remember with the run: a mapping, or an object with attributes such as an argparse.Namespace;
            values that JSON does not know are kept as their `str`. What does not fit into 64 KiB is left out, the
            largest values first, and the log says so.

    Returns:
        The run: a context manager that ends as "finished", or as "failed" with the traceback. Without `with` it ends
        alike when the script does, except after `sys.exit`, which then counts as "finished": nothing tells its code.
        It does not keep the Clipper alive, and ends as "stopped" soon after that is gone.

    Raises:
        ValueError: `url` is not an http or https URL, or `token` is not printable ASCII.
        TypeError: an argument is of another kind.
    """
    _require("clipper", clipper, Clipper, "a clipcore.Clipper")
    _require("name", name, str | Path | None, "a string")
    _require("url", url, str | None, "a string")
    if token is not None and not isinstance(token, str):
        raise TypeError(f"token must be a string, got {type(token).__name__}")  # which does not show it
    run = Run(
        clipper,
        name=str(name or Path(sys.argv[0]).stem or "python"),
        url=websocket_url(url or os.environ.get("CLIPCORE_URL") or DEFAULT_URL),
        token=header_token(token or os.environ.get("CLIPCORE_TOKEN")),
        config={} if config is None else _fields(config),
    )
    lifetime.begin(run)
    return run


def _require(argument: str, value: object, kind: type | UnionType, described: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{argument} must be {described}, got {value!r:.100}")


def _fields(config: object) -> Mapping[str, Any]:
    if isinstance(config, Mapping):
        return config
    if not hasattr(config, "__dict__"):
        raise TypeError(f"config must be a mapping, or an object with attributes, got {config!r:.100}")
    return vars(config)


class Run:
    """One training run on the server; made by `connect`.

    It belongs to the process that made it: in a forked child it records nothing, commands nothing and has no end.

    Attributes:
        id: the run's id on the server.
    """

    def __init__(self, clipper: Clipper, *, name: str, url: str, token: str | None, config: Mapping[str, Any]) -> None:
        self.id = os.environ.get("CLIPCORE_RUN_ID") or uuid.uuid4().hex[:12]
        self._clipper: Callable[[], Clipper | None] = weakref.ref(clipper)
        self._let_go_at = math.inf  # monotonic s
        self._left: tuple[End, str] | None = None
        self._every = clipper.exponents
        self._name = name[:MAX_NAME]
        self._said: set[str] = set()
        self._config = self._fitting("config", {str(key): value for key, value in config.items()})
        self._introduction = self._introduce(clipper)
        self._started = time.time()
        self._recorder = Recorder()
        self._collecting = threading.Lock()  # the recorder has one reader at a time
        self._outbox = Outbox()
        self._culprits = Culprits(self._warn)
        self._gate = Gate(self._obeyed)
        self._announcements = Announcements(clipper.obeyed, self._applied)
        self._admission = Admission(self._say)
        self._step = 0
        self._layers_due = 0.0
        self._short = True  # no layers were due beyond those of the first step
        self._last: ClipStats | None = None  # the newest step of a short run, unless its layers were recorded
        self._last_layers: dict[str, Any] | None = None  # to be sent when the run has ended
        self._unended = threading.Lock()  # taken by whoever ends the run
        self._over = ""  # since when nothing is recorded any more
        self._link = Link(url, token, self._outbox, hello=self._hello, collect=self._collect, receive=self._receive)
        self._link.start()

    def log(self, stats: ClipStats, /, **metrics: float | Tensor) -> None:
        """Record one step: what `clip_()` returned and any numbers of your own, such as `loss` and `lr`.

        Never blocks, never raises and never waits for the device; what is wrong with a metric is said once in the log.

        Args:
            stats: what `clipper.clip_()` returned for this step.
            **metrics: numbers, or tensors of one element on any device. One that is neither is left out.
        """
        if self._over:
            self._say(f"run.log records nothing {self._over}")
            return
        try:
            self._push(stats, self._admission.admit(metrics))
            self._step = stats.step
            self._announcements.announce()
        except Exception as error:  # noqa: BLE001  telemetry must never end somebody's training
            self._say(f"run.log could not record a step ({type(error).__name__}: {error}); training goes on")

    def proceed(self) -> bool:
        """Let the page pause, resume, single-step and stop this loop: `while run.proceed(): ...`.

        Waits while the run is paused. Returns False once the run was asked to stop.
        """
        if self._over:
            return not self._gate.stopping
        if not self._gate.in_use:
            self._gate.in_use = True
            self._tell_state(self._step)
        return self._gate.pass_()

    def unless_finished(self, state: End, reason: str) -> None:
        """End like this when the script ends, or lets the Clipper go, without `finish` and without an exception."""
        self._left = state, reason

    def stop(self) -> None:
        """Let `proceed()` return False from now on, also where it waits; a signal handler may call this."""
        self._gate.open()

    def finish(self, state: End | None = None, reason: str = "", timeout_s: float = 5.0) -> None:
        """End the run and wait until the server has all of it, at most `timeout_s` seconds. Does nothing when over.

        Args:
            state: "finished", "stopped" or "failed"; by default "stopped" when the page asked for it, else "finished".
            reason: why it stopped or failed, such as a traceback.
            timeout_s: how long to wait; what the server has not taken by then is lost, and the log says how much.

        Raises:
            ValueError: `state` is none of the three.
        """
        if state not in (None, *get_args(End)):
            raise ValueError(f"state must be one of {', '.join(get_args(End))}, got {state!r}")
        if self._over:
            return
        deadline = time.monotonic() + timeout_s
        self._end("after run.finish", state, reason, timeout_s)
        self._deliver(max(0.0, deadline - time.monotonic()))

    def _end(self, over: str, state: End | None, reason: str, timeout_s: float) -> None:
        """Take no more steps, and let the link deliver what there is."""
        if not self._unended.acquire(blocking=False):  # another thread was first
            return
        self._over = over
        state = state or ("stopped" if self._gate.stopping else "finished")
        self._gate.open()
        with self._collecting:
            records = self._recorder.flush(timeout_s)
            self._keep(records)
            if self._last is not None:  # how the layers ended, whether or not they were due
                self._recorder.push(self._last, {}, layers=True)
                records += self._recorder.flush(timeout_s)
            self._last_layers = self._newest_layers(records)
        self._announcements.end()
        self._outbox.add_note("finish", time=time.time(), state=state, reason=reason[-MAX_TEXT:])
        self._link.end()

    def _deliver(self, timeout_s: float) -> None:
        lifetime.end(self)
        if not self._link.close(timeout_s):
            match self._outbox.pending_rows:
                case 0:
                    lost = "the end of the run, which is lost"
                case 1:
                    lost = "the last step, which is lost"
                case rows:
                    lost = f"the last {rows:,} steps, which are lost"
            log.warning("run %s: the server did not acknowledge %s", self.id, lost)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish_after(error)

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, name={self._name!r}, step={self._step})"

    def _leave_to_parent(self) -> None:
        """In a forked child: there is no link here, and locks that its thread held are held for ever."""
        self._over = self._over or "in a forked process"
        self._gate = Gate(self._obeyed)

    def _finish_at_exit(self) -> None:
        """The script ended without `finish`: an exception that nothing caught means failed."""
        error = getattr(sys, "last_value", None)
        if self._over:
            self._deliver(EXIT_TIMEOUT_S)
        elif error is None and self._left is not None:
            self.finish(*self._left)
        else:
            self._finish_after(error)

    def _give_way_to(self, other: "Run") -> None:
        """Let the link's thread end this run if the other one has its Clipper now."""
        if self._clipper() is other._clipper():
            self._left = "stopped", "its Clipper was given to another run"
            self._announcements.end()
            self._clipper, self._let_go_at = _nobody, -math.inf

    def _finish_after(self, error: BaseException | None) -> None:
        match error:
            case None:
                self.finish()
            case KeyboardInterrupt():
                self.finish("stopped", "interrupted from the keyboard")
            case SystemExit(code=0 | None):
                self.finish()
            case _:
                self.finish("failed", "".join(traceback.format_exception(error)))

    # --- called on the training thread ---

    def _push(self, stats: ClipStats, metrics: Mapping[str, float | Tensor]) -> None:
        now = time.monotonic()
        with_layers = now >= self._layers_due or stats.exponents is not None  # the two travel in one message
        if with_layers:
            self._short = self._layers_due == 0.0
            self._layers_due = now + LAYERS_INTERVAL_S
        # A long run would have to free each step's numbers here, and has had layers just now.
        self._last = stats if self._short and not with_layers else None
        try:
            self._recorder.push(stats, metrics, layers=with_layers)
        except MetricError as error:
            self._say(f"run.log leaves out what is no number: {error}")
            self._push(stats, {name: value for name, value in metrics.items() if name != error.name})

    def _obeyed(self, command_id: str, command: str) -> None:
        clipper = self._clipper()
        match command:
            case "step":
                step = self._step + self._gate.steps_allowed
            case "resume":
                step = self._step + 1
            case _:  # no step obeys these: the loop waits, or ends, after this one
                step = self._step
        self._tell_state(step)  # first, so that whoever has the answer finds the run in that state
        self._note_applied(command_id, step, clipper.config if clipper else {}, command=command)

    def _tell_state(self, step: int) -> None:
        """What the loop does; one that was asked to stop still runs its script's end, and obeys no more."""
        gate = self._gate
        data = {"state": "paused" if gate.paused and not gate.stopping else "running", "commands": not gate.stopping}
        text = "stopping" if gate.stopping else ""
        self._outbox.add_note("event", step=step, time=time.time(), kind="state", text=text, data=data)

    # --- called on the link's thread ---

    def _hello(self) -> dict[str, Any]:
        if (clipper := self._clipper()) is not None:
            self._introduction = self._introduce(clipper)
        return {
            "type": "hello",
            "version": VERSION,
            "run": self.id,
            "name": self._name,
            "config": self._config,
            **self._introduction,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": self._started,
        }

    def _collect(self) -> dict[str, Any] | None:
        with self._collecting:
            last, self._last_layers = self._last_layers, None
            records = self._recorder.take()
            self._keep(records)
        self._announcements.announce()
        if (clipper := self._clipper()) is None:
            self._let_go_at = min(self._let_go_at, time.monotonic())
            if time.monotonic() - self._let_go_at >= LET_GO_S:
                self._end("since its Clipper is gone", *(self._left or LET_GO), EXIT_TIMEOUT_S)
            return last
        self._every = clipper.exponents
        return last or self._newest_layers(records)

    def _newest_layers(self, records: Sequence[Record]) -> dict[str, Any] | None:
        newest = next((record for record in reversed(records) if record.layers is not None), None)
        return newest and layers_message(newest, self._every)

    def _receive(self, message: dict[str, Any]) -> None:
        try:
            if message["type"] == "command":
                self._gate.submit(message["id"], message["command"])
            else:
                if (clipper := self._clipper()) is None:
                    raise ValueError("the training is over: its Clipper is gone")
                patch = {name: decode_number(value) for name, value in message["patch"].items()}
                self._announcements.expect(message["id"], lambda: clipper.update(**patch))
        except Exception as error:  # noqa: BLE001  whoever asked gets an answer, and the link lives on
            self._outbox.add_note("rejected", id=message["id"], time=time.time(), reason=str(error)[:MAX_TEXT])

    # --- called on either ---

    def _keep(self, records: Sequence[Record]) -> None:
        self._outbox.add_rows(records)
        self._culprits.look(records)

    def _warn(self, of: Record, text: str, data: dict[str, Any]) -> None:
        self._outbox.add_note("event", step=of.step, time=of.time, kind="warning", text=text, data=data)

    def _introduce(self, clipper: Clipper) -> dict[str, Any]:
        return {
            "control": self._fitting("control", clipper.config),
            "knobs": self._fitting("knobs", {knob.name: knob.schema() for knob in clipper.knobs}),
            "layers": [name[:MAX_NAME] for name in clipper.names[:MAX_LAYERS]],
            "sizes": clipper.sizes[:MAX_LAYERS],
        }

    def _applied(self, control_id: str | None, update: Update) -> None:
        self._note_applied(control_id, update.step, update.config, changes=update.changes)

    def _note_applied(
        self,
        control_id: str | None,
        step: int | None,
        config: Mapping[str, Any] | None,
        *,
        changes: Mapping[str, Any] | None = None,
        command: str | None = None,
    ) -> None:
        self._outbox.add_note(
            "applied",
            id=control_id,
            step=step,
            time=time.time(),
            config=self._fitting("control", config or {}),
            changes=self._fitting("changes", changes or {}),
            command=command,
        )

    def _fitting(self, what: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that the server takes; say once which others are left out, and why."""
        kept = fitting(fields)
        if left_out := [name for name in fields if name not in kept]:
            self._say(
                f"the server is told {what} without {', '.join(map(repr, left_out))[:200]}: it takes at most "
                f"{MAX_OBJECT_BYTES:,} bytes of JSON, nested at most {MAX_OBJECT_DEPTH} levels deep"
            )
        return kept

    def _say(self, sentence: str) -> None:
        """Warn, once for each different sentence and not without end."""
        if sentence not in self._said and len(self._said) < MAX_SENTENCES:
            self._said.add(sentence)
            log.warning("%s", sentence)


def _nobody() -> None:
    """A reference to a Clipper that is gone."""
