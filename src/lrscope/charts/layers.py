"""What a panel shows, layer by layer. A layer holds arrays and looks; no drawing library knows it, and it knows none.

N points, W x H cells of a heat map or pixels of a picture. NaN is nowhere drawn. A `name` is an entry in the legend, one
for all layers that share it; a `value` (such as the ELR) is a colour on the chart's colour scale. `told` is what a pointer
reads at a point.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from lrscope.charts.style import INK, MUTED, PATTERNS, SYMBOLS
from lrscope.checked import Positive, checked_fields
from lrscope.errors import LrscopeError, shown
from lrscope.readers import Number, Real, Whole, Word

Place = Annotated[float, Real()]
Value = Annotated[float | None, Real()]
Opacity = Annotated[float, Number(0, 1)]
Symbol = Annotated[str, Word(tuple(SYMBOLS))]


def _check(layer: object, *names: str) -> None:
    """Refuse arrays of a layer that do not hold one number per point, half a range, and colours that are none."""
    kind = type(layer).__name__.lower()
    sizes = {n: np.shape(v) for n in names if (v := getattr(layer, n)) is not None}
    if len(set(sizes.values())) > 1 or any(len(size) != 1 for size in sizes.values()):
        raise LrscopeError(
            f"{kind}: the shapes of {', '.join(sizes)} are {list(sizes.values())}: pass as many points of each"
        )
    if (getattr(layer, "low", None) is None) != (getattr(layer, "high", None) is None):
        raise LrscopeError(f"{kind}: low and high are the ends of one range: pass both, or neither")
    for color in (getattr(layer, "color", None), *(getattr(layer, "colors", None) or ())):
        if color is not None and not re.fullmatch("#[0-9a-fA-F]{6}", color):
            raise LrscopeError(f"color: {shown(color)} is not red, green and blue as #rrggbb: pass one such as {INK!r}")


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a legend or the colour scale explains; `color`: instead of the colour of its value, or of ink."""

    name: str = ""
    value: Value = None
    color: str | None = None


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Line(Named):
    """A line, with a band around it and marks on it if wanted.

    Args:
        x, y: [N]; NaN breaks the line.
        low, high: [N], the edges of the band.
        mark: `line`; `both`: marks at all points; `end`: a mark at the last one.
        width, size: of the line and of a mark, in pixels.
        told: [N] texts; None: the line's name and the point's place.
        key: lines of one key are brought forward together by a page that offers it; their bands are seen only then.
    """

    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    mark: Literal["line", "both", "end"] = "line"
    symbol: Symbol = "circle"
    hollow: bool = False
    dashed: bool = False
    width: Positive = 1.8
    size: Positive = 6.0
    told: Sequence[str] | None = None
    key: Annotated[int | None, Whole(0, 1_000_000)] = None

    def __post_init__(self) -> None:
        _check(self, "x", "y", "low", "high", "told")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Points(Named):
    """A cloud of points, such as single runs behind their mean. `colors`: [N], one each, instead of `color`; `rim`: white
    around a mark, so that it stands out on others; `opacity` 0: only what is told there."""

    x: ArrayLike
    y: ArrayLike
    colors: Sequence[str] | None = None
    symbol: Symbol = "circle"
    hollow: bool = False
    rim: bool = False
    size: Positive = 6.0
    opacity: Opacity = 1.0
    told: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check(self, "x", "y", "colors", "told")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Band(Named):
    """A range [N] without a line, such as that of runs too many to draw."""

    x: ArrayLike
    low: ArrayLike
    high: ArrayLike
    opacity: Opacity = 0.2

    def __post_init__(self) -> None:
        _check(self, "x", "low", "high")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class ErrorBars(Named):
    """Marks with whiskers from `low` to `high` [N], up and down (`along` y) or sideways."""

    x: ArrayLike
    y: ArrayLike
    low: ArrayLike
    high: ArrayLike
    along: Literal["x", "y"] = "y"
    symbol: Symbol = "circle"
    size: Positive = 6.0
    told: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check(self, "x", "y", "low", "high", "told")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Span:
    """A shaded stretch of the x axis. Its label stands `above` the panel, `inside` it, or nowhere. With a `pattern` (Plotly's
    names) it is a hatched block."""

    low: Place
    high: Place
    label: str = ""
    color: str = MUTED
    place: Literal["above", "inside", "none"] = "above"
    pattern: Annotated[str, Word(PATTERNS)] = "none"

    def __post_init__(self) -> None:
        _check(self)


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Border:
    """A vertical line at `x`, dashed or dotted, over the interval from `low` to `high` if it has one."""

    x: Place
    low: Value = None
    high: Value = None
    dotted: bool = False

    def __post_init__(self) -> None:
        _check(self)


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Level:
    """A dashed horizontal line to compare with (chance, a floor, a random guess), its label written at the end with more room."""

    y: Place
    label: str


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Note:
    """Words beside a point (`right` or `left` of it) or over it; `short`: instead of them on a narrow screen."""

    x: Place
    y: Place
    words: str
    short: str = ""
    side: Annotated[str, Word(("left", "right", "center"))] = "right"
    bold: bool = False
    color: str = INK

    def __post_init__(self) -> None:
        _check(self)


@checked_fields
@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Values [H, W] over a plane with coordinates x [W] and y [H], in the chart's colours; lines go on top of it.

    Args:
        contours: how many levels are traced, evenly spaced on the colour scale.
        traced: a level that is traced too, by a thick white line.
        filled: False: only the contours, in ink (of another quantity over a first heat map).

    Raises:
        LrscopeError: shapes that do not fit, or coordinates that do not rise.
    """

    x: ArrayLike
    y: ArrayLike
    values: ArrayLike
    title: str = "value"
    contours: Annotated[int, Whole(0, 100)] = 0
    filled: bool = True
    traced: Value = None

    def __post_init__(self) -> None:
        shapes = np.shape(self.y), np.shape(self.x)
        if any(len(s) != 1 or s[0] < 2 for s in shapes) or np.shape(self.values) != (*shapes[0], *shapes[1]):
            raise LrscopeError(
                f"heat map: y, x and values have shapes {shapes[0]}, {shapes[1]} and {np.shape(self.values)}: "
                "pass [H], [W] and [H, W], at least 2 each"
            )
        for name in ("x", "y"):
            if not (np.diff(np.asarray(getattr(self, name), dtype=float)) > 0).all():
                raise LrscopeError(
                    f"heat map: {name} does not rise from value to value: sort it and the values with it"
                )


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Image:
    """A picture, its first row on top; its panel shows nothing else.

    Args:
        values: [H, W, 3] red, green and blue, cut off at 0 and 1; or [H, W], drawn from black at `low` to white at `high`
            (or along viridis). NaN: nothing is there, a light grey.
        low, high: ends of the scale of [H, W]; None: the least and the greatest value.
        viridis: colours instead of greys for [H, W].

    Raises:
        LrscopeError: another shape.
    """

    values: ArrayLike
    low: float | None = None
    high: float | None = None
    viridis: bool = False

    def __post_init__(self) -> None:
        shape = np.shape(self.values)
        if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
            raise LrscopeError(f"image: its shape is {shape}: pass [height, width] or [height, width, 3]")


Layer: TypeAlias = Line | Points | Band | ErrorBars | Span | Border | Level | Note | HeatMap | Image
LAYERS: tuple[type, ...] = get_args(Layer)
