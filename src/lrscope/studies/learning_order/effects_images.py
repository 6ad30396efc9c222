"""Readings of the experiments: accuracies along training, one number per seed.

L learning rates, U seeds, W logging intervals. Times are in epochs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lrscope.dynamics.schedules import parse
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array

PATCH = "patch only"  # the name of that test set (`tasks.patches`, whose import takes PyTorch)
CLEAN, TRAIN = "test_accuracy", "train_accuracy"
LAST = 0.1  # ours: the part of the logged times that is the end
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
    """Where values [U] lie between two references [U]: 0 at `low`, 1 at `high`, in units of the mean distance of these.

    NaN where that is less than a point: nothing lies between them.
    """
    gap = float(np.mean(high - low))
    return (values - low) / gap if gap >= LEAST_GAP else np.full(len(values), np.nan)
