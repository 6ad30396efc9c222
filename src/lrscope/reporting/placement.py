"""Where the words of a row stand on the map: beside the row's marks, or below them where neither side has room."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lrscope.reporting.frames import Grid

WIDE, NARROW = 500, 220  # ours, px: the least width that the axis has on a page of 640 px and on a phone's of 320
LETTER, AIR = 6, 12  # px of a letter, blanks and points included, and between marks and words


@dataclass(frozen=True, kw_only=True)
class Place:
    """Beside which learning rate words stand, on which of its sides, and whether below the marks."""

    x: float
    side: str
    below: bool = False


def place(
    grid: Grid, words: str, short: str, *, low: float, high: float, middle: float, until: float | None = None
) -> Place:
    """The side with more room, if words fit there; otherwise below the marks, as near to their middle as the axis has room.

    Args:
        grid: the axis.
        words, short: what is written on a wide page, and on a narrow one.
        low, high: where the row's marks end.
        middle: what the words are about.
        until: where the room right of the marks ends, if not at the axis' end.
    """
    first, last = (float(edge) for edge in grid.edges[[0, -1]])
    whole = math.log(last / first)
    left, right = math.log(low / first) / whole, math.log((until or last) / high) / whole
    needed = max((LETTER * len(text) + AIR) / width for text, width in ((words, WIDE), (short, NARROW)))
    if max(left, right) >= needed:
        return Place(x=high, side="right") if right > left else Place(x=low, side="left")
    at = math.log(middle / first) / whole
    if needed / 2 <= at <= 1 - needed / 2:
        return Place(x=middle, side="center", below=True)
    return Place(x=first, side="right", below=True) if at < 0.5 else Place(x=last, side="left", below=True)
