"""On which frequency bands a network relies: bands alone, bands removed, and which of them are useful at all.

L pre-training rates, U seeds (data seed x seed), D data seeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lrscope.studies import arrays, common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import SWA_FEATURES, accuracies, averaged, over, trained, tuned
from lrscope.studies.feature_learning.folds import Fold, mean_over_folds, per_fold
from lrscope.studies.types import StudyResults
from lrscope.studies.verdicts import Undetermined

GROUPS = ("background", "low", "mid", "high")
WITHOUT = "without "  # as `lrscope.tasks.features` names the sets from which a group was removed
ONLY = "only_"  # begins the names of the sweeps that train on one group of bands
LOWEST, REST = (
    "lowest",
    "rest",
)  # end those of a transformer's: low of the lowest split, and all other low and mid bands
FLOOR = 2.0  # ours: accuracies below twice chance measure a floor
READ = ("1", "2A", "2B")  # where a floor would hide what claims compare; of regime 1 its upper half


def chance(result: xr.DataTree) -> float:
    """Accuracy of guessing."""
    return 1.0 / float(json.loads(result.attrs["task"])["classes"])


def on_set(fold: Fold, stage: str, name: str) -> Array:
    """Accuracy on a feature set [L, U] at a stage (`accuracies`)."""
    found = accuracies(fold.result, stage)
    names = [str(n) for n in found["feature"].values]
    return arrays.per_seed(found.isel(feature=names.index(name)))


def whole(fold: Fold, stage: str) -> Array:
    """Accuracy on unmodified test images [L, U] at a stage."""
    if stage == "pre":
        return trained(fold)
    return averaged(fold, SWA_FEATURES) if stage == "swa" else tuned(fold)[:, 0 if stage == "low" else -1]


def lost(fold: Fold, stage: str, group: str) -> Array:
    """What removing a group of bands costs [L, U]: accuracy on whole images minus accuracy without it."""
    return np.asarray(whole(fold, stage) - on_set(fold, stage, WITHOUT + group), dtype=np.float64)


def ahead(fold: Fold, stage: str, group: str, of: Callable[[Fold, str, str], Array], where: Sequence[int]) -> Array:
    """`of` (`on_set`, `lost`) the group minus the largest of the others, mean over some PLRs [U]."""
    rest = [over(of(fold, stage, name), where) for name in GROUPS if name != group]
    return np.asarray(over(of(fold, stage, group), where) - np.max(rest, axis=0), dtype=np.float64)


def low_of_both(fold: Fold, stage: str) -> Array:
    """Accuracy above chance on low bands alone, as a part of that on low and on mid ones, mean over 2A [U]: 0 to 1, NaN
    where neither gets anything."""
    low, mid = (
        np.maximum(over(on_set(fold, stage, name), fold.inside("2A")) - chance(fold.result), 0.0)
        for name in ("low", "mid")
    )
    both = low + mid
    return np.asarray(np.divide(low, both, out=np.full_like(both, np.nan), where=both > 0))


def low_parts(folds: Sequence[Fold], stage: str) -> Array:
    """`low_of_both` of every fold [folds].

    Raises:
        Undetermined: no fold's map shows 2A, or neither low nor mid bands alone reach twice chance there, mean over folds: the
            ratio of two floors says nothing.
    """
    values = per_fold(list(folds), lambda fold: low_of_both(fold, stage))
    best = _highest(folds, stage, ("2A",), ("low", "mid"))
    if best < FLOOR * chance(folds[0].result):
        raise Undetermined(f"neither low nor mid bands alone reach twice chance in 2A ({best:.2f})")
    return values


def above_floor(folds: Sequence[Fold], stage: str) -> None:
    """Refuse to read what networks get on bands alone where none of them gets anything. Networks of 2A at chance beside others
    that are not are read: they speak against the claims. It is decided once, on means over folds: left out one by one by what
    they got, the folds that remain would be the better ones.

    Raises:
        Undetermined: no group alone reaches twice chance in any of 1 (its upper half), 2A and 2B.
    """
    best = _highest(folds, stage, READ, GROUPS)
    if best < FLOOR * chance(folds[0].result):
        raise Undetermined(f"no group of bands alone reaches twice chance in any of {', '.join(READ)} ({best:.2f})")


def _highest(folds: Sequence[Fold], stage: str, labels: Sequence[str], groups: Sequence[str]) -> float:
    """The highest of the accuracies on single groups at single regimes, each a mean over the folds whose maps show it; 0 where
    nothing is known."""

    def level(label: str, name: str) -> float:
        def accuracy(fold: Fold) -> Array:
            return over(on_set(fold, stage, name), fold.upper_one() if label == "1" else fold.inside(label))

        return mean_over_folds(per_fold(list(folds), accuracy))

    shown = [label for label in labels if any(one.startswith(label) for fold in folds for one in fold.labels)]
    return float(np.nanmax([0.0, *(level(label, name) for label in shown for name in groups)]))


def share_of(accuracy: Array, control: Array, guessing: float) -> Array:
    """Of what networks trained on bands alone get above chance on them (`control` [D]), the part that others get (`accuracy`
    [D]): 0 where these guess, 1 where they get as much.

    Raises:
        Undetermined: the control gets less than twice chance, mean over draws: it says nothing of what the bands hold.
    """
    level = float(control.mean())
    if level < FLOOR * guessing:
        raise Undetermined(f"networks trained on these bands alone get less than twice chance ({level:.2f})")
    return np.asarray((accuracy - guessing) / (control - guessing), dtype=np.float64)


@dataclass(frozen=True)
class Useful:
    """What networks trained on one group of bands alone get on it: by group [D], and the best group's name."""

    accuracy: Mapping[str, Array]
    best: str

    @property
    def lead(self) -> Array:
        """The group that is best in the other draws minus the best of the rest, in the draw left out [D]: chosen and measured in
        the same draws some group always leads. NaN where there is a single draw."""
        levels = np.array([*self.accuracy.values()])  # [groups, D]
        found = np.full(levels.shape[1], np.nan)
        for d in range(len(found)):
            others = np.delete(levels, d, axis=1)
            if others.size:
                best = int(others.mean(1).argmax())
                found[d] = levels[best, d] - np.delete(levels[:, d], best).max()
        return found


def useful(results: StudyResults, groups: Sequence[str] = GROUPS) -> Useful:
    """Which bands are useful for the task: each group's networks at the learning rate that is best on average.

    Raises:
        Undetermined: no group reaches twice chance.
    """
    found = {name: trained_on(results.sweep(ONLY + name)) for name in groups}
    best = max(found, key=lambda name: float(found[name].mean()))
    level = float(found[best].mean())
    if level < FLOOR * chance(results.sweep(ONLY + best)):
        raise Undetermined(f"no group of bands alone can be learned: the best gets {level:.2f}")
    return Useful(found, best)


def trained_on(result: xr.DataTree) -> Array:
    """What networks trained on one group of bands alone get on it: test accuracy at the learning rate with the highest mean, by
    data seed [D]."""
    values = arrays.logged(result, "test_accuracy")[..., -1]
    means = common_panels.mean(values, 1)
    at = int(np.nanargmax(np.where(np.isnan(values).any(1), -np.inf, means)))
    by_draw = (
        values[at].reshape(result.sizes["data_seed"], -1) if result.sizes["data_seed"] > 1 else values[at][:, None]
    )
    return common_panels.mean(by_draw, 1)
