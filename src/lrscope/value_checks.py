"""What attributes, coordinates and values of a result must be, node by node (docs/schema.md)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from lrscope.errors import LrscopeError, shown
from lrscope.schema import MOMENTS, STATUS
from lrscope.storage.files import parse_json

POSITIVE = ("lr", "finetune_lr")
FRACTIONS = ("epoch",)
STEPS = ("step",)
COUNTS = ("data_seed", "seed", "random_point", "n_average", *STEPS)
WORDS = ("group", "example_group", "test_group", "feature", "metric")
TEXTS = ("title", "config_hash", "space", "device", "machine", "code_hash", "created", "command")
OBJECTS = ("task", "config", "plan", "versions")  # JSON
LONGEST = 1 << 20  # ours, letters: the command of 10,000 learning rates has 200,000
LONGEST_OBJECT = 32 << 20  # ours, letters: the plan of 100,000 chunks that were all cut in two
DEEPEST = 32  # ours: configs and plans are 4 deep
REMEDY = "it was not made by lrscope, or changed since"


def attribute_json(result: xr.DataTree, name: str) -> dict[str, Any]:
    """An attribute that holds a JSON object.

    Raises:
        LrscopeError: it does not, or its values are nested too deeply to be read.
    """
    text = result.attrs[name]
    if not isinstance(text, str) or len(text) > LONGEST_OBJECT:
        raise LrscopeError(f"attribute {name!r} is not a text with JSON: {REMEDY}")
    try:
        value = parse_json(text)
    except ValueError as error:
        raise LrscopeError(f"attribute {name!r} is no JSON ({str(error)[:60]}): {REMEDY}") from None
    if not isinstance(value, dict) or _depth(value) > DEEPEST:
        raise LrscopeError(f"attribute {name!r} is no JSON object of at most {DEEPEST} levels: {REMEDY}")
    return value


def check_attributes(result: xr.DataTree) -> None:
    """Raise `LrscopeError` for the first attribute of a wrong type, length or value; that they are there has been seen."""
    attrs = result.attrs
    version = attrs["schema_version"]
    if not _is_real(version) or version < 1 or int(version) != version:
        raise LrscopeError(f"attribute 'schema_version' is {shown(version)}, not a number of a version: {REMEDY}")
    for name in TEXTS:
        if not isinstance(attrs[name], str) or len(attrs[name]) > LONGEST:
            raise LrscopeError(f"attribute {name!r} is no text of at most {LONGEST:,} letters: {REMEDY}")
    if attrs["space"] not in ("sphere", "whole"):
        raise LrscopeError(f"attribute 'space' is {shown(attrs['space'])}, neither 'sphere' nor 'whole': {REMEDY}")
    if not _is_number(attrs["scale_invariant"]) or attrs["scale_invariant"] not in (0, 1):
        raise LrscopeError(f"attribute 'scale_invariant' is {shown(attrs['scale_invariant'])}, not 0 or 1: {REMEDY}")
    if not _is_real(attrs["seconds"]) or attrs["seconds"] < 0:
        raise LrscopeError(f"attribute 'seconds' is {shown(attrs['seconds'])}, no duration: {REMEDY}")
    task, _, plan, _ = (attribute_json(result, name) for name in OBJECTS)
    if task.get("kind") not in ("classification", "regression"):
        raise LrscopeError(f"attribute 'task' names the kind {shown(task.get('kind'))}: {REMEDY}")
    if not _is_real(task.get("constant_loss", 0.0)):
        raise LrscopeError(f"attribute 'task' has the constant loss {shown(task['constant_loss'])}: {REMEDY}")
    share = plan.get("trained_share", 1.0)
    if not _is_real(share) or not 0 <= share <= 1:
        raise LrscopeError(f"attribute 'plan' has the trained share {shown(share)}: {REMEDY}")


def check_coordinates(own: xr.Dataset, path: str) -> None:
    """Raise `LrscopeError` for the first axis that is empty or whose coordinate is no coordinate of its kind."""
    for name, size in own.sizes.items():
        if size == 0:
            raise LrscopeError(f"dimension {path + str(name)!r} is empty: {REMEDY}")
    for name in map(str, own.coords):
        values = own[name].values
        if name in (*POSITIVE, *FRACTIONS, *COUNTS):
            _check_numbers(name, path, values)
        if name in WORDS and not are_words(values, numbers=name == "feature"):
            raise LrscopeError(f"coordinate {path + name!r} holds something other than text: {REMEDY}")


def are_words(values: np.ndarray[Any, Any], *, numbers: bool) -> bool:
    """Are they texts or, where these will do, whole numbers?"""
    return (numbers and values.dtype.kind in "iu") or all(isinstance(word, str) for word in values.tolist())


def _check_numbers(name: str, path: str, values: np.ndarray[Any, Any]) -> None:
    if values.dtype.kind not in "iuf":
        raise LrscopeError(f"coordinate {path + name!r} holds {values.dtype} instead of numbers: {REMEDY}")
    if not np.isfinite(values).all():
        raise LrscopeError(f"coordinate {path + name!r} holds values that are not finite: {REMEDY}")
    if (values < 0).any() or (name in POSITIVE and (values == 0).any()):
        raise LrscopeError(f"coordinate {path + name!r} holds {values.min():g}, which is too small: {REMEDY}")
    if name in COUNTS and (values != np.floor(values)).any():
        raise LrscopeError(f"coordinate {path + name!r} holds fractions instead of whole numbers: {REMEDY}")
    if name in COUNTS and name not in STEPS and not np.diff(np.sort(values)).all():
        raise LrscopeError(f"coordinate {path + name!r} holds a number twice: {REMEDY}")


def check_variables(own: xr.Dataset, path: str, *, values: bool) -> None:
    """Raise `LrscopeError` for the first variable that holds no numbers, an unknown status, or an accuracy outside 0 to 1.

    Args:
        own: its variables are those of the schema.
        path: what its names begin with in messages.
        values: look at all values, which loads them; otherwise at those of statuses and steps alone.
    """
    for name in map(str, own.data_vars):
        shown_name = path + name
        if own[name].dtype.kind not in "iuf":
            raise LrscopeError(f"variable {shown_name!r} holds {own[name].dtype} instead of numbers: {REMEDY}")
        if name == "status":
            unknown = set(np.unique(own[name].values).tolist()) - set(STATUS)
            if unknown:
                raise LrscopeError(
                    f"variable {shown_name!r} holds the unknown status {shown(min(unknown, key=str))}: {REMEDY}"
                )
        elif name in MOMENTS:
            found = own[name].values
            if not (np.isfinite(found) & (found == np.floor(found)) & (found >= -1)).all():
                raise LrscopeError(f"variable {shown_name!r} holds numbers below -1, fractions or NaN: {REMEDY}")
        elif values and name.endswith("accuracy"):
            found = own[name].values
            if ((found < -1e-6) | (found > 1 + 1e-6)).any():
                raise LrscopeError(f"variable {shown_name!r} holds accuracies outside 0 to 1: {REMEDY}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    """Is it a finite number that a float can hold?"""
    try:
        return _is_number(value) and math.isfinite(value)
    except OverflowError:  # JSON allows whole numbers of any length
        return False


def _depth(value: Any) -> int:
    """Levels of nesting, counted without recursion up to one beyond `DEEPEST`."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        inner = (v.values() if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list)))
        level, depth = [x for part in inner for x in part], depth + 1
    return depth
