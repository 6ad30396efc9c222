"""The schema of a result as tables (docs/schema.md): its nodes, the variables of each, attributes and status codes.

A result is a tree. Its root holds what all segments of training share; each segment is a node below it, with the same names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from lrscope.dynamics import statistics

if TYPE_CHECKING:
    import xarray as xr

SCHEMA_VERSION = 2

STATUS = {0: "finished", 1: "non-finite", 2: "stopped", 3: "failed", 4: "not trained"}
NOT_TRAINED = 4
STATUS_REMEDY = {
    "finished": "nothing to do",
    "non-finite": "the loss, a gradient or the weights overflowed: use a smaller learning rate, or train on the sphere",
    "stopped": "the run did not reach its end (its pre-training failed, or a user stopped it): see its status before",
    "not trained": "an adaptive sweep did not need the run for its answer: train the whole grid without --adaptive to see it",
    "failed": "the program failed in this run: run the same command again",
}

MOMENTS = ("nonfinite_step", "branch_step")  # variables that are steps; -1 where there is none
TRAIN, AVERAGED = "train", "average"  # kinds of nodes
RUN = ("lr", "data_seed", "seed")
SHARED = (*RUN, "group", "random_point", "feature", "example_group", "test_group", "metric")  # dimensions of the root


@dataclass(frozen=True)
class Node:
    """A segment of training in a result.

    Attributes:
        name: of the node below the root.
        kind: `train`, or `average` of checkpoints' weights.
        parent: the segment that it branches from; empty for one that starts at initial weights.
        axes: its own, which come after `lr` in the dimensions of its variables.
    """

    name: str
    kind: str
    parent: str = ""
    axes: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[str, ...]:
        """The dimensions of its runs: (lr, *axes, data_seed, seed)."""
        return (RUN[0], *self.axes, *RUN[1:])

    @property
    def logs(self) -> str:
        """The kind of segments whose statistics it has (`dynamics.statistics`): pretrain, average, finetune or branch."""
        if self.kind == AVERAGED:
            return "average"
        if not self.parent:
            return "pretrain"
        return "finetune" if self.name == "finetune" else "branch"

    def attributes(self) -> dict[str, str]:
        """What the node's attributes state."""
        return {"kind": self.kind, "parent": self.parent, "axes": json.dumps(list(self.axes))}


PRETRAIN = Node("pretrain", TRAIN)
AVERAGE = Node("average", AVERAGED, PRETRAIN.name, ("n_average",))
FINETUNE = Node("finetune", TRAIN, PRETRAIN.name, ("finetune_lr",))


@dataclass(frozen=True)
class Variable:
    """One row of the schema: named dimensions, unit, meaning; `when` says which tasks have it: those with all its traits."""

    dims: tuple[str, ...]
    unit: str
    meaning: str
    when: str = "always"  # always, or words of `traits_of`

    def belongs(self, traits: AbstractSet[str]) -> bool:
        """Does a result with these traits (and always) hold it?"""
        return set(self.when.split()) <= traits


_RANDOM = ("data_seed", "seed", "random_point")
ROOT_VARIABLES: Mapping[str, Variable] = {
    "seconds": Variable(RUN, "s", "wall time of the run's chunk divided by the runs in it"),
    "random_train_loss": Variable(_RANDOM, "nat", "training loss at random points"),
    "random_train_accuracy": Variable(_RANDOM, "1", "training accuracy at random points", "classification"),
}


@cache
def variables_of(node: Node) -> Mapping[str, Variable]:
    """What a node may hold, whatever the task: the table of statistics, and what the program did with each run."""
    table = {}
    if node.kind == TRAIN:
        table["status"] = Variable(node.runs, "-", "what the program did with the run: " + str(STATUS))
    if node.logs == "branch":
        meaning = "after how many of the parent's steps the run left it, -1 if it never came there"
        table["branch_step"] = Variable(node.runs, "step", meaning)
    if node.logs in statistics.WHOLE:
        meaning = "first step that was not finite, -1 if none"
        table["nonfinite_step"] = Variable(node.runs, "step", meaning)
        meaning = "total effective learning rate at the end of the logging interval"
        table["elr"] = Variable((*node.runs, "epoch"), "1", meaning, "invariant")
    over_time = (*statistics.STEP, *statistics.INTERVAL)
    for statistic in (*over_time, *statistics.END, *statistics.AVERAGE):
        if node.logs in statistic.segments:
            time = ("epoch",) if statistic in over_time else ()
            dims = (*node.runs, *time, *statistic.dims)
            table[statistic.name] = Variable(dims, statistic.unit, statistic.meaning, statistic.needs)
    return table


def segment(result: xr.DataTree, name: str) -> xr.Dataset:
    """The variables of one node of a result, with the coordinates that it shares with the others."""
    return result.children[name].to_dataset()


def segment_if_any(result: xr.DataTree, node: Node) -> xr.Dataset | None:
    """The same; None where the sweep had no such segment."""
    return segment(result, node.name) if node.name in result.children else None


ATTRIBUTES = (
    "schema_version",
    "title",
    "task",
    "config",
    "config_hash",
    "plan",
    "space",
    "scale_invariant",
    "device",
    "machine",
    "versions",
    "code_hash",
    "created",
    "seconds",
    "command",
)
NODE_ATTRIBUTES = ("kind", "parent", "axes")


def traits_of(
    task: Mapping[str, Any], config: Mapping[str, Any], dimensions: AbstractSet[str], *, invariant: bool
) -> frozenset[str]:
    """What the variables of a result depend on, from its attributes `task` and `config` and the dimensions of its root."""
    groups = "example_group" in dimensions
    found = {
        "always": True,
        "classification": task.get("kind") == "classification",
        "example_groups": groups,
        "test_groups": "test_group" in dimensions,
        "true_labels": groups and bool(task.get("true_labels")),
        "validation": has_validation(task),
        "invariant": invariant,
        "features": "feature" in dimensions,
        "logged_features": "feature" in dimensions and bool(config.get("log_features")),
        "metrics": "metric" in dimensions,
    }
    return frozenset(name for name, holds in found.items() if holds)


def has_validation(task: Mapping[str, Any]) -> bool:
    """Does a result with this `task` attribute hold validation metrics? Results of earlier versions say nothing of them."""
    validation = task.get("validation")
    return isinstance(validation, dict) and validation.get("size", 0) != 0
