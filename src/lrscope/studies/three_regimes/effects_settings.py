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
    over the lowest ELR; second descents of the test error in regimes 1 and 2 (fractions of runs). NaN where a seed has no ELR
    below ln C, or one of upper regime 1 is not.

    Raises:
        Undetermined: no learning rate lies in regime 1.
    """
    found = regimes(result)
    lr = np.log10(result.coords["lr"].values)
    steep = arrays.positive(arrays.settled(arrays.logged(result, "effective_grad_norm")))
    loss = arrays.settled(arrays.logged(result, "train_loss"))
    ok = (loss < arrays.guessing(result)) & np.isfinite(steep)
    shown = np.where(ok, np.log10(steep), np.nan)
    one = arrays.shown(found, "1")
    upper = one[len(one) // 2 :]
    two = [k for k in arrays.inside(found, "2") if ok[k].all()]
    again = second_descent(result)
    height = arrays.best(shown, shown) - shown[upper].min(0)
    return {
        "away": np.abs(arrays.best(shown, lr) - np.log10(arrays.border(found, "1|2"))),
        "height": height,
        "one": again[upper].mean(0),
        "two": again[two].mean(0) if two else np.full(steep.shape[1], np.nan),
    }


def second_descent(result: xr.DataTree, least: float = 0.01) -> Array:
    """By how much [L, U] the test error falls again after a rise of at least `least`; 0 where it does not rise or fall, NaN
    where an interval has no test error."""
    error = arrays.logged(result, "test_error")
    lowest = np.minimum.accumulate(error, axis=-1)
    rise = error - lowest
    top = rise.argmax(-1)
    later = np.take_along_axis(error, top[..., None], -1)[..., 0] - arrays.settled(error)
    found = np.where(rise.max(-1) >= least, np.maximum(later, 0.0), 0.0)
    return np.where(np.isnan(error).any(-1), np.nan, found)


def steepest_rise(result: xr.DataTree) -> Array:
    """Largest rise of log10 training loss from one ELR to the next within three cells of the border 1|2 [U]; NaN if the border
    is undetermined."""
    loss = np.log10(arrays.positive(arrays.settled(arrays.logged(result, "train_loss"))))
    found = regimes(result)
    if np.isnan(arrays.border(found, "1|2")):
        return np.full(loss.shape[1], np.nan)
    at = arrays.border_index(result, found, "1|2")
    around = slice(max(0, at - 3), at + 4)
    return np.asarray(np.diff(loss[around], axis=0).max(0), dtype=np.float64)


def lowest_loss(result: xr.DataTree) -> Array:
    """Lowest settled training loss over the grid [U]."""
    return np.asarray(np.nanmin(arrays.settled(arrays.logged(result, "train_loss")), axis=0), dtype=np.float64)


def best_rates(constant: xr.DataTree, cosine: xr.DataTree) -> dict[str, Array]:
    """Per seed: log10 of the LR with the best final test accuracy, constant and cosine, and of the border 1|2 of constant LRs.
    NaN where a seed has no accuracy."""
    found: dict[str, Array] = {}
    for name, result in (("constant", constant), ("cosine", cosine)):
        accuracy = arrays.logged(result, "test_accuracy")
        end = arrays.settled(accuracy) if name == "constant" else accuracy[..., -1]
        found[name] = arrays.best(end, np.log10(result.coords["lr"].values))
        found[name + "_accuracy"] = arrays.best(end, end)
    found["border"] = np.full(len(found["constant"]), np.log10(arrays.border(regimes(constant), "1|2")))
    return found
