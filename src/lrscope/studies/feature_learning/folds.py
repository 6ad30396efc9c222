"""Each seed of a sweep with the regimes that the other seeds show.

2A is found by the quality of fine-tuned runs, so the
same runs would confirm themselves: regimes are found in other runs than those that are measured (`folds_of`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lrscope.mapping import RegimeMap, regimes
from lrscope.schema import segment
from lrscope.studies import common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined


@dataclass(frozen=True)
class Fold:
    """Some seeds of a sweep, with the map of regimes of all the others."""

    result: xr.DataTree
    others: RegimeMap

    @property
    def plr(self) -> Array:
        return np.asarray(self.result.coords["lr"].values, dtype=np.float64)

    @property
    def flr(self) -> Array:
        return np.asarray(segment(self.result, "finetune")["finetune_lr"].values, dtype=np.float64)

    def inside(self, label: str) -> list[int]:
        """Positions of the PLRs with a label: 1, 2A, 2B or 3.

        Raises:
            Undetermined: none has it.
        """
        found = [k for k, one in enumerate(self.others.labels) if one.regime == label]
        if not found:
            raise Undetermined(f"no learning rate lies in {label}")
        return found

    def upper_one(self) -> list[int]:
        """The upper half of regime 1."""
        one = self.inside("1")
        return one[len(one) // 2 :]

    def lowest(self) -> list[int]:
        """PLRs up to ten times the lowest."""
        return [k for k, lr in enumerate(self.plr) if lr <= 10.01 * self.plr[0]]


def folds_of(result: xr.DataTree) -> list[Fold]:
    """Each data seed (with one only, each seed) with the map of regimes of all the others. A single run is judged by itself:
    nothing can be concluded from it anyway."""
    axis = "data_seed" if result.sizes["data_seed"] > 1 else "seed"
    count = result.sizes[axis]
    if count == 1:
        return [Fold(result, regimes(result))]
    return [
        Fold(result.isel({axis: [i]}), regimes(result.isel({axis: [j for j in range(count) if j != i]})))
        for i in range(count)
    ]


def per_fold(folds: list[Fold], effect: Callable[[Fold], Array]) -> Array:
    """An effect of every fold, mean over its seeds: runs on the same data are not independent. NaN for a fold whose map does
    not show what the effect speaks of, or whose runs have no such number.

    Raises:
        Undetermined: no fold's map shows it.
    """
    values, reasons = np.full(len(folds), np.nan), []
    for i, fold in enumerate(folds):
        try:
            values[i] = float(common_panels.mean(np.atleast_1d(effect(fold)), 0))
        except Undetermined as reason:
            reasons.append(reason)
    if folds and len(reasons) == len(folds):
        raise reasons[-1]
    return values


def mean_over_folds(effect: Array) -> float:
    """Mean over the folds that have it."""
    return float(common_panels.mean(effect, 0))


def readable_folds(*effects: Array, of: str = "") -> str:
    """A sentence for a claim's note if not all effects of one sweep could be read in all its folds."""
    known = np.asarray(np.isfinite(np.stack(effects)).all(0))
    what = f" of the sweep {of}" if of else ""
    return "" if known.all() else f" All of this could be read in {known.sum()} of {len(known)} folds{what}."
