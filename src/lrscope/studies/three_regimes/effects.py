"""Effects of training with one ELR on the sphere, in regime 1 and in equilibrium: from results to numbers per seed.

L learning rates, U seeds (data seed x seed), W logging intervals, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.signal import detrend

from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined

MEDIAN_WIDTH = 3  # ours, after seeing runs, for TR6's note only


def faster_flatter_better(result: xr.DataTree) -> dict[str, Array]:
    """Per seed: how log steps to a loss, log sharpness and test error at equal loss change per decade of ELR in regime 1; the
    last also with the error's running median, because near the border it has bursts of single logging intervals.

    Raises:
        Undetermined: regime 1 has fewer than four ELRs.
    """
    inside = arrays.shown(regimes(result), "1", least=4)
    upper = inside[len(inside) // 2 :]
    level = arrays.reached_by(result, upper) * 1.05
    lr = np.log10(result.coords["lr"].values)
    first = np.log10(_epochs_to(result, level))
    sharp = np.log10(arrays.at_level(result, "effective_grad_norm", level))
    error = arrays.at_level(result, "test_error", level)
    smooth = arrays.running_median(arrays.logged(result, "test_error"), MEDIAN_WIDTH)
    without_bursts = arrays.read_off(arrays.logged(result, "train_loss"), smooth, level)
    low = inside[:3]
    shared = arrays.reached_by(result, low) * 1.05
    slow = np.log10(arrays.at_level(result, "effective_grad_norm", shared))[low]
    return {
        "faster": -arrays.slope(lr[upper], first[upper]),
        "flatter": -arrays.slope(lr[upper], sharp[upper]),
        "better": -arrays.slope(lr[upper], error[upper]),
        "better_without_bursts": -arrays.slope(lr[upper], without_bursts[upper]),
        "apart": slow.max(0) - slow.min(0),
        "level": np.array([level, shared]),
    }


def _epochs_to(result: xr.DataTree, level: float) -> Array:
    """Epochs until the training loss first comes down to a level [L, U]."""
    loss = arrays.logged(result, "train_loss")
    epochs = np.broadcast_to(segment(result, "pretrain")["epoch"].values, loss.shape)
    return arrays.read_off(loss, epochs, level)


def barrier(path: Array) -> Array:
    """Largest rise [...] of losses [..., K] above the straight line between their ends."""
    alpha = np.linspace(0, 1, path.shape[-1])
    line = path[..., :1] * (1 - alpha) + path[..., -1:] * alpha
    return np.asarray((path - line).max(-1), dtype=np.float64)


MEASURES = ("gradient_norm", "covariance_trace", "fisher_trace", "hessian_top")


def slopes_at_equal_loss(steepness: xr.Dataset) -> dict[str, Array]:
    """Per measure and seed: decades per decade of ELR at equal training loss in regime 1, by least squares of log measure
    on log loss and log ELR over ELRs and times of training."""
    found = steepness.transpose("seed", "lr", "epoch")
    one = np.flatnonzero(found["regime"].values == "1")
    if len(one) < 2:
        raise Undetermined(f"{len(one)} of the measured ELRs lie in regime 1, 2 are needed")
    part = found.isel(lr=one)
    lr = np.broadcast_to(np.log10(part["lr"].values)[:, None], part["train_loss"].shape[1:]).ravel()
    slopes: dict[str, Array] = {name: np.full(found.sizes["seed"], np.nan) for name in MEASURES}
    for name in MEASURES:
        for s in range(found.sizes["seed"]):
            y, x = part[name].values[s].ravel(), part["train_loss"].values[s].ravel()
            known = (y > 0) & (x > 0)
            design = np.stack([np.ones(known.sum()), np.log10(x[known]), lr[known]], 1)
            slopes[name][s] = np.linalg.lstsq(design, np.log10(y[known]), rcond=None)[0][2]
    return slopes


CALM = (
    0.25  # ours, after seeing runs, for TR9's note only: the fraction of ln C above which runs of regime 2 have bursts
)


def equalised(result: xr.DataTree) -> dict[str, Array]:
    """Per seed: log10 of the largest over the smallest group ESS, mean over each regime; and the trends inside regime 2, that
    of sharpness also where runs are calm; and `within_runs` at the ELRs of regime 2.

    Raises:
        Undetermined: no regime 1, no 3, or no 2 with a loss below ln C.
    """
    found = regimes(result)
    ess = arrays.logged(result, "group_ess")  # [L, U, W, G]
    settled = arrays.settled(np.moveaxis(ess, -1, 2))
    ratio = np.log10(settled.max(-1) / settled.min(-1))
    loss = arrays.settled(arrays.logged(result, "train_loss"))
    steep = arrays.settled(arrays.logged(result, "effective_grad_norm"))
    learning = arrays.learning(result, found)
    lr = np.log10(result.coords["lr"].values)
    calm = [k for k in learning if np.nanmean(loss[k]) < CALM * arrays.guessing(result)]
    return {
        **{regime: np.nanmean(ratio[arrays.shown(found, regime)], axis=0) for regime in ("1", "2", "3")},
        "learning": np.nanmean(ratio[learning], axis=0),
        "higher": arrays.slope(lr[learning], np.log10(loss[learning])),
        "flatter": -arrays.slope(lr[learning], np.log10(steep[learning])),
        "flatter_where_calm": -arrays.slope(lr[calm], np.log10(steep[calm])),
        **within_runs(result, learning),
        "ratio": 10**ratio,
    }


def within_runs(result: xr.DataTree, positions: Sequence[int]) -> dict[str, Array]:
    """How runs go up and down over the logging intervals of their second half, without linear trends in time [L', U]: `scatter`, the
    standard deviation of log10 loss, and `together`, its correlation with log sharpness. NaN with fewer than four of them."""
    loss, steep = (arrays.logged(result, name)[list(positions)] for name in ("train_loss", "effective_grad_norm"))
    late = slice(loss.shape[-1] // 2, None)
    x, y = np.log10(arrays.positive(loss))[..., late], np.log10(arrays.positive(steep))[..., late]
    found = {name: np.full(x.shape[:-1], np.nan) for name in ("scatter", "together")}
    for place in np.ndindex(x.shape[:-1]):
        known = np.isfinite(x[place]) & np.isfinite(y[place])
        if known.sum() >= 4:
            a, b = (detrend(values[place][known]) for values in (x, y))
            found["scatter"][place] = np.sqrt((a**2).sum() / (len(a) - 2))
            scale = np.sqrt((a**2).sum() * (b**2).sum())
            found["together"][place] = (a * b).sum() / scale if scale > 0 else np.nan
    return found
