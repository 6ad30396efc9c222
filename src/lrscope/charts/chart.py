"""Charts as data: panels on a grid, each with two axes and layers. A chart names no drawing library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from lrscope.charts.layers import Image, Layer
from lrscope.checked import Count, checked_fields
from lrscope.errors import LrscopeError
from lrscope.readers import Whole


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a panel.

    Args:
        title: beside the axis; empty: none.
        short: what it is called where a pointer reads a value; empty: the title.
        log: logarithmic. Points that are not positive are left out, and the panel says how many.
        limits: its ends, in any order; None: all that is drawn, with some air.
        ticks: (place, text) pairs instead of numbers.
        bare: no line, grid or numbers, only `ticks`; a reader cannot zoom along it.
    """

    title: str = ""
    short: str = ""
    log: bool = False
    limits: tuple[float, float] | None = None
    ticks: Sequence[tuple[float, str]] | None = None
    bare: bool = False

    def __post_init__(self) -> None:
        if self.limits is not None and (self.limits[0] == self.limits[1] or (self.log and min(self.limits) <= 0)):
            raise LrscopeError(
                f"limits: {self.limits} are the ends of no {'logarithmic ' if self.log else ''}axis: "
                f"pass two different {'positive ' if self.log else ''}numbers"
            )


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Panel:
    """Layers over one pair of axes, the first at the bottom. `height`: of what they enclose, in pixels; None: the chart's."""

    title: str = ""
    x: Axis = Axis()
    y: Axis = Axis()
    layers: Sequence[Layer] = ()
    height: Annotated[int | None, Whole(1, 5_000)] = None

    @property
    def image(self) -> Image | None:
        """The picture of a panel that is one."""
        return next((layer for layer in self.layers if isinstance(layer, Image)), None)


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Chart:
    """Panels row by row, with one colour scale for everything that carries a `value` and for heat maps, or one for each panel.

    Args:
        columns: panels beside each other; a narrow screen has one (of pictures two).
        share_x, share_y: all panels have the same axis, numbers stand at the outer ones, and zooming one zooms all.
        color_title: what the colour scale means, such as "effective learning rate (ELR)".
        color_log: the scale is logarithmic, unless some value is not positive.
        own_colors: every panel has a colour scale of its own, upright beside it and without a title.
        legend_title: what the legend's names are of.
    """

    panels: Sequence[Panel]
    columns: Count = 3
    share_x: bool = False
    share_y: bool = False
    color_title: str = ""
    color_log: bool = True
    own_colors: bool = False
    legend_title: str = ""

    def __post_init__(self) -> None:
        if not self.panels:
            raise LrscopeError("panels: the chart has none: pass one or more")

    @property
    def layers(self) -> Iterator[Layer]:
        """All layers of all panels."""
        return (layer for panel in self.panels for layer in panel.layers)
