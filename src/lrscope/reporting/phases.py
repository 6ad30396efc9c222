"""The arrays of the figures beyond the map: later phases, features, curves, trajectories, groups.

Every function returns None where the result lacks what the figure needs. Shapes as in `frames`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from lrscope.reporting.frames import (
    Array,
    Quantity,
    Spread,
    final_epochs,
    grid,
    pooled,
    quality,
    sharpness,
    spread,
    suits_log,
    thinned,
)
from lrscope.reporting.zoom import Zoom, zoom
from lrscope.schema import AVERAGE, FINETUNE, segment, segment_if_any

LOSS = ("train_loss", "training loss")
MOST_NAMED = 8  # ours: as many lines as there are markers in `style`


@dataclass(frozen=True, kw_only=True)
class Series:
    """Lines over the grid, one per second learning rate or number of averaged checkpoints; `before` is pre-training. `zoom`
    are the ends of the axis where a few bad values would press the others flat."""

    title: str
    legend: str
    names: tuple[str, ...]
    lines: tuple[Spread, ...]
    before: Spread
    log: bool
    zoom: Zoom | None = None

    @property
    def left_out(self) -> int:
        """How many points lie beyond the zoomed axis."""
        if self.zoom is None:
            return 0
        return sum(int(self.zoom.outside(line.mean).sum()) for line in (*self.lines, self.before))


@dataclass(frozen=True, kw_only=True)
class FeaturePanel:
    """Accuracies on feature sets: `ranks` is (K, L), best feature of each run first, or in the order of `names` where a few
    named ones are shown each by itself; `regular` the usual test accuracy."""

    title: str
    ranks: Spread
    regular: Spread
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CurvePanel:
    """A quantity along training, over seeds: `x` (E,) or (L, E), `spread` (L, E)."""

    title: str
    x_title: str
    x: Array
    log_x: bool
    log: bool
    spread: Spread
    limits: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Per weight tensor over the grid: `panels` hold (G, L); `ratio` the largest over the smallest ESS, (L,)."""

    names: tuple[str, ...]
    panels: tuple[Quantity, ...]
    ratio: Quantity


def finetuned(result: xr.DataTree) -> Series | None:
    """Test quality at the end of fine-tuning, a line per fine-tuning learning rate."""
    test, words = quality(result)
    node, axis = segment_if_any(result, FINETUNE), grid(result)
    if node is None:
        return None
    values = pooled(node[test].isel(epoch=-1), "finetune_lr", "lr")
    names = tuple(axis.text(float(v)) for v in node["finetune_lr"].values)
    return _series(result, values, names, f"{words} after fine-tuning", f"fine-tuning {axis.short}")


def averaged(result: xr.DataTree) -> Series | None:
    """Test quality of averaged weights, a line per number of checkpoints."""
    test, words = quality(result)
    node = segment_if_any(result, AVERAGE)
    if node is None:
        return None
    values = pooled(node[test], "n_average", "lr")
    names = tuple(str(int(n)) for n in node["n_average"].values)
    return _series(result, values, names, f"{words} of averaged weights", "checkpoints averaged")


def _series(result: xr.DataTree, values: Array, names: tuple[str, ...], title: str, legend: str) -> Series:
    test, _ = quality(result)
    before = pooled(segment(result, "pretrain")[test].isel(epoch=-1), "lr")
    log = test == "test_loss" and suits_log(np.concatenate([values.ravel(), before.ravel()]))
    lines, alone = tuple(spread(v) for v in values), spread(before)
    ends = zoom(lines, alone, log=log, higher_is_better=test == "test_accuracy")
    return Series(title=title, legend=legend, names=names, lines=lines, before=alone, log=log, zoom=ends)


def features(result: xr.DataTree) -> tuple[FeaturePanel, ...] | None:
    """Pre-training, then fine-tuning with the lowest and the highest learning rate, then the largest average."""
    before = segment(result, "pretrain")
    if "feature_accuracy" not in before or "test_accuracy" not in before:
        return None
    axis = grid(result)
    panels = [_feature_panel("after pre-training", before["feature_accuracy"], before["test_accuracy"].isel(epoch=-1))]
    if (node := segment_if_any(result, FINETUNE)) is not None:
        test = node["test_accuracy"].isel(epoch=-1)
        for at in sorted({0, node.sizes["finetune_lr"] - 1}):
            title = f"after fine-tuning at {axis.short} {axis.text(float(node['finetune_lr'].values[at]))}"
            accuracies = node["feature_accuracy"].isel(finetune_lr=at)
            panels.append(_feature_panel(title, accuracies, test.isel(finetune_lr=at)))
    if (node := segment_if_any(result, AVERAGE)) is not None:
        title = f"average of {int(node['n_average'].values[-1])} checkpoints"
        accuracies, test = node["feature_accuracy"], node["test_accuracy"]
        panels.append(_feature_panel(title, accuracies.isel(n_average=-1), test.isel(n_average=-1)))
    return tuple(panels)


def _feature_panel(title: str, accuracies: xr.DataArray, test: xr.DataArray) -> FeaturePanel:
    """A few named features as they are (feature_learning, Fig. 5). Others are sorted within each run, then averaged over runs
    by rank (Sec. 3, Fig. 3)."""
    runs = pooled(accuracies, "feature", "lr")
    if names := feature_names(accuracies):
        return FeaturePanel(title=title, ranks=spread(runs), regular=spread(pooled(test, "lr")), names=names)
    ranks = -np.sort(-runs, axis=0)  # NaN (a run that overflowed has none at all) sorts last and stays NaN
    return FeaturePanel(title=title, ranks=spread(ranks), regular=spread(pooled(test, "lr")))


def feature_names(accuracies: xr.DataArray) -> tuple[str, ...]:
    """Names of the feature sets if they have any and there are few enough to tell lines apart; else none."""
    named = accuracies["feature"].dtype.kind not in "iu" and accuracies.sizes["feature"] <= MOST_NAMED
    return tuple(str(name) for name in accuracies["feature"].values) if named else ()


def curves(result: xr.DataTree) -> tuple[CurvePanel, ...]:
    """Training loss and test quality by epoch."""
    node = segment(result, "pretrain")
    keep = thinned(node.sizes["epoch"])
    test, words = quality(result)
    rows = [(words, pooled(node[name].isel(epoch=keep), "lr", "epoch")) for name, words in (LOSS, (test, words))]
    epoch = np.asarray(node["epoch"].values, dtype=float)[keep]
    linear = ("test accuracy",)
    return tuple(
        CurvePanel(
            title=title,
            x_title="epoch",
            x=epoch,
            log_x=False,
            log=title not in linear and suits_log(values),
            spread=spread(values),
        )
        for title, values in rows
    )


def trajectories(result: xr.DataTree) -> tuple[CurvePanel, ...]:
    """Sharpness and test error against training loss while training goes on (three_regimes, Fig. 1)."""
    node = segment(result, "pretrain")
    keep = thinned(node.sizes["epoch"])
    (test, words), (steep, steep_words) = quality(result), sharpness(result)
    loss, steepness, found = (pooled(node[n].isel(epoch=keep), "lr", "epoch") for n in (LOSS[0], steep, test))
    rows = [(steep_words, steepness), ("test error", 1 - found) if test == "test_accuracy" else (words, found)]
    x, log_x = spread(loss).mean, suits_log(loss)
    return tuple(
        CurvePanel(title=title, x_title="training loss", x=x, log_x=log_x, log=suits_log(values), spread=spread(values))
        for title, values in rows
    )


def group_steps(result: xr.DataTree) -> Groups | None:
    """ELR and ESS of every weight tensor over the final windows, and how far the ESS lie apart in a run."""
    node = segment(result, "pretrain")
    if "group_ess" not in node or "group_elr" not in node or not node.sizes["group"]:
        return None
    panels = []
    for name, title in (("group_elr", "ELR of a tensor"), ("group_ess", "ESS of a tensor")):
        windows = pooled(final_epochs(node[name]), "group", "lr", "epoch")
        values = spread(np.moveaxis(windows, 2, -1)).mean  # (G, L, S): mean over the final windows of each run
        panels.append(Quantity(title=title, log=suits_log(values), spread=spread(values)))
    ess = panels[-1].spread.values
    low, high = spread(np.moveaxis(ess, 0, -1)).low, spread(np.moveaxis(ess, 0, -1)).high
    ratio = high / np.where(low > 0, low, np.nan)
    title = "largest ESS over smallest"
    names = tuple(str(g) for g in result.coords["group"].values)
    return Groups(
        names=names,
        panels=tuple(panels),
        ratio=Quantity(title=title, log=suits_log(ratio), spread=spread(ratio), reference=1.0),
    )
