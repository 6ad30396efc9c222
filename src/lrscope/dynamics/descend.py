"""Gradient descent on any objective, R independent runs at once: on a sphere (projected) or in the whole space.

For measures and theory models. R runs, P weights, G groups, T steps. Sweeps are trained by the engine, not here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lrscope.checked import Numbers, Steps, checked
from lrscope.dynamics.layout import Segments
from lrscope.dynamics.objective import Objective
from lrscope.dynamics.optimizers import Optimizer
from lrscope.dynamics.optimizers.sgd import SGD
from lrscope.dynamics.sphere import project
from lrscope.errors import LrscopeError, shown
from lrscope.tasks.streams import generator

NOISE_BLOCK = 1 << 16  # ours: normal numbers that a run's noise is drawn in at a time, 64 steps at most
PLAIN = SGD()


class Update(NamedTuple):
    """One step of all runs, as it is shown to records."""

    step: int
    before: Tensor  # [R, P], weights
    gradient: Tensor  # [R, P]
    loss: Tensor | None  # [R], before the step
    lr: Tensor  # [R]
    after: Tensor  # [R, P]; NaN for a run that ended


@dataclass(frozen=True)
class PointRecord:
    """A quantity [R, ...] of the weights [R, P], after each of the numbers of steps `at` (0 to T; None: all of them)."""

    compute: Callable[[Tensor], Tensor]
    at: Collection[int] | None = None


@dataclass(frozen=True)
class StepRecord:
    """A quantity [R, ...] of an update, in each of the steps `at` (0 to T - 1; None: all of them)."""

    compute: Callable[[Update], Tensor]
    at: Collection[int] | None = None


Recorded = PointRecord | StepRecord


@dataclass(frozen=True)
class Descent:
    """Where the runs stand after the last step, and what was recorded on the way."""

    weights: Tensor  # [R, P]; NaN for a run that ended
    taken: Tensor  # [R], steps taken before the run ended: T if it did not
    recorded: dict[str, Tensor]  # [number of times, R, ...] each


@checked
def descend(
    objective: Objective,
    start: Tensor,
    lr: Any,
    steps: Steps,
    *,
    radius: Any = None,
    groups: Segments | None = None,
    optimizer: Optimizer = PLAIN,
    noise: Any = 0.0,
    stream: Sequence[str | int] = ("weight noise",),
    record: Mapping[str, Recorded] | None = None,
) -> Descent:
    """Descend from `start` [R, P] for a number of steps.

    A run ends where its loss (NaN or infinite), gradient or weights overflow: its weights and what is recorded of it are NaN
    from there on, and no other run changes by a bit.

    Args:
        lr: learning rate: a number, one for each run [R], or a schedule [T, R] (or [T, 1]).
        radius: after every update all weights are rescaled together to this norm (three_regimes, eq. 2): a number or one
            for each run [R]. None: the whole space.
        groups: flat ranges of the groups, as in `Net.segments`; the norm is added up over them. None: one group.
        optimizer: one of `lrscope.dynamics.optimizers`; plain gradient descent if left out.
        noise: standard deviation of the Gaussian noise that each update adds to each weight, before the projection; in the
            same forms as `lr`.
        stream: name of the noise's random stream. A run's noise depends on this name and the run's number, not on the
            other runs or the number of steps.
        record: quantities to record, by name.

    Raises:
        LrscopeError: shapes that do not fit; a learning rate, radius or noise that is not a finite number of 0 or more;
            a record outside the steps, or one that is not one value a run.
    """
    start = _start(objective, start)
    runs, size = start.shape
    rates, deviations = _schedule("lr", lr, steps, start), _schedule("noise", noise, steps, start)
    rho, segments = _radius(radius, start), _ranges(groups, size)
    drawn = _Noise(_name(stream), runs, size) if bool((deviations > 0).any()) else None
    recorder = _Recorder(dict(record or {}), steps, runs)
    weights, state = start, optimizer.init(start)
    alive = torch.isfinite(start).all(1)
    taken = torch.zeros(runs, dtype=torch.int64, device=start.device)
    for step in range(steps):
        recorder.points(step, weights, alive)
        gradient, loss = objective.gradient(weights, step)
        if step == 0:
            _check_gradient(gradient, loss, start)
        after, state = optimizer.update(gradient, state, weights, rates[step])
        if drawn is not None:
            after = after + deviations[step][:, None] * drawn.at(step).to(start)
        total = after.sum(1)  # not finite if any of it is not
        if rho is not None:
            after, squares = project(after, rho, segments)
            total = squares.sum(1)
        before, was_alive = weights, alive
        alive = alive & torch.isfinite(total if loss is None else total + loss)
        weights = after if bool(alive.all()) else torch.where(alive[:, None], after, torch.nan)
        taken += alive
        recorder.steps(Update(step, before, gradient, loss, rates[step], weights), was_alive)
    recorder.points(steps, weights, alive)
    return Descent(weights, taken, recorder.found())


def _start(objective: Objective, start: Tensor) -> Tensor:
    if start.dim() != 2 or not len(start) or start.shape[1] != objective.size or not start.is_floating_point():
        raise LrscopeError(
            f"start: {start.dtype} of shape {tuple(start.shape)} is no start of this objective: pass floats [runs, "
            f"{objective.size}]"
        )
    return start.detach()


def _numbers(name: str, value: Any, start: Tensor, shapes: Sequence[tuple[int, ...]], remedy: str) -> Tensor:
    """`value` as a tensor like `start`: finite, not negative, of one of the shapes (1 stands for any length)."""
    try:
        numbers = value if isinstance(value, Tensor) else Numbers().read(name, value)
    except LrscopeError:
        raise LrscopeError(f"{name}: {shown(value)} is not a number: {remedy}") from None
    given = numbers.detach() if isinstance(numbers, Tensor) else torch.as_tensor(np.asarray(numbers, dtype=float))
    fits = any(
        given.dim() == len(shape) and all(a in (1, b) for a, b in zip(given.shape, shape, strict=True))
        for shape in shapes
    )
    if not fits:
        raise LrscopeError(f"{name}: its shape is {tuple(given.shape)}: {remedy}")
    if given.is_complex() or not bool((torch.isfinite(given) & (given >= 0)).all()):
        raise LrscopeError(f"{name}: {shown(value)} must hold finite numbers of 0 or more: {remedy}")
    return given.to(start)


def _schedule(name: str, value: Any, steps: int, start: Tensor) -> Tensor:
    """[T, R], without memory for what repeats."""
    runs = len(start)
    remedy = f"pass a number, one for each of the {runs} runs, or [{steps} steps, {runs} runs]"
    return _numbers(name, value, start, [(), (runs,), (steps, runs)], remedy).expand(steps, runs)


def _radius(radius: Any, start: Tensor) -> Tensor | None:
    """[R], or None for the whole space."""
    if radius is None:
        return None
    runs = len(start)
    remedy = f"pass a number above 0 or one for each of the {runs} runs, or None for the whole space"
    found = _numbers("radius", radius, start, [(), (runs,)], remedy).expand(runs)
    if not bool((found > 0).all()):
        raise LrscopeError(f"radius: {shown(radius)} is not above 0: {remedy}")
    return found


def _ranges(groups: Segments | None, size: int) -> Segments:
    """The groups, which hold every weight once."""
    if groups is None:
        return (((0, size),),)
    ranges = sorted(pair for group in groups for pair in group)
    ends = [0, *(stop for _, stop in ranges)]
    if [first for first, _ in ranges] != ends[:-1] or ends[-1] != size or any(a >= b for a, b in ranges):
        raise LrscopeError(f"groups: {shown(groups)} do not hold each of the {size} weights once: pass Net.segments")
    return groups


def _name(stream: tuple[str | int, ...] | Sequence[str | int]) -> tuple[str | int, ...]:
    if not stream or any("/" in part for part in stream if isinstance(part, str)):
        raise LrscopeError(f"stream: {shown(stream)} is no name: pass words and numbers without '/', at least one")
    return tuple(stream)


def _check_gradient(gradient: Any, loss: Any, start: Tensor) -> None:
    shapes = {"gradient": (gradient, start.shape), "loss": (loss, start.shape[:1])}
    for name, (value, shape) in shapes.items():
        if name == "loss" and value is None:
            continue
        if not isinstance(value, Tensor) or value.shape != shape:
            given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise LrscopeError(
                f"objective: its {name} is {given} at points {list(start.shape)}: return a tensor {list(shape)}"
            )


class _Recorder:
    """Computes what is to be recorded, when it is, and keeps it."""

    def __init__(self, record: dict[str, Recorded], count: int, runs: int) -> None:
        self.record, self.count, self.runs = record, count, runs
        self.kept: dict[str, list[Tensor]] = {name: [] for name in record}
        self.wanted = {name: self._times(name, what) for name, what in record.items()}

    def _times(self, name: str, what: object) -> frozenset[int]:
        if not isinstance(what, (PointRecord, StepRecord)):
            raise LrscopeError(f"record: {name} is {shown(what)}: pass a PointRecord or a StepRecord")
        stop = self.count + isinstance(what, PointRecord)
        times = frozenset(range(stop) if what.at is None else what.at)
        outside = sorted(times - frozenset(range(stop)))
        if outside:
            raise LrscopeError(f"record: {name} at {outside[0]} is outside the descent: choose from 0 to {stop - 1}")
        return times

    def points(self, step: int, weights: Tensor, alive: Tensor) -> None:
        """After `step` steps."""
        for name, what in self.record.items():
            if isinstance(what, PointRecord) and step in self.wanted[name]:
                self._keep(name, what.compute(weights), alive)

    def steps(self, update: Update, alive: Tensor) -> None:
        """After an update; `alive` are the runs that had not ended before it."""
        for name, what in self.record.items():
            if isinstance(what, StepRecord) and update.step in self.wanted[name]:
                self._keep(name, what.compute(update), alive)

    def _keep(self, name: str, value: Tensor, alive: Tensor) -> None:
        if not isinstance(value, Tensor) or not value.dim() or len(value) != self.runs:
            given = tuple(value.shape) if isinstance(value, Tensor) else shown(value)
            raise LrscopeError(
                f"record: {name} is {given}: return a tensor with one value for each of the {self.runs} runs"
            )
        if value.is_floating_point():
            value = torch.where(alive.view(-1, *[1] * (value.dim() - 1)), value, torch.nan)
        self.kept[name].append(value.detach())

    def found(self) -> dict[str, Tensor]:
        """[number of times, R, ...] of each; nothing of what was recorded at no time."""
        return {name: torch.stack(values) for name, values in self.kept.items() if values}


class _Noise:
    """Gaussian noise [R, P] of a step, from a stream for each run and block of steps, so that any step can be asked for."""

    _drawn: Tensor  # [R, steps of a block, P]

    def __init__(self, stream: tuple[str | int, ...], runs: int, size: int) -> None:
        self.stream, self.runs, self.size = stream, runs, size
        self.steps = max(1, min(64, NOISE_BLOCK // size))
        self._block = -1

    def at(self, step: int) -> Tensor:
        """Float64, standard deviation 1."""
        block, row = divmod(step, self.steps)
        if block != self._block:
            streams = (generator(*self.stream, run, block) for run in range(self.runs))
            self._drawn = torch.stack(
                [torch.randn(self.steps, self.size, generator=s, dtype=torch.float64) for s in streams]
            )
            self._block = block
        return self._drawn[:, row]
