"""Effects of width, augmentation and training in the whole space: from results to numbers per seed.

L learning rates, U seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.mapping import regimes
from lrscope.studies import arrays
from lrscope.studies.arrays import Array

JUMP = 0.7  # ours: the factor 5 by which the map flags periodic jumps (`Rules.jump_factor`), in decades
BEFORE = 10  # ours: logging intervals whose median is the region that a jump leaves, as in `votes.jumps` on both sides


def steepest_rise(result: xr.DataTree) -> Array:
    """How clear the border 1|2 is [U]: the largest rise of log10 training loss from one ELR to the next, in decades per decade of
    ELR, within three cells of each seed's own border. NaN where that is undetermined."""
    lrs = result.coords["lr"].values
    loss = np.log10(arrays.positive(arrays.settled(arrays.logged(result, "train_loss"))))
    rises = np.diff(loss, axis=0) / np.diff(np.log10(lrs))[:, None]
    found = np.full(loss.shape[1], np.nan)
    for u, one in enumerate(arrays.single_seeds(result)):
        border = arrays.border(regimes(one), "1|2")
        if np.isfinite(border):
            at = int(np.searchsorted(lrs, border)) - 1  # of the rise across the border
            found[u] = rises[max(0, at - 3) : at + 4, u].max()
    return found


def per_width(values: Sequence[Array]) -> Array:
    """Slopes [U] of quantities [U] of nets of increasing width, per step of width; NaN where one of them is."""
    stacked = np.stack(values)
    return np.where(np.isfinite(stacked).all(0), arrays.slope(range(len(stacked)), stacked), np.nan)


def alike(change: xr.DataTree, other: xr.DataTree, base: xr.DataTree, name: str) -> dict[str, Array]:
    """How much two changes of a setting do the same to the log of a settled quantity, over ELRs, by seed [U]: the `cosine` of what they
    do, and the `size` of the one in units of the other (least squares through the origin). The other change is held against the base's
    next seed, so that no noise of the base is in both; the seeds of the other change start from other weights anyway."""
    one, two, plain = (np.log10(arrays.positive(arrays.settled(arrays.logged(r, name)))) for r in (change, other, base))
    a, b = one - plain, two - np.roll(plain, 1, axis=1)
    both, squares = (a * b).sum(0), (b**2).sum(0)
    return {"cosine": both / np.sqrt((a**2).sum(0) * squares), "size": both / squares}


def jumps(loss: Array) -> Array:
    """How often training losses [..., W] jump out of a low-loss region and come back (`jump_times`). NaN where a loss is not a
    positive number."""
    logs = np.log10(arrays.positive(loss))
    return np.where(np.isfinite(logs).all(-1), jump_times(logs).sum(-1), np.nan)


def jump_times(logs: Array) -> NDArray[np.bool_]:
    """The intervals [..., W] at which curves of log10 loss rise by `JUMP` decades above the median of the `BEFORE` intervals before and
    then fall by as much. (Above the lowest value before, noise would jump too, the more often the longer a run.)"""
    runs = logs.reshape(-1, logs.shape[-1])
    return np.array([_jump_times(of_one) for of_one in runs], dtype=bool).reshape(logs.shape)


def rises(logs: Array) -> NDArray[np.bool_]:
    """The intervals [..., W], of more than `BEFORE`, at which curves of log10 loss lie `JUMP` decades above the median of the `BEFORE`
    intervals before."""
    found = np.zeros(logs.shape, dtype=bool)
    before = np.median(np.lib.stride_tricks.sliding_window_view(logs, BEFORE, axis=-1), axis=-1)[..., :-1]
    found[..., BEFORE:] = logs[..., BEFORE:] > before + JUMP
    return found


def _jump_times(logs: Array) -> NDArray[np.bool_]:
    """The same of one run [W]."""
    found = np.zeros(len(logs), dtype=bool)
    if len(logs) <= BEFORE:
        return found
    back = 0
    for at in np.flatnonzero(rises(logs)):
        if at >= back:
            later = logs[at:]
            fallen = np.flatnonzero(np.maximum.accumulate(later) - later > JUMP)
            found[at], back = len(fallen) > 0, int(at + (fallen[0] if len(fallen) else len(later)))
    return found


def spread_of_intervals(times: NDArray[np.bool_]) -> float:
    """How far jumps are from periodic, over runs [R, W]: the standard deviation of the intervals from one jump to the next, each
    over the mean of its run (runs may have periods of their own). 0 for a clock, near 1 for jumps at random times; NaN where no run
    jumps three times."""
    intervals = [np.diff(np.flatnonzero(of_one)) for of_one in times if of_one.sum() > 2]
    if not intervals:
        return np.nan
    squares = sum(float(((of_one / of_one.mean() - 1) ** 2).sum()) for of_one in intervals)
    return float(np.sqrt(squares / sum(len(of_one) - 1 for of_one in intervals)))


def jumps_in_regime_one(result: xr.DataTree) -> dict[str, Array]:
    """Per seed: jumps of a run, mean over the highest and the lowest third of the learning rates of regime 1, and the
    `spread_of_intervals` of the highest.

    Raises:
        Undetermined: fewer than six learning rates lie in regime 1.
    """
    one = arrays.shown(regimes(result), "1", least=6)
    loss, third = arrays.logged(result, "train_loss"), len(one) // 3
    count = jumps(loss)
    times = jump_times(np.log10(arrays.positive(loss[one[-third:]])))
    spread = np.array([spread_of_intervals(times[:, u]) for u in range(times.shape[1])])
    return {"high": count[one[-third:]].mean(0), "low": count[one[:third]].mean(0), "spread": spread}
