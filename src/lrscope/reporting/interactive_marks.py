"""Traces and colour bars that several interactive figures use."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lrscope.reporting import style
from lrscope.reporting.frames import Array, Grid
from lrscope.reporting.interactive_canvas import BELOW, Json, note, numbers, plain
from lrscope.reporting.start import Start
from lrscope.reporting.text import rate, scientific


def level(grid: Grid, at: float, y: str, name: str, told: str) -> Json:
    """A dashed horizontal line across a panel over learning rates."""
    return {
        "type": "scatter",
        "x": numbers(np.geomspace(grid.edges[0], grid.edges[-1], 30)),
        "y": numbers([at] * 30),
        "yaxis": y,
        "mode": "lines",
        "line": {"color": style.INK, "width": 1.5, "dash": "dash"},
        "hovertemplate": plain(told) + "<extra></extra>",
        "name": name,
    }


def band(x: Array, low: Array, high: Array, color: str, alpha: float = 0.2) -> Json:
    """A filled range as closed polygons, one per stretch of finite values, all (n,)."""
    told = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    xs: list[float | None] = []
    ys: list[float | None] = []
    for part in np.split(np.arange(x.size), np.flatnonzero(np.diff(told.astype(int))) + 1):
        if not told[part[0]]:
            continue
        back = part[::-1]
        xs += [*([None] if xs else []), *numbers(x[part]), *numbers(x[back])]
        ys += [*([None] if ys else []), *numbers(low[part]), *numbers(high[back])]
    return {
        "type": "scatter",
        "x": xs,
        "y": ys,
        "mode": "lines",
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": style.rgba(color, alpha),
        "hoverinfo": "skip",
        "showlegend": False,
    }


def log_bar(layout: Json, values: Array, title: str) -> None:
    """A colour bar for positive values on a log scale, labelled at the decades."""
    low, high = math.log10(float(values.min())), math.log10(float(values.max()))
    decades = list(range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1))
    marks = [(float(d), f"10<sup>{d}</sup>") for d in decades[:: max(1, len(decades) // 6)]]
    if len(marks) < 2:
        marks = [(e, scientific(10**e)) for e in sorted({low, high})]
    colour_bar(layout, (low, high), marks, title)


def count_bar(layout: Json, count: int, title: str) -> None:
    """A colour bar for the whole numbers from 1 to `count`."""
    marks = sorted({1, *(round(1 + i * (count - 1) / 4) for i in range(5)), count})
    colour_bar(layout, (1, count), [(float(m), str(m)) for m in marks], title)


def colour_bar(layout: Json, ends: tuple[float, float], marks: Sequence[tuple[float, str]], title: str) -> None:
    """A horizontal colour bar in the room below the panels; needs `carrier()` among the traces to be drawn."""
    if ends[0] == ends[1]:
        ends = (ends[0] - 0.5, ends[1] + 0.5)
    plotting = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
    layout["coloraxis"] = {
        "cmin": ends[0],
        "cmax": ends[1],
        "colorscale": style.colorscale(),
        "colorbar": {
            "orientation": "h",
            "thickness": 10,
            "len": 1,
            "x": 0.5,
            "xanchor": "center",
            "xpad": 0,
            "y": -(BELOW + 22) / plotting,
            "yanchor": "top",
            "ypad": 0,
            "outlinewidth": 0,
            "tickvals": [m[0] for m in marks],
            "ticktext": [m[1] for m in marks],
            "tickfont": {"size": 11},
        },
    }
    place = {"x": 0.5, "y": -(BELOW + 20) / plotting, "xanchor": "center", "font": {"size": 12}}
    layout["annotations"].append(note(plain(title, 90), **place))


def carrier() -> Json:
    """An invisible trace: Plotly draws a layout's colour bar only if some trace refers to it."""
    hidden = {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "showlegend": False, "hoverinfo": "skip"}
    return hidden | {"marker": {"color": [1], "coloraxis": "coloraxis"}}


def row_words(words: str, row: int, at: float, *, right: bool, color: str = style.INK) -> Json:
    """Words in a row of the map, right or left of a learning rate."""
    place = {"x": math.log10(at), "xref": "x", "xanchor": "left" if right else "right", "xshift": 8 if right else -8}
    look = {"yanchor": "middle", "showarrow": False, "font": {"size": 12, "color": color}}
    return {"text": words, "y": row, "yref": "y2"} | place | look


def start_marks(found: Start, row: int) -> list[Json]:
    """The recommended range as a thick line with a star at the best, what is left open as a thin one, the cliff as a cross."""
    common: Json = {"type": "scatter", "yaxis": "y2", "showlegend": False}
    thin = {"mode": "lines", "line": {"color": style.START, "width": 1.6}, "hoverinfo": "skip"}
    thick = {"mode": "lines", "line": {"color": style.START, "width": 6}, "hoverinfo": "skip"}
    told = [f"start: {found.words}<br>best: {rate(found.best)}"]
    if (found.open_low, found.open_high) != (found.low, found.high):
        told.append(f"left open by the seeds: {rate(found.open_low)} to {rate(found.open_high)}")
    star = {
        "mode": "markers",
        "marker": {"symbol": "star", "size": 13, "color": style.START, "line": {"width": 1, "color": "#ffffff"}},
        "text": ["<br>".join(told)],
        "hovertemplate": "%{text}<extra></extra>",
    }
    traces = [
        common | thin | {"x": numbers([found.open_low, found.open_high]), "y": [row, row]},
        common | thick | {"x": numbers([found.low, found.high]), "y": [row, row]},
        common | star | {"x": numbers([found.best]), "y": [row]},
    ]
    if found.cliff is not None:
        cross = {"symbol": "x", "size": 8, "color": style.LOST}
        words = {"text": [f"seeds are lost from {rate(found.cliff)} on"], "hovertemplate": "%{text}<extra></extra>"}
        traces.append(common | words | {"mode": "markers", "marker": cross, "x": numbers([found.cliff]), "y": [row]})
    return traces


def start_words(grid: Grid, found: Start, row: int, *, narrow: bool) -> Json:
    """The recommended range in numbers beside its marks, on the side where there is room; phones show the best alone."""
    at, right = found.words_at(grid)
    return row_words(f"<b>{rate(found.best) if narrow else found.words}</b>", row, at, right=right)
