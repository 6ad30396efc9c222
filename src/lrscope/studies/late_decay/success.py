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
LEARNED = 0.1  # ours: a run is on the manifold whose last training loss is below this part of the loss at w = 0
MOVING = (
    0.9  # ours: a run has not settled whose excess norm falls to this part or less in the second half of the large rate
)
TENTH = 0.1  # ours: of the steps with the large rate; the excess norm is the median over the middle and the last one
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
    |alpha_min| from the minimum-norm one. Success and failure both need a run that has come to the manifold: its training loss at
    the end of the curve is below `LEARNED` of that at w = 0. Train to the end of phase III, because label noise keeps the loss up
    under the large rate. Where steps have driven w to 0 the conserved quantity is frozen, and says nothing: such a run is dead.

    Args:
        curves: what `late_decay_curves` returns.

    Returns:
        Over (gamma, lr): `frequency`, the part that succeeded of the runs on the manifold (NaN without any), with its 95% interval `low`
        and `high`; `succeeded`, `counted` (runs on the manifold), `moving` (of those, the ones that did not succeed, but had not settled:
        the median of their excess norm over the last tenth of the large rate is a tenth or more below that over the middle one), `dead`, `overflowed` and `runs` (the last two and
        `counted`), which count. Over gamma: `bound`.

    Raises:
        LrscopeError: a dataset of another kind.
    """
    missing = [name for name in ("destination", "small", "loss", "zero_loss") if name not in curves.variables]
    if missing:
        raise LrscopeError(f"curves: they have no {missing[0]!r}: pass what late_decay_curves returns")
    middle, last = _middle_and_last(curves)
    end = curves["destination"].isel(time=_decays(curves)).transpose("gamma", "lr", "seed")
    loss = (curves["loss"].isel(time=-1) / curves["zero_loss"]).transpose("gamma", "lr", "seed").values
    lost = ~(np.isfinite(end.values) & np.isfinite(loss))
    alive = ~lost & (loss < LEARNED)
    good = alive & (end.values <= tolerance * curves["minimum_norm"].values)
    moving = alive & ~good & (last <= MOVING * middle)
    succeeded, counted = good.sum(-1), alive.sum(-1)
    low, high = binomial_interval(succeeded, counted)
    dims = ("gamma", "lr")
    data = {
        "frequency": (dims, np.where(counted > 0, succeeded / np.maximum(counted, 1), np.nan)),
        "low": (dims, low),
        "high": (dims, high),
        "succeeded": (dims, succeeded),
        "counted": (dims, counted),
        "moving": (dims, moving.sum(-1)),
        "dead": (dims, (~lost & ~alive).sum(-1)),
        "overflowed": (dims, lost.sum(-1)),
        "runs": (dims, np.full(good.shape[:2], good.shape[-1])),
        "bound": ("gamma", success_bound(curves["gamma"].values)),
    }
    return xr.Dataset(data, {name: curves[name] for name in dims}, {**curves.attrs, "tolerance": tolerance})


def _decays(curves: xr.Dataset) -> int:
    """The place of the last recorded time with the large rate."""
    return int(np.flatnonzero(~curves["small"].values)[-1])


def _middle_and_last(curves: xr.Dataset) -> tuple[Array, Array]:
    """Medians of the excess norm over the recorded times in the middle and the last tenth of the large rate [G, L, S].

    Without a recorded time in the middle tenth, the last one before it.
    """
    decays = _decays(curves)
    passed = curves["time"].values[: decays + 1] / max(1, curves["time"].values[decays])
    values = curves["destination"].transpose("gamma", "lr", "seed", "time").values[..., : decays + 1]
    middle = np.abs(passed - 0.5) <= TENTH / 2
    if not middle.any():
        middle = passed == passed[passed <= 0.5].max()
    return np.median(values[..., middle], -1), np.median(values[..., passed >= 1 - TENTH], -1)
