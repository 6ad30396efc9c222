"""The static map: regimes, borders with their intervals, and three quantities over one axis of learning rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrscope.mapping.types import RegimeMap
from lrscope.reporting import style
from lrscope.reporting.frames import Array, Backdrop, Grid, Panel, regime_at, with_level
from lrscope.reporting.start import Start, rows, start
from lrscope.reporting.static_canvas import blank, lr_axis, scale, shade, words
from lrscope.reporting.text import interval

MOST_POINTS_PER_RATE = 20  # single runs are drawn up to here, a range beyond
HATCH = {"/": "////", "\\": "\\\\\\\\", "x": "xxxx", "+": "++++", ".": "....", "": ""}


def map_figure(grid: Grid, back: Backdrop, regime_map: RegimeMap, panels: Sequence[Panel], nonfinite: Array) -> Figure:
    """Regimes, borders and where to start above, then one panel per quantity, all over one axis of learning rates."""
    found = start(grid, regime_map)
    names = rows(regime_map, found)
    heads = ([0.22] if back.spans else []) + ([0.22 * len(names)] if names else [])
    figure = blank(7.2, 2.1 * len(panels) + 0.25 * len(names) + 1.0)
    heights = [*heads, *[1.8] * len(panels)]
    axes = list(np.atleast_1d(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)))
    above, below = axes[: len(heads)], axes[len(heads) :]
    if back.spans:
        _strip(above[0], back, [label.lr for label in regime_map.labels if not label.trained])
    if names:
        _rows(above[-1], grid, regime_map, names, found)
    for panel, ax in zip(panels, below, strict=True):
        shade(ax, back, letters=False)
        _runs(ax, grid, back, panel)
        ax.set_title(words(panel.title), loc="left", fontsize=10)
        scale(ax, with_level(panel), log=panel.log)
    if np.any(nonfinite > 0):
        finite = with_level(panels[0])
        top = np.nanmax(finite) if np.isfinite(finite).any() else 1.0
        at = grid.lr[nonfinite > 0]
        below[0].plot(at, np.full(at.size, top), "x", color=style.LOST, mew=2, label="non-finite runs", clip_on=False)
    lr_axis(axes[-1], grid)
    for ax in axes[:-1]:
        ax.tick_params(axis="x", which="both", labelbottom=False)
    entries = [handle for ax in (*above, below[0]) for handle in zip(*ax.get_legend_handles_labels(), strict=True)]
    handles, labels = [h for h, _ in entries], [name for _, name in entries]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _strip(ax: Axes, back: Backdrop, left_out: Sequence[float]) -> None:
    for span in back.spans:
        color = style.REGIME_COLOR[span.regime]
        ax.axvspan(
            span.low,
            span.high,
            facecolor=color,
            alpha=0.5,
            hatch=HATCH[style.REGIME_PATTERN[span.regime]],
            edgecolor="white",
            linewidth=0.6,
        )
        middle = np.sqrt(span.low * span.high)
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.9}
        ax.text(middle, 0.5, span.regime, ha="center", va="center", weight="bold", fontsize=10, bbox=box)
    if left_out:
        ax.plot(left_out, [0.15] * len(left_out), "o", mfc="white", mec=style.INK, ms=4, label="not trained")
    ax.set_ylim(0, 1)
    _bare(ax)


def _rows(ax: Axes, grid: Grid, regime_map: RegimeMap, names: Sequence[str], found: Start | None) -> None:
    """A line per border that has a place, one for the recommended range."""
    for row, border in enumerate(regime_map.borders[name] for name in names if name in regime_map.borders):
        if border.lr is None:
            text = interval(border, grid.text)
            ax.text(float(grid.edges[0]) * 1.05, row, text, va="center", fontsize=9, color=style.MUTED)
            continue
        low, high = border.low or border.lr, border.high or border.lr
        ends = [[border.lr - low], [high - border.lr]]
        ax.errorbar([border.lr], [row], xerr=ends, fmt="D", color=style.INK, ms=5, capsize=3, lw=1.3)
        right = border.lr <= np.sqrt(grid.edges[0] * grid.edges[-1])
        _beside(ax, row, high if right else low, interval(border, grid.text), right=right)
    if found is not None:
        row = len(names) - 1
        ax.plot([found.open_low, found.open_high], [row, row], color=style.START, lw=1.3)
        ax.plot([found.low, found.high], [row, row], color=style.START, lw=5, solid_capstyle="round")
        ax.plot([found.best], [row], "*", color=style.START, ms=11, mec="white", mew=0.6)
        if found.cliff is not None:
            ax.plot([found.cliff], [row], "x", color=style.LOST, mew=2, ms=6)
        at, right = found.words_at(grid)
        _beside(ax, row, at, found.words, right=right, bold=True)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    _bare(ax)
    ax.set_yticks(range(len(names)), [words(name) for name in names], fontsize=9)


def _beside(ax: Axes, row: int, at: float, text: str, *, right: bool, bold: bool = False) -> None:
    """A row's numbers beside its marks."""
    ax.annotate(
        text,
        (at, row),
        xytext=(7 if right else -7, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=9,
        weight="bold" if bold else "normal",
    )


def _bare(ax: Axes) -> None:
    ax.spines[:].set_visible(False)
    ax.set_yticks([])
    ax.tick_params(axis="both", which="both", length=0)


def _runs(ax: Axes, grid: Grid, back: Backdrop, panel: Panel) -> None:
    values = panel.spread.values
    runs = values.shape[-1]
    if runs > MOST_POINTS_PER_RATE:
        ax.fill_between(
            grid.lr, panel.spread.low, panel.spread.high, color=style.MUTED, alpha=0.25, lw=0, label="range"
        )
    elif runs > 1:
        regimes = [regime_at(back, lr) for lr in grid.lr]
        colors = [style.REGIME_COLOR[r] for r in regimes for _ in range(runs)]
        ax.scatter(np.repeat(grid.lr, runs), values.ravel(), c=colors, s=13, alpha=0.55, lw=0, label="single runs")
    name = "mean over runs" if runs > 1 else "the one run"
    ax.plot(grid.lr, panel.spread.mean, "o-", color=style.INK, ms=3, lw=1.5, label=name)
    if panel.reference is not None:
        ax.axhline(panel.reference, color=style.INK, ls="--", lw=1.1, label="random points")
