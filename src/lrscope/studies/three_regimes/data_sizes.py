"""What training sets of different sizes show, in claims' notes: names and words for the measurement `data_sizes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from lrscope.studies.verdicts import interval

REGIME_ONE = ("faster", "flatter", "better", "better_without_bursts")
REGIME_TWO = (
    "higher",
    "flatter_within_2",
    "flatter_where_calm",
    "scatter_lowest",
    "scatter_highest",
    "together_lowest",
    "together_highest",
    "lowest_loss",
)
FRACTIONS = ("up", "down", "up_later", "down_later")


def by_size(sizes: xr.Dataset, names: Sequence[str]) -> dict[str, Any]:
    """Means and intervals over seeds of some of `data_sizes`, by training-set size: JSON-ready."""
    return {
        str(int(size)): {name: interval(sizes[name].sel(train_size=size).values)[:3] for name in names}
        for size in sizes["train_size"].values
    }


def elsewhere(sizes: xr.Dataset, *asked: tuple[str, str, float]) -> str:
    """A sentence with some of `data_sizes`, if there is more than one size: (name, words, factor) each."""
    if sizes.sizes["train_size"] < 2:
        return ""
    parts = []
    for name, words, factor in asked:
        values = []
        for size in sizes["train_size"].values:
            mean, low, high, count = interval(factor * sizes[name].sel(train_size=size).values)
            shown = f"{mean:.2f} [{low:.2f}, {high:.2f}]" if count > 1 else f"{mean:.2f} (one seed)"
            shown = shown if count else "undetermined"
            values.append(f"{shown} with {int(size)} images")
        parts.append(f"{words} {', '.join(values)}")
    return f" Sweeps that differ in training set, batch, length and ELRs: {'; '.join(parts)}."
