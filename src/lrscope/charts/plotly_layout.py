"""Plotly layouts: margins, axes, headings, legend and colour bar around the panels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrscope.charts import style
from lrscope.charts.chart import Axis, Chart
from lrscope.charts.layers import Image
from lrscope.charts.layout import NARROW, WIDE, Cell, arrange, legend_rows
from lrscope.charts.scales import Ends, Palette, log_marks
from lrscope.charts.text import number, plain

if TYPE_CHECKING:
    from lrscope.charts.draw_plotly import Canvas

Json = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
LEFT, RIGHT, EXTRA_LEFT = 58, 14, 16  # px; the last for titles of vertical axes
BAR_ROOM, LEGEND_ROW = 54, 22  # px for a colour bar with its title, and for each row of a legend
OWN_BAR = 52  # px for an upright colour bar on the right of a panel


def lay_out(chart: Chart, canvases: Sequence[Canvas], *, narrow: bool) -> Json:
    """The whole layout for wide or for narrow screens."""
    placed, scene = arrange(chart, narrow=narrow), canvases[0].scene
    entries = [*scene.entries, *([chart.legend_title] if chart.legend_title and scene.entries else [])]
    rows = legend_rows(entries, NARROW if narrow else WIDE)
    bar = BAR_ROOM if scene.palette.values.size and not chart.own_colors else 0
    bottom = placed.bottom + bar + (LEGEND_ROW * rows + 8 if rows else 0)
    left = LEFT - (8 if narrow else 0) + (EXTRA_LEFT if any(panel.y.title for panel in chart.panels) else 0)
    right = RIGHT + (OWN_BAR if chart.own_colors else 0)
    layout = _frame(placed.height, {"l": left, "r": right, "t": placed.top, "b": bottom}, narrow=narrow)
    for canvas, cell in zip(canvases, placed.cells, strict=True):
        _add_panel(layout, canvas, cell, narrow=narrow)
        if chart.own_colors and canvas.scene.palette.values.size:
            layout[canvas.colors] = _scale(canvas.scene.palette, _upright(cell))
    if bar:
        _add_bar(layout, scene.palette, chart.color_title, placed.bottom / placed.height, placed.height)
    return layout


def _frame(height: int, margin: Json, *, narrow: bool) -> Json:
    """What all layouts share. `height` is the plotting area's."""
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yref": "container", "yanchor": "bottom"}
    legend |= {"font": {"size": 12}, "bgcolor": "rgba(255,255,255,0)"}
    ground = {"paper_bgcolor": style.WHITE, "plot_bgcolor": style.WHITE}
    pointer: Json = {"hovermode": "closest", "dragmode": False if narrow else "zoom"}
    pointer["hoverlabel"] = {"align": "left", "namelength": -1, "font": {"family": FONT, "size": 12}}
    font = {"family": FONT, "size": 12, "color": style.INK}
    size = {"height": height + margin["t"] + margin["b"], "margin": margin}
    parts: Json = {"showlegend": True, "legend": legend, "shapes": [], "annotations": []}
    return {"font": font, **size, **ground, **pointer, **parts}


def _add_panel(layout: Json, canvas: Canvas, cell: Cell, *, narrow: bool) -> None:
    """Axes, heading, shapes and notes of one panel."""
    panel, chart = canvas.scene.panel, canvas.scene.chart
    xaxis, yaxis = "xaxis" + canvas.number, "yaxis" + canvas.number
    if panel.image is not None:
        layout[xaxis], layout[yaxis] = _picture_axes(panel.image, canvas.number)
    else:
        layout[xaxis] = _axis(panel.x, canvas.scene.x, numbers=cell.numbers_x, standoff=6)
        layout[yaxis] = _axis(panel.y, canvas.scene.y, numbers=cell.numbers_y, standoff=4)
        if any(shape["yref"].endswith("domain") for shape in canvas.shapes):
            layout[xaxis]["showgrid"] = False  # stretches and borders are the vertical marks here
        if panel.y.bare and not cell.numbers_x:
            layout[xaxis] |= {"showgrid": False, "showline": False, "ticks": "", "minor": {}}
        for name, shared in ((xaxis, chart.share_x), (yaxis, chart.share_y)):
            layout[name] |= {"matches": name[0]} if shared and canvas.number else {}
    layout[xaxis] |= {"domain": list(cell.x), "anchor": "y" + canvas.number}
    layout[yaxis] |= {"domain": list(cell.y), "anchor": "x" + canvas.number}
    layout["shapes"] += canvas.shapes
    for i, note in enumerate(canvas.notes):
        layout["annotations"].append(note | ({"text": canvas.shorts[i]} if narrow and i in canvas.shorts else {}))
    if panel.title:
        words = plain(panel.title, 24 if panel.image is not None else 48)
        place = {"xanchor": "left", "yshift": cell.title_shift + 2, "font": {"size": 13, "color": style.INK}}
        layout["annotations"].append(_on_paper(words, cell.x[0], cell.y[1], yanchor="bottom", **place))


def _axis(axis: Axis, ends: Ends | None, *, numbers: bool, standoff: int) -> Json:
    """One axis with light grid lines; long logarithmic ones are labelled in powers of ten."""
    log = axis.log and ends is not None
    line = {"gridcolor": style.GRID, "zeroline": False, "linecolor": style.AXIS, "showline": True, "automargin": False}
    marks = {"ticks": "outside", "ticklen": 4, "tickcolor": style.AXIS, "tickfont": {"size": 11}}
    made: Json = {"type": "log" if log else "linear", **line, **marks}
    if ends is None:
        made |= {"range": [0, 1], "showticklabels": False}
    else:
        made["range"] = [math.log10(v) for v in ends] if log else list(ends)
        made |= _log_ticks(*sorted(made["range"])) if log else {"nticks": 6}
    if axis.ticks is not None:
        texts = [plain(text, 40) for _, text in axis.ticks]
        made |= {"tickvals": [place for place, _ in axis.ticks], "ticktext": texts}
    if axis.bare:
        made |= {"showgrid": False, "showline": False, "ticks": "", "fixedrange": True}
        made["showticklabels"] = axis.ticks is not None
    if not numbers:
        made |= {"showticklabels": False}
    elif axis.title:
        words = plain(axis.title, 48)
        made["title"] = {"text": words, "standoff": standoff, "font": {"size": 12}}
    return made


def _log_ticks(low: float, high: float) -> Json:
    """Ticks for a log axis between two exponents."""
    marks = log_marks(low, high)
    if marks is not None:
        return {"tickvals": marks, "ticktext": [number(m) for m in marks]}
    powers = {"dtick": math.ceil((high - low) / 6), "exponentformat": "power", "tickfont": {"size": 9}}
    return powers | {
        "minor": {"ticks": "outside", "ticklen": 2, "tickcolor": style.AXIS}
    }  # powers are drawn a quarter larger


def _picture_axes(image: Image, number: str) -> tuple[Json, Json]:
    """Axes that are not seen, with square pixels and the first row on top."""
    height, width = np.shape(image.values)[:2]
    unseen = {"visible": False, "fixedrange": True, "constrain": "domain"}
    across = unseen | {"range": [-0.5, width - 0.5], "constraintoward": "left"}
    return across, unseen | {"range": [height - 0.5, -0.5], "scaleanchor": "x" + number, "constraintoward": "top"}


def _add_bar(layout: Json, shades: Palette, title: str, below: float, plotting: int) -> None:
    """A horizontal colour bar in the room below the panels."""
    bar: Json = {"orientation": "h", "len": 1, "x": 0.5, "xanchor": "center", "xpad": 0}
    layout["coloraxis"] = _scale(shades, bar | {"y": -below - 22 / plotting, "yanchor": "top", "ypad": 0})
    words = plain(title, 90)
    place = {"xanchor": "center", "yanchor": "bottom", "font": {"size": 12}}
    layout["annotations"].append(_on_paper(words, 0.5, -below - 20 / plotting, **place))


def _upright(cell: Cell) -> Json:
    """A colour bar on the right of a panel."""
    beside: Json = {"orientation": "v", "x": cell.x[1], "xanchor": "left", "xpad": 6}
    return beside | {"y": sum(cell.y) / 2, "yanchor": "middle", "ypad": 0, "len": cell.y[1] - cell.y[0]}


def _scale(shades: Palette, bar: Json) -> Json:
    """A colour scale with its bar."""
    ends, marks = shades.ends, shades.marks()
    places = [place for place, _ in marks]
    if shades.log:
        ends, places = (math.log10(ends[0]), math.log10(ends[1])), [math.log10(place) for place in places]
    look: Json = {"thickness": 10, "outlinewidth": 0, "tickfont": {"size": 11}}
    look |= {"tickvals": places, "ticktext": [text for _, text in marks]}
    return {"cmin": ends[0], "cmax": ends[1], "colorscale": style.colorscale(), "colorbar": bar | look}


def _on_paper(words: str, x: float, y: float, **look: Any) -> Json:
    """Text placed in fractions of the plotting area."""
    return {"text": words, "x": x, "y": y, "xref": "paper", "yref": "paper", "showarrow": False} | look
