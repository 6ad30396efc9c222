"""Readings of the theory's curves: one number per seed.

Curves are over (algorithm, seed, time), those of several sizes or models with that dimension in front
(`measurement_functions`). U seeds, B times, K sizes (values of kappa, or dimensions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.learning_order.comparison import at_loss
from lrscope.studies.verdicts import Undetermined

LARGE, SMALL, NOISY = "L-S", "S", "S + noise"
BOTH_ALGORITHMS = [LARGE, SMALL]
LEARNED = 0.8 * float(np.log(2))  # ours: a pattern is learned where the loss on its own examples has fallen by a fifth
FITTED = 0.5 * float(
    np.log(2)
)  # ours: times min(p, q), the training loss below which the theorems' eps_2 counts as reached
LEFT_OUT = 0.25  # ours: more data sets that do not learn both patterns leave a comparison undetermined
WRONG = 30  # ours: wrong test examples that an error is read from
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
    """When an algorithm learns each pattern, and when it is annealed: T [..., U], inf where it never is."""

    p: Array
    q: Array
    annealed: Array

    @property
    def q_after_p(self) -> Array:
        """Decades of T from P to Q."""
        return decades(self.q, self.p)

    @property
    def p_after_anneal(self) -> Array:
        """Decades of T from the anneal to P: negative where P is learned before it."""
        return decades(self.p, self.annealed)

    @property
    def q_after_anneal(self) -> Array:
        """Decades of T from the anneal to Q."""
        return decades(self.q, self.annealed)


def decades(late: Array, early: Array) -> Array:
    """log10 of one time over another; NaN where one of them is not reached, because nobody knows how late it is."""
    reached = np.isfinite(late) & np.isfinite(early)
    ratio = np.divide(late, early, out=np.full(reached.shape, np.nan), where=reached)
    return np.asarray(np.log10(ratio), dtype=np.float64)


def race(curves: xr.Dataset, algorithm: str, level: float = LEARNED) -> Race:
    """Of an algorithm's curves over (algorithm, ..., seed, time); `level` is the loss at which a pattern is learned."""
    time = curves["time"].values.astype(float)
    own = curves.sel(algorithm=algorithm)
    p, q = (first_below(time, own[name].values, level) for name in ("loss_p_only", "loss_q_only"))
    return Race(p, q, first_below(time, -own["annealed"].values, -0.5))


def common_level(curves: xr.Dataset) -> float:
    """The training loss at which L-S and S are compared: the lowest that all their runs reach, times 1.05."""
    lowest = curves["loss"].sel(algorithm=BOTH_ALGORITHMS).min("time")
    return ABOVE_LOWEST * float(lowest.max())


@dataclass(frozen=True)
class Compared:
    """Algorithms at one training loss. A data set counts where both L-S and S have learned both patterns there.

    Attributes:
        level: the training loss.
        found: all quantities there, over (algorithm, seed).
        kept: whether a data set counts [U].
    """

    level: float
    found: xr.Dataset
    kept: NDArray[np.bool_]

    @classmethod
    def of(cls, curves: xr.Dataset, level: float | None = None) -> Compared:
        """At a training loss; by default the `common_level`."""
        level = common_level(curves) if level is None else level
        found = at_loss(curves, level)
        losses = [found[name].sel(algorithm=BOTH_ALGORITHMS) for name in ("loss_p_only", "loss_q_only")]
        return cls(level, found, np.all([(loss < LEARNED).all("algorithm").values for loss in losses], 0))

    @property
    def left_out(self) -> int:
        """The number of data sets that do not count."""
        return int((~self.kept).sum())

    def values(self, name: str, algorithm: str) -> Array:
        """A quantity of an algorithm [U]; NaN in data sets that do not count."""
        return np.where(self.kept, self.found[name].sel(algorithm=algorithm).values, np.nan)

    def error_ratio(self, by: str = LARGE) -> Array:
        """log10 of the error on P of S over that of another algorithm [U]."""
        return log_ratio(self.values("error_p", SMALL), self.values("error_p", by))

    def share_of_m2(self, algorithm: str) -> Array:
        """|W2|^2 / (|W1|^2 + |W2|^2) [U] of eq. 5.1: how much of W's signal comes from examples with Q."""
        return share(*(self.values(f"norm_w_{of}", algorithm) for of in ("m2", "m1")))

    def share_along(self, algorithm: str) -> Array:
        """The same of the components along w* alone [U]."""
        m2 = self.values("along_m2", algorithm)
        return share(m2, self.values("along", algorithm) - m2)

    def require_learned(self) -> None:
        """Raises:
        Undetermined: more than a quarter of the data sets do not count.
        """
        if self.left_out > LEFT_OUT * len(self.kept):
            raise Undetermined(f"both patterns are not learned in {self.left_out} of {len(self.kept)} data sets")

    def require(self, p: float, q: float) -> None:
        """That the theorems speak of this training loss.

        Raises:
            Undetermined: see `require_learned`; or the training loss is not below 0.5 min(p, q) log 2.
        """
        self.require_learned()
        if not self.level < FITTED * min(p, q):
            raise Undetermined(f"a training loss of {self.level:.3g} is not below {FITTED * min(p, q):.3g}")


def log_ratio(small: Array, other: Array) -> Array:
    """log10 of one error over another [U]; NaN where there are none."""
    known = (small > 0) & (other > 0)
    ratio = np.divide(small, other, out=np.full(small.shape, np.nan), where=known)
    return np.asarray(np.log10(ratio), dtype=np.float64)


def share(part: Array, rest: Array) -> Array:
    """The part of two squares together that is the first one's."""
    squares = part**2, rest**2
    return np.asarray(squares[0] / (squares[0] + squares[1]), dtype=np.float64)


def over_sizes(curves: xr.Dataset, over: str) -> list[Compared]:
    """L-S and S at each size (`kappa` or `dimension`), each at its `common_level`."""
    return [Compared.of(curves.sel({over: size})) for size in curves[over].values]


def over_kappa(curves: xr.Dataset) -> list[Compared]:
    """L-S and S at each kappa, each at its `common_level`."""
    return over_sizes(curves, "kappa")


def shares_of_p(curves: xr.Dataset) -> Array:
    """p = kappa^2 / 2 [K]."""
    return np.asarray(curves["kappa"].values.astype(float) ** 2 / 2)


def powers_of_p(curves: xr.Dataset, algorithm: str) -> Array:
    """Powers of p of an algorithm's test error, data set by data set [U], at whatever training losses all reach."""
    return exponents(shares_of_p(curves), np.array([one.values("error", algorithm) for one in over_kappa(curves)]))


def losses_asked(curves: xr.Dataset) -> list[float]:
    """The training losses below which the theorems' small losses begin at each kappa (`Compared.require`)."""
    return [FITTED * min(float(p), float(curves.attrs["q"])) for p in shares_of_p(curves)]


def exponents(sizes: Array, values: Array) -> Array:
    """Powers of sizes [K] that fit positive values [K, U]: slopes of their logarithms [U]. NaN with fewer than three sizes."""
    logs = np.log10(np.where(values > 0, values, np.nan))
    found = arrays.slope(np.log10(sizes), logs)
    return np.where(np.isfinite(logs).sum(0) < LEAST_SIZES, np.nan, found)


def local_powers(sizes: Array, values: Array) -> list[float]:
    """Powers of sizes [K] between neighbouring ones, of values [K, U]: means over data sets."""
    steps = np.diff(np.log(values), axis=0) / np.diff(np.log(sizes))[:, None]
    return [arrays.average(step) for step in steps]


def before_anneal(curves: xr.Dataset, name: str, *, of: str = LARGE) -> Array:
    """The largest size of a quantity of an algorithm before L-S is annealed [..., U]; NaN where that comes later than the lemmas
    speak of (`longest`), or never."""
    quiet = curves["annealed"].sel(algorithm=LARGE) < 0.5
    largest = abs(curves[name].sel(algorithm=of)).where(quiet).max("time")
    in_time = race(curves, LARGE).annealed <= curves["longest"].values[:, None]
    return np.where(in_time, largest.values, np.nan)


def noise_before_anneal(curves: xr.Dataset) -> Array:
    """How far the standard deviation of L-S's noise part gets from tau_0 before the anneal, as a part of tau_0 [U]; NaN where it
    is never annealed (eq. 3.3)."""
    quiet = curves["annealed"].sel(algorithm=LARGE) < 0.5
    farthest = abs(curves["noise_std"].sel(algorithm=LARGE) - 1).where(quiet).max("time")
    return np.where(np.isfinite(race(curves, LARGE).annealed), farthest.values, np.nan)


def noise_at_anneal(curves: xr.Dataset, algorithm: str) -> Array:
    """Correlation of an algorithm's noise part with the initialisation when L-S is annealed [U]; NaN where it never is."""
    kept = curves["noise_kept"].sel(algorithm=algorithm).values
    time = curves["time"].values.astype(float)
    found = [np.interp(at, time, row) for at, row in zip(race(curves, LARGE).annealed, kept, strict=True)]
    return np.where(np.isfinite(race(curves, LARGE).annealed), found, np.nan)


def squared_norm(curves: xr.Dataset) -> xr.DataArray:
    """Squared norm of the whole signal part, of W and V (Lemma 4.1)."""
    return curves["norm_w"] ** 2 + curves["norm_v"] ** 2


def largest_of(curves: xr.Dataset, name: str, algorithm: str) -> Array:
    """The largest size of a quantity over all times [..., U]."""
    return np.asarray(abs(curves[name].sel(algorithm=algorithm)).max("time").values, dtype=np.float64)


def counted(curves: xr.Dataset, level: float, of: str = "error_p") -> Array:
    """Decades by which S makes more errors on P than L-S at a training loss, where these are counted [U]; NaN where fewer than
    30 test examples are wrong. `of`: `error_p`, or `error_p_signal` without the noise's own output."""
    found = Compared.of(curves, level).found[of]
    small, large = (enough(found.sel(algorithm=name).values, curves.attrs) for name in (SMALL, LARGE))
    return log_ratio(small, large)


def enough(errors: Array, attrs: Mapping[str, Any]) -> Array:
    """Errors on P, NaN where they are read from fewer than 30 wrong test examples."""
    examples = float(attrs["p"]) * float(attrs["test_examples"])
    return np.where(errors * examples >= WRONG, errors, np.nan)


def between_minima(ends: xr.Dataset, model: str) -> Array:
    """Decades between the largest and the smallest error on P where training from several histories ends [U]; NaN where fewer
    than 30 test examples are wrong."""
    logs = np.log10(enough(ends["error_p"].sel(model=model).values, ends.attrs))
    return np.asarray(logs.max(-1) - logs.min(-1), dtype=np.float64)


def at_minima(ends: xr.Dataset, model: str, gradient: float) -> NDArray[np.bool_]:
    """Whether all histories have come to so small a gradient [U]."""
    return np.asarray((ends["gradient"].sel(model=model).values < gradient).all(-1))
