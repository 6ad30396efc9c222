"""What a value that a user hands over plainly is: a number, a whole number, a list. NumPy's and PyTorch's count too."""

from __future__ import annotations

import contextlib
import math
import operator
from fractions import Fraction
from typing import Any

ARRAYS = ("numpy", "torch", "pandas", "xarray", "jax", "jaxlib")  # packages whose numbers and arrays are read
MOST_ITEMS = 10_000  # ours: of a list in an option


def plain(value: Any) -> Any:
    """NumPy's, PyTorch's, pandas' and xarray's numbers and arrays as Python's own numbers and lists; the rest as it is."""
    if type(value).__module__.partition(".")[0] not in ARRAYS:
        return value
    if not hasattr(value, "tolist") and hasattr(value, "values") and not callable(value.values):
        value = value.values  # xarray's DataArray, pandas' DataFrame
    if hasattr(value, "tolist"):
        with contextlib.suppress(
            RuntimeError, NotImplementedError, TypeError, ValueError
        ):  # such as a tensor without data
            return value.tolist()
    return value


def as_number(value: Any) -> int | float | None:
    """An int or float as what it is, other numbers and text as a float; None for anything else, also True and False."""
    value = plain(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (int, str, Fraction)):
        try:
            return int(value) if isinstance(value, int) and abs(value) < 2**63 else float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf  # type: ignore[operator]
        except ValueError:
            return None
    return None


def as_whole(value: Any) -> int | None:
    """A whole number, also written "3" or 3.0; None for anything else, also True and False."""
    value = plain(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return int(value)
    number = as_number(value)
    if number is not None:
        return int(number) if math.isfinite(number) and number == int(number) else None
    if hasattr(type(value), "__index__"):
        with contextlib.suppress(Exception):
            return operator.index(value)
    return None


def as_list(value: Any) -> list[Any] | None:
    """Lists, tuples, ranges and one-dimensional arrays as a list; None for anything else (text, sets, dicts, iterators)."""
    value = plain(value)
    if isinstance(value, (list, tuple, range)):
        return list(value[: MOST_ITEMS + 1])
    return None
