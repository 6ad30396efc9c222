"""The static twins of the page's figures, for papers and slides. Each function takes the frames its twin takes.

Figures are built on `Figure` itself: no pyplot, no global state, no window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lrscope.reporting import style
from lrscope.reporting.frames import Backdrop, Grid, Spread
from lrscope.reporting.phases import CurvePanel, FeaturePanel, Groups, Series
from lrscope.reporting.static_canvas import blank, color_bar, lr_axis, scale, shade, words
from lrscope.reporting.static_map import map_figure
from lrscope.reporting.zoom import Zoom

MOST_LEGEND_ENTRIES = 10


def series_figure(grid: Grid, back: Backdrop, series: Series) -> Figure:
    """A line per second learning rate or number of checkpoints with one deviation; pre-training in black."""
    figure = blank(7.2, 4.2)
    ax = figure.subplots()
    shade(ax, back)
    lines = list(zip(series.names, series.lines, style.ramp(len(series.lines)), strict=True))
    for i, (name, line, color) in enumerate(lines):
        _mean_and_deviation(ax, grid, line, color, words(name), style.MARKERS[i % len(style.MARKERS)][1])
    _mean_and_deviation(ax, grid, series.before, "black", "before: pre-training only", "o", hollow=True)
    if series.zoom is None:
        scale(ax, np.concatenate([s.mean for s in (*series.lines, series.before)]), log=series.log)
    else:
        _zoom_in(ax, grid, series.zoom, [*((line, color) for _, line, color in lines), (series.before, "black")])
        scale(ax, np.array([series.zoom.low, series.zoom.high]), log=series.log)
    ax.set_title(words(series.title), loc="left", fontsize=10, pad=16)
    lr_axis(ax, grid)
    title = words(series.legend)
    figure.legend(loc="outside lower center", ncols=min(len(lines) + 2, 5), frameon=False, fontsize=9, title=title)
    return figure


def _zoom_in(ax: Axes, grid: Grid, ends: Zoom, lines: Sequence[tuple[Spread, str]]) -> None:
    """The axis between its ends; a mark at its edge for every point beyond it."""
    name = "beyond this range"
    for line, color in lines:
        out = ends.outside(line.mean)
        if out.any():
            mark = "v" if ends.higher_is_better else "^"
            at = [ends.edge] * int(out.sum())
            ax.plot(grid.lr[out], at, mark, color=color, ms=6, lw=0, zorder=4, label=name)
            name = "_"  # one entry in the legend
    ax.set_ylim(ends.low, ends.high)


def _mean_and_deviation(
    ax: Axes, grid: Grid, values: Spread, color: str, name: str, marker: str, *, hollow: bool = False
) -> None:
    face = "white" if hollow else color
    ax.fill_between(grid.lr, values.mean - values.sd, values.mean + values.sd, color=color, alpha=0.1, lw=0)
    ax.plot(grid.lr, values.mean, color=color, marker=marker, ms=4.5, mfc=face, lw=1.5, label=name)


def features_figure(grid: Grid, back: Backdrop, panels: Sequence[FeaturePanel]) -> Figure:
    """Accuracies on feature sets, averaged over runs: each named one, or by rank within a run; the usual test accuracy in
    black."""
    named = panels[0].names
    rows = -(-len(panels) // 2)
    figure = blank(7.2 if len(panels) > 1 else 5, 2.9 * rows + 0.6)
    axes = np.atleast_1d(figure.subplots(rows, min(2, len(panels)), sharey=True)).ravel()
    ranks = panels[0].ranks.mean.shape[0]
    alone = None if grid.lr.size > 1 else "o"  # one point makes no line
    for ax, panel in zip(axes, panels, strict=False):
        shade(ax, back)
        for k, (mean, color) in enumerate(zip(panel.ranks.mean, style.ramp(ranks), strict=True)):
            ax.plot(grid.lr, mean, color=color, lw=1.2, marker=style.MARKERS[k][1] if named else alone, ms=4)
        ax.plot(grid.lr, panel.regular.mean, color="black", lw=1.9, marker=alone)
        scale(ax, panel.ranks.mean.ravel(), log=False)
        ax.set_title(words(panel.title), loc="left", fontsize=10, pad=16)
        lr_axis(ax, grid)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    if named:
        lines = axes[0].get_lines()[-ranks - 1 :]
        labels = [*(words(name) for name in named), "usual test accuracy"]
        figure.legend(lines, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
        return figure
    norm = Normalize(1, max(ranks, 2))
    color_bar(figure, axes, norm, "rank of the feature in its run (black: usual test accuracy)")
    return figure


def groups_figure(grid: Grid, back: Backdrop, groups: Groups) -> Figure:
    """ELR and ESS of each weight tensor over the final windows, and the largest ESS of a run over its smallest."""
    panels = [*groups.panels, groups.ratio]
    figure = blank(10.5, 3.6)
    axes = figure.subplots(1, len(panels))
    count = len(groups.names)
    listed = count <= MOST_LEGEND_ENTRIES
    for ax, panel in zip(axes, panels, strict=True):
        shade(ax, back)
        if panel is groups.ratio:
            ax.fill_between(grid.lr, panel.spread.low, panel.spread.high, color=style.MUTED, alpha=0.2, lw=0)
            ax.plot(grid.lr, panel.spread.mean, color=style.INK, lw=1.5, marker=None if grid.lr.size > 1 else "o")
            ax.axhline(1, color=style.INK, lw=1.1, ls="--")
        else:
            for g, color in enumerate(style.ramp(count)):
                marker = style.MARKERS[g % len(style.MARKERS)][1] if listed else None
                ax.plot(grid.lr, panel.spread.mean[g], color=color, lw=1.3, marker=marker, ms=4)
        scale(ax, panel.spread.mean.ravel(), log=panel.log)
        ax.set_title(words(panel.title), loc="left", fontsize=10, pad=16)
        lr_axis(ax, grid)
    if listed:
        lines: list[Line2D] = list(axes[0].get_lines())[-count:]
        names = [words(name) for name in groups.names]
        figure.legend(lines, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    else:
        color_bar(figure, axes, Normalize(1, count), "weight tensors, first to last")
    return figure


def curves_figure(grid: Grid, panels: Sequence[CurvePanel], *, along_loss: bool) -> Figure:
    """A line per learning rate along training, mean over runs; along the loss, a dot marks the end."""
    figure = blank(8.4, 4.1)
    axes = figure.subplots(1, len(panels))
    colors = style.log_ramp([float(v) for v in grid.lr])
    for ax, panel in zip(axes, panels, strict=True):
        for i, color in enumerate(colors):
            x, y = panel.x if panel.x.ndim == 1 else panel.x[i], panel.spread.mean[i]
            ax.plot(x, y, color=color, lw=1.1, marker=None if x.size > 1 else "o", ms=4)
            end = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
            if along_loss and end.size:
                ax.plot(x[end[-1]], y[end[-1]], "o", color=color, ms=5, mec="white", mew=0.7, zorder=3)
        scale(ax, panel.spread.mean.ravel(), log=panel.log)
        if panel.log_x:
            ax.set_xscale("log")
        ax.set_title(words(panel.title), loc="left", fontsize=10)
        ax.set_xlabel(panel.x_title)
    low, high = float(grid.lr[0]), float(grid.lr[-1])
    norm = LogNorm(low, high) if high > low else LogNorm(low / 2, high * 2)
    color_bar(figure, axes, norm, grid.name)
    return figure


DRAW: Mapping[str, Callable[..., Figure]] = {
    "map": map_figure,
    "finetune": series_figure,
    "average": series_figure,
    "features": features_figure,
    "curves": partial(curves_figure, along_loss=False),
    "trajectories": partial(curves_figure, along_loss=True),
    "groups": groups_figure,
}
