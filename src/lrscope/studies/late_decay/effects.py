"""Effects of late_decay's claims on its model (LD4, LD5): from curves to one number per seed, or per gamma.

Pure functions; nothing here trains. S seeds, G gammas, L learning rates.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.errors import LrscopeError
from lrscope.studies.late_decay.phases import phases
from lrscope.studies.late_decay.success import success_frequency
from lrscope.studies.verdicts import Undetermined

Array = NDArray[np.float64]


def phase_effects(curves: xr.Dataset, gamma: float, lr: float) -> dict[str, Array]:
    """LD4, one gamma at one learning rate: decades per seed [S], positive where the phase does what the paper says.

    `reaches`: fall of the distance from the manifold in phase I. `shrinks`: fall of the excess norm in phase II, where the excess
    norm is the distance from the minimum-norm interpolator at which gradient flow would end. `before` and `after`: the same in
    phases I and III. `generalises`: fall of the test loss in phase II. `refines`: fall of the training loss in phase III. NaN for a
    seed that does not reach the manifold or overflows.

    Raises:
        Undetermined: no seed reaches the manifold, or there is no phase III.
        LrscopeError: a gamma or learning rate that the curves do not have.
    """
    found = phases(_one(curves, gamma, lr))
    if bool(found["arrival"].isnull().all()):
        raise Undetermined(f"no run with gamma {gamma:g} at learning rate {lr:g} reaches the manifold")
    if not bool(curves["small"].any()):
        raise Undetermined("the learning rate does not decay, so there is no phase III")
    falls = {
        "reaches": ("off", "I"),
        "before": ("destination", "I"),
        "shrinks": ("destination", "II"),
        "generalises": ("test_loss", "II"),
        "after": ("destination", "III"),
        "refines": ("loss", "III"),
    }
    return {
        effect: -found[name].sel(phase=phase).transpose("gamma", "lr", "seed").values[0, 0]
        for effect, (name, phase) in falls.items()
    }


def success_margins(curves: xr.Dataset, lr: float) -> xr.Dataset:
    """LD5 at one learning rate: over gamma, `margin` = frequency of success minus 1 - exp(-0.1 gamma^2), with the exact 95%
    interval `low` to `high`; `bound`, `counted`, `dead`, `overflowed` and `runs`.

    The bound is refuted at a gamma where `high` is below 0, and supported where `low` is above 0.

    Raises:
        LrscopeError: a learning rate that the curves do not have.
    """
    found = success_frequency(curves).isel(lr=[_place(curves, "lr", lr)]).squeeze("lr")
    margins = {name: found[name] - found["bound"] for name in ("low", "high")}
    counts = found[["bound", "counted", "dead", "overflowed", "runs"]]
    return xr.Dataset({"margin": found["frequency"] - found["bound"], **margins, **counts})


def _one(curves: xr.Dataset, gamma: float, lr: float) -> xr.Dataset:
    return curves.isel(gamma=[_place(curves, "gamma", gamma)], lr=[_place(curves, "lr", lr)])


def _place(curves: xr.Dataset, name: str, value: float) -> int:
    """Where a coordinate has a value."""
    there = np.flatnonzero(np.isclose(curves[name].values, value, rtol=1e-9, atol=0))
    if not len(there):
        known = ", ".join(f"{v:g}" for v in curves[name].values)
        raise LrscopeError(f"{name}: the curves have no {value:g}: choose from {known}")
    return int(there[0])
