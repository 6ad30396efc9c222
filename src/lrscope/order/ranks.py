"""Orders of groups by their times, how far two orders agree, and intervals over seeds. Array kernels without labels.

L learning rates, U units (data seed x seed, C order), E groups, D bootstrap draws. Infinite times are ties among each other and
come last; NaN is a run that was not trained.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrscope.mapping.borders import draws
from lrscope.mapping.search import INTERVAL_SEEDS

Array = NDArray[np.float64]
TAILS = (0.025, 0.975)  # of a 95% interval


def ranks(times: Array) -> Array:
    """Ranks [..., E] from 1 on of times [..., E]; ties share the mean of theirs. NaN for a run that was not trained."""
    before = (times[..., None, :] < times[..., :, None]).sum(-1)
    equal = (times[..., None, :] == times[..., :, None]).sum(-1)
    return np.where(np.isnan(times).any(-1, keepdims=True), np.nan, before + (equal + 1) / 2)


def tau(first: Array, second: Array) -> float:
    """SciPy's Kendall tau-b of two sets of times [E]: 1 for the same order, 0 for unrelated ones, -1 for the reverse.

    NaN where one of them has no order, because all groups are tied, or its run was not trained (Kendall 1945: ties).
    """
    if any(np.isnan(times).any() or (times == times[0]).all() for times in (first, second)):
        return float("nan")
    from scipy import stats  # takes a second to load

    return float(stats.kendalltau(ranks(first), ranks(second)).statistic)


def within_units(times: Array) -> Array:
    """Kendall's tau [L, L, U] of times [L, U, E] at two learning rates in the same unit; NaN for one with itself."""
    lrs, units, _ = times.shape
    found = np.full((lrs, lrs, units), np.nan)
    for i, j in combinations(range(lrs), 2):
        found[i, j] = found[j, i] = [tau(first, second) for first, second in zip(times[i], times[j], strict=True)]
    return found


def between_units(times: Array) -> Array:
    """Kendall's tau [U, U] of times [U, E] in two units: how far an order is the seed's. NaN for one with itself."""
    found = np.full((len(times), len(times)), np.nan)
    for u, v in combinations(range(len(times)), 2):
        found[u, v] = found[v, u] = tau(times[u], times[v])
    return found


def mean(values: Array, axis: int) -> Array:
    """The mean that leaves out NaN; NaN where there is nothing else."""
    count = np.isfinite(values).sum(axis)
    return np.where(count > 0, np.nansum(values, axis) / np.maximum(count, 1), np.nan)


def interval(
    low: Array, high: Array, statistic: Callable[..., Any], data_seeds: int, seeds: int
) -> tuple[Array, Array]:
    """A 95% bootstrap interval [...] over the units of values that are known to between `low` and `high` [U, ...].

    Units with NaN are left out. With fewer than 5 left it is their range, with none of them NaN.

    Args:
        low, high: ends of each unit's value; the same array for values that are known exactly.
        statistic: `np.median` or `np.mean`.
        data_seeds, seeds: whose product is U; data seeds are resampled first, training seeds within them (all units alike
            where some are left out).
    """
    there = ~np.isnan(low).reshape(len(low), -1).any(1)
    if not there.any():
        return np.full(low.shape[1:], np.nan), np.full(low.shape[1:], np.nan)
    low, high = low[there], high[there]
    if len(low) < INTERVAL_SEEDS:
        return low.min(0), high.max(0)
    chosen = draws(data_seeds, seeds) if there.all() else draws(1, len(low))
    lows, highs = (np.sort(statistic(ends[chosen], axis=1), axis=0) for ends in (low, high))
    first, last = _tails(len(chosen))
    return lows[first], highs[last]


def _tails(count: int) -> tuple[int, int]:
    """Where the ends of an interval stand among so many sorted draws. (NumPy's quantile of infinite numbers is NaN.)"""
    first, last = np.quantile(np.arange(count), TAILS, method="inverted_cdf")
    return int(first), int(last)


def interval_of_pairs(pairs: Array, data_seeds: int, seeds: int) -> tuple[float, float]:
    """A 95% bootstrap interval of the mean of a symmetric [U, U] over pairs of different units; their range with fewer than 5.

    Units are resampled, not pairs: pairs that share a unit are not independent. Two copies of one unit are no pair.
    """
    there = np.isfinite(pairs).any(1)
    kept = pairs[np.ix_(there, there)]
    known = kept[np.isfinite(kept)]
    if not known.size:
        return float("nan"), float("nan")
    if len(kept) < INTERVAL_SEEDS:
        return float(known.min()), float(known.max())
    chosen = draws(data_seeds, seeds) if there.all() else draws(1, len(kept))
    means = mean(kept[chosen[:, :, None], chosen[:, None, :]].reshape(len(chosen), -1), 1)
    means = np.sort(means[np.isfinite(means)])  # a draw of one unit alone has no pairs
    first, last = _tails(len(means))
    return float(means[first]), float(means[last])
