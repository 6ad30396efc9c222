"""Tiny tasks and sweeps that several test files train: a few hundred weights, a few dozen examples.

N examples, C classes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional

from lrscope.config import EngineConfig, SweepConfig
from lrscope.engine import choose
from lrscope.engine.assemble import assemble
from lrscope.engine.backends.cpp.compiler import COMPILERS
from lrscope.engine.chunk import Stopped
from lrscope.engine.context import Context
from lrscope.engine.plan import Plan
from lrscope.engine.sweep import sweep
from lrscope.engine.sweep_folder import Store
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.subsets import redraw_labels
from lrscope.tasks.groups import NOISE_GROUPS, noise_groups
from lrscope.tasks.models import MLP, ConvNet
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from trees import arrays

CLASSES = 3


def examples(
    count: int, shape: tuple[int, ...], *, key: str = "train", classes: int = CLASSES
) -> tuple[Tensor, Tensor]:
    """Inputs [N, *shape] and labels [N] that a linear teacher gives them."""
    rng = generator("tests", key)
    x = torch.randn(count, *shape, generator=rng)
    teacher = torch.randn(x[0].numel(), classes, generator=generator("tests", "teacher", classes))
    return x, (x.flatten(1) @ teacher).argmax(1)


def probed_task() -> Task:
    """With two probe sets, as the ticks have one for every feature."""

    def data(data_seed: int) -> DataSet:
        probes = [examples(10, (5,), key=f"probe {f}") for f in range(2)]
        found = mlp_task().data(data_seed)
        x, y = (torch.stack(part) for part in zip(*probes, strict=True))
        return replace(found, feature_x=x, feature_y=y)

    return Task.from_data("probed", partial(MLP, (5, 8, 6, CLASSES)), data)


def drawn(factory: Callable[[], nn.Module], seed: int = 1) -> nn.Module:
    """A model with weights of its own seed; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return factory()


def task_of(model: Any, shape: tuple[int, ...], *, train: int = 48, test: int = 20, **options: Any) -> Task:
    """A classification task over made-up examples."""
    return Task(model, examples(train, shape), examples(test, shape, key="test"), **options)


def mlp_task(norm: str = "batch", *, train: int = 48) -> Task:
    """Two hidden layers of 8 and 6."""
    return task_of(partial(MLP, (5, 8, 6, CLASSES), norm=norm), (5,), train=train, name=f"mlp {norm}")


def small_task() -> Task:
    """One hidden layer and a layer norm: quick to compile."""
    return task_of(partial(MLP, (5, 6, CLASSES), norm="layer"), (5,), name="small")


def conv_task(*, train: int = 48, **options: Any) -> Task:
    """The papers' ConvNet with two channels on 1 x 8 x 8 images."""
    return task_of(partial(ConvNet, 1, CLASSES, 2, blocks=2), (1, 8, 8), train=train, name="convnet", **options)


def pixel_task(*, train: int = 48) -> Task:
    """The same with a normalisation, by which black is -2."""
    return conv_task(train=train, normalisation=((0.5,), (0.25,)))


def noisy_task(share: float = 0.25) -> Task:
    """Labels redrawn by the data seed, as label noise is."""

    def data(data_seed: int) -> DataSet:
        x, y = examples(48, (5,))
        test_x, test_y = examples(20, (5,), key="test")
        noisy = redraw_labels(y, share, CLASSES, generator("label noise", data_seed))
        return DataSet(
            name="noisy", train_x=x, train_y=noisy, test_x=test_x, test_y=test_y, classes=CLASSES, loss="cross_entropy"
        )

    return Task.from_data("noisy", partial(MLP, (5, 8, 6, CLASSES)), data)


def grouped_task(share: float = 0.5, *, norm: str = "batch", true_labels: bool = True) -> Task:
    """The same with example groups: clean and corrupted labels."""

    def data(data_seed: int) -> DataSet:
        found, clean = noisy_task(share).data(data_seed), examples(48, (5,))[1]
        return replace(
            found,
            clean_train_y=clean if true_labels else None,
            train_groups=noise_groups(found.train_y, clean),
            train_group_names=NOISE_GROUPS,
        )

    return Task.from_data("grouped", partial(MLP, (5, 8, 6, CLASSES), norm=norm), data)


class Dropping(nn.Module):
    """Dropout as a function, invisible among the modules, with a norm behind it."""

    def __init__(self, share: float = 0.4, norm: Callable[[int], nn.Module] = nn.BatchNorm1d) -> None:
        super().__init__()
        self.share = share
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 8)
        self.norm, self.norm2 = nn.LayerNorm(8), norm(8)
        self.readout = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.dropout(functional.relu(self.norm(self.first(x))), self.share, training=self.training)
        out: Tensor = self.readout(self.norm2(self.second(x)))
        return out


class Shuffling(Dropping):
    """Noise that is not drawn for many runs at once."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        out: Tensor = self.readout(self.norm2(self.second(x[:, torch.randperm(8)] if self.training else x)))
        return out


BATCHED = EngineConfig(device="cpu", jobs=1, path="batched", chunk=64, compile=False)
SINGLE = EngineConfig(device="cpu", jobs=1, path="single")
ALL_RUNS = Plan("batched", 64, False, "", 0.0)
ONE_RUN = Plan("single", 1, False, "", 0.0)
BASE = SweepConfig(
    lrs=(1e-3, 1e-2),
    seeds=2,
    steps=12,
    batch_size=8,
    random_points=2,
    finetune_lrs=(1e-3,),
    finetune_steps=6,
    average=(2, 3),
)
SHORT = replace(BASE, steps=3, finetune_lrs=(), finetune_steps=None, average=())
# Long enough to be killed in the middle.
LONG = replace(BASE, steps=100, log_points=20)
KILLABLE = replace(BATCHED, chunk=1, checkpoint_seconds=0.05)

compiler_needed = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)), reason="torch.compile needs a C++ compiler, such as g++"
)


def train(
    task: Task, config: SweepConfig, engine: EngineConfig = BATCHED, out: Path | str | None = None
) -> xr.DataTree:
    """A silent sweep; a single path's steps are timed as briefly as can be."""
    with patch.object(choose, "PROBE_SECONDS", 0.0):
        return sweep(task, config=config, engine=engine, out=out, progress=False)


def context_of(task: Task, config: SweepConfig, folder: Path, engine: EngineConfig = BATCHED) -> Context:
    """What a worker holds, without a sweep."""
    return Context.build(task, config, engine, Store(folder))


def computed(task: Task, config: SweepConfig, plan: Plan, folder: Path) -> xr.DataTree:
    """A sweep's arrays without the sweep: no plan is chosen, nothing is locked or written to Zarr, so it is quick."""
    context = context_of(task, config, folder)
    context.store.create()
    for unit in context.units(plan):
        context.run_unit(plan, unit, lambda _: None, lambda: False)
    return assemble(context, plan)


def stopped_and_resumed(
    task: Callable[[], Task], config: SweepConfig, plan: Plan, folder: Path, stop: int
) -> xr.DataTree:
    """What `computed` gives where every chunk is stopped after `stop` calls and continued from its checkpoint, each in a context
    of its own as a new process would have it."""

    def context() -> Context:
        return context_of(task(), config, folder, replace(BATCHED, checkpoint_seconds=0.0))

    context().store.create()
    for unit in context().units(plan):
        if not unit.startswith("random"):
            with pytest.raises(Stopped):
                context().run_unit(plan, unit, lambda _: None, iter([False] * stop + [True]).__next__)
        context().run_unit(plan, unit, lambda _: None, lambda: False)
    return assemble(context(), plan)


def same_bytes(a: xr.DataTree, b: xr.DataTree) -> list[str]:
    """Paths of the variables and coordinates that differ in a single bit; `seconds` is outside the promise."""
    one, other = arrays(a, coordinates=True), arrays(b, coordinates=True)
    assert set(one) == set(other)

    def content(values: np.ndarray) -> object:
        return values.tolist() if values.dtype == object else (values.dtype, values.shape, values.tobytes())

    return [n for n in one if n != "seconds" and content(one[n].values) != content(other[n].values)]
