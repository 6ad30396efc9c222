"""Charts with matplotlib, for papers and slides. Texts are escaped: `$` is no formula.

Figures are built on `Figure` itself: no pyplot, no global state, no window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis as Ruler
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from lrscope.charts import style
from lrscope.charts.chart import Axis, Chart
from lrscope.charts.layers import Band, Border, ErrorBars, HeatMap, Image, Layer, Level, Line, Note, Points, Span
from lrscope.charts.layout import Cell, Layout, arrange, lettered
from lrscope.charts.scales import Ends, Palette, cell_edges, log_marks, pixels
from lrscope.charts.scene import Scene, scenes
from lrscope.charts.text import number, shorten
from lrscope.checked import checked

PIXELS_PER_INCH = 100  # of a chart's heights
WIDTHS = {1: 7.2, 2: 8.4, 3: 10.5}  # inches, by columns; more of them are 3.5 inches each
IMAGE_SIDE = 1.5  # inches, of charts that are pictures alone
BAR, LEGEND_ROW = 0.6, 0.24  # inches
LEGEND_ENTRY, LEGEND_LETTER = 0.6, 0.08  # inches: of an entry without its name, and of a letter of it
Look = dict[str, Any]
POINT = 0.75  # points per pixel
HATCH = {"none": "", "plain": "", "/": "////", "\\": "\\\\\\\\", "x": "xxxx", "+": "++++", ".": "...."}


@checked
def to_matplotlib(chart: Chart) -> Figure:
    """The chart as a figure that is attached to no window and makes room for its labels by itself."""
    placed, panels = arrange(chart, narrow=False), scenes(chart)
    entries, shades = [*panels[0].entries], panels[0].palette
    width = _width(chart, placed)
    across = _legend_columns(entries, width)
    rows = -(-len(entries) // across)
    height = (placed.top + placed.height + placed.bottom) / PIXELS_PER_INCH + LEGEND_ROW * rows
    height += BAR * bool(shades.values.size and not chart.own_colors) + LEGEND_ROW * bool(rows and chart.legend_title)
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    grid = figure.subplots(len(placed.rows), placed.columns, squeeze=False, height_ratios=list(placed.rows)).ravel()
    handles: dict[str, Any] = {}
    for ax, scene, cell in zip(grid, panels, placed.cells, strict=False):
        handles |= _panel(ax, scene, cell)
    for ax in grid[len(panels) :]:
        ax.set_visible(False)
    if chart.own_colors:
        for ax, scene in zip(grid, panels, strict=False):
            _own_bar(figure, ax, scene.palette)
    elif shades.values.size:
        _color_bar(figure, grid[: len(panels)], shades, chart.color_title)
    if entries:
        look: Look = {"loc": "outside lower center", "ncols": across, "frameon": False, "fontsize": 9}
        names, title = [words(name, 60) for name in entries], words(chart.legend_title) or None
        figure.legend([handles[name] for name in entries], names, title=title, **look)
    return figure


def _legend_columns(names: Sequence[str], width: float) -> int:
    """How many columns, each as wide as its longest name, a legend has room for in so many inches; one at least.

    As matplotlib fills them, from top to bottom: 7 names in 6 columns are 2, 1, 1, 1, 1, 1.
    """
    lengths = [len(name) for name in names]

    def needed(columns: int) -> float:
        longest = [int(column.max()) for column in np.array_split(lengths, columns)]
        return LEGEND_ENTRY * columns + LEGEND_LETTER * sum(longest)

    return next((columns for columns in range(len(names), 1, -1) if needed(columns) <= width), 1)


def words(name: str, length: int = 40) -> str:
    """A name, safe for matplotlib: one line, no formula."""
    return " ".join(shorten(name, length).split()).replace("$", r"\$")


def _width(chart: Chart, placed: Layout) -> float:
    """In inches."""
    pictures = all(panel.image is not None for panel in chart.panels)
    return IMAGE_SIDE * placed.columns if pictures else WIDTHS.get(placed.columns, 3.5 * placed.columns)


def _panel(ax: Axes, scene: Scene, cell: Cell) -> Look:
    """Draw one panel; returns what stands in the legend for the names that begin here."""
    panel, picture = scene.panel, scene.panel.image
    found: Look = {}
    for i, layer in enumerate(panel.layers):
        artist = DRAW[type(layer)](ax, scene, layer, 1 + i / 1000)
        if scene.listed(layer):
            found[getattr(layer, "name", "")] = artist
    if picture is not None:
        ax.set_axis_off()
        ax.set_title(words(panel.title, 24), loc="left", fontsize=9, pad=3)
        return found
    ax.grid(True, axis="y", color=style.GRID, lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    _ruler(ax.xaxis, panel.x, scene.x, cell.numbers_x)
    if panel.y.bare and not cell.numbers_x:
        ax.spines.bottom.set_visible(False)
        ax.tick_params(axis="x", which="both", length=0)
    _ruler(ax.yaxis, panel.y, scene.y, cell.numbers_y)
    for text in scene.notes():
        ax.text(0.5, 0.25, text, transform=ax.transAxes, ha="center", color=style.MUTED, fontsize=9)
    ax.set_title(
        words(panel.title, 60), loc="left", fontsize=10, pad=16 if lettered([panel]) or cell.title_shift else 6
    )
    return found


def _ruler(ruler: Ruler, axis: Axis, ends: Ends | None, numbers: bool) -> None:
    """Scale, ends, ticks and title of one axis."""
    ax = ruler.axes
    x = ruler is ax.xaxis
    if axis.log and ends is not None:
        (ax.set_xscale if x else ax.set_yscale)("log")
    if ends is not None:
        (ax.set_xlim if x else ax.set_ylim)(*ends)
    if axis.bare:
        ax.spines[["bottom"] if x else ["left"]].set_visible(False)
        ax.grid(False, axis="x" if x else "y")
        ruler.set_tick_params(which="both", length=0)
    if axis.ticks is not None:
        ruler.set_ticks([t for t, _ in axis.ticks], [words(text) for _, text in axis.ticks], fontsize=9)
    elif axis.bare or ends is None:
        ruler.set_ticks([])
        ruler.set_minor_locator(ticker.NullLocator())
    elif axis.log:
        _log_ticks(ruler, ends)
    ruler.set_tick_params(labelsize=9)
    if not numbers:
        ruler.set_tick_params(which="both", labelbottom=False, labelleft=False)
    elif axis.title:
        (ax.set_xlabel if x else ax.set_ylabel)(words(axis.title, 60), fontsize=9.5)


def _log_ticks(ruler: Ruler, ends: Ends) -> None:
    """Powers of ten over many decades, round numbers over hardly one."""
    marks = log_marks(*sorted(math.log10(end) for end in ends))
    if marks:
        ruler.set_major_locator(ticker.FixedLocator(marks))
        ruler.set_major_formatter(ticker.FuncFormatter(lambda value, _: number(value)))
    else:
        ruler.set_major_locator(ticker.LogLocator(numticks=8))
        ruler.set_major_formatter(ticker.LogFormatterSciNotation())
    ruler.set_minor_formatter(ticker.NullFormatter())


def _color_bar(figure: Figure, axes: Sequence[Axes] | np.ndarray, shades: Palette, title: str) -> None:
    """A bar below the axes."""
    mappable = ScalarMappable(_norm(shades), _colors())
    bar = figure.colorbar(mappable, ax=list(axes), orientation="horizontal", fraction=0.05, aspect=60, pad=0.03)
    bar.set_label(words(title, 90), fontsize=9)
    _mark_bar(bar, shades)
    bar.ax.xaxis.set_minor_formatter(ticker.NullFormatter())


def _own_bar(figure: Figure, ax: Axes, shades: Palette) -> None:
    """A bar on the right of one panel."""
    if shades.values.size:
        bar = figure.colorbar(ScalarMappable(_norm(shades), _colors()), ax=ax, fraction=0.05, aspect=30, pad=0.02)
        _mark_bar(bar, shades)
        bar.ax.yaxis.set_minor_formatter(ticker.NullFormatter())


def _mark_bar(bar: Any, shades: Palette) -> None:
    bar.outline.set_visible(False)
    places, texts = zip(*shades.marks(), strict=True)
    bar.set_ticks(list(places), labels=list(texts), fontsize=8)


def _norm(shades: Palette) -> Normalize:
    return (LogNorm if shades.log else Normalize)(*shades.ends)


def _colors() -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("lrscope", style.colorscale())


def _line(ax: Axes, scene: Scene, line: Line, order: float) -> Any:
    color, (x, y) = scene.color(line), scene.points(line)
    if line.low is not None and line.key is None:
        ax.fill_between(x, *scene.range(line), color=color, alpha=0.12, lw=0, zorder=order)
    there = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    mark: Look = {"marker": style.SYMBOLS[line.symbol], "ms": POINT * line.size}
    stroke: Look = {"color": color, "lw": POINT * line.width, "ls": "--" if line.dashed else "-"}
    if line.mark == "end" and there.size:
        mark |= {"ms": POINT * line.size + 2, "mec": "white", "mew": 0.7}
        ax.plot(x[there[-1:]], y[there[-1:]], color=color, zorder=order + 1, **mark)
        ax.plot(x, y, zorder=order, **stroke)
        return Line2D([], [], **stroke, **mark)
    marked = mark | {"mfc": "white" if line.hollow else color}
    return ax.plot(x, y, zorder=order, **stroke, **(marked if line.mark == "both" or there.size == 1 else {}))[0]


def _points(ax: Axes, scene: Scene, points: Points, order: float) -> Any:
    color, (x, y) = scene.color(points), scene.points(points)
    look: Look = {"color": color if points.colors is None else list(points.colors), "lw": 0}
    if points.hollow:
        look = {"facecolors": "white", "edgecolors": color, "lw": 1.0}
    elif points.symbol == "x":
        look["lw"] = 1.8
    elif points.rim:
        look |= {"facecolors": look.pop("color"), "edgecolors": "white", "lw": 0.6}
    marker, area = style.SYMBOLS[points.symbol], (POINT * points.size) ** 2
    return ax.scatter(x, y, area, marker=marker, alpha=points.opacity, zorder=order, **look)


def _band(ax: Axes, scene: Scene, band: Band, order: float) -> Any:
    x, _ = scene.points(band)
    return ax.fill_between(x, *scene.range(band), color=scene.color(band), alpha=band.opacity, lw=0, zorder=order)


def _error_bars(ax: Axes, scene: Scene, bars: ErrorBars, order: float) -> Any:
    (x, y), (low, high) = scene.points(bars), scene.range(bars)
    at = x if bars.along == "x" else y
    whiskers: Look = {bars.along + "err": np.abs([at - low, high - at])}
    look: Look = {"fmt": style.SYMBOLS[bars.symbol], "ms": POINT * bars.size, "capsize": 3, "lw": 1.3, "zorder": order}
    return ax.errorbar(x, y, color=scene.color(bars), **whiskers, **look)


def _span(ax: Axes, scene: Scene, span: Span, order: float) -> None:
    ends = scene.clipped(span)
    if ends is None:
        return
    look: Look = {"color": span.color, "alpha": 0.12, "lw": 0}
    if span.pattern != "none":
        look = {
            "facecolor": span.color,
            "alpha": 0.5,
            "hatch": HATCH[span.pattern],
            "edgecolor": "white",
            "lw": 0.6,
        }
    ax.axvspan(*ends, zorder=order, **look)
    if span.label and span.place != "none":
        above = span.place == "above"
        middle = math.sqrt(ends[0] * ends[1]) if scene.panel.x.log else sum(ends) / 2
        box = {"facecolor": span.color, "alpha": 0.25} if above else {"facecolor": "white", "alpha": 0.9}
        place: Look = {"xytext": (0, 2), "va": "bottom", "fontsize": 8} if above else {"xytext": (0, 0), "va": "center"}
        _write(ax, span.label, (middle, 1 if above else 0.5), "data axes", box=box, weight="bold", ha="center", **place)


def _border(ax: Axes, scene: Scene, border: Border, order: float) -> None:
    if scene.x is None or not min(scene.x) <= border.x <= max(scene.x):
        return
    if (ends := scene.clipped(border)) is not None:
        ax.axvspan(*ends, color=style.INK, alpha=0.07, lw=0, zorder=order)
    ax.axvline(border.x, color=style.INK, lw=1.0, ls=":" if border.dotted else "--", zorder=order)


def _level(ax: Axes, scene: Scene, level: Level, order: float) -> None:
    if not scene.reaches(level):
        return
    left = scene.label_left(level)
    ax.axhline(level.y, color=style.INK, lw=1.1, ls="--", zorder=order)
    look: Look = {
        "xytext": (2 if left else -2, 2),
        "ha": "left" if left else "right",
        "va": "bottom",
        "fontsize": 8,
        "color": style.MUTED,
        "zorder": 4,
    }
    _write(ax, level.label, (0 if left else 1, level.y), "axes data", box={"facecolor": "white", "alpha": 0.6}, **look)


def _note(ax: Axes, scene: Scene, note: Note, order: float) -> None:
    if not scene.shows(note.x, note.y):
        return
    align = {"right": "left", "left": "right", "center": "center"}[note.side]
    shift = {"right": 7, "left": -7, "center": 0}[note.side]
    look: Look = {"weight": "bold" if note.bold else "normal", "fontsize": 9, "color": note.color, "zorder": order}
    _write(ax, note.words, (note.x, note.y), "data data", xytext=(shift, 0), ha=align, va="center", **look)


def _write(ax: Axes, text: str, at: tuple[float, float], of: str, *, box: Look | None = None, **look: Any) -> None:
    """Text beside a place; `of`: the coordinates of x and of y, each `data` or `axes` (fractions of the panel)."""
    across, upright = ("axes fraction" if name == "axes" else name for name in of.split())
    ground = None if box is None else {"boxstyle": "round,pad=0.12", "edgecolor": "none", **box}
    place: Look = {"xycoords": (across, upright), "textcoords": "offset points", "annotation_clip": False}
    ax.annotate(words(text, 60), at, bbox=ground, **place, **look)


def _heat_map(ax: Axes, scene: Scene, heat: HeatMap, order: float) -> None:
    if (plane := scene.plane(heat)) is None:
        return
    x, y, values = plane[0], plane[1], np.ma.masked_invalid(plane[2])
    if heat.filled and scene.palette.values.size:
        edges = (cell_edges(x, scene.panel.x.log), cell_edges(y, scene.panel.y.log))
        ax.pcolormesh(*edges, values, norm=_norm(scene.palette), cmap=_colors(), zorder=order, rasterized=True)
    levels = scene.palette.levels(heat.contours, values.filled(np.nan))
    if levels.size:
        ax.contour(x, y, values, levels, colors=style.INK, linewidths=0.7, zorder=order)
    if heat.traced is not None and values.min() < heat.traced < values.max():
        ax.contour(x, y, values, [heat.traced], colors=style.WHITE, linewidths=2.0, zorder=order)


def _image(ax: Axes, scene: Scene, image: Image, order: float) -> None:
    ax.imshow(pixels(image), interpolation="nearest", zorder=order)


DRAW: Mapping[type[Layer], Callable[[Axes, Scene, Any, float], Any]] = {
    Line: _line,
    Points: _points,
    Band: _band,
    ErrorBars: _error_bars,
    Span: _span,
    Border: _border,
    Level: _level,
    Note: _note,
    HeatMap: _heat_map,
    Image: _image,
}
