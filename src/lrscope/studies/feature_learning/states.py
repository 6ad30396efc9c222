"""States of a pre-trained, fine-tuned or averaged sweep, read with the regimes that other runs tell.

L pre-training rates, F fine-tuning rates, U units (data seed x seed). 2A is found by the quality of fine-tuned runs, so the
same runs would confirm themselves: regimes are told from other runs than those that are measured (`judged`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lrscope.mapping import RegimeMap, regimes
from lrscope.studies import panels, reading
from lrscope.studies.reading import Array
from lrscope.studies.stats import Unseen

SWA_FEATURES = 5  # feature_learning, Fig. 3 and 10: averages over five checkpoints


@dataclass(frozen=True)
class Part:
    """Some units of a sweep, with the map of regimes of all the others."""

    result: xr.Dataset
    others: RegimeMap

    @property
    def plr(self) -> Array:
        return np.asarray(self.result["lr"].values, dtype=np.float64)

    @property
    def flr(self) -> Array:
        return np.asarray(self.result["finetune_lr"].values, dtype=np.float64)

    def inside(self, label: str) -> list[int]:
        """Positions of the PLRs with a label: 1, 2A, 2B or 3.

        Raises:
            Unseen: none has it.
        """
        found = [k for k, one in enumerate(self.others.labels) if one.regime == label]
        if not found:
            raise Unseen(f"no learning rate lies in {label}")
        return found

    def upper_one(self) -> list[int]:
        """The upper half of regime 1."""
        one = self.inside("1")
        return one[len(one) // 2 :]

    def lowest(self) -> list[int]:
        """PLRs up to ten times the lowest."""
        return [k for k, lr in enumerate(self.plr) if lr <= 10.01 * self.plr[0]]


def judged(result: xr.Dataset) -> list[Part]:
    """Each data seed (with one only, each seed) with the map of regimes of all the others. A single run is judged by itself:
    nothing can be concluded from it anyway."""
    axis = "data_seed" if result.sizes["data_seed"] > 1 else "seed"
    count = result.sizes[axis]
    if count == 1:
        return [Part(result, regimes(result))]
    return [
        Part(result.isel({axis: [i]}), regimes(result.isel({axis: [j for j in range(count) if j != i]})))
        for i in range(count)
    ]


def each(parts: list[Part], effect: Callable[[Part], Array]) -> Array:
    """An effect of every part, mean over its units: runs on the same data are not independent. NaN for a part whose map does
    not show what the effect speaks of, or whose runs have no such number.

    Raises:
        Unseen: no part's map shows it.
    """
    values, reasons = np.full(len(parts), np.nan), []
    for i, part in enumerate(parts):
        try:
            values[i] = float(panels.mean(np.atleast_1d(effect(part)), 0))
        except Unseen as reason:
            reasons.append(reason)
    if parts and len(reasons) == len(parts):
        raise reasons[-1]
    return values


def mean_of_parts(effect: Array) -> float:
    """Mean over the parts that have it."""
    return float(panels.mean(effect, 0))


def read_in(*effects: Array, of: str = "") -> str:
    """A sentence for a claim's note if not all effects of one sweep could be read in all its parts."""
    known = np.asarray(np.isfinite(np.stack(effects)).all(0))
    what = f" of the sweep {of}" if of else ""
    return "" if known.all() else f" All of this could be read in {known.sum()} of {len(known)} parts{what}."


def over(values: Array, positions: Sequence[int]) -> Array:
    """Mean of [L, ...] over some learning rates."""
    return np.asarray(values[list(positions)].mean(0), dtype=np.float64)


def tuned(part: Part) -> Array:
    """Test accuracy at the end of fine-tuning [L, F, U]."""
    return reading.units(part.result["finetune_test_accuracy"])[..., -1]


def trained(part: Part) -> Array:
    """Test accuracy at the end of pre-training [L, U]."""
    return reading.units(part.result["test_accuracy"])[..., -1]


def averaged(part: Part, n: int) -> Array:
    """Test accuracy of an average of `n` checkpoints, or of the nearest number that there is [L, U]."""
    return reading.units(part.result["average_test_accuracy"])[:, nearest_average(part.result, n)]


def nearest_average(result: xr.Dataset, wanted: int = SWA_FEATURES) -> int:
    """Position of the number of averaged checkpoints nearest to the wanted one."""
    return int(np.abs(result["n_average"].values - wanted).argmin())


def probes(part: Part, state: str) -> Array:
    """Accuracies on the feature sets [L, U, features] in a state."""
    return reading.units(accuracies(part.result, state))


def accuracies(result: xr.Dataset, state: str) -> xr.DataArray:
    """Accuracies on the feature sets after pre-training (`pre`), after fine-tuning with the lowest or highest FLR (`low`,
    `high`), or of an average over five checkpoints (`swa`)."""
    if state == "pre":
        return result["feature_accuracy"]
    if state == "swa":
        return result["average_feature_accuracy"].isel(n_average=nearest_average(result))
    return result["finetune_feature_accuracy"].isel(finetune_lr=0 if state == "low" else -1)
