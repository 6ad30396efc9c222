"""How numbers and names are written in figures and beside them."""

from __future__ import annotations

import html
import math

NOTHING = "–"  # where there is no value


def number(value: float, digits: int = 3) -> str:
    """Significant digits without padding: 0.018, 12.5, 7.5e-3; a dash where there is no value."""
    if not math.isfinite(value):
        return NOTHING
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"
    return scientific(value, digits)


def scientific(value: float, digits: int = 3) -> str:
    """7.5e-3 rather than 7.50e-03."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}" if int(exponent) else mantissa


def plural(count: int, noun: str) -> str:
    """1 seed, 5 seeds."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shorten(name: str, length: int = 28) -> str:
    """A long name with its middle left out: both ends of a parameter's path tell layers apart."""
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return name[:head] + "…" + name[-(length - 1 - head) :]


def plain(words: str, length: int = 60) -> str:
    """Text that is safe inside Plotly's labels: its pseudo-HTML is escaped, its length bounded."""
    return html.escape(shorten(words, length), quote=False)
