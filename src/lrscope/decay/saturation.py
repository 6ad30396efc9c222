"""When waiting with the decay stops to pay: the rule, on arrays without labels.

K times of decay in increasing order, U independent units (seeds, or draws of the data). A cost is better when smaller. What
waiting from time k to a later time j gains is cost[k] - cost[j], unit by unit: units share their main path, so that most of what
the seeds add is the same in both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
TAIL = 0.025  # on either side of a 95% interval
LEAST = 3  # ours: two units have a Student interval of twelve standard errors


class Places(NamedTuple):
    """Saturation as places among the times.

    Attributes:
        first: the first time from which waiting for any later one gains at most the margin, by means; the last time (K - 1) where
            only that one is left, which has no later one to be compared with.
        early: the last time that is shown to be too early, as all before it are; -1 where the first one is not.
        late: the first time that is shown to be late enough, as all after it are; None where none is.
    """

    first: int
    early: int
    late: int | None


def mean_interval(values: Array, tail: float = TAIL) -> tuple[Array, Array, Array]:
    """Means [...] of values [..., U] and the ends of their Student intervals; NaN with fewer than three units."""
    units = values.shape[-1]
    mean = values.mean(-1) if units else np.full(values.shape[:-1], np.nan)
    if units < LEAST:
        unknown = np.full(mean.shape, np.nan)
        return mean, unknown, unknown
    half = special.stdtrit(units - 1, 1 - tail) * values.std(-1, ddof=1) / np.sqrt(units)
    return mean, mean - half, mean + half


def saturation(costs: Array, margin: float) -> Places | None:
    """Where costs [K, U] saturate: the first time after which waiting longer gains at most `margin`. None with fewer than three
    units.

    A time is shown to be too early if the 95% interval of what waiting for some later time gains lies above the margin; with m
    later times at the level 1 - 0.05 / m (Bonferroni), because any of them will do. It is shown to be late enough if the
    intervals of what waiting for each of them gains lie within the margin; then all must do, and nothing is to be corrected.
    Times are asked from the last one down until one is not: of many that are asked one by one, some would be so by chance.

    Args:
        costs: of every time and unit, all finite.
        margin: in the unit of the costs; gains up to it do not count.
    """
    last = len(costs) - 1
    if costs.shape[1] < LEAST:
        return None
    first, early, late = last, -1, None
    for k in reversed(range(last)):
        mean, _, _ = mean_interval(costs[k] - costs[k + 1 :])
        first = k if mean.max() <= margin else first
    for k in reversed(range(last)):
        _, _, high = mean_interval(costs[k] - costs[k + 1 :])
        if not high.max() <= margin:
            break
        late = k
    for k in range(last):
        _, low, _ = mean_interval(costs[k] - costs[k + 1 :], TAIL / (last - k))
        if not low.max() > margin:
            break
        early = k
    return Places(first, early, late)


def better_than_last(costs: Array, margin: float) -> int | None:
    """The time with the best mean of costs [K, U], if it is shown to end better than the last one by more than `margin`; None if
    it is not. The level is 1 - 0.05 / (K - 1) (Bonferroni), because it is chosen among K - 1 others after looking at them."""
    if costs.shape[1] < LEAST:
        return None
    best = int(costs.mean(1).argmin())
    _, low, _ = mean_interval(costs[-1] - costs[best], TAIL / max(1, len(costs) - 1))
    return best if low > margin else None
