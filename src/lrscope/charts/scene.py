"""A panel with all that both renderers must agree on: colours, legend entries, the ends of its axes, what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lrscope.charts import style
from lrscope.charts.chart import Axis, Chart, Panel
from lrscope.charts.layers import Band, Border, ErrorBars, HeatMap, Image, Layer, Level, Line, Points, Span
from lrscope.charts.scales import Ends, Floats, Palette, cell_edges, drawable, extent, palette, values_of
from lrscope.charts.text import number, plural

EMPTY = "no finite values"
LABEL = 0.3  # of a panel's width, that a level's label takes


@dataclass(frozen=True, kw_only=True)
class Scene:
    """See the module.

    Attributes:
        x, y: the ends of the axes, None where there is nothing to place.
        entries: the legend: for every name the panel and the layer that it begins with.
        place: which panel this is.
    """

    chart: Chart
    panel: Panel
    palette: Palette
    x: Ends | None
    y: Ends | None
    entries: Mapping[str, tuple[int, Layer]]
    place: int

    def color(self, layer: Line | Points | Band | ErrorBars) -> str:
        """A layer's colour: its own, that of its value, or ink."""
        if layer.color is not None:
            return layer.color
        return style.INK if layer.value is None or not np.isfinite(layer.value) else self.palette.of(layer.value)

    def name(self, layer: Line | Points | Band | ErrorBars) -> str:
        """What a layer is called where a pointer reads it."""
        value = "" if layer.value is None else f"{self.chart.color_title} {number(layer.value)}"
        return layer.name or value or self.panel.y.title or self.panel.title

    def listed(self, layer: Layer) -> bool:
        """Is this the layer that stands in the legend for all of its name?"""
        place, first = self.entries.get(getattr(layer, "name", ""), (None, None))
        return place == self.place and first is layer

    def points(self, layer: Line | Points | ErrorBars | Band) -> tuple[Floats, Floats]:
        """x and y [N] of a layer (of a band: its lower edge), NaN where the axes cannot show them."""
        x, y = (values_of(layer, name) for name in ("x", "low" if isinstance(layer, Band) else "y"))
        return (
            np.where(drawable(x, self.panel.x.log), x, np.nan),
            np.where(drawable(y, self.panel.y.log), y, np.nan),
        )

    def range(self, layer: Line | Band | ErrorBars) -> tuple[Floats, Floats]:
        """The lower and upper edge [N]; on a log axis an edge that is not positive lies at the axis's end."""
        along_x = isinstance(layer, ErrorBars) and layer.along == "x"
        axis, ends = (self.panel.x, self.x) if along_x else (self.panel.y, self.y)
        edges = [values_of(layer, name) for name in ("low", "high")]
        if axis.log and ends is not None:
            edges = [np.where(edge <= 0, min(ends), edge) for edge in edges]
        return edges[0], edges[1]

    def plane(self, heat: HeatMap) -> tuple[Floats, Floats, Floats] | None:
        """x [W], y [H] and values [H, W] of a heat map as far as the axes can show them; None for less than 2 x 2."""
        x, y = values_of(heat, "x"), values_of(heat, "y")
        across, upright = drawable(x, self.panel.x.log), drawable(y, self.panel.y.log)
        if min(across.sum(), upright.sum()) < 2:
            return None
        return x[across], y[upright], np.asarray(heat.values, dtype=np.float64)[np.ix_(upright, across)]

    def shows(self, x: float, y: float) -> bool:
        """Can the axes show a place?"""
        return bool(drawable(np.array(x), self.panel.x.log) & drawable(np.array(y), self.panel.y.log))

    def reaches(self, level: Level) -> bool:
        """Do the axes reach a level? It may lie beyond limits that were asked for."""
        return self.shows(1.0, level.y) and (self.y is None or min(self.y) <= level.y <= max(self.y))

    def clipped(self, layer: Span | Border) -> Ends | None:
        """The part of a span, or of a border's interval, that the axis reaches."""
        if self.x is None or layer.low is None or layer.high is None:
            return None
        low, high = max(layer.low, min(self.x)), min(layer.high, max(self.x))
        return (low, high) if high > low else None

    def label_left(self, level: Level) -> bool:
        """Is there more room for a level's label at its left end than at its right one?"""
        room = {True: np.inf, False: np.inf}
        for layer in self.panel.layers:
            if isinstance(layer, Line | Points | ErrorBars) and self.x is not None and self.y is not None:
                x, y = self.points(layer)
                across = _fraction(x, self.x, self.panel.x.log)
                away = np.abs(_fraction(y, self.y, self.panel.y.log) - _fraction(level.y, self.y, self.panel.y.log))
                for left, end in ((True, across < LABEL), (False, across > 1 - LABEL)):
                    room[left] = min(room[left], np.nanmin(away[end & np.isfinite(away)], initial=np.inf))
        return room[True] > room[False]

    def notes(self) -> list[str]:
        """What the panel says about itself: that it is empty, or what a log axis leaves out."""
        data = [layer for layer in self.panel.layers if isinstance(layer, Line | Points | Band | ErrorBars | HeatMap)]
        if not self.panel.layers or (data and not any(self._seen(layer) for layer in data)):
            return [EMPTY]
        left_out = sum(self._left_out(layer) for layer in self.panel.layers)
        return [f"{plural(left_out, 'value')} not positive, left out"] if left_out else []

    def _seen(self, layer: Layer) -> bool:
        if isinstance(layer, HeatMap):
            plane = self.plane(layer)
            return plane is not None and bool(np.isfinite(plane[2]).any())
        x, y = self.points(layer)  # type: ignore[arg-type]
        return bool((np.isfinite(x) & np.isfinite(y)).any())

    def _left_out(self, layer: Layer) -> int:
        """How many points of a layer a logarithmic axis cannot show."""
        if isinstance(layer, Level):
            return int(self.panel.y.log and layer.y <= 0)
        if isinstance(layer, HeatMap):
            plane = self.plane(layer)
            return int(np.size(layer.values)) - (0 if plane is None else plane[2].size)
        if not isinstance(layer, Line | Points | ErrorBars):
            return 0
        x, y = values_of(layer, "x"), values_of(layer, "y")
        there = np.isfinite(x) & np.isfinite(y)
        return int((there & ~(drawable(x, self.panel.x.log) & drawable(y, self.panel.y.log))).sum())


def scenes(chart: Chart) -> list[Scene]:
    """The panels of a chart, ready to be drawn."""
    across = _ends(chart, "x", chart.share_x)
    upright = _ends(chart, "y", chart.share_y)
    entries: dict[str, tuple[int, Layer]] = {}
    for i, panel in enumerate(chart.panels):
        for layer in panel.layers:
            if name := getattr(layer, "name", ""):
                entries.setdefault(name, (i, layer))
    shades = (
        [palette(chart, panel) for panel in chart.panels] if chart.own_colors else [palette(chart)] * len(chart.panels)
    )
    return [
        Scene(chart=chart, panel=panel, palette=own, x=x, y=y, entries=entries, place=i)
        for i, (panel, x, y, own) in enumerate(zip(chart.panels, across, upright, shades, strict=True))
    ]


def _fraction(values: Floats | float, ends: Ends, log: bool) -> Floats:
    """Where values lie between the ends of an axis, 0 to 1."""
    at, low, high = (np.log(v) if log else np.asarray(v) for v in (values, *ends))
    return np.asarray((at - low) / (high - low))


def _ends(chart: Chart, along: str, shared: bool) -> list[Ends | None]:
    """The ends of every panel's axis."""
    axes: list[Axis] = [getattr(panel, along) for panel in chart.panels]
    held = [_held(panel, along, axis.log) for panel, axis in zip(chart.panels, axes, strict=True)]
    if shared:
        held = [np.concatenate(held)] * len(held)
    return [axis.limits or extent(values, axis.log) for axis, values in zip(axes, held, strict=True)]


def _held(panel: Panel, along: str, log: bool) -> Floats:
    """All that an axis must hold, flat."""
    parts = [np.array([])]
    for layer in panel.layers:
        places = values_of(layer, along)
        places = places[drawable(places, log)]
        parts.append(cell_edges(places, log) if isinstance(layer, HeatMap) and places.size > 1 else places)
        if getattr(layer, "along", "x" if isinstance(layer, Span | Border) else "y") == along:
            parts += [] if isinstance(layer, Image) else [values_of(layer, "low"), values_of(layer, "high")]
    return np.concatenate(parts)
