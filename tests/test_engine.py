"""The engine agrees with its slow, literal twin (naive.py) to rtol 1e-9 over the first 50 steps in float64."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lrscope.config import SweepConfig
from lrscope.engine.plan import Plan, cut
from lrscope.engine.sweep_folder import DONE, Store
from lrscope.schema import FINETUNE, RUN
from lrscope.tasks.task import Task
from naive import Naive, random_points
from tiny_tasks import ALL_RUNS, ONE_RUN, computed, conv_task, mlp_task, noisy_task, pixel_task, probed_task, train
from trees import arrays

RTOL = 1e-9
ELSEWHERE = {
    *("pretrain/status", "pretrain/nonfinite_step", "finetune/status"),
    *("seconds", "random_train_loss", "random_train_accuracy"),
}
TASKS = {"batch norm": mlp_task, "layer norm": lambda: mlp_task("layer"), "convnet": conv_task}
SPHERE = SweepConfig(lrs=(1e-3, 1e-2), seeds=1, steps=50, batch_size=8, precision="float64", random_points=2)
SPACES: dict[str, dict[str, Any]] = {
    "sphere": {},
    "whole": {"space": "whole", "lrs": (1e-2, 5e-2), "momentum": 0.9, "weight_decay": 1e-2},
    "whole, scale-invariant": {"space": "whole", "scale_invariant": True, "lrs": (1e-2, 5e-2), "weight_decay": 1e-2},
    "whole, adam": {"space": "whole", "lrs": (1e-3, 1e-2), "optimizer": "adam", "weight_decay": 1e-2},
}
# Three phases within 50 steps.
PHASES: dict[str, Any] = {
    "steps": 22,
    "finetune_lrs": (1e-3, 4e-3),
    "finetune_steps": 13,
    "average": (2, 4),
    "average_every": 4,
}


def weights_of(folder: Path, config: SweepConfig, chunk: int) -> dict[tuple[int, int, float], Tensor]:
    """Pre-trained weights [P] by (data seed, seed, lr), as the finished chunks keep them."""
    found = {}
    for piece in cut(config, chunk):
        saved = Store(folder).load(piece.name + DONE)
        assert saved is not None
        for (seed, lr), row in zip(piece.runs, saved[0]["pretrain_weights"], strict=True):
            found[piece.data_seed, seed, lr] = row
    return found


@cache
def twin(task: Task, config: SweepConfig, lr: float, seed: int, data_seed: int) -> Naive:
    return Naive(task, config, lr=lr, seed=seed, data_seed=data_seed).run()


@cache
def made(name: str) -> Task:
    """One task object per name, so that both paths share their naive twins."""
    return TASKS[name]()


def disagreements(task: Task, config: SweepConfig, plan: Plan, folder: Path) -> list[str]:
    """Train the sweep and its naive twin; name every variable of every run that differs."""
    result = computed(task, config, plan, folder)
    weights = weights_of(folder, config, plan.chunk)
    wrong = []
    for data_seed in range(config.data_seeds):
        for seed in range(config.seeds):
            for lr in config.lrs:
                naive = twin(task, config, lr, seed, data_seed)
                run = arrays(result.sel(lr=lr, seed=seed, data_seed=data_seed))
                logged = set(run) - ELSEWHERE
                assert logged <= set(naive.result), sorted(logged - set(naive.result))
                pairs = {name: (run[name].values, naive.result[name]) for name in logged}
                scale = naive.weights.norm()  # single weights pass through zero
                pairs["weights"] = (
                    (weights[data_seed, seed, lr] / scale + 1).numpy(),
                    (naive.weights / scale + 1).numpy(),
                )
                for name, (ours, theirs) in pairs.items():
                    assert ours.shape == theirs.shape, name
                    if not np.allclose(ours, theirs, rtol=RTOL, atol=1e-13):
                        off = np.max(np.abs(ours - theirs) / np.abs(theirs))
                        wrong.append(f"{name} at lr {lr:g}, seed {seed}, data seed {data_seed}: off by {off:.1e}")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("plan", [ALL_RUNS, ONE_RUN], ids=lambda p: p.path)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", TASKS)
def test_training_agrees_with_the_naive_twin(name: str, space: str, plan: Plan, tmp_path: Path) -> None:
    config = replace(SPHERE, **SPACES[space], seeds=2 if (name, space) == ("batch norm", "sphere") else 1)
    assert disagreements(made(name), config, plan, tmp_path) == []


@pytest.mark.parametrize("plan", [ALL_RUNS, ONE_RUN], ids=lambda p: p.path)
@pytest.mark.parametrize("space", SPACES)
def test_averaging_and_fine_tuning_agree(space: str, plan: Plan, tmp_path: Path) -> None:
    config = replace(SPHERE, **SPACES[space], **PHASES)
    assert disagreements(made("batch norm"), config, plan, tmp_path) == []


OPTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "augmentation": (pixel_task, {"augment": True, **PHASES}),
    "cosine": (mlp_task, {"schedule": "cosine", **PHASES}),
    "own initialisation": (mlp_task, {"same_init": False, "seeds": 2, **PHASES}),
    "radius": (mlp_task, {"radius": 0.5, **PHASES}),
    "label noise by data seed": (noisy_task, {"data_seeds": 2, **PHASES}),
    "probe sets": (probed_task, PHASES),
    "last batch incomplete": (lambda: mlp_task(train=45), PHASES),
    "two chunks": (mlp_task, {"seeds": 3, **PHASES}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_options_agree(name: str, tmp_path: Path) -> None:
    make, options = OPTIONS[name]
    plan = replace(ALL_RUNS, chunk=4) if name == "two chunks" else ALL_RUNS
    assert disagreements(make(), replace(SPHERE, **options), plan, tmp_path) == []


def test_label_noise_differs_between_data_seeds() -> None:
    """Else the case above would say nothing."""
    task = noisy_task()
    assert not torch.equal(task.data(0).train_y, task.data(1).train_y)


@pytest.mark.parametrize("plan", [ALL_RUNS, ONE_RUN], ids=lambda p: p.path)
@pytest.mark.parametrize("space", ["sphere", "whole"])
def test_random_points_agree(space: str, plan: Plan, tmp_path: Path) -> None:
    config = replace(SPHERE, **SPACES[space], steps=1, random_points=3, seeds=2, data_seeds=2)
    task = noisy_task()
    result = computed(task, config, plan, tmp_path)
    for data_seed in range(2):
        for seed in range(config.seeds):
            points = result.sel(data_seed=data_seed, seed=seed)
            ours = np.stack([points["random_train_loss"].values, points["random_train_accuracy"].values], 1)
            np.testing.assert_allclose(ours, random_points(task, config, seed=seed, data_seed=data_seed), rtol=RTOL)


@pytest.mark.slow
def test_windows_and_coordinates_say_when_a_value_was_logged() -> None:
    config = replace(SPHERE, steps=50, log_points=4)  # 6 steps an epoch: 9 epochs, the last one cut short
    result = train(mlp_task(), config)
    assert result["pretrain/step"].values.tolist()[-1] == 50
    assert all(s % 6 == 0 for s in result["pretrain/step"].values.tolist()[:-1])
    assert len(result["pretrain/step"]) == 4
    np.testing.assert_allclose(result["pretrain/epoch"], result["pretrain/step"] / 6)
    assert result["pretrain/train_loss"].dims == (*RUN, "epoch")
    assert list(result.children) == ["pretrain"]
    assert (result["pretrain/status"] == 0).all()
    assert (result["pretrain/nonfinite_step"] == -1).all()


@pytest.mark.slow
def test_float32_follows_float64_at_first() -> None:
    """The precision is the one asked for: close to float64, but not it."""
    low, high = (train(mlp_task(), replace(SPHERE, steps=6, precision=p)) for p in ("float32", "float64"))
    np.testing.assert_allclose(low["pretrain/train_loss"], high["pretrain/train_loss"], rtol=1e-5)
    assert not np.allclose(low["pretrain/train_loss"], high["pretrain/train_loss"], rtol=1e-12, atol=0)


@pytest.mark.slow
def test_finetune_dimensions() -> None:
    result = train(mlp_task(), replace(SPHERE, **PHASES))
    assert result["finetune/status"].dims == FINETUNE.runs
    assert result["average/n_average"].values.tolist() == [2, 4]
    assert result["finetune/step"].values.tolist() == [6, 12, 13]
