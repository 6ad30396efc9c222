"""Across plans runs are equivalent: the same random streams, float64 agreement to rtol 1e-9 over the first 50 steps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._inductor.config
import xarray as xr

from lrscope.config import SweepConfig
from lrscope.engine import choose
from lrscope.engine.assemble import assemble
from lrscope.engine.choose import choose_plan, predict
from lrscope.engine.chunk import Stopped
from lrscope.engine.context import Context
from lrscope.engine.plan import Plan, cut, unroll
from lrscope.engine.segments import phases, steps_per_run, windows
from lrscope.engine.sweep import dry_run
from lrscope.engine.sweep_folder import DONE
from lrscope.tasks.task import Task
from tiny_tasks import (
    ALL_RUNS,
    BASE,
    BATCHED,
    ONE_RUN,
    SINGLE,
    compiler_needed,
    computed,
    context_of,
    conv_task,
    mlp_task,
    small_task,
    train,
)
from trees import arrays

# Three phases within 50 steps, 4 runs. Regime 1: where chaos amplifies rounding no two plans agree for long.
CONFIG = replace(BASE, steps=24, lrs=(1e-3, 1e-2), precision="float64", average=(2, 3))
PLANS = {
    "single": ONE_RUN,
    "chunks of 1": replace(ALL_RUNS, chunk=1),
    "chunks of 3": replace(ALL_RUNS, chunk=3),
}
MAKERS: dict[str, Callable[[], Task]] = {
    "mlp": mlp_task,
    "convnet": conv_task,
    "small": small_task,
}


def differing(a: xr.DataTree, b: xr.DataTree) -> list[str]:
    """Paths of variables that differ by more than rtol 1e-9."""
    one, other = arrays(a), arrays(b)
    assert set(one) == set(other)
    names = [n for n in one if n != "seconds"]
    return [n for n in names if not np.allclose(one[n], other[n], rtol=1e-9, atol=1e-13, equal_nan=True)]


@cache
def reference(name: str) -> xr.DataTree:
    with tempfile.TemporaryDirectory() as folder:
        return computed(MAKERS[name](), CONFIG, ALL_RUNS, Path(folder))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "plan"),
    [
        *[("mlp", p) for p in PLANS],
        ("convnet", "single"),
        ("convnet", "chunks of 3"),
    ],
)
def test_plans_agree(name: str, plan: str, tmp_path: Path) -> None:
    other = computed(MAKERS[name](), CONFIG, PLANS[plan], tmp_path)
    assert differing(other, reference(name)) == []
    assert (other["pretrain/status"] == 0).all()


@pytest.mark.slow
@compiler_needed
def test_compiled_runs_agree_and_resume_to_the_byte(tmp_path: Path) -> None:
    context = context_of(MAKERS["small"](), CONFIG, tmp_path)
    plan = Plan("batched", 4, True, "", 0.0, 2)
    context.store.create()
    (unit,) = [u for u in context.units(plan) if not u.startswith("random")]
    found = []
    with torch._inductor.config.patch({"cpp.simdlen": 1}):  # scalar code compiles in half the time
        for name in context.units(plan):
            context.run_unit(plan, name, lambda _: None, lambda: False)
        found.append(context.store.load(unit + DONE))
        assert differing(assemble(context, plan), reference("small")) == []
        with pytest.raises(Stopped):
            context.run_unit(plan, unit, lambda _: None, iter([False] * 5 + [True]).__next__)
        context.run_unit(plan, unit, lambda _: None, lambda: False)
        found.append(context.store.load(unit + DONE))
    straight, resumed = (saved[0] for saved in found if saved is not None)
    assert all(torch.equal(resumed[name], value) for name, value in straight.items())


@pytest.mark.slow
@pytest.mark.parametrize("same_init", [True, False])
def test_a_run_is_the_same_in_any_sweep(same_init: bool, tmp_path: Path) -> None:
    """Neither the other learning rates nor the number of seeds reach a run."""
    config = replace(CONFIG, same_init=same_init)
    large = computed(mlp_task(), config, ALL_RUNS, tmp_path / "large")
    small = computed(mlp_task(), replace(config, lrs=(1e-2,), seeds=1), ALL_RUNS, tmp_path / "small")
    shared = large.sel(lr=[1e-2], seed=[0])
    assert differing(shared, small) == []


@pytest.mark.slow
def test_learning_rates_share_initialisation_and_batches_unless_told_otherwise() -> None:
    still = replace(CONFIG, lrs=(1e-13, 2e-13), steps=4, finetune_lrs=(), finetune_steps=None, average=())
    same, own = (
        train(mlp_task(), replace(still, same_init=s))["pretrain/train_loss"].isel(epoch=0) for s in (True, False)
    )
    np.testing.assert_allclose(same.isel(lr=0), same.isel(lr=1), rtol=1e-9)
    assert (abs(own.isel(lr=0) / own.isel(lr=1) - 1) > 1e-4).all()
    assert float(abs(same.isel(seed=0) / same.isel(seed=1) - 1).min()) > 1e-4, "seeds differ in any case"


# -- plans themselves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 64])
@pytest.mark.parametrize("data_seeds", [1, 3])
def test_chunks_hold_every_run_once(size: int, data_seeds: int) -> None:
    config = replace(CONFIG, data_seeds=data_seeds)
    chunks = cut(config, size)
    runs = [(c.data_seed, *run) for c in chunks for run in c.runs]
    assert sorted(runs) == sorted((d, s, lr) for d in range(data_seeds) for s in range(2) for lr in CONFIG.lrs)
    assert len(set(runs)) == len(runs)
    assert len({c.name for c in chunks}) == len(chunks)
    sizes = [len(c.runs) for c in chunks]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("steps", "epoch", "points"), [(50, 6, 200), (50, 6, 4), (3, 6, 200), (6, 6, 1), (1000, 7, 30)]
)
def test_windows_end_with_epochs_and_with_the_last_step(steps: int, epoch: int, points: int) -> None:
    ends = windows(steps, epoch, points)
    assert ends[-1] == steps
    assert list(ends) == sorted(set(ends))
    assert len(ends) <= points
    assert all(e % epoch == 0 for e in ends[:-1])


@pytest.mark.parametrize(("steps", "averaged", "expected"), [(24, (2,), 2), (24, (), 4), (25, (), 1), (7, (), 1)])
def test_calls_of_several_steps_end_where_windows_end(steps: int, averaged: tuple[int, ...], expected: int) -> None:
    every = 6 if averaged else None
    config = replace(CONFIG, steps=steps, average=averaged, average_every=every, finetune_lrs=(), finetune_steps=None)
    found = phases(config, 8)
    assert unroll(found) == expected
    assert all(w % expected == 0 for p in found for w in p.windows)


def test_phases_come_in_order_and_count() -> None:
    config = SweepConfig(
        lrs=(1.0,),
        epochs=2.5,
        batch_size=8,
        finetune_lrs=(0.1, 0.2),
        finetune_epochs=1,
        average=(2, 4),
        average_every=3,
    )
    found = phases(config, 6)
    assert [(p.kind, p.steps, p.lr) for p in found] == [
        ("pretrain", 15, None),
        ("average", 9, None),
        ("finetune", 6, 0.1),
        ("finetune", 6, 0.2),
    ]
    assert steps_per_run(found) == 36
    assert found[1].windows == (3, 6, 9)


@pytest.mark.parametrize(("alone", "together", "path"), [(3e-6, 2e-6, "batched"), (2e-6, 3e-6, "single")])
def test_the_faster_plan_is_chosen(
    alone: float, together: float, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(context: Context, plan: Plan, seconds: float | None = None) -> Plan:
        return replace(plan, run_step_seconds=alone if plan.path == "single" else together)

    monkeypatch.setattr(choose, "_timed", timed)
    context = context_of(mlp_task(), CONFIG, tmp_path, replace(BATCHED, path="auto", chunk=None))
    plan = choose_plan(context, 1)
    assert plan.path == path
    assert "single 1: " in plan.chosen
    assert "batched 4: " in plan.chosen
    assert predict(context, plan, 1) == pytest.approx(min(alone, together) * 4 * steps_per_run(context.phases))


@pytest.mark.slow
def test_the_plan_is_measured_and_then_followed(tmp_path: Path) -> None:
    context = context_of(mlp_task(), CONFIG, tmp_path, replace(BATCHED, path="auto", chunk=None))
    assert 0 < choose_plan(context, 1).run_step_seconds < 1
    kept = tmp_path / "kept"
    first = train(mlp_task(), replace(CONFIG, steps=2), replace(BATCHED, chunk=2), kept)
    (kept / "results.zarr").rename(tmp_path / "moved")
    for path in (kept / "chunks").iterdir():
        path.unlink()
    again = train(mlp_task(), replace(CONFIG, steps=2), SINGLE, kept)
    assert first.attrs["plan"] == again.attrs["plan"]


@pytest.mark.parametrize(("seconds", "timed"), [(1e-3, [1, 3, 6]), (1.0, [1]), (0.4, [1, 3])])
def test_batches_of_long_steps_are_not_timed(
    seconds: float, timed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of seconds is all arithmetic: timing larger batches of it costs minutes and gains nothing."""
    asked = []

    def steps(context: Context, plan: Plan, probe: float | None = None) -> Plan:
        asked.append(plan.chunk)
        return replace(plan, run_step_seconds=seconds)

    monkeypatch.setattr(choose, "_timed", steps)
    monkeypatch.setattr(choose, "SIZES", (3, 6))
    auto = replace(BATCHED, path="auto", chunk=None, compile=False)
    context = context_of(mlp_task(), replace(CONFIG, seeds=3), tmp_path, auto)
    plan = choose_plan(context, 1)
    assert asked == timed
    assert plan.chunk in timed


def test_a_dry_run_says_what_would_happen_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = dry_run(mlp_task(), config=CONFIG, engine=replace(BATCHED, chunk=3))
    assert said["runs"] == 4
    assert said["steps_per_run"] == 24 + 12 + 6
    assert said["run_steps"] == 4 * 42
    assert said["parameters"] == 5 * 8 + 8 * 6
    assert said["groups"] == ["hidden.0.weight", "hidden.1.weight"]
    assert said["chunks"] == 2
    assert said["seconds"] > 0
    assert said["bytes"] > 1e6
    assert not list(tmp_path.iterdir())
