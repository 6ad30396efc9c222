"""Charts of the time of the decay: quality at the end against it, and what waiting longer gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Chart, Layer, Level, Line, Panel, Points, style
from lrscope.charts.text import number
from lrscope.decay import DecayCurve, DecayTime, decay_curves
from lrscope.decay.decay_curve import decaying
from lrscope.errors import LrscopeError
from lrscope.reporting.frames import Array, suits_log

NAMED = len(
    style.COLORS
)  # curves with a colour and an entry in the legend of their own; more are told apart by the scale
TIME = "decay of the learning rate (epoch)"


def reported(result: xr.DataTree, quality: str) -> dict[str, tuple[DecayCurve, ...]]:
    """The curves of each branch that has some; none of a single seed, and of no branch whose runs are all lost."""
    found = {}
    if result.sizes["data_seed"] * result.sizes["seed"] > 1:
        for node in decaying(result):
            try:
                found[node.name] = decay_curves(result, branch=node.name, of=quality)
            except LrscopeError:
                continue
    return found


def decay_chart(curves: Sequence[DecayCurve]) -> Chart:
    """Curves of one branch: quality at the end, with the main path's at the decay dashed, and gains of waiting."""
    looks = [_look(curve, k, curves) for k, curve in enumerate(curves)]
    ends = [layer for curve, look in zip(curves, looks, strict=True) for layer in _ends(curve, look)]
    gains = [_gain(curve, look) for curve, look in zip(curves, looks, strict=True)]
    values = np.array([row.value for curve in curves for row in curve.times if row.value is not None])
    log = curves[0].quality.endswith("loss") and suits_log(values)
    unit = curves[0].unit.partition(" ")[0]
    margin = Level(y=curves[0].margin, label="does not count")
    panels = [
        Panel(title=f"{curves[0].words} at the end", x=Axis(title=TIME), y=Axis(log=log), layers=ends),
        Panel(title=f"what waiting for the latest time gains ({unit})", x=Axis(title=TIME), layers=[margin, *gains]),
    ]
    return Chart(panels=panels, columns=2, color_title="learning rate", legend_title=curves[0].branch)


def _look(curve: DecayCurve, k: int, curves: Sequence[DecayCurve]) -> dict[str, Any]:
    if len(curves) > NAMED:
        return {"value": curve.lr}
    return {"name": curve.title.partition(", ")[2], "color": style.COLORS[k]}


def _ends(curve: DecayCurve, look: dict[str, Any]) -> list[Layer]:
    """The line with its intervals, the main path's, and a star where it saturates."""
    rows, x = curve.times, _x(curve)
    told = [_told(curve, row) for row in rows]
    before = _array([row.before for row in rows])
    layers: list[Layer] = []
    if np.isfinite(before).any():
        main = [f"main path at epoch {number(row.at)}\n{curve.words} {_said(row.before)}" for row in rows]
        layers.append(Line(x=x, y=before, dashed=True, width=1.2, told=main, **look | {"name": ""}))
    low, high = (_array([getattr(row, end) for row in rows]) for end in ("low", "high"))
    layers.append(Line(x=x, y=_array([row.value for row in rows]), low=low, high=high, mark="both", told=told, **look))
    at = next((row for row in rows if row.at == curve.saturation.at), None)
    if at is not None and at.value is not None:
        star = [f"saturation\n{curve.saturation}"]
        layers.append(
            Points(x=[at.at], y=[at.value], symbol="star", size=17, rim=True, told=star, **look | {"name": ""})
        )
    return layers


def _gain(curve: DecayCurve, look: dict[str, Any]) -> Line:
    low, middle, high = (_array([getattr(row, of) for row in curve.times]) for of in ("gain_low", "gain", "gain_high"))
    told = [f"decay at {number(row.at)}\nwaiting gains {_said(row.gain)}" for row in curve.times]
    return Line(x=_x(curve), y=middle, low=low, high=high, mark="both", told=told, **look | {"name": ""})


def _x(curve: DecayCurve) -> Array:
    return np.array([row.at for row in curve.times])


def _array(values: list[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values])


def _told(curve: DecayCurve, row: DecayTime) -> str:
    return f"decay at {number(row.at)}, end at {number(row.end)}\n{curve.words} {_said(row.value)}\n{row.runs} runs"


def _said(value: float | None) -> str:
    return "none" if value is None else number(value)
