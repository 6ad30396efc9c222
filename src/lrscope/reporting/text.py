"""How numbers, durations and sentences are written, on the page and in the figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lrscope.charts.text import NOTHING, number
from lrscope.mapping.types import Border, Label
from lrscope.terminal import printable


def rate(lr: float) -> str:
    """A learning rate as the command line prints it, so that one number looks the same everywhere: 0.0277, 1e-05."""
    return f"{lr:.3g}"


def duration(seconds: float) -> str:
    """7 s, 12 min, 3 h 05 min."""
    if not math.isfinite(seconds):
        return NOTHING
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def moment(stamp: str) -> str:
    """An ISO 8601 time as `2025-01-02 03:04 UTC`; anything else as it is."""
    try:
        when = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if when.tzinfo else f"{when:%Y-%m-%d %H:%M}"


def sentence(words: str, *, capital: bool = True) -> str:
    """The words as one sentence: one full stop last, a capital first unless they end another sentence."""
    words = words.strip().rstrip(".")
    first = words[:1].upper() if capital else words[:1]
    return first + words[1:] + "." if words else ""


def votes(label: Label) -> str:
    """`2A × 4, 2B × 1`: how many single runs carry which label."""
    ordered = sorted(label.votes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{regime} × {count}" for regime, count in ordered)


def interval(border: Border, write: Any) -> str:
    """`7.5e-3 (5.6e-3 to 1e-2)`, or that it is undetermined; `write` turns a learning rate into text."""
    if border.lr is None:
        return "undetermined"
    if border.low is None or border.high is None:
        return str(write(border.lr))
    return f"{write(border.lr)} ({write(border.low)} to {write(border.high)})"


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested config as rows of (dotted name, value); short lists of plain values stay on one line."""
    if isinstance(value, Mapping):
        pairs: Iterable[tuple[str, Any]] = ((printable(str(k)), v) for k, v in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str) and _nested(value):
        pairs = ((str(i), v) for i, v in enumerate(value))
    else:
        return [(prefix, _plain(value))]
    rows = []
    for key, inner in pairs:
        rows += flatten(inner, f"{prefix}.{key}" if prefix else key)
    return rows or [(prefix, "(empty)")]


def task_rows(summary: Any) -> list[tuple[str, str]]:
    """What a task is made of, for people: names without underscores, the validation set in one row, no empty entries."""
    if not isinstance(summary, Mapping):
        return flatten(summary)
    told = dict(summary)
    validation = told.pop("validation", None)
    if isinstance(validation, Mapping):
        size = validation.get("size")
        told["validation_size"] = f"{_plain(size)} ({_plain(validation.get('source'))})" if size else "none"
    if not told.get("probes"):
        told.pop("probes", None)
    else:
        told["feature_sets"] = told.pop("probes")
    return [(name.replace("_", " ").replace(".", " "), value) for name, value in flatten(told)]


def parse(attribute: Any) -> Any:
    """A JSON attribute as a value; text that is no JSON stays text."""
    try:
        return json.loads(attribute)
    except (TypeError, ValueError):
        return str(attribute)


def _nested(values: Sequence[Any]) -> bool:
    return any(isinstance(v, (Mapping, list, tuple)) for v in values)


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value, 6)
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(v) for v in value) or "(empty)"
    return printable(str(value))
