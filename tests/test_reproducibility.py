"""Within a plan every array is byte-identical, whatever stopped it and whoever computed it; no run sees another."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lrscope.engine.assemble import assemble
from lrscope.engine.chunk import Stopped
from lrscope.engine.context import RANDOM
from lrscope.engine.plan import Plan, cut
from lrscope.engine.sweep_folder import CHECKPOINT, DONE
from lrscope.engine.tick import Tick
from lrscope.tasks.random_state import kept
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from tiny_tasks import (
    ALL_RUNS,
    BASE,
    BATCHED,
    SHORT,
    SINGLE,
    Dropping,
    Shuffling,
    computed,
    context_of,
    conv_task,
    mlp_task,
    same_bytes,
    task_of,
    train,
)
from trees import arrays

CASES: dict[str, tuple[Callable[[], Task], Plan]] = {
    "batched": (mlp_task, Plan("batched", 2, False, "", 0.0)),
    "three steps a call": (mlp_task, Plan("batched", 2, False, "", 0.0, 3)),
    "single": (mlp_task, Plan("single", 1, False, "", 0.0)),
    "dropout": (lambda: task_of(Dropping, (5,)), Plan("batched", 2, False, "", 0.0)),
    "dropout, two steps a call": (lambda: task_of(Dropping, (5,)), Plan("batched", 2, False, "", 0.0, 2)),
    "noise of a global generator": (lambda: task_of(Shuffling, (5,)), Plan("single", 1, False, "", 0.0)),
}
WHOLE = {"space": "whole", "momentum": 0.9, "weight_decay": 1e-3}


class Crash(Exception):
    """Stands for a kill: nothing is saved on the way out."""


# -- stopped, crashed, resumed -------------------------------------------------------------------------------------


def interrupted(name: str, stops: list[tuple[str, int]], folder: Path) -> xr.DataTree:
    """All units of a case, each stopped or crashed as `stops` says, then continued by a new context."""
    make, plan = CASES[name]
    config = replace(BASE, lrs=(1e-2, 5e-2), schedule="cosine", **WHOLE)
    engine = replace(BATCHED, checkpoint_seconds=0.0)
    context = context_of(make(), config, folder, engine)
    context.store.create()
    pending = list(stops)
    for unit in context.units(plan):
        while not context.store.is_done(unit):
            kind, count = pending.pop(0) if pending and not unit.startswith(RANDOM) else ("none", 0)
            calls = iter(range(count)) if kind != "none" else None

            def spent(calls: Iterator[int] | None = calls) -> bool:
                return calls is not None and next(calls, None) is None

            def tick(_: Tick, kind: str = kind, spent: Callable[[], bool] = spent) -> None:
                if kind == "crash" and spent():
                    raise Crash

            with kept():
                torch.manual_seed(len(stops))  # another process has another global state
                try:
                    context.run_unit(plan, unit, tick, spent if kind == "stop" else lambda: False)
                except (Stopped, Crash):
                    context = context_of(make(), config, folder, engine)
    return assemble(context, plan)


@cache
def undisturbed(name: str) -> xr.DataTree:
    with tempfile.TemporaryDirectory() as folder:
        return interrupted(name, [], Path(folder))


STOPS = st.tuples(st.just("stop"), st.integers(0, 29))  # after so many steps
CRASHES = st.tuples(st.just("crash"), st.integers(0, 4))  # after so many logged windows


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=4)
@given(stops=st.lists(STOPS | CRASHES, min_size=1, max_size=4))
@example(stops=[("crash", 2), ("crash", 2), ("stop", 12)])  # a phase's last checkpoint is there, its end is not
def test_stopped_at_any_step_and_resumed_is_the_same_to_the_byte(name: str, stops: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert same_bytes(interrupted(name, stops, Path(folder)), undisturbed(name)) == []


@pytest.mark.slow
def test_steps_a_call_change_nothing_but_the_calls() -> None:
    assert same_bytes(undisturbed("three steps a call"), undisturbed("batched")) == []
    assert same_bytes(undisturbed("dropout, two steps a call"), undisturbed("dropout")) == []


def test_a_stop_leaves_a_checkpoint_and_the_end_removes_it(tmp_path: Path) -> None:
    make, plan = CASES["batched"]
    context = context_of(make(), BASE, tmp_path)
    context.store.create()
    unit = context.units(plan)[-1]
    with pytest.raises(Stopped):
        context.run_unit(plan, unit, lambda _: None, iter([False] * 7 + [True]).__next__)
    saved = context.store.load(unit + CHECKPOINT)
    assert saved is not None
    assert saved[1]["cursor"] == {"phase": 0, "step": 7, "window": 1}
    context.run_unit(plan, unit, lambda _: None, lambda: False)
    assert context.store.load(unit + CHECKPOINT) is None
    assert context.store.load(unit + DONE) is not None


# -- the global random state ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("make", [mlp_task, *(partial(task_of, m, (5,)) for m in (Dropping, Shuffling))])
@pytest.mark.filterwarnings("ignore:this model draws noise")
def test_global_random_state_neither_moves_nor_matters(make: Callable[[], Task]) -> None:
    def states() -> list[Any]:
        return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state(legacy=True)[1].tolist()]

    config = replace(SHORT, seeds=1, average=(2,), average_every=1)
    task = make()
    before = states()
    first = train(task, config, SINGLE)
    assert states() == before
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        assert same_bytes(train(make(), config, SINGLE), first) == []


# -- no run sees another -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("make", [mlp_task, conv_task], ids=["mlp", "convnet"])
def test_a_run_that_diverges_changes_no_other_by_a_bit(make: Callable[[], Task], tmp_path: Path) -> None:
    config = replace(BASE, **WHOLE, finetune_lrs=(1e-3,), lrs=(1e-2, 2e-2, 3e-2))
    calm, wild = (
        computed(make(), replace(config, lrs=(*config.lrs[:2], lr)), ALL_RUNS, tmp_path / str(lr))
        for lr in (3e-2, 1e25)
    )
    keep = {"lr": [0, 1]}
    assert same_bytes(calm.isel(keep), wild.isel(keep)) == []
    assert (calm["pretrain/status"] == 0).all()
    bad = wild.isel(lr=2)
    assert (bad["pretrain/status"] == 1).all()
    assert (bad["finetune/status"] == 2).all(), "what follows a dead run never began"
    step = int(bad["pretrain/nonfinite_step"][0, 0])
    assert 1 <= step <= 6
    floats = [
        n
        for n, array in arrays(bad).items()
        if array.dtype.kind == "f" and n != "seconds" and not n.startswith("random")
    ]
    for name in floats:
        values = bad[name]
        if name.startswith("pretrain") and "epoch" in values.dims:
            values = values.sel(epoch=bad["pretrain/step"] > step)
        assert np.isnan(values.values).all(), f"{name} after the run turned non-finite"


@pytest.mark.slow
@pytest.mark.parametrize("make", [mlp_task, conv_task], ids=["mlp", "convnet"])
def test_nan_in_one_runs_weights_stays_there(make: Callable[[], Task], tmp_path: Path) -> None:
    plan = Plan("batched", 4, False, "", 0.0)
    context = context_of(make(), BASE, tmp_path)
    results = []
    for spoil in (False, True):
        trainer = context.trainer(plan, cut(BASE, 4)[0])
        steps = iter(range(10**6))

        def stopping(spoil: bool = spoil, trainer: Any = trainer, steps: Iterator[int] = steps) -> bool:
            if next(steps) == 8 and spoil:
                trainer.tensors["weights"] = trainer.tensors["weights"].clone()
                trainer.tensors["weights"][2, 3] = torch.nan
            return False

        trainer.run(lambda _: None, lambda _: None, stopping)
        results.append(trainer.results())
    clean, spoilt = results
    others = torch.tensor([0, 1, 3])
    for name, value in clean.items():
        axis = 1 if value.shape[0] != 4 else 0  # logs begin with their window
        assert torch.equal(value.index_select(axis, others), spoilt[name].index_select(axis, others)), name
    assert spoilt["pretrain.0.finite_steps"].tolist() == [12, 12, 8, 12]


def test_a_loss_that_overflows_once_ends_the_run_there(tmp_path: Path) -> None:
    """The gradient stays finite, so that the weights could go on as if nothing had been."""
    task, odd = mlp_task(), 17  # the number of the example whose loss overflows
    x, y = task.data(0).train_x, task.data(0).train_y.clone()
    mark = float(x[odd, 0])

    class Marked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = task.drawing.make()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.net(x), (x[:, :1] == mark).to(x.dtype)], 1)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        plain = torch.nn.functional.cross_entropy(output[:, :3], target, reduction="none")
        return torch.where(output[:, 3] > 0, plain + torch.inf, plain)

    test = task.data(0).test_x, task.data(0).test_y
    spiked = Task(Marked, (x, y), test, loss=loss, classification=True)
    result = computed(
        spiked,
        replace(BASE, space="whole", steps=24, finetune_lrs=(), finetune_steps=None, average=()),
        ALL_RUNS,
        tmp_path,
    )
    for seed in range(2):
        order = torch.randperm(48, generator=generator("order", "pretrain", 0, seed, 0)).tolist()
        run = result.sel(seed=seed, data_seed=0)
        assert (run["pretrain/status"] == 1).all()
        assert (run["pretrain/nonfinite_step"] == order.index(odd) // 8).all()
        assert np.isnan(run["pretrain/train_loss"].values).all()
        assert np.isnan(run["pretrain/test_loss"].values).all()
        assert np.isnan(run["pretrain/fixed_train_accuracy"].values).all()
