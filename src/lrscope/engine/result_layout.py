"""How a sweep's results are laid out: nodes, coordinates and arrays of a slab of its runs, still empty (docs/schema.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from lrscope.engine.context import Context
from lrscope.engine.segments import Phase
from lrscope.schema import AVERAGE, AVERAGED, MOMENTS, NOT_TRAINED, ROOT_VARIABLES, TRAIN, Node, Variable, variables_of

Arrays = dict[str, np.ndarray[Any, Any]]
Where = tuple[np.ndarray[Any, Any], ...]  # indices of runs, one array for each dimension


@dataclass(frozen=True)
class Slab:
    """Part of a sweep: data seeds data_seed .. data_stop - 1, training seeds seed .. stop - 1, all learning rates."""

    data_seed: int
    data_stop: int
    seed: int
    stop: int

    def holds(self, data_seed: int, seed: int) -> bool:
        """Is the run of these seeds in it?"""
        return self.data_seed <= data_seed < self.data_stop and self.seed <= seed < self.stop


class Layout:
    """The arrays of a slab, a dictionary for each node; those of the root under the empty name."""

    def __init__(self, context: Context, slab: Slab) -> None:
        self.context, self.slab = context, slab
        self.nodes = nodes_of(context.phases)
        self.coords = {"": _shared_coords(context, slab)}
        self.coords |= {node.name: _own_coords(context, node) for node in self.nodes}
        self.table: dict[str, Mapping[str, Variable]] = {"": ROOT_VARIABLES}
        self.table |= {node.name: variables_of(node) for node in self.nodes}
        self.arrays: dict[str, Arrays] = {name: {} for name in self.coords}

    def sizes(self, node: str) -> dict[str, int]:
        """Of the dimensions of a node, those of the root included."""
        return {name: len(values) for name, values in (self.coords[""] | self.coords[node]).values()}

    def slot(self, node: str, name: str) -> np.ndarray[Any, Any]:
        """An array of a node, made where it is asked for."""
        arrays = self.arrays[node]
        if name not in arrays:
            sizes = self.sizes(node)
            absent: Any = NOT_TRAINED if name == "status" else -1 if name in MOMENTS else np.nan
            arrays[name] = np.full([sizes[d] for d in self.table[node][name].dims], absent)
        return arrays[name]

    def position(self, phase: Phase) -> list[int]:
        """The phase's place on its node's own axes."""
        coords = self.coords[phase.segment]
        return [list(coords[axis][1]).index(value) for axis, value in phase.point]

    def times(self, phase: Phase, where: Where) -> Where:
        """`where` with the places of the phase's logging intervals on its node's `epoch` behind it."""
        windows = np.searchsorted(self.coords[phase.segment]["step"][1], phase.windows)
        return (*(index[:, None] for index in where), windows[None])

    def fitting(self) -> Iterator[tuple[str, str, list[int]]]:
        """Node, name and shape of every variable whose dimensions are there."""
        for node, table in self.table.items():
            sizes = self.sizes(node)
            for name, variable in table.items():
                if set(variable.dims) <= set(sizes):
                    yield node, name, [sizes[d] for d in variable.dims]

    def result(self) -> xr.DataTree:
        """Named, described, and filtered by what the task has."""
        stated = {node.name: node.attributes() for node in self.nodes}
        found = {}
        for node, arrays in self.arrays.items():
            known = {name: (values, self.table[node][name]) for name, values in arrays.items()}
            data = {
                name: (v.dims, values, {"units": v.unit, "long_name": v.meaning})
                for name, (values, v) in known.items()
                if v.belongs(self.context.traits)
            }
            found["/" + node] = xr.Dataset(data, self.coords[node], stated.get(node))
        return xr.DataTree.from_dict(found)


def nodes_of(phases: Sequence[Phase]) -> tuple[Node, ...]:
    """The nodes of a sweep's result, one a segment, in the order of its phases."""
    return tuple(dict.fromkeys(node_of(phases, phase) for phase in phases))


def node_of(phases: Sequence[Phase], phase: Phase) -> Node:
    """The node that a phase belongs to."""
    parent = "" if phase.parent is None else phases[phase.parent].segment
    if phase.is_averaged:
        return Node(phase.segment, AVERAGED, parent, AVERAGE.axes)
    return Node(phase.segment, TRAIN, parent, tuple(axis for axis, _ in phase.point))


def _shared_coords(context: Context, slab: Slab) -> dict[str, Any]:
    """Coordinates of the root."""
    config, data = context.config, context.task.data(0)
    coords: dict[str, Any] = {
        "lr": list(config.lrs),
        "data_seed": list(range(slab.data_seed, slab.data_stop)),
        "seed": list(range(slab.seed, slab.stop)),
        "group": np.array(context.net.groups, dtype=object),
        "random_point": list(range(config.random_points)),
    }
    if data.feature_x is not None:
        names = np.array(data.feature_names, dtype=object) if data.feature_names else list(range(len(data.feature_x)))
        coords["feature"] = names
    if context.task.metrics:
        coords["metric"] = np.array(list(context.task.metrics), dtype=object)
    if data.train_group_names:
        coords["example_group"] = np.array(data.train_group_names, dtype=object)
    if data.test_group_names:
        coords["test_group"] = np.array(data.test_group_names, dtype=object)
    return {name: (name, values) for name, values in coords.items()}


def _own_coords(context: Context, node: Node) -> dict[str, Any]:
    """Coordinates of a node: its axes, and the ends of its logging intervals in epochs and steps, those of all its points."""
    steps_per_epoch = len(context.task.data(0).train_x) // context.config.batch_size
    if node.kind == AVERAGED:
        return {axis: (axis, list(context.config.average)) for axis in node.axes}
    phases = [phase for phase in context.phases if phase.segment == node.name]
    coords: dict[str, Any] = {}
    for axis in node.axes:
        values = list(dict.fromkeys(dict(phase.point)[axis] for phase in phases))
        words = [str(value) for value in values if isinstance(value, str)]  # a function's name and digest too
        coords[axis] = (axis, np.array(words, dtype=object) if words else [float(value) for value in values])
    windows = sorted({end for phase in phases for end in phase.windows})
    coords["epoch"] = ("epoch", [w / steps_per_epoch for w in windows])
    coords["step"] = ("epoch", windows)
    return coords
