"""The optimizer's arithmetic against literal formulas, and three_regimes' equations 2 to 5 on nets that train.

R runs, P parameters, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lrscope.config import SweepConfig
from lrscope.dynamics.layout import Segments, group_squares
from lrscope.dynamics.schedules import HELP, factors
from lrscope.dynamics.schedules import SCHEDULES as KINDS
from lrscope.dynamics.sphere import project
from lrscope.engine.plan import Plan, cut
from lrscope.engine.step import StepInputs, StepState
from lrscope.errors import LrscopeError
from lrscope.tasks.norms import is_norm
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from tiny_tasks import context_of, conv_task, mlp_task

SEGMENTS: Segments = (((0, 4),), ((4, 6), (9, 12)), ((6, 9),))  # the middle group lies in two pieces
R, P = 5, 12


def normal(*shape: int, key: str) -> Tensor:
    return torch.randn(*shape, generator=generator("tests", key), dtype=torch.float64)


def test_group_squares_sum_over_every_piece() -> None:
    flat = normal(R, P, key="squares")
    found = group_squares(flat, SEGMENTS).numpy()
    for r, row in enumerate(flat.numpy()):
        parts = [np.concatenate([row[a:b] for a, b in pieces]) for pieces in SEGMENTS]
        np.testing.assert_allclose(found[r], [np.linalg.norm(p) ** 2 for p in parts], rtol=1e-14)
    np.testing.assert_allclose(found.sum(1), (flat.numpy() ** 2).sum(1), rtol=1e-14)


def test_sphere_step_is_equation_2() -> None:
    weights, gradient = normal(R, P, key="weights"), normal(R, P, key="gradient")
    lr, rho = torch.logspace(-3, 1, R, dtype=torch.float64), torch.linspace(0.5, 3, R, dtype=torch.float64)
    stepped, squares = project(weights - lr[:, None] * gradient, rho, SEGMENTS)
    for r in range(R):
        hat = weights[r].numpy() - float(lr[r]) * gradient[r].numpy()
        np.testing.assert_allclose(stepped[r], hat * float(rho[r]) / np.linalg.norm(hat), rtol=1e-13)
    torch.testing.assert_close(squares, group_squares(stepped, SEGMENTS), rtol=1e-13, atol=0)
    torch.testing.assert_close(squares.sum(1), rho.square(), rtol=1e-13, atol=0)


# -- three_regimes, eq. 3 to 5, at every step of real nets ---------------------------------------------------------


@dataclass
class Step:
    """What one step of the engine says, in the paper's letters."""

    eta: Tensor  # [R]: the optimizer's learning rate
    rho: Tensor  # [R]
    squares: Tensor  # [R, G]: rho_i^2 before the step
    after: Tensor  # [R, G]: rho_i^2 after it
    g: Tensor  # [R]
    g_eff: Tensor  # [R, G]: effective gradient norms
    ess: Tensor  # [R, G]

    @property
    def elr_i(self) -> Tensor:
        return self.eta[:, None] / self.squares

    @property
    def elr(self) -> Tensor:
        return self.eta / self.rho.square()


def steps_of(task: Task, folder: Path, count: int) -> Iterator[Step]:
    """Train on the sphere with regimes 1 to 3 side by side, norms' eps at almost nothing (eq. 5 needs exact SI)."""
    config = SweepConfig(lrs=(1e-3, 3e-2, 1.0), seeds=2, steps=count, batch_size=16, precision="float64")
    context = context_of(task, config, folder)
    for module in context.net.module.modules():
        if is_norm(module):
            module.eps = 1e-30
    plan = Plan("batched", 6, False, "", 0.0)
    trainer = context.trainer(plan, cut(config, 6)[0])
    phase = context.phases[0]
    order, eta = trainer._order(phase), trainer._lr(phase)
    state = StepState.of(trainer.tensors, ())
    groups = state.squares.shape[1]
    for step in range(count):
        x, y, index = trainer._batches(order, step, 1)
        before = state._replace(sums=torch.zeros_like(state.sums))
        inputs = StepInputs(trainer.frozen, x, y, eta[None], trainer.rho_R, index)
        state = context.program("batched", False).steps(before, inputs)
        row = state.sums
        first = row.shape[1] - 2 * groups
        yield Step(
            eta,
            trainer.rho_R,
            before.squares,
            state.squares,
            row[:, 3],
            row[:, first : first + groups],
            row[:, first + groups :],
        )


@pytest.fixture(scope="module", params=["mlp batch norm", "mlp layer norm", "convnet"])
def trajectory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    task = conv_task() if request.param == "convnet" else mlp_task(request.param.split()[1])
    return list(steps_of(task, tmp_path_factory.mktemp("steps"), 40))


def test_groups_move_enough_for_the_equations_to_say_something(trajectory: list[Step]) -> None:
    change = (trajectory[-1].elr_i / trajectory[0].elr_i).log().abs().amax(1)
    assert (change[[1, 2, 4, 5]] > 0.01).all(), "the upper learning rates redistribute the norm"


def test_equation_3_inverse_elrs_sum_to_the_total(trajectory: list[Step]) -> None:
    for step in trajectory:
        torch.testing.assert_close((1 / step.elr_i).sum(1), 1 / step.elr, rtol=1e-12, atol=0)


def test_equation_4_total_ess_is_a_convex_combination(trajectory: list[Step]) -> None:
    for step in trajectory:
        omega = step.elr[:, None] / step.elr_i
        torch.testing.assert_close(omega.sum(1), torch.ones(6, dtype=torch.float64), rtol=1e-12, atol=0)
        total = (step.elr * step.g * step.rho).square()
        torch.testing.assert_close((omega * step.ess.square()).sum(1), total, rtol=1e-12, atol=0)


def test_equation_5_each_elr_follows_its_ess(trajectory: list[Step]) -> None:
    for step in trajectory:
        total = (step.elr * step.g * step.rho).square()
        expected = step.elr_i * (1 + total[:, None]) / (1 + step.ess.square())
        torch.testing.assert_close(step.eta[:, None] / step.after, expected, rtol=1e-11, atol=0)


def test_ess_is_elr_times_effective_gradient_norm(trajectory: list[Step]) -> None:
    for step in trajectory:
        torch.testing.assert_close(step.ess, step.elr_i * step.g_eff, rtol=1e-12, atol=0)
        torch.testing.assert_close((step.g_eff.square() / step.squares).sum(1), step.g.square(), rtol=1e-12, atol=0)


def test_the_sphere_is_never_left(trajectory: list[Step]) -> None:
    for step in trajectory:
        torch.testing.assert_close(step.after.sum(1), step.rho.square(), rtol=1e-12, atol=0)


# -- schedules -----------------------------------------------------------------------------------------------------


def torch_factors(make: object, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)  # type: ignore[operator]
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


STEPS = 40
SCHEDULES = {
    "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS),
    "linear": lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, STEPS),
    "step:0.2@0.25,0.5,0.9": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [10, 20, 36], 0.2),
    "exponential:0.01": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.01 ** (1 / STEPS)),
    "1-sqrt": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda t: 1 - (t / STEPS) ** 0.5),
    "wsd:0.25": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda t: 1 - max(0, (t - 30) / 10) ** 0.5),
    "wsd:0.25,linear": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o, [torch.optim.lr_scheduler.ConstantLR(o, 1.0), torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 10)], [30]
    ),
    "wsd:1,linear": lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, STEPS),  # no stable part
    "wsd:0.5,cosine": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o, [torch.optim.lr_scheduler.ConstantLR(o, 1.0), torch.optim.lr_scheduler.CosineAnnealingLR(o, 20)], [20]
    ),
}


@pytest.mark.parametrize("text", SCHEDULES)
def test_schedules_are_torch_schedulers(text: str) -> None:
    found = factors(text, STEPS)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, torch_factors(SCHEDULES[text], STEPS), rtol=1e-12, atol=1e-15)


def test_cyclic_is_torch_cyclic() -> None:
    """Up from the lowest to the run's learning rate and down again, four times."""
    theirs = torch_factors(
        lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.1, 1.0, step_size_up=5, cycle_momentum=False), STEPS
    )
    np.testing.assert_allclose(factors("cyclic:0.1@4", STEPS), theirs, rtol=1e-12)


def test_cycles_may_begin_at_zero_and_one_is_enough() -> None:
    assert factors("cyclic:0@2", 4).tolist() == [0.0, 1.0, 0.0, 1.0]
    assert factors("cyclic:0.5@1", 4).tolist() == [0.5, 0.75, 1.0, 0.75]


@pytest.mark.parametrize("text", [*SCHEDULES, "cyclic:0.1@4"])
def test_warm_up_rises_to_the_schedule(text: str) -> None:
    found = factors(text, STEPS + 10, 10)
    np.testing.assert_allclose(found[:10], np.arange(1, 11) / 10, rtol=1e-15)
    torch.testing.assert_close(found[10:], factors(text, STEPS), rtol=0, atol=0)


def test_every_kind_of_schedule_has_a_twin_and_stands_in_the_help() -> None:
    assert {text.partition(":")[0] for text in SCHEDULES} | {"cyclic"} == set(KINDS)
    assert all(name in HELP and schedule.such_as in HELP for name, schedule in KINDS.items())


def test_a_schedule_of_one_step_begins_at_the_full_learning_rate() -> None:
    assert all(float(factors(text, 1)) == 1.0 for text in SCHEDULES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosin", "schedule: 'cosin' is unknown: did you mean 'cosine'"),
        ("warmup", "schedule: 'warmup' is unknown: choose one of 1-sqrt, constant, cosine, cyclic"),
        ("cosine:0.5", "schedule: cosine takes no arguments, got 'cosine:0.5'"),
        ("exponential:0", "schedule: 'exponential:0' needs an end between 0 and 1: write exponential:END"),
        ("exponential", "schedule: cannot read 'exponential'"),
        ("exponential:1", "needs an end between 0 and 1"),
        ("exponential:1.5", "needs an end between 0 and 1"),
        ("exponential:nan", "schedule: cannot read"),
        ("exponential:inf", "schedule: cannot read"),
        ("cyclic:0.1", "schedule: cannot read"),
        ("cyclic:0.1@2.5", "needs a lowest factor in .* and a whole number of cycles"),
        ("cyclic:0.1@0", "a whole number of cycles"),
        ("cyclic:0.1@1e999", "a whole number of cycles"),
        ("cyclic:1@2", "needs a lowest factor"),
        ("wsd:0", "schedule: 'wsd:0' needs a fraction of training in"),
        ("wsd:1.5", "schedule: 'wsd:1.5' needs a fraction of training in"),
        ("wsd:0.2,square", "schedule: cannot read"),
        ("wsd", "schedule: cannot read"),
        ("step", "schedule: cannot read 'step'"),
        ("step:0.2", "schedule: cannot read 'step:0.2'"),
        ("step:a@0.5", "schedule: cannot read"),
        ("step:1e@0.5", "schedule: cannot read"),
        ("step:0.2@0.5,", "schedule: cannot read"),
        ("step:-1@0.5", "needs a factor above 0"),
        ("step:0@0.5", "needs a factor above 0"),
        ("step:1e999@0.5", "needs a factor above 0"),
        ("step:0.2@0.5,0.3", "increasing fractions in"),
        ("step:0.2@0.5,0.5", "increasing fractions in"),
        ("step:0.2@0,0.5", "fractions in"),
        ("step:0.2@1", "fractions in"),
    ],
)
def test_schedules_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(LrscopeError, match=message.replace("(", r"\(")) as caught:
        factors(text, 10)
    kind = KINDS.get(text.partition(":")[0])
    such_as = "step:0.2@0.3,0.6" if kind is None else kind.such_as or text.partition(":")[0]
    assert f"such as {such_as}" in str(caught.value) or f"write {such_as}" in str(caught.value), "the remedy shows it"
