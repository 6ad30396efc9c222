"""Sharpness against test error of fine-tunes, all read off at one training loss (feature_learning, App. G).

P pre-training rates of regime 2, F fine-tuning rates, U seeds (data seed x seed), K rates of regime 1, W logging intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import xarray as xr

from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined

NEAR_ERROR, NEAR_SHARPNESS = 0.003, 0.03  # ours: equal, in test error and in decades of sharpness, mean over seeds
Run = tuple[int, int]


def at_equal_loss(result: xr.DataTree) -> dict[str, Array]:
    """Sharpness and test error of all fine-tunes from regime 2 at one training loss: `sharpness` (log10), `error` [P, F, U],
    `early` [P, F, U], whether the first logging interval of fine-tuning lies below it, `plr` [P], `flr` [F], `level` [1]; and of
    regime 1's pre-trainings `one_sharpness`, `one_error` [K, U].

    The level is the lowest training loss that all these fine-tunes reach, times 1.05 (feature_learning, App. G: 6e-4). A
    fine-tune begins where its pre-training ended; runs that start below the level, or never reach it, are NaN.

    Raises:
        Undetermined: no regime 2; a fine-tune reaches a loss of 0.
    """
    found = regimes(result)
    two = result.isel(lr=arrays.shown(found, "2"))
    name = common_panels.sharpness(result)[0]
    loss = arrays.logged(two, "train_loss", "finetune")
    level = 1.05 * float(np.nanmax(np.nanmin(loss, axis=-1)))
    one = result.isel(lr=arrays.inside(found, "1"))
    if not level > 0:
        raise Undetermined("some fine-tunes reach a training loss of 0: there is no level to compare at")
    path = _path(arrays.logged(two, "train_loss"), loss)

    def at(before: Array, after: Array) -> Array:
        return arrays.read_off(path, _path(before, after), level)

    return {
        "sharpness": np.log10(at(arrays.logged(two, name), arrays.logged(two, name, "finetune"))),
        "error": at(arrays.logged(two, "test_error"), arrays.logged(two, "test_error", "finetune")),
        "early": loss[..., 0] <= level,
        "plr": two.coords["lr"].values.astype(float),
        "flr": segment(result, "finetune")["finetune_lr"].values.astype(float),
        "level": np.array([level]),
        "one_sharpness": np.log10(arrays.at_level(one, name, level)),
        "one_error": arrays.at_level(one, "test_error", level),
    }


def _path(before: Array, after: Array) -> Array:
    """Fine-tuning [P, F, U, W] with the end of pre-training [P, U, W'] in front: [P, F, U, 1 + W]."""
    start = np.broadcast_to(before[:, None, :, -1:], (*after.shape[:-1], 1))
    return np.concatenate([start, after], -1)


def mean_slopes(sharpness: Array, error: Array) -> Array:
    """Mean over the first axis of the slopes of error on sharpness along the second: [A, B, U] to [U]."""
    found = [
        [np.polyfit(sharpness[a, :, u], error[a, :, u], 1)[0] for u in range(sharpness.shape[2])]
        for a in range(sharpness.shape[0])
    ]
    return common_panels.mean(np.array(found), 0)


def overall_slopes(sharpness: Array, error: Array) -> Array:
    """Slope of error on sharpness over all runs of a seed: [P, F, U] to [U]."""
    seeds = sharpness.shape[2]
    return mean_slopes(sharpness.reshape(1, -1, seeds), error.reshape(1, -1, seeds))


@dataclass(frozen=True)
class Held:
    """Of two fine-tunes from different pre-trainings, chosen by the other seeds, the differences in a held-out seed: of
    sharpness in decades and of test error, [U] each; and the pair chosen for each, as positions (p, f)."""

    sharpness: Array
    error: Array
    pairs: tuple[tuple[Run, Run] | None, ...]


def equal_error(sharpness: Array, error: Array) -> Held:
    """Pairs with equal test error and the most different sharpness; the sharper one first [P, F, U]."""
    return _held_out(sharpness, error, near=error, far=sharpness, close=NEAR_ERROR)


def equal_sharpness(sharpness: Array, error: Array) -> Held:
    """Pairs with equal sharpness and the most different test error; the one with more error first [P, F, U]."""
    return _held_out(sharpness, error, near=sharpness, far=error, close=NEAR_SHARPNESS)


def _held_out(sharpness: Array, error: Array, *, near: Array, far: Array, close: float) -> Held:
    seeds = sharpness.shape[2]
    found = np.full((2, seeds), np.nan)
    pairs: list[tuple[Run, Run] | None] = []
    for u in range(seeds):
        rest = [v for v in range(seeds) if v != u]
        pair = _furthest(near[..., rest].mean(-1), far[..., rest].mean(-1), close)
        pairs.append(pair)
        if pair is not None:
            (first, second) = pair
            found[:, u] = [values[(*first, u)] - values[(*second, u)] for values in (sharpness, error)]
    return Held(found[0], found[1], tuple(pairs))


def _furthest(near: Array, far: Array, close: float) -> tuple[Run, Run] | None:
    """The runs of different pre-trainings [P, F] that are `close` in one quantity and furthest apart in the other."""
    plrs, flrs = near.shape
    runs = [run for run in product(range(plrs), range(flrs)) if np.isfinite(near[run]) and np.isfinite(far[run])]
    found = [
        (a, b) if far[a] > far[b] else (b, a)
        for a, b in combinations(runs, 2)
        if a[0] != b[0] and abs(near[a] - near[b]) <= close
    ]
    return max(found, key=lambda pair: far[pair[0]] - far[pair[1]], default=None)
