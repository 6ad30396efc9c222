"""What a figure is, and its two renderers.

A `Chart` is panels on a grid; a `Panel` two axes and layers (`Line`, `Points`, `Band`, `ErrorBars`, `Span`, `Border`, `Level`,
`Note`, `HeatMap`, `Image`). Charts are made from arrays by plain functions, in the report and in the studies, and drawn by
`to_matplotlib` for papers and by `to_plotly` for pages. What the two must agree on (colours, ends of axes, the legend, what
a log axis leaves out) is worked out once, in `scene`; where panels lie in `layout`. Renderers know layers, nothing else.
Read `chart`, `layers`, `scene`. Drawing libraries load on use.

A new layer is a class in `layers` and a function in each renderer's table; the contract suite draws it in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrscope.charts.chart import Axis, Chart, Panel
from lrscope.charts.layers import (
    LAYERS,
    Band,
    Border,
    ErrorBars,
    HeatMap,
    Image,
    Layer,
    Level,
    Line,
    Note,
    Points,
    Span,
)

if TYPE_CHECKING:
    from lrscope.charts.draw_matplotlib import to_matplotlib
    from lrscope.charts.draw_plotly import to_plotly

__all__ = [
    "LAYERS",
    "Axis",
    "Band",
    "Border",
    "Chart",
    "ErrorBars",
    "HeatMap",
    "Image",
    "Layer",
    "Level",
    "Line",
    "Note",
    "Panel",
    "Points",
    "Span",
    "to_matplotlib",
    "to_plotly",
]


def __getattr__(name: str) -> Any:
    """Load a renderer with its library when it is asked for."""
    import importlib

    if name not in ("to_matplotlib", "to_plotly"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.draw_{name.removeprefix('to_')}"), name)
