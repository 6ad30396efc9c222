"""How findings and plans are written, on the command line, on the page and in the docs. None and NaN: there is no value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lrscope.charts.text import number, plural
from lrscope.studies.evidence import parts_of
from lrscope.studies.types import REPORTED

COLUMNS = ("part", "verdict", "value", "95% interval", "unit", "criterion", "seeds", "note")


def effect(row: Mapping[str, Any]) -> str:
    """A record's headline: `effect 0.42 decades of ELR, 95% interval 0.31 to 0.53, 5 seeds`, and of several parts which one.

    Where nothing could be read of the weakest part, the first one that has a number is said as well.
    """
    parts = [part for part in parts_of(row) if part["verdict"] != REPORTED] or parts_of(row)
    which = _which(row, parts) if len(parts) > 1 else ""
    if not math.isnan(_float(row["effect"])):
        return f"effect {_measured(row, row['effect'])}{which}"
    read = next((part for part in parts if not math.isnan(_float(part["value"]))), None)
    other = f"; {read['name']}: {_measured(read, read['value'])}" if read else ""
    return f"no effect could be read{which}{other}"


def _which(row: Mapping[str, Any], judged: Sequence[Mapping[str, Any]]) -> str:
    order = "first" if judged[0]["verdict"] == REPORTED else "weakest"
    return f"; {order} of {len(judged)} parts: {row['headline']}"


def _measured(row: Mapping[str, Any], value: Any) -> str:
    """`0.42 decades of ELR, 95% interval 0.31 to 0.53, 5 seeds`, of a record or of a part."""
    unit = f" {row['unit']}" if row.get("unit") else ""
    ends = _interval(row["low"], row["high"])
    ends = f"95% interval {ends}" if ends[0] in "-0123456789" else ends
    return f"{number(_float(value))}{unit}, {ends}, {plural(int(row['seeds']), 'seed')}"


def table(row: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A record's parts: `COLUMNS`, then a row for each, without columns in which nothing is said. Nothing where there is but
    one part, because the headline says it all."""
    parts = parts_of(row)
    columns = [c for c in zip(COLUMNS, *map(_cells, parts), strict=True) if any(c[1:])]
    return list(zip(*columns, strict=True)) if len(parts) > 1 else []


def aligned(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """A table as lines of text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    )


def _cells(part: Mapping[str, Any]) -> tuple[str, ...]:
    seeds, asked = part["seeds"], part["asked"]
    counted = str(seeds) if seeds == asked else f"{seeds} of {asked}"
    ends = _interval(part["low"], part["high"])
    return (
        *(part["name"], part["verdict"], number(_float(part["value"])), ends, part["unit"], part["criterion"]),
        *(counted, part["note"]),
    )


def _interval(low: Any, high: Any) -> str:
    first, last = _float(low), _float(high)
    if math.isnan(first) or math.isnan(last):
        return "no interval"
    return "no spread" if first == last else f"{number(first)} to {number(last)}"


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def plan(told: str) -> str:
    """A result's attribute `plan` in short: runs that never settle are the same to the bit only within one."""
    parts = json.loads(told)
    compiled = ", fused" if parts["fused"] else ", compiled" if parts["compiled"] else ""
    return f"{parts['path']} {parts['chunk']}{compiled}"
