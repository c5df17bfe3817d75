"""The wire, version 1: every message between trainer, server and browser, as JSON text frames.

    trainer  --hello, steps, layers, applied, rejected, event, finish-->  server   (/ws/train)
             <--welcome, ack, control, command, error--
    browser  --subscribe, control, command-->                             server   (/ws/view)
             <--snapshot, steps, layers, status, applied, rejected, event, runs, error--

Numbers: NaN, Infinity and -Infinity travel as those strings; `null` in a column means "not logged at this step".

Delivery: each step of a run has a `seq` (1, 2, ...), each of the trainer's other lasting messages (applied, rejected,
event, finish) a number `n` (1, 2, ...). `ack` and `welcome` name the last of both that is committed; a trainer keeps
what lies beyond and sends it again after a reconnect, so the server may see a number twice and keeps the first. Numbers
rise but may have gaps: rows gave way because the server was away for too long.
`layers` is a picture of the moment, not numbered: the newest one counts.

One example of every message lives in `tests/fixtures/messages.json`, read by the tests of both sides.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

VERSION = 1

#: What hello tells of a run and `RunInfo` remembers; it can be long, so that lists of runs leave it out.
DESCRIPTION = ("config", "control", "knobs", "layers", "sizes")
#: Numeric columns that every Clipper step carries (see `clipcore.stats`); others in a batch are the user's metrics.
STEP_METRICS = (
    "threshold",
    "norm",
    "clipped_norm",
    "coef",
    "clamped",
    "clamped_fraction",
    "clipped_tensors",
    "nonfinite",
    "max_abs",
    "skipped",
    "loss",
    "lr",
)
RESERVED_COLUMNS = ("seq", "step", "time", "mode")

MAX_ROWS = 4096
MAX_METRICS = 64
MAX_LAYERS = 10_000
MAX_KNOBS = 32
MAX_NAME = 200
MAX_TEXT = 100_000
#: Of an object with fields of any name: what a run remembers, a patch, the data of an event.
MAX_OBJECT_BYTES = 65_536
MAX_OBJECT_DEPTH = 32

AnyObject = TypeVar("AnyObject", bound=Mapping[str, Any])


def bounded(value: AnyObject) -> AnyObject:
    """The object; a ValueError when it is too large or nested too deep."""
    if _is_deeper(value, MAX_OBJECT_DEPTH):
        raise ValueError(f"must be nested at most {MAX_OBJECT_DEPTH} levels deep, got more")
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_OBJECT_BYTES:
        raise ValueError(f"must have at most {MAX_OBJECT_BYTES:,} bytes as JSON, got {size:,}")
    return value


def _is_deeper(value: object, levels: int) -> bool:
    # `clipcore.wire` has the same, to leave out what this refuses: the wire knows neither side.
    if not isinstance(value, dict | list | tuple):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
ControlId = Annotated[str, StringConstraints(min_length=1, max_length=80)]
MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_./-]{0,63}$")]
MAX_COUNT = 2**53 - 1  # the largest integer that JavaScript holds exactly; SQLite ends at 2**63 - 1
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Ordinal = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Time = Annotated[float, Field(ge=0, lt=253_402_300_800, allow_inf_nan=False)]  # unix s; Python's years end with 9999
Mode = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]  # no formula, were it in a spreadsheet
Object = Annotated[dict[str, JsonValue], AfterValidator(bounded)]
Patch = Object
Schema = dict[str, JsonValue]
Knobs = Annotated[dict[Name, Schema], Field(max_length=MAX_KNOBS), AfterValidator(bounded)]
Changes = Annotated[dict[str, tuple[JsonValue, JsonValue]], AfterValidator(bounded)]  # name -> (before, after)
State = Literal["starting", "running", "paused", "disconnected", "finished", "stopped", "failed"]
Outcome = Literal["finished", "stopped", "failed"]
LineKind = Literal["applied", "rejected", "state", "note", "warning", "finish"]
Command = Literal["pause", "resume", "step", "stop"]


class Message(BaseModel):
    """What all messages share: no unknown fields, immutable, non-finite numbers as strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class Columns(BaseModel):
    """A batch of steps, one list a column, all of one length; user metrics are columns of their own."""

    model_config = ConfigDict(extra="allow", frozen=True, ser_json_inf_nan="strings")
    __pydantic_extra__: dict[MetricName, list[float | None]] = Field(init=False)

    step: list[Count] = Field(max_length=MAX_ROWS)
    time: list[Time] = Field(max_length=MAX_ROWS)
    mode: list[Mode] = Field(max_length=MAX_ROWS)

    @property
    def metrics(self) -> dict[str, list[float | None]]:
        """The numeric columns beyond step, time and mode."""
        return self.__pydantic_extra__

    def __len__(self) -> int:
        return len(self.step)

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        if taken := sorted(self.metrics.keys() & set(RESERVED_COLUMNS)):
            raise ValueError(f"a metric may not be called {taken[0]!r}: that is a column of every row already")
        columns: dict[str, Sequence[object]] = {"time": self.time, "mode": self.mode, **self.metrics}
        for name, column in columns.items():
            if len(column) != len(self.step):
                raise ValueError(f"column {name!r} must be as long as step (={len(self.step)}), got {len(column)}")
        return self


class Rows(Columns):
    """Columns as a browser gets them: each row with its seq, for a viewer may have been sent a selection."""

    seq: list[Count]


class Histogram(Message):
    """Gradient elements by their float32 exponent byte; only the non-empty range of the 256 bins travels."""

    first: int = Field(ge=0, le=255)  # exponent byte of counts[0]
    counts: list[Count] = Field(max_length=256)
    zeros: Count
    every: int = Field(ge=1)  # one block in `every` was looked at; 1 = exact


# --- trainer -> server ---


class Hello(Message):
    """A trainer introduces its run, the first time and after every reconnect."""

    type: Literal["hello"] = "hello"
    version: int
    run: RunId
    name: Name
    config: Object = {}  # whatever the user wants to remember with the run
    control: Patch  # the clipper's effective configuration
    knobs: Knobs = {}  # what `control` holds beside the clipping
    layers: list[Name] = Field(default=[], max_length=MAX_LAYERS)
    sizes: list[Count] = Field(default=[], max_length=MAX_LAYERS)  # elements of each layer
    host: Annotated[str, StringConstraints(max_length=255)] = ""
    pid: Count = 0
    started: Time


class Steps(Message):
    """Rows seq, seq + 1, ... of the run."""

    type: Literal["steps"] = "steps"
    seq: Ordinal
    columns: Columns

    @model_validator(mode="after")
    def _countable(self) -> Self:
        if (metrics := len(self.columns.metrics)) > MAX_METRICS:
            raise ValueError(f"{metrics} metrics in one batch; at most {MAX_METRICS} are allowed")
        if (last := self.seq + len(self.columns) - 1) > MAX_COUNT:
            raise ValueError(f"the last row's seq must be at most {MAX_COUNT}, got {last}")
        return self


class Layers(Message):
    """Per-layer numbers of one step, in the order of the hello's `layers`, and the exponent histogram."""

    type: Literal["layers"] = "layers"
    step: Count
    norm: list[float] = Field(max_length=MAX_LAYERS)
    coef: list[float] = Field(max_length=MAX_LAYERS)
    clamped: list[float] = Field(max_length=MAX_LAYERS)
    histogram: Histogram | None = None

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        lengths = len(self.norm), len(self.coef), len(self.clamped)
        if len(set(lengths)) > 1:
            raise ValueError("norm, coef and clamped must be as long as each other, got {}, {} and {}".format(*lengths))
        return self


class Applied(Message):
    """A patch (or command) took effect: `step` is the first step that obeyed.

    Of the commands `resume` and `step` that is the next step to run; `pause` and `stop` hold after the last, `step`.
    The run's state has changed before.
    """

    type: Literal["applied"] = "applied"
    n: Ordinal
    id: ControlId | None = None  # None: the script changed it itself
    step: Count
    time: Time
    config: Patch  # the whole effective configuration
    changes: Changes = {}  # what the patch has changed
    command: Command | None = None


class Rejected(Message):
    """A patch or command was refused and changed nothing."""

    type: Literal["rejected"] = "rejected"
    n: Ordinal
    id: ControlId
    time: Time
    reason: Text


class Event(Message):
    """Something worth a line in the change log; kind "state" carries {"state", "commands"} of the training loop."""

    type: Literal["event"] = "event"
    n: Ordinal
    step: Count
    time: Time
    kind: Literal["state", "note", "warning"]
    text: Text = ""
    data: Object = {}


class LoopState(Message):
    """The data of an event of kind "state"."""

    state: Literal["running", "paused"]
    commands: bool = False  # the loop obeys pause, resume, step and stop; it does no more once it was asked to stop


class Finish(Message):
    """The run is over."""

    type: Literal["finish"] = "finish"
    n: Ordinal
    time: Time
    state: Outcome
    reason: Text = ""  # a traceback when failed


# --- server -> trainer ---


class Welcome(Message):
    """The answer to hello: what of this run is already committed."""

    type: Literal["welcome"] = "welcome"
    run: RunId
    acked: Count  # last committed seq
    n: Count  # last committed note


class Ack(Message):
    """Everything up to and including these is committed."""

    type: Literal["ack"] = "ack"
    seq: Count
    n: Count


class Control(Message):
    """Change the clipper: one atomic patch of its configuration. From a browser, `run` says whose."""

    type: Literal["control"] = "control"
    id: ControlId
    run: RunId | None = None
    patch: Patch


class CommandMessage(Message):
    """Pause, resume, single-step or stop the training loop. From a browser, `run` says whose."""

    type: Literal["command"] = "command"
    id: ControlId
    run: RunId | None = None
    command: Command


class Error(Message):
    """The last frame before the server closes a connection, or the answer to a message it could not read."""

    type: Literal["error"] = "error"
    reason: Text


# --- browser -> server ---


class Subscribe(Message):
    """Show this run (None: the newest) from after `since` (the seq the page already has)."""

    type: Literal["subscribe"] = "subscribe"
    run: RunId | None = None
    since: Count | None = None


class Ping(Message):
    """Is anybody there? A page that has heard nothing for a while cannot tell a quiet line from a dead one."""

    type: Literal["ping"] = "ping"


# --- server -> browser ---


class Waiting(Message):
    """A change of the clipper that somebody asked for and the trainer has not answered yet."""

    id: ControlId
    patch: Patch


class RunInfo(Message):
    """What lists and headers say about a run; also what REST returns."""

    id: RunId
    name: str
    note: str = ""  # what a person wrote about it
    state: State
    reason: str = ""  # why it failed or stopped
    cut_short: bool = False  # nobody meant it to stop: its server ended
    created: float  # unix s
    updated: float  # unix s, last sign of life
    seq: Count = 0  # last committed row
    step: Count = 0  # its step
    attached: bool = False  # a trainer is connected right now
    commands: bool = False  # a trainer is attached whose loop obeys pause, resume, step and stop
    workload: str | None = None  # a built-in workload of this server's worker
    config: dict[str, JsonValue] = {}
    control: dict[str, JsonValue] = {}  # the clipper's effective configuration
    knobs: dict[str, Schema] = {}  # numbers of the training in `control`, beside the clipping: name -> JSON Schema
    layers: list[str] = []
    sizes: list[int] = []  # elements of each layer
    waiting: list[Waiting] = []  # oldest first; never in a list of runs


class LogEntry(Message):
    """One line of a run's change log: a lasting message of the trainer, or what the server saw happen."""

    n: Count
    step: Count
    time: float
    kind: LineKind
    text: str = ""
    data: dict[str, JsonValue] = {}


class Snapshot(Message):
    """Where a page starts, or starts again: the run, its history fitted to a chart's width, its change log."""

    type: Literal["snapshot"] = "snapshot"
    run: RunInfo | None  # None: there is no run yet
    rows: Rows | None = None
    exact: bool = True  # every row is there; False: only each bin's extremes and non-finite rows
    resumed: bool = False  # rows continue what the page has (its `since`); False: they replace it
    log: list[LogEntry] = []
    layers: Layers | None = None
    runs: list[RunInfo] = []
    read_only: bool = False


class ViewSteps(Message):
    """New rows of the subscribed run, after all that was sent before."""

    type: Literal["steps"] = "steps"
    run: RunId
    rows: Rows
    exact: bool = True


class ViewLayers(Message):
    """The newest per-layer numbers of the subscribed run."""

    type: Literal["layers"] = "layers"
    run: RunId
    layers: Layers


class Status(Message):
    """The subscribed run's state changed."""

    type: Literal["status"] = "status"
    run: RunInfo


class ViewLog(Message):
    """A new line in the subscribed run's change log (whoever asked for the change gets an answer as well)."""

    type: Literal["event"] = "event"
    run: RunId
    entry: LogEntry


class ViewApplied(Message):
    """The answer to this browser's control or command: it holds from `step` on."""

    type: Literal["applied"] = "applied"
    run: RunId
    id: ControlId
    step: Count
    config: dict[str, JsonValue]


class ViewRejected(Message):
    """The answer to this browser's control or command: refused, nothing changed."""

    type: Literal["rejected"] = "rejected"
    run: RunId | None
    id: ControlId
    reason: str


class Runs(Message):
    """The list of runs changed; newest first."""

    type: Literal["runs"] = "runs"
    runs: list[RunInfo]


class Pong(Message):
    """The answer to a ping."""

    type: Literal["pong"] = "pong"


Note = Applied | Rejected | Event | Finish  # what lasts of a trainer's messages beside its steps
FromTrainer = Annotated[Hello | Steps | Layers | Note, Field(discriminator="type")]
ToTrainer = Annotated[Welcome | Ack | Control | CommandMessage | Error, Field(discriminator="type")]
FromBrowser = Annotated[Subscribe | Control | CommandMessage | Ping, Field(discriminator="type")]
ToBrowser = Annotated[
    Snapshot | ViewSteps | ViewLayers | Status | ViewLog | ViewApplied | ViewRejected | Runs | Pong | Error,
    Field(discriminator="type"),
]

from_trainer: TypeAdapter[FromTrainer] = TypeAdapter(FromTrainer)
to_trainer: TypeAdapter[ToTrainer] = TypeAdapter(ToTrainer)
from_browser: TypeAdapter[FromBrowser] = TypeAdapter(FromBrowser)
to_browser: TypeAdapter[ToBrowser] = TypeAdapter(ToBrowser)
