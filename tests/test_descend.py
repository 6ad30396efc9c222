"""Descent on any objective: known answers, runs that know nothing of each other, ends, records, noise; and misuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lrscope.dynamics.descend import PointRecord, StepRecord, Update, descend
from lrscope.dynamics.objective import Differentiated, Objective
from lrscope.dynamics.optimizers.adam import Adam
from lrscope.dynamics.optimizers.sgd import SGD
from lrscope.errors import LrscopeError
from lrscope.measures.common import undisturbed
from lrscope.measures.objectives import TrainingLoss, shuffled_batches
from lrscope.tasks.streams import generator
from measured import mlp, place


class Bowl:
    """Half the sum of a_i w_i^2: w_i after t steps of learning rate eta is (1 - eta a_i)^t times its start."""

    def __init__(self, *curvatures: float) -> None:
        self.a = torch.tensor(curvatures, dtype=torch.float64)
        self.size = len(curvatures)

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        return self.a * points, 0.5 * (self.a * points.square()).sum(1)


BOWL = Bowl(1.0, 0.1, 3.0)


def start(runs: int, size: int = 3, *, key: str = "start") -> Tensor:
    return torch.randn(runs, size, generator=generator("tests", "descend", key), dtype=torch.float64)


def test_a_bowl_is_left_at_its_own_rates() -> None:
    lr = torch.tensor([0.0, 0.1, 0.6])
    found = descend(BOWL, start(3), lr, 7)
    torch.testing.assert_close(found.weights, start(3) * (1 - lr[:, None].double() * BOWL.a) ** 7)
    assert found.taken.tolist() == [7, 7, 7]


def test_a_schedule_has_a_rate_for_each_step_and_run() -> None:
    schedule = torch.tensor([[0.1, 0.3], [0.2, 0.0], [0.05, 0.6]], dtype=torch.float64)
    found = descend(BOWL, start(2), schedule, 3)
    torch.testing.assert_close(found.weights, start(2) * (1 - schedule[:, :, None] * BOWL.a).prod(0))
    shared = descend(BOWL, start(2), schedule[:, :1], 3)
    assert torch.equal(shared.weights, descend(BOWL, start(2), schedule[:, :1].repeat(1, 2), 3).weights)
    assert torch.equal(descend(BOWL, start(2), 0.1, 3).weights, descend(BOWL, start(2), [0.1, 0.1], 3).weights)
    assert torch.equal(
        descend(BOWL, start(2), 0.1, 3).weights, descend(BOWL, start(2), np.full((3, 2), 0.1), 3).weights
    )


def test_momentum_and_weight_decay_are_those_of_torch() -> None:
    weights = start(1).clone().requires_grad_()
    optimizer = torch.optim.SGD([weights], lr=0.1, momentum=0.9, weight_decay=0.02)
    for _ in range(20):
        weights.grad = BOWL.gradient(weights.detach(), 0)[0]
        optimizer.step()
    found = descend(BOWL, start(1), 0.1, 20, optimizer=SGD(momentum=0.9, weight_decay=0.02))
    torch.testing.assert_close(found.weights, weights.detach(), rtol=1e-12, atol=0)


def test_any_optimizer_is_projected_to_the_sphere() -> None:
    weights = start(1).clone().requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=0.1)
    for _ in range(20):
        weights.grad = BOWL.gradient(weights.detach(), 0)[0]
        optimizer.step()
        weights.data *= 2 / weights.data.norm()
    found = descend(BOWL, start(1), 0.1, 20, optimizer=Adam(), radius=2.0)
    torch.testing.assert_close(found.weights, weights.detach(), rtol=1e-10, atol=0)


def test_a_sphere_is_never_left_and_its_step_is_equation_2() -> None:
    radius = torch.tensor([1.0, 5.0], dtype=torch.float64)
    found = descend(BOWL, start(2), 0.2, 4, radius=radius, groups=(((0, 1), (2, 3)), ((1, 2),)))
    expected = start(2)
    for _ in range(4):
        moved = expected - 0.2 * BOWL.a * expected
        expected = radius[:, None] * moved / moved.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found.weights, expected)
    settled = descend(BOWL, start(2), 0.2, 400, radius=1.0).weights
    torch.testing.assert_close(
        settled.abs(), torch.tensor([[0.0, 1.0, 0.0]] * 2, dtype=torch.float64), atol=1e-9, rtol=0
    )


def test_a_run_that_starts_with_a_nan_has_ended() -> None:
    begun = start(2)
    begun[1, 0] = torch.nan
    found = descend(BOWL, begun, 0.1, 2, record={"last": PointRecord(lambda weights: weights[:, 2])})
    assert found.taken.tolist() == [2, 0]
    assert found.taken.dtype == torch.int64
    assert torch.isnan(found.recorded["last"]).tolist() == [[False, True]] * 3


def test_an_objective_may_have_no_loss() -> None:
    found = descend(Wrong(torch.ones(2, 3, dtype=torch.float64), None), start(2), 0.1, 3)
    torch.testing.assert_close(found.weights, start(2) - 0.3)


def test_a_run_that_ends_is_nan_from_there_on_and_no_other_run_changes() -> None:
    lr = torch.tensor([0.1, 1e60, 0.3], dtype=torch.float64)
    record = {
        "loss": StepRecord(lambda update: update.loss),
        "first": PointRecord(lambda weights: torch.ones(len(weights))),  # a constant does not see that weights are NaN
    }
    found = descend(BOWL, start(3), lr, 12, record=record)  # type: ignore[arg-type]
    alone = descend(BOWL, start(3)[[0, 2]], lr[[0, 2]], 12, record=record)  # type: ignore[arg-type]
    assert torch.equal(found.weights[[0, 2]], alone.weights)
    assert torch.equal(found.recorded["loss"][:, [0, 2]], alone.recorded["loss"])
    assert torch.isnan(found.weights[1]).all()
    end = int(found.taken[1])
    assert 1 < end < 12
    assert found.taken.tolist() == [12, end, 12]
    loss = found.recorded["loss"][:, 1]
    assert torch.isfinite(loss[:end]).all()
    assert torch.isinf(loss[end]), "the step in which it ended says why"
    assert torch.isnan(loss[end + 1 :]).all()
    assert torch.isnan(found.recorded["first"][:, 1]).tolist() == [t > end for t in range(13)]


def test_a_norm_that_overflows_on_the_sphere_ends_a_run() -> None:
    """The step is finite, its norm is not: rescaled by its inverse the weights would be 0."""
    found = descend(BOWL, start(2), [0.1, 1e200], 3, radius=1.0)
    assert found.taken.tolist() == [3, 0]
    assert torch.isnan(found.weights).all(1).tolist() == [False, True]


def test_a_loss_that_is_not_a_number_ends_a_run_whose_gradient_is() -> None:
    class Holed(Bowl):
        def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
            gradient, loss = super().gradient(points, step)
            return gradient, torch.where(torch.tensor([step == 2, False]), torch.nan, loss)

    found = descend(Holed(1.0, 0.1, 3.0), start(2), 0.1, 5)
    assert found.taken.tolist() == [2, 5]
    assert torch.isnan(found.weights).all(1).tolist() == [True, False]
    begun = start(2).clone()
    begun[0, 1] = torch.nan
    assert descend(BOWL, begun, 0.1, 5).taken.tolist() == [0, 5]


def test_what_is_recorded_and_when() -> None:
    seen: list[int] = []

    def note(update: Update) -> Tensor:
        seen.append(update.step)
        assert torch.equal(update.after, update.before - update.lr[:, None] * update.gradient)
        return update.after - update.before

    record = {
        "points": PointRecord(lambda weights: weights),
        "ends": PointRecord(lambda weights: weights.square().sum(1), (0, 5)),
        "moved": StepRecord(note, range(1, 5, 2)),
        "never": PointRecord(lambda weights: weights, ()),
    }
    found = descend(BOWL, start(2), 0.1, 5, record=record).recorded
    assert seen == [1, 3]
    assert set(found) == {"points", "ends", "moved"}
    assert found["points"].shape == (6, 2, 3)
    assert torch.equal(found["points"][0], start(2))
    assert torch.equal(found["ends"], found["points"][[0, 5]].square().sum(2))
    assert torch.equal(found["moved"], found["points"][[2, 4]] - found["points"][[1, 3]])


def test_noise_belongs_to_a_run_and_its_stream() -> None:
    flat = Bowl(0.0, 0.0, 0.0)
    still = torch.zeros(3, 3, dtype=torch.float64)
    long = descend(flat, still, 0.1, 200, noise=0.5, record={"w": PointRecord(lambda weights: weights)}).recorded["w"]
    steps = long.diff(dim=0) / 0.5
    assert float(steps.mean()) == pytest.approx(0, abs=5 / np.sqrt(steps.numel()))
    assert float(steps.std()) == pytest.approx(1, abs=5 / np.sqrt(2 * steps.numel()))
    assert len({float(value) for value in steps.flatten().round(decimals=9)}) == steps.numel(), "no draw comes twice"
    short = descend(flat, still[:2], 0.1, 70, noise=0.5)
    assert torch.equal(short.weights, long[70, :2]), "neither other runs nor the number of steps matter"
    levels = descend(flat, still, 0.1, 70, noise=[0.5, 0.0, 0.5]).weights
    assert torch.equal(levels[[0, 2]], long[70, [0, 2]])
    assert torch.equal(levels[1], still[1])
    other = descend(flat, still, 0.1, 70, noise=0.5, stream=("another", 1)).weights
    assert not torch.equal(other, long[70])
    annealed = descend(flat, still, 0.1, 2, noise=[[0.5], [0.0]]).weights
    assert torch.equal(annealed, long[1])


@pytest.mark.parametrize(("size", "steps", "block"), [(3, 66, 64), (1 << 15, 3, 2), (1 << 17, 2, 1)])
def test_noise_is_drawn_as_in_earlier_versions(size: int, steps: int, block: int) -> None:
    """From a stream for each run and block of 64 steps, or as many as hold 65,536 numbers."""
    still = torch.zeros(2, size, dtype=torch.float64)
    found = descend(Bowl(*[0.0] * size), still, 0.1, steps, noise=0.5, stream=("drawn", 1)).weights
    for run in range(2):
        streams = [generator("drawn", 1, run, k) for k in range(-(-steps // block))]
        drawn = torch.cat([torch.randn(block, size, generator=s, dtype=torch.float64) for s in streams])[:steps]
        torch.testing.assert_close(found[run], 0.5 * drawn.sum(0))


def test_noise_on_a_sphere_is_projected_with_the_step() -> None:
    found = descend(BOWL, start(2), 0.2, 1, radius=2.0, noise=0.3).weights
    flat = Bowl(0.0, 0.0, 0.0)
    noise = descend(flat, torch.zeros(2, 3, dtype=torch.float64), 0.1, 1, noise=0.3).weights
    moved = start(2) + noise - 0.2 * BOWL.a * start(2)
    torch.testing.assert_close(found, 2 * moved / moved.norm(dim=1, keepdim=True))
    decayed = descend(flat, start(2), 0.1, 1, optimizer=SGD(weight_decay=0.5), noise=0.3).weights
    torch.testing.assert_close(decayed, start(2) * (1 - 0.1 * 0.5) + noise)


# -- objectives --------------------------------------------------------------------------------------------------------


class NormPower:
    """y = |w|^gamma w.x with squared loss (late decay)."""

    def __init__(self, x: Tensor, y: Tensor, gamma: float) -> None:
        self.x, self.y, self.gamma, self.size = x, y, gamma, x.shape[1]

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        norm = points.norm(dim=1, keepdim=True)
        error = (norm**self.gamma * points) @ self.x.T - self.y
        pulled = error @ self.x / len(self.x)  # in the linear predictor |w|^gamma w
        along = (pulled * points).sum(1, keepdim=True) / norm.square()
        return norm**self.gamma * (pulled + self.gamma * along * points), 0.5 * error.square().mean(1)

    def loss(self, points: Tensor) -> Tensor:
        return 0.5 * (points.norm(dim=1, keepdim=True) ** self.gamma * points @ self.x.T - self.y).square().mean(1)


class TwoPatterns:
    """A logistic loss of two-layer networks with fixed signs on examples of two patterns."""

    def __init__(self, x: Tensor, y: Tensor, hidden: int) -> None:
        self.x, self.y, self.hidden, self.size = x, y, hidden, hidden * x.shape[1]
        self.signs = torch.ones(hidden, dtype=x.dtype)
        self.signs[::2] = -1

    def gradient(self, points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        before = points.view(-1, self.hidden, self.x.shape[1]) @ self.x.T  # [R, H, N]
        margin = self.y * (self.signs[:, None] * before.relu()).sum(1)
        slope = -self.y * torch.sigmoid(-margin) / len(self.y)
        inner = slope[:, None] * self.signs[:, None] * (before > 0)
        return (inner @ self.x).flatten(1), functional.softplus(-margin).mean(1)

    def loss(self, points: Tensor) -> Tensor:
        before = points.view(-1, self.hidden, self.x.shape[1]) @ self.x.T
        return functional.softplus(-self.y * (self.signs[:, None] * before.relu()).sum(1)).mean(1)


def theory_models() -> dict[str, Any]:
    x = start(12, 5, key="examples")
    return {
        "norm power": NormPower(x, x @ start(1, 5, key="teacher")[0], 1.5),
        "two patterns": TwoPatterns(x, x[:, 0].sign(), 8),
    }


@pytest.mark.parametrize("name", theory_models())
def test_a_theory_model_is_an_objective_like_its_loss_differentiated(name: str) -> None:
    model = theory_models()[name]
    assert isinstance(model, Objective)
    points = 0.5 * start(4, model.size, key=name)
    other = Differentiated(model.loss, model.size)
    for one, two in zip(model.gradient(points, 0), other.gradient(points, 0), strict=True):
        torch.testing.assert_close(one, two)
    by_hand = descend(model, points, 0.05, 50)
    torch.testing.assert_close(by_hand.weights, descend(other, points, 0.05, 50).weights)
    assert (model.loss(by_hand.weights) < 0.9 * model.loss(points)).all()


def test_differentiated_runs_do_not_meet() -> None:
    loss = Differentiated(lambda points: (points**4).sum(1), 3)
    points = start(3)
    points[1] = torch.inf
    gradient, _ = loss.gradient(points, 0)
    assert torch.equal(gradient[[0, 2]], loss.gradient(points[[0, 2]], 0)[0])
    assert not points.requires_grad


@pytest.mark.parametrize("path", ["single", "batched"])
def test_runs_of_a_network_descend_as_each_alone(path: str) -> None:
    first, second = place(mlp(), path=path), place(mlp(), path=path, seed=4)
    frozen = {name: torch.cat([value, second.frozen[name]]) for name, value in first.frozen.items()}
    weights, lr = torch.cat([first.weights, second.weights]), torch.tensor([0.02, 0.05])
    batch = shuffled_batches(first.material, 1)
    both = _descended(TrainingLoss(first.program, frozen, batch), weights, lr)
    for run, at in enumerate((first, second)):
        alone = _descended(TrainingLoss(first.program, at.frozen, batch), at.weights, lr[run : run + 1])
        torch.testing.assert_close(both[run : run + 1], alone, rtol=1e-9, atol=0)
        assert float((alone - at.weights).norm()) > 1e-3
    assert not torch.allclose(both[0], both[1])


def _descended(objective: TrainingLoss, weights: Tensor, lr: Tensor) -> Tensor:
    net = objective.program.net
    radius = weights.norm(dim=1)
    with undisturbed(net, "tests"):
        return descend(objective, weights, lr, 5, radius=radius, groups=net.segments).weights


# -- misuse ------------------------------------------------------------------------------------------------------------


class Wrong:
    size = 3

    def __init__(self, gradient: Any, loss: Any) -> None:
        self.returned = gradient, loss

    def gradient(self, points: Tensor, step: int) -> Any:
        return self.returned


MISUSES: dict[str, tuple[Callable[[], Any], str]] = {
    "no objective": (lambda: descend(5, start(2), 0.1, 3), "objective: 5 is not an Objective: pass an object with size"),  # type: ignore[arg-type]
    "start of another size": (lambda: descend(BOWL, start(2, 4), 0.1, 3), r"start: .*\(2, 4\) is no start .* \[runs, 3\]"),
    "start in whole numbers": (lambda: descend(BOWL, torch.ones(2, 3).long(), 0.1, 3), "start: torch.int64"),
    "no runs": (lambda: descend(BOWL, start(2)[:0], 0.1, 3), r"start: .*\(0, 3\)"),
    "lr of other runs": (lambda: descend(BOWL, start(2), [0.1] * 3, 3), r"lr: its shape is \(3,\): pass a number"),
    "lr of other steps": (lambda: descend(BOWL, start(2), torch.ones(4, 2), 3), r"lr: .*\[3 steps, 2 runs\]"),
    "lr of a word": (lambda: descend(BOWL, start(2), "fast", 3), "lr: 'fast' is not a number"),
    "negative lr": (lambda: descend(BOWL, start(2), [0.1, -0.1], 3), "lr: .*finite numbers of 0 or more"),
    "nan lr": (lambda: descend(BOWL, start(2), float("nan"), 3), "lr: nan must hold finite numbers"),
    "no steps": (lambda: descend(BOWL, start(2), 0.1, 0), "steps: 0 is too small"),
    "radius 0": (lambda: descend(BOWL, start(2), 0.1, 3, radius=0), "radius: 0 is not above 0"),
    "radius of steps": (lambda: descend(BOWL, start(2), 0.1, 3, radius=torch.ones(3, 2)), "radius: its shape"),
    "one radius of two": (lambda: descend(BOWL, start(2), 0.1, 3, radius=[1, 0]), r"radius: \[1, 0\] is not above 0"),
    "optimizer by name": (
        lambda: descend(BOWL, start(2), 0.1, 3, optimizer="adam"),  # type: ignore[arg-type]
        "optimizer: 'adam' is not an Optimizer: pass one of",
    ),
    "negative noise": (lambda: descend(BOWL, start(2), 0.1, 3, noise=-1), "noise: -1 must hold"),
    "stream without a name": (lambda: descend(BOWL, start(2), 0.1, 3, noise=1, stream=()), r"stream: \(\) is no name"),
    "stream with a slash": (lambda: descend(BOWL, start(2), 0.1, 3, noise=1, stream=["a/b"]), "stream: .*without '/'"),
    "stream with a slash in one part": (
        lambda: descend(BOWL, start(2), 0.1, 3, noise=1, stream=["a", "b/c"]),
        "stream: .*without '/'",
    ),
    "groups with an empty range": (
        lambda: descend(BOWL, start(2), 0.1, 3, radius=1.0, groups=(((0, 0), (0, 3)),)),
        "groups: .* each of the 3",
    ),
    "groups with a gap": (lambda: descend(BOWL, start(2), 0.1, 3, groups=(((0, 1),),)), "groups: .* each of the 3"),
    "record of no kind": (lambda: descend(BOWL, start(2), 0.1, 3, record={"w": len}), "record: w is .* a PointRecord"),  # type: ignore[dict-item]
    "record outside": (
        lambda: descend(BOWL, start(2), 0.1, 3, record={"w": StepRecord(lambda u: u.after, [3])}),
        "record: w at 3 is outside the descent: choose from 0 to 2",
    ),
    "records outside": (
        lambda: descend(BOWL, start(2), 0.1, 3, record={"w": PointRecord(lambda w: w, [1000, 7])}),
        "record: w at 7 is outside the descent: choose from 0 to 3",
    ),
    "record without runs": (
        lambda: descend(BOWL, start(2), 0.1, 3, record={"w": PointRecord(lambda w: w.sum())}),
        r"record: w is \(\): return a tensor with one value for each of the 2 runs",
    ),
    "gradient of a shape": (lambda: descend(Wrong(torch.ones(3), None), start(2), 0.1, 3), r"its gradient is \(3,\)"),
    "gradient of a shape in a single step": (
        lambda: descend(Wrong(torch.ones(3), None), start(2), 0.1, 1),
        r"its gradient is \(3,\)",
    ),
    "loss of a number": (lambda: descend(Wrong(torch.ones(2, 3), 0.5), start(2), 0.1, 3), "its loss is float"),
    "mean of losses": (
        lambda: descend(Differentiated(lambda w: (w**2).mean(), 3), start(2), 0.1, 3),
        r"loss: it returned \(\) for 2 points",
    ),
    "detached loss": (
        lambda: descend(Differentiated(lambda w: (w.detach() ** 2).sum(1), 3), start(2), 0.1, 3),
        "loss: it does not depend on the points",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_refused_in_one_sentence(name: str) -> None:
    call, message = MISUSES[name]
    with pytest.raises(LrscopeError, match=message):
        call()
