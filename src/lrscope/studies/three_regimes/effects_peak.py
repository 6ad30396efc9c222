"""Which trajectories pass the peak of sharpness, and the border that the paper draws where they stop to, in conventional training.

three_regimes, Sec. 6: training with lower learning rates passes the region with the highest sharpness along the trajectory and
starts converging to a flatter region, training with higher ones gets stuck in the high-sharpness zone. Sharpness of networks that
are not scale-invariant is the norm of the gradient alone (Sec. 4).

L learning rates, U seeds, W logging intervals.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.signal import detrend

from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array

SMOOTH = (
    5  # ours: logging intervals of the running median, without which the largest spike of a chaotic run is its peak
)
LEAST = 0.05  # ours, decades of sharpness: a climb or a descent below this is none
ERRORS = 3.0  # ours: a descent below this many standard deviations of the run's second half is noise


def passes(sharpness: Array) -> NDArray[np.bool_]:
    """Which runs [L, U] climb to a peak of log10 sharpness [L, U, W] and end clearly below it: by more than `LEAST` decades and more
    than noise."""
    steep = np.log10(arrays.positive(sharpness))
    finite = np.asarray(np.isfinite(steep).all(-1), dtype=bool)
    clean = np.where(finite[..., None], steep, 0.0)
    descent = descents(arrays.running_median(clean, SMOOTH))
    return np.asarray(finite & (descent > np.fmax(LEAST, ERRORS * scatter(clean))), dtype=bool)


def effective_gradient_norm(result: xr.DataTree) -> Array:
    """The gradient norm times the norm of the trained weights along training [L, U, W]. Ours, reported beside the paper's sharpness:
    the norm of the gradient alone falls where weights grow, whatever the sharpness of their directions does."""
    if "effective_grad_norm" in segment(result, "pretrain"):
        return arrays.logged(result, "effective_grad_norm")
    total = np.sqrt((arrays.logged(result, "group_norm") ** 2).sum(-1))
    return np.asarray(arrays.logged(result, "grad_norm") * total, dtype=np.float64)


def descents(values: Array) -> Array:
    """By how much smooth curves [..., W] come down again to their settled end after a climb, at most the climb: the largest over all
    places. 0 for a curve that stays at its peak, or never climbs."""
    rise = values - np.minimum.accumulate(values, axis=-1)
    fall = values - arrays.settled(values)[..., None]
    return np.asarray(np.maximum(np.minimum(rise, fall).max(-1), 0.0), dtype=np.float64)


def scatter(values: Array) -> Array:
    """Standard deviation of the second half of curves [..., W] about a straight line in time; NaN with fewer than four intervals."""
    late = values[..., values.shape[-1] // 2 :]
    if late.shape[-1] < 4:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(np.sqrt((detrend(late) ** 2).sum(-1) / (late.shape[-1] - 2)), dtype=np.float64)


def course(sharpness: Array) -> dict[str, Array]:
    """Of curves of sharpness [L, U, W], in decades [L, U], from running medians: `peak`, the value at the place that lies highest
    above the lowest before it; `climb`, by how much it does; `end`, the settled end, and `up`, by how much that lies above the same
    lowest. A curve that only falls has its peak at the start and no climb. NaN where a value is no positive number."""
    steep = np.log10(arrays.positive(sharpness))
    finite = np.asarray(np.isfinite(steep).all(-1), dtype=bool)
    smooth = arrays.running_median(np.where(finite[..., None], steep, 0.0), SMOOTH)
    rise = smooth - np.minimum.accumulate(smooth, axis=-1)
    at = rise.argmax(-1)[..., None]
    peak, climb = (np.take_along_axis(values, at, -1)[..., 0] for values in (smooth, rise))
    end = arrays.settled(smooth)
    found = {"peak": peak, "climb": climb, "end": end, "up": end - (peak - climb)}
    return {name: np.where(finite, values, np.nan) for name, values in found.items()}


def stops_passing(result: xr.DataTree, alive: NDArray[np.bool_], *, effective: bool = False) -> Array:
    """The border that the paper draws in conventional training: the learning rate above which trajectories no longer pass the peak of
    sharpness [U]. Below the first that passes runs are too slow; those that are not `alive` [L, U], at chance or overflowed, have
    no trajectory. Where all that are alive from there on pass, it is where learning ends. NaN where none passes, or where the
    highest learning rate of the grid does. By the norm of the gradient, or `effective`, by that times the norm of the weights.
    """
    steep = effective_gradient_norm(result) if effective else arrays.logged(result, "grad_norm")
    lrs, passed = result.coords["lr"].values, passes(steep)
    return np.array([_split(lrs, passed[:, u], alive[:, u]) for u in range(alive.shape[1])])


def _split(lrs: Array, passed: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
    """The middle of the ordered split into passed and stopped that agrees with most runs, among several the lowest."""
    first = np.flatnonzero(known & passed)[:1]
    places = np.flatnonzero(known)
    places = places[places >= first] if len(first) else places[:0]
    votes = passed[places]
    agree = [int(votes[:k].sum() + (~votes[k:]).sum()) for k in range(1, len(votes) + 1)]
    if not agree:
        return np.nan
    at = int(np.argmax(agree)) + 1
    low = places[at - 1]
    high = places[at] if at < len(votes) else low + 1
    return float(np.sqrt(lrs[low] * lrs[high])) if high < len(lrs) else np.nan
