"""Charts of the report beyond the map: later phases, features, weight tensors, and curves along training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lrscope.charts import Axis, Band, Chart, Layer, Level, Line, Panel, Points, style
from lrscope.charts.text import number
from lrscope.reporting.frames import Array, Backdrop, Grid, Spread, shading
from lrscope.reporting.phases import CurvePanel, FeaturePanel, Groups, Series
from lrscope.reporting.zoom import Zoom

MOST_LEGEND_ENTRIES = 10
CURVES = 300  # px, height of a panel
BEFORE, USUAL, BEYOND = "before: pre-training only", "usual test accuracy", "beyond this range"


def series_chart(grid: Grid, back: Backdrop, series: Series) -> Chart:
    """A line per second learning rate (or number of checkpoints) with a band of one deviation; pre-training in black."""
    marks = [(color, style.symbol(i)) for i, color in enumerate(style.ramp(len(series.lines)))]
    layers = shading(back)
    for name, spread, (color, symbol) in zip(series.names, series.lines, marks, strict=True):
        layers.append(_with_deviation(grid, name, spread, color=color, symbol=symbol))
    layers.append(_with_deviation(grid, BEFORE, series.before, color=style.INK, hollow=True))
    colors = [*(color for color, _ in marks), style.INK]
    for name, spread, color in zip((*series.names, BEFORE), (*series.lines, series.before), colors, strict=True):
        layers += _beyond(grid, series.zoom, name, spread, color)
    limits = None if series.zoom is None else (series.zoom.low, series.zoom.high)
    panel = Panel(title=series.title, x=grid.axis, y=Axis(log=series.log, limits=limits), layers=layers)
    return Chart(panels=[panel], columns=1, legend_title=series.legend)


def _with_deviation(grid: Grid, name: str, spread: Spread, **look: Any) -> Line:
    band = {"low": spread.mean - spread.sd, "high": spread.mean + spread.sd}
    return _over_rates(grid, spread.mean, spread.sd, name, mark="both", width=2, **band, **look)


def _beyond(grid: Grid, ends: Zoom | None, name: str, spread: Spread, color: str) -> list[Points]:
    """Marks at the edge of a zoomed axis for the points of a line beyond it."""
    out = np.zeros(grid.lr.size, dtype=bool) if ends is None else ends.outside(spread.mean)
    if ends is None or not out.any():
        return []
    told = _told(grid, name, spread.mean, spread.sd)
    return [
        Points(
            x=grid.lr[out],
            y=np.full(int(out.sum()), ends.edge),
            name=BEYOND,
            color=color,
            symbol="triangle-down" if ends.higher_is_better else "triangle-up",
            size=9,
            told=[words for words, beyond in zip(told, out, strict=True) if beyond],
        )
    ]


def features_chart(grid: Grid, back: Backdrop, panels: Sequence[FeaturePanel]) -> Chart:
    """Accuracies on feature sets, averaged over runs: each named one, or by rank within a run; the usual test accuracy in
    black."""
    made = []
    for panel in panels:
        usual = _over_rates(grid, panel.regular.mean, panel.regular.sd, USUAL, color=style.INK, width=2.4)
        names = panel.names or [f"rank {k + 1}" for k in range(len(panel.ranks.mean))]
        layers = [*shading(back), *_family(grid, names, panel.ranks, listed=bool(panel.names)), usual]
        made.append(Panel(title=panel.title, x=grid.axis, layers=layers))
    title = "rank of the feature in its run"
    return Chart(panels=made, columns=2, share_y=True, color_title=title, color_log=False)


def groups_chart(grid: Grid, back: Backdrop, groups: Groups) -> Chart:
    """ELR and ESS of each weight tensor over the final windows, and the largest ESS of a run over its smallest."""
    listed = len(groups.names) <= MOST_LEGEND_ENTRIES
    panels = []
    for quantity in groups.panels:
        layers = [*shading(back), *_family(grid, groups.names, quantity.spread, listed=listed)]
        panels.append(Panel(title=quantity.title, x=grid.axis, y=Axis(log=quantity.log), layers=layers))
    ratio, title = groups.ratio.spread, groups.ratio.title
    band = Band(x=grid.lr, low=ratio.low, high=ratio.high, color=style.MUTED, name="range over runs")
    mean = _over_rates(grid, ratio.mean, ratio.sd, "mean over runs", color=style.INK)
    layers = [*shading(back), band, mean, Level(y=1.0, label="all tensors take equal steps")]
    panels.append(Panel(title=title, x=grid.axis, y=Axis(log=groups.ratio.log), layers=layers))
    return Chart(panels=panels, columns=3, color_title="weight tensors, first to last", color_log=False)


def _family(grid: Grid, names: Sequence[str], spread: Spread, *, listed: bool) -> list[Layer]:
    """A line for each of (K, L) means: in the legend with a mark of its own, or told apart by the colour scale alone."""
    lines: list[Layer] = []
    for k, (name, color) in enumerate(zip(names, style.ramp(len(names)), strict=True)):
        named: dict[str, Any] = {"color": color, "mark": "both", "symbol": style.symbol(k)}
        look = named if listed else {"name": "", "value": k + 1}
        lines.append(_over_rates(grid, spread.mean[k], spread.sd[k], name, **look))
    return lines


def curves_chart(grid: Grid, panels: Sequence[CurvePanel], *, along_loss: bool) -> Chart:
    """A line per learning rate along training, mean over runs, with the range over runs for the page to show; along the loss
    without it, and with a mark at the end."""
    made = []
    for panel in panels:
        spread, lines = panel.spread, []
        for i, lr in enumerate(grid.lr):
            x, y = panel.x if panel.x.ndim == 1 else panel.x[i], spread.mean[i]
            look: dict[str, Any] = {"mark": "end"} if along_loss else {"low": spread.low[i], "high": spread.high[i]}
            lines.append(Line(x=x, y=y, value=float(lr), width=1.6, key=i, **look))
        x_axis, y_axis = Axis(title=panel.x_title, log=panel.log_x), Axis(log=panel.log, limits=panel.limits)
        made.append(Panel(title=panel.title, x=x_axis, y=y_axis, layers=lines, height=CURVES))
    return Chart(panels=made, columns=2, color_title=grid.name)


def _over_rates(grid: Grid, mean: Array, sd: Array, called: str, **look: Any) -> Line:
    """A line of means over learning rates; a pointer reads its deviations, and what it is `called`."""
    return Line(**{"x": grid.lr, "y": mean, "name": called, "told": _told(grid, called, mean, sd), **look})


def _told(grid: Grid, name: str, mean: Array, sd: Array) -> list[str]:
    rows = zip(grid.lr, mean, sd, strict=True)
    return [f"{name}\n{grid.short} {grid.text(lr)}\nmean {number(m, 4)}, deviation {number(s, 2)}" for lr, m, s in rows]
