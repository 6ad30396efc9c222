"""Losses and errors at points of weight space, as many networks at a time as fit into a stated memory.

Whatever makes the points - lines (`geometry`), grids on planes (`plane`), paths -, here they are evaluated. N points,
P parameters, R runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from lrscope.checked import Count, Seed, checked
from lrscope.engine.material import Material
from lrscope.engine.memory_need import Live
from lrscope.engine.program import Program
from lrscope.engine.step import Named
from lrscope.errors import LrscopeError, shown
from lrscope.measures.common import evaluation, one_run, undisturbed
from lrscope.measures.plane import Plane
from lrscope.readers import Whole
from lrscope.trained import State, Trained

MEMORY = 64 << 20  # ours, bytes: more networks at a time are not faster on a CPU (docs/performance.md)
LEAST = 2  # a network alone in its batch meets other kernels, which round differently
COPIES = 2  # of a chunk's weights: the slabs that they come in, and put together
EXAMPLES = 512  # ours: test examples of the pass whose memory is measured, no more than are evaluated at a time
Memory = Annotated[int, Whole(1, 2**50)]
Points = Tensor | State | Iterable[Tensor | State]


@runtime_checkable
class Values(Protocol):
    """What is computed at points."""

    @property
    def size(self) -> int:
        """P."""

    def at_once(self, memory: int, example: State, /) -> int:
        """How many points like the example [1, P] `memory` bytes are enough for."""

    def __call__(self, points: State, /) -> Mapping[str, Tensor]:
        """Named values [N] at points [N, P]. A point's values depend on which others are there by rounding at most."""


class NetworkValues:
    """With `train`, `train_loss` (nat) and `train_error` in train mode with batch statistics, as they are logged.

    With `test`, `test_loss` and `test_error` with population statistics re-estimated at each point. Errors are 1 - accuracy; NaN
    for regression.

    A program of path `single` takes points one after the other, one of path `batched` together.

    Args:
        frozen: frozen tensors [1, ...], for points that bring none of their own.
    """

    def __init__(
        self, program: Program, material: Material, frozen: Named, *, train: bool = True, test: bool = True
    ) -> None:
        if not (train or test):
            raise LrscopeError("train, test: both are False: set one of them")
        self.program, self.material, self.frozen, self.train, self.test = program, material, frozen, train, test
        self.batched = program.backend.path == "batched"

    @property
    def size(self) -> int:
        """P."""
        return self.program.net.size

    def at_once(self, memory: int, example: State) -> int:
        """1 on path `single`; else measured on a pass of `LEAST` networks over a few examples."""
        if not self.batched:
            return 1
        weights, frozen = self._tensors(example, LEAST)
        x, y = self.material.batches(1)

        def passes() -> None:
            if self.train:
                self.program.train_mode_metrics(weights, frozen, x, y)
            if self.test:
                populations = self.program.populations(weights, frozen, x)
                examples = self.material.test_x[:EXAMPLES], self.material.test_y[:EXAMPLES]
                self.program.metrics(weights, frozen, populations, *examples)

        return max(LEAST, memory // _bytes(passes, weights, *frozen.values()))

    def __call__(self, points: State) -> dict[str, Tensor]:
        """Float64."""
        count = len(points.weights)
        padded = LEAST if self.batched and count < LEAST else count
        weights, frozen = self._tensors(points, padded)
        found: dict[str, Tensor] = {}
        if self.train:
            found |= self._pairs("train", self.program.train_mode_metrics(weights, frozen, *self.material.batches()))
        if self.test:
            found |= self._pairs("test", self.material.test_metrics(self.program, weights, frozen))
        return {name: value[:count] for name, value in found.items()}

    def _tensors(self, points: State, count: int) -> tuple[Tensor, Named]:
        """Weights [count, P] and frozen tensors [count, ...]; of a single point copies."""
        if points.weights.dtype != self.material.dtype:
            raise LrscopeError(
                f"points: they are {points.weights.dtype}, the network is {self.material.dtype}: pass points.to(state.weights)"
            )
        frozen = points.frozen or self.frozen
        if set(frozen) != set(self.program.net.frozen):
            known = ", ".join(self.program.net.frozen) or "none"
            raise LrscopeError(f"points: their frozen tensors are not those of the net ({known}): pass its states")
        return points.weights.expand(count, -1), {n: v.expand(count, *v.shape[1:]) for n, v in frozen.items()}

    def _pairs(self, name: str, found: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        loss, accuracy = (value.double() for value in found)
        error = 1 - accuracy if self.program.classification else torch.full_like(accuracy, torch.nan)
        return {name + "_loss": loss, name + "_error": error}


class FunctionValues:
    """Values of a function of points [N, P], such as a theory model's loss: it returns losses [N], or several by name."""

    @checked
    def __init__(self, function: Callable[..., Any], size: Count) -> None:
        self.function, self.size = function, size

    def at_once(self, memory: int, example: State) -> int:
        """Measured on `LEAST` points."""
        points = example.weights.expand(LEAST, -1)
        return max(LEAST, memory // _bytes(lambda: self(State(points, {})), points))

    def __call__(self, points: State) -> dict[str, Tensor]:
        """What the function returns; losses alone are called `loss`.

        Raises:
            LrscopeError: it is not one number for each point.
        """
        with torch.no_grad():
            found = self.function(points.weights)
        named = dict(found) if isinstance(found, Mapping) else {"loss": found}
        for name, value in named.items():
            if not isinstance(value, Tensor) or value.shape != points.weights.shape[:1]:
                given = tuple(value.shape) if isinstance(value, Tensor) else shown(value)
                raise LrscopeError(
                    f"function: its {name} at {len(points.weights)} points is {given}: return a tensor with one value for each"
                )
        return named


@checked
def evaluate(values: Values, points: Any, *, memory: Memory = MEMORY) -> dict[str, np.ndarray]:
    """Values [N], float64, at points [N, P]: a tensor or a stacked state, or an iterable of such slabs, which are made when
    they are needed. No more points than `memory` bytes are enough for are in memory together (2 at least where they are batched).

    Raises:
        LrscopeError: no points, or such that are no weights of this size.
    """
    found: dict[str, list[Tensor]] = {}
    slabs = _slabs(points, values.size)
    first = next(slabs, None)
    if first is None:
        raise LrscopeError("points: there are none: pass at least one")
    count = values.at_once(memory, _rows(first, slice(1)))
    for chunk in chunks(itertools.chain([first], slabs), count):
        for name, value in values(chunk).items():
            found.setdefault(name, []).append(value.double().cpu())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def chunks(slabs: Iterable[State], count: int) -> Iterator[State]:
    """The points of the slabs, `count` at a time, in their order; only the last may be fewer."""
    waiting: list[State] = []
    room = count
    for slab in slabs:
        start = 0
        while start < len(slab.weights):
            part = _rows(slab, slice(start, start + room))
            start, room = start + len(part.weights), room - len(part.weights)
            waiting.append(part)
            if not room:
                yield _joined(waiting)
                waiting, room = [], count
    if waiting:
        yield _joined(waiting)


@checked
def at_points(
    trained: Trained,
    at: State,
    points: Any,
    *,
    data_seed: Seed | None = None,
    train: bool = True,
    test: bool = True,
    path: Literal["single", "batched"] | None = None,
    memory: Memory = MEMORY,
) -> xr.Dataset:
    """Losses and errors (`NetworkValues`) at points of a network's weight space, along the dimension `point`.

    Args:
        at: a state of the network; its frozen tensors go with all points.
        points: weights [N, P], or an iterable of such slabs, made when they are needed.
        train, test: whether the training set's, and the test set's, are computed.
        path: whether networks are evaluated one at a time or batched. None: as the sweep was trained, which is what was
            faster. The two agree to rounding.
        memory: bytes for the networks of a batch and their activations; changes values by rounding at most.

    Raises:
        LrscopeError: points that are no weights of this network; a batched network with dropout; neither `train` nor `test`.
    """
    chosen = path or ("single" if trained.net.stochastic else trained.path)
    if chosen == "batched" and trained.net.stochastic:
        raise LrscopeError("path: a net with dropout is not batched: use path='single', or leave it out")
    one_run(at.weights)
    program, material = evaluation(trained, at, data_seed, path=chosen)
    found = network_values(NetworkValues(program, material, at.frozen, train=train, test=test), points, memory=memory)
    return xr.Dataset({name: ("point", values) for name, values in found.items()})


def network_values(values: NetworkValues, points: Points, *, memory: int = MEMORY) -> dict[str, np.ndarray]:
    """`evaluate` of a network, whose modes and noise are left as they were."""
    with undisturbed(values.program.net, "line"):
        return evaluate(values, points, memory=memory)


@checked
def on_plane(
    trained: Trained,
    at: State,
    plane: Plane,
    x: ArrayLike,
    y: ArrayLike,
    *,
    data_seed: Seed | None = None,
    test: bool = True,
    path: Literal["single", "batched"] | None = None,
    memory: Memory = MEMORY,
) -> xr.Dataset:
    """`at_points` of the grid of coordinates `x` and `y` on a plane, with the dimensions `y` and `x`; no more than one row of
    the grid and one batch of networks are in memory.

    Raises:
        LrscopeError: as `at_points`; coordinates that are not finite numbers.
    """
    columns, rows = (np.atleast_1d(np.asarray(values, float)) for values in (x, y))
    found = at_points(
        trained,
        at,
        plane.grid(columns, rows, dtype=at.weights.dtype),
        data_seed=data_seed,
        test=test,
        path=path,
        memory=memory,
    )
    shape = len(rows), len(columns)
    return xr.Dataset(
        {str(name): (("y", "x"), array.values.reshape(shape)) for name, array in found.items()},
        {"y": rows, "x": columns},
    )


def _slabs(points: Points, size: int) -> Iterator[State]:
    """The slabs that hold points, as states: with frozen tensors of the points' own or none."""
    try:
        slabs = iter([points] if isinstance(points, (Tensor, State)) else points)
    except TypeError:
        raise LrscopeError(
            f"points: {shown(points)} are no points: pass a torch.Tensor [points, parameters] or an iterable of such"
        ) from None
    return (state for state in (_state(slab, size) for slab in slabs) if len(state.weights))


def _state(slab: object, size: int) -> State:
    state = slab if isinstance(slab, State) else None
    weights = state.weights if state is not None else slab
    if not isinstance(weights, Tensor) or not weights.is_floating_point() or weights.shape[1:] != (size,):
        given = f"{weights.dtype} of shape {tuple(weights.shape)}" if isinstance(weights, Tensor) else shown(slab)
        raise LrscopeError(f"points: {given} are no points here: pass floats [points, {size} parameters]")
    return State(weights, {}) if state is None else state


def _rows(state: State, rows: slice) -> State:
    return State(state.weights[rows], {name: value[rows] for name, value in state.frozen.items()})


def _joined(parts: list[State]) -> State:
    if len(parts) == 1:
        return parts[0]
    if any(set(part.frozen) != set(parts[0].frozen) for part in parts):
        raise LrscopeError(
            "points: some slabs bring other frozen tensors than others do: pass states of one net, or tensors"
        )
    frozen = {name: torch.cat([part.frozen[name] for part in parts]) for name in parts[0].frozen}
    return State(torch.cat([part.weights for part in parts]), frozen)


def _bytes(call: Callable[[], object], *tensors: Tensor) -> int:
    """Bytes that one of `LEAST` points needs, where `call` evaluates them and `tensors` [LEAST, ...] hold them."""
    with Live() as live, torch.no_grad():
        call()
    held = sum(t[0].numel() * t.element_size() for t in tensors)
    return max(1, int(live.most) // LEAST + COPIES * held)
