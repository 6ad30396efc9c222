"""Effects that show beyond the logs: lines between states, sharpness measures, random walks. From arrays to numbers per seed.

U seeds, L learning rates, K positions on a line.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects import barrier
from lrscope.studies.verdicts import Undetermined


def along_lines(paths: xr.DataArray) -> dict[str, Array]:
    """Losses on lines between checkpoints, relative to the mean of the two ends, median over checkpoint distances [U]:
    `lower`, how much lower it is half-way at the lowest ELR; `rise_lowest`, `rise_highest`, the largest rise above the
    straight line at the lowest and highest ELR. `rises` [U, L, distances] are not summarised."""
    values = paths.transpose("seed", "lr", "delta", "alpha").values
    ends = (values[..., 0] + values[..., -1]) / 2
    middle = values[..., values.shape[-1] // 2]
    rise = barrier(values) / ends
    return {
        "lower": np.median(1 - (middle / ends)[:, 0], axis=-1),
        "rise_lowest": np.median(rise[:, 0], axis=-1),
        "rise_highest": np.median(rise[:, -1], axis=-1),
        "rises": rise,
    }


def median_barriers(paths: xr.DataArray) -> tuple[Array, Array]:
    """Barriers between neighbouring solutions: their median over the pairs that converged [U], NaN where none did, and all
    of them [U, pairs], NaN for the pairs that did not.

    Raises:
        Undetermined: no pair converged.
    """
    rise = barrier(paths.transpose("seed", "pair", "alpha").values)
    there = np.isfinite(rise)
    if not there.any():
        raise Undetermined("no two neighbouring ELRs of regime 1 converged")
    medians = [np.median(of_seed[here]) if here.any() else np.nan for of_seed, here in zip(rise, there, strict=True)]
    return np.array(medians, dtype=np.float64), rise


def walk_and_regimes(walks: xr.Dataset) -> dict[str, Array]:
    """Mean cosine of successive weights in regimes `two` and `three` and of the random `walk`, and by how much the training
    loss of regime 3 lies `above` the walk's [U]."""
    cosine, walk = walks["cosine"].mean("step"), walks["walk_cosine"].mean("step")
    above = (walks["loss"] - walks["walk_loss"]).sel(regime="3").mean("moment")
    found = {
        "two": cosine.sel(regime="2"),
        "three": cosine.sel(regime="3"),
        "walk": walk.sel(regime="3"),
        "above": above,
    }
    return {name: np.asarray(values.values, dtype=np.float64) for name, values in found.items()}


def rank_correlation(steepness: xr.Dataset, first: str, second: str) -> Array:
    """Spearman correlation of two measures over ELRs and times of training [U]."""
    found = steepness.transpose("seed", "lr", "epoch")
    pairs = zip(found[first].values, found[second].values, strict=True)
    return np.array([stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs], dtype=np.float64)
