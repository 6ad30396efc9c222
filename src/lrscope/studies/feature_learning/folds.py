"""Each seed of a sweep with the regimes that the other seeds show.

2A is found by the quality of fine-tuned runs, so the
same runs would confirm themselves: regimes are found in other runs than those that are measured (`folds_of`).
L pre-training rates, U seeds of a fold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from lrscope.mapping import quality, regimes
from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Fold:
    """Some seeds of a sweep (`result`), all the others, and the label that these give each PLR: 1, 2A, 2B, 3, dead, ..."""

    result: xr.DataTree
    others: xr.DataTree
    labels: Labels

    @property
    def plr(self) -> Array:
        return np.asarray(self.result.coords["lr"].values, dtype=np.float64)

    @property
    def flr(self) -> Array:
        return np.asarray(segment(self.result, "finetune")["finetune_lr"].values, dtype=np.float64)

    def inside(self, label: str) -> list[int]:
        """Positions of the PLRs with a label: 1, 2A, 2B or 3; all of regime 2 for 2.

        Raises:
            Undetermined: none has it.
        """
        found = [k for k, one in enumerate(self.labels) if one.startswith(label)]
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

    def best(self, label: str, effect: Callable[[Fold], Array]) -> int:
        """Position of the PLR with a label at which an effect [L, U] is largest in the other runs, mean over them.

        Raises:
            Undetermined: none has the label, or the effect there.
        """
        positions = self.inside(label)
        means = common_panels.mean(effect(Fold(self.others, self.others, self.labels))[positions], 1)
        if np.isnan(means).all():
            raise Undetermined(f"the other seeds say nothing of {label}")
        return positions[int(np.nanargmax(means))]


def by_rules(result: xr.DataTree) -> Labels:
    """Labels by the rules of regimes (docs/regimes.md)."""
    return tuple(label.regime for label in regimes(result).labels)


def by_accuracy(result: xr.DataTree) -> Labels:
    """Labels of a conventional network by the paper's convention: regime 2 begins at the PLR with the best pre-training
    accuracy (feature_learning, Sec. 4), mean over seeds, smoothed as for a recommendation (`quality.smoothing`), because the
    accuracy is flat around it. 2A are the PLRs from there on from which the lowest FLR ends within noise of the best
    (`quality.lower_part`). PLRs at which a run overflowed or all died are dead.
    """
    before = arrays.logged(result, "test_accuracy")[..., -1]
    lost = np.asarray(~np.isfinite(before).all(1))
    gone = [label in ("dead", "?") or bool(lost[k]) for k, label in enumerate(by_rules(result))]
    if all(gone):
        return ("?",) * len(gone)
    plr = np.asarray(result.coords["lr"].values, dtype=np.float64)
    smooth = quality.smoothing(plr, before) @ np.where(lost, 0.0, common_panels.mean(before, 1))
    first = int(np.where(gone, -np.inf, smooth).argmax())
    stop = next((k for k in range(first, len(gone)) if gone[k]), len(gone))
    after = arrays.logged(result, "test_accuracy", "finetune")[:, 0, :, -1]
    begin, end = quality.lower_part(after, first, stop)

    def label(k: int) -> str:
        if gone[k] or k >= stop:
            return "dead"
        return "1" if k < first else "2A" if begin <= k < end else "2" if k < begin else "2B"

    return tuple(label(k) for k in range(len(gone)))


def border_above(fold: Fold) -> Fold:
    """The same with the first PLR of regime 2 given to regime 1. By `by_accuracy` it is the one with the best pre-training
    accuracy, which a drawn border could leave on either side."""
    first = next((k for k, label in enumerate(fold.labels) if label.startswith("2")), None)
    return replace(fold, labels=tuple("1" if k == first else label for k, label in enumerate(fold.labels)))


def folds_of(result: xr.DataTree, labels: Callable[[xr.DataTree], Labels] = by_rules) -> list[Fold]:
    """Each data seed (with one only, each seed) with the labels of all the others. A single run is judged by itself:
    nothing can be concluded from it anyway."""
    axis = "data_seed" if result.sizes["data_seed"] > 1 else "seed"
    count = result.sizes[axis]
    if count == 1:
        return [Fold(result, result, labels(result))]
    found = []
    for i in range(count):
        others = result.isel({axis: [j for j in range(count) if j != i]})
        found.append(Fold(result.isel({axis: [i]}), others, labels(others)))
    return found


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
