"""Charts for Plotly.js as plain dictionaries: `{"data": traces, "wide": layout, "narrow": layout}`; a page takes `narrow`
below 640 px. All texts are escaped.

`meta` of a trace with a key is `{"lr": key, "kind": "line" or "band"}`: a page shows the bands of the key that it brings
forward, and draws its lines thicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lrscope.charts import style
from lrscope.charts.chart import Chart
from lrscope.charts.layers import Band, Border, ErrorBars, HeatMap, Image, Layer, Level, Line, Note, Points, Span
from lrscope.charts.plotly_layout import Json, lay_out
from lrscope.charts.scales import Floats, cell_edges, pixels
from lrscope.charts.scene import Scene, scenes
from lrscope.charts.text import number, plain
from lrscope.checked import checked

LEVEL_POINTS = 30  # of a level's line, so that a pointer finds it anywhere


@dataclass
class Canvas:
    """What the layers of one panel become. `shorts`: the texts of notes on a narrow screen, by their place in `notes`."""

    scene: Scene
    number: str  # of the axes, "" for the first, as Plotly counts
    traces: list[Json] = field(default_factory=list)
    shapes: list[Json] = field(default_factory=list)
    notes: list[Json] = field(default_factory=list)
    shorts: dict[int, str] = field(default_factory=dict)

    @property
    def colors(self) -> str:
        """The name of the colour scale."""
        return "coloraxis" + (self.number if self.scene.chart.own_colors else "")

    def trace(self, **more: Any) -> None:
        """Add a trace on the panel's axes."""
        self.traces.append({"type": "scatter", "xaxis": "x" + self.number, "yaxis": "y" + self.number} | more)

    def upright(self, **more: Any) -> None:
        """Add a shape from the panel's lower edge to its upper one, below all traces."""
        axes = {"xref": "x" + self.number, "yref": f"y{self.number} domain", "y0": 0, "y1": 1, "layer": "below"}
        self.shapes.append(axes | more)

    def note(self, text: str, x: float, y: float, *, inside: str = "", **more: Any) -> None:
        """Add a text at a place on the axes; along those named in `inside` in fractions of the panel."""
        axes: Json = {"xref": "x" + self.number, "yref": "y" + self.number, "showarrow": False}
        logs = {"x": self.scene.panel.x.log, "y": self.scene.panel.y.log}
        for name, value in (("x", x), ("y", y)):
            axes[name] = math.log10(value) if logs[name] and name not in inside else value
            axes[name + "ref"] += " domain" if name in inside else ""
        self.notes.append({"text": text, "font": {"size": 11, "color": style.INK}} | axes | more)


@checked
def to_plotly(chart: Chart) -> Json:
    """Traces with their layouts for wide and for narrow screens."""
    canvases = [Canvas(scene, str(i + 1) if i else "") for i, scene in enumerate(scenes(chart))]
    for canvas in canvases:
        for layer in canvas.scene.panel.layers:
            DRAW[type(layer)](canvas, layer)
        for words in canvas.scene.notes():
            place: Json = {"xanchor": "center", "yanchor": "bottom", "font": {"size": 12, "color": style.MUTED}}
            canvas.note(words, 0.5, 0.25, inside="xy", **place)
    traces = [trace for canvas in canvases for trace in canvas.traces]
    if chart.legend_title and canvases[0].scene.entries:
        traces.insert(0, _words_in_legend(plain(chart.legend_title) + ":"))
    for canvas in canvases if chart.own_colors else canvases[:1]:
        if canvas.scene.palette.values.size:
            traces.insert(0, _carrier(canvas.colors))
    return {"data": traces, **{name: lay_out(chart, canvases, narrow=name == "narrow") for name in ("wide", "narrow")}}


def numbers(values: Floats | Iterable[float], digits: int = 5) -> list[float | None]:
    """Floats for JSON, rounded to what a screen can show; None where there is nothing to draw."""
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in map(float, np.asarray(values).ravel())]


def _line(canvas: Canvas, line: Line) -> None:
    scene, color, (x, y) = canvas.scene, canvas.scene.color(line), canvas.scene.points(line)
    named = _named(scene, line)
    if line.low is not None and line.high is not None:
        hidden = {} if line.key is None else {"visible": False}
        rest = named | {"showlegend": False} | _meta(line, "band") | hidden
        canvas.trace(**_polygon(x, *scene.range(line), color, 0.12 if line.key is None else 0.25), **rest)
    there = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    marked = line.mark == "both" or there.size == 1  # one point makes no line
    ended = line.mark == "end" and there.size > 0
    marker = {"color": color, "size": line.size, "symbol": line.symbol + ("-open" if line.hollow else "")}
    stroke = {"color": color, "width": line.width, "dash": "dash" if line.dashed else "solid"}
    look = named | _meta(line, "line") | {"showlegend": named["showlegend"] and not ended}
    look |= {"mode": "lines+markers" if marked else "lines", "line": stroke, "marker": marker}
    canvas.trace(x=numbers(x), y=numbers(y), **look, **_hover(scene, line, line.told))
    if ended:
        last = there[-1:]
        marker = marker | {"size": line.size + 2, "line": {"width": 1, "color": style.WHITE}}
        look = named | _meta(line, "line") | {"mode": "markers", "marker": marker}
        told = None if line.told is None else [line.told[int(last[0])]]
        canvas.trace(x=numbers(x[last]), y=numbers(y[last]), **look, **_hover(scene, line, told))


def _points(canvas: Canvas, points: Points) -> None:
    color = canvas.scene.color(points)
    x, y = canvas.scene.points(points)
    outline = {"line": {"width": 1, "color": color if points.hollow else style.WHITE}}
    fill = style.WHITE if points.hollow else color if points.colors is None else list(points.colors)
    marker = {"color": fill, "size": points.size, "symbol": points.symbol, "opacity": points.opacity}
    more = _named(canvas.scene, points) | _hover(canvas.scene, points, points.told)
    canvas.trace(
        x=numbers(x),
        y=numbers(y),
        mode="markers",
        marker=marker | (outline if points.hollow or points.rim else {}),
        **more,
    )


def _band(canvas: Canvas, band: Band) -> None:
    x, _ = canvas.scene.points(band)
    shape = _polygon(x, *canvas.scene.range(band), canvas.scene.color(band), band.opacity)
    canvas.trace(**shape, **_named(canvas.scene, band))


def _error_bars(canvas: Canvas, bars: ErrorBars) -> None:
    color = canvas.scene.color(bars)
    x, y = canvas.scene.points(bars)
    low, high = canvas.scene.range(bars)
    at = x if bars.along == "x" else y
    whiskers = {"array": numbers(high - at), "arrayminus": numbers(at - low), "type": "data", "symmetric": False}
    marker = {"symbol": bars.symbol, "size": bars.size, "color": color}
    more = _named(canvas.scene, bars) | _hover(canvas.scene, bars, bars.told)
    more["error_" + bars.along] = whiskers | {"color": color, "thickness": 1.6, "width": 5}
    canvas.trace(x=numbers(x), y=numbers(y), mode="markers", marker=marker, **more)


def _span(canvas: Canvas, span: Span) -> None:
    ends = canvas.scene.clipped(span)
    if ends is None:
        return
    if span.pattern == "none":
        fill = {"line": {"width": 0}, "fillcolor": style.rgba(span.color, 0.12)}
        canvas.upright(type="rect", x0=ends[0], x1=ends[1], **fill)
    elif canvas.scene.y is not None:
        low, high = canvas.scene.y
        shape = "" if span.pattern == "plain" else span.pattern
        pattern = {"shape": shape, "fgcolor": span.color, "bgcolor": style.rgba(span.color, 0.45), "size": 7}
        outline = {"x": numbers([*ends, *ends[::-1], ends[0]]), "y": [low, low, high, high, low], "mode": "lines"}
        look: Json = {
            "line": {"width": 0.5, "color": style.WHITE},
            "fill": "toself",
            "fillcolor": style.rgba(span.color, 0.55),
        }
        rest = {"fillpattern": pattern | {"solidity": 0.35}, "hoverinfo": "skip", "showlegend": False}
        canvas.trace(**outline, **look, **rest)
    if span.label and span.place != "none":
        middle = math.sqrt(ends[0] * ends[1]) if canvas.scene.panel.x.log else sum(ends) / 2
        above = span.place == "above"
        ground = style.rgba(span.color, 0.25) if above else "rgba(255,255,255,0.85)"
        place: Json = {"yanchor": "bottom" if above else "middle", "yshift": 1 if above else 0, "borderpad": 1}
        canvas.note(f"<b>{plain(span.label, 12)}</b>", middle, 1 if above else 0.5, inside="y", bgcolor=ground, **place)


def _border(canvas: Canvas, border: Border) -> None:
    if canvas.scene.x is None or not min(canvas.scene.x) <= border.x <= max(canvas.scene.x):
        return
    if (ends := canvas.scene.clipped(border)) is not None:
        fill = {"line": {"width": 0}, "fillcolor": style.rgba(style.INK, 0.07)}
        canvas.upright(type="rect", x0=ends[0], x1=ends[1], **fill)
    line = {"color": style.INK, "width": 1.3, "dash": "dot" if border.dotted else "dash"}
    canvas.upright(type="line", x0=border.x, x1=border.x, line=line)


def _level(canvas: Canvas, level: Level) -> None:
    ends, log = canvas.scene.x or (0.0, 1.0), canvas.scene.panel.x.log and canvas.scene.x is not None
    if not canvas.scene.reaches(level):
        return
    x = (np.geomspace if log else np.linspace)(*ends, LEVEL_POINTS)
    line = {"color": style.INK, "width": 1.4, "dash": "dash"}
    told = {"hovertemplate": f"{plain(level.label)} {number(level.y, 4)}<extra></extra>", "showlegend": False}
    canvas.trace(x=numbers(x), y=numbers([level.y] * LEVEL_POINTS), mode="lines", line=line, **told)
    look: Json = {"font": {"size": 11, "color": style.MUTED}, "bgcolor": "rgba(255,255,255,0.6)", "borderpad": 0}
    left = canvas.scene.label_left(level)
    place: Json = {"xanchor": "left" if left else "right", "yanchor": "bottom"}
    canvas.note(plain(level.label), 0 if left else 1, level.y, inside="x", **place, **look)


def _note(canvas: Canvas, note: Note) -> None:
    if not canvas.scene.shows(note.x, note.y):
        return
    anchor = {"right": "left", "left": "right", "center": "center"}[note.side]
    place: Json = {"xanchor": anchor, "yanchor": "middle", "xshift": {"right": 8, "left": -8, "center": 0}[note.side]}
    long, short = (f"<b>{plain(t)}</b>" if note.bold else plain(t) for t in (note.words, note.short or note.words))
    canvas.shorts[len(canvas.notes)] = short
    canvas.note(long, note.x, note.y, font={"size": 12, "color": note.color}, **place)


def _heat_map(canvas: Canvas, heat: HeatMap) -> None:
    panel, shades, plane = canvas.scene.panel, canvas.scene.palette, canvas.scene.plane(heat)
    if plane is None:
        return
    x, y, values = plane
    levels = shades.levels(heat.contours, values)
    with np.errstate(invalid="ignore", divide="ignore"):
        at, levels = (np.log10(v) if shades.log else v for v in (values, levels))
    z = [numbers(row) for row in np.where(np.isfinite(at), at, np.nan)]
    if heat.filled and shades.values.size:
        told = [[number(v, 4) for v in row] for row in values]
        words = (
            f"{plain(panel.x.title)} %{{x:.4g}}<br>{plain(panel.y.title)} %{{y:.4g}}<br>{plain(heat.title)} %{{text}}"
        )
        edges = {"x": numbers(cell_edges(x, panel.x.log)), "y": numbers(cell_edges(y, panel.y.log))}
        hover = {"text": told, "hovertemplate": words + "<extra></extra>"}
        canvas.trace(type="heatmap", z=z, coloraxis=canvas.colors, **edges, **hover)
    place: Json = {"type": "contour", "x": numbers(x), "y": numbers(y), "z": z}
    if levels.size:
        canvas.trace(**place, **_contours(levels, style.INK, 0.8))
    if heat.traced is not None and (heat.traced > 0 or not shades.log):
        at_level = np.array([math.log10(heat.traced) if shades.log else heat.traced])
        canvas.trace(**place, **_contours(at_level, style.WHITE, 2.4))


def _contours(levels: Floats, color: str, width: float) -> Json:
    """Evenly spaced levels as lines."""
    step = float(levels[1] - levels[0]) if levels.size > 1 else 1.0
    lines = {"coloring": "none", "start": float(levels[0]), "end": float(levels[-1]) + step / 1e6, "size": step}
    look: Json = {"line": {"color": color, "width": width}, "hoverinfo": "skip"}
    return {"contours": lines, "showscale": False, "showlegend": False, **look}


def _image(canvas: Canvas, image: Image) -> None:
    canvas.trace(type="image", z=pixels(image).tolist(), colormodel="rgb", hoverinfo="skip")


DRAW: Mapping[type[Layer], Callable[[Canvas, Any], None]] = {
    Line: _line,
    Points: _points,
    Band: _band,
    ErrorBars: _error_bars,
    Span: _span,
    Border: _border,
    Level: _level,
    Note: _note,
    HeatMap: _heat_map,
    Image: _image,
}


def _named(scene: Scene, layer: Line | Points | Band | ErrorBars) -> Json:
    """Name and place in the legend: all layers of a name are shown and hidden together."""
    name = plain(scene.name(layer))
    return {"name": name, "legendgroup": name, "showlegend": scene.listed(layer)}


def _meta(line: Line, kind: str) -> Json:
    return {} if line.key is None else {"meta": {"lr": line.key, "kind": kind}}


def _hover(scene: Scene, layer: Line | Points | ErrorBars, told: Sequence[str] | None) -> Json:
    """What a pointer reads at a point."""
    if told is not None:
        texts = ["<br>".join(plain(part, 90) for part in words.split("\n")) for words in told]
        return {"text": texts, "hovertemplate": "%{text}<extra></extra>"}
    titles = [plain(axis.short or axis.title) for axis in (scene.panel.x, scene.panel.y)]
    place = f"{titles[0]} %{{x:.4g}}<br>{titles[1] or plain(scene.panel.title)} %{{y:.4g}}"
    return {"hovertemplate": f"{plain(scene.name(layer))}<br>{place}<extra></extra>"}


def _polygon(x: Floats, low: Floats, high: Floats, color: str, alpha: float) -> Json:
    """A filled range as closed polygons, one per stretch of finite values, all (n,)."""
    told = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    xs: list[float | None] = []
    ys: list[float | None] = []
    for part in np.split(np.arange(x.size), np.flatnonzero(np.diff(told.astype(int))) + 1):
        if not part.size or not told[part[0]]:
            continue
        back = part[::-1]
        xs += [*([None] if xs else []), *numbers(x[part]), *numbers(x[back])]
        ys += [*([None] if ys else []), *numbers(low[part]), *numbers(high[back])]
    shape = {"x": xs, "y": ys, "mode": "lines", "line": {"width": 0}, "fill": "toself", "hoverinfo": "skip"}
    return shape | {"fillcolor": style.rgba(color, alpha)}


def _words_in_legend(words: str) -> Json:
    """A legend entry that is only text: it names what the entries after it are."""
    blank = {"type": "scatter", "x": [None], "y": [None], "mode": "lines", "line": {"color": "rgba(0,0,0,0)"}}
    return blank | {"name": words, "hoverinfo": "skip"}


def _carrier(colors: str) -> Json:
    """An invisible trace: Plotly draws a layout's colour bar only if some trace refers to it."""
    hidden = {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "showlegend": False, "hoverinfo": "skip"}
    return hidden | {"marker": {"color": [1], "coloraxis": colors}}
