"""The roll-up: where a metric is smallest, largest and first NaN or infinite in bins of 16, 128, 1024, ... seqs.

Bins are aligned, and each level is made from the one before. A chart's bins are unions of whole bins, so that any zoom
of any run reads a few thousand of them; and no spike is lost, for an extreme of a union is an extreme of a part.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from operator import attrgetter
from typing import NamedTuple

FIRST_SIZE = 16
GROWTH_BITS = 3  # each level's bins hold 8 of the level before
LEVELS = 6  # up to bins of 524,288


class Bin(NamedTuple):
    """Extremes of one metric over some seqs; None where there is no such value."""

    low_seq: int | None
    low: float | None
    high_seq: int | None
    high: float | None
    nan_seq: int | None = None  # of the first NaN, and of the first of each infinity
    positive_seq: int | None = None
    negative_seq: int | None = None

    @property
    def seqs(self) -> set[int]:
        """The rows that matter."""
        seqs = self.low_seq, self.high_seq, self.nan_seq, self.positive_seq, self.negative_seq
        return {seq for seq in seqs if seq is not None}


_EMPTY = Bin(None, None, None, None)


class Stretch(NamedTuple):
    """Whole bins of one level that cover first <= seq <= last; level 0: the rows themselves."""

    level: int
    first: int
    last: int


def size(level: int) -> int:
    """Seqs in a bin of a level from 1 on."""
    return FIRST_SIZE << GROWTH_BITS * (level - 1)


def bin_of(seqs: Sequence[int], values: Sequence[float | None]) -> Bin:
    """The bin of these values; of equal ones the first counts."""
    finite = [value for value in values if value is not None and isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (None, None)
    nonfinite = {} if len(finite) == len(values) else _first_of_each_kind(seqs, values)
    return Bin(
        None if low is None else seqs[values.index(low)],
        low,
        None if high is None else seqs[values.index(high)],
        high,
        nonfinite.get("nan"),
        nonfinite.get("inf"),
        nonfinite.get("-inf"),
    )


def _first_of_each_kind(seqs: Sequence[int], values: Sequence[float | None]) -> dict[str, int]:
    kinds = [(str(value), seq) for seq, value in zip(seqs, values, strict=True) if value and not isfinite(value)]
    return dict(reversed(kinds))


def union(bins: Sequence[Bin]) -> Bin:
    """The bin of all that the bins hold."""
    low = min((part for part in bins if part.low is not None), key=attrgetter("low"), default=_EMPTY)
    high = max((part for part in bins if part.high is not None), key=attrgetter("high"), default=_EMPTY)
    firsts = (_first(map(attrgetter(name), bins)) for name in ("nan_seq", "positive_seq", "negative_seq"))
    return Bin(low.low_seq, low.low, high.high_seq, high.high, *firsts)


def _first(seqs: Iterable[int | None]) -> int | None:
    return min((seq for seq in seqs if seq is not None), default=None)


def cut(seqs: Sequence[int], width: int) -> Iterator[tuple[int, slice]]:
    """Cut rising seqs at the multiples of `width`: each part's multiple, and where it is."""
    start = 0
    while start < len(seqs):
        first = seqs[start] // width * width
        stop = bisect_left(seqs, first + width, start)
        yield first, slice(start, stop)
        start = stop


def completed(before: int, last: int) -> Iterator[Stretch]:
    """What can be rolled up, level by level, when a run that ended with seq `before` has grown to `last`."""
    for level in range(1, LEVELS + 1):
        start, stop = (before + 1) // size(level) * size(level), (last + 1) // size(level) * size(level)
        if start == stop:
            return
        yield Stretch(level, start, stop - 1)


def grid(first: int, last: int, bins: int) -> tuple[int, int]:
    """Level and width to cut a range into at most `bins` bins, but at least half as many; width is whole bins."""
    width = -(-(last + 1 - first) // bins)
    level = max((level for level in range(1, LEVELS + 1) if size(level) <= width), default=0)
    unit = size(level) if level else 1
    return level, -(-width // unit) * unit


def cover(first: int, last: int, level: int) -> Iterator[Stretch]:
    """A range as whole bins of `level`, and of ever finer ones towards its ends."""
    if first > last:
        return
    if level == 0:
        yield Stretch(0, first, last)
        return
    start, stop = -(-first // size(level)) * size(level), (last + 1) // size(level) * size(level)
    if start >= stop:
        yield from cover(first, last, level - 1)
        return
    yield from cover(first, start - 1, level - 1)
    yield Stretch(level, start, stop - 1)
    yield from cover(stop, last, level - 1)
