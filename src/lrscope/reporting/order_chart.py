"""Charts of a learning order: when groups of examples are learned, how far orders agree, and accuracies along training."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from lrscope.charts import Axis, Chart, Layer, Line, Panel, Points, style
from lrscope.order.learning_order import SOURCES, curves_of
from lrscope.order.types import Agreement, GroupTime, LearningOrder, tau_text, time_text
from lrscope.reporting.frames import Array, Backdrop, Grid, shading, spread, thinned
from lrscope.reporting.phases import CurvePanel
from lrscope.schema import segment

NAMED = 12  # ours: groups with an entry in the legend, such as ten classes
BANDED = 6  # ours: more bands hide the lines
END = "end of training"
APART = 1.09  # between marks of groups that one learning rate does not reach, a factor


def order_chart(grid: Grid, back: Backdrop, order: LearningOrder) -> Chart:
    """Epochs to the level and mean ranks, a line per group, and Kendall's tau, against the learning rate."""
    panels = [_times(grid, back, order), _ranks(grid, back, order), _agreements(grid, back, order)]
    return Chart(panels=panels, columns=3, color_title="groups of examples, counted from 0", color_log=False)


def _rows(order: LearningOrder, group: str) -> list[GroupTime]:
    """A group's rows by learning rate."""
    return sorted((row for row in order.times if row.group == group), key=lambda row: row.lr)


def _look(order: LearningOrder, k: int) -> dict[str, Any]:
    """How a group looks: in the legend with a mark of its own, or told apart by the colour scale alone."""
    if len(order.groups) > NAMED:
        return {"value": k}
    return {"name": order.groups[k], "color": style.ramp(len(order.groups))[k], "symbol": style.symbol(k)}


def _line(order: LearningOrder, k: int, low: Array, high: Array, **places: Any) -> Line:
    """A group's line, with its range where few groups leave room for it."""
    ends: dict[str, Any] = {"low": low, "high": high} if len(order.groups) <= BANDED else {}
    mark: Any = "both" if len(order.groups) <= NAMED else "line"
    return Line(mark=mark, **places, **ends, **_look(order, k))


def _array(values: list[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values])


def _times(grid: Grid, back: Backdrop, order: LearningOrder) -> Panel:
    known = [end for row in order.times for end in (row.low, row.high) if end]
    first, last = (min(known) / 2, max(known)) if known else (0.5, 1.0)  # for bands that begin at 0 or do not end
    layers = [*shading(back), *_late_marks(grid, order, last)]
    for k, group in enumerate(order.groups):
        rows = _rows(order, group)
        epochs = _array([row.epoch for row in rows])
        low = _array([None if row.epoch is None else max(row.low or 0.0, first) for row in rows])
        high = _array([None if row.epoch is None else row.high or last for row in rows])
        told = [_told(grid, row) for row in rows]
        layers.append(_line(order, k, low, high, x=[row.lr for row in rows], y=epochs, told=told))
    title = f"epochs to {100 * order.level:g}% accuracy"
    return Panel(title=title, x=grid.axis, y=Axis(log=True), layers=layers)


def _late_marks(grid: Grid, order: LearningOrder, last: float) -> list[Layer]:
    """Hollow marks beyond the end of training, one above the other, of the groups that a learning rate does not bring there."""
    late = [row for row in order.times if row.epoch is None and row.runs]
    if not late:
        return []
    above = {
        lr: [g for g in order.groups if (lr, g) in {(row.lr, row.group) for row in late}] for lr in map(float, grid.lr)
    }
    ends = [float(grid.lr[0]), float(grid.lr[-1])]
    marks: list[Layer] = [Line(x=ends, y=[last, last], color=style.MUTED, dashed=True, width=1.2, told=[END, END])]
    for k, group in enumerate(order.groups):
        rows = [row for row in late if row.group == group]
        y = [last * APART ** (2 + above[row.lr].index(group)) for row in rows]
        told = [_told(grid, row) for row in rows]
        if rows:
            marks.append(
                Points(x=[row.lr for row in rows], y=y, hollow=True, told=told, **_look(order, k) | {"name": ""})
            )
    return marks


def _told(grid: Grid, row: GroupTime) -> str:
    return f"{row.group}\n{grid.short} {grid.text(row.lr)}\nepochs {time_text(row)}"


def _ranks(grid: Grid, back: Backdrop, order: LearningOrder) -> Panel:
    layers = shading(back)
    for k, group in enumerate(order.groups):
        rows = _rows(order, group)
        low, middle, high = (_array([getattr(row, name) for row in rows]) for name in ("rank_low", "rank", "rank_high"))
        layers.append(_line(order, k, low, high, x=[row.lr for row in rows], y=middle))
    ends = 0.5, len(order.groups) + 0.5
    return Panel(title="place in the order (1: first)", x=grid.axis, y=Axis(limits=ends), layers=layers)


def _agreements(grid: Grid, back: Backdrop, order: LearningOrder) -> Panel:
    lrs = [float(lr) for lr in grid.lr]
    first = order.reference
    others = [lr for lr in lrs if lr != first]
    itself = [order.between(lr, lr) for lr in lrs]
    words = f"with {grid.short} {grid.text(first)}"
    layers = [*shading(back), _tau_line(grid, lrs, itself, "between seeds", color=style.GREY, dashed=True)]
    if others:
        with_first = [order.between(first, lr) for lr in others]
        layers.append(_tau_line(grid, others, with_first, words, color=style.INK))
    return Panel(title="Kendall's tau of orders", x=grid.axis, y=Axis(limits=(-1.05, 1.05)), layers=layers)


def _tau_line(grid: Grid, lrs: list[float], found: list[Agreement], name: str, **look: Any) -> Line:
    low, middle, high = (_array([getattr(a, end) for a in found]) for end in ("low", "tau", "high"))
    told = [f"{name}\n{grid.short} {grid.text(lr)}\n{tau_text(a)}" for lr, a in zip(lrs, found, strict=True)]
    return Line(x=lrs, y=middle, low=low, high=high, name=name, mark="both", told=told, **look)


def group_curves(result: xr.DataTree, of: str) -> tuple[CurvePanel, ...]:
    """Accuracy of each group along pre-training; of the first 12 where there are more."""
    data = segment(result, "pretrain")
    curves, groups = curves_of(data, SOURCES[of])
    keep = thinned(data.sizes["epoch"])
    epoch = np.asarray(data["epoch"].values, dtype=float)[keep]
    look: dict[str, Any] = {"x_title": "epoch", "x": epoch, "log_x": False, "log": False, "limits": (-0.02, 1.02)}
    return tuple(
        CurvePanel(title=f"accuracy of {name}", spread=spread(np.moveaxis(curves[:, :, e, keep], 1, -1)), **look)
        for e, name in enumerate(groups[:NAMED])
    )
