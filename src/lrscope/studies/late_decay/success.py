"""How often phase II ends at the minimum-norm interpolator, against late_decay's bound on its probability."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from lrscope.checked import checked
from lrscope.errors import LrscopeError
from lrscope.readers import Number
from lrscope.studies.binomial import binomial_interval

Array = NDArray[np.float64]
RATE = 0.1  # of the theorem: 1 - exp(-0.1 gamma^2)
TOLERANCE = 0.05  # ours: success is a distance from the minimum-norm interpolator of this part of its norm


def success_bound(gamma: ArrayLike) -> Array:
    """The paper's lower bound 1 - exp(-0.1 gamma^2) on the probability that phase II ends at the minimum-norm interpolator."""
    return np.asarray(-np.expm1(-RATE * np.asarray(gamma, float) ** 2))


@checked
def success_frequency(
    curves: xr.Dataset, *, tolerance: Annotated[float, Number(0, 1, above=True)] = TOLERANCE
) -> xr.Dataset:
    """In how many runs the large learning rate ended at the minimum-norm interpolator.

    A run succeeds if gradient flow from the end of the large rate leads to an interpolator that is at most `tolerance` times
    |alpha_min| from the minimum-norm one. Its distance from the manifold does not count: phase III is there to remove it. A run
    that overflowed did not succeed.

    Args:
        curves: what `late_decay_curves` returns.

    Returns:
        Over (gamma, lr): `frequency`, with its 95% interval `low` and `high`; `succeeded`, `overflowed` and `runs`, which count. Over
        gamma: `bound`.

    Raises:
        LrscopeError: a dataset of another kind.
    """
    if "destination" not in curves or "small" not in curves.coords:
        raise LrscopeError("curves: they have no 'destination': pass what late_decay_curves returns")
    end = curves["destination"].isel(time=np.flatnonzero(~curves["small"].values)[-1])
    end = end.transpose("gamma", "lr", "seed")
    good = end.values <= tolerance * curves["minimum_norm"].values
    lost = ~np.isfinite(end.values)
    low, high = binomial_interval(good.sum(-1), good.shape[-1])
    dims = ("gamma", "lr")
    data = {
        "frequency": (dims, good.mean(-1)),
        "low": (dims, low),
        "high": (dims, high),
        "succeeded": (dims, good.sum(-1)),
        "overflowed": (dims, lost.sum(-1)),
        "runs": (dims, np.full(good.shape[:2], good.shape[-1])),
        "bound": ("gamma", success_bound(curves["gamma"].values)),
    }
    return xr.Dataset(data, {name: curves[name] for name in dims}, {**curves.attrs, "tolerance": tolerance})
