"""Effects of label noise, width, augmentation and conventional training: from results to numbers per seed.

L learning rates, U seeds.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from lrscope.mapping import regimes
from lrscope.studies import arrays
from lrscope.studies.arrays import Array


def peaks(result: xr.DataTree) -> dict[str, Array]:
    """Per seed: distance in decades of the sharpest ELR (below ln C) from the border 1|2, and how far it stands out in log10
    over the lowest ELR; second descents of the test error in regimes 1 and 2 (fractions of runs)."""
    found = regimes(result)
    lr = np.log10(result.coords["lr"].values)
    steep = arrays.settled(arrays.logged(result, "effective_grad_norm"))
    loss = arrays.settled(arrays.logged(result, "train_loss"))
    ok = (loss < arrays.guessing(result)) & np.isfinite(steep)
    shown = np.where(ok, np.log10(steep), -np.inf)
    at = shown.argmax(0)
    two = [k for k in arrays.inside(found, "2") if ok[k].all()]
    one = arrays.inside(found, "1")
    again = second_descent(result)
    flat = shown[one[len(one) // 2 :]].min(0)
    return {
        "away": np.abs(lr[at] - np.log10(arrays.border(found, "1|2"))),
        "height": shown.max(0) - flat,
        "one": again[one[len(one) // 2 :]].mean(0),
        "two": again[two].mean(0) if two else np.full(steep.shape[1], np.nan),
    }


def second_descent(result: xr.DataTree, least: float = 0.01) -> Array:
    """By how much [L, U] the test error falls again after a rise of at least `least`; 0 where it does not rise or fall."""
    error = arrays.logged(result, "test_error")
    lowest = np.minimum.accumulate(error, axis=-1)
    rise = error - lowest
    top = rise.argmax(-1)
    later = np.take_along_axis(error, top[..., None], -1)[..., 0] - arrays.settled(error)
    return np.where(rise.max(-1) >= least, np.maximum(later, 0.0), 0.0)


def steepest_rise(result: xr.DataTree) -> Array:
    """Largest rise of log10 training loss from one ELR to the next within three cells of the border 1|2 [U]."""
    loss = np.log10(arrays.settled(arrays.logged(result, "train_loss")))
    at = int(np.searchsorted(result.coords["lr"].values, arrays.border(regimes(result), "1|2")))
    around = slice(max(0, at - 3), at + 4)
    return np.asarray(np.diff(loss[around], axis=0).max(0), dtype=np.float64)


def lowest_loss(result: xr.DataTree) -> Array:
    """Lowest settled training loss over the grid [U]."""
    return np.asarray(np.nanmin(arrays.settled(arrays.logged(result, "train_loss")), axis=0), dtype=np.float64)


def best_rates(constant: xr.DataTree, cosine: xr.DataTree) -> dict[str, Array]:
    """Per seed: log10 of the LR with the best final test accuracy, constant and cosine, and of the border 1|2 of constant LRs."""
    found: dict[str, Array] = {}
    for name, result in (("constant", constant), ("cosine", cosine)):
        accuracy = arrays.logged(result, "test_accuracy")
        end = arrays.settled(accuracy) if name == "constant" else accuracy[..., -1]
        end = np.where(np.isfinite(end), end, -1.0)
        found[name] = np.log10(result.coords["lr"].values)[end.argmax(0)]
        found[name + "_accuracy"] = end.max(0)
    found["border"] = np.full(len(found["constant"]), np.log10(arrays.border(regimes(constant), "1|2")))
    return found
