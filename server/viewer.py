"""A browser's connection: it chooses a run, is sent what is new of it, and may ask for changes."""

import asyncio
import logging
from typing import TYPE_CHECKING

from starlette.websockets import WebSocket

from server.access import Access
from server.fanout import Channel
from server.live import Position
from server.news import Texts
from server.peer import INTERNAL_ERROR, POLICY_VIOLATION, TRY_AGAIN_LATER, BadMessageError, GoneError, Peer
from server.protocol import (
    Applied,
    CommandMessage,
    Control,
    Error,
    Message,
    Ping,
    Pong,
    Subscribe,
    ViewApplied,
    ViewRejected,
    from_browser,
)
from server.sql.reading import UnknownRunError
from server.writer import StoreError

if TYPE_CHECKING:
    from server.hub import Hub

log = logging.getLogger("clipcore.server")

#: Requests of one viewer that may be under way: a paused training answers late.
PENDING_REQUESTS = 32
#: Answers not sent yet, at most; then the viewer is not listened to until it takes them.
QUEUED_ANSWERS = 32

Request = Control | CommandMessage


class Viewer(Peer):
    """One connection of a browser, for its whole life.

    Only one task sends, and it always sends what lies between the viewer's position and the run's: there is no queue
    of data that a slow reader could fill.

    Args:
        socket: the connection.
        hub: where runs are.
        access: says whether this viewer may ask for changes.
    """

    def __init__(self, socket: WebSocket, hub: "Hub", access: Access) -> None:
        super().__init__(socket)
        self._hub = hub
        self._access = access
        self._awake = asyncio.Event()
        self._subscription: Subscribe | None = None  # to be answered with a snapshot
        self._answers: asyncio.Queue[Message] = asyncio.Queue(QUEUED_ANSWERS)
        self._requests: set[asyncio.Task[None]] = set()
        self._channel: Channel | None = None
        self._seen = Position()

    def wake(self) -> None:
        """There may be something to send."""
        self._awake.set()

    async def serve(self) -> None:
        """Listen and send until the viewer leaves or stops reading."""
        tasks = {asyncio.create_task(self._listen()), asyncio.create_task(self._tell())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except GoneError as error:
            log.debug("%s", error)
        except StoreError as error:
            log.error("viewer %s is sent away: %s", self.name, error)
            await self.close(TRY_AGAIN_LATER, str(error))
        except Exception:
            log.exception("viewer %s cannot be served", self.name)
            await self.close(INTERNAL_ERROR, "the server made a mistake, which its log tells")
        finally:
            self._hub.unwatch(self)
            for task in tasks | self._requests:
                task.cancel()
            await asyncio.gather(*tasks, *self._requests, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                message = await self.receive(from_browser.validate_json)
            except BadMessageError as error:
                await self._say(Error(reason=str(error)))
                continue
            if isinstance(message, Subscribe):
                self._subscription = message
                self.wake()
            elif isinstance(message, Ping):
                await self._say(Pong())
            elif len(self._requests) < PENDING_REQUESTS:
                request = asyncio.create_task(self._settle(message))
                self._requests.add(request)
                request.add_done_callback(self._requests.discard)
            else:
                reason = f"{PENDING_REQUESTS} changes are waiting for an answer already"
                await self._say(ViewRejected(run=message.run, id=message.id, reason=reason))

    async def _say(self, message: Message) -> None:
        await self._answers.put(message)
        self.wake()

    async def _settle(self, message: Request) -> None:
        await self._say(await self._answer(message))

    async def _answer(self, message: Request) -> Message:
        run_id = message.run or (self._channel.run_id if self._channel is not None else None)
        if denial := self._access.change(self._socket):
            return ViewRejected(run=run_id, id=message.id, reason=denial.reason)
        if run_id is None:
            return ViewRejected(run=None, id=message.id, reason="there is no run to change: name one in `run`")
        try:
            answer = await self._hub.ask(
                run_id, message.id, message.patch if isinstance(message, Control) else message.command
            )
        except StoreError as error:
            return ViewRejected(run=run_id, id=message.id, reason=str(error))
        if isinstance(answer, Applied):
            return ViewApplied(run=run_id, id=message.id, step=answer.step, config=answer.config)
        return ViewRejected(run=run_id, id=message.id, reason=answer.reason)

    async def _tell(self) -> None:
        while True:
            await self._awake.wait()
            self._awake.clear()
            if self._access.has_lost_session(self._socket):
                await self.close(POLICY_VIOLATION, "you have been logged out")
                raise GoneError(f"{self.name} has been logged out")
            while not self._answers.empty():
                await self.send(self._answers.get_nowait())
            if self._subscription is not None:
                await self._start(self._subscription)
            elif self._channel is not None:
                self._seen, texts = await self._channel.news(self._seen)
                await self._send_all(texts)

    async def _start(self, subscription: Subscribe) -> None:
        self._subscription = None
        try:
            self._channel = self._hub.watch(self, subscription.run)
        except UnknownRunError as error:
            await self.send(Error(reason=str(error)))
            return
        since = subscription.since if subscription.run is not None else None
        read_only = self._access.steering(self._socket) is not None
        self._seen, texts = await self._channel.snapshot(since, read_only=read_only)
        await self._send_all(texts)

    async def _send_all(self, texts: Texts) -> None:
        for text in texts:
            await self.send(text)
