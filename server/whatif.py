"""What another threshold would have done to recorded steps: how many it clips, and how hard.

The gradients are gone, but global-norm clipping needs only their norm: the curve is exact, not simulated. A rule with
memory is run over the norms once more.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import floor, fsum, isfinite, log10
from operator import itemgetter
from sys import float_info
from typing import Any

from clipcore import replay

#: What the engine adds to a norm before it divides by it, as torch does.
EPS = 1e-6
_MOST_DECADES = log10(float_info.max)
#: Of a curve; so many steps, which is what the page shows at first, are told exactly.
POINTS = 1000
MOST_BINS = 60
BINS_PER_DECADE = (100, 50, 20, 10, 5, 2, 1)
#: So large a share of the values at either end may lie outside the histogram, if they are so many times farther out.
RARE = 0.05
FAR = 3.0
#: The share that each quantile is to clip, and what that means.
_QUANTILES = {
    "p50": (0.5, ", not only the spikes"),
    "p90": (0.1, ", ordinary ones are not"),
    "p99": (0.01, ": a safety net"),
}
#: What lies beyond the knee is a tail: no more than so large a share of the steps.
MOST_TAIL = 0.2
#: How far the curve must sag below a straight line before there is a knee to speak of.
LEAST_SAG = 0.1


@dataclass(frozen=True)
class Curve:
    """Effect by threshold, thresholds rising; between two norms the share stays and the coefficient is linear."""

    threshold: list[float]
    clipped: list[float]  # share of steps
    coef: list[float] | None  # mean over the steps; None for a clamp, whose effect the largest element does not tell


@dataclass(frozen=True)
class Histogram:
    """Values by size, in bins of equal ratio; a few far from all others lie outside."""

    edges: list[float]
    counts: list[int]
    zeros: int
    below: int  # positive, but below the first edge
    beyond: int  # above the last


@dataclass(frozen=True)
class Suggestion:
    """A threshold worth trying, and why."""

    name: str
    threshold: float
    clipped: float
    sentence: str


@dataclass(frozen=True)
class Effect:
    """What a rule whose threshold moves would have done to recorded steps; None: there is nothing to tell it by."""

    steps: int  # with a finite norm
    clipped: float | None  # share of them
    coef: float | None  # mean over them
    lowest: float | None  # of the thresholds
    highest: float | None
    newest: float | None


def effect_of(norms: Sequence[float], mode: str, parameters: Mapping[str, Any]) -> Effect:
    """The effect of a mode's rule on steps with these norms, in order; raises as `clipcore.replay` does."""
    told = replay(norms, mode, **parameters)
    coefs = [coef for norm, coef in zip(norms, told.coef, strict=True) if isfinite(norm)]
    thresholds = [threshold for threshold in told.threshold if isfinite(threshold)]
    return Effect(
        steps=len(coefs),
        clipped=sum(coef < 1 for coef in coefs) / len(coefs) if coefs else None,
        coef=fsum(coefs) / len(coefs) if coefs else None,
        lowest=min(thresholds, default=None),
        highest=max(thresholds, default=None),
        newest=thresholds[-1] if thresholds else None,
    )


def finite_in_order(values: Sequence[float | None]) -> list[float]:
    """What enters the statistics: a step whose norm is NaN or infinite does not."""
    return sorted(value for value in values if value is not None and isfinite(value))


def scaling_curve(ordered: Sequence[float]) -> Curve:
    """What global-norm clipping would have done, by norms."""
    bounds = [max(norm, 0.0) + EPS for norm in ordered]  # what calls itself negative is as good as nothing
    inverses = [0.0, *accumulate(1 / bound for bound in reversed(bounds))]  # their sum over the k largest norms
    thresholds = [norm + EPS for norm in _representatives(ordered)]
    counts = [len(bounds) - bisect_right(bounds, threshold) for threshold in thresholds]
    steps = len(ordered)
    coefs = [
        (steps - count + threshold * inverses[count]) / steps
        for threshold, count in zip(thresholds, counts, strict=True)
    ]
    return Curve(thresholds, [count / steps for count in counts], coefs)


def clamping_curve(ordered: Sequence[float]) -> Curve:
    """How many steps value clipping would have clamped anything in, by the steps' largest elements."""
    thresholds = _representatives(ordered)
    return Curve(thresholds, [_share_above(ordered, threshold) for threshold in thresholds], None)


def _representatives(ordered: Sequence[float]) -> list[float]:
    """Positive values at evenly spaced ranks, so that between two of them lies at most a POINTS-th of the steps."""
    positive = ordered[bisect_right(ordered, 0.0) :]
    last = len(positive) - 1
    ranks = range(last + 1) if last < POINTS else (round(i * last / (POINTS - 1)) for i in range(POINTS))
    return list(dict.fromkeys(positive[rank] for rank in ranks))


def _share_above(ordered: Sequence[float], threshold: float) -> float:
    return (len(ordered) - bisect_right(ordered, threshold)) / len(ordered)


def histogram(ordered: Sequence[float]) -> Histogram | None:
    """At most MOST_BINS bins on round exponents, so that they hold still while steps come in; None without values.

    They reach little beyond where all but a RARE share of the values lie: the huge norms that many trainings start with
    would leave no room for the others.
    """
    zeros = bisect_right(ordered, 0.0)
    if zeros == len(ordered):
        return None
    positive = ordered[zeros:]
    first = bisect_left(positive, quantile(positive, RARE) / FAR)
    last = bisect_right(positive, quantile(positive, 1 - RARE) * FAR)
    inside = positive[first:last]
    low, high = log10(inside[0]), log10(inside[-1])
    per_decade = next((bins for bins in BINS_PER_DECADE if (high - low) * bins <= MOST_BINS), 1)
    exponents = (k / per_decade for k in range(floor(low * per_decade), floor(high * per_decade) + 2))
    edges = [10**exponent if exponent < _MOST_DECADES else float_info.max for exponent in exponents]
    places = [0, *(bisect_left(inside, edge) for edge in edges[1:-1]), len(inside)]
    counts = [stop - start for start, stop in pairwise(places)]
    return Histogram(edges, counts, zeros, below=first, beyond=len(positive) - last)


def suggestions(ordered: Sequence[float]) -> list[Suggestion]:
    """Thresholds worth trying, from the hardest to the gentlest."""
    if not ordered or ordered[-1] <= 0:
        return []
    found = [(name, quantile(ordered, 1 - share)) for name, (share, _) in _QUANTILES.items()]
    if (bend := knee(ordered)) is not None and _share_above(ordered, bend) <= MOST_TAIL:
        found.append(("knee", bend))
    shares = [
        (name, threshold, _share_above(ordered, threshold)) for name, threshold in sorted(found, key=itemgetter(1))
    ]
    return [
        Suggestion(name, threshold, clipped, _sentence(name, clipped))
        for name, threshold, clipped in shares
        if threshold > 0
    ]


def _sentence(name: str, clipped: float) -> str:
    """What the threshold really does, and what that means where it does what it is called after."""
    words = f"{100 * clipped:.3g} % of the steps are clipped"
    if name == "knee":
        return f"{words}: here the tail begins, beyond it are the spikes"
    share, meaning = _QUANTILES[name]
    return words + meaning if share / 2 <= clipped <= 2 * share else words


def quantile(ordered: Sequence[float], q: float) -> float:
    """A quantile by linear interpolation."""
    place = q * (len(ordered) - 1)
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def knee(ordered: Sequence[float]) -> float | None:
    """Where a higher threshold stops sparing many more steps; None when the norms have no tail.

    It is where the share clipped, over the threshold's logarithm, sags most below the line between its ends
    ("Kneedle": Satopaa et al. 2011, https://doi.org/10.1109/ICDCSW.2011.20).
    """
    positive = ordered[bisect_right(ordered, 0.0) :]
    if not positive or log10(positive[0]) == log10(positive[-1]):
        return None
    low, span, count = log10(positive[0]), log10(positive[-1]) - log10(positive[0]), len(positive)
    sag, bend = max(((rank + 1) / count - (log10(norm) - low) / span, norm) for rank, norm in enumerate(positive))
    return bend if sag >= LEAST_SAG else None
