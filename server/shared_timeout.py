"""A time limit on what is done often and hardly ever takes long."""

import asyncio
from collections.abc import Awaitable
from math import inf
from typing import TypeVar

T = TypeVar("T")


class SharedTimeout:
    """Limits how long tasks wait; any number of them, side by side.

    `asyncio.timeout` arms a timer for each wait and disarms it, which costs more than most of them. Here one timer is
    armed while anybody waits, and only when it goes off is it looked for who has waited too long.

    Args:
        limit_s: how long a task may wait for one thing.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since: dict[asyncio.Task[object], float] = {}  # when each wait began; inf: it is being ended
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, for_: Awaitable[T]) -> T:
        """Wait, but not for long.

        Raises:
            TimeoutError: it took as long as the limit; what was waited for is cancelled.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # a coroutine runs in one
        self._since[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._limit_s, self._look)
        try:
            return await for_
        except asyncio.CancelledError as error:
            if self._since[task] == inf and not task.uncancel():  # else somebody else has cancelled the task as well
                raise TimeoutError from error
            raise
        finally:
            del self._since[task]

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for task, since in self._since.items():
            if since + self._limit_s <= loop.time():
                self._since[task] = inf
                task.cancel()
        longest = min(self._since.values(), default=inf)
        self._timer = loop.call_at(longest + self._limit_s, self._look) if longest < inf else None
