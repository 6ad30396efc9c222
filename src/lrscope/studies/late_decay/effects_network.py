"""Readings of the sub-paths of networks: what a decay at each time ends at, one number per seed.

K times of decay in increasing order, U seeds (data seed x seed), W logging intervals after the decay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from lrscope.export import finals
from lrscope.schema import PRETRAIN, segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined
from lrscope.validation import result_nodes

FITTED = 0.99  # ours: training accuracy from which a sub-path counts as having come to the minima
LEAST_TIMES = 3  # ours: two times make no trend
COOLDOWN, LONG = (
    "cooldown",
    "long",
)  # branches of the sweeps: sub-paths of one length; one that trains on until it has caught up
ABOVE_LOWEST = 1.05  # ours: as feature_learning's App. G reads runs at one loss


@dataclass(frozen=True)
class SubPaths:
    """What one branch of a sweep ends at.

    Attributes:
        at: times of decay, in epochs [K].
        test, accuracy, train, fitted: test loss and accuracy, training loss and accuracy at the end [K, U]; NaN where a run overflowed.
        before: test loss of the main path at the decay [K, U].
        test_on_way, train_on_way: losses after the decay [K, U, W]; NaN behind a shorter one's end.
    """

    at: Array
    test: Array
    accuracy: Array
    train: Array
    fitted: Array
    before: Array
    test_on_way: Array
    train_on_way: Array

    @classmethod
    def of(cls, result: xr.DataTree, branch: str) -> SubPaths:
        """Of the first learning rate, and of the first place on any axis beside the time."""
        node = next(node for node in result_nodes(result) if node.name == branch)
        others = {axis: 0 for axis in ("lr", *node.axes) if axis != f"{branch}_at"}
        data = segment(result, branch).isel(others)
        last = finals(segment(result, branch), node.runs).isel(others)
        ends = {
            name: _by_seed(last[name], branch)
            for name in ("test_loss", "test_accuracy", "train_loss", "train_accuracy")
        }
        test, accuracy, train, fitted = ends.values()
        on_way = (_by_seed(data[name], branch) for name in ("test_loss", "train_loss"))
        at = data[f"{branch}_at"].values.astype(float)
        main = segment(result, PRETRAIN.name)["test_loss"].isel(lr=0)
        return cls(at, test, accuracy, train, fitted, _at(main, at), *on_way)

    def finished(self) -> SubPaths:
        """At the times whose sub-paths fit 99% of the training images, mean over seeds: the others say nothing of minima.

        Raises:
            Undetermined: fewer than three such times.
        """
        kept = np.array([arrays.average(row) >= FITTED for row in self.fitted])
        if kept.sum() < LEAST_TIMES:
            raise Undetermined(
                f"the training set is fitted to {FITTED:.0%} after {kept.sum()} of {len(kept)} decays, {LEAST_TIMES} are needed"
            )
        return SubPaths(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))

    @property
    def fall(self) -> Array:
        """Decades of final test loss from the earliest to the latest decay [U]: positive where the latest ends lower."""
        return np.asarray(np.log10(self.test[0] / self.test[-1]))

    @property
    def fall_at_equal_loss(self) -> Array:
        """The same where each sub-path's training loss first comes down to the draw's level [U]: the lowest that all the draw's
        sub-paths reach, times 1.05, as feature_learning's App. G is read.

        NaN where the earliest or the latest has passed it at the first logged moment after the decay, because nobody saw its test loss
        there, and where a sub-path reaches a loss of 0.
        """
        lowest = np.where(np.isfinite(self.train_on_way), self.train_on_way, np.inf).min(-1)
        level = ABOVE_LOWEST * np.where(np.isfinite(lowest), lowest, 0.0).max(0)
        found = np.full((2, len(level)), np.nan)
        for u in np.flatnonzero((level > 0) & (lowest > 0).all(0)):
            train, test = (way[[0, -1], u] for way in (self.train_on_way, self.test_on_way))
            found[:, u] = arrays.read_off(train, test, float(level[u]))
        return np.asarray(np.log10(found[0] / found[1]))

    @property
    def trend(self) -> Array:
        """Kendall's tau of decay times and final test losses [U]: -1 where each later decay ends lower, 1 where each ends higher."""
        pairs = np.triu(np.ones((len(self.at), len(self.at))), 1).astype(bool)
        signs = np.sign(self.test[None] - self.test[:, None])[pairs]  # later minus earlier [pairs, U]
        return np.asarray(signs.mean(0))

    @property
    def rises(self) -> Array:
        """Decades by which the final test loss of each time lies above that of the time before [K - 1, U]."""
        return np.diff(np.log10(self.test), axis=0)

    @property
    def last_doubling(self) -> Array:
        """Decades that the test loss falls from the decay nearest to half of the latest time to the latest one [U]."""
        half = int(np.abs(np.log(self.at[:-1] / self.at[-1]) + np.log(2)).argmin())
        return np.asarray(np.log10(self.test[half] / self.test[-1]))

    @property
    def correlation(self) -> Array:
        """Over the times: of the final test loss with the main path's at the decay [U]; NaN where one of them is constant."""
        found = np.full(self.test.shape[1], np.nan)
        for u in range(len(found)):
            known = np.isfinite(self.before[:, u]) & np.isfinite(self.test[:, u])
            pair = self.before[known, u], self.test[known, u]
            if known.sum() >= LEAST_TIMES and min(map(np.ptp, pair)) > 0:
                found[u] = np.corrcoef(*pair)[0, 1]
        return found


def fall_at_the_end_of(later: SubPaths, early: SubPaths) -> Array:
    """Decades of test loss at one training loss: a sub-path that leaves early over one that leaves later [U].

    The loss is that at which the later one ends. The early one, which trains for longer, is read where it first comes down to it: NaN
    where it never does, where it is there at its first logged moment, and where the later one ends at 0 or overflowed.

    Raises:
        Undetermined: the later sub-path does not fit 99% of the training images at its end, mean over seeds.
    """
    fitted = arrays.average(later.fitted[-1])
    if not fitted >= FITTED:
        raise Undetermined(
            f"after the later of the two decays {fitted:.1%} of the training images are fitted, {FITTED:.0%} are needed"
        )
    found = np.full(later.test.shape[1], np.nan)
    for u in np.flatnonzero(np.isfinite(later.test[-1]) & (later.train[-1] > 0)):
        at_level = arrays.read_off(early.train_on_way[0, u], early.test_on_way[0, u], float(later.train[-1, u]))
        found[u] = np.log10(at_level / later.test[-1, u])
    return found


def _by_seed(array: xr.DataArray, branch: str) -> Array:
    """[K, U] or [K, U, W]."""
    rest = [d for d in array.dims if d in ("epoch",)]
    values = array.transpose(f"{branch}_at", "data_seed", "seed", *rest).values
    return np.asarray(values.reshape(len(values), -1, *values.shape[3:]), dtype=np.float64)


def _at(main: xr.DataArray, epochs: Array) -> Array:
    """The main path's values at epochs [K, U]; NaN where they are not logged."""
    values: Any = main.transpose("epoch", "data_seed", "seed").values
    times = main["epoch"].values.astype(float)
    found = np.full((len(epochs), values[0].size), np.nan)
    for k, epoch in enumerate(epochs):
        near = int(np.abs(times - epoch).argmin())
        if np.isclose(times[near], epoch, rtol=1e-6):
            found[k] = values[near].ravel()
    return found
