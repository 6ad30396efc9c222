"""The interactive figures beyond the map: later phases, features, groups, and curves along training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from lrscope.reporting import style
from lrscope.reporting.frames import Array, Backdrop, Grid, Spread
from lrscope.reporting.interactive_canvas import (
    ABOVE,
    Cell,
    Json,
    axis,
    cells,
    empty_note,
    figure,
    frame,
    heading,
    legend_room,
    lr_axis,
    numbers,
    plain,
    shade,
    value_axis,
)
from lrscope.reporting.interactive_map import regime_map_figure
from lrscope.reporting.interactive_marks import band, carrier, count_bar, level, log_bar
from lrscope.reporting.phases import CurvePanel, FeaturePanel, Groups, Series
from lrscope.reporting.text import number
from lrscope.reporting.zoom import Zoom

MOST_LEGEND_ENTRIES = 10
BEFORE = "before: pre-training only"
BAR_ROOM = 54  # px for a colour bar with its title


def series_figure(grid: Grid, back: Backdrop, series: Series) -> Json:
    """A line per second learning rate (or number of checkpoints) with a band of one deviation; pre-training in black."""
    data = [_legend_title(plain(series.legend) + ":")]
    lines = list(zip(series.names, series.lines, style.ramp(len(series.lines)), strict=True))
    for i, (name, line, color) in enumerate(lines):
        data += _mean_and_deviation(grid, line, color, name, style.MARKERS[i % len(style.MARKERS)][0])
    data += _mean_and_deviation(grid, series.before, "#000000", BEFORE, "circle-open")
    named = [
        *zip(series.names, series.lines, [c for _, _, c in lines], strict=True),
        (BEFORE, series.before, "#000000"),
    ]
    data += _beyond(grid, series.zoom, named)
    values = np.concatenate([np.concatenate([s.mean - s.sd, s.mean + s.sd]) for s in (*series.lines, series.before)])
    places, total = cells(1, 1, 330)

    def lay_out(narrow: bool) -> Json:
        entries = len(lines) + (2 if series.zoom is None else 3)
        layout = frame(total, bottom=legend_room(entries, 2 if narrow else 8), narrow=narrow)
        _panel(layout, grid, back, places[0], series.title, values, log=series.log)
        if series.zoom is not None:
            ends = np.array([series.zoom.low, series.zoom.high])
            span = [float(end) for end in (np.log10(ends) if series.log else ends)]
            layout["yaxis"] = value_axis(ends, domain=places[0].y, anchor="x", log=series.log) | {"range": span}
        return layout

    return figure(data, lay_out)


def _beyond(grid: Grid, ends: Zoom | None, lines: Sequence[tuple[str, Spread, str]]) -> list[Json]:
    """Marks at the edge of a zoomed axis, one trace per line with points beyond it; one entry in the legend for all."""
    if ends is None:
        return []
    traces: list[Json] = []
    for name, line, color in lines:
        out = ends.outside(line.mean)
        if not out.any():
            continue
        told = [
            f"{grid.text(lr)}<br>{plain(name)}: {number(m, 4)}"
            for lr, m in zip(grid.lr[out], line.mean[out], strict=True)
        ]
        traces.append(
            {
                "type": "scatter",
                "x": numbers(grid.lr[out]),
                "y": numbers([ends.edge] * int(out.sum()), 12),
                "mode": "markers",
                "marker": {
                    "symbol": "triangle-down" if ends.higher_is_better else "triangle-up",
                    "size": 9,
                    "color": color,
                },
                "text": told,
                "hovertemplate": grid.short + " %{text}<extra>beyond this range</extra>",
                "name": "beyond this range",
                "legendgroup": "beyond this range",
                "showlegend": not traces,
            }
        )
    return traces


def _legend_title(words: str) -> Json:
    """A legend entry that is only text: it names what the entries after it are."""
    blank = {"type": "scatter", "x": [None], "y": [None], "mode": "lines", "line": {"color": "rgba(0,0,0,0)"}}
    return blank | {"name": words, "hoverinfo": "skip"}


def _mean_and_deviation(grid: Grid, values: Spread, color: str, name: str, symbol: str) -> list[Json]:
    group = plain(name)
    shape = band(grid.lr, values.mean - values.sd, values.mean + values.sd, color, 0.1) | {"legendgroup": group}
    line = {
        "type": "scatter",
        "x": numbers(grid.lr),
        "y": numbers(values.mean),
        "mode": "lines+markers",
        "line": {"color": color, "width": 2},
        "marker": {"symbol": symbol, "size": 7, "color": color},
        "name": group,
        "legendgroup": group,
    } | _told(grid, values.mean, values.sd)
    return [shape, line]


def _told(grid: Grid, mean: Array, sd: Array) -> Json:
    """What a line over learning rates says on hover."""
    rows = zip(grid.lr, mean, sd, strict=True)
    words = [f"{grid.text(lr)}<br>mean {number(m, 4)}, deviation {number(s, 2)}" for lr, m, s in rows]
    return {"text": words, "hovertemplate": grid.short + " %{text}<extra>%{fullData.name}</extra>"}


def _panel(
    layout: Json, grid: Grid, back: Backdrop, cell: Cell, title: str, values: Array, *, log: bool, x_title: bool = True
) -> None:
    """Axes, shaded regimes and heading of one panel over learning rates."""
    layout["xaxis" + cell.number] = lr_axis(grid, domain=cell.x, anchor="y" + cell.number, title=x_title)
    layout["yaxis" + cell.number] = value_axis(values, domain=cell.y, anchor="x" + cell.number, log=log)
    shade(layout, cell, back)
    layout["annotations"].append(heading(cell, plain(title)))
    if not np.isfinite(values).any():
        layout["annotations"].append(empty_note(cell))


def features_figure(grid: Grid, back: Backdrop, panels: Sequence[FeaturePanel]) -> Json:
    """Accuracies on feature sets, averaged over runs: each named one, or by rank within a run; the usual test accuracy in
    black."""
    ranks, named = panels[0].ranks.mean.shape[0], panels[0].names
    data = [] if named else [carrier()]
    colors = style.ramp(ranks)
    for at, panel in enumerate(panels, start=1):
        axes = {"xaxis": f"x{at}" if at > 1 else "x", "yaxis": f"y{at}" if at > 1 else "y"}
        names = named or tuple(f"rank {k + 1}" for k in range(ranks))
        lines = [(names[k], panel.ranks.mean[k], panel.ranks.sd[k], colors[k], 1.8) for k in range(ranks)]
        lines.append(("usual test accuracy", panel.regular.mean, panel.regular.sd, "#000000", 2.4))
        for k, (name, mean, sd, color, width) in enumerate(lines):
            line = _lr_line(grid, mean, sd, color, name, width) | axes | {"showlegend": bool(named) and at == 1}
            if named:
                line |= {"legendgroup": f"feature {k}"}
                if k < ranks:
                    line |= {"mode": "lines+markers", "marker": _marker(k, color)}
            data.append(line)
    values = np.concatenate([np.concatenate([p.ranks.mean.ravel(), p.regular.mean]) for p in panels])

    def lay_out(narrow: bool) -> Json:
        places, total = cells(len(panels), 1 if narrow else 2)
        room = legend_room(ranks + 1, 2 if narrow else 5) if named else BAR_ROOM
        layout = frame(total, bottom=room, narrow=narrow)
        if not named:
            count_bar(layout, ranks, "rank of the feature in its run (black: usual test)")
        for cell, panel in zip(places, panels, strict=True):
            _panel(layout, grid, back, cell, panel.title, values, log=False)
        return layout

    return figure(data, lay_out)


def _marker(k: int, color: str) -> Json:
    return {"symbol": style.MARKERS[k % len(style.MARKERS)][0], "size": 6, "color": color}


def _lr_line(grid: Grid, mean: Array, sd: Array, color: str, name: str, width: float = 2) -> Json:
    return {
        "type": "scatter",
        "x": numbers(grid.lr),
        "y": numbers(mean),
        "mode": "lines" if grid.lr.size > 1 else "markers",  # one point makes no line
        "line": {"color": color, "width": width},
        "marker": {"color": color, "size": 7},
        "name": plain(name),
    } | _told(grid, mean, sd)


def groups_figure(grid: Grid, back: Backdrop, groups: Groups) -> Json:
    """ELR and ESS of each weight tensor over the final windows, and the largest ESS of a run over its smallest."""
    count = len(groups.names)
    listed = count <= MOST_LEGEND_ENTRIES
    colors = style.ramp(count)
    data: list[Json] = [] if listed else [carrier()]
    for p, panel in enumerate(groups.panels):
        place: Json = {"xaxis": f"x{p + 1}" if p else "x", "yaxis": f"y{p + 1}" if p else "y"}
        for g, name in enumerate(groups.names):
            line = _lr_line(grid, panel.spread.mean[g], panel.spread.sd[g], colors[g], name)
            mark = {
                "mode": "lines+markers",
                "marker": {"color": colors[g], "symbol": style.MARKERS[g % len(style.MARKERS)][0], "size": 6},
            }
            legend = {"legendgroup": str(g), "showlegend": listed and p == 0}
            data.append(line | place | (mark if listed else {}) | legend)
    ratio, at = groups.ratio, len(groups.panels) + 1
    axes: Json = {"xaxis": f"x{at}", "yaxis": f"y{at}", "showlegend": False}
    shape = band(grid.lr, ratio.spread.low, ratio.spread.high, style.MUTED) | axes
    data += [shape, _lr_line(grid, ratio.spread.mean, ratio.spread.sd, style.INK, "mean over runs") | axes]
    data.append(level(grid, 1.0, f"y{at}", "all equal", "all tensors take equal steps") | axes)
    panels = [*groups.panels, ratio]

    def lay_out(narrow: bool) -> Json:
        places, total = cells(len(panels), 1 if narrow else len(panels))
        bottom = legend_room(count, 1 if narrow else 4) if listed else BAR_ROOM
        layout = frame(total, bottom=bottom, narrow=narrow)
        if not listed:
            count_bar(layout, count, "weight tensors, first to last")
        for cell, panel in zip(places, panels, strict=True):
            values = panel.spread.mean if panel is not ratio else np.append(panel.spread.values, 1.0)
            _panel(layout, grid, back, cell, panel.title, values, log=panel.log, x_title=True)
        return layout

    return figure(data, lay_out)


def curves_figure(grid: Grid, panels: Sequence[CurvePanel], *, along_loss: bool) -> Json:
    """A line per learning rate along training, mean over runs.

    `meta.lr` numbers the learning rates, so that the page can bring one forward: its `line` traces thicker, its
    `band` traces (range over runs) shown. With `along_loss` the horizontal axis is the training loss and each line
    ends in a mark.
    """
    colors = style.log_ramp([float(v) for v in grid.lr])
    data = [carrier()]
    for p, panel in enumerate(panels):
        axes = {"xaxis": f"x{p + 1}" if p else "x", "yaxis": f"y{p + 1}" if p else "y", "showlegend": False}
        for i, (lr, color) in enumerate(zip(grid.lr, colors, strict=True)):
            x = panel.x if panel.x.ndim == 1 else panel.x[i]
            name = f"{grid.short} {grid.text(lr)}"
            told = f"{name}<br>{panel.x_title} %{{x:.4g}}<br>{panel.title} %{{y:.4g}}<extra></extra>"
            line: Json = {
                "type": "scatter",
                "x": numbers(x),
                "y": numbers(panel.spread.mean[i]),
                "mode": "lines" if x.size > 1 else "markers",
                "line": {"color": color, "width": 1.6},
                "marker": {"color": color},
                "name": name,
                "hovertemplate": told,
                "meta": {"lr": i, "kind": "line"},
            }
            if along_loss:
                end = np.flatnonzero(np.isfinite(x) & np.isfinite(panel.spread.mean[i]))
                sizes = [0] * x.size
                if end.size:
                    sizes[int(end[-1])] = 9
                marker = {"size": sizes, "color": color, "line": {"width": 1, "color": "#ffffff"}, "opacity": 1}
                line |= {"mode": "lines+markers", "marker": marker}
            else:
                shape = band(x, panel.spread.low[i], panel.spread.high[i], color, 0.25)
                data.append(shape | axes | {"visible": False, "meta": {"lr": i, "kind": "band"}})
            data.append(line | axes)

    def lay_out(narrow: bool) -> Json:
        places, total = cells(len(panels), 1 if narrow else 2, 270 if narrow else 300)
        layout = frame(total, bottom=BAR_ROOM, top=ABOVE - 18, narrow=narrow)
        log_bar(layout, grid.lr, grid.name)
        for cell, panel in zip(places, panels, strict=True):
            across: Json = {"domain": cell.x, "anchor": "y" + cell.number, "log": panel.log_x}
            layout["xaxis" + cell.number] = (
                value_axis(panel.x, **across) if along_loss else axis(**across, nticks=7)
            ) | {"title": {"text": panel.x_title, "standoff": 6, "font": {"size": 12}}}
            values = panel.spread.mean if along_loss else np.append(panel.spread.low, panel.spread.high)
            layout["yaxis" + cell.number] = value_axis(values, domain=cell.y, anchor="x" + cell.number, log=panel.log)
            layout["annotations"].append(heading(cell, panel.title) | {"yshift": 4})
            if not np.isfinite(panel.spread.mean).any():
                layout["annotations"].append(empty_note(cell))
        return layout

    return figure(data, lay_out)


DRAW: Mapping[str, Callable[..., Json]] = {
    "map": regime_map_figure,
    "finetune": series_figure,
    "average": series_figure,
    "features": features_figure,
    "curves": partial(curves_figure, along_loss=False),
    "trajectories": partial(curves_figure, along_loss=True),
    "groups": groups_figure,
}
