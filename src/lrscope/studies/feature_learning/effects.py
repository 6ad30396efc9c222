"""Effects in pre-trained, fine-tuned and averaged sweeps: from results to numbers per seed.

L pre-training rates, F fine-tuning rates, U seeds (data seed x seed).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from lrscope.mapping import regimes
from lrscope.measures.features import sparsity
from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.folds import Fold, per_fold
from lrscope.studies.verdicts import Undetermined

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
    positions = [
        k
        for k in range(len(folds[0].plr))
        if sum(fold.others.labels[k].regime == label for fold in folds) > len(folds) / 2
    ]
    return at_plrs(folds, positions, effect)


def at_plrs(folds: list[Fold], positions: Sequence[int], effect: Callable[[Fold], Array]) -> dict[float, Array]:
    """An effect [L, U] of every fold, mean over its seeds, at some PLRs."""

    def at(k: int) -> Array:
        return per_fold(folds, lambda fold: effect(fold)[k])

    return {float(folds[0].plr[k]): at(k) for k in positions}


def band(fold: Fold, stage: str, name: str) -> Array:
    """Accuracy on the images of one band [L, U] at a stage (`accuracies`)."""
    found = accuracies(fold.result, stage)
    names = [str(n) for n in found["feature"].values]
    return arrays.per_seed(found.isel(feature=names.index(name)))


def at_equal_loss(result: xr.DataTree) -> dict[str, Array]:
    """Sharpness and test error of all fine-tunes from regime 2 at one training loss: `sharpness` (log10), `error` [P, F, U],
    `early` [P, F, U], whether the first logging interval of fine-tuning lies below it, `plr` [P], `flr` [F], `level` [1]; and of
    regime 1's pre-trainings `one_sharpness`, `one_error` [K, U].

    The level is the lowest training loss that all these fine-tunes reach, times 1.05 (feature_learning, App. G: 6e-4). A
    fine-tune begins where its pre-training ended; runs that start below the level, or never reach it, are NaN.

    Raises:
        Undetermined: no regime 2; a fine-tune reaches a loss of 0.
    """
    found = regimes(result)
    two = result.isel(lr=arrays.shown(found, "2"))
    name = common_panels.sharpness(result)[0]
    loss = arrays.logged(two, "train_loss", "finetune")
    level = 1.05 * float(np.nanmax(np.nanmin(loss, axis=-1)))
    one = result.isel(lr=arrays.inside(found, "1"))
    if not level > 0:
        raise Undetermined("some fine-tunes reach a training loss of 0: there is no level to compare at")
    path = _path(arrays.logged(two, "train_loss"), loss)

    def at(before: Array, after: Array) -> Array:
        return arrays.read_off(path, _path(before, after), level)

    return {
        "sharpness": np.log10(at(arrays.logged(two, name), arrays.logged(two, name, "finetune"))),
        "error": at(arrays.logged(two, "test_error"), arrays.logged(two, "test_error", "finetune")),
        "early": loss[..., 0] <= level,
        "plr": two.coords["lr"].values.astype(float),
        "flr": segment(result, "finetune")["finetune_lr"].values.astype(float),
        "level": np.array([level]),
        "one_sharpness": np.log10(arrays.at_level(one, name, level)),
        "one_error": arrays.at_level(one, "test_error", level),
    }


def _path(before: Array, after: Array) -> Array:
    """Fine-tuning [P, F, U, W] with the end of pre-training [P, U, W'] in front: [P, F, U, 1 + W]."""
    start = np.broadcast_to(before[:, None, :, -1:], (*after.shape[:-1], 1))
    return np.concatenate([start, after], -1)


def mean_slopes(sharpness: Array, error: Array) -> Array:
    """Mean over the first axis of the slopes of error on sharpness along the second: [A, B, U] to [U]."""
    found = [
        [np.polyfit(sharpness[a, :, u], error[a, :, u], 1)[0] for u in range(sharpness.shape[2])]
        for a in range(sharpness.shape[0])
    ]
    return common_panels.mean(np.array(found), 0)
