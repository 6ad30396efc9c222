"""A study's charts for the page: plain dictionaries for Plotly.js, one layout for wide and one for narrow screens."""

from __future__ import annotations

import math

import numpy as np

from lrscope.checked import checked
from lrscope.reporting import charts, style
from lrscope.reporting.charts import Floats, Palette
from lrscope.reporting.interactive import BAR_ROOM
from lrscope.reporting.interactive_canvas import (
    ABOVE,
    Cell,
    Json,
    axis,
    cells,
    empty_note,
    figure,
    frame,
    heading,
    legend_room,
    log_ticks,
    numbers,
    plain,
    value_axis,
)
from lrscope.reporting.interactive_marks import band, carrier, colour_bar, log_bar
from lrscope.reporting.text import number
from lrscope.studies.charts import Chart, Image, Line, Panel

SINGLE_HEIGHT, HEIGHT, IMAGE_HEIGHT = 330, 260, 130  # px, of a panel's plotting area
NARROW_IMAGES = 2  # pictures beside each other on a narrow screen
LEGEND_PER_ROW = 4
EXTRA_LEFT = 16  # px for the vertical axis's title


@checked
def chart_json(chart: Chart) -> Json:
    """Traces with their layouts."""
    palette = charts.palette(chart)
    named = [line.name for line in charts.legend(chart)]
    unlisted = set(named)
    data = [carrier()] if palette.values.size else []
    for p, panel in enumerate(chart.panels):
        axes = {"xaxis": f"x{p + 1}" if p else "x", "yaxis": f"y{p + 1}" if p else "y"}
        if panel.image is not None:
            data.append(_picture(panel.image) | axes)
            continue
        for line in panel.lines:
            data += [trace | axes for trace in _traces(line, panel, chart, palette, listed=line.name in unlisted)]
            unlisted.discard(line.name)

    def lay_out(narrow: bool) -> Json:
        small = charts.of_images(chart)
        columns = (NARROW_IMAGES if small else 1) if narrow else chart.columns
        height = SINGLE_HEIGHT if len(chart.panels) == 1 else IMAGE_HEIGHT if small else HEIGHT
        places, total = cells(len(chart.panels), columns, height)
        bar = BAR_ROOM if palette.values.size else 0
        legend = legend_room(len(named), 1 if narrow else LEGEND_PER_ROW) if named else 0
        layout = frame(total, bottom=bar + legend, top=ABOVE, narrow=narrow)
        layout["margin"]["l"] += EXTRA_LEFT
        if palette.values.size:
            _bar(layout, palette, chart.color_title)
        for cell, panel in zip(places, chart.panels, strict=True):
            _panel(layout, cell, panel, spans=any(p.spans for p in chart.panels))
        return layout

    return figure(data, lay_out)


def _traces(line: Line, panel: Panel, chart: Chart, palette: Palette, *, listed: bool) -> list[Json]:
    """A line, its band, and its end."""
    x, y = charts.whole(line)
    color = palette.of(line)
    name = plain(
        line.name or (f"{chart.color_title} {number(line.value)}" if line.value is not None else panel.y_title), 60
    )
    group = {"legendgroup": name, "showlegend": False}
    found: list[Json] = []
    if line.low is not None and line.high is not None:
        low, high = (np.asarray(v, dtype=np.float64) for v in (line.low, line.high))
        found.append(band(x, low, high, color, 0.15) | group)
    lone = np.isfinite(x + y).sum() == 1
    mode = {"line": "lines", "end": "lines", "points": "markers", "both": "lines+markers"}[line.mark]
    told = f"{name}<br>{plain(panel.x_title, 60)} %{{x:.4g}}<br>{plain(panel.y_title, 60)} %{{y:.4g}}<extra></extra>"
    found.append(
        {
            "type": "scatter",
            "x": numbers(x),
            "y": numbers(y),
            "mode": "markers" if lone else mode,  # one point makes no line
            "line": {"color": color, "width": 1.8, "dash": "dash" if line.dashed else "solid"},
            "marker": {"color": color, "size": 6, "symbol": "circle-open" if line.dashed else "circle"},
            "name": name,
            "hovertemplate": told,
            "legendgroup": name,
            "showlegend": listed,
        }
    )
    end = charts.last(line) if line.mark == "end" else None
    if end is not None:
        mark = {"color": color, "size": 8, "line": {"width": 1, "color": "#ffffff"}}
        last: Json = {"type": "scatter", "x": [end[0]], "y": [end[1]], "mode": "markers", "marker": mark, "name": name}
        found.append(last | group | {"hovertemplate": told})
    return found


def _picture(image: Image) -> Json:
    """An image trace: rows of red, green and blue from 0 to 255."""
    return {"type": "image", "z": charts.pixels(image).tolist(), "colormodel": "rgb", "hoverinfo": "skip"}


def _frame_picture(layout: Json, cell: Cell, image: Image) -> None:
    """Axes that are not seen, with square pixels and the first row on top."""
    height, width = np.shape(image.values)[:2]
    plain_axis = {"visible": False, "fixedrange": True}
    layout["xaxis" + cell.number] = plain_axis | {
        "domain": list(cell.x),
        "anchor": "y" + cell.number,
        "range": [-0.5, width - 0.5],
        "constrain": "domain",
        "constraintoward": "left",
    }
    layout["yaxis" + cell.number] = plain_axis | {
        "domain": list(cell.y),
        "anchor": "x" + cell.number,
        "range": [height - 0.5, -0.5],
        "scaleanchor": "x" + cell.number,
        "constrain": "domain",
        "constraintoward": "top",
    }


def _panel(layout: Json, cell: Cell, panel: Panel, *, spans: bool) -> None:
    """Axes, heading, spans, borders and levels of one panel; `spans`: some panel has spans, so all headings make room."""
    if panel.image is not None:
        _frame_picture(layout, cell, panel.image)
        layout["annotations"].append(heading(cell, plain(panel.title, 24)) | {"yshift": 4})
        return
    across: Json = {"domain": cell.x, "anchor": "y" + cell.number}
    ends = charts.extent(charts.widths(panel), panel.log_x)
    if ends is None:
        made = axis(**across, log=False, range=[0, 1], showticklabels=False)
    elif panel.log_x:
        low, high = (math.log10(v) for v in ends)
        made = axis(**across, log=True, range=[low, high], **log_ticks(low, high))
    else:
        made = axis(**across, log=False, range=list(ends), nticks=6)
    layout["xaxis" + cell.number] = made | {"title": _title(panel.x_title, 6)}
    values = charts.heights(panel)
    layout["yaxis" + cell.number] = value_axis(values, domain=cell.y, anchor="x" + cell.number, log=panel.log_y) | {
        "title": _title(panel.y_title, 4)
    }
    for made in (layout["xaxis" + cell.number], layout["yaxis" + cell.number]):
        if "tickvals" in made:
            made.pop("minor", None)  # between marks of its own Plotly draws far too many
    layout["annotations"].append(heading(cell, plain(panel.title, 44)) | {"yshift": 20 if spans else 4})
    if not charts.drawable(values, panel.log_y).size:
        layout["annotations"].append(empty_note(cell))
    if ends is not None:
        _behind(layout, cell, panel, ends)


def _behind(layout: Json, cell: Cell, panel: Panel, ends: tuple[float, float]) -> None:
    """Spans with their letters, borders and levels, as far as the axes reach."""
    x, y = "x" + cell.number, "y" + cell.number
    upright = {"xref": x, "yref": y + " domain", "y0": 0, "y1": 1, "layer": "below"}
    for low, high, label in panel.spans:
        left, right = max(low, ends[0]), min(high, ends[1])
        if right <= left:
            continue
        fill = {"line": {"width": 0}, "fillcolor": style.rgba(charts.tint(label), 0.12)}
        layout["shapes"].append(upright | {"type": "rect", "x0": left, "x1": right} | fill)
        at = (math.log10(left) + math.log10(right)) / 2 if panel.log_x else (left + right) / 2
        letter = {"text": f"<b>{plain(label, 12)}</b>", "x": at, "xref": x, "y": 1, "yref": y + " domain"}
        look = {"yanchor": "bottom", "yshift": 1, "showarrow": False, "font": {"size": 11, "color": style.INK}}
        ground = {"bgcolor": style.rgba(charts.tint(label), 0.25), "borderpad": 1}
        layout["annotations"].append(letter | look | ground)
    for border in panel.borders:
        if ends[0] <= border <= ends[1]:
            dash = {"line": {"color": style.INK, "width": 1.3, "dash": "dash"}}
            layout["shapes"].append(upright | {"type": "line", "x0": border, "x1": border} | dash)
    for level, name in panel.levels:
        if not math.isfinite(level) or (panel.log_y and level <= 0):
            continue
        flat = {"xref": x + " domain", "yref": y, "x0": 0, "x1": 1, "y0": level, "y1": level, "layer": "below"}
        layout["shapes"].append(flat | {"type": "line", "line": {"color": style.INK, "width": 1.2, "dash": "dot"}})
        words = {"text": plain(name), "x": 1, "xref": x + " domain", "xanchor": "right", "showarrow": False}
        place = {"y": math.log10(level) if panel.log_y else level, "yref": y, "yanchor": "bottom"}
        look = {"font": {"size": 11, "color": style.MUTED}, "bgcolor": "rgba(255,255,255,0.6)", "borderpad": 0}
        layout["annotations"].append(words | place | look)


def _title(words: str, standoff: int) -> Json:
    return {"text": plain(words, 48), "standoff": standoff, "font": {"size": 12}}


def _bar(layout: Json, palette: Palette, title: str) -> None:
    """The colour bar below the panels."""
    if palette.log:
        log_bar(layout, palette.values, title)
    else:
        colour_bar(layout, palette.ends, [(float(v), number(v)) for v in _round_marks(*palette.ends)], title)


def _round_marks(low: float, high: float) -> Floats:
    """About five round numbers between two ends."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw)
    return np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1, dtype=np.float64) * step
