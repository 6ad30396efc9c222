"""Effects of training with one ELR on the sphere, in regime 1 and in equilibrium: from results to numbers per seed.

L learning rates, U seeds (data seed x seed), W logging intervals, G groups.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined

MEDIAN_WIDTH = 3  # ours: single logging intervals near the border have bursts of test error
CONVERGED = 0.02  # ours, nats: the paper reads trajectories of regime 1 at losses of 1e-2 and less (Fig. 3)
LEAST_RATES = 3  # ours: ELRs that a slope is read from


def faster_flatter_better(result: xr.DataTree) -> dict[str, Array]:
    """Per seed: how log steps to `CONVERGED`, log sharpness there and test error there (all of running medians) change per decade of
    ELR, over the ELRs of regime 1 that come down to it; NaN for a seed that has fewer than `LEAST_RATES` of them.

    Raises:
        Undetermined: regime 1 has fewer.
    """
    inside = arrays.shown(regimes(result), "1", least=LEAST_RATES)
    lr = np.log10(result.coords["lr"].values)[inside]
    loss = _smooth(result, "train_loss")
    values = {
        "faster": np.log10(_epochs_to(result, CONVERGED)),
        "flatter": np.log10(arrays.read_off(loss, _smooth(result, "effective_grad_norm"), CONVERGED)),
        "better": arrays.read_off(loss, _smooth(result, "test_error"), CONVERGED),
    }
    return {name: -_slope(lr, there[inside]) for name, there in values.items()}


def _slope(x: Array, y: Array) -> Array:
    """`arrays.slope` with at least `LEAST_RATES` points."""
    return np.where(np.isfinite(y).sum(0) >= LEAST_RATES, arrays.slope(x, y), np.nan)


def lowest_and_highest(result: xr.DataTree) -> tuple[Array, Array, float]:
    """Decades of sharpness per decade of ELR: the largest difference between the three lowest ELRs of regime 1 [U], and the fall by a
    straight line over the three highest [U], at the lowest training loss that all of them reach (times 1.05); and that loss.

    Raises:
        Undetermined: regime 1 has fewer than four ELRs.
    """
    one = arrays.shown(regimes(result), "1", least=4)
    low, top = one[:3], one[-3:]
    level = arrays.reached_by(result, [*low, *top]) * 1.05
    lr = np.log10(result.coords["lr"].values)
    steep = np.log10(arrays.read_off(_smooth(result, "train_loss"), _smooth(result, "effective_grad_norm"), level))
    apart = (steep[low].max(0) - steep[low].min(0)) / (lr[low[-1]] - lr[low[0]])
    return apart, -arrays.slope(lr[top], steep[top]), level


def _smooth(result: xr.DataTree, name: str) -> Array:
    return arrays.running_median(arrays.logged(result, name), MEDIAN_WIDTH)


def _epochs_to(result: xr.DataTree, level: float) -> Array:
    """Epochs until the training loss first comes down to a level [L, U]."""
    loss = _smooth(result, "train_loss")
    epochs = np.broadcast_to(segment(result, "pretrain")["epoch"].values, loss.shape)
    return arrays.read_off(loss, epochs, level)


def barrier(path: Array) -> Array:
    """Largest rise [...] of losses [..., K] above the straight line between their ends."""
    alpha = np.linspace(0, 1, path.shape[-1])
    line = path[..., :1] * (1 - alpha) + path[..., -1:] * alpha
    return np.asarray((path - line).max(-1), dtype=np.float64)


MEASURES = ("gradient_norm", "fisher_trace", "hessian_top")
LEVELS = 5  # ours: training losses between the lowest and the highest that all chosen ELRs pass


def slopes_at_equal_loss(steepness: xr.Dataset) -> dict[str, Array]:
    """Per measure and seed: decades per decade of ELR at equal training loss in regime 1, mean over `LEVELS` losses that all measured
    ELRs pass after the peak of the measure; log measures are interpolated along each run in the logarithm of the loss, so that
    what they owe to the loss is no part of it. NaN for a seed whose runs share no losses.

    Raises:
        Undetermined: fewer than two of the measured ELRs lie in regime 1.
    """
    found = steepness.transpose("seed", "lr", "epoch")
    one = np.flatnonzero(found["regime"].values == "1")
    if len(one) < 2:
        raise Undetermined(f"{len(one)} of the measured ELRs lie in regime 1, 2 are needed")
    part = found.isel(lr=one)
    lr, loss = np.log10(part["lr"].values), np.log10(arrays.positive(part["train_loss"].values))
    slopes = {}
    for name in MEASURES:
        logs = np.log10(arrays.positive(part[name].values))
        slopes[name] = np.array([_slope_between(lr, *seed) for seed in zip(loss, logs, strict=True)], dtype=np.float64)
    return slopes


def _slope_between(lr: Array, loss: Array, values: Array) -> float:
    """The slope of one seed's values [L, T] on `lr` [L], at the losses [L, T] that all runs pass; NaN where there are none."""
    runs = [_after_peak(*run) for run in zip(loss, values, strict=True)]
    if not all(len(run) for run, _ in runs):
        return np.nan
    low, high = max(run[0] for run, _ in runs), min(run[-1] for run, _ in runs)
    if not low < high:
        return np.nan
    levels = np.linspace(low, high, LEVELS)
    return float(arrays.slope(lr, np.stack([np.interp(levels, *run) for run in runs])).mean())


def _after_peak(loss: Array, values: Array) -> tuple[Array, Array]:
    """A run's losses, rising, and its values there, from the end of training back to where the values peak; what is not finite is
    left out."""
    known = np.isfinite(loss) & np.isfinite(values)
    loss, values = loss[known], values[known]
    order = np.argsort(loss)
    loss, values = loss[order], values[order]
    stop = int(values.argmax()) + 1 if len(values) else 0
    return loss[:stop], values[:stop]


def equalised(result: xr.DataTree) -> dict[str, Array]:
    """Per seed, each by its own map: log10 of the largest over the smallest group ESS, mean over each regime (`learning`: 2 where
    its loss is below ln C); and the slopes of log loss (`higher`) and of the median of log sharpness (`flatter`, with the
    opposite sign; bursts do not reach it) on log ELR there. NaN for a seed that does not show all of 1, 2 and 3.

    Raises:
        Undetermined: no seed does.
    """
    rows, reasons = [], []
    for one in arrays.single_seeds(result):
        try:
            rows.append(_equalised(one))
        except Undetermined as reason:
            reasons.append(reason)
            rows.append({})
    if not any(rows):
        raise reasons[0]
    names = next(row for row in rows if row)
    return {name: np.array([row.get(name, np.nan) for row in rows], dtype=np.float64) for name in names}


def _equalised(one: xr.DataTree) -> dict[str, float]:
    found = regimes(one)
    ess = arrays.logged(one, "group_ess")  # [L, 1, W, G]
    settled = arrays.settled(np.moveaxis(ess, -1, 2))[:, 0]
    ratio = np.log10(settled.max(-1) / settled.min(-1))
    loss = arrays.settled(arrays.logged(one, "train_loss"))
    steep = np.log10(arrays.positive(arrays.logged(one, "effective_grad_norm")))
    late = steep[..., -max(1, round(arrays.FINAL_FRACTION * steep.shape[-1])) :]
    learning = arrays.learning(one, found)
    lr = np.log10(one.coords["lr"].values)[learning]
    return {
        **{regime: float(np.nanmean(ratio[arrays.shown(found, regime)])) for regime in ("1", "3")},
        "learning": float(np.nanmean(ratio[learning])),
        "higher": float(arrays.slope(lr, np.log10(loss[learning]))[0]),
        "flatter": -float(arrays.slope(lr, np.nanmedian(late[learning], axis=-1))[0]),
    }
