"""Two algorithms of learning_order at the same training loss: what the order of learning did to the error."""

from __future__ import annotations

import numpy as np
import xarray as xr

from lrscope.checked import Positive, checked
from lrscope.errors import LrscopeError


@checked
def at_loss(curves: xr.Dataset, level: Positive, *, of: str = "loss") -> xr.Dataset:
    """All quantities where one of them first comes below a level, linear between the times around it; `time` is among them.

    Args:
        curves: what `learning_curves` returns.
        level: of that quantity.
        of: which quantity. The times at which `loss_p_only` and `loss_q_only` get somewhere say which pattern is learned first.

    Returns:
        The variables of `curves` without the dimension time. NaN where the level is not reached, or before the second recorded
        time: errors fall from 1/2 there, in no straight line.

    Raises:
        LrscopeError: no such quantity.
    """
    if of not in curves or curves[of].dims != curves["loss"].dims:
        raise LrscopeError(f"of: {of!r} is no quantity of these curves: use loss, loss_p_only, loss_q_only, ...")
    timed = curves.drop_vars("time").assign(elapsed=("time", curves["time"].values))
    below = timed[of] < level
    after = below.argmax("time")
    start, end = timed.isel(time=(after - 1).clip(min=0)), timed.isel(time=after)
    share = ((start[of] - level) / (start[of] - end[of])).where(below.any("time") & (after > 1))
    found = (start + share * (end - start)).rename(elapsed="time")
    found = found.map(lambda values: values.assign_attrs(curves[values.name].attrs))
    found.attrs = dict(curves.attrs)
    return found


@checked
def order_effect(curves: xr.Dataset, level: Positive) -> xr.DataArray:
    """log10 of the error on P of S over that of L-S, at the same training loss: 0 where the order of learning does not matter.

    Without it, because the activations are frozen and the loss is convex, both algorithms take the same path (Sec. 1).

    Args:
        curves: what `learning_curves` returns.
        level: the training loss (nat).

    Returns:
        Decades over (r, weight_decay, seed); NaN where an algorithm does not come below the level.
    """
    error = at_loss(curves, level)["error_p"]
    ratio = error.sel(algorithm="S", drop=True) / error.sel(algorithm="L-S", drop=True)
    long_name = "error on P of S over that of L-S, at the same training loss"
    return ratio.copy(data=np.log10(ratio.values)).assign_attrs(units="decades", long_name=long_name)
