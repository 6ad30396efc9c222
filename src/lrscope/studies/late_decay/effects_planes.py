"""Readings of surfaces through training paths (`planes`), one number per draw of the images.

D draws, N checkpoints.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined

ON_SURFACE = 0.5  # ours: the least part of the checkpoints' variance that the surface must hold
LEFT_OUT = 0.25  # ours: more draws that say nothing leave a part undetermined: those that are left are no fair choice
LATE = 0.75  # the last quarter of the main path, whose median loss is the level of the level sets, too
NEAR_LEVEL = 2.0  # ours: the main path's loss has come to its late level where it is at most this many times as high
IN_A_ROW = 3  # ours: snapshots at the late level that show that the main path has come to it; one may be luck


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
    """How many level sets are `good` and `bad`, `open` or `closed`. Silent are the others, those whose lowest point lies at the frame,
    and those of a surface far from its checkpoints."""
    return _counts(found, loss, found["verdict"].sel(loss=loss).values, good, bad)


def at_other_height(found: xr.Dataset, loss: str, other: str, good: str, bad: str) -> Counts:
    """The same at the relative height of the `other` loss: a level whose ratio to the loss at the set's lowest point is the other's.

    That point and the pass from it to the frame stay what they are.
    """
    from lrscope.landscapes.level_sets import OPEN

    lowest, closing = (found[name].sel(loss=loss).values for name in ("lowest", "closing"))
    with np.errstate(divide="ignore", invalid="ignore"):
        times = (found["level"] / found["lowest"]).sel(loss=other).values
        rise = (closing / lowest - 1) / np.where((times > 1) & np.isfinite(times), times - 1, np.nan)
    verdicts = np.select([rise > 1, rise <= OPEN], ["closed", "open"], "undetermined")
    return _counts(found, loss, verdicts, good, bad)


def _counts(found: xr.Dataset, loss: str, verdicts: NDArray[Any], good: str, bad: str) -> Counts:
    """A pass of height 0 is one from a lowest point that lies at the frame: a bowl whose middle lies beyond it looks the same."""
    speaks = (held(found) >= ON_SURFACE) & (found["rise"].sel(loss=loss).values != 0)
    as_asked, opposite = (int((speaks & (verdicts == one)).sum()) for one in (good, bad))
    return Counts(as_asked, opposite, len(verdicts) - as_asked - opposite)


def main_path_approaches(found: xr.Dataset) -> Array:
    """Decades by which the main path's distance to the lowest test loss of the surface falls [D], as drawn: from the first of
    three successive snapshots at which its training loss is at its late level, to the last. So phase I does not count, in which any path comes
    nearer. NaN where that lowest point lies at the widest frame, and where no three snapshots are at the late level."""
    path = _main_path(found)
    away, first = _distances(path), _came_to_level(_at_level(path))
    begin = np.take_along_axis(away, first[:, None], 1)[:, 0]
    fall = np.log10(begin / away[:, -1])
    return np.where(first < away.shape[1] - 1, fall, np.nan)


def stays_at_level(found: xr.Dataset) -> Array:
    """Of the main path's snapshots from that first one on, the part whose training loss is at the late level [D]; NaN where there is
    no such snapshot."""
    low = _at_level(_main_path(found))
    first = _came_to_level(low)
    later = np.arange(low.shape[1]) >= first[:, None]
    return np.where(first < low.shape[1] - 1, (low & later).sum(1) / later.sum(1), np.nan)


def _main_path(found: xr.Dataset) -> xr.Dataset:
    return found.isel(checkpoint=np.flatnonzero(found["main"].values))


def _at_level(path: xr.Dataset) -> NDArray[np.bool_]:
    """Whether the training loss is at most twice the median of those over the last quarter of the path [D, N]."""
    loss = path["own_train_loss"].transpose("draw", "checkpoint").values
    epoch = path["epoch"].values
    level = NEAR_LEVEL * np.median(loss[:, epoch >= LATE * epoch[-1]], 1, keepdims=True)
    return np.asarray(loss <= level)


def _came_to_level(low: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The place of the first of three successive snapshots at the late level [D]; that of the last snapshot, if there are none."""
    followed = np.pad(low, ((0, 0), (0, IN_A_ROW - 1)))
    rows: NDArray[np.bool_] = np.asarray(np.stack([followed[:, k : k + low.shape[1]] for k in range(IN_A_ROW)]).all(0))
    return np.asarray(np.where(rows.any(1), rows.argmax(1), low.shape[1] - 1), dtype=np.int64)


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
