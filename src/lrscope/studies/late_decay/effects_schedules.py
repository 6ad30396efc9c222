"""Readings of schedules side by side (LD7): where each ends, against a constant rate that decays late.

J schedules, U seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from lrscope.dynamics.schedules import factors
from lrscope.export import finals
from lrscope.schema import PRETRAIN, segment
from lrscope.studies.arrays import Array
from lrscope.validation import result_nodes

BRANCH = "course"  # of the sweep: schedules that leave its path at the beginning
CONSTANT = "constant"  # that path
LATE_DECAY = "wsd:0.2"  # constant, then to 0 over the last fifth
ALIKE = 0.05  # ours: schedules whose squared rates differ by less, of the larger, have no order
STEPS = 10_000  # ours: that means of factors are read from
TO_ZERO = 1e-3  # ours: a schedule comes to 0 whose last factor of so many is below this


def network_ends(result: xr.DataTree, variable: str) -> dict[str, Array]:
    """A variable at the end of training, by schedule [U] each; NaN where a run overflowed."""
    found = {CONSTANT: _by_seed(_last(result, PRETRAIN.name)[variable])}
    last = _last(result, BRANCH)[variable].isel({f"{BRANCH}_at": 0})
    axis = f"{BRANCH}_schedule"
    return found | {str(name): _by_seed(last.sel({axis: name})) for name in last[axis].values}


def _last(result: xr.DataTree, name: str) -> xr.Dataset:
    node = next(node for node in result_nodes(result) if node.name == name)
    return finals(segment(result, name), node.runs).isel(lr=0)


def _by_seed(values: xr.DataArray) -> Array:
    return np.asarray(values.transpose("data_seed", "seed").values.ravel(), dtype=np.float64)


def model_ends(found: xr.Dataset, variable: str, gamma: float) -> dict[str, Array]:
    """The same of the model at one gamma."""
    return diagonal_ends(found.sel(gamma=gamma), variable)


def diagonal_ends(found: xr.Dataset, variable: str) -> dict[str, Array]:
    """The same of diagonal linear networks."""
    rows = found[variable].transpose("schedule", "seed").values
    return {
        str(name): np.asarray(row, dtype=np.float64) for name, row in zip(found["schedule"].values, rows, strict=True)
    }


def below_late_decay(ends: dict[str, Array]) -> dict[str, Array]:
    """Decades by which each schedule but the late decay ends below it, seed by seed [U]: negative where it ends higher."""
    return {name: np.log10(ends[LATE_DECAY] / values) for name, values in ends.items() if name != LATE_DECAY}


def squared_rates(name: str) -> float:
    """The mean of a schedule's squared factors: what label noise moves along the manifold is in proportion (docs/late_decay_theory.md)."""
    return float(factors(name, STEPS).square().mean())


def to_zero(ends: dict[str, Array]) -> dict[str, Array]:
    """Those of the schedules that come to 0: the rate that they end at cannot rank them."""
    return {name: values for name, values in ends.items() if float(factors(name, STEPS)[-1]) < TO_ZERO}


def order(ends: dict[str, Array]) -> Array:
    """Kendall's tau of the schedules' squared rates and their ends [U], of those that come down: -1 where more always ends lower.

    Pairs whose squared rates are alike do not count.
    """
    down = sorted((name for name in ends if name != CONSTANT), key=squared_rates)
    values = np.stack([ends[name] for name in down])
    rates = np.array([squared_rates(name) for name in down])
    pairs = rates[:, None] < (1 - ALIKE) * rates[None]
    return np.asarray(np.sign(values[None] - values[:, None])[pairs].mean(0))


def lowest(ends: dict[str, Array]) -> str:
    """The schedule with the lowest geometric mean over the seeds in which all ended; empty where there is none."""
    logs = np.log10(np.stack(list(ends.values())))
    known = np.isfinite(logs).all(0)
    return list(ends)[int(logs[:, known].mean(1).argmin())] if known.any() else ""


def spread(ends: dict[str, Array], names: Sequence[str]) -> float:
    """The largest ratio of two of these schedules' values in one seed, in decades."""
    logs = np.log10(np.stack([ends[name] for name in names]))
    return float(np.ptp(logs, axis=0).max())
