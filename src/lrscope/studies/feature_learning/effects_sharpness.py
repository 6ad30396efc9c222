"""Sharpness against test error of fine-tunes, each draw's all read off at one training loss (feature_learning, App. G).

P pre-training rates of regime 2, F fine-tuning rates, U seeds (data seed x seed), K rates of regime 1, W logging intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.mapping import regimes
from lrscope.schema import segment
from lrscope.studies import arrays, common_panels
from lrscope.studies.arrays import Array
from lrscope.studies.verdicts import Undetermined

NEAR_ERROR = 0.003  # ours: equal test error, mean over seeds
CLEARLY = float(np.log10(1.5))  # ours: App. G has almost a factor of two
LEAST_RATES = 3  # ours: a trend needs three points
LOW_LEVEL = 0.01  # ours: the training loss is near its end; App. G has 6e-4
ABOVE = 1.05  # ours: the slowest run comes down through the level, too
Run = tuple[int, int]


def at_equal_loss(result: xr.DataTree, whole: xr.DataTree) -> dict[str, Array]:
    """Sharpness and test error of all fine-tunes from regime 2 at one training loss: `sharpness` (log10), `error` [P, F, U],
    `early` [P, F, U], whether the first logging interval of fine-tuning lies below it, `plr` [P], `flr` [F], `level` [U]; and of
    regime 1's pre-trainings `one_sharpness`, `one_error` [K, U].

    Each seed has its own level: the lowest training loss that all its fine-tunes reach, times 1.05 (feature_learning, App. G:
    6e-4, of one data set). How low that is depends on the images drawn. A seed one of whose fine-tunes reaches a loss of 0 has
    no level: its values are NaN.
    Runs that have passed it at the first logged moment of fine-tuning, or never reach it, are NaN: what lies between the end
    of pre-training and that moment, nobody saw.

    Args:
        result: the fine-tunes that are compared.
        whole: the same pre-training in the same seeds over a grid that shows regimes; the learning rates of `result` are some of
            its own. Regime 1 is read in it.

    Raises:
        Undetermined: none of the learning rates of `result` lies in regime 2; in each seed a fine-tune reaches a loss of 0.
    """
    found = regimes(whole)
    two = result.isel(lr=_shared(result, whole, arrays.shown(found, "2")))
    name = common_panels.sharpness(result)[0]
    loss = arrays.logged(two, "train_loss", "finetune")
    reached = ABOVE * np.nanmax(np.nanmin(loss, axis=-1), axis=(0, 1))
    level = np.where(reached > 0, reached, np.nan)
    one = whole.isel(lr=arrays.inside(found, "1"))
    if np.isnan(level).all():
        raise Undetermined("some fine-tunes reach a training loss of 0: there is no level to compare at")
    return {
        "sharpness": np.log10(_at(two, name, level, "finetune")),
        "error": _at(two, "test_error", level, "finetune"),
        "early": loss[..., 0] <= level,
        "plr": two.coords["lr"].values.astype(float),
        "flr": segment(result, "finetune")["finetune_lr"].values.astype(float),
        "level": level,
        "one_sharpness": np.log10(_at(one, name, level)),
        "one_error": _at(one, "test_error", level),
    }


def _shared(result: xr.DataTree, whole: xr.DataTree, places: list[int]) -> list[int]:
    """Positions in `result` of the learning rates that `whole` has at some places.

    Raises:
        Undetermined: none.
    """
    lrs = whole.coords["lr"].values[places]
    found = [k for k, lr in enumerate(result.coords["lr"].values) if np.isclose(lrs, lr, rtol=1e-6, atol=0).any()]
    if not found:
        raise Undetermined("none of the learning rates that are fine-tuned to a low loss lies in regime 2")
    return found


def _at(result: xr.DataTree, name: str, levels: Array, node: str = "pretrain") -> Array:
    """A quantity of a segment where the training loss of each seed first comes down to its level [U]: [..., U]."""
    loss, values = (arrays.logged(result, one, node) for one in ("train_loss", name))
    found = np.full(loss.shape[:-1], np.nan)
    for u in np.flatnonzero(np.isfinite(levels)):
        found[..., u] = arrays.read_off(loss[..., u, :], values[..., u, :], float(levels[u]))
    return found


def near_the_end(level: Array) -> NDArray[np.bool_]:
    """The seeds [U] whose level is low enough to compare at."""
    return np.asarray(level <= LOW_LEVEL)


def mean_slopes(sharpness: Array, error: Array) -> Array:
    """Mean over the first axis of the slopes of error on sharpness along the second: [A, B, U] to [U]. NaN is left out, and
    so is a line of fewer than `LEAST_RATES` runs."""
    found = [
        [_slope(sharpness[a, :, u], error[a, :, u]) for u in range(sharpness.shape[2])]
        for a in range(sharpness.shape[0])
    ]
    return common_panels.mean(np.array(found), 0)


def _slope(sharpness: Array, error: Array) -> float:
    known = np.isfinite(sharpness) & np.isfinite(error)
    return float(np.polyfit(sharpness[known], error[known], 1)[0]) if known.sum() >= LEAST_RATES else np.nan


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
    """Pairs with equal test error and the most different sharpness; the sharper one first [P, F, U]. Seeds of which no run is
    known neither choose a pair nor have one."""
    return _held_out(sharpness, error, furthest_at_equal_error)


def reversed_pairs(sharpness: Array, error: Array) -> Held:
    """Pairs whose sharper one is more than `CLEARLY` sharper and has the least error in comparison, be it less or more; the
    sharper one first [P, F, U]."""
    return _held_out(sharpness, error, most_reversed)


def _held_out(sharpness: Array, error: Array, choose: Callable[[Array, Array], tuple[Run, Run] | None]) -> Held:
    seeds = sharpness.shape[2]
    known = np.flatnonzero((np.isfinite(sharpness) & np.isfinite(error)).any((0, 1)))
    found = np.full((2, seeds), np.nan)
    pairs: list[tuple[Run, Run] | None] = []
    for u in range(seeds):
        rest = known[known != u]
        pair = choose(sharpness[..., rest].mean(-1), error[..., rest].mean(-1)) if u in known and len(rest) else None
        pairs.append(pair)
        if pair is not None:
            (first, second) = pair
            found[:, u] = [values[(*first, u)] - values[(*second, u)] for values in (sharpness, error)]
    return Held(found[0], found[1], tuple(pairs))


def furthest_at_equal_error(sharpness: Array, error: Array) -> tuple[Run, Run] | None:
    """Of runs [P, F] with equal error the pair whose sharpness is the most different."""
    found = [pair for pair in _pairs(sharpness, error) if abs(_gap(error, pair)) <= NEAR_ERROR]
    return max(found, key=lambda pair: _gap(sharpness, pair), default=None)


def most_reversed(sharpness: Array, error: Array) -> tuple[Run, Run] | None:
    """Of runs [P, F] with clearly different sharpness the pair whose sharper one has the least error in comparison."""
    found = [pair for pair in _pairs(sharpness, error) if _gap(sharpness, pair) > CLEARLY]
    return min(found, key=lambda pair: _gap(error, pair), default=None)


def _pairs(sharpness: Array, error: Array) -> list[tuple[Run, Run]]:
    """Pairs of known runs [P, F] of different pre-trainings, the sharper one first."""
    known = np.argwhere(np.isfinite(sharpness) & np.isfinite(error)).tolist()
    runs: list[Run] = [(p, f) for p, f in known]
    return [(a, b) if sharpness[a] > sharpness[b] else (b, a) for a, b in combinations(runs, 2) if a[0] != b[0]]


def _gap(values: Array, pair: tuple[Run, Run]) -> float:
    return float(values[pair[0]] - values[pair[1]])
