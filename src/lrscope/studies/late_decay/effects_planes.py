"""Readings of surfaces through training paths (`planes`), one number per draw of the images.

D draws, N checkpoints.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined

ON_SURFACE = 0.5  # ours: the least part of the checkpoints' variance that the surface must hold
LEFT_OUT = 0.25  # ours: more draws that say nothing leave a part undetermined: those that are left are no fair choice
LATE = 0.75  # the last quarter of the main path, whose median loss is the level of the level sets, too
NEAR_LEVEL = 2.0  # ours: the main path's loss has come to its late level where it is at most this many times as high


def enough(values: Array) -> Array:
    """Values of all draws [D], if most of them say something.

    Raises:
        Undetermined: more than a quarter of them are NaN.
    """
    lost = int(np.isnan(values).sum())
    if lost > LEFT_OUT * len(values):
        raise Undetermined(f"{lost} of {len(values)} draws say nothing")
    return values


def held(found: xr.Dataset) -> Array:
    """The part of the checkpoints' variance that the surface holds [D]: squared distances on it, as drawn, over these and those from it."""
    x, y, off = (found[name].transpose("draw", "checkpoint").values for name in ("at_x", "at_y", "off"))
    on, beside = x.var(1) + y.var(1), (off**2).mean(1)
    return np.asarray(on / (on + beside), dtype=np.float64)


def near(found: xr.Dataset, values: Array) -> Array:
    """Values [D], NaN for draws whose checkpoints do not lie near their surface: it says nothing of them."""
    return np.where(held(found) >= ON_SURFACE, values, np.nan)


class Counts(NamedTuple):
    """Draws whose level set is as it should be, is the opposite, and of which the surface says nothing."""

    good: int
    bad: int
    silent: int


def level_sets(found: xr.Dataset, loss: str, good: str, bad: str) -> Counts:
    """How many level sets are `good` and `bad`, `open` or `closed`; the others, and those of a surface far from its checkpoints, are
    silent."""
    verdicts = np.where(held(found) >= ON_SURFACE, found["verdict"].sel(loss=loss).values, "undetermined")
    as_asked, opposite = (int((verdicts == one).sum()) for one in (good, bad))
    return Counts(as_asked, opposite, len(verdicts) - as_asked - opposite)


def main_path_approaches(found: xr.Dataset) -> Array:
    """Decades by which the main path's distance to the lowest test loss of the surface falls [D], as drawn: from the first snapshot
    at which its training loss has come to its late level, to the last. So phase I does not count, in which any path comes nearer.
    NaN where that lowest point lies at the widest frame, and where no way is left from the late level on."""
    path = found.isel(checkpoint=np.flatnonzero(found["main"].values))
    away, first = _distances(path), _at_late_level(path)
    begin = np.take_along_axis(away, first[:, None], 1)[:, 0]
    fall = np.log10(begin / away[:, -1])
    return np.where(first < away.shape[1] - 1, fall, np.nan)


def _at_late_level(path: xr.Dataset) -> NDArray[np.int64]:
    """Of the main path, the place of the first snapshot whose training loss is at the late level [D]; the last, if none is."""
    loss = path["own_train_loss"].transpose("draw", "checkpoint").values
    epoch = path["epoch"].values
    level = NEAR_LEVEL * np.median(loss[:, epoch >= LATE * epoch[-1]], 1, keepdims=True)
    low = loss <= level
    return np.where(low.any(1), low.argmax(1), len(epoch) - 1)


def ends_approach(found: xr.Dataset, first: float, last: float) -> Array:
    """Decades by which the distance to the lowest test loss falls from the end of the sub-path that leaves at epoch `first` to that at
    `last` [D]. NaN where that lowest point lies at the widest frame."""
    ends = found.isel(checkpoint=np.flatnonzero(~found["main"].values))
    places = [int(np.abs(ends["epoch"].values - at).argmin()) for at in (first, last)]
    away = _distances(ends)[:, places]
    return np.asarray(np.log10(away[:, 0] / away[:, 1]), dtype=np.float64)


def _distances(found: xr.Dataset) -> Array:
    """From checkpoints to the lowest test loss [D, N]."""
    places = found["minimum"].transpose("draw", "axis").values
    x, y = (found[name].transpose("draw", "checkpoint").values for name in ("at_x", "at_y"))
    return np.asarray(np.hypot(x - places[:, :1], y - places[:, 1:]), dtype=np.float64)
