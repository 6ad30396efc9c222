"""Readings of surfaces through training paths (`planes`), one number per draw of the images.

D draws, N checkpoints.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from lrscope.studies.arrays import Array

OPEN = 0.25  # of lrscope.landscapes.level_sets, whose package takes PyTorch


def rises(found: xr.Dataset, loss: str) -> Array:
    """How far a level set's pass to the frame lies above its lowest point, over the height of the level [D]: above 1 it is closed, at
    1/4 or below it is open. NaN where the landscape says that it is undetermined: between both a frame is too small to tell."""
    one = found.sel(loss=loss)
    return np.where(one["verdict"].values != "undetermined", one["rise"].values.astype(float), np.nan)


def approach(found: xr.Dataset, *, main: bool) -> Array:
    """Decades by which the distance to the lowest test loss of the surface falls from the first to the last checkpoint [D], of the
    main path or of the sub-paths' ends, where they are drawn. NaN where that lowest point lies at the frame."""
    kept = np.flatnonzero(found["main"].values == main)
    first, last = (_distances(found.isel(checkpoint=kept[place])) for place in (0, -1))
    return np.asarray(np.log10(first / last), dtype=np.float64)


def _distances(one: xr.Dataset) -> Array:
    """From a checkpoint to the lowest test loss [D]."""
    places = [_lowest(one.isel(draw=d)) for d in range(one.sizes["draw"])]
    x, y = (np.array([place[i] for place in places]) for i in (0, 1))
    return np.asarray(np.hypot(one["at_x"].values - x, one["at_y"].values - y), dtype=np.float64)


def _lowest(one: xr.Dataset) -> tuple[float, float]:
    """Where the test loss is lowest, on the grid; NaN at the frame."""
    values: Any = one["test_loss"].values
    row, column = np.unravel_index(int(np.where(np.isfinite(values), values, np.inf).argmin()), values.shape)
    if row in (0, values.shape[0] - 1) or column in (0, values.shape[1] - 1):
        return np.nan, np.nan
    return float(one["x"].values[column]), float(one["y"].values[row])
