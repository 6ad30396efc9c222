"""Layouts of the interactive figures: panels on a grid, axes, shaded regimes. Plain dictionaries for Plotly.js.

A figure is `{"data": traces, "wide": layout, "narrow": layout}`; the page takes `narrow` below 640 px.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrscope.reporting import style
from lrscope.reporting.frames import Array, Backdrop, Grid, log_marks
from lrscope.reporting.text import number, shorten

Json = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
PANEL_HEIGHT = 250  # px, of a panel's plotting area
ABOVE, BELOW = 46, 46  # px kept free above a panel (title, regimes) and below it (ticks, axis title)
LEFT, RIGHT = 58, 14


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Where a panel lies, in fractions of the plotting area, and its axes' numbers ("" for the first, as Plotly counts)."""

    number: str
    x: tuple[float, float]
    y: tuple[float, float]


def plain(words: str, length: int = 40) -> str:
    """Text from a result, safe inside Plotly's labels: its pseudo-HTML is escaped, its length bounded."""
    return html.escape(shorten(words, length), quote=False)


def numbers(values: Array | Iterable[float], digits: int = 5) -> list[float | None]:
    """Floats for JSON, rounded to what a screen can show; None where there is nothing to draw."""
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in map(float, np.asarray(values).ravel())]


def cells(count: int, columns: int, height: int = PANEL_HEIGHT) -> tuple[list[Cell], int]:
    """Places for `count` panels row by row, and the plotting area's height in px."""
    columns = min(columns, count)
    rows = -(-count // columns)
    total = rows * height + (rows - 1) * (ABOVE + BELOW)
    gap = 0.09 if columns > 1 else 0.0
    width = (1 - gap * (columns - 1)) / columns
    places = []
    for i in range(count):
        row, column = divmod(i, columns)
        top = 1 - row * (height + ABOVE + BELOW) / total
        left = column * (width + gap)
        right = min(1.0, left + width)
        places.append(Cell(number=str(i + 1) if i else "", x=(left, right), y=(max(0.0, top - height / total), top)))
    return places, total


def frame(height: int, *, bottom: int = 0, top: int = ABOVE, narrow: bool = False) -> Json:
    """The layout all figures share. `height` is the plotting area's; `bottom` the room for a legend or colour bar."""
    margin = {"l": LEFT - 8 if narrow else LEFT, "r": RIGHT, "t": top, "b": BELOW + bottom}
    return {
        "height": height + margin["t"] + margin["b"],
        "margin": margin,
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "font": {"family": FONT, "size": 12, "color": style.INK},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "namelength": -1, "font": {"family": FONT, "size": 12}},
        "dragmode": False if narrow else "zoom",
        "showlegend": True,
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            "font": {"size": 12},
            "bgcolor": "rgba(255,255,255,0)",
        },
        "shapes": [],
        "annotations": [],
    }


def axis(*, domain: tuple[float, float], anchor: str, log: bool, title: str = "", **more: Any) -> Json:
    """One axis with light grid lines; logarithmic axes are labelled in powers of ten."""
    made: Json = {
        "domain": list(domain),
        "anchor": anchor,
        "type": "log" if log else "linear",
        "gridcolor": style.GRID,
        "zeroline": False,
        "linecolor": "#aab0b8",
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "#aab0b8",
        "tickfont": {"size": 11},
        "automargin": False,
    }
    if log:
        made |= {"exponentformat": "power", "minor": {"ticks": "outside", "ticklen": 2, "tickcolor": "#aab0b8"}}
    if title:
        made["title"] = {"text": title, "standoff": 6, "font": {"size": 12}}
    return made | more


def lr_axis(grid: Grid, *, domain: tuple[float, float], anchor: str, title: bool = True, **more: Any) -> Json:
    """The shared axis of learning rates, from the first cell's edge to the last one's."""
    low, high = (float(v) for v in np.log10(grid.edges[[0, -1]]))
    words = grid.name if title else ""
    return axis(
        domain=domain, anchor=anchor, log=True, title=words, range=[low, high], **log_ticks(low, high), **more
    ) | {
        "showgrid": False  # regimes and borders are the vertical marks here
    }


def log_ticks(low: float, high: float) -> Json:
    """Ticks for a log axis between two exponents."""
    marks = log_marks(low, high)
    if marks is None:
        return {"dtick": math.ceil((high - low) / 6), "tickfont": {"size": 9}}  # Plotly draws powers a quarter larger
    return {"tickvals": marks, "ticktext": [number(m) for m in marks]}


def value_axis(values: Array, *, domain: tuple[float, float], anchor: str, log: bool, **more: Any) -> Json:
    """An axis that holds all finite values with some air; log ticks adapt to the number of decades."""
    finite = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not finite.size:
        return axis(domain=domain, anchor=anchor, log=False, range=[0, 1], showticklabels=False, **more)
    ends = np.log10([finite.min(), finite.max()]) if log else np.array([finite.min(), finite.max()])
    air = max(0.06 * (ends[1] - ends[0]), 0.04 if log else 0.02 * max(abs(ends[1]), 1e-9))
    low, high = float(ends[0] - air), float(ends[1] + air)
    ticks = log_ticks(low, high) if log else {"nticks": 6}
    return axis(domain=domain, anchor=anchor, log=log, range=[low, high], **ticks, **more)


def heading(cell: Cell, words: str) -> Json:
    """A panel's title, above its upper left corner: horizontal text reads best on a phone too."""
    return note(words, x=cell.x[0], y=cell.y[1], xanchor="left", yshift=20, font={"size": 13, "color": style.INK})


def empty_note(cell: Cell, words: str = "no finite values") -> Json:
    """What a panel says when it has nothing to draw."""
    place = {"x": sum(cell.x) / 2, "y": cell.y[0] + (cell.y[1] - cell.y[0]) / 4}  # below a reference line, if any
    return note(words, **place, xanchor="center", font={"size": 12, "color": style.MUTED})


def note(words: str, **place: Any) -> Json:
    """Text placed in fractions of the plotting area."""
    return {"text": words, "xref": "paper", "yref": "paper", "yanchor": "bottom", "showarrow": False} | place


def shade(layout: Json, cell: Cell, back: Backdrop, *, letters: bool = True) -> None:
    """Put regimes and borders behind the panel, and the regimes' letters above it."""
    x, y = "x" + cell.number, "y" + cell.number + " domain"
    for span in back.spans:
        color = style.REGIME_COLOR[span.regime]
        box = {"xref": x, "yref": y, "y0": 0, "y1": 1, "layer": "below"}
        layout["shapes"].append(
            box
            | {
                "type": "rect",
                "x0": span.low,
                "x1": span.high,
                "line": {"width": 0},
                "fillcolor": style.rgba(color, 0.12),
            }
        )
        if letters:
            layout["annotations"].append(
                {
                    "text": f"<b>{span.regime}</b>",
                    "x": (math.log10(span.low) + math.log10(span.high)) / 2,
                    "xref": x,
                    "y": 1,
                    "yref": y,
                    "yanchor": "bottom",
                    "yshift": 1,
                    "showarrow": False,
                    "font": {"size": 11, "color": style.INK},
                    "bgcolor": style.rgba(color, 0.25),
                    "borderpad": 1,
                }
            )
    layout["shapes"] += border_shapes(back, x, y)


def border_shapes(back: Backdrop, x: str, y: str) -> list[Json]:
    """Each border as a line (dotted between 2A and 2B) with its interval as a grey band."""
    shapes: list[Json] = []
    for border in back.borders:
        box = {"xref": x, "yref": y, "y0": 0, "y1": 1, "layer": "below"}
        if border.low is not None and border.high is not None:
            band = {"type": "rect", "x0": border.low, "x1": border.high, "line": {"width": 0}}
            shapes.append(box | band | {"fillcolor": style.rgba(style.INK, 0.07)})
        dash = "dot" if border.between == "2A|2B" else "dash"
        line = {
            "type": "line",
            "x0": border.lr,
            "x1": border.lr,
            "line": {"color": style.INK, "width": 1.3, "dash": dash},
        }
        shapes.append(box | line)
    return shapes


def legend_room(entries: int, per_row: int) -> int:
    """px below the axis title for a legend of so many entries."""
    return 22 * -(-entries // per_row) + 8


def figure(data: Sequence[Json], lay_out: Callable[[bool], Json]) -> Json:
    """Traces with the layouts for wide and for narrow screens."""
    return {"data": list(data), "wide": lay_out(False), "narrow": lay_out(True)}
