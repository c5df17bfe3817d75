"""Which steps' per-layer numbers a run keeps: some hundred, evenly spaced, however long it gets."""

from collections.abc import Sequence

#: Steps kept at most; fewer for a model of many layers.
MOST_PICTURES = 400
LEAST_PICTURES = 40
PICTURED_LAYERS = 400_000  # three numbers each: about 20 MB


def most_pictures(layers: int) -> int:
    """How many pictures of so many layers a run may keep."""
    return max(LEAST_PICTURES, min(MOST_PICTURES, PICTURED_LAYERS // max(1, layers)))


def spaced(steps: Sequence[int], count: int) -> list[int]:
    """At most `count` of these rising steps, as evenly spaced as there are any, the newest among them."""
    if len(steps) <= count:
        return list(steps)
    first, last = steps[0], steps[-1]
    parts = {(step - first) * count // (last - first + 1): step for step in reversed(steps)}
    return sorted({**parts, count - 1: last}.values())  # the oldest step of each part, but the newest of the last
