"""What places and colours mean: the ends of axes, round numbers on them, the colour scale, the pixels of a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrscope.charts import style
from lrscope.charts.chart import Chart, Panel
from lrscope.charts.layers import HeatMap, Image, Layer
from lrscope.charts.text import number

Floats = NDArray[np.float64]
Ends = tuple[float, float]

LEAST_CONTRAST = 1e-12  # of a scale's ends, relative: below it a picture is of one value
NEAR = 2.0  # ours: values of a logarithmic colour scale that all lie within this factor look alike
MOST_MARKS = 8  # ours: more labels run into each other on a panel's axis
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def values_of(layer: Layer, name: str) -> Floats:
    """A field of a layer as a flat array of floats, empty where the layer has none."""
    value = getattr(layer, name, None)
    return np.array([]) if value is None else np.asarray(value, dtype=np.float64).ravel()


def drawable(values: Floats, log: bool) -> NDArray[np.bool_]:
    """Which values an axis can show."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(values) & ((values > 0) | (not log))


def extent(values: Floats, log: bool, air: float = 0.05) -> Ends | None:
    """The ends of an axis that holds the values with some air, in the axis's own units; None without any value."""
    kept = values[drawable(values, log)]
    if not kept.size:
        return None
    low, high = (float(v) for v in (np.log10([kept.min(), kept.max()]) if log else (kept.min(), kept.max())))
    room = max(air * (high - low), 0.04 if log else 0.02 * max(abs(low), abs(high))) or 0.5
    return (10 ** (low - room), 10 ** (high + room)) if log else (low - room, high + room)


def cell_edges(centres: Floats, log: bool) -> Floats:
    """The edges [N + 1] of cells around N rising coordinates, half-way between them on the axis's scale."""
    with np.errstate(invalid="ignore", divide="ignore"):
        at = np.log(centres) if log else centres
    inner = (at[1:] + at[:-1]) / 2
    found = np.concatenate([[2 * at[0] - inner[0]], inner, [2 * at[-1] - inner[-1]]])
    return np.exp(found) if log else found


def log_marks(low: float, high: float) -> list[float] | None:
    """Round numbers to label a log axis between two exponents; None where powers of ten serve better."""
    if high - low > 1.3:
        return None
    decades = range(math.floor(low), math.ceil(high) + 1)
    marks: list[float] = []
    for steps in ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), tuple(s / 10 for s in range(10, 100, 2))):
        marks = [s * 10.0**d for d in decades for s in steps if low <= math.log10(s) + d <= high]
        if len(marks) >= 3:
            break
    marks = marks[:: -(-len(marks) // MOST_MARKS)] if len(marks) > MOST_MARKS else marks
    return marks if len(marks) >= 2 else [10.0**low, 10.0**high]


@dataclass(frozen=True)
class Palette:
    """The chart's colour scale: all `values` on it in increasing order (none: there is no scale); `heat`: are there heat maps
    among them, which show contrast however small it is?"""

    values: Floats
    log: bool
    heat: bool = False

    @property
    def ends(self) -> Ends:
        """The scale's ends. A single value gets some room, and so do values `NEAR` each other: they are no opposites."""
        low, high = float(self.values[0]), float(self.values[-1])
        if self.log and (high == low or (high < NEAR * low and not self.heat)):
            middle = math.sqrt(low) * math.sqrt(high)
            return middle / 2, middle * 2
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def of(self, value: float) -> str:
        """The colour of a value."""
        low, high, at = (math.log(v) if self.log else v for v in (*self.ends, value))
        return style.viridis((at - low) / (high - low))

    def marks(self) -> list[tuple[float, str]]:
        """Values to label on the colour bar, with their texts: decades, whole numbers or round ones."""
        low, high = self.ends
        if self.log:
            first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
            decades = range(first, last + 1)[:: max(1, (last - first + 1) // 6)]
            if len(decades) < 2:
                return [(v, number(v)) for v in (low, high)]
            return [(10.0**d, "10" + str(d).translate(SUPERSCRIPT)) for d in decades]
        if (self.values == np.round(self.values)).all():
            return [(float(v), str(v)) for v in sorted({round(low + i * (high - low) / 4) for i in range(5)})]
        step = _round_up((high - low) / 5)
        places = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
        return [(i * step, number(i * step)) for i in places]

    def levels(self, count: int, values: Floats) -> Floats:
        """`count` contour levels between the least and the greatest of the values, evenly spaced on the scale."""
        kept = values[drawable(values, self.log)]
        if not kept.size or kept.min() == kept.max():
            return np.array([])
        space = np.geomspace if self.log else np.linspace
        return space(kept.min(), kept.max(), count + 2)[1:-1]


def palette(chart: Chart, panel: Panel | None = None) -> Palette:
    """The colour scale of a chart, or of a panel. A logarithmic one with values that are not positive becomes linear."""
    layers = list(chart.layers) if panel is None else panel.layers
    parts = [values_of(layer, "value") for layer in layers]
    heat = [values_of(layer, "values") for layer in layers if isinstance(layer, HeatMap) and layer.filled]
    found = np.concatenate([*parts, *heat]) if parts or heat else np.array([])
    values = np.unique(found[np.isfinite(found)])
    return Palette(values, chart.color_log and bool((values > 0).all()), heat=bool(heat))


def _round_up(step: float) -> float:
    """The next of 1, 2, 5, 10 in the step's decade."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(s * power for s in (1, 2, 5, 10) if s * power >= step)


def pixels(image: Image) -> NDArray[np.uint8]:
    """Red, green and blue of every pixel [H, W, 3]."""
    values = np.asarray(image.values, dtype=np.float64)
    if values.ndim == 3:
        there = np.asarray(np.isfinite(values).all(axis=2))
        found = 255 * np.clip(np.where(there[..., None], values, 0), 0, 1)
    else:
        there = np.isfinite(values)
        found = _coloured(_fractions(values, image.low, image.high), image.viridis)
    return np.round(np.where(there[..., None], found, style.channels(style.GRID))).astype(np.uint8)


def _fractions(values: Floats, low: float | None, high: float | None) -> Floats:
    """Where values lie between two ends, 0 to 1; NaN and values of no contrast at 0."""
    inside = values[np.isfinite(values)]
    low = low if low is not None else float(inside.min()) if inside.size else 0.0
    high = high if high is not None else float(inside.max()) if inside.size else 1.0
    flat = high - low <= LEAST_CONTRAST * max(abs(low), abs(high))
    above = np.clip(np.where(np.isfinite(values), values, low) - low, 0, None)
    found: Floats = np.clip(above / (1.0 if flat else high - low), 0, 1)
    return found


def _coloured(fractions: Floats, viridis: bool) -> Floats:
    """Greys, or viridis, of fractions [H, W]."""
    if not viridis:
        return np.repeat(255 * fractions[..., None], 3, axis=2)
    colors = np.array([style.channels(style.viridis(i / 255)) for i in range(256)], dtype=np.float64)
    found: Floats = colors[np.round(255 * fractions).astype(np.int64)]
    return found
