"""Readings of the experiments: accuracies along training, one number per seed.

L learning rates, U seeds, W logging intervals. Times are in epochs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from lrscope.dynamics.schedules import parse
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined, interval

PATCH = "patch only"  # the name of that test set (`tasks.patches`, whose import takes PyTorch)
CLEAN, TRAIN = "test_accuracy", "train_accuracy"
IMAGES = ("image only", "image and patch")  # groups of training examples that show one (`tasks.patches`)
LAST = 0.1  # ours: the part of the logged times that is the end
FITTED = 0.99  # ours: training accuracy from which a training set counts as fitted
LEAST_GAP = 0.01  # ours: two references closer than a point leave nothing between them


@dataclass(frozen=True)
class Curves:
    """Accuracies [U, W] of one learning rate at epochs [W]."""

    values: Array
    epochs: Array

    def mean(self, low: float, high: float) -> Array:
        """Mean over the epochs above `low` and up to `high` [U]; NaN where none is logged there, or a run overflowed."""
        inside = (self.epochs > low * (1 + 1e-9)) & (self.epochs <= high * (1 + 1e-9))
        if not inside.any():
            return np.full(len(self.values), np.nan)
        return np.asarray(self.values[:, inside].mean(1), dtype=np.float64)

    @property
    def end(self) -> Array:
        """Mean over the last tenth of the logged times [U]; NaN where a run overflowed."""
        last = self.values[:, -max(1, round(LAST * len(self.epochs))) :]
        return np.asarray(last.mean(1), dtype=np.float64)


def curves(result: xr.DataTree, of: str, place: int = 0) -> Curves:
    """Of the learning rate at a place of the grid: `test_accuracy` (clean images), `train_accuracy`, or `patch only`."""
    node = segment(result, "pretrain")
    values = node["logged_feature_accuracy"].sel(feature=of) if of == PATCH else node[of]
    return Curves(arrays.per_seed(values)[place], node["epoch"].values.astype(float))


def on_images(result: xr.DataTree, place: int = 0) -> Curves:
    """Accuracy on the training examples that show an image: the lower one of those with and without a patch. A patch alone may
    be as faint as nothing, so these cannot all be fitted. Of training batches where no images are patched."""
    node = segment(result, "pretrain")
    if "example_group_accuracy" not in node:
        return curves(result, TRAIN, place)
    values = node["example_group_accuracy"].sel(example_group=list(IMAGES)).min("example_group")
    return Curves(arrays.per_seed(values)[place], node["epoch"].values.astype(float))


def anneals(result: xr.DataTree) -> list[float]:
    """The epochs at which a sweep's learning rate falls; of a constant one those at which its noise does."""
    config, end = json.loads(result.attrs["config"]), float(segment(result, "pretrain")["epoch"].values[-1])
    for name in ("schedule", "noise_schedule"):
        kind, numbers = parse(config.get(name, "constant"))
        if kind == "step":
            return [fraction * end for fraction in numbers[1:]]
    return []


def chance(result: xr.DataTree) -> float:
    """Accuracy of guessing."""
    return float(np.exp(-arrays.guessing(result)))


def place_between(values: Array, low: Array, high: Array) -> Array:
    """Where values [U] lie between two references [U] of the same seeds: 0 at `low`, 1 at `high`.

    Raises:
        Undetermined: that the references are a point apart is not shown: nothing lies between them.
    """
    gap = high - low
    if not interval(gap)[1] >= LEAST_GAP:
        raise Undetermined(f"it is not shown that the references lie {LEAST_GAP:g} apart")
    return np.asarray((values - low) / gap, dtype=np.float64)


@dataclass(frozen=True)
class Arm:
    """What is compared with another: accuracies of one learning rate on clean test images, on its training set, and on those of
    its training examples that show an image (`on_images`)."""

    name: str
    clean: Curves
    train: Curves
    images: Curves

    @classmethod
    def of(cls, result: xr.DataTree, name: str, place: int = 0) -> Arm:
        """Of the learning rate at a place of a sweep's grid."""
        return cls(name, curves(result, CLEAN, place), curves(result, TRAIN, place), on_images(result, place))

    @property
    def end(self) -> Array:
        """Clean test accuracy at the end [U]."""
        return self.clean.end

    def minus(self, other: Arm) -> Array:
        """Difference of the test accuracies at the end [U]; raises what `require_finished` raises."""
        self.require_finished(other)
        return self.end - other.end

    def require_finished(self, other: Arm) -> None:
        """That a comparison at the end is one of finished runs.

        Raises:
            Undetermined: the worse of both on the test set is the worse one on its training images too and has not fitted
                them, so that it may be merely unfinished.
        """
        worse, better = (self, other) if arrays.average(self.end) < arrays.average(other.end) else (other, self)
        fitted, others = (arrays.average(arm.images.end) for arm in (worse, better))
        if not (fitted >= FITTED or fitted >= others):
            raise Undetermined(
                f"{worse.name}: {fitted:.1%} of its training images are fitted, less than {FITTED:.0%} and than {better.name} fits"
            )


def as_read(values: Array) -> dict[str, Any]:
    """Mean, ends of the 95% interval, and each seed's value: of what is told whether or not it is judged."""
    mean, low, high, _ = interval(values)
    return {"mean": mean, "low": low, "high": high, "per_seed": values.tolist()}


def first_above(found: Curves, level: float) -> float:
    """The first epoch at which the mean over seeds is above a level; infinity if it never is."""
    above = found.values.mean(0) > level
    return float(found.epochs[above.argmax()]) if above.any() else float("inf")
