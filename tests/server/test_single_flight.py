import asyncio

import pytest

from server.single_flight import SingleFlight


class Counter:
    """Makes results that say how often one was made, each after a turn of the loop."""

    def __init__(self):
        self.made = 0

    async def __call__(self):
        self.made += 1
        made = self.made
        await asyncio.sleep(0)
        return made


def test_many_who_ask_together_share_one_result():
    """A thousand askers of one key cost one computation, later ones none."""

    async def ask():
        flight, make = SingleFlight(4), Counter()
        assert set(await asyncio.gather(*(flight.get("key", make) for _ in range(1000)))) == {1}
        assert await flight.get("key", make) == 1
        assert await flight.get("other", make) == 2

    asyncio.run(ask())


def test_only_the_newest_results_are_kept():
    """An old key is computed again."""

    async def ask():
        flight, make = SingleFlight(2), Counter()
        assert [await flight.get(key, make) for key in ("a", "b", "a", "c", "a")] == [1, 2, 1, 3, 4]

    asyncio.run(ask())


def test_a_failure_is_everybodys_and_not_kept():
    """All who wait for a computation that fails are told; the next one who asks tries again."""

    async def fail():
        await asyncio.sleep(0)
        raise OSError("disk")

    async def ask():
        flight, make = SingleFlight(4), Counter()
        outcomes = await asyncio.gather(*(flight.get("key", fail) for _ in range(3)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["disk"] * 3
        assert await flight.get("key", make) == 1

    asyncio.run(ask())


def test_who_gives_up_takes_nothing_from_the_others():
    """A cancelled asker does not cancel the computation."""

    async def ask():
        flight, make = SingleFlight(4), Counter()
        impatient = asyncio.create_task(flight.get("key", make))
        patient = asyncio.create_task(flight.get("key", make))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await patient == 1
        with pytest.raises(asyncio.CancelledError):
            await impatient

    asyncio.run(ask())
