"""Level sets along the floor of a valley that is narrower than the rows of a grid are apart.

H x W values of a landscape over rows y [H] and columns. A valley runs across the columns, as one does along the first
component of a training path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lrscope.landscapes.level_sets import OPEN
from lrscope.studies.arrays import Array

FINER = 4  # ours: parts into which the distance of two rows is cut
LEAST = 3  # ours: columns of the grid whose floor lies in a set that is resolved
EDGE = 2  # ours: a lowest floor in so many columns beside the frame may be that of a bowl whose middle lies beyond it


@dataclass(frozen=True)
class ValleySet:
    """A level set as its floor shows it.

    Attributes:
        verdict: `open`, `closed` or `undetermined`, by the rule of `landscapes.level_sets`.
        lowest: the lowest floor.
        closing: the pass from there to the frame: the highest floor on the way to the first or the last column, or to a column
            and along it to the first or the last row, whichever is lowest.
        rise: height of that pass over that of the level, both from the lowest floor.
        columns: how many columns' floors are in the set.
    """

    verdict: str
    lowest: float
    closing: float
    rise: float
    columns: int


def finer_rows(values: Array, y: Array) -> Array:
    """Where to look for the floor [W, M]: between the rows beside each column's lowest value."""
    lowest = np.where(np.isfinite(values), values, np.inf).argmin(0)
    first, last = y[np.maximum(lowest - 1, 0)], y[np.minimum(lowest + 1, len(y) - 1)]
    parts = np.arange(1, 2 * FINER) / (2 * FINER)
    return np.asarray(first[:, None] + (last - first)[:, None] * parts)


def valley_set(values: Array, finer: Array, level: float) -> ValleySet:
    """The level set that holds the lowest floor.

    Args:
        values: on the grid [H, W]; what is not finite lies above every level.
        finer: at `finer_rows` [W, M].
        level: in the values' unit.
    """
    grid, between = (np.where(np.isfinite(v), v, np.inf) for v in (values, finer))
    floor = np.minimum(grid.min(0), between.min(1))
    place = int(floor.argmin())
    reached = _highest_between(floor, place)
    aside = [
        min(column[: row + 1].max(), column[row:].max()) for column, row in zip(grid.T, grid.argmin(0), strict=True)
    ]
    lowest, closing = float(floor[place]), float(min(reached[0], reached[-1], np.maximum(reached, aside).min()))
    rise = (closing - lowest) / (level - lowest) if level > lowest else np.nan
    columns = int((reached <= level).sum())
    inside = EDGE <= place < len(floor) - EDGE
    return ValleySet(_verdict(rise, columns) if inside else "undetermined", lowest, closing, rise, columns)


def _highest_between(floor: Array, place: int) -> Array:
    """The highest floor on the way from a column to each other one [W]."""
    left = np.maximum.accumulate(floor[: place + 1][::-1])[::-1]
    return np.concatenate([left, np.maximum.accumulate(floor[place:])[1:]])


def _verdict(rise: float, columns: int) -> str:
    if columns < LEAST or np.isnan(rise):
        return "undetermined"
    if rise > 1:
        return "closed"
    return "open" if rise <= OPEN else "undetermined"
