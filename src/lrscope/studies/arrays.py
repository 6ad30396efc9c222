"""Reading results as plain arrays, the way claims and figures need them.

L learning rates, F fine-tuning rates, U seeds (data seed x seed, in C order), W logging intervals.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.dynamics.statistics import STEP
from lrscope.mapping import RegimeMap, regimes
from lrscope.measures.alignment import at_loss
from lrscope.schema import segment
from lrscope.studies.verdicts import Undetermined

Array = NDArray[np.float64]
FINAL_FRACTION = 0.2  # three_regimes averages equilibria over the last 200 of 1000 epochs


def per_seed(array: xr.DataArray) -> Array:
    """Values with the axes (other run axes, U, rest): [L, U], [L, U, W], [L, U, W, G], [L, F, U, W], ..."""
    front = [d for d in ("lr", "finetune_lr", "n_average") if d in array.dims]
    rest = [d for d in array.dims if d not in (*front, "data_seed", "seed")]
    values = array.transpose(*front, "data_seed", "seed", *rest).values
    shape = values.shape
    at = len(front)
    return np.asarray(values.reshape(*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]), dtype=np.float64)


def single_seeds(result: xr.DataTree) -> list[xr.DataTree]:
    """The result of every seed by itself, in the order of `per_seed`."""
    return [
        result.isel(data_seed=[d], seed=[s])
        for d in range(result.sizes["data_seed"])
        for s in range(result.sizes["seed"])
    ]


def shared_seeds(*results: xr.DataTree) -> list[xr.DataTree]:
    """The results at the training seeds and draws of the data that all of them have, so that differences can be taken run by run.

    Raises:
        Undetermined: they share no training seed, or no draw.
    """
    shared = {}
    for dim, words in (("seed", "seed"), ("data_seed", "draw of the data")):
        shared[dim] = sorted(set.intersection(*({int(s) for s in result.coords[dim].values} for result in results)))
        if not shared[dim]:
            raise Undetermined(f"the sweeps share no {words}")
    return [result.sel(shared) for result in results]


def settled(array_W: Array, fraction: float = FINAL_FRACTION) -> Array:
    """Mean over the last logging intervals (last axis), NaN passed over; NaN where all are."""
    count = max(1, round(fraction * array_W.shape[-1]))
    part = array_W[..., -count:]
    known = np.isfinite(part)
    total = np.where(known, part, 0.0).sum(-1)
    return np.where(known.any(-1), total / np.maximum(known.sum(-1), 1), np.nan)


def labels(found: RegimeMap) -> list[str]:
    """Regime of every learning rate: 1, 2, 3, dead or ? (2A and 2B are 2)."""
    return [label.regime.rstrip("AB") for label in found.labels]


def inside(found: RegimeMap, regime: str) -> list[int]:
    """Positions of the learning rates in a regime."""
    return [k for k, label in enumerate(labels(found)) if label == regime]


def shown(found: RegimeMap, regime: str, least: int = 1) -> list[int]:
    """Positions of the learning rates in a regime.

    Raises:
        Undetermined: fewer than `least`.
    """
    positions = inside(found, regime)
    if len(positions) < least:
        raise Undetermined(f"{len(positions)} learning rates lie in regime {regime}, {least} are needed")
    return positions


def learning(result: xr.DataTree, found: RegimeMap) -> list[int]:
    """Positions of regime 2 where its settled loss, mean over seeds, is below ln C: closer to divergence runs jump between
    equilibrium and guessing (three_regimes, Fig. 6).

    Raises:
        Undetermined: none.
    """
    loss = np.nanmean(settled(logged(result, "train_loss")), axis=1)
    positions = [k for k in shown(found, "2") if loss[k] < guessing(result)]
    if not positions:
        raise Undetermined("no learning rate of regime 2 has a loss below ln C")
    return positions


def border(found: RegimeMap, between: str) -> float:
    """A border's learning rate, NaN if it is undetermined."""
    lr = found.borders[between].lr
    return np.nan if lr is None else float(lr)


def border_index(result: xr.DataTree, found: RegimeMap, between: str) -> int:
    """Position of the first learning rate above a border.

    Raises:
        Undetermined: the border is.
    """
    lr = border(found, between)
    if np.isnan(lr):
        raise Undetermined(f"the border {between} is undetermined")
    return int(np.searchsorted(result.coords["lr"].values, lr))


def seed_borders(result: xr.DataTree, between: str) -> Array:
    """The border of every single seed [U]."""
    return np.array([border(regimes(one), between) for one in single_seeds(result)])


def widths(result: xr.DataTree) -> Array:
    """Decades from border 1|2 to 2|3, by seed [U]: 0 where regimes 1 and 3 show with no 2 between them, NaN where a border is
    undetermined, because the grid ends before it or its learning rates tell nothing."""
    return np.asarray(np.log10(seed_borders(result, "2|3") / seed_borders(result, "1|2")), dtype=np.float64)


def cell(lrs: Array) -> float:
    """The largest step of a grid of rates, in decades: what a border or a best rate on it is known to (`part(cell=...)`)."""
    return float(np.diff(np.log10(lrs)).max())


def width_cell(result: xr.DataTree) -> float:
    """What `widths` are known to, in decades, for `part(cell=...)`: the largest steps of the grid in which the two borders of a
    seed lie, added, because each may lie anywhere in its step. Twice the grid's `cell` where no border shows."""
    places = np.log10(result.coords["lr"].values)
    total = 0.0
    for between in ("1|2", "2|3"):
        borders = np.log10(seed_borders(result, between))
        above = np.searchsorted(places, borders[np.isfinite(borders)])
        total += float((places[above] - places[above - 1]).max()) if len(above) else cell(result.coords["lr"].values)
    return total


def average(values: Array) -> float:
    """Mean over seeds, NaN passed over; NaN where there is nothing."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan


def independent(result: xr.DataTree, values: Array) -> Array:
    """The independent ones among values [U]: where several training sets were drawn, the mean over the seeds of each [D], because
    runs on the same examples share what those do; NaN is passed over. With one training set, the values as they are."""
    draws = result.sizes["data_seed"]
    if draws == 1:
        return values
    return np.array([average(of_one) for of_one in values.reshape(draws, -1)])


def slope(x: Sequence[float] | Array, y: Array) -> Array:
    """Least-squares slopes of the columns of y [L, U] on x [L]; NaN with fewer than two finite points."""
    x = np.asarray(x, dtype=np.float64)
    found = np.full(y.shape[1], np.nan)
    for u in range(y.shape[1]):
        known = np.isfinite(y[:, u])
        if known.sum() > 1:
            found[u] = np.polyfit(x[known], y[known, u], 1)[0]
    return found


def logged(result: xr.DataTree, name: str, node: str = "pretrain") -> Array:
    """A variable of a segment as `per_seed` lays it out; `test_error` is 1 - test accuracy."""
    found = segment(result, node)
    return 1 - per_seed(found["test_accuracy"]) if name == "test_error" else per_seed(found[name])


def evenly_tuned(result: xr.DataTree, name: str) -> Array:
    """What fine-tuning logs [L, F, U, W] at evenly spaced times: without those of `finetune_log_epochs`, which show a figure its
    first steps. An interval that they cut is one again: its mean over steps, or what it has at its end. So medians over intervals
    and counts of them are what they would be without these times."""
    values, node = logged(result, name, "finetune"), segment(result, "finetune")
    extra = json.loads(result.attrs["config"]).get("finetune_log_epochs") or []
    if not extra:
        return values
    ends = node["step"].values
    per_epoch = round(ends[-1] / node["epoch"].values[-1])
    even = ~np.isin(ends[:-1], [max(1, round(epoch * per_epoch)) for epoch in extra])
    if name not in {statistic.name for statistic in STEP}:
        return values[..., np.append(even, True)]
    steps = np.diff(ends.astype(np.float64), prepend=0.0)
    starts = np.flatnonzero(np.append(True, even))
    means = np.add.reduceat(values * steps, starts, axis=-1) / np.add.reduceat(steps, starts)
    return np.asarray(means, dtype=np.float64)


def positive(loss: Array) -> Array:
    """Losses with NaN where they are 0 or less: there is no logarithm to interpolate in."""
    return np.where(loss > 0, loss, np.nan)


def read_off(loss: Array, values: Array, level: float) -> Array:
    """Values [..., W] where the loss [..., W] first comes down to `level`: [...] (`at_loss`)."""
    return np.asarray(at_loss(positive(loss), values, [level])[..., 0], dtype=np.float64)


def running_median(values: Array, width: int) -> Array:
    """Medians over an odd number of neighbouring logging intervals (last axis), mirrored at the ends; NaN is passed over."""
    half = width // 2
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(half, half)], mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)
    known = np.asarray(np.isfinite(windows).any(-1))
    return np.where(known, np.nanmedian(np.where(known[..., None], windows, 0.0), -1), np.nan)


def at_level(result: xr.DataTree, name: str, level: float, node: str = "pretrain") -> Array:
    """A quantity of a segment where its training loss first comes down to `level`: [L, U] or [L, F, U]."""
    return read_off(logged(result, "train_loss", node), logged(result, name, node), level)


def reached_by(result: xr.DataTree, positions: Sequence[int]) -> float:
    """The lowest training loss that all runs at these learning rates reach."""
    loss = logged(result, "train_loss")[list(positions)]
    return float(np.nanmax(np.nanmin(loss, axis=-1)))


def best(score: Array, values: Array) -> Array:
    """Values [L] or [L, U] at the learning rate with the highest score [L, U]; NaN where a seed has no score: [U]."""
    values = np.broadcast_to(values if values.ndim > 1 else values[:, None], score.shape)
    at = np.where(np.isnan(score), -np.inf, score).argmax(0)
    return np.where(np.isnan(score).all(0), np.nan, np.take_along_axis(values, at[None], 0)[0])


def guessing(result: xr.DataTree) -> float:
    """Training loss of uniform guessing, ln C."""
    task: dict[str, Any] = json.loads(result.attrs["task"])
    return float(np.log(task["classes"]))
