"""Effects in pre-trained, fine-tuned and averaged sweeps: from results to numbers per seed.

L pre-training rates, F fine-tuning rates, U seeds (data seed x seed).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from lrscope.measures.features import sparsity
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.folds import Fold, per_fold

ACCURACY = "test accuracy (0 to 1)"
SWA_FEATURES = 5  # feature_learning, Fig. 3 and 10: averages over five checkpoints


def over(values: Array, positions: Sequence[int]) -> Array:
    """Mean of [L, ...] over some learning rates."""
    return np.asarray(values[list(positions)].mean(0), dtype=np.float64)


def tuned(fold: Fold) -> Array:
    """Test accuracy at the end of fine-tuning [L, F, U]."""
    return arrays.logged(fold.result, "test_accuracy", "finetune")[..., -1]


def trained(fold: Fold) -> Array:
    """Test accuracy at the end of pre-training [L, U]."""
    return arrays.logged(fold.result, "test_accuracy")[..., -1]


def averaged(fold: Fold, n: int) -> Array:
    """Test accuracy of an average of `n` checkpoints, or of the nearest number that there is [L, U]."""
    return arrays.logged(fold.result, "test_accuracy", "average")[:, nearest_average(fold.result, n)]


def nearest_average(result: xr.DataTree, wanted: int = SWA_FEATURES) -> int:
    """Position of the number of averaged checkpoints nearest to the wanted one."""
    return int(np.abs(segment(result, "average")["n_average"].values - wanted).argmin())


def best_apart(fold: Fold, of: Callable[[Fold], Array]) -> Array:
    """`of` [L, U] at the best PLR of regime 2 minus at the best of regime 1, both chosen by the other seeds [U]. It needs no
    2A, which exists only where regime 2 is as good as the best: so regime 1 can win."""
    values = of(fold)
    return np.asarray(values[fold.best("2", of)] - values[fold.best("1", of)], dtype=np.float64)


def feature_accuracies(fold: Fold, stage: str) -> Array:
    """Accuracies on the feature sets [L, U, features] at a stage."""
    return arrays.per_seed(accuracies(fold.result, stage))


def accuracies(result: xr.DataTree, stage: str) -> xr.DataArray:
    """Accuracies on the feature sets after pre-training (`pre`), after fine-tuning with the lowest or highest FLR (`low`,
    `high`), or of an average over five checkpoints (`swa`)."""
    if stage == "pre":
        return segment(result, "pretrain")["feature_accuracy"]
    if stage == "swa":
        return segment(result, "average")["feature_accuracy"].isel(n_average=nearest_average(result))
    return segment(result, "finetune")["feature_accuracy"].isel(finetune_lr=0 if stage == "low" else -1)


CHANCE = 0.5


def effective_number(fold: Fold, stage: str) -> Array:
    """Features that a run relies on [L, U]: NaN where it learned nothing."""
    return np.asarray(
        sparsity(xr.DataArray(feature_accuracies(fold, stage), dims=("lr", "run", "feature")), chance=CHANCE)[
            "effective_number"
        ],
        dtype=np.float64,
    )


def by_plr(folds: list[Fold], label: str, effect: Callable[[Fold], Array]) -> dict[float, Array]:
    """An effect [L, U] of every fold, mean over its seeds, at each PLR that the maps of most folds give a label."""
    positions = [k for k in range(len(folds[0].plr)) if sum(fold.labels[k] == label for fold in folds) > len(folds) / 2]
    return at_plrs(folds, positions, effect)


def at_plrs(folds: list[Fold], positions: Sequence[int], effect: Callable[[Fold], Array]) -> dict[float, Array]:
    """An effect [L, U] of every fold, mean over its seeds, at some PLRs."""

    def at(k: int) -> Array:
        return per_fold(folds, lambda fold: effect(fold)[k])

    return {float(folds[0].plr[k]): at(k) for k in positions}
