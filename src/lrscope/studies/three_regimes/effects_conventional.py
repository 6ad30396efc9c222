"""Training of networks that are not scale-invariant: how far regime 2 reaches, and which learning rates generalise best.

L learning rates, U seeds (data seed x seed).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects_peak import course, effective_gradient_norm, passes, stops_passing

HALF_DECADE, DECADE = 10**0.5, 10.0  # ours: the widths of the neighbourhoods of a border that are compared
BELOW_GUESSING = 0.99  # ours: as the map tells dead networks by their losses (`votes.dies`)
DIVERGED = 2.0  # ours: a dead network's loss is that of a constant prediction; regime 3's is several times as large


def alive(result: xr.DataTree) -> NDArray[np.bool_]:
    """Which runs [L, U] learn: labelled 1 or 2 in the map of their own seed, with a settled training loss clearly below ln C. The
    others overflowed or died; a few images of unequal classes let dead networks look better than chance by their accuracy."""
    names = [arrays.labels(regimes(one)) for one in arrays.single_seeds(result)]
    learning = arrays.settled(arrays.logged(result, "train_loss")) < BELOW_GUESSING * arrays.guessing(result)
    labelled = np.array([[name in ("1", "2") for name in of_one] for of_one in names]).T
    return np.asarray(learning & labelled, dtype=bool)


def top(result: xr.DataTree, living: NDArray[np.bool_]) -> Array:
    """Where learning ends [U]: the middle between the highest learning rate that is alive [L, U] and the next. NaN where none
    is, or where the highest of the grid is."""
    lrs, found = result.coords["lr"].values, np.full(living.shape[1], np.nan)
    for u, of_one in enumerate(living.T):
        last = np.flatnonzero(of_one)[-1:]
        if len(last) and last[0] + 1 < len(lrs):
            found[u] = np.sqrt(lrs[last[0]] * lrs[last[0] + 1])
    return found


def between(result: xr.DataTree, values: Array, low: Array, high: Array) -> Array:
    """Means [U] of values [L, U] over the learning rates between two bounds [U] of each seed, NaN passed over; NaN where there are
    none, or where the grid begins above the middle between the bounds."""
    lrs = result.coords["lr"].values[:, None]
    inside = (lrs > low) & (lrs < high) & np.isfinite(values)
    count = inside.sum(0)
    reached = lrs.min() <= np.sqrt(low * high)
    return np.where(reached & (count > 0), np.where(inside, values, 0.0).sum(0) / np.maximum(count, 1), np.nan)


def neither(result: xr.DataTree, above: Array) -> Array:
    """The fraction [U] of learning rates above bounds [U] that end finite and still are not dead: worse than a constant prediction
    as regime 3 is. NaN where there are none."""
    loss = arrays.settled(arrays.logged(result, "train_loss"))
    broken = _overflowed(result)
    third = np.where(broken, 0.0, loss > DIVERGED * arrays.guessing(result))
    return between(result, third, above, np.full_like(above, np.inf))


def overflow(result: xr.DataTree, above: Array) -> Array:
    """The fraction [U] of learning rates above bounds [U] whose runs overflow; NaN where there are none."""
    return between(result, _overflowed(result).astype(np.float64), above, np.full_like(above, np.inf))


def _overflowed(result: xr.DataTree) -> NDArray[np.bool_]:
    return np.asarray(arrays.per_seed(segment(result, "pretrain")["status"]) == 1)


def stuck_above(
    result: xr.DataTree, living: NDArray[np.bool_], border: Array, *, effective: bool = False
) -> dict[str, Array]:
    """Whether runs of the half decade above the border [U] get stuck at the peak of sharpness that those of the half decade below
    pass, in decades [U]: `climbs`, by how much they end above their own lowest before their peak, less half of what those climb;
    `stays`, by how much they end above the middle between peak and end of those, of sharpness itself. One alone tells little: a run
    that has not climbed yet may lie above the middle. NaN where there are none on a side.
    """
    steep = effective_gradient_norm(result) if effective else arrays.logged(result, "grad_norm")
    passed = living & passes(steep)
    found = course(steep)
    below = {
        name: between(result, np.where(passed, values, np.nan), border / HALF_DECADE, border)
        for name, values in found.items()
    }
    above = {
        name: between(result, np.where(living, values, np.nan), border, border * HALF_DECADE)
        for name, values in found.items()
    }
    middle = np.log10((10 ** below["peak"] + 10 ** below["end"]) / 2)
    return {"climbs": above["up"] - below["climb"] / 2, "stays": above["end"] - middle}


def generalisation(constant: xr.DataTree, cosine: xr.DataTree) -> dict[str, Array]:
    """Per seed: log10 of the border where trajectories stop passing the peak of sharpness, of that by the norm of the gradient times
    that of the weights (`effective`), and of the learning rate where learning ends; whether runs above the border are stuck at the
    peak (`climbs`, `stays`: `stuck_above`; `effective_climbs`, `effective_stays`); mean test errors of constant learning rates in
    the half decades below (`at_top`), further below (`lower`) and above (`higher`) the border, and of cosines that start in the
    decade below it (`low`), in the lower (`medium`) and in the upper half (`high`) of the decades from the border to the end of
    learning. Runs that do not learn are left out.
    """
    living = alive(constant)
    border, end = stops_passing(constant, living), top(constant, living)
    error = np.where(living, arrays.settled(arrays.logged(constant, "test_error")), np.nan)
    decayed = arrays.logged(cosine, "test_error")[..., -1]
    middle = np.sqrt(border * end)
    effective = stops_passing(constant, living, effective=True)
    also = stuck_above(constant, living, effective, effective=True)
    return {
        "border": np.log10(border),
        "effective": np.log10(effective),
        "end": np.log10(end),
        **stuck_above(constant, living, border),
        **{f"effective_{name}": values for name, values in also.items()},
        "at_top": between(constant, error, border / HALF_DECADE, border),
        "lower": between(constant, error, border / DECADE, border / HALF_DECADE),
        "higher": between(constant, error, border, border * HALF_DECADE),
        "low": between(cosine, decayed, border / DECADE, border),
        "medium": between(cosine, decayed, border, middle),
        "high": between(cosine, decayed, middle, end),
        "neither": neither(constant, end),
    }


def both_regimes(result: xr.DataTree) -> dict[str, Array]:
    """Per seed: log10 of the border where trajectories stop passing the peak of sharpness, of that by the norm of the gradient times
    that of the weights (`effective`), and of the learning rate where learning ends; the best test error in regime 1 and in regime 2
    (`best_of_others`), and the fraction of higher learning rates that overflow."""
    living, lrs = alive(result), result.coords["lr"].values[:, None]
    border, end = stops_passing(result, living), top(result, living)
    error = np.where(living, arrays.settled(arrays.logged(result, "test_error")), np.nan)
    draws = result.sizes["data_seed"]
    count = error.shape[1]
    draw = np.repeat(np.arange(draws), count // draws) if draws > 1 else np.arange(count)
    return {
        "border": np.log10(border),
        "effective": np.log10(stops_passing(result, living, effective=True)),
        "end": np.log10(end),
        "one": best_of_others(np.where(lrs < border, error, np.nan), draw),
        "two": best_of_others(np.where(lrs > border, error, np.nan), draw),
        "overflow": overflow(result, end),
    }


def best_of_others(error: Array, draw: NDArray[np.int64]) -> Array:
    """Errors [L, U] of each run at the learning rate that is best on average in the runs of the other draws [U]; NaN where none is
    known in all of them. (The lowest of a seed's own errors is the lower by chance the more learning rates there are.)"""
    found = np.full(error.shape[1], np.nan)
    for u, own in enumerate(error.T):
        others = error[:, draw != draw[u]]
        usable = np.isfinite(others).all(1) & np.isfinite(own)
        if others.shape[1] and usable.any():
            found[u] = own[np.where(usable, others.mean(1), np.inf).argmin()]
    return found
