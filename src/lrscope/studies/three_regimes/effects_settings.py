"""Effects of width, augmentation and training in the whole space: from results to numbers per seed.

L learning rates, U seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from lrscope.mapping import regimes
from lrscope.studies import arrays
from lrscope.studies.arrays import Array

JUMP = 0.7  # ours: the factor 5 by which the map flags periodic jumps (`Rules.jump_factor`), in decades


def steepest_rise(result: xr.DataTree) -> Array:
    """How clear the border 1|2 is [U]: the largest rise of log10 training loss from one ELR to the next, in decades per decade of
    ELR, within three cells of each seed's own border; NaN where that is undetermined."""
    lrs = result.coords["lr"].values
    loss = np.log10(arrays.positive(arrays.settled(arrays.logged(result, "train_loss"))))
    rises = np.diff(loss, axis=0) / np.diff(np.log10(lrs))[:, None]
    found = np.full(loss.shape[1], np.nan)
    for u, border in enumerate(arrays.seed_borders(result, "1|2")):
        if np.isfinite(border):
            at = int(np.searchsorted(lrs, border)) - 1  # of the rise across the border
            found[u] = rises[max(0, at - 3) : at + 4, u].max()
    return found


def per_width(values: Sequence[Array]) -> Array:
    """Slopes [U] of quantities [U] of nets of increasing width, per step of width; NaN where one of them is."""
    stacked = np.stack(values)
    return np.where(np.isfinite(stacked).all(0), arrays.slope(range(len(stacked)), stacked), np.nan)


def alike(change: xr.DataTree, other: xr.DataTree, base: xr.DataTree, name: str) -> Array:
    """How much two changes of a setting do the same [U]: the correlation over ELRs of what they do to the log of a settled quantity.
    The other change is held against the base's next seed, so that no noise of the base is in both; the seeds of the other
    change start from other weights anyway."""
    one, two, plain = (np.log10(arrays.positive(arrays.settled(arrays.logged(r, name)))) for r in (change, other, base))
    a, b = one - plain, two - np.roll(plain, 1, axis=1)
    a, b = a - a.mean(0), b - b.mean(0)
    return np.asarray((a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0)), dtype=np.float64)


def jumps(loss: Array) -> Array:
    """How often training losses [..., W] jump out of a low-loss region and come back to one: rises by `JUMP` decades above the
    lowest value since the last jump, followed by falls of as much. NaN where a loss is not a positive number."""
    logs = np.log10(arrays.positive(loss))
    count = np.zeros(logs.shape[:-1])
    low, high, up = logs[..., 0], logs[..., 0], np.zeros(logs.shape[:-1], dtype=bool)
    for now in np.moveaxis(logs, -1, 0):
        low, high = np.where(up, low, np.minimum(low, now)), np.where(up, np.maximum(high, now), now)
        back = up & (now < high - JUMP)
        count, low, up = count + back, np.where(back, now, low), (up & ~back) | (~up & (now > low + JUMP))
    return np.where(np.isfinite(logs).all(-1), count, np.nan)


def jumps_in_regime_one(result: xr.DataTree) -> dict[str, Array]:
    """Per seed: jumps of a run, mean over the highest and the lowest third of the learning rates of regime 1.

    Raises:
        Undetermined: fewer than six learning rates lie in regime 1.
    """
    one = arrays.shown(regimes(result), "1", least=6)
    count, third = jumps(arrays.logged(result, "train_loss")), len(one) // 3
    return {"high": count[one[-third:]].mean(0), "low": count[one[:third]].mean(0)}
