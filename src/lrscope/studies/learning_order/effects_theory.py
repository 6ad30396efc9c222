"""Readings of the theory's curves: one number per seed.

Curves are over (algorithm, seed, time), those of several sizes or models with that dimension in front
(`measurement_functions`). U seeds, B times, K sizes (values of kappa, or dimensions).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.learning_order.comparison import at_loss

LARGE, SMALL, NOISY = "L-S", "S", "S + noise"
BOTH_ALGORITHMS = [LARGE, SMALL]
LEARNED = 0.8 * float(np.log(2))  # ours: a pattern is learned where the loss on its own examples has fallen by a fifth
ABOVE_LOWEST = 1.05  # ours: as feature_learning's App. G reads runs at one loss
LEAST_SIZES = 3  # ours: a power law needs three points


def first_below(time: Array, values: Array, level: float) -> Array:
    """When values [..., B] first come below a level, linear between the times [B] around it; inf where they never do."""
    below = values < level
    after = below.argmax(-1)
    before = np.maximum(after - 1, 0)
    start, end = (np.take_along_axis(values, k[..., None], -1)[..., 0] for k in (before, after))
    crossed = below.any(-1) & (after > 0)
    share = np.divide(start - level, start - end, out=np.zeros(start.shape), where=crossed)
    return np.where(below.any(-1), time[before] + share * (time[after] - time[before]), np.inf)


@dataclass(frozen=True)
class Race:
    """When an algorithm learns each pattern, and when it is annealed: T [..., U], inf where it is not by the `end`."""

    p: Array
    q: Array
    annealed: Array
    end: float

    def decades(self, late: Array, early: Array) -> Array:
        """log10 of one time over another [..., U]. What is not reached counts as if it were at the end, which makes the number
        smaller than it is, never larger; NaN where neither is reached."""
        neither = np.isinf(late) & np.isinf(early)
        return np.where(neither, np.nan, np.log10(np.minimum(late, self.end) / np.minimum(early, self.end)))

    @property
    def q_after_p(self) -> Array:
        """Decades of T from P to Q."""
        return self.decades(self.q, self.p)

    @property
    def p_after_anneal(self) -> Array:
        """Decades of T from the anneal to P: negative where P is learned before it."""
        return self.decades(self.p, self.annealed)

    @property
    def q_after_anneal(self) -> Array:
        """Decades of T from the anneal to Q; NaN where Q is never learned, because nothing was learned after anything."""
        return np.where(np.isinf(self.q), np.nan, self.decades(self.q, self.annealed))


def race(curves: xr.Dataset, algorithm: str) -> Race:
    """Of an algorithm's curves over (algorithm, ..., seed, time)."""
    time = curves["time"].values.astype(float)
    own = curves.sel(algorithm=algorithm)
    levels = {"loss_p_only": LEARNED, "loss_q_only": LEARNED}
    p, q = (first_below(time, own[name].values, level) for name, level in levels.items())
    return Race(p, q, first_below(time, -own["annealed"].values, -0.5), float(time[-1]))


def common_level(curves: xr.Dataset) -> float:
    """The training loss at which L-S and S are compared: the lowest that all their runs reach, times 1.05."""
    lowest = curves["loss"].sel(algorithm=BOTH_ALGORITHMS).min("time")
    return ABOVE_LOWEST * float(lowest.max())


def error_ratio(curves: xr.Dataset, level: float, *, by: str = LARGE) -> Array:
    """log10 of the error on P of S over that of another algorithm at one training loss [U]; NaN where one does not reach it, or
    makes no errors."""
    error = at_loss(curves, level)["error_p"]
    small, other = (error.sel(algorithm=name).values for name in (SMALL, by))
    known = (small > 0) & (other > 0)
    ratio = np.divide(small, other, out=np.full(small.shape, np.nan), where=known)
    return np.asarray(np.log10(ratio), dtype=np.float64)


def share_of_m2(curves: xr.Dataset, algorithm: str, level: float) -> Array:
    """The part of W's squared signal that comes from examples with Q, at a training loss [U]. Inputs are nearly orthogonal, so
    squared norms add up (Lemma 5.2)."""
    found = at_loss(curves, level).sel(algorithm=algorithm)
    return np.asarray((found["norm_w_m2"] / found["norm_w"]).values ** 2, dtype=np.float64)


def read_sizes(curves: xr.Dataset, algorithm: str) -> tuple[Array, Array]:
    """Test errors [K, U] of an algorithm over kappa, each at the `common_level` of its kappa, and those levels [K].

    NaN where the examples with P alone are not learned there: the theorems speak of a training loss so low that they are.
    """
    errors, levels = [], []
    for kappa in curves["kappa"].values:
        of_size = curves.sel(kappa=kappa)
        levels.append(common_level(of_size))
        found = at_loss(of_size, levels[-1]).sel(algorithm=algorithm)
        errors.append(found["error"].where(found["loss_p_only"] < LEARNED).values)
    return np.array(errors), np.array(levels)


def exponents(sizes: Array, values: Array) -> Array:
    """Powers of sizes [K] that fit positive values [K, U]: slopes of their logarithms [U]. NaN with fewer than three sizes."""
    logs = np.log10(np.where(values > 0, values, np.nan))
    found = arrays.slope(np.log10(sizes), logs)
    return np.where(np.isfinite(logs).sum(0) < LEAST_SIZES, np.nan, found)


def before_anneal(curves: xr.Dataset, name: str) -> Array:
    """The largest size of a quantity of L-S before its anneal [..., U]; NaN where it is not annealed: the lemma's time is not
    reached."""
    own = curves.sel(algorithm=LARGE)
    largest = abs(own[name]).where(own["annealed"] < 0.5).max("time")
    return np.asarray(largest.where(own["annealed"].max("time") > 0.5).values, dtype=np.float64)


def squared_norm(curves: xr.Dataset) -> xr.DataArray:
    """Squared norm of the whole signal part, of W and V (Lemma 4.1)."""
    return curves["norm_w"] ** 2 + curves["norm_v"] ** 2


def largest_of(curves: xr.Dataset, name: str, algorithm: str) -> Array:
    """The largest size of a quantity over all times [..., U]."""
    return np.asarray(abs(curves[name].sel(algorithm=algorithm)).max("time").values, dtype=np.float64)


def last_before_anneal(curves: xr.Dataset, name: str) -> Array:
    """A quantity of L-S at the last time before its anneal [U]; NaN where it is not annealed."""
    own = curves.sel(algorithm=LARGE)
    quiet = (own["annealed"] < 0.5).values
    at = np.maximum(quiet.sum(-1) - 1, 0)[..., None]
    values = np.take_along_axis(own[name].values, at, -1)[..., 0]
    return np.where(quiet.all(-1), np.nan, values)


def worst_before_anneal(curves: xr.Dataset, name: str, expected: float) -> float:
    """The largest deviation of a quantity of L-S from what is expected, over all times before the anneal and all seeds."""
    own = curves.sel(algorithm=LARGE)
    return float(abs(own[name] - expected).where(own["annealed"] < 0.5).max())
