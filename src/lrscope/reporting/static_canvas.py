"""What the static figures share: shaded regimes, axes, colour bars. `$` in names is escaped: it is no formula."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

from lrscope.reporting import style
from lrscope.reporting.frames import Array, Backdrop, Grid, log_marks
from lrscope.reporting.text import number, shorten


def blank(width: float, height: float) -> Figure:
    """An empty figure of so many inches, attached to no window, that makes room for its labels by itself."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))


def words(name: str, length: int = 40) -> str:
    """A name from a result, safe for matplotlib: one line, no formula."""
    return " ".join(shorten(name, length).split()).replace("$", r"\$")


def shade(ax: Axes, back: Backdrop, *, letters: bool = True) -> None:
    """Regimes as tinted stretches, borders as lines with grey intervals, letters above the panel."""
    for span in back.spans:
        color = style.REGIME_COLOR[span.regime]
        ax.axvspan(span.low, span.high, color=color, alpha=0.12, lw=0, zorder=0)
        if letters:
            ax.annotate(
                span.regime,
                (np.sqrt(span.low * span.high), 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
                weight="bold",
                bbox={"boxstyle": "round,pad=0.12", "facecolor": color, "alpha": 0.25, "edgecolor": "none"},
                annotation_clip=False,
            )
    for border in back.borders:
        if border.lr is None:
            continue
        if border.low is not None and border.high is not None:
            ax.axvspan(border.low, border.high, color=style.INK, alpha=0.07, lw=0, zorder=0.5)
        ax.axvline(border.lr, color=style.INK, lw=1.0, ls=":" if border.between == "2A|2B" else "--", zorder=1)


def lr_axis(ax: Axes, grid: Grid) -> None:
    ax.set_xscale("log")
    ax.set_xlim(grid.edges[0], grid.edges[-1])
    ax.set_xlabel(grid.name)
    _log_ticks(ax.xaxis)


def _log_ticks(axis: Axis) -> None:
    """Powers of ten over many decades, round numbers over hardly one."""
    low, high = sorted(axis.get_view_interval())
    marks = log_marks(float(np.log10(low)), float(np.log10(high)))
    if marks:
        axis.set_major_locator(FixedLocator(marks))
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    else:
        axis.set_major_locator(LogLocator(numticks=8))
        axis.set_major_formatter(LogFormatterSciNotation())
    axis.set_minor_formatter(NullFormatter())


def scale(ax: Axes, values: Array, *, log: bool) -> None:
    """A grid and, for a log axis, ticks that suit its number of decades; an empty panel says so."""
    finite = values[np.isfinite(values) & ((values > 0) | (not log))]
    ax.grid(True, axis="y", color=style.GRID, lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if not finite.size:
        ax.set_yticks([])
        ax.text(0.5, 0.25, "no finite values", transform=ax.transAxes, ha="center", color=style.MUTED)
    elif log:
        ax.set_yscale("log")
        _log_ticks(ax.yaxis)


def scale_x(ax: Axes, ends: tuple[float, float] | None, *, log: bool) -> None:
    """The x axis between two ends, with ticks that suit its number of decades; as it is without ends."""
    if ends is None:
        ax.set_xticks([])
        return
    if log:
        ax.set_xscale("log")
    ax.set_xlim(*ends)
    if log:
        _log_ticks(ax.xaxis)


def color_bar(
    figure: Figure, axes: Sequence[Axes] | np.ndarray, norm: Normalize, title: str, *, whole: bool = True
) -> None:
    """A bar below the axes; `whole`: a linear one counts in whole numbers."""
    scale = LinearSegmentedColormap.from_list("lr", style.colorscale())
    mappable = ScalarMappable(norm, scale)
    bar = figure.colorbar(mappable, ax=list(axes), orientation="horizontal", fraction=0.05, aspect=60, pad=0.03)
    bar.set_label(words(title, 90), fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    if isinstance(norm, LogNorm):
        _log_ticks(bar.ax.xaxis)
    elif whole:
        bar.ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=2))
