"""Colours, patterns and marks of every figure, for both renderers and for what is written beside figures.

Regimes take the Okabe-Ito palette (Okabe & Ito, "Color Universal Design", 2008), which stays apart under the common
colour deficiencies, and each regime has its own hatch and its letter; `dead` takes a grey, because the means are drawn
in nearly the palette's black. Ordered quantities (learning rates, ranks) take viridis, cut before its pale end, which
is hard to see on white.
"""

from __future__ import annotations

INK = "#1b1f24"
MUTED = "#5b6470"
GRID = "#e3e6ea"
AXIS = "#aab0b8"
WHITE = "#ffffff"  # the ground, rims of marks
GREY = "#9aa1ab"  # single runs, lines to compare with
START = "#00588a"  # where to start
LOST = "#b3261e"  # runs that overflowed, seeds that were lost

REGIME_COLOR = {
    "1": "#0072B2",
    "2": "#CC79A7",
    "2A": "#009E73",
    "2B": "#E69F00",
    "3": "#D55E00",
    "dead": "#3D3D3D",
    "?": "#8A8F98",
}
# Plotly's and matplotlib's names agree. 3 and dead never occur in one map.
PATTERNS = ("none", "plain", "/", "\\", "x", "+", ".")  # "none": tinted, "plain": a block without hatches
REGIME_PATTERN = {"1": "/", "2": "x", "2A": "plain", "2B": "\\", "3": "x", "dead": "+", "?": "."}
REGIME_NAME = {
    "1": "convergence",
    "2": "chaotic equilibrium",
    "2A": "chaotic equilibrium, lower part",
    "2B": "chaotic equilibrium, upper part",
    "3": "divergence",
    "dead": "at chance, without overflow",
    "?": "undetermined",
}

VERDICT_COLOR = {
    "supported": "#009E73",
    "contradicted": "#D55E00",
    "inconclusive": "#E69F00",
    "undetermined": "#8A8F98",
    "reported": "#0072B2",
}

# Twelve samples of viridis (matplotlib, CC0) from 0 to 0.92.
_VIRIDIS = (
    "#440154", "#482173", "#433e85", "#3a548c", "#31678e", "#297a8e",
    "#218e8d", "#20a386", "#35b779", "#5ec962", "#8fd744", "#bddf26",
)  # fmt: skip

# Colours without an order, for lines that a legend tells apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a6d3b", "#9aa1ab")

# The name of a mark is Plotly's; beside it matplotlib's. The first eight tell lines apart by more than their colour.
SYMBOLS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "cross": "P",
    "triangle-down": "v",
    "star": "*",
    "hexagon": "h",
    "x": "x",
}


def symbol(place: int) -> str:
    """The mark of line number `place`."""
    return list(SYMBOLS)[place % 8]


def channels(color: str) -> tuple[int, int, int]:
    """Red, green and blue of `#rrggbb`, 0 to 255."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def rgba(color: str, alpha: float) -> str:
    """`#rrggbb` with an opacity, as CSS writes it."""
    red, green, blue = channels(color)
    return f"rgba({red},{green},{blue},{alpha:g})"


def viridis(place: float) -> str:
    """Colour at `place` in [0, 1], from dark purple to yellow-green."""
    at = min(max(place, 0.0), 1.0) * (len(_VIRIDIS) - 1)
    low = min(int(at), len(_VIRIDIS) - 2)
    pairs = zip(channels(_VIRIDIS[low]), channels(_VIRIDIS[low + 1]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (at - low)):02x}" for a, b in pairs)


def ramp(count: int) -> list[str]:
    """`count` colours spread evenly over the scale."""
    return [viridis(i / max(count - 1, 1)) for i in range(count)]


def colorscale() -> list[tuple[float, str]]:
    """The scale as Plotly wants it: places from 0 to 1 with their colours."""
    last = len(_VIRIDIS) - 1
    return [(i / last, color) for i, color in enumerate(_VIRIDIS)]
