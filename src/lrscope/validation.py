"""What a result's attributes, coordinates and values must be (docs/schema.md), whoever wrote it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr

from lrscope.errors import LrscopeError, shown
from lrscope.schema import (
    ATTRIBUTES,
    AVERAGED,
    NODE_ATTRIBUTES,
    PRETRAIN,
    ROOT_VARIABLES,
    SCHEMA_VERSION,
    SHARED,
    STATUS,
    TRAIN,
    Node,
    Variable,
    traits_of,
    variables_of,
)
from lrscope.storage.files import parse_json
from lrscope.terminal import printable

POSITIVE = ("lr", "finetune_lr")
FRACTIONS = ("epoch",)
STEPS = ("step",)
COUNTS = ("data_seed", "seed", "random_point", "n_average", *STEPS)
WORDS = ("group", "example_group", "feature", "metric")
INCREASING = ("lr", "epoch")  # and a node's own axes, if they are numbers
TEXTS = ("title", "config_hash", "space", "device", "machine", "code_hash", "created", "command")
OBJECTS = ("task", "config", "plan", "versions")  # JSON
LONGEST = 1 << 20  # ours, letters: the command of 10,000 learning rates has 200,000
LONGEST_OBJECT = 32 << 20  # ours, letters: the plan of 100,000 chunks that were all cut in two
LARGEST_LOADED = 1 << 30  # ours, bytes: a larger result stays on disk until its variables are used
DEEPEST = 32  # ours: configs and plans are 4 deep
REMEDY = "it was not made by lrscope, or changed since"


def validate(result: xr.DataTree) -> None:
    """Raise `LrscopeError` for the first rule of docs/schema.md that the result breaks; it names node and variable."""
    version = result.attrs.get("schema_version")
    if version is None:
        raise LrscopeError("attribute 'schema_version' is missing: this is not a result of lrscope sweep or map")
    check_version(version)
    for name in ATTRIBUTES:
        if name not in result.attrs:
            raise LrscopeError(f"attribute {name!r} is missing from the result: run the sweep again")
    check_attributes(result)
    traits = result_traits(result)
    nodes = result_nodes(result)
    loaded = result.nbytes <= LARGEST_LOADED
    _check_node(result.to_dataset(), "", SHARED, ROOT_VARIABLES, traits, values=loaded)
    for node in nodes:
        dims = (*SHARED, "epoch", *node.axes) if node.kind == TRAIN else (*SHARED, *node.axes)
        own = result.children[node.name].to_dataset(inherit=False)
        _check_axes(own, node)
        _check_node(own, node.name + "/", dims, variables_of(node), traits, values=loaded)


def check_version(version: object) -> None:
    """Refuse a result that a newer lrscope wrote."""
    if isinstance(version, (int, float)) and version > SCHEMA_VERSION:
        raise LrscopeError(
            f"schema_version {shown(version)} is newer than the {SCHEMA_VERSION} this lrscope reads: "
            "update lrscope (pip install --upgrade lrscope)"
        )


def result_traits(result: xr.DataTree) -> frozenset[str]:
    """What the variables that a result must hold depend on."""
    invariant = bool(int(result.attrs["scale_invariant"]))
    return traits_of(attribute_json(result, "task"), set(map(str, result.to_dataset().dims)), invariant=invariant)


def result_nodes(result: xr.DataTree) -> tuple[Node, ...]:
    """The segments of a result, as the attributes of its nodes state them.

    Raises:
        LrscopeError: one states none, or pre-training is missing.
    """
    nodes = tuple(_stated(name, child) for name, child in result.children.items())
    known = {node.name: node for node in nodes}
    if known.get(PRETRAIN.name) != PRETRAIN:
        raise LrscopeError(
            f"node {PRETRAIN.name!r} is missing or does not start at initial weights: run the sweep again"
        )
    for node in nodes:
        line = [node.name]
        while known[line[-1]].parent:
            line.append(known[line[-1]].parent)
            if line[-1] not in known:
                raise LrscopeError(f"node {node.name!r} branches from {shown(line[-1])}, which is not there: {REMEDY}")
            if len(line) > len(nodes):
                raise LrscopeError(f"node {node.name!r} branches from itself, by way of its parents: {REMEDY}")
    return nodes


def _stated(name: str, child: xr.DataTree) -> Node:
    """The segment that a node states."""
    if child.children:
        raise LrscopeError(f"node {name!r} has nodes below it: {REMEDY}")
    for attribute in NODE_ATTRIBUTES:
        if not isinstance(child.attrs.get(attribute), str):
            raise LrscopeError(f"node {name!r} states no {attribute!r} in its attributes: {REMEDY}")
    kind, parent, axes = (child.attrs[attribute][:LONGEST] for attribute in NODE_ATTRIBUTES)
    if kind not in (TRAIN, AVERAGED):
        raise LrscopeError(f"node {name!r} is of the kind {shown(kind)}, neither {TRAIN!r} nor {AVERAGED!r}: {REMEDY}")
    if kind == AVERAGED and not parent:
        raise LrscopeError(f"node {name!r} averages weights and has no parent: {REMEDY}")
    try:
        found = parse_json(axes)
    except ValueError:
        found = None
    known = {*SHARED, "epoch", "step"}
    if not isinstance(found, list) or not all(isinstance(axis, str) and axis not in known for axis in found):
        raise LrscopeError(f"node {name!r} has the axes {shown(axes)}, no JSON list of names of its own: {REMEDY}")
    if len(set(found)) < len(found):
        raise LrscopeError(f"node {name!r} names an axis twice: {REMEDY}")
    return Node(name, kind, parent, tuple(found))


def _check_axes(own: xr.Dataset, node: Node) -> None:
    """Raise `LrscopeError` for the first of a node's own axes that has no coordinate of increasing numbers or distinct texts."""
    for axis in node.axes:
        name = f"{node.name}/{axis}"
        if axis not in own.coords or own[axis].dims != (axis,):
            raise LrscopeError(f"axis {name!r} has no coordinate: give it one")
        values = own[axis].values
        if values.dtype.kind not in "iuf":
            if not _are_words(values, numbers=False) or len(set(values.tolist())) < len(values):
                raise LrscopeError(f"axis {name!r} holds neither numbers nor distinct texts: {REMEDY}")
        elif not np.isfinite(values).all():
            raise LrscopeError(f"coordinate {name!r} holds values that are not finite: {REMEDY}")
        elif not (np.diff(values) > 0).all():
            raise LrscopeError(f"coordinate {name!r} is not increasing: sort it")


def _check_node(
    own: xr.Dataset,
    path: str,
    dims: Collection[str],
    table: Mapping[str, Variable],
    traits: frozenset[str],
    *,
    values: bool,
) -> None:
    """Raise `LrscopeError` for the first dimension, coordinate or variable of a node that breaks a rule.

    Args:
        own: the node without what it inherits.
        path: what its names begin with in messages.
        dims: those that it may have.
        table: the variables that it may have.
        traits: what those that it must have depend on.
        values: look at all values, which loads them; otherwise at those of statuses alone.
    """
    for dim in map(str, own.dims):
        if dim not in dims:
            raise LrscopeError(f"dimension {path + dim!r} is not in the schema: use one of {', '.join(dims)}")
        if dim not in own.coords and (dim not in SHARED or not path):
            raise LrscopeError(f"dimension {path + dim!r} has no coordinate: give it one")
    for name in map(str, own.coords):
        if name not in (*dims, *STEPS):
            raise LrscopeError(f"coordinate {path + name!r} is not in the schema: remove it")
    check_coordinates(own, path)
    for dim in INCREASING:
        if dim in own.coords and not bool(np.all(np.diff(own[dim].values) > 0)):
            raise LrscopeError(f"coordinate {path + dim!r} is not increasing: sort it")
    for dim in ("feature", "metric"):
        if dim in own.coords and len(set(own[dim].values.tolist())) < own.sizes[dim]:
            raise LrscopeError(f"coordinate {path + dim!r} holds a name twice: give each one of its own")
    for name, variable in sorted(table.items()):
        if variable.belongs(traits) and name not in own:
            raise LrscopeError(f"variable {path + name!r} is missing from the result: run the sweep again")
    for name in map(str, own.data_vars):
        if name not in table:
            raise LrscopeError(f"variable {path + name!r} is not in the schema: remove or rename it")
        if own[name].dims != table[name].dims:
            raise LrscopeError(
                f"variable {path + name!r} has dimensions {own[name].dims}, the schema says {table[name].dims}: transpose it"
            )
    check_variables(own, path, values=values)


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
        if name in WORDS and not _are_words(values, numbers=name == "feature"):
            raise LrscopeError(f"coordinate {path + name!r} holds something other than text: {REMEDY}")


def _are_words(values: np.ndarray[Any, Any], *, numbers: bool) -> bool:
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
        values: look at all values, which loads them; otherwise at those of statuses alone.
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
        elif values and name.endswith("accuracy"):
            found = own[name].values
            if ((found < -1e-6) | (found > 1 + 1e-6)).any():
                raise LrscopeError(f"variable {shown_name!r} holds accuracies outside 0 to 1: {REMEDY}")
        elif name == "nonfinite_step" and not (own[name].values >= -1).all():
            raise LrscopeError(f"variable {shown_name!r} holds numbers below -1 or NaN: {REMEDY}")


def cleaned(result: xr.DataTree) -> xr.DataTree:
    """The result without control codes in its texts, which could repaint a terminal; itself if it has none."""
    nodes = {node.path: node.to_dataset(inherit=False) for node in result.subtree}
    clean = {path: _cleaned(node) for path, node in nodes.items()}
    return result if all(clean[path] is nodes[path] for path in nodes) else xr.DataTree.from_dict(clean)


def _cleaned(node: xr.Dataset) -> xr.Dataset:
    attrs = {name: printable(value) if isinstance(value, str) else value for name, value in node.attrs.items()}
    words = {}
    for name, coordinate in node.coords.items():
        if coordinate.dtype.kind not in "iuf":
            old = coordinate.values.tolist()
            new = [printable(word) for word in old]
            if new != old:
                words[name] = np.array(new, dtype=object)
    if not words and attrs == node.attrs:
        return node
    return node.assign_coords(words).assign_attrs(attrs)


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
