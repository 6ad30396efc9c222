"""Generated training steps against PyTorch's: operation by operation, step by step, sweep by sweep."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrscope.config import SweepConfig
from lrscope.engine.assemble import assemble
from lrscope.engine.backends.cpp import compiler as fused_compiler
from lrscope.engine.backends.cpp.steps import FusedSteps
from lrscope.engine.backends.cpp.values import NotFusible
from lrscope.engine.backends.vmap import Vmap
from lrscope.engine.choose import choose_plan
from lrscope.engine.chunk import ChunkTrainer, Stopped
from lrscope.engine.plan import Plan, cut
from lrscope.engine.program import Program
from lrscope.engine.step import StepInputs, StepState
from lrscope.engine.sweep_folder import CHECKPOINT, DONE, Store
from lrscope.errors import LrscopeError
from lrscope.tasks.builtin import named_task
from lrscope.tasks.models import MLP, ResNet18
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from lrscope.tasks.vgg import VGG11
from test_plans import CONFIG, differing, reference
from tiny_tasks import (
    BASE,
    BATCHED,
    compiler_needed,
    context_of,
    conv_task,
    mlp_task,
    small_task,
    task_of,
    train,
)

pytestmark = compiler_needed
FUSED = Plan("batched", 4, True, "", 0.0, 32, True)

# -- operation by operation ----------------------------------------------------------------------------------------


def drawn(*shape: int, key: str = "fused") -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator("tests", key, *shape))


def by_generator(function: Callable[[Tensor, Tensor, Tensor], Tensor], w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """function(w [P], x [B, ...], y [B]) through a generated library; its result has w's shape."""

    def step(state: StepState, inputs: StepInputs) -> StepState:
        return state._replace(weights=function(state.weights[0], inputs.x[0], inputs.y[0])[None])

    state = StepState(w[None], {}, w.new_zeros(1, 1), w.new_zeros(1, 1))
    one = w.new_zeros(1)
    steps = FusedSteps(step, state, StepInputs({}, x[None], y[None], one, one))
    index = torch.arange(len(x)).view(1, 1, -1)
    return steps(state, StepInputs({}, x, y, one[None], one, index)).weights[0]


def agree(function: Callable[[Tensor, Tensor, Tensor], Tensor], w: Tensor, x: Tensor, y: Tensor | None = None) -> None:
    y = torch.arange(len(x)) % 3 if y is None else y
    torch.testing.assert_close(by_generator(function, w, x, y), function(w, x, y), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("m", "k", "n"), [(16, 32, 32), (7, 5, 3), (64, 10, 33), (9, 17, 8), (3, 40, 1), (5, 1, 20)])
@pytest.mark.parametrize("turned", list(itertools.product([False, True], repeat=2)))
def test_products_of_any_size_and_layout(m: int, k: int, n: int, turned: tuple[bool, bool]) -> None:
    def product(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
        a = x[:, : m * k].reshape(-1)[: m * k]
        b = x[:, m * k :].reshape(-1)[: k * n]
        left = a.view(k, m).T if turned[0] else a.view(m, k)
        right = b.view(n, k).T if turned[1] else b.view(k, n)
        return (left @ right).reshape(-1)

    agree(product, drawn(m * n), drawn(1, m * k + k * n), torch.zeros(1, dtype=torch.int64))


OPERATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "sum over rows": lambda w, x, y: x.sum(0),
    "sum over columns": lambda w, x, y: x.sum(1)[:7],
    "sum of all": lambda w, x, y: w * x.sum(),
    "mean and variance over rows": lambda w, x, y: x.var(0) + x.mean(0),
    "variance over columns": lambda w, x, y: x.var(1, correction=0)[:7],
    "largest": lambda w, x, y: x.amax(0) + x.amax(1)[:7],
    "where the largest is": lambda w, x, y: x.argmax(0) + w,
    "log-softmax": lambda w, x, y: functional.log_softmax(x, 1).sum(0),
    "cross-entropy": lambda w, x, y: w * functional.cross_entropy(x, y, reduction="none").mean(),
    "layer norm": lambda w, x, y: functional.layer_norm(x, (7,), w, 2 * w).exp().sum(0),
    "batch norm": lambda w, x, y: functional.batch_norm(x, None, None, w, w, training=True).relu().mean(0),
    "functions": lambda w, x, y: w.exp().log1p() + w.sigmoid() * w.tanh() - w.abs().sqrt() / (w**2 + 1).rsqrt() + w**3,
    "more functions": lambda w, x, y: functional.gelu(w) + functional.silu(w) + functional.softplus(w) + w.sin(),
    "choices": lambda w, x, y: (
        torch.where(w > 0, w.clamp(max=0.5), w.minimum(x[0])) + functional.leaky_relu(w) + w.clamp(-0.5, 0.5)
    ),
    "views": lambda w, x, y: torch.cat([x.T[1:4].reshape(-1)[:3], w[3:] * 0 + x[2:3, 3:].expand(1, 4)[0]]),
    "integers": lambda w, x, y: w + (y == 1).sum() + (y[:7] > 1).to(w.dtype),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str) -> None:
    try:
        agree(OPERATIONS[name], drawn(7), drawn(9, 7))
    except NotFusible as reason:
        pytest.fail(f"{name}: {reason}")


def test_not_a_number_and_infinity_pass_as_in_pytorch() -> None:
    w = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -1.0, 2.0, 1e308], dtype=torch.float64)

    def function(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
        finite = torch.isfinite(w * 10).to(w.dtype)
        return torch.cat([functional.relu(w)[:3], torch.maximum(w, w[:1] * w)[3:5], finite[5:]]) + w.amax() * 0

    torch.testing.assert_close(
        by_generator(function, w, drawn(2, 2), torch.zeros(2, dtype=torch.int64)), function(w, w, w), equal_nan=True
    )


# -- step by step --------------------------------------------------------------------------------------------------


def regression() -> Task:
    x = torch.randn(40, 6, generator=generator("tests", "regression"))
    return Task(partial(nn.Linear, 6, 2), (x, x[:, :2] * 3 + 1), (x[:10], x[:10, :2]), loss="mse", name="regression")


WHOLE = replace(BASE, space="whole", lrs=(1e-3, 3e-3), steps=24, precision="float64", batch_size=7)
CASES: dict[str, tuple[Callable[[], Task], SweepConfig]] = {
    "batch norm": (mlp_task, CONFIG),
    "layer norm": (partial(mlp_task, "layer"), CONFIG),
    "momentum": (mlp_task, replace(WHOLE, momentum=0.9, weight_decay=1e-2)),
    "invariant in the whole space": (mlp_task, replace(WHOLE, scale_invariant=True, weight_decay=1e-2)),
    "cosine": (mlp_task, replace(WHOLE, schedule="cosine")),
    "own initialisation": (mlp_task, replace(CONFIG, same_init=False)),
    "linear regression": (regression, WHOLE),
    "ticks": (partial(named_task, "ticks", "mlp"), replace(CONFIG, radius=1.0, batch_size=16)),
    "images": (conv_task, CONFIG),
    "images with momentum": (conv_task, replace(WHOLE, momentum=0.9, weight_decay=1e-2)),
    "residual": (partial(task_of, partial(ResNet18, 1, 3, 2), (1, 9, 9)), replace(CONFIG, lrs=(1e-4, 1e-3))),
    "convolutions with biases": (partial(task_of, partial(VGG11, (1, 8, 8), 3, 2), (1, 8, 8)), WHOLE),
    "two hidden layers and bias": (partial(task_of, partial(MLP, (5, 17, 9, 3)), (5,)), WHOLE),
}


class Grouped(nn.Module):
    """What is not generated: channels that meet half of the others."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.readout = nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.readout(self.norm(self.conv(x)).mean((2, 3)))
        return out


def trainer_of(task: Task, config: SweepConfig, folder: Path, plan: Plan) -> ChunkTrainer:
    context = context_of(task, config, folder)
    return context.trainer(plan, cut(config, plan.chunk)[0])


def trained(trainer: ChunkTrainer, steps: int) -> dict[str, Tensor]:
    trainer.advance(steps)
    return trainer.tensors


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_steps_agree_with_pytorch(case: str, tmp_path: Path) -> None:
    task, config = CASES[case][0](), CASES[case][1]
    eager = trained(trainer_of(task, config, tmp_path, replace(FUSED, compiled=False, fused=False, unroll=1)), 20)
    fused = trained(trainer_of(task, config, tmp_path, FUSED), 20)
    for name, value in eager.items():
        torch.testing.assert_close(
            fused[name], value, rtol=1e-9, atol=1e-12, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.slow
@pytest.mark.parametrize("case", ["batch norm", "ticks"])
def test_float32_steps_stay_close(case: str, tmp_path: Path) -> None:
    task, config = CASES[case][0](), replace(CASES[case][1], precision="float32")
    eager = trained(trainer_of(task, config, tmp_path, replace(FUSED, compiled=False, fused=False, unroll=1)), 5)
    fused = trained(trainer_of(task, config, tmp_path, FUSED), 5)
    torch.testing.assert_close(fused["weights"], eager["weights"], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_calls_and_chunks_change_no_bit(tmp_path: Path) -> None:
    """A run's arithmetic knows neither its chunk nor how many steps a call takes."""
    found = []
    for chunk, unroll in ((4, 32), (4, 3), (1, 32)):
        trainer = trainer_of(mlp_task(), CONFIG, tmp_path, replace(FUSED, chunk=chunk, unroll=unroll))
        found.append(trained(trainer, 20)["weights"][0])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.slow
def test_a_run_that_blows_up_leaves_the_others_alone(tmp_path: Path) -> None:
    config = replace(WHOLE, lrs=(1e-3, 1e200), seeds=1)
    together = trained(trainer_of(regression(), config, tmp_path, FUSED), 20)
    alone = trained(trainer_of(regression(), replace(config, lrs=(1e-3,)), tmp_path, FUSED), 20)
    assert together["weights"][1].isnan().all()
    assert torch.equal(together["weights"][0], alone["weights"][0])
    assert float(together["sums"][1, 0]) < 20


@pytest.mark.parametrize("case", ["batch norm", "layer norm", "linear regression", "ticks", "images"])
@pytest.mark.parametrize("examples", [40, 37, 5])
def test_evaluation_agrees_with_pytorch(case: str, examples: int, tmp_path: Path) -> None:
    """Population statistics and metrics; 37 examples leave a block that is not full, 5 are less than one."""
    task, config = CASES[case][0](), CASES[case][1]
    trainer = trainer_of(task, config, tmp_path, FUSED)
    material, state = trainer.material, trainer.tensors["weights"]
    x, y = material.train_x[:examples], material.train_y[:examples]
    found = []
    for program in (trainer.program, replace_program(trainer)):
        populations = program.populations(state, trainer.frozen, material.population_x)
        found.append((populations, *program.metrics(state, trainer.frozen, populations, x, y)))
    assert trainer.program.backend.refused == {}
    torch.testing.assert_close(found[0], found[1], rtol=1e-11, atol=1e-13)


def replace_program(trainer: ChunkTrainer) -> Program:
    """The same program without generated code."""
    return trainer.program.on(Vmap())


# -- sweep by sweep ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fused_sweeps_agree_and_resume_to_the_byte(tmp_path: Path) -> None:
    context = context_of(small_task(), CONFIG, tmp_path)
    context.store.create()
    (unit,) = [u for u in context.units(FUSED) if not u.startswith("random")]
    for name in context.units(FUSED):
        context.run_unit(FUSED, name, lambda _: None, lambda: False)
    straight = context.store.load(unit + DONE)
    assert differing(assemble(context, FUSED), reference("small")) == []
    with pytest.raises(Stopped):
        context.run_unit(FUSED, unit, lambda _: None, iter([False] * 3 + [True]).__next__)
    assert context.store.load(unit + CHECKPOINT) is not None
    context.run_unit(FUSED, unit, lambda _: None, lambda: False)
    resumed = context.store.load(unit + DONE)
    assert straight is not None
    assert resumed is not None
    assert all(torch.equal(resumed[0][name], value) for name, value in straight[0].items())


@pytest.mark.slow
def test_the_engine_fuses_what_it_can_and_says_why_not(tmp_path: Path) -> None:
    asked = replace(BATCHED, compile=True)
    dense = train(mlp_task(), CONFIG, asked, tmp_path / "dense")
    assert differing(dense, reference("mlp")) == []
    context = context_of(mlp_task(), CONFIG, tmp_path / "plan", asked)
    assert choose_plan(context, 1).fused
    with pytest.raises(NotFusible, match="a convolution that is not the plain one of images"):
        trained(trainer_of(task_of(Grouped, (4, 5, 5)), CONFIG, tmp_path, FUSED), 1)


def test_without_a_compiler_other_steps_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_compiler, "COMPILERS", ("no such compiler",))
    plan = choose_plan(context_of(mlp_task(), CONFIG, tmp_path, replace(BATCHED, compile=True)), 1)
    assert not plan.compiled
    assert "there is no C++ compiler" in plan.chosen


@pytest.mark.slow
def test_continuing_where_nothing_compiles_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, steps=4, average=(), finetune_lrs=(), finetune_steps=None)
    engine = replace(BATCHED, compile=True)
    train(mlp_task(), config, engine, tmp_path)
    for part in ("results.zarr", "chunks"):
        __import__("shutil").rmtree(tmp_path / part)
    monkeypatch.setattr(fused_compiler, "COMPILERS", ("no such compiler",))
    with pytest.raises(LrscopeError, match=r"out: .* was begun with compiled code, which cannot be made here"):
        train(mlp_task(), config, engine, tmp_path)
    assert Store(tmp_path).plan() is not None
