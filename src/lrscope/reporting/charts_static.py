"""A study's charts with matplotlib, for papers and docs. Names are escaped: `$` is no formula."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lrscope.checked import checked
from lrscope.reporting import charts, style
from lrscope.reporting.charts import Palette
from lrscope.reporting.static_canvas import blank, color_bar, scale, scale_x, words
from lrscope.studies.charts import Chart, Line, Panel

PANEL_WIDTH, PANEL_HEIGHT = 3.5, 2.8  # inches
IMAGE_SIDE, IMAGE_TITLE = 1.5, 0.35  # inches, of charts that are pictures alone
NARROWEST = 4.6
MARK = 4.0  # points, a marker's diameter


@checked
def chart_figure(chart: Chart) -> Figure:
    """The chart as a figure that is attached to no window."""
    columns = min(chart.columns, len(chart.panels))
    rows = -(-len(chart.panels) // columns)
    palette, named = charts.palette(chart), charts.legend(chart)
    per_row = max(2, 2 * columns)
    bar = 0.6 if palette.values.size else 0.0
    small = charts.of_images(chart)
    each = IMAGE_SIDE + IMAGE_TITLE if small else PANEL_HEIGHT
    height = each * rows + 0.24 * -(-len(named) // per_row) + bar
    width = IMAGE_SIDE * columns if small else max(NARROWEST, PANEL_WIDTH * columns)
    figure = blank(width, height)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for ax, panel in zip(axes, chart.panels, strict=False):
        _panel(ax, panel, palette, pad=16 if any(p.spans for p in chart.panels) else 6)
    for ax in axes[len(chart.panels) :]:
        ax.set_visible(False)
    if palette.values.size:
        norm = (LogNorm if palette.log else Normalize)(*palette.ends)
        color_bar(figure, axes[: len(chart.panels)], norm, chart.color_title, whole=False)
    if named:
        handles = [Line2D([], [], label=words(line.name, 60), **_look(line, palette.of(line))) for line in named]
        columns = min(len(handles), per_row)
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5)
    return figure


def _panel(ax: Axes, panel: Panel, palette: Palette, pad: float) -> None:
    if panel.image is not None:
        ax.imshow(charts.pixels(panel.image), interpolation="nearest")
        ax.set_axis_off()
        ax.set_title(words(panel.title, 24), loc="left", fontsize=9, pad=3)
        return
    for low, high, label in panel.spans:
        ax.axvspan(low, high, color=charts.tint(label), alpha=0.12, lw=0, zorder=0)
    for border in panel.borders:
        ax.axvline(border, color=style.INK, lw=1.0, ls="--", zorder=1)
    for line in panel.lines:
        _draw(ax, line, palette.of(line))
    scale(ax, charts.heights(panel), log=panel.log_y)
    scale_x(ax, charts.extent(charts.widths(panel), panel.log_x), log=panel.log_x)
    for y, name in panel.levels:
        ax.axhline(y, color=style.INK, lw=1.0, ls=":", zorder=1.5)
        _beside(ax, y, name)
    _letters(ax, panel)
    ax.set_title(words(panel.title, 60), loc="left", fontsize=10, pad=pad)
    ax.set_xlabel(words(panel.x_title, 60), fontsize=9)
    ax.set_ylabel(words(panel.y_title, 60), fontsize=9)
    ax.tick_params(labelsize=8)


def _draw(ax: Axes, line: Line, color: str) -> None:
    x, y = charts.whole(line)
    if line.low is not None and line.high is not None:
        ax.fill_between(x, line.low, line.high, color=color, alpha=0.15, lw=0, zorder=1.8)
    look = _look(line, color)
    if line.mark == "end":
        look["marker"] = None
        end = charts.last(line)
        if end is not None:
            ax.plot(*end, "o", color=color, ms=MARK + 1, mec="white", mew=0.7, zorder=3)
    elif np.isfinite(x + y).sum() == 1:
        look["marker"] = "o"  # one point makes no line
    ax.plot(x, y, **look)


def _look(line: Line, color: str) -> dict[str, Any]:
    """What tells a line from others."""
    return {
        "color": color,
        "ls": "none" if line.mark == "points" else "--" if line.dashed else "-",
        "lw": 1.3,
        "marker": None if line.mark == "line" else "o",
        "ms": MARK,
        "mfc": "white" if line.dashed else color,
    }


def _letters(ax: Axes, panel: Panel) -> None:
    """The spans' labels above the panel, each over the part of it that is seen."""
    left, right = ax.get_xlim()
    for low, high, label in panel.spans:
        ends = np.clip([low, high], left, right)
        if ends[1] <= ends[0]:
            continue
        at = np.sqrt(ends[0] * ends[1]) if panel.log_x else ends.mean()
        ax.annotate(
            words(label, 12),
            (at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            weight="bold",
            bbox={"boxstyle": "round,pad=0.12", "facecolor": charts.tint(label), "alpha": 0.25, "edgecolor": "none"},
            annotation_clip=False,
        )


def _beside(ax: Axes, y: float, name: str) -> None:
    """A level's name, inside the panel at its right end, on a white ground."""
    ax.annotate(
        words(name, 40),
        (1, y),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=7.5,
        color=style.MUTED,
        bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "alpha": 0.6, "edgecolor": "none"},
        zorder=4,
    )
