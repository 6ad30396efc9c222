"""A valid example of every layer that a chart can have, and what must hold for every chart."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np

from lrscope import charts
from lrscope.charts import style
from lrscope.charts.scene import scenes

X = np.array([1e-3, 1e-2, 1e-1])
Y = np.array([3.0, 2.0, 1.0])

# The arguments by class; a layer without an entry fails the contract suite.
LAYERS: dict[type, dict[str, Any]] = {
    charts.Line: {"x": X, "y": Y, "name": "mean", "value": None, "low": Y - 0.5, "high": Y + 0.5, "mark": "end"},
    charts.Points: {"x": X, "y": Y, "name": "single runs", "colors": ["#ff0000", "#00ff00", "#0000ff"], "opacity": 0.5},
    charts.Band: {"x": X, "low": Y - 0.5, "high": Y + 0.5, "name": "range"},
    charts.ErrorBars: {"x": X, "y": Y, "low": Y - 0.5, "high": Y + 0.5, "name": "intervals", "along": "y"},
    charts.Span: {"low": 1e-3, "high": 1e-2, "label": "first", "color": "#0072B2", "pattern": "none"},
    charts.Border: {"x": 1e-2, "low": 5e-3, "high": 2e-2, "dotted": True},
    charts.Level: {"y": 2.5, "label": "chance"},
    charts.Note: {"x": 1e-2, "y": 2.0, "words": "a note", "short": "n", "side": "left", "bold": True},
    charts.HeatMap: {"x": X, "y": Y[::-1], "values": np.outer(Y, X), "contours": 3, "filled": True},
    charts.Image: {"values": np.ones((2, 2)), "low": None, "viridis": False},
}


def example(kind: type, **changes: Any) -> Any:
    """The example of a layer, with some arguments changed."""
    return kind(**{**LAYERS[kind], **changes})


def panel(*layers: Any, log: bool = True, **more: Any) -> charts.Panel:
    """Layers over a logarithmic and a linear axis (or a linear and a logarithmic one)."""
    x, y = charts.Axis(title="ELR", log=log), charts.Axis(title="nats", log=not log)
    return charts.Panel(title="loss", x=x, y=y, layers=layers, **more)


def chart(*layers: Any, log: bool = True, **more: Any) -> charts.Chart:
    """A chart of one panel."""
    return charts.Chart(panels=[panel(*layers, log=log)], color_title="ELR", **more)


def check_legend(drawn: charts.Chart) -> None:
    """Every line and cloud is named, on the colour scale, or drawn in a colour that is explained beside it (GREY: lines to
    compare with; the start's marks have hover texts); no two entries of the legend look alike."""
    looks: dict[tuple[Any, ...], set[str]] = {}
    for scene in scenes(drawn):
        for layer in scene.panel.layers:
            if not isinstance(layer, charts.Line | charts.Points | charts.Band) or getattr(layer, "opacity", 1) == 0:
                continue
            explained = layer.name or layer.value is not None or getattr(layer, "told", None)
            assert explained or layer.color == style.GREY, (scene.panel.title, layer.color)
            if layer.name:
                marked = isinstance(layer, charts.Points) or getattr(layer, "mark", "line") != "line"
                mark = (getattr(layer, "symbol", ""), getattr(layer, "hollow", False)) if marked else ()
                kind = type(layer).__name__
                look = (kind, scene.color(layer), mark, getattr(layer, "dashed", False))
                looks.setdefault(look, set()).add(layer.name)
    assert not [names for names in looks.values() if len(names) > 1], looks


def check_drawn(drawn: charts.Chart) -> None:
    """Both renderers take the chart, without a warning, and its legend is sound."""
    check_legend(drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        json.dumps(charts.to_plotly(drawn), allow_nan=False)
        charts.to_matplotlib(drawn).draw_without_rendering()
