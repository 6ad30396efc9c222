"""Trajectories compared at equal training loss, not at equal time (three_regimes, Fig. 3; feature_learning, Fig. 17).

Plain arrays; the last axis is the checkpoints, in time; any axes before it are runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lrscope.checked import checked
from lrscope.errors import LrscopeError


@checked
def at_loss(train_loss: ArrayLike, values: ArrayLike, levels: ArrayLike, *, logarithmic: bool = False) -> np.ndarray:
    """`values` [..., T] read off where `train_loss` [..., T] first comes down to each level: [..., L] for levels [L].

    Between the last checkpoint above the level and the first at or below it, loss is taken to fall exponentially: the
    place is interpolated in the logarithm of the loss, the value linearly in the place, or with `logarithmic` its
    logarithm is. A later rise above the level changes nothing. NaN where a run never comes down to the level, where it is
    below it from its first checkpoint on (nobody saw it pass), and where the loss or the value beside the crossing is NaN.

    Raises:
        LrscopeError: shapes that do not match; levels that are not positive; negative losses; with `logarithmic`, values
            that are not positive.
    """
    loss, value = np.asarray(train_loss, float), np.asarray(values, float)
    try:
        loss, value = np.broadcast_arrays(loss, value)
    except ValueError:
        raise LrscopeError(
            f"values: shape {value.shape} does not go with train_loss {loss.shape}: give both the same runs and checkpoints"
        ) from None
    level = np.atleast_1d(np.asarray(levels, float))
    _check(loss, value, level, logarithmic)
    if logarithmic:
        value = np.log(value)
    below = loss[..., None] <= level  # [..., T, L]; NaN is not below
    reached = below.any(-2)
    after = below.argmax(-2)
    before = np.maximum(after - 1, 0)
    loss_before, loss_after = np.take_along_axis(loss, before, -1), np.take_along_axis(loss, after, -1)
    value_before, value_after = np.take_along_axis(value, before, -1), np.take_along_axis(value, after, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.log(loss_before / level) / np.log(loss_before / loss_after)
        found = np.where(share == 0, value_before, value_before + share * (value_after - value_before))
    exact = loss_after == level
    found = np.where(exact, value_after, found)
    known = reached & (exact | (after > 0))
    found = np.where(known, found, np.nan)
    return np.exp(found) if logarithmic else found


@checked
def lowest_common_level(train_loss: ArrayLike) -> float:
    """The lowest loss that all runs of `train_loss` [..., T] reach: the largest of their minima, NaN checkpoints passed over.

    NaN if a run has no finite loss at all: leave it out.
    """
    loss = np.asarray(train_loss, float)
    if loss.size == 0:
        raise LrscopeError("train_loss: there are no checkpoints: pass at least one run with one checkpoint")
    lowest = np.where(np.isfinite(loss), loss, np.inf).min(-1)
    return float(lowest.max()) if np.isfinite(lowest).all() else float("nan")


def _check(loss: np.ndarray, value: np.ndarray, level: np.ndarray, logarithmic: bool) -> None:
    if loss.ndim == 0 or loss.shape[-1] == 0:
        raise LrscopeError("train_loss: there are no checkpoints: pass at least one on the last axis")
    if level.ndim != 1 or not (np.isfinite(level) & (level > 0)).all():
        raise LrscopeError(
            f"levels: {level.tolist()} must be a list of positive losses: they are compared as logarithms"
        )
    if (loss < 0).any():
        raise LrscopeError(f"train_loss: {loss[loss < 0][0]:g} is negative, and losses are compared as logarithms")
    if logarithmic and (value <= 0).any():
        raise LrscopeError(f"values: {value[value <= 0][0]:g} is not positive: leave logarithmic out")
