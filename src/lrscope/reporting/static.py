"""The figures as matplotlib draws them, for papers and slides: the interactive figures' twins, from the same frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lrscope.mapping.types import RegimeMap
from lrscope.reporting import style
from lrscope.reporting.frames import Array, Backdrop, Grid, Panel, Spread
from lrscope.reporting.phases import CurvePanel, FeaturePanel, Groups, Series
from lrscope.reporting.text import interval, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.0  # inches: a text column of most journals
MOST_LEGEND_ENTRIES = 10


def _sheet(rows: int, columns: int, height: float, **grid: Any) -> tuple[Figure, np.ndarray[Any, Any]]:
    """A figure without any window or global state, and its axes [rows, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **grid)
    for ax in axes.flat:
        ax.tick_params(labelsize=8, colors=style.INK)
        ax.grid(color=style.GRID, linewidth=0.6)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _literal(words: str, length: int = 40) -> str:
    """Text from a result: bounded, and no formula to matplotlib."""
    return shorten(words, length).replace("$", r"\$")


def _lr_axis(ax: Axes, grid: Grid, *, title: bool = True) -> None:
    ax.set_xscale("log")
    ax.set_xlim(float(grid.edges[0]), float(grid.edges[-1]))
    if title:
        ax.set_xlabel(grid.name, fontsize=9)


def _value_axis(ax: Axes, values: Array, title: str, *, log: bool) -> None:
    """Scale, title and limits that hold all finite values."""
    finite = values[np.isfinite(values) & ((values > 0) if log else True)]
    if log:
        ax.set_yscale("log")
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        pad = 1.25 if log else 0.06 * ((high - low) or 1.0)
        ax.set_ylim((low / pad, high * pad) if log else (low - pad, high + pad))
    else:
        ax.text(0.5, 0.5, "no finite values", transform=ax.transAxes, ha="center", color=style.MUTED, fontsize=9)
    ax.set_title(_literal(title, 60), fontsize=9, loc="left")


def _shade(ax: Axes, back: Backdrop, *, letters: bool = True) -> None:
    """Regimes as tinted, hatched stretches with their letters; borders dashed, their intervals grey."""
    for span in back.spans:
        color = style.REGIME_COLOR[span.regime]
        ax.axvspan(span.low, span.high, color=color, alpha=0.12, linewidth=0, zorder=0)
        if letters:
            place = math.sqrt(span.low * span.high)
            ax.annotate(
                span.regime, (place, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 1.5), fontsize=8,
                textcoords="offset points", ha="center", va="bottom", color=style.INK, annotation_clip=False,
            )  # fmt: skip
    for border in back.borders:
        if border.low is not None and border.high is not None:
            ax.axvspan(border.low, border.high, color=style.MUTED, alpha=0.16, linewidth=0, zorder=0.5)
        if border.lr is not None:
            ax.axvline(border.lr, color=style.INK, linestyle="--", linewidth=0.9, zorder=1)


def map_figure(
    grid: Grid, back: Backdrop, regime_map: RegimeMap, panels: Sequence[Panel], nonfinite: Array
) -> Figure:
    """Regimes, borders with intervals, and each quantity with its single runs (dots) and mean (line)."""
    rows = len(panels) + 1
    figure, axes = _sheet(
        rows, 1, 1.1 + 1.75 * len(panels), sharex=True, gridspec_kw={"height_ratios": [0.55] + [1.6] * len(panels)}
    )
    _borders_row(axes[0, 0], grid, back, regime_map)
    for ax, panel in zip(axes[1:, 0], panels, strict=True):
        _shade(ax, back, letters=False)
        values = panel.spread.values
        for k, lr in enumerate(grid.lr):
            color = next((style.REGIME_COLOR[s.regime] for s in back.spans if s.low <= lr <= s.high), style.MUTED)
            ax.plot(np.full(values.shape[1], lr), values[k], ".", color=color, markersize=4, alpha=0.8, zorder=2)
        ax.plot(grid.lr, panel.spread.mean, color=style.INK, linewidth=1.4, zorder=3)
        shown = values.ravel()
        if panel.reference is not None:
            ax.axhline(panel.reference, color=style.MUTED, linestyle=":", linewidth=1.2)
            ax.annotate(
                "random points", (grid.edges[0], panel.reference), xytext=(4, 2), textcoords="offset points", fontsize=7,
                color=style.MUTED,
            )  # fmt: skip
            shown = np.append(shown, panel.reference)
        _value_axis(ax, shown, panel.title, log=panel.log)
    if np.any(nonfinite > 0):
        for lr, count in zip(grid.lr, nonfinite, strict=True):
            if count:
                ax = axes[1, 0]
                ax.annotate("x", (lr, 0.93), xycoords=("data", "axes fraction"), ha="center", color=style.REGIME_COLOR["3"])
    _lr_axis(axes[-1, 0], grid)
    return figure


def _borders_row(ax: Axes, grid: Grid, back: Backdrop, regime_map: RegimeMap) -> None:
    """The strip of regimes on top and a whisker per border below it."""
    names = list(regime_map.borders)
    for span in back.spans:
        color = style.REGIME_COLOR[span.regime]
        ax.axvspan(
            span.low, span.high, ymin=0.72, facecolor=color, alpha=0.5, hatch=style.REGIME_PATTERN[span.regime] * 2,
            edgecolor="white", linewidth=0,
        )  # fmt: skip
        box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1}
        ax.text(
            math.sqrt(span.low * span.high), 0.86, span.regime, transform=ax.get_xaxis_transform(), ha="center",
            va="center", fontsize=9, fontweight="bold", bbox=box,
        )  # fmt: skip
    middle = math.sqrt(float(grid.edges[0] * grid.edges[-1]))
    for row, border in enumerate(regime_map.borders.values()):
        words = interval(border, grid.text)
        if border.lr is None:
            ax.text(grid.edges[0], row, "  " + words, fontsize=7, va="center", color=style.MUTED)
            continue
        low, high = border.low or border.lr, border.high or border.lr
        ax.errorbar(
            border.lr, row, xerr=[[border.lr - low], [high - border.lr]], fmt="D", markersize=4, color=style.INK, capsize=3,
            linewidth=1.2,
        )  # fmt: skip
        left = border.lr > middle
        ax.annotate(
            words, (low if left else high, row), xytext=(-6 if left else 6, 0), textcoords="offset points", fontsize=7,
            va="center", ha="right" if left else "left",
        )  # fmt: skip
    ax.set_ylim(max(len(names), 1) - 0.4, -0.4 - max(len(names), 1) * 0.4)
    ax.set_yticks(range(len(names)), [_literal(n) for n in names], fontsize=8)
    ax.grid(visible=False)
    ax.set_xscale("log")


def series_figure(grid: Grid, back: Backdrop, series: Series) -> Figure:
    """A line per second learning rate or number of checkpoints, mean and one deviation; pre-training in black."""
    figure, axes = _sheet(1, 1, 3.4)
    ax = axes[0, 0]
    _shade(ax, back)
    for i, (name, line, color) in enumerate(zip(series.names, series.lines, style.ramp(len(series.lines)), strict=True)):
        _mean_and_deviation(ax, grid, line, color, _literal(name), style.MARKERS[i % len(style.MARKERS)][1])
    _mean_and_deviation(ax, grid, series.before, "#000000", "pre-training only", "o", hollow=True)
    values = np.concatenate([np.concatenate([s.mean - s.sd, s.mean + s.sd]) for s in (*series.lines, series.before)])
    _value_axis(ax, values, series.title, log=series.log)
    ax.title.set_position((0.0, 1.0))
    ax.set_title(_literal(series.title, 60), fontsize=9, loc="left", pad=16)
    _lr_axis(ax, grid)
    figure.legend(
        *ax.get_legend_handles_labels(), title=_literal(series.legend), fontsize=7, title_fontsize=7, loc="outside right center"
    )
    return figure


def _mean_and_deviation(
    ax: Axes, grid: Grid, values: Spread, color: str, name: str, marker: str, *, hollow: bool = False
) -> None:
    ax.fill_between(grid.lr, values.mean - values.sd, values.mean + values.sd, color=color, alpha=0.13, linewidth=0)
    face = "white" if hollow else color
    ax.plot(
        grid.lr, values.mean, color=color, linewidth=1.4, marker=marker, markersize=4, markerfacecolor=face, label=name
    )


def features_figure(grid: Grid, back: Backdrop, panels: Sequence[FeaturePanel]) -> Figure:
    """Single-feature accuracies by rank within a run; the usual test accuracy in black (feature_learning, Fig. 3)."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = _sheet(rows, columns, 0.7 + 2.6 * rows, sharex=True, sharey=True)
    ranks = panels[0].ranks.mean.shape[0]
    colors = style.ramp(ranks)
    values = np.concatenate([np.concatenate([p.ranks.mean.ravel(), p.regular.mean]) for p in panels])
    for ax, panel in zip(axes.flat, panels, strict=False):
        _shade(ax, back)
        for k in range(ranks):
            ax.plot(grid.lr, panel.ranks.mean[k], color=colors[k], linewidth=1.2)
        ax.plot(grid.lr, panel.regular.mean, color="#000000", linewidth=1.8)
        _value_axis(ax, values, "", log=False)
        ax.set_title(_literal(panel.title, 60), fontsize=9, loc="left", pad=16)
        _lr_axis(ax, grid)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    _color_bar(figure, axes, 1, ranks, "rank of the feature in its run (black: usual test accuracy)", log=False)
    return figure


def _color_bar(figure: Figure, axes: Any, low: float, high: float, title: str, *, log: bool) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

    colors = LinearSegmentedColormap.from_list("lrscope", style.colorscale())
    norm = LogNorm(low, high) if log else Normalize(low, high)
    bar = figure.colorbar(
        ScalarMappable(norm, colors), ax=list(axes.flat), location="bottom", shrink=0.7, aspect=45, pad=0.02
    )
    bar.set_label(title, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def curves_figure(grid: Grid, panels: Sequence[CurvePanel], *, along_loss: bool) -> Figure:
    """A line per learning rate along training, mean over runs; `along_loss`: against the training loss, ends marked."""
    figure, axes = _sheet(1, len(panels), 3.6)
    colors = style.log_ramp([float(v) for v in grid.lr])
    for ax, panel in zip(axes.flat, panels, strict=True):
        for i, color in enumerate(colors):
            x = panel.x if panel.x.ndim == 1 else panel.x[i]
            ax.plot(x, panel.spread.mean[i], color=color, linewidth=1.0)
            end = np.flatnonzero(np.isfinite(x) & np.isfinite(panel.spread.mean[i]))
            if along_loss and end.size:
                ax.plot(x[end[-1]], panel.spread.mean[i][end[-1]], "o", color=color, markersize=4, markeredgecolor="white")
        if panel.log_x:
            ax.set_xscale("log")
        ax.set_xlabel(panel.x_title, fontsize=9)
        _value_axis(ax, panel.spread.mean, panel.title, log=panel.log)
    if grid.lr.size > 1:
        _color_bar(figure, axes, float(grid.lr[0]), float(grid.lr[-1]), grid.name, log=True)
    return figure


def groups_figure(grid: Grid, back: Backdrop, groups: Groups) -> Figure:
    """ELR and ESS of each weight tensor over the final windows, and the largest ESS of a run over its smallest."""
    panels = [*groups.panels, groups.ratio]
    figure, axes = _sheet(1, len(panels), 3.2)
    colors = style.ramp(len(groups.names))
    listed = len(groups.names) <= MOST_LEGEND_ENTRIES
    for ax, panel in zip(axes.flat, groups.panels, strict=False):
        _shade(ax, back)
        for g, name in enumerate(groups.names):
            marker = style.MARKERS[g % len(style.MARKERS)][1] if listed else ""
            ax.plot(
                grid.lr, panel.spread.mean[g], color=colors[g], linewidth=1.2, marker=marker, markersize=3,
                label=_literal(name, 28),
            )  # fmt: skip
        _value_axis(ax, panel.spread.mean, "", log=panel.log)
    ratio = axes[0, -1]
    _shade(ratio, back)
    ratio.fill_between(grid.lr, groups.ratio.spread.low, groups.ratio.spread.high, color=style.MUTED, alpha=0.25, linewidth=0)
    ratio.plot(grid.lr, groups.ratio.spread.mean, color=style.INK, linewidth=1.4)
    ratio.axhline(1.0, color=style.MUTED, linestyle=":", linewidth=1)
    _value_axis(ratio, np.append(groups.ratio.spread.values, 1.0), "", log=groups.ratio.log)
    for ax, panel in zip(axes.flat, panels, strict=True):
        ax.set_title(_literal(panel.title, 60), fontsize=8, loc="left", pad=16)
        _lr_axis(ax, grid, title=ax is axes[0, len(panels) // 2])
    if listed:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=3)
    return figure


DRAW: Mapping[str, Callable[..., Any]] = {
    "map": map_figure,
    "finetune": series_figure,
    "average": series_figure,
    "features": features_figure,
    "curves": partial(curves_figure, along_loss=False),
    "trajectories": partial(curves_figure, along_loss=True),
    "groups": groups_figure,
}
