"""The three phases of late_decay, found in curves: I comes to the manifold, II moves along it, III refines after the decay.

B times; any axes in front of them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.checked import checked
from lrscope.errors import LrscopeError

Array = NDArray[np.float64]
NEAR = 0.1  # ours: a run has come to the manifold where its distance is this part of what it was at the start
ABOVE = 2.0  # ours: or where it is this many times the level that it keeps to the end of the large rate
DEAD = 0.5  # ours: no manifold is near where the training loss is above this part of the loss at w = 0
LATE = 0.5  # ours: the share of the steps with the large rate, up to its end, that this level is read from


class Phases(NamedTuple):
    """Where the phases end: places in the recorded times, [...] each; phase III ends with the curve."""

    arrives: NDArray[np.int64]  # phase I; the place of the decay where the run never arrives
    decays: int  # phase II
    arrived: NDArray[np.bool_]


def find_phases(off: Array, loss: Array, time: Array, small: NDArray[np.bool_]) -> Phases:
    """The phases of runs, from their distance from the manifold [..., B].

    Phase I ends at the first recorded time at which the distance is at most `NEAR` of the first one, or at most `ABOVE` times its median
    over the last part of the large rate (`LATE`): a step that is unstable, or label noise, keeps runs at a distance. The
    training loss must be at most `DEAD` of that at w = 0, then and in that median: a run that is stuck elsewhere keeps a level, too. A
    run that is not finite at the decay has not arrived.

    Args:
        off: distances; NaN from where a run overflowed.
        loss: training losses over that at w = 0 [..., B].
        time: in steps [B].
        small: whether the rate was the small one [B].
    """
    decays = int(np.flatnonzero(~small)[-1])
    large = off[..., : decays + 1]
    late = time[: decays + 1] >= (1 - LATE) * time[decays]
    level = np.maximum(NEAR * off[..., :1], ABOVE * np.median(large[..., late], -1, keepdims=True))
    learned = loss[..., : decays + 1] <= DEAD
    stays = np.median(loss[..., : decays + 1][..., late], -1) <= DEAD
    near = (large <= level) & learned
    arrived = near.any(-1) & stays & np.isfinite(large[..., -1])
    return Phases(np.where(arrived, near.argmax(-1), decays), decays, arrived)


@checked
def phases(curves: xr.Dataset) -> xr.Dataset:
    """What each phase of each run does.

    Args:
        curves: what `late_decay_curves` returns.

    Returns:
        Over (gamma, lr, seed): `arrival`, the steps at which phase I ends (NaN where the run does not arrive). And over phase (I, II,
        III) too, change in decades from its beginning to its end: `loss`, `test_loss`, `predictor_norm`, `off` and `destination`. A phase
        that is not there changes nothing by 0 but is NaN: III without a decay, all where a run does not arrive or overflows.

    Raises:
        LrscopeError: a dataset of another kind.
    """
    _check(curves)
    time, small = curves["time"].values, curves["small"].values
    found = find_phases(curves["off"].values, relative_loss(curves), time, small)
    arrival = np.where(found.arrived, time[found.arrives], np.nan)
    dims = curves["off"].dims[:-1]
    data = {"arrival": (dims, arrival, {"units": "steps", "long_name": "end of phase I"})}
    for name in ("loss", "test_loss", "predictor_norm", "off", "destination"):
        words = {"units": "decades", "long_name": f"change of {curves[name].attrs.get('long_name', name)}"}
        data[name] = ((*dims, "phase"), _changes(curves[name].values, found), words)
    coords = {name: curves[name] for name in dims} | {"phase": ["I", "II", "III"]}
    return xr.Dataset(data, coords, dict(curves.attrs))


def relative_loss(curves: xr.Dataset) -> Array:
    """Training losses over those at w = 0, laid out as the losses are."""
    found = (curves["loss"] / curves["zero_loss"]).transpose(*curves["loss"].dims)
    return np.asarray(found.values, dtype=np.float64)


def _changes(values: Array, found: Phases) -> Array:
    """log10 of the end over the beginning of each phase [..., 3]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(values)
        at_arrival = np.take_along_axis(logs, found.arrives[..., None], -1)[..., 0]
        ends = (logs[..., 0], at_arrival, logs[..., found.decays], logs[..., -1])
        changes = np.stack([after - before for before, after in pairwise(ends)], -1)
    changes[~found.arrived] = np.nan
    if found.decays == values.shape[-1] - 1:
        changes[..., 2] = np.nan
    return changes


def _check(curves: xr.Dataset) -> None:
    missing = [name for name in ("off", "destination", "loss", "small", "zero_loss") if name not in curves.variables]
    if missing:
        raise LrscopeError(f"curves: they have no {missing[0]!r}: pass what late_decay_curves returns")
