"""Where states lie to each other: losses along the line between two of them, barriers, angles.

P parameters, G groups, T moments, K points. The papers' figures: three_regimes 19 and 22 (App. I, K), feature_learning 9.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from lrscope.checked import Seed, checked
from lrscope.dynamics.layout import Segments
from lrscope.engine.step import Named
from lrscope.errors import LrscopeError
from lrscope.measures.common import evaluation, one_run
from lrscope.measures.landscape import MEMORY, Memory, NetworkValues, network_values
from lrscope.readers import Whole
from lrscope.trained import State, Trained

POINTS = 11  # feature_learning, Fig. 9: ends included
Points = Annotated[int, Whole(2, 1_000_000)]


@checked
def between(
    trained: Trained,
    first: State,
    second: State,
    *,
    data_seed: Seed | None = None,
    points: Points = POINTS,
    on_sphere: bool = False,
    test: bool = True,
) -> xr.Dataset:
    """Losses and errors along the straight line between two states of one net, and their barriers.

    Along the dimension `position` (0 at `first`, 1 at `second`): `train_loss` (nat) and `train_error` in train mode with
    batch statistics, as they are logged; with `test`, `test_loss` and `test_error` with population statistics re-estimated
    at every point, because those of the ends mean nothing in between. Without it: `barrier_...` of each (see `barrier`),
    and `angle` between the ends in radians. Errors are 1 - accuracy; NaN for regression.

    On the line the total norm of the weights drops towards the middle. An SI net does not notice: with `on_sphere`, which
    moves every point out to the norm between those of the ends, it gets the same values up to its norms' eps. For other
    nets the two paths differ, and the line is the papers'.

    Raises:
        LrscopeError: fewer than 2 points; states with different frozen tensors (of different seeds), which no line joins.
    """
    _same_frozen(first, second)
    path = line(one_run(first.weights), one_run(second.weights), points, on_sphere=on_sphere)
    program, material = evaluation(trained, first, data_seed)
    found = network_values(NetworkValues(program, material, first.frozen, test=test), path)
    data = xr.Dataset(
        {name: ("position", values) for name, values in found.items()}, {"position": np.linspace(0, 1, points)}
    )
    for name, values in found.items():
        data["barrier_" + name] = float(barrier(values))
    data["angle"] = float(angles(first.weights, second.weights))
    return data


@checked
def between_runs(
    trained: Trained,
    first: State,
    second: State,
    *,
    data_seed: Seed | None = None,
    points: Points = POINTS,
    test: bool = True,
    memory: Memory = MEMORY,
) -> xr.Dataset:
    """`between` of R stacked pairs at once, mapped over runs and points: the same names with a dimension `run` in front.

    For small nets, where pair by pair would take minutes. Of the R x `points` nets no more than `memory` bytes are enough for
    are in memory together; it changes values by rounding at most.

    Raises:
        LrscopeError: as `between`, and for nets that cannot be mapped over runs (dropout).
    """
    if len(first.weights) != len(second.weights):
        raise LrscopeError(
            f"states: {len(first.weights)} runs in the first, {len(second.weights)} in the second: stack as many of both"
        )
    _same_frozen(first, second)
    if trained.net.stochastic:
        raise LrscopeError("states: a net with dropout is not mapped over runs: use `between`, pair by pair")
    runs = len(first.weights)
    program, material = evaluation(trained, first, data_seed, path="batched")
    values = NetworkValues(program, material, {}, test=test)
    lines = (
        State(line(a, b, points), {name: v.expand(points, *v.shape[1:]) for name, v in _frozen(first, run).items()})
        for run, (a, b) in enumerate(zip(first.weights, second.weights, strict=True))
    )
    found = {name: v.reshape(runs, points) for name, v in network_values(values, lines, memory=memory).items()}
    return xr.Dataset(
        {
            **{name: (("run", "position"), array) for name, array in found.items()},
            **{"barrier_" + name: ("run", barrier(array)) for name, array in found.items()},
            "angle": ("run", angles(first.weights, second.weights).cpu().numpy()),
        },
        {"position": np.linspace(0, 1, points)},
    )


def _same_shape(first: Tensor, second: Tensor, dims: int | None = None) -> None:
    """Refuse weights of two nets, or of other dimensions."""
    for tensor in (first, second):
        if not tensor.is_floating_point():
            raise LrscopeError(f"weights: they are {tensor.dtype}: pass floats")
    if first.shape != second.shape or (dims is not None and first.dim() != dims) or not first.dim():
        raise LrscopeError(
            f"weights: shapes {tuple(first.shape)} and {tuple(second.shape)} do not go together: pass weights of one net"
        )


def _frozen(state: State, run: int) -> Named:
    """The frozen tensors [1, ...] of a run of a stacked state."""
    return {name: value[run : run + 1] for name, value in state.frozen.items()}


def _same_frozen(first: State, second: State) -> None:
    _same_shape(first.weights, second.weights)
    if set(first.frozen) != set(second.frozen):
        raise LrscopeError("states: their frozen tensors have different names: pass states of one net")
    for name, value in first.frozen.items():
        if not torch.equal(value, second.frozen[name]):
            raise LrscopeError(
                f"states: their frozen tensor {name} differs, so a line between their weights does not lead from one net to "
                "the other: compare states of the same seed"
            )


@checked
def line(first_P: Tensor, second_P: Tensor, points: Points = POINTS, *, on_sphere: bool = False) -> Tensor:
    """Evenly spaced points [K, P] of the segment from `first_P` to `second_P`, ends included.

    on_sphere: rescale every point to the total norm interpolated between those of the ends.

    Raises:
        LrscopeError: fewer than 2 points; with `on_sphere`, ends on opposite sides, between which the line meets zero.
    """
    _same_shape(first_P, second_P, dims=1)
    share = torch.linspace(0, 1, points, dtype=torch.float64, device=first_P.device)[:, None]
    a, b = first_P.double(), second_P.double()
    path = (1 - share) * a + share * b
    if on_sphere:
        norms = path.norm(dim=1, keepdim=True)
        if float(norms.min()) < 1e-6 * float(a.norm()):
            raise LrscopeError("on_sphere: the states lie on opposite sides of the sphere: use the plain line")
        path = path * ((1 - share) * a.norm() + share * b.norm()) / norms
    return path.to(first_P.dtype)


@checked
def barrier(values: ArrayLike, axis: int = -1) -> np.ndarray:
    """How far a path rises above the straight line between the values at its ends: the maximum over the evenly spaced
    points along `axis` of value minus that line (feature_learning, Fig. 9). Never negative, since the ends are points."""
    array = np.asarray(values, float)
    if not -array.ndim <= axis < array.ndim:
        raise LrscopeError(f"axis: {axis} is not one of an array with {array.ndim} axes: pass one from 0 on, or -1")
    moved = np.moveaxis(array, axis, -1)
    if moved.shape[-1] < 2:
        raise LrscopeError(f"values: {moved.shape[-1]} points do not make a path: pass 2 or more")
    share = np.linspace(0, 1, moved.shape[-1])
    straight = (1 - share) * moved[..., :1] + share * moved[..., -1:]
    straight[..., -1] = moved[..., -1]
    found: np.ndarray = (moved - straight).max(-1)
    return found


@checked
def angles(first: Tensor, second: Tensor) -> Tensor:
    """Angles in [0, pi], radians, float64, between vectors along the last axis: [..., P] and [..., P] to [...].

    From the chords, 2 atan2(|u - v|, |u + v|), because the arc cosine loses half the digits at small angles.
    """
    _same_shape(first, second)
    u, v = (t.double() / t.double().norm(dim=-1, keepdim=True) for t in (first, second))
    return 2 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))


@checked
def group_angles(first: Tensor, second: Tensor, segments: Segments) -> Tensor:
    """Angles [R, G], radians, of the groups' weights in [R, P] and [R, P]; `segments` as in `Net.segments`."""
    _same_shape(first, second, dims=2)
    if not segments or any(not 0 <= a < b <= first.shape[1] for ranges in segments for a, b in ranges):
        raise LrscopeError(
            f"segments: they are not ranges of the {first.shape[1]} parameters: pass Trained.net.segments"
        )
    return torch.stack(
        [
            angles(torch.cat([first[:, a:b] for a, b in ranges], 1), torch.cat([second[:, a:b] for a, b in ranges], 1))
            for ranges in segments
        ],
        1,
    )


@checked
def step_cosines(trajectory_TP: Tensor, lag: int = 1) -> Tensor:
    """Cosines [T - lag], float64, between the weights of a trajectory [T, P] `lag` moments apart (three_regimes, Fig. 24).

    Raises:
        LrscopeError: a lag below 1, or one that the trajectory is too short for.
    """
    if trajectory_TP.dim() != 2:
        raise LrscopeError(f"trajectory: its shape is {tuple(trajectory_TP.shape)}: pass [moments, parameters]")
    if not 1 <= lag < len(trajectory_TP):
        raise LrscopeError(f"lag: {lag} moments in a trajectory of {len(trajectory_TP)}: use 1 or more, but fewer")
    unit = trajectory_TP.double()
    unit = unit / unit.norm(dim=1, keepdim=True)
    cosines: Tensor = (unit[lag:] * unit[:-lag]).sum(1)
    return cosines
