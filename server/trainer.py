"""A trainer's connection: it introduces its run, then streams steps and notes, and is asked to change."""

import asyncio
import json
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ValidationError, model_validator
from starlette.websockets import WebSocket

from server.metrics import ACKS
from server.peer import POLICY_VIOLATION, TRY_AGAIN_LATER, BadMessageError, GoneError, Peer
from server.protocol import (
    MAX_COUNT,
    VERSION,
    Ack,
    Applied,
    Command,
    CommandMessage,
    Control,
    Count,
    Event,
    FromTrainer,
    Hello,
    Layers,
    LoopState,
    Patch,
    Rejected,
    Waiting,
    Welcome,
    from_trainer,
)
from server.wording import first_error_line
from server.writer import StoreError

if TYPE_CHECKING:
    from server.hub import Hub
    from server.live import LiveRun

log = logging.getLogger("clipcore.server")

HELLO_TIMEOUT_S = 10.0
#: Controls and commands that may wait for a trainer; a paused one answers late.
PENDING_REQUESTS = 100


class TakenOverError(Exception):
    """Another connection feeds the run now."""


class LeftOut(BaseModel):
    """A message that cannot be taken, as far as it is understood.

    Whoever sent it sends it again until it is acknowledged, so that to refuse it would be to refuse the run for ever.
    """

    type: Literal["steps", "layers", "applied", "rejected", "event", "finish"]
    n: Count = 0
    seq: Count = 0
    columns: dict[str, list[Any]] = {}
    reason: str

    @property
    def note(self) -> int:
        """Its number as a note; 0 when it is none."""
        return 0 if self.type in ("steps", "layers") else self.n

    @property
    def last_seq(self) -> int:
        """Of its rows; 0 when it has none."""
        return min(self.seq + len(self.columns["step"]) - 1, MAX_COUNT) if self.type == "steps" else 0

    @model_validator(mode="after")
    def _numbered(self) -> Self:
        match self.type:
            case "layers":
                numbered = True
            case "steps":
                numbered = bool(self.seq and self.columns.get("step"))
            case _:
                numbered = bool(self.note)
        if not numbered:
            raise ValueError("nothing tells which message it is")
        return self


@dataclass(frozen=True)
class Refusal:
    """Why a request was not obeyed."""

    reason: str
    attached: bool = True  # a trainer was there and refused; False: there was none to ask


Answer = Applied | Refusal


class Asked(NamedTuple):
    """A request that the trainer has not answered yet."""

    id: str  # the asker's
    request: Patch | Command
    answer: asyncio.Future[Answer]


class Trainer(Peer):
    """One connection of a trainer, for its whole life."""

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._asked: dict[str, Asked] = {}  # by the id that the trainer knows
        self._left_out: set[str] = set()  # types of messages
        self._welcomed = asyncio.Event()  # or gone; before, it takes nothing but its welcome

    async def serve(self, hub: "Hub") -> None:
        """Take the run in until the trainer leaves, breaks the rules or is replaced."""
        try:
            hello = await self._hello()
            async with hub.attached(self, hello) as run:
                await self._feed(hub, run)
        except GoneError as error:
            log.debug("%s", error)
        except TakenOverError:
            log.info("trainer %s has been replaced", self.name)
        except BadMessageError as error:
            log.warning("trainer %s is sent away: %s", self.name, error)
            await self.close(POLICY_VIOLATION, str(error))
        except StoreError as error:
            log.error("trainer %s has to wait: %s", self.name, error)
            await self.close(TRY_AGAIN_LATER, str(error))

    async def ask(self, asked_as: str, request: Patch | Command) -> Answer:
        """Ask for a change of the clipper or of the loop, and wait for the answer, however long the loop is paused.

        Whoever stops waiting takes nothing back: the trainer will obey all the same.
        """
        if len(self._asked) >= PENDING_REQUESTS:
            return Refusal(f"{PENDING_REQUESTS} requests are waiting for this trainer already")
        # Ours is unique; the asker's own id travels along, so that it can be told from the log after any restart.
        id_ = f"{secrets.token_hex(4)}:{asked_as[:64]}"
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[id_] = Asked(asked_as, request, answer)
        await self._welcomed.wait()
        try:
            if answer.done():  # with nobody to ask any more
                return await answer
            if isinstance(request, str):
                await self.send(CommandMessage(id=id_, command=request))
            else:
                await self.send(Control(id=id_, patch=request))
        except GoneError:
            self._asked.pop(id_, None)
            return LOST
        return await answer

    @property
    def waiting(self) -> list[Waiting]:
        """The changes of the clipper that are not answered yet, oldest first."""
        return [Waiting(id=id_, patch=asked) for id_, asked, _ in self._asked.values() if not isinstance(asked, str)]

    def answer(self, message: Applied | Rejected) -> None:
        """Settle what the message answers, if somebody still waits for it."""
        asked = self._asked.pop(message.id, None) if message.id is not None else None
        if asked is not None and not asked.answer.done():
            asked.answer.set_result(Refusal(message.reason) if isinstance(message, Rejected) else message)

    def give_up_requests(self) -> None:
        """Nobody will answer any more what this trainer was asked."""
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_result(LOST)
        self._asked.clear()
        self._welcomed.set()

    def is_news(self, message: LeftOut) -> bool:
        """Whether nothing of the kind, which has no number as a note, was left out before."""
        news = not message.note and message.type not in self._left_out
        self._left_out.add(message.type)
        return news

    async def _hello(self) -> Hello:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                message = await self.receive(from_trainer.validate_json)
        except TimeoutError:
            raise BadMessageError(f"expected hello within {HELLO_TIMEOUT_S:.0f} s, got nothing") from None
        if not isinstance(message, Hello):
            raise BadMessageError(f"expected hello first, got {message.type}")
        if message.version != VERSION:
            raise BadMessageError(
                f"this server speaks version {VERSION} of the wire, the trainer version {message.version}: "
                "install the same clipcore on both sides"
            )
        return message

    async def _feed(self, hub: "Hub", run: "LiveRun") -> None:
        await self.send(Welcome(run=run.known.id, acked=run.known.seq, n=run.last_note))
        self._welcomed.set()
        passed_over = 0  # last row of what was left out
        while True:
            message = await self.receive(read)
            await hub.take(self, run, message)
            if isinstance(message, LeftOut):
                passed_over = max(passed_over, message.last_seq)
            if not isinstance(message, Layers):
                await self.send(Ack(seq=max(run.known.seq, passed_over), n=run.last_note))
                ACKS.inc()


def read(text: str) -> FromTrainer | LeftOut:
    """What a trainer says; raises the first of its mistakes when not even its number can be read."""
    try:
        message = from_trainer.validate_json(text)
        if isinstance(message, Event) and message.kind == "state":
            LoopState.model_validate(message.data)
    except ValidationError as error:
        try:  # Python's own parser reads more than JSON, such as half of a character
            return LeftOut.model_validate({**json.loads(text), "reason": first_error_line(error.errors())})
        except (ValueError, TypeError, RecursionError):
            raise error from None
    return message


LOST = Refusal(
    "the connection to the trainer was lost before it answered; if it did obey, the change log will say so",
    attached=False,
)


def asked_id(id_: str | None) -> str | None:
    """The id that the asker gave to a request, from the one the trainer knows."""
    return id_.partition(":")[2] or id_ if id_ else None
