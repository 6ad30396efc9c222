"""Adam: the step is PyTorch's, and its state lives through phases, chunks, checkpoints and compilers.

R runs, P parameters. That whole sweeps agree with a literal twin is in test_engine.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._inductor.config
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from lrscope.config.settings import MapSettings, load_settings
from lrscope.engine.assemble import assemble
from lrscope.engine.chunk import Stopped
from lrscope.engine.context import Context
from lrscope.engine.plan import Plan, cut
from lrscope.engine.sweep_folder import DONE
from lrscope.grids import log_grid
from lrscope.tasks.streams import generator
from test_adaptive import CONFIG as ADAPTIVE
from test_adaptive import replay
from test_plans import differing
from tiny_tasks import (
    ALL_RUNS,
    BASE,
    ONE_RUN,
    SINGLE,
    compiler_needed,
    computed,
    context_of,
    mlp_task,
    same_bytes,
    small_task,
    stopped_and_resumed,
    train,
)

R, P = 5, 12
SEGMENTS = (((0, 4),), ((4, 6), (9, 12)), ((6, 9),))
CONFIG = replace(
    BASE, steps=24, space="whole", optimizer="adam", weight_decay=1e-2, precision="float64", lrs=(1e-3, 1e-2)
)


def normal(*shape: int, key: str) -> Tensor:
    return torch.randn(*shape, generator=generator("tests", key), dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("plan", [ALL_RUNS, ONE_RUN], ids=lambda p: p.path)
def test_a_sweep_trains_as_a_plain_loop_with_torch_adam(plan: Plan, tmp_path: Path) -> None:
    """Pre-training and fine-tuning of every run; fine-tuning begins with a new optimizer."""
    task, config = mlp_task("layer"), replace(CONFIG, average=(), keep_weights=True)
    context = context_of(task, config, tmp_path)
    context.store.create()
    for unit in context.units(plan):
        context.run_unit(plan, unit, lambda _: None, lambda: False)
    for chunk in cut(config, plan.chunk):
        saved = context.store.load(chunk.name + DONE)
        assert saved is not None
        trainer = context.trainer(plan, chunk)
        start = trainer.tensors["weights"]
        for i, (_, lr) in enumerate(chunk.runs):
            weights = start[i]
            for phase, name in zip(context.phases, ("pretrain_weights", "finetune.1.weights"), strict=True):
                weights = plain_loop(context, trainer._order(phase).at(0, phase.steps)[0][:, i], weights,
                                     lr if phase.lr is None else phase.lr)  # fmt: skip
                torch.testing.assert_close(saved[0][name][i], weights, rtol=1e-9, atol=1e-12)


def plain_loop(context: Context, index_KB: Tensor, weights_P: Tensor, lr: float) -> Tensor:
    material, net = context.material(0), context.net
    named = {name: v[0].clone().requires_grad_() for name, v in net.views(weights_P[None]).items()}
    optimizer = torch.optim.Adam(named.values(), lr, weight_decay=context.config.weight_decay)
    net.module.train()
    for rows in index_KB:
        optimizer.zero_grad()
        output = functional_call(net.module, named, (material.train_x[rows],))
        functional.cross_entropy(output, material.train_y[rows]).backward()
        optimizer.step()
    return net.flatten({name: value.detach()[None] for name, value in named.items()})[0]


@pytest.mark.slow
@pytest.mark.parametrize("plan", [ONE_RUN, replace(ALL_RUNS, chunk=3)], ids=["single", "chunks of 3"])
def test_plans_agree(plan: Plan, tmp_path: Path) -> None:
    one, other = (computed(mlp_task(), CONFIG, p, tmp_path / n) for p, n in ((ALL_RUNS, "a"), (plan, "b")))
    assert differing(one, other) == []
    assert (one["pretrain/status"] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("plan", [replace(ALL_RUNS, chunk=3), ONE_RUN], ids=lambda p: p.path)
@pytest.mark.parametrize("stop", [1, 7, 27])
def test_stopped_and_resumed_is_the_same_to_the_byte(plan: Plan, stop: int, tmp_path: Path) -> None:
    config = replace(CONFIG, precision="float32")
    straight = computed(mlp_task(), config, plan, tmp_path / "straight")
    resumed = stopped_and_resumed(mlp_task, config, plan, tmp_path / "stopped", stop)
    assert same_bytes(resumed, straight) == []


@pytest.mark.slow
def test_moments_go_on_into_averaging_in_another_chunk(tmp_path: Path) -> None:
    config = replace(ADAPTIVE, data_seeds=1, space="whole", optimizer="adam", lrs=log_grid(1e-4, 1, 8))
    partial = train(mlp_task(), config, SINGLE, tmp_path / "adaptive")
    full = train(mlp_task(), replace(config, adaptive=False), SINGLE, tmp_path / "full")
    assert same_bytes(partial, replay(full)[0]) == []
    assert np.isfinite(partial["average/train_loss"]).any()


@pytest.mark.slow
@compiler_needed
def test_inductor_agrees_and_resumes_to_the_byte(tmp_path: Path) -> None:
    config = replace(CONFIG, average=(), finetune_lrs=(), finetune_steps=None)
    reference = computed(small_task(), config, ALL_RUNS, tmp_path / "eager")
    plan = Plan("batched", 4, True, "", 0.0)
    found = []
    with torch._inductor.config.patch({"cpp.simdlen": 1}):  # scalar code compiles in half the time
        context = context_of(small_task(), config, tmp_path / "compiled")
        context.store.create()
        for again in (False, True):
            for unit in context.units(plan):
                if again and not unit.startswith("random"):
                    with pytest.raises(Stopped):
                        context.run_unit(plan, unit, lambda _: None, iter([False] * 5 + [True]).__next__)
                context.run_unit(plan, unit, lambda _: None, lambda: False)
            found.append(assemble(context, plan))
    assert same_bytes(*found) == []
    assert differing(found[0], reference) == []


def test_left_out_nothing_changes_for_older_sweeps() -> None:
    assert "optimizer" not in MapSettings().filled().request()


def test_option_reaches_the_sweep_from_file_and_command_line(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('space = "whole"\noptimizer = "adam"\n')
    settings = load_settings(file, {})
    assert settings.sweep_config().optimizer == "adam"
    assert "--optimizer adam" in settings.command()
    assert settings.request()["optimizer"] == "adam"
    assert load_settings(file, {"optimizer": "sgd"}).sweep_config().optimizer == "sgd"
