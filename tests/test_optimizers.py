"""Every optimizer of the table: its twin in `torch.optim`, runs that do not touch one another, and its state through a sweep.

R runs, P parameters. Adding an optimizer to the table enrols it here; the twin is one entry more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer as TorchOptimizer

import lrscope
from lrscope.config import SweepConfig
from lrscope.dynamics.layout import Slot
from lrscope.dynamics.optimizers import OPTIMIZERS, Optimizer, make, options
from lrscope.dynamics.optimizers.adam import Adam, AdamW
from lrscope.dynamics.optimizers.muon import Muon, orthogonal
from lrscope.dynamics.optimizers.own import OwnOptimizer
from lrscope.dynamics.optimizers.rmsprop import RMSprop
from lrscope.dynamics.optimizers.sgd import SGD
from lrscope.engine.backends.single import Single
from lrscope.engine.plan import Plan, cut
from lrscope.engine.state import AVERAGED, LOG, PRETRAINED
from lrscope.engine.step import StepState
from lrscope.errors import LrscopeError
from lrscope.tasks.norms import is_norm
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from lrscope.trained import Trained
from test_plans import differing
from tiny_tasks import (
    ALL_RUNS,
    BASE,
    ONE_RUN,
    compiler_needed,
    computed,
    context_of,
    mlp_task,
    same_bytes,
    stopped_and_resumed,
)

SHAPES = {"first": (6, 4), "bias": (6,), "second": (3, 6), "gain": (3,)}
LRS = (1e-4, 1e-3, 3e-3, 1e-2, 2e-2)
R, STEPS = len(LRS), 50


def slots() -> tuple[Slot, ...]:
    found, start = [], 0
    for name, shape in SHAPES.items():
        size = torch.Size(shape).numel()
        found.append(Slot(name, shape, start, start + size))
        start += size
    return tuple(found)


P = slots()[-1].stop


def of(name: str, **values: Any) -> Optimizer:
    return OPTIMIZERS[name](**({"slots": slots()} if name == "muon" else {}), **values)


EVERY: dict[str, Optimizer] = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9),
    "momentum, decay": SGD(momentum=0.9, weight_decay=1e-2),
    "nesterov, decay": SGD(momentum=0.9, nesterov=True, weight_decay=1e-2),
    "rmsprop": RMSprop(),
    "rmsprop, decay": RMSprop(weight_decay=1e-2, rmsprop_alpha=0.95, epsilon=0.1),  # smaller ones amplify rounding
    "rmsprop, momentum": RMSprop(momentum=0.9, weight_decay=1e-2),
    "adam": Adam(),
    "adam, decay": Adam(weight_decay=1e-2, betas=(0.8, 0.95), epsilon=1e-6),
    "adam, no momentum": Adam(betas=(0.0, 0.99)),
    "adamw": AdamW(weight_decay=0.1),
    "muon": of("muon", weight_decay=0.1),
    "muon, momentum": of("muon", muon_momentum=0.8),
    "muon, betas": of("muon", betas=(0.8, 0.95), epsilon=1e-2),
}
TORCH: dict[type, Callable[[Any, list[Tensor], float], list[TorchOptimizer]]] = {
    SGD: lambda o, p, lr: [
        torch.optim.SGD(p, lr, momentum=o.momentum, nesterov=o.nesterov, weight_decay=o.weight_decay)
    ],
    RMSprop: lambda o, p, lr: [
        torch.optim.RMSprop(
            p, lr, alpha=o.rmsprop_alpha, eps=o.epsilon, weight_decay=o.weight_decay, momentum=o.momentum
        )
    ],
    Adam: lambda o, p, lr: [torch.optim.Adam(p, lr, betas=o.betas, eps=o.epsilon, weight_decay=o.weight_decay)],
    AdamW: lambda o, p, lr: [torch.optim.AdamW(p, lr, betas=o.betas, eps=o.epsilon, weight_decay=o.weight_decay)],
    Muon: lambda o, p, lr: [
        torch.optim.Muon(
            [t for t in p if t.dim() == 2],
            lr,
            weight_decay=o.weight_decay,
            momentum=o.muon_momentum,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW([t for t in p if t.dim() < 2], lr, betas=o.betas, eps=o.epsilon, weight_decay=o.weight_decay),
    ],
}
each = pytest.mark.parametrize("optimizer", EVERY.values(), ids=EVERY.keys())


def normal(*shape: int, key: str, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator("tests", "optimizers", key)).to(dtype)


def trained(optimizer: Optimizer, weights: Tensor, lr: Tensor, steps: int = STEPS) -> Iterator[tuple[Tensor, Any]]:
    """Descend |A w|^2 / 2; weights [R, P] and state after every step."""
    pull = normal(P, P, key="curvature", dtype=weights.dtype)
    state = optimizer.init(weights)
    for _ in range(steps):
        weights, state = optimizer.update(weights @ pull.T @ pull, state, weights, lr)
        yield weights, state


def test_every_optimizer_of_the_table_has_a_twin() -> None:
    made: list[Any] = list(OPTIMIZERS.values())
    assert set(made) == set(TORCH) == {type(o) for o in EVERY.values()}


@each
def test_agrees_with_torch(optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "bfloat16", lambda self: self.clone())  # torch's Muon rounds; here it must not
    start, pull = normal(R, P, key="weights"), normal(P, P, key="curvature")
    (ours, _) = list(trained(optimizer, start, torch.tensor(LRS, dtype=torch.float64)))[-1]
    for row, found, lr in zip(start, ours, LRS, strict=True):
        params = [row[s.start : s.stop].clone().view(s.shape).requires_grad_() for s in slots()]
        theirs = TORCH[type(optimizer)](optimizer, params, lr)
        for _ in range(STEPS):
            for o in theirs:
                o.zero_grad()
            (0.5 * (pull @ torch.cat([p.flatten() for p in params])).square().sum()).backward()
            for o in theirs:
                o.step()
        expected = torch.cat([p.detach().flatten() for p in params])
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@each
def test_a_run_does_not_depend_on_its_neighbours(optimizer: Optimizer) -> None:
    """To the bit, also where a neighbour is not finite."""
    start, lr = normal(R, P, key="weights", dtype=torch.float32), torch.tensor(LRS)
    together = list(trained(optimizer, start, lr, 8))[-1][0]
    broken = list(trained(optimizer, start, torch.where(lr == LRS[1], torch.nan, lr), 8))[-1][0]
    assert broken[1].isnan().any()
    for r in (0, 2, 3, 4):
        assert torch.equal(broken[r], together[r])


@each
def test_its_state_is_named_tensors_of_runs_and_nothing_changes_in_place(optimizer: Optimizer) -> None:
    weights, gradient = normal(R, P, key="weights"), normal(R, P, key="gradient")
    before = optimizer.init(weights)
    copies = {name: value.clone() for name, value in before.items()}
    kept = weights.clone(), gradient.clone()
    moved, after = optimizer.update(gradient, before, weights, torch.tensor(LRS, dtype=torch.float64))
    assert torch.equal(weights, kept[0])
    assert torch.equal(gradient, kept[1])
    assert moved.shape == weights.shape
    assert list(after) == list(before)
    for name, value in before.items():
        assert torch.equal(value, copies[name])
        assert (after[name].shape, after[name].dtype) == (value.shape, value.dtype)
        assert len(value) == R
        assert name.isidentifier()  # generated code uses it
        assert name not in {*StepState._fields, "x", "y", "lr", "rho"}
        assert not name.startswith((AVERAGED, LOG, PRETRAINED))  # a chunk's own names
    meta = optimizer.init(torch.empty(R, P, device="meta"))
    assert {n: v.shape for n, v in meta.items()} == {n: v.shape for n, v in before.items()}


@each
def test_a_nan_learning_rate_ends_the_run(optimizer: Optimizer) -> None:
    weights = normal(1, P, key="weights")
    moved, _ = optimizer.update(weights, optimizer.init(weights), weights, torch.tensor([float("nan")]).double())
    assert moved.isnan().all()


def test_muons_matrices_have_singular_values_near_one() -> None:
    for shape in ((4, 6), (6, 4), (5, 5)):
        matrices = normal(3, *shape, key=f"matrix {shape}")
        found = orthogonal(matrices)
        u, _, v = torch.linalg.svd(matrices, full_matrices=False)
        values = torch.linalg.svdvals(found)
        assert 0.5 < values.min() < values.max() < 1.3
        inside = u.mT @ found @ v.mT  # the same singular vectors: diagonal
        torch.testing.assert_close(inside, torch.diag_embed(inside.diagonal(dim1=1, dim2=2)), rtol=0, atol=1e-10)


def test_muons_matrices_do_not_depend_on_the_size_of_the_gradient() -> None:
    matrices = normal(3, 4, 6, key="matrix")
    torch.testing.assert_close(orthogonal(1e-6 * matrices), orthogonal(matrices), rtol=1e-9, atol=1e-12)
    assert not orthogonal(torch.zeros(1, 4, 6)).any()  # a layer that gets no gradient stands still


def test_muon_takes_a_convolution_as_the_matrix_of_its_outputs() -> None:
    """[out, in, height, width] moves as [out, in x height x width] does."""
    weights, gradient = normal(R, 24, key="kernel"), normal(R, 24, key="gradient of the kernel")
    lr = torch.tensor(LRS, dtype=torch.float64)
    moved = []
    for shape in ((3, 2, 2, 2), (3, 8)):
        optimizer = Muon(slots=(Slot("kernel", shape, 0, 24),), weight_decay=0.1)
        moved.append(optimizer.update(gradient, optimizer.init(weights), weights, lr)[0])
    assert torch.equal(*moved)


# -- in sweeps ------------------------------------------------------------------------------------------------------

CONFIG = replace(BASE, steps=12, space="whole", precision="float64", lrs=(1e-3, 1e-2))
IN_SWEEPS = {
    name: replace(CONFIG, optimizer=name, **({"momentum": 0.9} if name == "sgd" else {})) for name in OPTIMIZERS
}
every_sweep = pytest.mark.parametrize("config", IN_SWEEPS.values(), ids=IN_SWEEPS.keys())


@pytest.mark.slow
@every_sweep
def test_plans_agree(config: SweepConfig, tmp_path: Path) -> None:
    one, other = (computed(mlp_task(), config, p, tmp_path / n) for p, n in ((ALL_RUNS, "a"), (ONE_RUN, "b")))
    assert differing(one, other) == []
    assert (one["pretrain/status"] == 0).all()


@pytest.mark.slow
@every_sweep
def test_stopped_and_resumed_is_the_same_to_the_byte(config: SweepConfig, tmp_path: Path) -> None:
    config, plan = replace(config, precision="float32"), replace(ALL_RUNS, chunk=3)
    straight = computed(mlp_task(), config, plan, tmp_path / "straight")
    resumed = stopped_and_resumed(mlp_task, config, plan, tmp_path / "stopped", 7)
    assert same_bytes(resumed, straight) == []


@pytest.mark.slow
@compiler_needed
@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw"])
def test_generated_code_agrees(name: str, tmp_path: Path) -> None:
    generated = Plan("batched", 64, True, "", 0.0, 4, True)
    config = IN_SWEEPS[name]
    one, other = (computed(mlp_task(), config, p, tmp_path / n) for p, n in ((ALL_RUNS, "a"), (generated, "b")))
    assert differing(one, other) == []


def test_options_are_fields_of_the_config_with_the_same_defaults() -> None:
    defaults = {f.name: f.default for f in fields(SweepConfig)}
    for name, made in OPTIMIZERS.items():
        own = {f.name: f.default for f in fields(made) if f.name != "slots"}  # type: ignore[arg-type]
        assert own == {option: defaults[option] for option in options(name)}


def test_an_optimizer_is_made_with_the_options_that_it_reads() -> None:
    numbers = {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1, "betas": (0.8, 0.9), "epsilon": 1e-3}
    given = SimpleNamespace(**numbers, muon_momentum=0.7, rmsprop_alpha=0.6)
    for name, kind in OPTIMIZERS.items():
        made = make(name, given, slots())
        assert type(made) is kind
        assert all(getattr(made, option) == getattr(given, option) for option in options(name))
    assert made == Muon(slots=slots(), muon_momentum=0.7, betas=(0.8, 0.9), epsilon=1e-3, weight_decay=0.1)


@pytest.mark.parametrize("clip_norm", [0.05, 0.5, 1e3])
def test_clipping_is_torch_clip_grad_norm(clip_norm: float, tmp_path: Path) -> None:
    """One step of plain SGD at learning rate 1 shows the gradient; what is logged is the whole gradient's norm."""
    config = replace(CONFIG, lrs=(1.0, 2.0), clip_norm=clip_norm, average=(), finetune_lrs=(), finetune_steps=None)
    trainers = [
        context_of(mlp_task(), c, tmp_path / n).trainer(ALL_RUNS, cut(c, 64)[0])
        for n, c in (("clipped", config), ("whole", replace(config, clip_norm=None)))
    ]
    start = trainers[0].tensors["weights"]
    for trainer in trainers:
        trainer.advance(1)
    lr = trainers[0].pretrain_lr[:, None]
    clipped, whole = ((start - t.tensors["weights"]) / lr for t in trainers)
    for found, gradient in zip(clipped, whole, strict=True):
        parameter = torch.nn.Parameter(torch.zeros_like(gradient))
        parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([parameter], clip_norm)
        torch.testing.assert_close(found, parameter.grad, rtol=1e-9, atol=1e-12)
    sums = [t.tensors["sums"] for t in trainers]
    torch.testing.assert_close(sums[0][:, 3], whole.norm(dim=1), rtol=1e-9, atol=0)
    shorter = (clipped.norm(dim=1) / whole.norm(dim=1))[:, None]
    ess = -len(trainers[0].program.net.groups)
    torch.testing.assert_close(sums[0][:, ess:], sums[1][:, ess:] * shorter, rtol=1e-9, atol=0)


def test_a_program_on_another_backend_differs_in_nothing_else(tmp_path: Path) -> None:
    """Generated code is traced from such a one."""
    config = replace(CONFIG, clip_norm=0.5, optimizer="adam", precision="bf16")
    program = context_of(mlp_task(), config, tmp_path).program("batched", False)
    one = program.one_run()
    assert isinstance(one.backend, Single)
    assert (program.clip_norm, program.space, program.autocast) == (0.5, "whole", True)
    for name in ("net", "loss", "classification", "optimizer", "space", "clip_norm", "autocast"):
        assert getattr(one, name) == getattr(program, name), name


def test_a_warm_up_as_long_as_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        LrscopeError, match="warmup_steps: the learning rate rises over 12 steps, and pre-training has 12"
    ):
        context_of(mlp_task(), replace(CONFIG, warmup_steps=12), tmp_path)


def test_warm_up_is_in_the_logged_learning_rate(tmp_path: Path) -> None:
    config = replace(CONFIG, warmup_steps=9, average=(), finetune_lrs=(), finetune_steps=None)
    trainer = context_of(mlp_task(), config, tmp_path).trainer(ALL_RUNS, cut(config, 64)[0])
    torch.testing.assert_close(trainer._factors(trainer.phases[0])[:10], torch.tensor([*range(1, 10), 9]).double() / 9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_on_the_sphere_a_learning_rate_means_the_same_at_every_radius(name: str, tmp_path: Path) -> None:
    """Scale-invariant networks at twice the radius: the same losses, where Adam's epsilon is out of the way."""
    found = []
    for radius in (1.0, 2.0):
        config = replace(CONFIG, space="sphere", radius=radius, average=(), finetune_lrs=(), finetune_steps=None)
        context = context_of(mlp_task(), config, tmp_path / str(radius))
        for module in context.net.module.modules():
            if is_norm(module):
                module.eps = 1e-30  # norms are scale-invariant only without it
        extra = {"slots": context.net.slots} if name == "muon" else {}
        extra |= {"epsilon": 1e-30} if "epsilon" in options(name) else {}
        context.__dict__["optimizer"] = OPTIMIZERS[name](**extra)
        trainer = context.trainer(ALL_RUNS, cut(config, 64)[0])
        trainer.advance(8)
        weights = trainer.tensors["weights"]
        torch.testing.assert_close(weights.norm(dim=1), torch.full((len(weights),), radius).double())
        found.append(weights / radius)
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=1e-9)


# -- the task's own -------------------------------------------------------------------------------------------------

OWN_OPTIMIZERS: dict[str, Any] = {
    "rmsprop": lambda params, lr: torch.optim.RMSprop(params, lr, momentum=0.5, centered=True),
    "nadam": lambda params, lr: torch.optim.NAdam(params, lr),
    "adagrad": lambda params, lr: torch.optim.Adagrad(params, lr, initial_accumulator_value=0.1),
    "two groups": lambda params, lr: torch.optim.SGD(
        [{"params": params[:1]}, {"params": params[1:], "lr": lr / 10}], lr, momentum=0.9
    ),
    "adafactor": lambda params, lr: torch.optim.Adafactor(params, lr),
    "asgd": lambda params, lr: torch.optim.ASGD(params, lr, t0=10),
    "rprop": lambda params, lr: torch.optim.Rprop(params, lr),
    "radam": lambda params, lr: torch.optim.RAdam(params, lr, decoupled_weight_decay=True, weight_decay=0.1),
    "amsgrad": lambda params, lr: torch.optim.Adam(params, lr, amsgrad=True, foreach=True),
    "adamax": lambda params, lr: torch.optim.Adamax(params, lr),
    "adadelta": lambda params, lr: torch.optim.Adadelta(params, lr),
    "counts in its group": lambda params, lr: Growing(params, lr),
    "on spheres": lambda params, lr: lrscope.SphereSGD(params, lr, momentum=0.9),
    "rows": lambda params, lr: lrscope.SphereSGD(params, lr, sphere="row"),
    "wrapped": lambda params, lr: lrscope.OnSphere(torch.optim.Adam(params, lr), hyperball=True),
}


class Growing(torch.optim.Optimizer):
    """Keeps a number in its group and one beside each parameter's tensors: both change at every step."""

    def __init__(self, params: list[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr, "k": 1})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                count = self.state[p].get("count", 0) + 1
                self.state[p] |= {"count": count, "nothing": None}
                p.sub_(group["lr"] * p.grad / (group["k"] + count))
            group["k"] += 1


class Forgetful(torch.optim.SGD):
    """Counts in an attribute, or keeps more from its second step on: neither lasts from step to step."""

    def __init__(self, params: list[Tensor], lr: float, *, late: bool) -> None:
        super().__init__(params, lr)
        self.late, self.count = late, 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.count += not self.late
        for p in self.param_groups[0]["params"] if self.late else ():
            self.state[p]["late" if "first" in self.state[p] else "first"] = torch.zeros(2)


class Whole(torch.optim.SGD):
    """Keeps whole numbers as a tensor."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.state[self.param_groups[0]["params"][0]]["seen"] = torch.zeros(2, dtype=torch.int64)


def scheduled(params: list[Tensor], lr: float) -> TorchOptimizer:
    optimizer = torch.optim.SGD(params, lr)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    return optimizer


def test_what_the_tasks_own_would_forget_is_refused() -> None:
    start = normal(1, P, key="weights")
    with pytest.raises(LrscopeError, match="attaches a learning-rate scheduler, which would begin anew at every step"):
        OwnOptimizer(slots=slots(), factory=scheduled).init(start)
    counting = OwnOptimizer(slots=slots(), factory=lambda params, lr: Forgetful(params, lr, late=False))
    with pytest.raises(LrscopeError, match="optimizer: the task's own changes its attribute count when it steps"):
        counting.init(start)
    with pytest.raises(LrscopeError, match="the task's own keeps 'seen' as Tensor, which no checkpoint holds: use"):
        OwnOptimizer(slots=slots(), factory=Whole).init(start)
    late = OwnOptimizer(slots=slots(), factory=lambda params, lr: Forgetful(params, lr, late=True))
    with pytest.raises(LrscopeError, match="keeps other tensors or numbers later than after its first step"):
        list(trained(late, start, torch.tensor([1e-3], dtype=torch.float64), 3))


@pytest.mark.parametrize("factory", OWN_OPTIMIZERS.values(), ids=OWN_OPTIMIZERS.keys())
def test_the_tasks_own_steps_as_it_does_in_a_loop(factory: Any) -> None:
    start, pull = normal(1, P, key="weights"), normal(P, P, key="curvature")
    params = [start[0, s.start : s.stop].clone().view(s.shape).requires_grad_() for s in slots()]
    theirs = factory(params, 1e-3)
    for _ in range(STEPS):
        theirs.zero_grad()
        (0.5 * (pull @ torch.cat([p.flatten() for p in params])).square().sum()).backward()
        theirs.step()
    expected = torch.cat([p.detach().flatten() for p in params])
    ours = OwnOptimizer(slots=slots(), factory=factory)
    found, state = list(trained(ours, start, torch.tensor([1e-3], dtype=torch.float64)))[-1]
    torch.testing.assert_close(found[0], expected, rtol=1e-10, atol=1e-12)
    assert {n: v.shape for n, v in state.items()} == {n: v.shape for n, v in ours.init(start).items()}
    for lost in ("nan", "inf"):
        assert ours.update(start, state, start, torch.tensor([float(lost)]))[0].isnan().all()


def test_radii_are_those_of_the_first_step() -> None:
    """Measured anew at each step they would drift: below the tolerance weights are not rescaled."""
    start = normal(1, P, key="weights").float()
    ours = OwnOptimizer(slots=slots(), factory=lambda params, lr: lrscope.SphereSGD(params, lr, sphere="group"))
    state, weights = ours.init(start), start
    for _ in range(200):
        push = normal(1, P, key="push").float()
        push = (
            push - (push @ weights[0])[:, None] * weights / weights.norm() ** 2
        )  # sideways: each step makes the norm larger
        weights, state = ours.update(push, state, weights, torch.tensor([5e-4 / push.norm() / start.norm()]))
    assert float(weights.norm()) == pytest.approx(float(start.norm()), rel=2e-6)
    assert float(state["group0_radius"][0]) == pytest.approx(float(start.norm()), rel=1e-6)


def test_weights_without_a_direction_are_refused_in_the_words_of_the_sphere() -> None:
    ours = OwnOptimizer(slots=slots(), factory=lambda params, lr: lrscope.SphereSGD(params, lr))
    zeros = torch.zeros(1, P)
    with pytest.raises(
        LrscopeError, match=r"cannot make one of its parameters: params: .* is all zeros, without a direction"
    ):
        ours.update(zeros, ours.init(zeros), zeros, torch.tensor([1e-3]))


@pytest.mark.slow
def test_a_sweep_goes_on_with_radii_to_the_byte(tmp_path: Path) -> None:
    def task() -> Task:
        return own_task(lambda params, lr: lrscope.SphereSGD(params, lr, momentum=0.9))

    config = SweepConfig(**OWN_SWEEP, optimizer="task", precision="float32")
    straight = computed(task(), config, ONE_RUN, tmp_path / "straight")
    resumed = stopped_and_resumed(task, config, ONE_RUN, tmp_path / "stopped", 7)
    assert same_bytes(resumed, straight) == []


def own_task(optimizer: Any = OWN_OPTIMIZERS["rmsprop"]) -> Task:
    x = torch.randn(48, 5, generator=generator("tests", "own x"))
    y = (x.sum(1) > 0).long()
    return Task(lambda: torch.nn.Linear(5, 2), (x, y), (x, y), validation=0, optimizer=optimizer)


OWN_SWEEP: dict[str, Any] = {"lrs": (1e-3, 1e-2), "steps": 12, "batch_size": 12, "seeds": 2, "space": "whole"}


@pytest.mark.slow
def test_a_sweep_trains_with_the_tasks_own_and_goes_on_to_the_byte(tmp_path: Path) -> None:
    options = {**OWN_SWEEP, "average": (2,), "finetune_lrs": (1e-3,), "finetune_steps": 6, "precision": "float32"}
    config = SweepConfig(**options, optimizer="task")
    straight = computed(own_task(), config, ONE_RUN, tmp_path / "straight")
    assert np.isfinite(straight["pretrain/train_loss"]).all()
    resumed = stopped_and_resumed(own_task, config, ONE_RUN, tmp_path / "stopped", 7)
    assert same_bytes(resumed, straight) == []


@pytest.mark.slow
def test_the_tasks_own_is_used_unless_something_else_is_asked_for(tmp_path: Path) -> None:
    result = lrscope.sweep(own_task(), **OWN_SWEEP, out=tmp_path / "a", progress=False)
    assert json.loads(result.attrs["config"])["optimizer"] == "task"
    assert json.loads(result.attrs["plan"])["path"] == "single"
    plain = lrscope.sweep(own_task(None), **OWN_SWEEP, progress=False)
    assert not np.array_equal(plain["pretrain/train_loss"], result["pretrain/train_loss"])
    with pytest.raises(LrscopeError, match="another task"):
        Trained.open(tmp_path / "a", own_task(OWN_OPTIMIZERS["nadam"]))


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (
            OWN_OPTIMIZERS["rmsprop"],
            {"optimizer": "sgd"},
            "optimizer: the task has one of its own, and sgd is asked for",
        ),
        (None, {"optimizer": "task"}, "optimizer: 'task' is asked for, but the task has none of its own: pass"),
        (OWN_OPTIMIZERS["rmsprop"], {"space": "sphere"}, "optimizer: the task's own does not train on the sphere"),
        (
            OWN_OPTIMIZERS["rmsprop"],
            {"momentum": 0.9},
            "momentum: 0.9 is an option of sgd and rmsprop, not of the task's own",
        ),
        (OWN_OPTIMIZERS["rmsprop"], {"path": "batched"}, "path: batched runs are trained together, but the task's own"),
        (
            OWN_OPTIMIZERS["rmsprop"],
            {"compile": True},
            "compile: training steps cannot be compiled here, because the task",
        ),
        (lambda params, lr: None, {}, "returns None, which is no torch.optim.Optimizer: return one"),
        (lambda params: None, {}, "optimizer: the task's function fails .TypeError: .*: it is called with a list"),
        (lambda params, lr: torch.optim.SGD(params[:1], lr), {}, "does not hold each once and no others: pass on all"),
        (lambda params, lr: torch.optim.LBFGS(params, lr), {}, "optimizer: a step of the task's own fails .TypeError"),
    ],
)
def test_what_cannot_be_used_as_the_tasks_own(optimizer: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        lrscope.sweep(own_task(optimizer), **{**OWN_SWEEP, **options}, progress=False)


def test_an_optimizer_of_a_task_is_a_function() -> None:
    with pytest.raises(LrscopeError, match=r"optimizer: 'rmsprop' is not a function of \(parameters, learning rate\)"):
        own_task("rmsprop")
