"""How findings are written, on the command line, on the page and in the docs. None and NaN: there is no value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from lrscope.charts.text import number, plural


def effect(row: Mapping[str, Any]) -> str:
    """`effect 0.42, 95% interval 0.31 to 0.53, 5 seeds`."""
    at, low, high = (_float(row[key]) for key in ("effect", "low", "high"))
    if math.isnan(low) or math.isnan(high):
        interval = "no interval"
    elif low == high:
        interval = "no spread"
    else:
        interval = f"95% interval {number(low)} to {number(high)}"
    return f"effect {number(at)}, {interval}, {plural(int(row['seeds']), 'seed')}"


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def plan(told: str) -> str:
    """A result's attribute `plan` in short: runs that never settle are the same to the bit only within one."""
    parts = json.loads(told)
    compiled = ", fused" if parts["fused"] else ", compiled" if parts["compiled"] else ""
    return f"{parts['path']} {parts['chunk']}{compiled}"
