"""What width_drift.py makes of curves: the best learning rate, the border 1|2, and how far they move. Nothing is trained here.

L learning rates in increasing order, U seeds, S scales (widths, depths or horizons), W points of a training curve.
A learning rate is 0 where it lies below the grid, infinite where it lies above, and NaN where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from lrscope.mapping import borders, votes

Array = np.ndarray[Any, Any]
LEAST_SEEDS = 3  # fewer decide nothing
RANGE = {2: 1.128, 3: 1.693, 4: 2.059, 5: 2.326}  # expected range of so many standard normal numbers


class Drift(NamedTuple):
    """Largest over smallest value along the scales, and the ends of its interval; NaN where a scale has no value."""

    seen: float
    low: float
    high: float


NO_DRIFT = Drift(math.nan, math.nan, math.nan)


def best_lr(lrs: Sequence[float], test_L: Sequence[float]) -> float:
    """Where the test loss of one seed is lowest: the vertex of a parabola in log lr through the lowest point and its
    neighbours. An end of the grid is refused: 0 or infinity. Beside a run that overflowed it is the lowest point itself."""
    losses = np.where(np.isfinite(test_L), test_L, np.inf)
    k = int(losses.argmin())
    if not math.isfinite(losses[k]):
        return math.nan
    if k in (0, len(lrs) - 1):
        return 0.0 if k == 0 else math.inf
    (a, b, c), (left, here, right) = np.log(lrs[k - 1 : k + 2]), losses[k - 1 : k + 2]
    down, up = (left - here) / (b - a), (right - here) / (c - b)
    shift = (c - a) / 2 * down / (down + up) if 0 < down + up < math.inf else (b - a) / 2
    return math.exp((a + b) / 2 + shift)


def next_rungs(test_LU: Array, trained_L: Array) -> list[int]:
    """Positions of the grid to train next, with all seeds; none when the search is at its end.

    Every second one to begin with, then the neighbours of each seed's best.
    """
    if not trained_L.any():
        return list(range(0, len(trained_L), 2))
    losses_LU = np.where(np.isfinite(test_LU) & trained_L[:, None], test_LU, np.inf)
    bests = {int(k) for k, low in zip(losses_LU.argmin(0), losses_LU.min(0), strict=True) if math.isfinite(low)}
    beside = {n for k in bests for n in (k - 1, k + 1) if 0 <= n < len(trained_L)}
    return sorted(n for n in beside if not trained_L[n])


def border(lrs: Sequence[float], votes_LU: Array) -> float:
    """The border 1|2 of the runs' votes, as the map draws it: the middle of a cell of the grid.

    0 where no run is in regime 1, infinity where none is beyond it, NaN without votes.
    """
    counts_L3 = borders.tally(votes_LU)
    if not counts_L3.any():
        return math.nan
    first, _ = borders.split(counts_L3)
    if not counts_L3[:, 1:].any() or first == len(lrs):
        return math.inf
    return borders.middle(np.asarray(lrs), first) if first > 0 else 0.0


def votes_of(loss_LUW: Array, accuracy_LUW: Array, known: votes.Guessing) -> Array:
    """The runs' votes [L, U], by the rules of `lrscope map` for networks in the whole space; 0 where one overflowed."""
    return votes.vote(loss_LUW, accuracy_LUW, known, divergence_exists=False).votes


def geometric(values: Array) -> float:
    """The geometric mean; NaN of values on both sides of the grid."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.exp(np.log(values).mean()))


def drift(values_S: Sequence[Array], of: Sequence[Callable[[Array], float]]) -> Drift:
    """The drift of `of[s](values_S[s])`, where the last axis of each scale's values is that of the seeds.

    The interval holds the middle 95% of what all ways to draw the seeds with replacement give, the same seeds at every scale.
    """
    units = values_S[0].shape[-1]
    drawn = [list(index) for index in product(range(units), repeat=units)]
    found = [
        spread([f(values[..., index]) for values, f in zip(values_S, of, strict=True)])
        for index in [list(range(units)), *drawn]
    ]
    if not all(map(math.isfinite, found)):
        return NO_DRIFT
    low, high = np.quantile(found[1:], [0.025, 0.975], method="inverted_cdf")
    return Drift(found[0], float(low), float(high))


def spread(values: Sequence[float]) -> float:
    """Largest over smallest; NaN if one of them is beyond the grid."""
    return max(values) / min(values) if all(0 < v < math.inf for v in values) else math.nan


def of_noise(best_SU: Array) -> float:
    """The drift to be expected if all scales had one best learning rate, from how seeds scatter within scales.

    A largest over a smallest is above 1 by noise alone, so a drift of this size says that nothing was seen to move.
    """
    scales, seeds = best_SU.shape
    if seeds < 2 or scales not in RANGE or not _inside(best_SU):
        return math.nan
    variance = np.log(best_SU).var(axis=1, ddof=1).mean()
    return math.exp(RANGE[scales] * math.sqrt(variance / seeds))


def trend(scales: Sequence[float], best_SU: Array) -> Drift:
    """The factor by which the best learning rate changes per doubling, and its 95% interval (Student's t over seeds)."""
    seeds = best_SU.shape[1]
    if seeds < 2 or not _inside(best_SU):
        return NO_DRIFT
    slopes_U = np.polyfit(np.log2(scales), np.log(best_SU), 1)[0]
    reach = stats.t.ppf(0.975, seeds - 1) * slopes_U.std(ddof=1) / math.sqrt(seeds)
    return Drift(*(math.exp(slopes_U.mean() + side * reach) for side in (0, -1, 1)))


def _inside(best_SU: Array) -> bool:
    return bool(((best_SU > 0) & np.isfinite(best_SU)).all())


def moves(base: Drift, other: Drift, seeds: int) -> str:
    """Does `other` move less than `base`, or more? By the criterion at the head of width_drift.py."""
    if seeds < LEAST_SEEDS or not all(map(math.isfinite, (*base, *other))):
        return "undetermined"
    return "less" if other.high < base.low else "more" if other.low > base.high else "undetermined"
