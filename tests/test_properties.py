"""Any sweep and tree, under any plan, stopped anywhere: the same bytes within a plan, the same numbers across plans."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrscope.config import Branch, SweepConfig
from lrscope.engine.assemble import assemble
from lrscope.engine.chunk import Stopped
from lrscope.engine.context import Context
from lrscope.engine.dispatch import autograd_survives_fork, run_here, run_processes
from lrscope.engine.plan import Plan, unroll
from lrscope.engine.replan import Replanner
from lrscope.tasks.task import Task
from tiny_tasks import BATCHED, Dropping, computed, context_of, mlp_task, noisy_task, pixel_task, same_bytes, task_of
from trees import arrays

# Learning rates of regime 1: where chaos amplifies rounding no two plans agree for long.
RATES = ((1e-3,), (1e-3, 1e-2), (2e-3, 5e-3, 1e-2))


@st.composite
def trees(draw: st.DrawFn, steps: int, *, finetunes: bool) -> tuple[Branch, ...]:
    """None, or a few branches that leave at a step, at the end, at a loss, and from one another."""
    early = Branch(name="early", at=(0, 0.34), factors=(0.5,), steps=3)
    known = [
        *([early, Branch(name="last", parent="early", at=(0.34,), steps=2)] if steps > 2 else []),
        Branch(name="end", steps=2, optimizer="fresh", lrs=(1e-3,), schedules=("linear", "constant")),
        Branch(name="low", at_loss=(1.0,), steps=2),
        *([Branch(name="more", parent="finetune", steps=2)] if finetunes else []),
    ]
    chosen = draw(st.sets(st.sampled_from([branch.name for branch in known]))) if draw(st.booleans()) else set()
    return tuple(b for b in known if b.name in chosen and (b.name != "last" or "early" in chosen))


@st.composite
def configs(draw: st.DrawFn) -> SweepConfig:
    """Sweeps of at most 50 steps in all phases, in float64."""
    space = draw(st.sampled_from(["sphere", "whole", "whole, scale-invariant"]))
    options: dict[str, Any] = {"space": space.partition(",")[0]}
    if space == "sphere":
        options["radius"] = draw(st.sampled_from([None, 0.5]))
    else:
        options |= {"momentum": draw(st.sampled_from([0.0, 0.9])), "weight_decay": draw(st.sampled_from([0.0, 1e-2]))}
        options["scale_invariant"] = "," in space
    if draw(st.booleans()):
        options |= {
            "finetune_lrs": draw(st.sampled_from([(1e-3,), (1e-3, 4e-3)])),
            "finetune_steps": draw(st.integers(1, 6)),
        }
    if draw(st.booleans()):
        options |= {"average": draw(st.sampled_from([(2,), (2, 3)])), "average_every": draw(st.integers(1, 4))}
    steps = draw(st.integers(1, 14))
    return SweepConfig(
        lrs=draw(st.sampled_from(RATES)),
        seeds=draw(st.integers(1, 2)),
        data_seeds=draw(st.integers(1, 2)),
        steps=steps,
        branches=draw(trees(steps, finetunes="finetune_lrs" in options)),
        batch_size=draw(st.sampled_from([8, 12])),
        schedule=draw(st.sampled_from(["constant", "cosine"])),
        same_init=draw(st.booleans()),
        augment=draw(st.booleans()),
        log_points=draw(st.sampled_from([1, 200])),
        random_points=1,
        precision="float64",
        **options,
    )


@st.composite
def sweeps(draw: st.DrawFn) -> tuple[Task, SweepConfig]:
    config = draw(configs())
    if config.augment:
        return CONV, config
    return draw(st.sampled_from([MLP, NOISY])), config


MLP, NOISY, CONV, DROPPING = mlp_task(), noisy_task(), pixel_task(train=24), task_of(Dropping, (5,), train=24)
PLANS = st.builds(
    lambda single, chunk: Plan("single", 1, False, "", 0.0) if single else Plan("batched", chunk, False, "", 0.0),
    st.booleans(),
    st.integers(1, 6),
)
STOPS = st.lists(st.integers(0, 25), max_size=4)  # each after so many steps of the unit in work


def interrupted(task: Task, config: SweepConfig, plan: Plan, stops: list[int], jobs: int, folder: Path) -> xr.DataTree:
    """Stopped and continued by a new context as often as `stops` says; the rest is computed by `jobs` processes."""

    def fresh() -> Context:
        return context_of(task, config, folder, BATCHED)

    context = fresh()
    context.store.create()
    pending = list(stops)
    for unit in context.units(plan):
        while pending and not context.store.is_done(unit):
            calls = iter(range(pending.pop(0)))
            try:
                context.run_unit(plan, unit, lambda _: None, lambda calls=calls: next(calls, None) is None)
            except Stopped:
                context = fresh()
    units = [u for u in context.units(plan) if not context.store.is_done(u)]

    def work(unit: str, tick: Any, stopping: Any) -> None:
        context.run_unit(plan, unit, tick, stopping)

    split = Replanner(context, plan).split
    if jobs == 2 and autograd_survives_fork():
        run_processes(units, work, lambda _: None, split, jobs)
    else:
        run_here(units, work, lambda _: None, split)
    return assemble(context, plan)


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(sweep=sweeps(), plan=PLANS, other=PLANS, stops=STOPS, jobs=st.integers(1, 2), several=st.booleans())
def test_same_bytes_within_a_plan_same_numbers_across_plans(
    sweep: tuple[Task, SweepConfig], plan: Plan, other: Plan, stops: list[int], jobs: int, several: bool
) -> None:
    task, config = sweep
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if several:
            plan = replace(plan, unroll=unroll(context_of(task, config, folder / "unused").phases))
        whole = computed(task, config, plan, folder / "whole")
        assert (whole["pretrain/status"] == 0).all()
        assert same_bytes(interrupted(task, config, plan, stops, jobs, folder / "broken"), whole) == []
        if other != plan:
            elsewhere = computed(task, config, other, folder / "other")
            differing = [
                n
                for n in arrays(whole)
                if n != "seconds" and not np.allclose(whole[n], elsewhere[n], rtol=1e-9, atol=1e-13, equal_nan=True)
            ]
            assert differing == []


@pytest.mark.slow
@settings(max_examples=4)
@given(config=configs(), stops=STOPS)
@pytest.mark.filterwarnings("ignore:this model draws noise")
def test_noise_is_the_same_after_any_stop(config: SweepConfig, stops: list[int]) -> None:
    config = replace(config, augment=False, data_seeds=1, lrs=config.lrs[:1])
    plan = Plan("single", 1, False, "", 0.0)
    with tempfile.TemporaryDirectory() as name, torch.random.fork_rng(devices=[]):  # as a sweep does
        whole = computed(DROPPING, config, plan, Path(name) / "whole")
        assert same_bytes(interrupted(DROPPING, config, plan, stops, 1, Path(name) / "broken"), whole) == []
