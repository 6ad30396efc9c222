"""Effects that show beyond the logs: lines between states, sharpness measures, random walks. From arrays to numbers per seed.

U seeds, L learning rates, K positions on a line.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects import barrier
from lrscope.studies.verdicts import Undetermined


def of_net(found: xr.Dataset, name: str) -> xr.Dataset:
    """One network of a measurement, without the seeds and pairs that only others have."""
    there = found.sel(net=name)
    for dim in ("seed", "pair"):
        if dim in there.dims:
            there = there.dropna(dim, how="all", subset=[v for v in there.data_vars if dim in there[v].dims])
    return there


def bump(path: Array) -> Array:
    """How far losses [..., K] along a line lie above their convex envelope, at most [...]: 0 where they are convex, also for a hill
    between the walls of a valley, which does not reach above the straight line between the ends."""
    count = path.shape[-1]
    chords = [barrier(path[..., i:k]) for i in range(count) for k in range(i + 3, count + 1)]
    return np.asarray(np.max(chords, axis=0), dtype=np.float64)


def along_lines(paths: xr.Dataset) -> dict[str, Array]:
    """Losses on lines between the checkpoints of a run, relative to the mean of the two ends [U]: `lower`, how much lower it is
    half-way, and `bump_lowest`, its `bump`, at the lowest ELR, medians over the pairs of checkpoints; `bump_far`, the bump at the
    highest ELR, mean over the pairs farthest apart; `farther`, its slope there per decade of epochs between them, over all pairs.

    Raises:
        Undetermined: one ELR is the lowest and the highest.
    """
    if float(paths["lr"].values[0]) == float(paths["lr"].values[-1]):
        raise Undetermined("a single ELR of regime 2 has a loss below ln C")
    values = paths["train_loss"].transpose("seed", "rate", "pair", "alpha").values
    ends = (values[..., 0] + values[..., -1]) / 2
    middle = values[..., values.shape[-1] // 2]
    hills = bump(values) / ends  # [U, rates, pairs]
    apart = paths["delta"].values
    return {
        "lower": np.median(1 - (middle / ends)[:, 0], axis=-1),
        "bump_lowest": np.median(hills[:, 0], axis=-1),
        "bump_far": hills[:, -1, np.isclose(apart, apart.max())].mean(-1),
        "farther": arrays.slope(np.log10(apart), hills[:, -1].T),
    }


def median_barriers(paths: xr.DataArray) -> tuple[Array, Array]:
    """Barriers between neighbouring solutions: their median over the pairs that converged [U], NaN where none did, and all
    of them [U, pairs], NaN for the pairs that did not.

    Raises:
        Undetermined: no pair converged.
    """
    rise = barrier(paths.transpose("seed", "pair", "alpha").values)
    there = np.isfinite(rise)
    if not there.any():
        raise Undetermined("no two neighbouring ELRs of regime 1 converged")
    medians = [np.median(of_seed[here]) if here.any() else np.nan for of_seed, here in zip(rise, there, strict=True)]
    return np.array(medians, dtype=np.float64), rise


def walk_and_regimes(walks: xr.Dataset) -> dict[str, Array]:
    """Training in regime 3 against a random walk of the same step sizes, of one network [U]: `adjacent`, the mean cosine of weights
    from step to step, which a walk of the same step sizes has as well (1 / sqrt(1 + s^2) at a step of size s); `stays`, by how much
    it is larger in regime 2; `lag`, the mean cosine of weights from moment to moment less a walk's, and `memory`, by how much that
    is larger in regime 2, held against its own walk there, because small steps alone keep a walk's cosine high; `above`, by how
    much its training loss lies above the walk's (nats). Reported only: `turn`, the mean cosine of successive updates less a walk's.
    NaN where a run was not in its regime."""
    two, three = walks.sel(regime="2"), walks.sel(regime="3")
    memory = (walks["moment_cosine"] - walks["expected_moment_cosine"]).mean("moment")
    lag = memory.sel(regime="3")
    found = {
        "adjacent": three["cosine"].mean("step"),
        "stays": (two["cosine"] - three["cosine"]).mean("step"),
        "lag": lag,
        "memory": memory.sel(regime="2") - np.abs(lag),
        "above": (three["loss"] - three["walk_loss"]).isel(moment=slice(1, None)).mean("moment"),
        "turn": (three["update_cosine"] - three["expected_update_cosine"]).mean("step"),
    }
    return {name: np.asarray(values.values, dtype=np.float64) for name, values in found.items()}


def partial_correlation(steepness: xr.Dataset, first: str, second: str) -> Array:
    """Spearman correlation [U] of two measures over ELRs and times of training at equal training loss: of what is left of their
    logarithms after a parabola of that of the loss."""
    found = steepness.transpose("seed", "lr", "epoch")
    logs = [np.log10(arrays.positive(found[name].values)) for name in ("train_loss", first, second)]
    rows = []
    for x, *others in zip(*(values.reshape(len(values), -1) for values in logs), strict=True):
        known = np.isfinite(x) & np.isfinite(others).all(0)
        left = [y[known] - np.polyval(np.polyfit(x[known], y[known], 2), x[known]) for y in others]
        rows.append(stats.spearmanr(*left).statistic)
    return np.array(rows, dtype=np.float64)
