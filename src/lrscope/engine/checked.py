"""Reading units of work from the store: only what this very sweep made, in the shapes and types it must have.

A checksum says that a file is as it was written, not who wrote it. So the sweep's identity, the runs and every tensor are
compared before anything is laid out or trained on. What does not fit is renamed, never deleted, and computed again.

R runs, W logging windows, G groups of weights, E groups of examples, F feature sets, A sizes of averages, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lrscope.dynamics.statistics import AVERAGE, END, Statistic, packed_size, shapes
from lrscope.engine.branching import held
from lrscope.engine.older import by_name
from lrscope.engine.plan import Chunk, Plan
from lrscope.engine.segments import BRANCH, Phase
from lrscope.engine.state import AVERAGED, BRANCHED, LOG, LOGGED, PRETRAINED, own_name, run_axis
from lrscope.engine.sweep_folder import CHECKPOINT, DONE, FOREIGN
from lrscope.terminal import warn

if TYPE_CHECKING:
    from lrscope.engine.context import Context

RANDOM = "random-"  # units that evaluate random points instead of training: RANDOM + data seed
SLACK = 64 << 20  # ours, bytes beyond four times what a unit must hold: its header and what later versions add

Saved = tuple[dict[str, Tensor], dict[str, Any]]
Shapes = dict[str, tuple[int, ...]]


def load_chunk(context: Context, plan: Plan, chunk: Chunk) -> Saved | None:
    """A finished chunk; None if it is absent, damaged or not of this sweep, which a warning says."""
    return _load(
        context, plan, chunk, chunk.name + DONE, lambda tensors, meta: _results(context, chunk, _phases(context, chunk))
    )


def load_checkpoint(context: Context, plan: Plan, chunk: Chunk) -> Saved | None:
    """Where an unfinished chunk goes on; None likewise."""

    def wanted(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Shapes:
        return _state(context, chunk, meta["cursor"], begun="weights" in tensors)

    return _load(context, plan, chunk, chunk.name + CHECKPOINT, wanted)


def load_random(context: Context, plan: Plan, data_seed: int) -> Saved | None:
    """Losses and accuracies at random points; None likewise."""
    shape = context.config.seeds, context.config.random_points
    name = f"{RANDOM}{data_seed:05d}{DONE}"
    return _load(context, plan, None, name, lambda tensors, meta: {"loss": shape, "accuracy": shape})


def load_unit(context: Context, plan: Plan, unit: str) -> Saved | None:
    """The result of any unit."""
    if unit.startswith(RANDOM):
        return load_random(context, plan, int(unit.removeprefix(RANDOM)))
    return load_chunk(context, plan, context.chunk(plan, unit))


def _load(context: Context, plan: Plan, chunk: Chunk | None, name: str, wanted: Any) -> Saved | None:
    saved = context.store.load(name, most=SLACK + 4 * _most(context, chunk))
    if saved is None:
        return None
    saved = by_name(saved[0]), saved[1]
    try:
        reason = _another(context, plan, chunk, saved[1]) or _misfit(context, chunk, saved[0], wanted(*saved))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):  # what it says of itself makes no sense
        reason = "what it says of itself cannot be read"
    if not reason:
        return saved
    aside = context.store.set_aside(name, FOREIGN)
    warn(f"{context.store.chunks / name} is not of this sweep ({reason}); it is kept as {aside} and computed again")
    return None


def _most(context: Context, chunk: Chunk | None) -> int:
    """Bytes that a unit may need at most, all phases' logs and weights together."""
    if chunk is None:
        return 16 * context.config.seeds * context.config.random_points
    whole = _results(context, chunk, tuple(enumerate(context.phases)))
    kept_states = sum(len(p.leaves_at) + len(p.leaves_below) + 1 for p in context.phases)
    weights = len(chunk.runs) * context.net.size * (8 + 2 * len(context.phases) + 4 * kept_states)
    kept = sum(len(p.snapshots) for p in context.phases) + len(context.config.average)
    return 8 * (sum(math.prod(s) for s in whole.values()) + weights + len(chunk.runs) * context.net.size * kept)


def _another(context: Context, plan: Plan, chunk: Chunk | None, meta: Mapping[str, Any]) -> str:
    """How a unit of another sweep or plan gives itself away; empty if it does not."""
    if meta["identity"] != context.identity:
        return "its settings or data are others"
    if (meta["plan"]["path"], meta["plan"]["chunk"]) != (plan.path, plan.chunk):
        return "its plan is another"
    if chunk is None:
        return ""
    if "runs" in meta and [tuple(run) for run in meta["runs"]] != list(chunk.runs):  # of earlier versions it is absent
        return "its runs are others"
    if not 0 <= meta["seconds"] < math.inf:
        return f"it took {meta['seconds']} seconds"
    return ""


def _misfit(context: Context, chunk: Chunk | None, tensors: Mapping[str, Tensor], wanted: Shapes) -> str:
    """The first tensor that is missing or has another shape or type; empty if all fit."""
    for name, shape in wanted.items():
        if name not in tensors:
            return f"{name} is missing"
        if tuple(tensors[name].shape) != shape:
            return f"{name} has the shape {tuple(tensors[name].shape)} instead of {shape}"
    remembered = context.remembered(1)
    for name, value in tensors.items():
        last = own_name(name)
        kinds: tuple[torch.dtype, ...] = (
            (context.dtype,) if last.endswith("weights") else (torch.float32, torch.float64)
        )
        if last in remembered:
            kinds = (remembered[last].dtype,)
        if value.dtype not in kinds:
            return f"{name} is of type {value.dtype}"
        if chunk is not None and value.dim():
            axis = run_axis(name)
            if value.dim() <= axis or value.shape[axis] != len(chunk.runs):
                return f"{name} has the shape {tuple(value.shape)} for {len(chunk.runs)} runs"
        if last == "finite_steps" and not bool(((value >= 0) & (value == value.floor())).all()):
            return f"{name} counts no steps"
    return ""


def _phases(context: Context, chunk: Chunk) -> tuple[tuple[int, Phase], ...]:
    """The phases of a chunk with their numbers."""
    return tuple(enumerate(context.phases))[chunk.first : chunk.stop]


def _results(context: Context, chunk: Chunk, phases: Sequence[tuple[int, Phase]]) -> Shapes:
    """Shapes of what `ChunkTrainer` leaves of finished segments."""
    runs = len(chunk.runs)
    found: Shapes = {PRETRAINED + "weights": (runs, context.net.size)} if phases else {}
    for number, phase in phases:
        key = f"{phase.kind}.{number}."
        found[key + "finite_steps"] = (runs,)
        if phase.kind == BRANCH:
            found[key + BRANCHED] = (runs,)
        if phase.is_averaged:
            found |= _shapes(context, AVERAGE, phase, key, (len(context.config.average), runs))
        else:
            found |= _shapes(context, LOGGED, phase, key, (len(phase.windows), runs))
            found |= _shapes(context, END, phase, key, (runs,))
    return found


def _shapes(context: Context, table: Sequence[Statistic], phase: Phase, prefix: str, first: tuple[int, ...]) -> Shapes:
    """Shapes of a table's statistics, whose axes begin with `first`."""
    found = shapes(table, phase.kind, context.traits, context.sizes)
    return {prefix + name: (*first, *shape) for name, shape in found.items()}


def _state(context: Context, chunk: Chunk, cursor: Mapping[str, Any], *, begun: bool) -> Shapes:
    """Shapes of what `ChunkTrainer` holds at a cursor. A phase after pre-training that has not `begun` has no weights of
    its own yet (`extend.before`).

    Raises:
        ValueError: the chunk never comes to such a place.
    """
    number, step, window = (cursor[name] for name in ("phase", "step", "window"))
    if not all(type(n) is int for n in (number, step, window)):
        raise ValueError("cursor")
    phase = dict(_phases(context, chunk)).get(number)
    if phase is None or not 0 <= window <= len(phase.windows):
        raise ValueError("cursor")
    if not (0, *phase.windows)[window] <= step <= (*phase.windows, phase.steps)[window]:
        raise ValueError("cursor")
    runs, groups = len(chunk.runs), len(context.net.groups)
    if number and not begun and (step, window) == (0, 0):
        return _results(context, chunk, [(i, p) for i, p in _phases(context, chunk) if i < number])
    found: Shapes = {"weights": (runs, context.net.size), "squares": (runs, groups)}
    found["sums"] = (runs, packed_size(groups))
    optimizer = {name: tuple(value.shape) for name, value in context.remembered(runs).items()}
    found |= optimizer
    state: Shapes = {"weights": found["weights"], **optimizer}
    if number:
        found |= {PRETRAINED + name: shape for name, shape in state.items()}
    for prefix in held(context.phases[: chunk.stop], number, window):
        found |= {prefix + name: shape for name, shape in {**state, BRANCHED: (runs,)}.items()}
    if phase.kind == BRANCH:
        found[BRANCHED] = (runs,)
    found |= _results(context, chunk, [(i, p) for i, p in _phases(context, chunk) if i < number])
    if window:
        found["finite_steps"] = (runs,)
        if phase.is_averaged:
            found[AVERAGED + "sum"] = (runs, context.net.size)
            if taken := sum(n <= window + 1 for n in context.config.average):
                found |= _shapes(context, AVERAGE, phase, AVERAGED, (taken, runs))
        else:
            found |= _shapes(context, LOGGED, phase, LOG, (window, runs))
    return found
