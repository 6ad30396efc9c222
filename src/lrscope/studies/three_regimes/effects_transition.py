"""Effects along training at the transition between regimes 1 and 2 (TR13): from results to numbers per seed.

L learning rates, U seeds, W logging intervals, K levels of training loss.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.mapping import regimes
from lrscope.mapping.votes import MAD_TO_DEVIATION, decline
from lrscope.measures.alignment import at_loss
from lrscope.studies import arrays
from lrscope.studies.arrays import Array

SMOOTH = 3  # ours: logging intervals of running medians
STEP = 0.05  # ours: decades of training loss between the levels at which trajectories are read
LEAST = {"sharpness": 0.01, "error": 0.01}  # ours: decades and test error (0 to 1) by which a peak stands out at least
# Ours: and this many standard deviations of its noise: among some hundred values that alone stands out by four. Gradients scatter
# the more the lower the loss is, so that their noise after the peak says nothing of it.
ERRORS = {"sharpness": 0.0, "error": 5.0}
THROUGH = 3.0  # ours: a run is through the bottleneck where it ends at a loss this many times below regime 2's lowest
TOP = 3  # ours: of the runs that come through those with the highest ELRs, where the double descent is most distinct (App. G)


def prominences(values: Array) -> Array:
    """How far a curve [..., K] stands out at each place over its lowest value before and over its lowest value after, the
    smaller of both: 0 along a curve that only rises or only falls. NaN where the value is."""
    known = np.where(np.isnan(values), np.inf, values)
    before = np.minimum.accumulate(known, -1)
    after = np.minimum.accumulate(known[..., ::-1], -1)[..., ::-1]
    return np.asarray(values - np.maximum(before, after), dtype=np.float64)


def peak(values: Array) -> tuple[NDArray[np.int64], Array]:
    """The place [...] along a curve [..., K] where it stands out most, and by how much; -1 and NaN for a curve of NaN."""
    out = prominences(values)
    shown, lost = np.where(np.isnan(out), -np.inf, out), np.isnan(out).all(-1)
    return np.where(lost, -1, shown.argmax(-1)), np.where(lost, np.nan, shown.max(-1))


def bottleneck(result: xr.DataTree) -> dict[str, Array]:
    """Per seed, each by its own map: along the `TOP` runs of regime 1 that come through, and along those of regime 2.

    Trajectories are read where the training loss first comes down to each of a row of levels, so that later jumps, and
    spikes of chaotic runs, are no part of them. `level`: log10 of the training loss where regime 2 begins, that of its lowest
    ELR in the end. `sharpness`, `error`: log10 of the training loss at the peaks of sharpness and of test error, of the run where
    it stands out most. `sharpness_height` (decades), `error_height` (0 to 1): how far the peaks stand out, means over
    all of them; 0 for one that stands out by less than `LEAST` or `ERRORS`. `sharpness_stuck`, `error_stuck`: by how much the end of
    regime 2's lowest ELR clears the harder of two marks, by those runs that have a peak: its climb, from its own lowest value before
    its loss came down to its level, that of half of their climb; and the end itself the middle between their peak and their end. (An
    end is a mean over time, because the highest of a chaotic run is a spike.) NaN where a seed has no such run, or where regime 2's
    is not known from the loss on at which those of regime 1 are lowest before their peak.
    """
    rows = [_of_seed(one) for one in arrays.single_seeds(result)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _of_seed(one: xr.DataTree) -> dict[str, float]:
    names = (f"{name}{what}" for name in LEAST for what in ("", "_height", "_stuck"))
    found = dict.fromkeys(("level", *names), np.nan)
    through, two = through_and_stuck(one)
    if not through or not two:
        return found
    levels = loss_levels(one)
    loss = arrays.logged(one, "train_loss")[:, 0]
    found["level"] = float(np.log10(arrays.settled(loss)[two[0]]))
    over_time = curves_of(one)
    for name, curves in trajectories(one, levels).items():
        at, height = peak(curves[through])
        clear = np.asarray(height >= np.fmax(LEAST[name], ERRORS[name] * noise(over_time[name][through])), dtype=bool)
        found[name + "_height"] = _mean(np.where(clear | np.isnan(height), height, 0.0))
        if clear.any():
            found[name] = float(np.log10(levels)[at[np.argmax(np.where(clear, height, 0.0))]])
            passed, places = curves[through][clear], at[clear]
            tops = np.take_along_axis(passed, places[:, None], -1)[:, 0]
            troughs = np.array([_trough(run[:place]) for run, place in zip(passed, places, strict=True)])
            climb = float((tops - np.take_along_axis(passed, troughs[:, None], -1)[:, 0]).mean())
            ends, before = arrays.settled(over_time[name]), curves[two[0]][np.log10(levels) > found["level"]]
            own = ends[two[0]] - _lowest(before, int(troughs.mean()))
            stays = ends[two[0]] - _middle(name, tops.mean(), ends[through][clear].mean())
            found[name + "_stuck"] = float(np.minimum(own - climb / 2, stays))
    return found


def _middle(name: str, top: float, end: float) -> float:
    """Half-way between a peak and an end; of sharpness itself, whose logarithm falls without end as runs converge."""
    return float(np.log10((10**top + 10**end) / 2)) if name == "sharpness" else (top + end) / 2


def _trough(curve: Array) -> int:
    """The place of the lowest known value along the beginning of a curve, that before a peak."""
    return int(np.nanargmin(curve))


def _lowest(curve: Array, from_there: int) -> float:
    """The lowest known value of a curve that is known from a place on, or from before; otherwise NaN: it may have been lower where it
    was not logged yet."""
    known = np.flatnonzero(np.isfinite(curve))
    return float(curve[known].min()) if len(known) and known[0] <= from_there else np.nan


def noise(curves: Array) -> Array:
    """Robust standard deviation of single logging intervals in the second half of curves [..., W], from the differences between
    successive ones: neither a slope nor a jump is noise. 0 where some of it is missing."""
    late = curves[..., curves.shape[-1] // 2 :]
    known = np.asarray(np.isfinite(late).all(-1), dtype=bool)
    steps = np.diff(np.where(known[..., None], late, 0.0))
    left = np.abs(steps - np.median(steps, axis=-1, keepdims=True))
    return np.asarray(MAD_TO_DEVIATION / np.sqrt(2) * np.median(left, axis=-1), dtype=np.float64)


def through_and_stuck(one: xr.DataTree) -> tuple[list[int], list[int]]:
    """Positions of a single seed's runs: the `TOP` ones of regime 1 that end `THROUGH` times below the lowest loss level of
    regime 2, and those of regime 2 below ln C that do not fall any more: a slow run that still converges has no level. Both are
    empty where there is no such regime 2."""
    found, loss = regimes(one), arrays.logged(one, "train_loss")[:, 0]
    end, falls = arrays.settled(loss), decline(loss).falls
    two = [k for k in arrays.inside(found, "2") if end[k] < arrays.guessing(one) and not falls[k]]
    if not two:
        return [], []
    return [k for k in arrays.inside(found, "1") if end[k] * THROUGH < end[two[0]]][-TOP:], two


def loss_levels(one: xr.DataTree) -> Array:
    """Training losses from that of guessing down to the lowest, `STEP` decades apart [K]."""
    lowest, top = float(np.nanmin(arrays.positive(arrays.logged(one, "train_loss")))), arrays.guessing(one)
    return np.asarray(top * 10 ** (-STEP * np.arange(max(2, int(np.log10(top / lowest) / STEP)))), dtype=np.float64)


def trajectories(one: xr.DataTree, levels: Array) -> dict[str, Array]:
    """A single seed's log10 `sharpness` and test `error` where its training loss first comes down to the levels [L, K]; NaN
    where it begins below, or never gets there."""
    loss = np.log10(arrays.positive(arrays.logged(one, "train_loss")))[:, 0]
    smooth = 10 ** arrays.running_median(loss, SMOOTH)
    return {
        name: np.asarray(at_loss(smooth, arrays.running_median(values, SMOOTH), levels), dtype=np.float64)
        for name, values in curves_of(one).items()
    }


def curves_of(one: xr.DataTree) -> dict[str, Array]:
    """A single seed's log10 `sharpness` and test `error` along training [L, W]."""
    steep = np.log10(arrays.positive(arrays.logged(one, "effective_grad_norm")))
    return {"sharpness": steep[:, 0], "error": arrays.logged(one, "test_error")[:, 0]}


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan
