"""Points in, values out: landscapes with known answers, and results that the size of a chunk does not change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from lrscope.engine.memory_need import Live
from lrscope.errors import LrscopeError
from lrscope.measures import geometry, landscape
from lrscope.measures.landscape import FunctionValues, NetworkValues, evaluate
from lrscope.measures.plane import Plane
from lrscope.tasks.builtin import named_task
from lrscope.tasks.models import MLP
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from lrscope.trained import State, Trained, stack
from measured import OneRun, Place, convnet, mlp, place
from tiny_tasks import BATCHED, CLASSES, SHORT, SINGLE, Dropping, mlp_task, task_of, train


def vectors(count: int, size: int, key: str = "points") -> Tensor:
    return torch.randn(count, size, generator=generator("tests", "landscape", key), dtype=torch.float64)


def orthonormal(size: int) -> Tensor:
    """Two directions [2, size]."""
    return torch.linalg.qr(vectors(2, size, "directions").T)[0].T


# -- known answers -----------------------------------------------------------------------------------------------------

SIZE = 12
X, Y = np.linspace(-2, 2, 9), np.linspace(-1, 1.5, 6)


def on(plane: Plane, function: Callable[[Tensor], Tensor]) -> np.ndarray:
    """[Y, X]."""
    return evaluate(FunctionValues(function, SIZE), plane.grid(X, Y))["loss"].reshape(len(Y), len(X))


def test_level_sets_of_a_bowl_are_ellipses_of_its_curvatures() -> None:
    """L = |w - c|^2_A / 2 with curvatures 4 and 0.25 along the plane's directions and 1 elsewhere."""
    e, centre = orthonormal(SIZE), vectors(1, SIZE, "centre")[0]

    def loss(points: Tensor) -> Tensor:
        offset = points - centre
        along = offset @ e.T
        return (offset.square().sum(1) + 3 * along[:, 0] ** 2 - 0.75 * along[:, 1] ** 2) / 2

    plane = Plane(centre, *e)
    np.testing.assert_allclose(on(plane, loss), 2 * X**2 + Y[:, None] ** 2 / 8, rtol=1e-12, atol=1e-12)
    turn = torch.linspace(0, 6, 20, dtype=torch.float64)
    half_axes = (2 * 0.7 / 4) ** 0.5, (2 * 0.7 / 0.25) ** 0.5
    ellipse = centre + half_axes[0] * turn.cos()[:, None] * e[0] + half_axes[1] * turn.sin()[:, None] * e[1]
    np.testing.assert_allclose(evaluate(FunctionValues(loss, SIZE), ellipse)["loss"], 0.7)
    found, distance = plane.coordinates(ellipse)
    np.testing.assert_allclose(found.square() @ torch.tensor([2.0, 0.125]).double(), 0.7)
    assert float(distance.max()) < 1e-12
    off = Plane(centre + 0.5 * vectors(1, SIZE, "off")[0], *e)
    assert (on(off, loss) > on(plane, loss).min()).all(), "a plane past the minimum does not reach it"


def test_barriers_of_two_wells_and_a_bowl_to_their_formulas() -> None:
    """(x^2 - 1)^2 h rises by h between -1 and 1; between -1 and 0.5, where it is 9 h / 16, by max over the line."""
    axis = orthonormal(SIZE)[0]
    height = 0.3

    def wells(points: Tensor) -> Tensor:
        along = points @ axis
        return height * (along**2 - 1) ** 2 + (points - along[:, None] * axis).square().sum(1)

    def barrier(a: float, b: float, loss: Callable[[Tensor], Tensor]) -> float:
        path = geometry.line(a * axis, b * axis, 301)
        return float(geometry.barrier(evaluate(FunctionValues(loss, SIZE), path)["loss"]))

    assert barrier(-1, 1, wells) == pytest.approx(height)
    t = np.linspace(0, 1, 100_001)
    rise = height * ((-1 + 1.5 * t) ** 2 - 1) ** 2 - t * height * 9 / 16
    assert barrier(-1, 0.5, wells) == pytest.approx(rise.max(), rel=1e-3)
    assert barrier(-1, 2, lambda points: points.square().sum(1)) == 0, (
        "nothing rises above a chord of a convex function"
    )


def test_a_ring_has_a_valley_that_the_chord_leaves_and_the_sphere_does_not() -> None:
    """L = (|w| - 1)^2: 0 all around; over the chord between two points at an angle phi (1 - cos(phi / 2))^2."""
    a, b = orthonormal(SIZE)

    def ring(points: Tensor) -> Tensor:
        return (points.norm(dim=1) - 1) ** 2

    phi = 2.0
    ends = a, np.cos(phi) * a + np.sin(phi) * b
    for on_sphere, height in ((False, (1 - np.cos(phi / 2)) ** 2), (True, 0.0)):
        path = geometry.line(*ends, 101, on_sphere=on_sphere)
        found = evaluate(FunctionValues(ring, SIZE), path)["loss"]
        assert float(geometry.barrier(found)) == pytest.approx(height, abs=1e-12)
    plane = Plane.through(torch.zeros(SIZE).double(), 3 * ends[0], ends[1])
    values = on(plane, ring)
    np.testing.assert_allclose(values, (np.hypot(X, Y[:, None]) - 1) ** 2, atol=1e-12)
    assert torch.allclose(plane.coordinates(torch.stack(ends))[0], torch.tensor([[1, 0], [np.cos(phi), np.sin(phi)]]))


def test_planes_have_the_coordinates_they_are_asked_for() -> None:
    three = vectors(3, SIZE)
    plane = Plane.through(*three)
    found, distance = plane.coordinates(three)
    assert float(distance.max()) < 1e-12
    assert found[0].numpy() == pytest.approx([0, 0], abs=1e-12)
    assert found[1].numpy() == pytest.approx([float((three[1] - three[0]).norm()), 0], abs=1e-12)
    assert found[2, 1] > 0
    skew = Plane(three[0], 2 * three[1], three[1] + 0.1 * three[2])
    grid = torch.cat(list(skew.grid([1.0, -3.0], [0.5, 0.25, 4.0])))
    expected = [[x, y] for y in (0.5, 0.25, 4.0) for x in (1.0, -3.0)]
    assert skew.coordinates(grid)[0].numpy() == pytest.approx(np.array(expected))
    beside = grid + vectors(1, SIZE, "beside")
    assert (skew.coordinates(beside)[1] > 0.1).all()
    assert [slab.dtype for slab in skew.grid([1.0], [0.0], dtype=torch.float32)] == [torch.float32]


# -- chunks ------------------------------------------------------------------------------------------------------------


class Watched:
    """Notes which points it gets together."""

    size = 3

    def __init__(self, at_once: int) -> None:
        self.count, self.seen = at_once, list[int]()

    def at_once(self, memory: int, example: State) -> int:
        assert example.weights.shape == (1, 3)
        return self.count

    def __call__(self, points: State) -> dict[str, Tensor]:
        self.seen.append(len(points.weights))
        return {"sum": points.weights.sum(1), "own": points.frozen["own"] if points.frozen else points.weights[:, 0]}


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 7, 30])
@pytest.mark.parametrize("lengths", [[20], [1] * 20, [0, 3, 9, 0, 8], [7, 7, 6], [19, 1]])
def test_slabs_of_any_lengths_are_evaluated_in_their_order(at_once: int, lengths: list[int]) -> None:
    points, values = vectors(20, 3), Watched(at_once)
    found = evaluate(values, iter(points.split(lengths)))
    assert found["sum"].tolist() == points.sum(1).tolist()
    assert values.seen == [at_once] * (20 // at_once) + [20 % at_once] * (20 % at_once > 0)
    states = (State(part, {"own": part[:, 2]}) for part in points.split(lengths))
    assert evaluate(values, states)["own"].tolist() == points[:, 2].tolist()
    assert evaluate(values, points)["own"].tolist() == points[:, 0].tolist()


def test_points_are_made_when_they_are_needed() -> None:
    made: list[int] = []
    values = Watched(4)

    def slabs() -> Iterator[Tensor]:
        for number in range(10):
            made.append(number)
            assert number <= sum(values.seen) // 2 + 2
            yield vectors(2, 3)

    evaluate(values, slabs())
    assert len(made) == 10


NETS: dict[str, Callable[[], Task]] = {
    "batch norm": mlp,
    "layer norm": partial(mlp, "layer"),
    "ConvNet": convnet,
    "ticks": partial(named_task, "ticks", "mlp", width=32, train_size=64, test_size=40),
    "wider": lambda: task_of(partial(MLP, (32, 32, 32, CLASSES)), (32,), train=96, test=130),
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_values_depend_on_the_memory_by_rounding_alone(name: str, precision: str) -> None:
    """Also for a point left over: chunks of 2 leave one of 13 points alone. Batches of another size may meet other kernels, so
    that the last bits differ on some processors; the same memory gives the same bytes."""
    at = place(NETS[name](), path="batched", precision=precision)
    values = NetworkValues(at.program, at.material, at.frozen)
    points = at.weights + 0.3 * vectors(13, at.weights.shape[1]).to(at.weights)
    example = State(points[:1], {})
    each = (1 << 40) // values.at_once(1 << 40, example)
    memories = [1, *(each * count + each // 2 for count in (3, 6, 12, 13))]
    assert [values.at_once(memory, example) for memory in memories] == [2, 3, 6, 12, 13]
    whole = evaluate(values, points)
    assert len(set(whole["train_loss"])) == 13
    rounding = {"float32": 1e-5, "float64": 1e-12}[precision]
    for memory in memories:
        found = evaluate(values, points, memory=memory)
        again = evaluate(values, points, memory=memory)
        for key in whole:
            np.testing.assert_allclose(found[key], whole[key], rtol=rounding, err_msg=f"{key}, {memory}")
            assert found[key].tobytes() == again[key].tobytes(), (key, memory)
    alone = [evaluate(values, points[i : i + 1]) for i in range(13)]
    np.testing.assert_allclose([float(one["test_loss"][0]) for one in alone], whole["test_loss"], rtol=rounding)


def test_the_paths_agree_and_are_what_the_program_measures() -> None:
    one, many = place(mlp()), place(mlp(), path="batched")
    points = one.weights + 0.3 * vectors(5, one.weights.shape[1])
    found = evaluate(NetworkValues(one.program, one.material, one.frozen), points)
    batched = evaluate(NetworkValues(many.program, many.material, many.frozen), points)
    assert set(found) == {"train_loss", "train_error", "test_loss", "test_error"}
    for key, values in found.items():
        np.testing.assert_allclose(batched[key], values, rtol=1e-12)
    loss, accuracy = one.program.train_mode_metrics(points[3:4], one.frozen, *one.batches)
    assert (found["train_loss"][3], found["train_error"][3]) == (float(loss), 1 - float(accuracy))
    loss, accuracy = one.material.test_metrics(one.program, points[3:4], one.frozen)
    assert (found["test_loss"][3], found["test_error"][3]) == (float(loss), 1 - float(accuracy))
    train_only = evaluate(NetworkValues(one.program, one.material, one.frozen, test=False), points)
    assert set(train_only) == {"train_loss", "train_error"}
    test_only = evaluate(NetworkValues(one.program, one.material, one.frozen, train=False), points)
    assert set(test_only) == {"test_loss", "test_error"}
    for key, values in (train_only | test_only).items():
        np.testing.assert_array_equal(values, found[key])


def test_points_may_bring_frozen_tensors_of_their_own() -> None:
    one, other = place(mlp(), path="batched"), place(mlp(), path="batched", seed=4)
    values = NetworkValues(one.program, one.material, one.frozen)
    found = evaluate(values, [one.state, other.state])["train_loss"]
    for at, loss in zip((one, other), found, strict=True):
        alone = evaluate(NetworkValues(at.program, at.material, at.frozen), at.weights)["train_loss"]
        assert float(loss) == pytest.approx(float(alone[0]), rel=1e-12)
    assert evaluate(values, other.weights)["train_loss"][0] != pytest.approx(found[1], rel=1e-3)
    with pytest.raises(LrscopeError, match="points: some slabs bring other frozen tensors"):
        evaluate(values, [one.state, other.weights])


@pytest.mark.slow
def test_chunks_keep_within_the_memory() -> None:
    at = place(NETS["wider"](), path="batched", precision="float32")
    values = NetworkValues(at.program, at.material, at.frozen)

    def most(count: int, memory: int) -> int:
        with Live() as live:
            evaluate(values, (at.weights + i for i in range(count)), memory=memory)
        return int(live.most)

    memory = 1 << 20
    assert most(200, memory) < 1.2 * memory
    assert most(200, 4 * memory) > 1.5 * memory, "more would have been used"


# -- networks ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """The same sweep trained batched and one run at a time."""
    task, found = mlp_task(train=64), {}
    for name, engine in (("batched", BATCHED), ("single", SINGLE)):
        folder = tmp_path_factory.mktemp(name) / "out"
        train(task, SHORT, engine, folder)
        found[name] = Trained.open(folder, task)
    return found


def state_of(trained: Trained, lr: int = 1, seed: int = 0) -> State:
    return trained.state(lr=SHORT.lrs[lr], seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["batched", "single"])
def test_points_of_a_trained_network(sweeps: dict[str, Trained], name: str) -> None:
    trained = sweeps[name]
    assert trained.path == name
    state = state_of(trained)
    line = geometry.line(state_of(trained, 0).weights[0], state.weights[0], 5)
    found = landscape.at_points(trained, state, line)
    between = geometry.between(trained, state_of(trained, 0), state, points=5)
    assert found.sizes == {"point": 5}
    for key in found:
        np.testing.assert_allclose(found[key], between[key], rtol=1e-5)
    same = landscape.at_points(trained, state, line, path="single")
    assert same["test_loss"].values.tobytes() == between["test_loss"].values.tobytes()
    assert (
        not trained.net.module.training or trained.net.module.training
    )  # mode is left as it was: test_measures_common


def test_a_grid_on_a_plane_goes_through_its_states(sweeps: dict[str, Trained]) -> None:
    trained = sweeps["batched"]
    states = [trained.state(lr=SHORT.lrs[1], seed=0, epoch=0), state_of(trained, 0), state_of(trained)]
    plane = Plane.through(*(state.weights[0] for state in states))
    at, _ = plane.coordinates(torch.cat([state.weights for state in states]))
    for state, (x, y) in zip(states, at.tolist(), strict=True):
        found = landscape.on_plane(trained, state, plane, [x, x + 1], [y - 1, y, y + 1])
        assert found["train_loss"].dims == ("y", "x")
        assert found.sizes == {"y": 3, "x": 2}
        direct = landscape.at_points(trained, state, state.weights)
        assert float(found["train_loss"].sel(x=x, y=y)) == pytest.approx(float(direct["train_loss"][0]), rel=1e-4)
        assert float(found["train_loss"].sel(x=x + 1, y=y)) != pytest.approx(float(direct["train_loss"][0]), rel=1e-3)
    small = landscape.on_plane(trained, states[0], plane, [0, 1, 2], [0, 1], memory=1)
    assert small.identical(landscape.on_plane(trained, states[0], plane, [0, 1, 2], [0, 1]))


def test_barriers_of_many_runs_do_not_depend_on_the_memory(sweeps: dict[str, Trained]) -> None:
    trained = sweeps["batched"]
    first = stack([state_of(trained, 0, seed) for seed in (0, 1)])
    second = stack([state_of(trained, 1, seed) for seed in (0, 1)])
    whole = geometry.between_runs(trained, first, second)
    for memory in (1, 30_000):
        assert geometry.between_runs(trained, first, second, memory=memory).identical(whole)
    for run in (0, 1):
        one = geometry.between(trained, state_of(trained, 0, run), state_of(trained, 1, run))
        np.testing.assert_allclose(whole["train_loss"][run], one["train_loss"], rtol=1e-5)


@pytest.mark.slow
def test_barriers_of_many_runs_hold_one_chunk_of_networks() -> None:
    at = place(NETS["wider"](), path="batched", precision="float32")

    def most(runs: int) -> int:
        frozen = {name: value.expand(runs, *value.shape[1:]) for name, value in at.frozen.items()}
        first, second = State(at.weights.repeat(runs, 1), frozen), State(-at.weights.repeat(runs, 1), frozen)
        with Live() as live:
            geometry.between_runs(OneRun(at), first, second, points=20, memory=1 << 20)
        return int(live.most)

    ends = 2 * 8 * at.weights.shape[1] * 8  # float64 copies of both ends' directions in `angles`, of 8 more runs
    assert most(10) < most(2) + ends + (1 << 18)


@pytest.mark.slow
def test_a_net_with_dropout_is_evaluated_one_point_at_a_time(tmp_path: Path) -> None:
    task = task_of(Dropping, (5,))
    train(task, SHORT, SINGLE, tmp_path / "out")
    trained = Trained.open(tmp_path / "out", task)
    state = state_of(trained)
    found = landscape.at_points(trained, state, state.weights.repeat(2, 1))
    assert found.identical(landscape.at_points(trained, state, state.weights.repeat(2, 1)))
    with pytest.raises(LrscopeError, match="path: a net with dropout is not batched"):
        landscape.at_points(trained, state, state.weights, path="batched")


# -- misuse ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def at() -> Place:
    return place(mlp(), path="batched")


BOWL = FunctionValues(lambda points: points.square().sum(1), 3)
MISUSES: dict[str, tuple[Callable[[Place], Any], str]] = {
    "no points": (lambda at: evaluate(BOWL, []), "points: there are none"),
    "empty points": (lambda at: evaluate(BOWL, torch.ones(0, 3)), "points: there are none"),
    "a number": (lambda at: evaluate(BOWL, 5), "points: 5 are no points: pass a torch.Tensor"),
    "a vector": (lambda at: evaluate(BOWL, torch.ones(3)), r"points: torch.float32 of shape \(3,\) are no points here"),
    "another size": (lambda at: evaluate(BOWL, [torch.ones(2, 3), torch.ones(2, 4)]), r"shape \(2, 4\).*\[points, 3"),
    "whole numbers": (lambda at: evaluate(BOWL, torch.ones(2, 3).long()), "points: torch.int64"),
    "lists": (lambda at: evaluate(BOWL, [[1.0, 2.0, 3.0]]), r"points: \[1.0, 2.0, 3.0\] are no points here"),
    "no memory": (lambda at: evaluate(BOWL, torch.ones(2, 3), memory=0), "memory: 0 is too small"),
    "no values": (lambda at: evaluate(len, torch.ones(2, 3)), "values: .* is not a Values: pass FunctionValues"),  # type: ignore[arg-type]
    "a mean": (
        lambda at: evaluate(FunctionValues(lambda points: points.mean(), 3), torch.ones(2, 3)),
        r"function: its loss at 2 points is \(\): return a tensor",
    ),
    "a float": (
        lambda at: evaluate(FunctionValues(lambda points: {"a": 1.0}, 3), torch.ones(2, 3)),
        "function: its a at 2 points is 1.0",
    ),
    "another precision": (
        lambda at: evaluate(NetworkValues(at.program, at.material, at.frozen), at.weights.float()),
        r"points: they are torch.float32, the network is torch.float64: pass points.to\(state.weights\)",
    ),
    "another net's frozen tensors": (
        lambda at: evaluate(NetworkValues(at.program, at.material, {}), at.weights),
        "points: their frozen tensors are not those of the net",
    ),
    "a state of many runs": (
        lambda at: landscape.at_points(OneRun(at), stack([at.state, at.state]), at.weights, path="batched"),
        r"weights: shape \(2, .*\) is not that of one run",
    ),
    "neither set": (
        lambda at: NetworkValues(at.program, at.material, at.frozen, train=False, test=False),
        "train, test: both are False: set one of them",
    ),
    "another path": (
        lambda at: landscape.at_points(OneRun(at), at.state, at.weights, path="fast"),  # type: ignore[arg-type]
        "path: 'fast' is unknown",
    ),
    "parallel directions": (
        lambda at: Plane(torch.ones(4), torch.ones(4), 2 * torch.ones(4)),
        "plane: its directions are zero, parallel or not finite",
    ),
    "no direction": (lambda at: Plane(torch.ones(4), torch.ones(4), torch.zeros(4)), "plane: its directions are zero"),
    "points on a line": (
        lambda at: Plane.through(torch.zeros(4), torch.ones(4), 2 * torch.ones(4)),
        "plane: its directions are zero, parallel",
    ),
    "twice the same point": (
        lambda at: Plane.through(torch.ones(4), torch.ones(4), 2 * torch.ones(4)),
        "plane: its directions are zero, parallel",
    ),
    "points of two nets": (
        lambda at: Plane.through(torch.ones(4), torch.ones(4), torch.ones(5)),
        r"points: shapes \(4,\) and \(5,\) are not of one network",
    ),
    "directions of two nets": (
        lambda at: Plane(torch.ones(4), torch.ones(5), torch.ones(4)),
        r"first: torch.float32 of shape \(5,\) is no vector of 4 weights",
    ),
    "a state instead of its weights": (
        lambda at: Plane(at.state, at.weights[0], at.weights[0]),  # type: ignore[arg-type]
        "origin: State.* is not a Tensor",
    ),
    "infinite coordinates": (
        lambda at: Plane(torch.ones(2), *torch.eye(2)).grid([0, np.inf], [0]),
        "x: .*must be a list of finite numbers",
    ),
    "words for coordinates": (lambda at: Plane(torch.ones(2), *torch.eye(2)).grid([0], "y"), "y: .* not numbers"),
    "points of another size": (
        lambda at: Plane(torch.ones(2), *torch.eye(2)).coordinates(torch.ones(3, 4)),
        r"points: their shape is \(3, 4\): pass \[points, 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_refused_in_one_sentence(at: Place, name: str) -> None:
    call, message = MISUSES[name]
    with pytest.raises(LrscopeError, match=message):
        call(at)


def test_regression_has_no_error() -> None:
    x = vectors(24, 4, "x").float()
    task = Task(partial(MLP, (4, 6, 2)), (x, x[:, :2]), (x, x[:, :2]), loss="mse")
    at = place(task)
    found = xr.Dataset(
        {k: ("p", v) for k, v in evaluate(NetworkValues(at.program, at.material, at.frozen), at.weights).items()}
    )
    assert np.isnan(found["train_error"]).all()
    assert np.isfinite(found["test_loss"]).all()
