"""Work that many ask for at the same time, done once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Keeps the newest results by key, so that a thousand viewers at one position cost one query and one encoding.

    Args:
        size: results kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._tasks: OrderedDict[Hashable, asyncio.Future[T]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The result for `key`, from `make()` if nobody has asked for it yet. A failure is not kept."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.ensure_future(make())
            task.add_done_callback(lambda done: self._drop_failed(key, done))
            self._tasks[key] = task
            if len(self._tasks) > self._size:
                self._tasks.popitem(last=False)
        # One who gives up waiting must not take the result from the others.
        return task.result() if task.done() else await asyncio.shield(task)

    def _drop_failed(self, key: Hashable, task: "asyncio.Future[T]") -> None:
        if (task.cancelled() or task.exception()) and self._tasks.get(key) is task:
            del self._tasks[key]
