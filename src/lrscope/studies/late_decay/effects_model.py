"""Further readings of the model's curves, one number per seed: the linear model's changes, and the speed of phase II.

S norms at the start, U seeds, B times.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.late_decay.phases import find_phases, phases, relative_loss

PART = 1 / 3  # ours: of the excess norm, whose loss the speed is read from: later the destination counts
LEAST_STARTS = 3  # ours: a power law needs three points


def linear_change(curves: xr.Dataset, lr: float) -> Array:
    """The largest change of the linear model's excess norm in any phase, in decades of either sign [U]; NaN where it overflows."""
    found = phases(curves.sel(gamma=[0.0], lr=[lr]))["destination"]
    return np.asarray(np.abs(found.transpose("gamma", "lr", "seed", "phase").values[0, 0]).max(-1), dtype=np.float64)


def speeds(curves: xr.Dataset) -> Array:
    """Decades of excess norm per 1,000 steps in phase II [S, U], of curves over (start, lr, seed, time) at the first rate.

    From the end of phase I until a third of the excess norm is gone, or to the end where it stays; NaN for a run that does not reach
    the manifold.
    """
    one = curves.isel(lr=0).transpose("start", "seed", "time")
    time, excess = one["time"].values.astype(float), one["destination"].values
    found = find_phases(one["off"].values, relative_loss(one), time, one["small"].values)
    first = found.arrives[..., None]
    begin = np.take_along_axis(excess, first, -1)
    after = np.arange(len(time)) > first
    gone = after & (excess <= (1 - PART) * begin)
    last = np.where(gone.any(-1), gone.argmax(-1), found.decays)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = np.log10(begin / np.take_along_axis(excess, last, -1))[..., 0]
        speed = 1000 * fall / (time[last] - time[first])[..., 0]
    return np.where(found.arrived & (last > first)[..., 0], speed, np.nan)


class LeftOut(NamedTuple):
    """Runs of which a power law says nothing: without a phase II, and without a fall of the excess norm in it."""

    silent: int
    backward: int
    runs: int


def left_out(speeds: Array) -> LeftOut:
    """How many of the speeds [S, U] are NaN, and at or below 0."""
    return LeftOut(int(np.isnan(speeds).sum()), int((speeds <= 0).sum()), speeds.size)


def powers(starts: Array, speeds: Array) -> Array:
    """Powers of the norms at the start [S] that fit positive speeds [S, U]: slopes of their logarithms [U]."""
    logs = np.log10(np.where(speeds > 0, speeds, np.nan))
    found = arrays.slope(np.log10(starts), logs)
    return np.where(np.isfinite(logs).sum(0) < LEAST_STARTS, np.nan, found)
