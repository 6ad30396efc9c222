"""Grids of learning rates: made, read from text, and checked."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from lrscope.errors import LrscopeError, shown
from lrscope.values import as_number, as_whole

MOST_LRS = 10_000  # ours: a grid that no screen shows and no one waits for
DIGITS = 4  # of the learning rates that `log_grid` makes


def log_grid(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` learning rates from `low` to `high`, evenly spaced on a logarithmic axis, rounded to 4 digits.

    Raises:
        LrscopeError: no whole number of points from 2 to 10,000; not 0 < low < high; a grid finer than 4 digits.
    """
    ends = as_number(low), as_number(high)
    if None in ends:
        wrong = low if ends[0] is None else high
        raise LrscopeError(f"lrs: {shown(wrong)} is not a number: give the grid's ends as numbers, such as 1e-5 and 1")
    low, high = (float(end) for end in ends if end is not None)
    points = as_whole(count)
    if points is None:
        raise LrscopeError(f"lrs: {shown(count)} is no number of points: use a whole number from 2 to {MOST_LRS:,}")
    count = points
    grid = f"the grid {low:g}:{high:g}:{shown(count)}"
    if not (0 < low < high < math.inf):
        raise LrscopeError(f"lrs: {grid} needs 0 < low < high: write low:high:count")
    if not 2 <= count <= MOST_LRS:
        raise LrscopeError(
            f"lrs: {grid} needs at least 2 points: raise its count"
            if count < 2
            else f"lrs: {grid} has more than {MOST_LRS:,} points: lower its count"
        )
    ratio = math.log(high / low) if math.isfinite(high / low) else math.log(high) - math.log(low)
    made = tuple(float(f"{_from(low, ratio * i / (count - 1)):.{DIGITS}g}") for i in range(count))
    if any(b <= a for a, b in pairwise(made)) or not math.isfinite(made[-1]):
        raise LrscopeError(
            f"lrs: {grid} is finer than {DIGITS} digits: lower its count, or give a list of learning rates"
        )
    return made


def _from(low: float, logs: float) -> float:
    """`low` times e to the `logs`, which alone may be too large for a float."""
    try:
        return low * math.exp(logs)
    except OverflowError:
        return math.exp(math.log(low) + logs)


def parse_lrs(text: str, name: str = "lrs") -> tuple[float, ...]:
    """Read `low:high:count` (log grid) or `a,b,c` (a list) as the command line and config files write them."""
    unreadable = LrscopeError(
        f"{name}: cannot read {shown(text)}: write low:high:count, such as 1e-5:1:24, or a list 1e-3,1e-2"
    )
    if ":" in text:
        parts = text.split(":")
        if len(parts) != 3:
            raise unreadable
        low, high, count = as_number(parts[0]), as_number(parts[1]), as_whole(parts[2])
        if low is None or high is None or count is None:
            raise unreadable
        try:
            return log_grid(low, high, count)
        except LrscopeError as error:
            raise LrscopeError(str(error).replace("lrs: ", f"{name}: ", 1)) from None
    numbers = [as_number(part) for part in re.split(r"[,\s]+", text.strip()) if part]
    if None in numbers:
        raise unreadable
    return tuple(float(number) for number in numbers if number is not None)


def check_lrs(name: str, lrs: Sequence[float], *, at_least: int = 1) -> None:
    """Refuse an empty, non-positive, unordered, too small or too large grid."""
    if len(lrs) == 0:
        raise LrscopeError(f"{name}: the grid is empty: give at least {at_least} learning rates, such as 1e-5:1:24")
    for lr in lrs:
        if not (math.isfinite(lr) and lr > 0):
            raise LrscopeError(f"{name}: {lr:g} is not a positive finite learning rate: remove it from the grid")
    for a, b in pairwise(lrs):
        if b <= a:
            raise LrscopeError(
                f"{name}: {_digits(b, a)} comes after {_digits(a, b)}: list the learning rates in increasing order, each once"
            )
    if len(lrs) < at_least:
        raise LrscopeError(
            f"{name}: {len(lrs)} learning rate{'s are' if len(lrs) > 1 else ' is'} too few for a map of regimes: give at least "
            f"{at_least}, such as 1e-5:1:24"
        )
    if len(lrs) > MOST_LRS:
        raise LrscopeError(f"{name}: {len(lrs):,} learning rates are more than {MOST_LRS:,}: thin the grid")


def _digits(value: float, other: float) -> str:
    """A number in as many digits as tell it from the other."""
    short = f"{value:g}"
    return short if value == other or short != f"{other:g}" else repr(value)
