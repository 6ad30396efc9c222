"""A network and its checkpoints as values at points of weight space and rows of weights. P parameters, N checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from lrscope.config import EngineConfig, SweepConfig
from lrscope.engine.context import Context
from lrscope.engine.material import POPULATION_EXAMPLES
from lrscope.engine.memory_limits import GIB, machine_memory
from lrscope.engine.net import Net
from lrscope.engine.step import Named
from lrscope.engine.sweep_folder import Store
from lrscope.errors import LrscopeError, first_line
from lrscope.landscapes.files import left_out, sources
from lrscope.landscapes.match import Files, Fitted, Layout, check_types, fitted
from lrscope.landscapes.rows import Matrix, Paths, Rows, named
from lrscope.measures.common import evaluation
from lrscope.measures.landscape import LEAST, NetworkValues
from lrscope.tasks.factory import weights_type
from lrscope.tasks.task import Task
from lrscope.trained import State, Trained

BATCH = 128  # three_regimes and feature_learning
WEIGHTS_HELD = 8  # float64 vectors of P numbers: origin, three directions, and points in the making
EvaluationPath = Literal["single", "batched"]


@dataclass(frozen=True)
class Survey:
    """What a landscape is made from: values at points, checkpoints with their paths, shapes of tensors in their order in a
    point, and what to know."""

    values: NetworkValues
    rows: Rows
    paths: Paths
    shapes: Mapping[str, tuple[int, ...]]
    dtype: torch.dtype
    notes: tuple[str, ...]
    facts: Mapping[str, str | int]


def of_task(
    task: Task,
    checkpoints: Any,
    *,
    data_seed: int,
    batch_size: int | None,
    device: str,
    path: EvaluationPath | None,
    memory: int,
    test: bool,
) -> Survey:
    """The survey of checkpoints of a task's model.

    Raises:
        LrscopeError: checkpoints that do not fit the model, and what a sweep of the task would refuse.
    """
    context = _context(task, batch_size, data_seed, device)
    _check_memory(context.net.size, context.device)
    found = sources(checkpoints)
    inner = "" if task.batches is None else "model."  # the losses of (model, batch) are a network around the model
    layout = Layout.of(task.new_model(0), context.net.slots, context.net.frozen, inner)
    paths = named({name: [source.label for source in path] for name, path in found.items()})
    opened = [
        fitted(source, label, layout)
        for source, label in zip((s for path in found.values() for s in path), paths.labels, strict=True)
    ]
    kept = [one for one, _ in opened]
    check_types([types for _, types in opened], paths.labels)
    frozen = _frozen(kept, context.net.frozen, context.device, context.dtype)
    values = _values(context, context.material(data_seed), frozen, path, memory, test)
    rows = Files(kept, context.net.slots)
    notes = *left_out(checkpoints), *_reading(kept, context.dtype, opened[0][1]), *_about(context.net)
    shapes = {slot.name: slot.shape for slot in context.net.slots}
    return Survey(values, rows, paths, shapes, context.dtype, notes, _facts(values, task, data_seed))


def of_trained(
    trained: Trained, checkpoints: Any, *, data_seed: int | None, path: EvaluationPath | None, test: bool
) -> Survey:
    """The survey of states of a sweep: a list of them, or lists by the name of their path, the main one first.

    Raises:
        LrscopeError: what are no states of one run of this sweep.
    """
    given = checkpoints if isinstance(checkpoints, Mapping) else {"main": checkpoints}
    states = {str(name): _states(str(name), value) for name, value in given.items()}
    flat = [state for own in states.values() for state in own]
    first = flat[0]
    for state in flat:
        if any(not torch.equal(state.frozen[name], value) for name, value in first.frozen.items()):
            raise LrscopeError("checkpoints: their frozen tensors differ: pass states of one seed")
    chosen = path or ("single" if trained.net.stochastic else trained.path)
    if chosen == "batched" and trained.net.stochastic:
        raise LrscopeError("path: a net with dropout is not batched: use path='single', or leave it out")
    program, material = evaluation(trained, first, data_seed, path=chosen)
    values = NetworkValues(program, material, first.frozen, test=test)
    weights = torch.cat([state.weights for state in flat])
    paths = named({name: [str(i) for i in range(len(own))] for name, own in states.items()})
    shapes = {slot.name: slot.shape for slot in trained.net.slots}
    facts = _facts(values, trained.task, material.data_seed)
    return Survey(values, Matrix(weights), paths, shapes, first.weights.dtype, tuple(_about(trained.net)), facts)


def _states(name: str, given: Any) -> list[State]:
    found = list(given) if isinstance(given, list | tuple) else []
    if not found or any(not isinstance(state, State) or len(state.weights) != 1 for state in found):
        raise LrscopeError(f"checkpoints: {name} is no list of states of one run: pass what Trained.state returns")
    return found


def _context(task: Task, batch_size: int | None, data_seed: int, device: str) -> Context:
    examples = len(task.data(data_seed).train_x)
    precision = "float64" if weights_type(task.new_model(0)) == torch.float64 else "float32"
    config = SweepConfig(
        lrs=(1.0,),
        space="whole",
        steps=1,
        batch_size=batch_size or task.batch_size or min(BATCH, examples),
        precision=precision,
    )
    return Context.build(task, config, EngineConfig(device=device), Store(Path("unused")))


def _check_memory(size: int, device: torch.device) -> None:
    known, need = machine_memory(torch.device("cpu")), 8 * WEIGHTS_HELD * size
    if known is not None and need > known[1]:
        raise LrscopeError(
            f"checkpoints: a surface through {size:,} parameters needs {need / GIB:.1f} GiB, {known[1] / GIB:.1f} GiB are free: "
            "use a machine with more memory, or a smaller model"
        )


def _frozen(kept: list[Fitted], names: tuple[str, ...], device: torch.device, dtype: torch.dtype) -> Named:
    """Frozen tensors [1, ...], which all checkpoints must share."""
    first = kept[0].read(names)
    for other in kept[1:]:
        for name, value in other.read(names).items():
            if not torch.equal(value, first[name]):
                raise LrscopeError(
                    f"checkpoints: {name}, which is not trained, differs between {kept[0].label} and {other.label}: pass "
                    "checkpoints of one run"
                )
    placed = {name: value[None].to(device) for name, value in first.items()}
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in placed.items()}


def _values(
    context: Context, material: Any, frozen: Named, path: EvaluationPath | None, memory: int, test: bool
) -> NetworkValues:
    """Batched where that pays and can be done; convolutions on a CPU one network at a time (docs/performance.md)."""
    if path == "batched" and context.net.stochastic:
        raise LrscopeError("path: a net with dropout is not batched: use path='single', or leave it out")
    convolves = any(isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) for m in context.net.module.modules())
    alone = bool(context.one_at_a_time) or context.net.stochastic or (convolves and context.device.type == "cpu")
    batched = NetworkValues(context.program("batched", False), material, frozen, test=test)
    single = NetworkValues(context.program("single", False), material, frozen, test=test)
    if path == "single" or (path is None and alone):
        return single
    try:
        batched.at_once(
            memory, State(torch.zeros(LEAST, context.net.size, dtype=context.dtype)[:1].to(context.device), {})
        )
    except Exception as error:  # vmap meets what a user's module does
        if path is None:
            return single
        raise LrscopeError(f"path: batched fails for this model ({first_line(error)}): use path='single'") from error
    return batched


def _reading(kept: list[Fitted], dtype: torch.dtype, types: Mapping[str, torch.dtype]) -> list[str]:
    """What was done to read the checkpoints."""
    notes = []
    if prefixes := sorted({one.prefix for one in kept if one.prefix}):
        notes.append(f"names in the checkpoints begin with {' or '.join(prefixes)}, which was left out")
    others = sorted({str(t).removeprefix("torch.") for t in types.values() if t != dtype})
    if others:
        notes.append(f"weights stored as {', '.join(others)} are evaluated in {str(dtype).removeprefix('torch.')}")
    return notes


def _about(net: Net) -> list[str]:
    notes = []
    if net.norms:
        notes.append(
            "batch norms: statistics in the checkpoints are not used; training values have those of their batch, test values "
            f"those re-estimated at every point over up to {POPULATION_EXAMPLES:,} training examples"
        )
    if net.stochastic:
        notes.append("training values are noisy, since the model draws noise in train mode")
    return notes


def _facts(values: NetworkValues, task: Task, data_seed: int) -> dict[str, str | int]:
    material = values.material
    x, _ = material.batches()
    return {
        "task": task.name,
        "parameters": values.size,
        "train_examples": len(x) * x.shape[1],
        "test_examples": len(material.test_x),
        "batch_size": int(x.shape[1]),
        "data_seed": data_seed,
        "path": "batched" if values.batched else "single",
        "precision": str(material.dtype).removeprefix("torch."),
    }
