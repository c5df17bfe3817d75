"""Waits that are short, too long, cancelled, and side by side."""

import asyncio

import pytest

from server.shared_timeout import SharedTimeout

LIMIT_S = 0.2


async def for_ever():
    await asyncio.Event().wait()


async def stuck_s(timeout):
    """Wait for what never comes; how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError):
        await timeout.wait(for_ever())
    return loop.time() - began


def test_what_comes_in_time_is_handed_on():
    """The result, or what was raised; nobody is disturbed by it later."""

    async def failing():
        raise ZeroDivisionError

    async def wait():
        timeout = SharedTimeout(LIMIT_S)
        assert await timeout.wait(asyncio.sleep(0, "here")) == "here"
        with pytest.raises(ZeroDivisionError):
            await timeout.wait(failing())
        await asyncio.sleep(2 * LIMIT_S)

    asyncio.run(wait())


def test_a_long_wait_ends_with_an_error():
    """After the whole limit, though the timer was armed for a short wait before; then the task goes on as any other."""

    async def wait():
        timeout = SharedTimeout(LIMIT_S)
        await timeout.wait(asyncio.sleep(0))
        await asyncio.sleep(LIMIT_S / 2)
        assert await stuck_s(timeout) >= LIMIT_S
        assert asyncio.current_task().cancelling() == 0
        assert await timeout.wait(asyncio.sleep(0, "here")) == "here"

    asyncio.run(wait())


def test_tasks_wait_side_by_side():
    """Each that is stuck has its own time, from when it came; one that is not is let through between them."""

    async def wait():
        timeout = SharedTimeout(LIMIT_S)
        stuck = []
        for _ in range(3):
            stuck.append(asyncio.ensure_future(stuck_s(timeout)))
            await asyncio.sleep(LIMIT_S / 4)
            assert await timeout.wait(asyncio.sleep(0, "here")) == "here"
        assert min(await asyncio.gather(*stuck)) >= LIMIT_S

    asyncio.run(wait())


def test_a_cancelled_task_stays_cancelled():
    """Whoever else cancels a wait, before its time or while it is being ended, gets a cancelled task."""

    async def cancelled_again():
        task = asyncio.current_task()
        try:
            await for_ever()
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def wait():
        timeout = SharedTimeout(LIMIT_S)
        early = asyncio.ensure_future(timeout.wait(for_ever()))
        twice = asyncio.ensure_future(timeout.wait(cancelled_again()))
        await asyncio.sleep(0)
        early.cancel()
        await asyncio.wait([early, twice])
        assert early.cancelled()
        assert twice.cancelled()

    asyncio.run(wait())
