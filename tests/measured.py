"""What tests of measures stand on: tiny nets in float64 whose norms' eps is nothing, at weights of a few steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lrscope.config import EngineConfig, SweepConfig
from lrscope.engine.context import Context
from lrscope.engine.material import Material
from lrscope.engine.net import Net
from lrscope.engine.program import Program
from lrscope.engine.step import Named
from lrscope.engine.sweep_folder import Store
from lrscope.tasks.models import MLP, ConvNet
from lrscope.tasks.task import Task
from lrscope.trained import State, Trained
from tiny_tasks import CLASSES, task_of


def without_eps(factory: Callable[[], nn.Module]) -> nn.Module:
    """The model with norms that divide by the deviation itself: scale invariance to rounding."""
    model = factory()
    for module in model.modules():
        if hasattr(module, "eps"):
            module.eps = 1e-30
    return model


def mlp(norm: str = "batch", hidden: tuple[int, ...] = (6, 5), **options: object) -> Task:
    """A few dozen weights."""
    return task_of(partial(without_eps, partial(MLP, (4, *hidden, CLASSES), norm=norm)), (4,), name=norm, **options)


def convnet() -> Task:
    return task_of(partial(without_eps, partial(ConvNet, 1, CLASSES, 2, blocks=2)), (1, 8, 8), name="convnet")


@dataclass(frozen=True)
class Place:
    """What kernels take: a program, examples, one run's weights [1, P] and frozen tensors [1, ...]."""

    program: Program
    material: Material
    weights: Tensor
    frozen: Named

    def scaled(self, factor: float) -> Place:
        return replace(self, weights=self.weights * factor)

    @property
    def batches(self) -> tuple[Tensor, Tensor]:
        return self.material.batches()

    @property
    def state(self) -> State:
        return State(self.weights, self.frozen)


BASE = SweepConfig(lrs=(1e-2,), seeds=1, steps=6, batch_size=12, precision="float64")


def place(task: Task, *, seed: int = 3, path: str = "single", steps: int = 5, **options: object) -> Place:
    """The task's net after a few steps on the sphere, or in the whole space, at a learning rate that does something."""
    context = Context.build(
        task, replace(BASE, **options), EngineConfig(device="cpu", path="single"), Store(Path("unused"))
    )
    program, material = context.program(path, False), context.material(0)
    weights, frozen = material.initial_weights([seed])
    radius = weights.norm()
    x, y = material.batches()
    for k in range(steps):
        gradient, _, _ = program.gradients(weights, frozen, x[k % len(x)][None], y[k % len(x)][None])
        weights = weights - 0.1 * gradient / gradient.norm() * radius
        if context.net.scale_invariant:
            weights = weights * (radius / weights.norm())
    return Place(program, material, weights, frozen)


class OneRun(Trained):
    """Stands in for `Trained` where a measure asks for no more than a program and examples."""

    def __init__(self, at: Place) -> None:
        self.at = at

    @property
    def net(self) -> Net:
        return self.at.program.net

    def program(self, dtype: torch.dtype = torch.float32, *, path: str = "single") -> Program:
        assert dtype == self.at.weights.dtype
        return self.at.program

    def material(self, data_seed: int | None = None, dtype: torch.dtype = torch.float32) -> Material:
        assert (data_seed or 0, dtype) == (0, self.at.weights.dtype)
        return self.at.material
