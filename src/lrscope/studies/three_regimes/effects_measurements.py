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


def along_lines(paths: xr.Dataset) -> dict[str, Array]:
    """Losses on lines between the checkpoints of a run, relative to the mean of the two ends [U]: `lower`, how much lower it is
    half-way at the lowest ELR; `rise_lowest`, `rise_highest`, the largest rise above the straight line at the lowest and the
    highest ELR, medians over the pairs of checkpoints; `farther`, the slope of the last per decade of epochs between them."""
    values = paths["train_loss"].transpose("seed", "rate", "pair", "alpha").values
    ends = (values[..., 0] + values[..., -1]) / 2
    middle = values[..., values.shape[-1] // 2]
    rise = barrier(values) / ends  # [U, rates, pairs]
    return {
        "lower": np.median(1 - (middle / ends)[:, 0], axis=-1),
        "rise_lowest": np.median(rise[:, 0], axis=-1),
        "rise_highest": np.median(rise[:, -1], axis=-1),
        "farther": arrays.slope(np.log10(paths["delta"].values), rise[:, -1].T),
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
    """Training in regime 3 against a random walk of the same step sizes, of one network [U]: `turn`, the mean cosine of
    successive updates less a walk's; `lag`, that of weights from moment to moment less a walk's; `above`, by how much its training
    loss lies above the walk's (nats); and `two`, the same as `lag` in regime 2: small steps alone keep a walk's cosine high. NaN
    where a run was not in its regime."""
    three = walks.sel(regime="3")
    memory = (walks["moment_cosine"] - walks["expected_moment_cosine"]).mean("moment")
    found = {
        "turn": (three["update_cosine"] - three["expected_update_cosine"]).mean("step"),
        "lag": memory.sel(regime="3"),
        "above": (three["loss"] - three["walk_loss"]).isel(moment=slice(1, None)).mean("moment"),
        "two": memory.sel(regime="2"),
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
