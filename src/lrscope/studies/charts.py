"""Charts as data: panels of lines and points, or pictures, drawn by matplotlib for papers and by Plotly for the page.

N points of a line, H x W pixels. A figure of a study returns a `Chart`; it never names a drawing library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrscope.checked import Count, checked_fields
from lrscope.errors import LrscopeError
from lrscope.options import Real

Array = NDArray[np.floating[Any]]


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Line:
    """A line or a cloud of points.

    Args:
        x, y: [N]; NaN breaks a line.
        value: what its colour means on the chart's colour scale (such as the ELR); None: `color` or ink.
        low, high: [N], the edges of a band.
        mark: `line`, `points` or `both`; `end`: a line with a mark at its last point.
        dashed: dashed instead of solid.
        name: for the legend; empty: none (lines with a `value` are told apart by the colour bar).
    """

    x: Array
    y: Array
    name: str = ""
    value: Annotated[float | None, Real()] = None
    color: str | None = None
    low: Array | None = None
    high: Array | None = None
    mark: Literal["line", "points", "both", "end"] = "line"
    dashed: bool = False

    def __post_init__(self) -> None:
        sizes = {n: np.shape(v) for n in ("x", "y", "low", "high") if (v := getattr(self, n)) is not None}
        if len(set(sizes.values())) > 1 or len(sizes["x"]) != 1:
            raise LrscopeError(
                f"line: the shapes of {', '.join(sizes)} are {list(sizes.values())}: pass as many points of each"
            )


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Image:
    """A picture, its first row on top.

    Args:
        values: [H, W, 3] red, green and blue, cut off at 0 and 1; or [H, W], drawn from black at `low` to white at `high`
            (or along viridis). NaN: nothing is there, a light grey.
        low, high: ends of the scale of [H, W]; None: the least and the greatest value.
        viridis: colours instead of greys for [H, W].

    Raises:
        LrscopeError: another shape.
    """

    values: Array
    low: float | None = None
    high: float | None = None
    viridis: bool = False

    def __post_init__(self) -> None:
        shape = np.shape(self.values)
        if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
            raise LrscopeError(f"image: its shape is {shape}: pass [height, width] or [height, width, 3]")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Panel:
    """One set of axes. `spans`: stretches of the x axis by regime (low, high, label), `borders`: dashed vertical lines,
    `levels`: horizontal lines (y, name). With an `image` it is that picture under its title, and all else is left out."""

    title: str
    x_title: str = ""
    y_title: str = ""
    lines: Sequence[Line] = ()
    log_x: bool = False
    log_y: bool = False
    spans: Sequence[tuple[float, float, str]] = ()
    borders: Sequence[float] = ()
    levels: Sequence[tuple[float, str]] = ()
    image: Image | None = None


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Chart:
    """Panels row by row, with one colour scale for all lines that carry a `value`."""

    panels: Sequence[Panel]
    columns: Count = 3
    color_title: str = ""  # such as "effective learning rate (ELR)"
    color_log: bool = True
