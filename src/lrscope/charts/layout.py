"""Where panels lie, in pixels: their rows, the room around them, and the room that a legend takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lrscope.charts.chart import Chart, Panel
from lrscope.charts.layers import Span

SINGLE_HEIGHT, HEIGHT, IMAGE_HEIGHT = 320, 260, 130  # of a panel's plotting area
NARROW_IMAGES = 2  # pictures beside each other on a narrow screen
WIDE, NARROW = 600, 310  # what a legend may count on
ENTRY, LETTER = 44, 7  # of a legend's entry without its name, and of a letter of it
TITLE, LETTERS, AIR = 26, 18, 6  # above a panel
NUMBERS, AXIS_TITLE = 24, 22  # below it
GAP = 0.09  # between columns, of the plotting area's width
BAR_GAP = 0.2  # the same where colour bars stand between them


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A panel's place in fractions of the plotting area, from the bottom; do numbers stand at its axes; its title's height."""

    x: tuple[float, float]
    y: tuple[float, float]
    numbers_x: bool
    numbers_y: bool
    title_shift: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """All cells, the pixels of the plotting area (gaps between rows included) and above and below it, and its rows."""

    cells: Sequence[Cell]
    height: int
    top: int
    bottom: int
    rows: Sequence[int]
    columns: int


def arrange(chart: Chart, *, narrow: bool) -> Layout:
    """Place the panels row by row."""
    pictures = all(panel.image is not None for panel in chart.panels)
    columns = min((NARROW_IMAGES if pictures else 1) if narrow else chart.columns, len(chart.panels))
    usual = IMAGE_HEIGHT if pictures else SINGLE_HEIGHT if len(chart.panels) == 1 else HEIGHT
    panels = list(chart.panels)
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [max(panel.height or usual for panel in row) for row in rows]
    above = [max(_above(panel, row) for panel in row) for row in rows]
    below = [
        max(_below(p, _lowest(chart, columns, r * columns + c)) for c, p in enumerate(row))
        for r, row in enumerate(rows)
    ]
    total = sum(heights) + sum(below[:-1]) + sum(above[1:])
    cells: list[Cell] = []
    for r, row in enumerate(rows):
        top = sum(heights[:r]) + sum(below[:r]) + sum(above[1 : r + 1])
        y = max(0.0, 1 - (top + heights[r]) / total), 1 - top / total
        for c in range(len(row)):
            numbers_x, numbers_y = _lowest(chart, columns, len(cells)), not (chart.share_y and c)
            x, shift = _across(c, columns, BAR_GAP if chart.own_colors else GAP), above[r] - TITLE
            cells.append(Cell(x=x, y=y, numbers_x=numbers_x, numbers_y=numbers_y, title_shift=shift))
    return Layout(cells=cells, height=total, top=above[0], bottom=below[-1], rows=heights, columns=columns)


def _across(column: int, columns: int, between: float) -> tuple[float, float]:
    """The left and right end of a column."""
    gap = between if columns > 1 else 0.0
    width = (1 - gap * (columns - 1)) / columns
    return column * (width + gap), min(1.0, column * (width + gap) + width)


def legend_rows(names: Sequence[str], width: int) -> int:
    """How many rows a legend takes in so many pixels."""
    rows, at = 0, width
    for name in names:
        at += ENTRY + LETTER * len(name)
        if at > width:
            rows, at = rows + 1, ENTRY + LETTER * len(name)
    return rows


def lettered(panels: Sequence[Panel]) -> bool:
    """Does any of the panels have labels above it?"""
    return any(isinstance(la, Span) and la.place == "above" and la.label for panel in panels for la in panel.layers)


def _above(panel: Panel, row: Sequence[Panel]) -> int:
    return (TITLE if panel.title else AIR) + (LETTERS if lettered(row) else 0)


def _below(panel: Panel, numbered: bool) -> int:
    if panel.image is not None or panel.x.bare or not numbered:
        return AIR
    return NUMBERS + (AXIS_TITLE if panel.x.title else 0)


def _lowest(chart: Chart, columns: int, at: int) -> bool:
    """Do numbers stand below this panel: has it an axis of its own, or is it the last of its column?"""
    return not chart.share_x or at + columns >= len(chart.panels)
