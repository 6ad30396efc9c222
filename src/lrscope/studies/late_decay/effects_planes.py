"""Readings of surfaces through training paths (`planes`), one number per draw of the images.

D draws, N checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def passes(found: xr.Dataset, loss: str) -> Array:
    """Decades from a level set's lowest loss to its pass [D]: below that relative height the set is closed, whatever the level. NaN
    where the lowest point lies at the frame."""
    lowest, closing = (found[name].sel(loss=loss).values for name in ("lowest", "closing"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(closing > lowest, np.log10(closing / lowest), np.nan)


def main_path_approaches(found: xr.Dataset, to: str = "test_loss") -> Array:
    """Decades by which the main path's distance to the lowest test loss, or `train_loss`, of the surface falls [D], as drawn: from the first of
    three successive snapshots at which its training loss is at its late level, to the last. So phase I does not count, in which any path comes
    nearer. NaN where that lowest point lies at the widest frame, and where no three snapshots are at the late level."""
    path = _main_path(found)
    away, first = _distances(path, _lowest(found, to)), _came_to_level(_at_level(path))
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


def ends_approach(found: xr.Dataset, first: float, last: float, to: str = "test_loss") -> Array:
    """Decades by which the distance to the lowest test loss falls from the end of the sub-path that leaves at epoch `first` to that at
    `last` [D]. NaN where that lowest point lies at the widest frame. to: `train_loss` for its lowest point on the grid, `end` for the
    main path's last snapshot."""
    away = _ends_away(found, (first, last), _lowest(found, to))
    return np.asarray(np.log10(away[:, 0] / away[:, 1]), dtype=np.float64)


def last_distance(found: xr.Dataset, last: float) -> Array:
    """How far from the lowest test loss the sub-path ends that leaves at epoch `last`, over the largest distance of two
    checkpoints along an axis [D]."""
    extent = np.max(
        [np.ptp(found[name].transpose("draw", "checkpoint").values, axis=1) for name in ("at_x", "at_y")], 0
    )
    return np.asarray(_ends_away(found, (last,), _lowest(found, "test_loss"))[:, 0] / extent)


def _ends_away(found: xr.Dataset, at: Sequence[float], places: Array) -> Array:
    """Distances of the ends of sub-paths that leave at these epochs [D, K]."""
    ends = found.isel(checkpoint=np.flatnonzero(~found["main"].values))
    return _distances(ends, places)[:, [int(np.abs(ends["epoch"].values - epoch).argmin()) for epoch in at]]


def _lowest(found: xr.Dataset, of: str) -> Array:
    """Coordinates [D, axis] of the lowest loss, or of the main path's `end`."""
    if of == "test_loss":
        return np.asarray(found["minimum"].transpose("draw", "axis").values)
    if of == "end":
        last = _main_path(found).isel(checkpoint=-1)
        return np.stack([last["at_x"].values, last["at_y"].values], 1)
    values = found[of].transpose("draw", "row", "column").values
    flat = np.where(np.isfinite(values), values, np.inf).reshape(len(values), -1).argmin(1)
    rows, columns = np.unravel_index(flat, values.shape[1:])
    draws = np.arange(len(values))
    return np.stack([found["x"].values[draws, columns], found["y"].values[draws, rows]], 1)


def _distances(found: xr.Dataset, places: Array) -> Array:
    """From checkpoints to these places [D, N]."""
    x, y = (found[name].transpose("draw", "checkpoint").values for name in ("at_x", "at_y"))
    return np.asarray(np.hypot(x - places[:, :1], y - places[:, 1:]), dtype=np.float64)
