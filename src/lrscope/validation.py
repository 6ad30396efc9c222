"""What a result must be (docs/schema.md), whoever wrote it: its nodes, and the variables of each."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np
import xarray as xr

from lrscope.errors import LrscopeError, shown
from lrscope.schema import (
    ATTRIBUTES,
    AVERAGE,
    AVERAGED,
    FINETUNE,
    NODE_ATTRIBUTES,
    PRETRAIN,
    ROOT_VARIABLES,
    SCHEMA_VERSION,
    SHARED,
    TRAIN,
    Node,
    Variable,
    traits_of,
    variables_of,
)
from lrscope.storage.files import parse_json
from lrscope.terminal import printable
from lrscope.value_checks import (
    LONGEST,
    REMEDY,
    STEPS,
    are_words,
    attribute_json,
    check_attributes,
    check_coordinates,
    check_variables,
)

INCREASING = ("lr", "epoch")  # and a node's own axes, if they are numbers
NAME = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)  # of nodes and of their own axes
LARGEST_LOADED = 1 << 30  # ours, bytes: a larger result stays on disk until its variables are used


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
    for usual in (AVERAGE, FINETUNE):
        if any(node.name == usual.name and node != usual for node in nodes):
            raise LrscopeError(f"node {usual.name!r} states another kind, parent or axes than it has: {REMEDY}")


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
    task, config = (attribute_json(result, name) for name in ("task", "config"))
    return traits_of(task, config, set(map(str, result.to_dataset().dims)), invariant=invariant)


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
    if not _is_name(name):
        raise LrscopeError(f"node {shown(name)} has no name of letters, digits and _: {REMEDY}")
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
    if not isinstance(found, list) or not all(_is_name(axis) and axis not in known for axis in found):
        raise LrscopeError(f"node {name!r} has the axes {shown(axes)}, no JSON list of names of its own: {REMEDY}")
    if len(set(found)) < len(found):
        raise LrscopeError(f"node {name!r} names an axis twice: {REMEDY}")
    return Node(name, kind, parent, tuple(found))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _check_axes(own: xr.Dataset, node: Node) -> None:
    """Raise `LrscopeError` for the first of a node's own axes that has no coordinate of increasing numbers or distinct texts."""
    for axis in node.axes:
        name = f"{node.name}/{axis}"
        if axis not in own.coords or own[axis].dims != (axis,):
            raise LrscopeError(f"axis {name!r} has no coordinate: give it one")
        values = own[axis].values
        if values.dtype.kind not in "iuf":
            if not are_words(values, numbers=False) or len(set(values.tolist())) < len(values):
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
    if "epoch" in own.dims and ("step" not in own.coords or not bool(np.all(np.diff(own["step"].values) > 0))):
        raise LrscopeError(f"coordinate {path + 'step'!r} is missing or not increasing: {REMEDY}")
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
