"""The interactive map: regimes, borders, where to start, and three quantities over one axis of learning rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrscope.mapping.types import RegimeMap
from lrscope.reporting import style
from lrscope.reporting.frames import Array, Backdrop, Grid, Panel, regime_at, with_level
from lrscope.reporting.interactive_canvas import (
    Cell,
    Json,
    border_shapes,
    empty_note,
    figure,
    frame,
    heading,
    legend_room,
    lr_axis,
    numbers,
    plain,
    value_axis,
)
from lrscope.reporting.interactive_marks import band, level, row_words, start_marks, start_words
from lrscope.reporting.start import rows, start
from lrscope.reporting.text import interval, votes

MOST_POINTS_PER_RATE = 20  # single runs are drawn up to here, a range beyond
STRIP, BORDER_ROW, MAP_PANEL = 26, 24, 185  # px: the map's rows


def regime_map_figure(
    grid: Grid, back: Backdrop, regime_map: RegimeMap, panels: Sequence[Panel], nonfinite: Array
) -> Json:
    """The map: a strip of regimes, rows for the borders and the start, then one panel per quantity on one shared axis.

    Axes: `y` the strip, `y2` the rows, `y3` and on the panels. What is not known leaves its axis without height and marks.
    """
    found = start(grid, regime_map)
    names = rows(regime_map, found)
    data = (_strip(grid, back, regime_map) if back.spans else []) + _border_marks(grid, regime_map, names)
    data += start_marks(found, len(names) - 1) if found else []
    for i, panel in enumerate(panels):
        data += _runs(grid, back, panel, f"y{i + 3}", first=i == 0)
    if np.any(nonfinite > 0):
        data.append(_overflows(grid, panels[0], nonfinite))

    def lay_out(narrow: bool) -> Json:
        heights = [STRIP if back.spans else 1, max(BORDER_ROW * len(names), 1)] + [MAP_PANEL] * len(panels)
        gaps = [8] + [32] * len(panels)
        total = sum(heights) + sum(gaps)
        entries = sum(bool(t.get("name")) and t.get("showlegend", True) for t in data)
        layout = frame(total, bottom=legend_room(entries, 2 if narrow else 5), top=12, narrow=narrow)
        tops = [1 - (sum(heights[:i]) + sum(gaps[:i])) / total for i in range(len(heights))]
        places = [(max(0.0, top - h / total), top) for top, h in zip(tops, heights, strict=True)]
        layout["xaxis"] = lr_axis(grid, domain=(0, 1), anchor=f"y{len(places)}")
        layout["yaxis"] = _bare_axis(places[0]) | {"range": [0, 1], "showticklabels": False}
        ticks = {"tickvals": list(range(len(names))), "ticktext": [plain(n) for n in names]}
        layout["yaxis2"] = _bare_axis(places[1]) | {"range": [max(len(names), 1) - 0.5, -0.5]} | ticks
        for i, (panel, place) in enumerate(zip(panels, places[2:], strict=True)):
            values = with_level(panel)
            layout[f"yaxis{i + 3}"] = value_axis(values, domain=place, anchor="x", log=panel.log)
            cell = Cell(number="", x=(0, 1), y=place)
            layout["annotations"].append(heading(cell, panel.title) | {"yshift": 3})
            if not np.isfinite(panel.spread.mean).any():
                layout["annotations"].append(empty_note(cell))
            for span in back.spans:
                layout["shapes"].append(_shading(span.low, span.high, span.regime, f"y{i + 3} domain"))
        layout["annotations"] += _border_words(grid, regime_map, names, narrow=narrow)
        if found:
            layout["annotations"].append(start_words(grid, found, len(names) - 1, narrow=narrow))
        for i in range(2, len(places)):
            layout["shapes"] += border_shapes(back, "x", f"y{i + 1} domain")
        for span in back.spans:
            layout["annotations"].append(_letter(span.low, span.high, span.regime))
        return layout

    return figure(data, lay_out)


def _bare_axis(place: tuple[float, float]) -> Json:
    """An axis without line, ticks and grid, which dragging does not zoom."""
    bare = {"showgrid": False, "showline": False, "ticks": "", "fixedrange": True}
    return value_axis(np.array([0.0, 1.0]), domain=place, anchor="x", log=False) | bare


def _shading(low: float, high: float, regime: str, y: str) -> Json:
    color = style.rgba(style.REGIME_COLOR[regime], 0.12)
    box = {"type": "rect", "xref": "x", "yref": y, "x0": low, "x1": high, "y0": 0, "y1": 1, "layer": "below"}
    return box | {"line": {"width": 0}, "fillcolor": color}


def _letter(low: float, high: float, regime: str) -> Json:
    return {
        "text": f"<b>{regime}</b>",
        "x": float(np.log10(low * high)) / 2,
        "xref": "x",
        "y": 0.5,
        "yref": "y",
        "yanchor": "middle",
        "showarrow": False,
        "font": {"size": 13, "color": style.INK},
        "bgcolor": "rgba(255,255,255,0.85)",
        "borderpad": 1,
    }


def _strip(grid: Grid, back: Backdrop, regime_map: RegimeMap) -> list[Json]:
    """Hatched blocks, one per span, and an invisible mark per learning rate that tells votes and flags on hover."""
    traces: list[Json] = []
    for span in back.spans:
        color = style.REGIME_COLOR[span.regime]
        traces.append(
            {
                "type": "scatter",
                "x": numbers([span.low, span.high, span.high, span.low, span.low]),
                "y": [0, 0, 1, 1, 0],
                "mode": "lines",
                "line": {"width": 0.5, "color": "#ffffff"},
                "fill": "toself",
                "fillcolor": style.rgba(color, 0.55),
                "fillpattern": {
                    "shape": style.REGIME_PATTERN[span.regime],
                    "fgcolor": color,
                    "bgcolor": style.rgba(color, 0.45),
                    "size": 7,
                    "solidity": 0.35,
                },
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    told = []
    for label in regime_map.labels:
        flags = f"<br>flags: {plain(', '.join(label.flags), 80)}" if label.flags else ""
        name = style.REGIME_NAME.get(label.regime, "")
        head = f"{grid.short} {grid.text(label.lr)}: <b>{plain(label.regime)}</b> {name}"
        told.append(f"{head}<br>runs: {plain(votes(label))}{flags}")
    traces.append(
        {
            "type": "scatter",
            "x": numbers([label.lr for label in regime_map.labels]),
            "y": [0.5] * len(told),
            "mode": "markers",
            "marker": {"size": 22, "opacity": 0},
            "text": told,
            "hovertemplate": "%{text}<extra></extra>",
            "showlegend": False,
        }
    )
    left_out = [label.lr for label in regime_map.labels if not label.trained]
    if left_out:
        traces.append(
            {
                "type": "scatter",
                "x": numbers(left_out),
                "y": [0.15] * len(left_out),
                "mode": "markers",
                "marker": {"size": 6, "color": "#ffffff", "line": {"width": 1.2, "color": style.INK}},
                "hoverinfo": "skip",
                "name": "not trained",
            }
        )
    return traces


def _border_marks(grid: Grid, regime_map: RegimeMap, names: Sequence[str]) -> list[Json]:
    """A mark with whiskers per border that has a place."""
    traces: list[Json] = []
    for row, name in enumerate(names):
        border = regime_map.borders.get(name)
        if border is None or border.lr is None:
            continue
        low, high = border.low or border.lr, border.high or border.lr
        told = f"border {plain(border.between)}: {interval(border, grid.text)}<br>{plain(border.reason, 90)}"
        traces.append(
            {
                "type": "scatter",
                "yaxis": "y2",
                "x": numbers([border.lr]),
                "y": [row],
                "mode": "markers",
                "marker": {"symbol": "diamond", "size": 9, "color": style.INK},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": numbers([high - border.lr]),
                    "arrayminus": numbers([border.lr - low]),
                    "color": style.INK,
                    "thickness": 1.6,
                    "width": 5,
                },
                "text": [told],
                "hovertemplate": "%{text}<extra></extra>",
                "showlegend": False,
            }
        )
    return traces


def _border_words(grid: Grid, regime_map: RegimeMap, names: Sequence[str], *, narrow: bool) -> list[Json]:
    """Each border's numbers beside its whiskers, on the side where there is room; phones show no intervals here."""
    notes: list[Json] = []
    for row, name in enumerate(names):
        border = regime_map.borders.get(name)
        if border is None:
            continue
        words = interval(border, grid.text)
        if border.lr is None:
            notes.append(row_words(words, row, float(grid.edges[0]), right=True, color=style.MUTED))
            continue
        ends = (border.low or border.lr, border.high or border.lr)
        right = border.lr <= float(np.sqrt(grid.edges[0] * grid.edges[-1]))
        notes.append(row_words(grid.text(border.lr) if narrow else words, row, ends[right], right=right))
    return notes


def _runs(grid: Grid, back: Backdrop, panel: Panel, y: str, *, first: bool) -> list[Json]:
    """Single runs as points (or their range), their mean as a line, the level of random points dashed."""
    lrs = [grid.text(v) for v in grid.lr]
    traces: list[Json] = []
    runs = panel.spread.values.shape[-1]
    name = f"{grid.short} %{{customdata}}<br>{panel.title} %{{y:.4g}}"
    if runs > MOST_POINTS_PER_RATE:
        shape = band(grid.lr, panel.spread.low, panel.spread.high, style.MUTED)
        traces.append(shape | {"yaxis": y, "legendgroup": "runs", "name": "range over runs", "showlegend": first})
    elif runs > 1:
        colors = [style.REGIME_COLOR[regime_at(back, lr)] for lr in grid.lr]
        traces.append(
            {
                "type": "scatter",
                "x": numbers(np.repeat(grid.lr, runs)),
                "y": numbers(panel.spread.values),
                "yaxis": y,
                "mode": "markers",
                "marker": {"size": 6, "opacity": 0.55, "color": [c for c in colors for _ in range(runs)]},
                "customdata": [t for t in lrs for _ in range(runs)],
                "hovertemplate": name + "<extra>one run</extra>",
                "name": "single runs",
                "legendgroup": "runs",
                "showlegend": first,
            }
        )
    traces.append(
        {
            "type": "scatter",
            "x": numbers(grid.lr),
            "y": numbers(panel.spread.mean),
            "yaxis": y,
            "mode": "lines+markers",
            "line": {"color": style.INK, "width": 2},
            "marker": {"size": 5, "color": style.INK},
            "customdata": lrs,
            "hovertemplate": name + "<extra>%{fullData.name}</extra>",
            "name": "mean over runs" if runs > 1 else "the one run",
            "legendgroup": "mean",
            "showlegend": first,
        }
    )
    if panel.reference is not None:
        traces.append(level(grid, panel.reference, y, "random points", f"random points {panel.reference:.4g}"))
    return traces


def _overflows(grid: Grid, panel: Panel, nonfinite: Array) -> Json:
    """Crosses along the upper edge of the first panel where runs overflowed."""
    values = with_level(panel)
    top = float(np.nanmax(np.where(np.isfinite(values), values, np.nan))) if np.isfinite(values).any() else 1.0
    at = nonfinite > 0
    runs = panel.spread.values.shape[-1]
    counts = zip(grid.lr[at], nonfinite[at], strict=True)
    told = [f"{grid.short} {grid.text(lr)}: {n} of {runs} runs non-finite" for lr, n in counts]
    return {
        "type": "scatter",
        "x": numbers(grid.lr[at]),
        "y": [top] * int(at.sum()),
        "yaxis": "y3",
        "mode": "markers",
        "marker": {"symbol": "x", "size": 9, "color": style.LOST},
        "text": told,
        "hovertemplate": "%{text}<extra></extra>",
        "name": "non-finite runs",
    }
