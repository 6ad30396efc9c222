"""Schedules of the learning rate side by side on late_decay's model, at one number of steps.

S seeds, G gammas, J schedules, R = G x J runs on each data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from lrscope.checked import Count, Positive, Seed, Steps, checked
from lrscope.dynamics.descend import descend
from lrscope.dynamics.schedules import factors
from lrscope.errors import LrscopeError
from lrscope.studies.late_decay.curves import OF_DATA, QUANTITIES, RUNS, Setting, measured, of_data, starts
from lrscope.studies.late_decay.diagonal import Diagonal, sparse_teachers
from lrscope.studies.late_decay.norm_power import Nonnegative, NormPower
from lrscope.studies.late_decay.problems import sample


@checked
def schedule_ends(setting: Setting, schedules: Sequence[str], seeds: Sequence[Seed]) -> xr.Dataset:
    """Train every gamma by every schedule, and measure where it ends. All schedules see the same data, start, batches and noise.

    Args:
        setting: with one learning rate, which the schedules' factors multiply, and without a phase III of its own.
        schedules: as in `SweepConfig.schedule`, such as `cosine`.
        seeds: each names a data set, a start and the draws of training.

    Returns:
        `QUANTITIES` over (gamma, schedule, seed) after the last step, and `OF_DATA` over seed. NaN for a run that overflowed.

    Raises:
        LrscopeError: no seeds or schedules, several learning rates, small steps, or a schedule that cannot be read.
    """
    _check(setting, schedules, seeds)
    courses = torch.stack([factors(text, setting.steps) for text in schedules], 1)  # [T, J]
    together = max(1, RUNS // (len(setting.gamma) * len(schedules)))
    chunks = [seeds[first : first + together] for first in range(0, len(seeds), together)]
    found = [_ends(setting, courses, chunk) for chunk in chunks]
    joined = {name: np.concatenate([one[name] for one in found], -1) for name in found[0]}
    dims = ("gamma", "schedule", "seed")
    words = QUANTITIES | OF_DATA
    data: dict[str, Any] = {
        name: (dims if name in QUANTITIES else "seed", values, {"long_name": words[name]})
        for name, values in joined.items()
    }
    return xr.Dataset(data, {"gamma": list(setting.gamma), "schedule": list(schedules), "seed": list(seeds)})


@checked
def diagonal_ends(
    schedules: Sequence[str],
    seeds: Sequence[Seed],
    *,
    lr: Positive,
    steps: Steps,
    label_noise: Nonnegative,
    examples: Count = 20,
    dimension: Count = 40,
    entries: Count = 3,
    height: Positive = 0.5,
) -> xr.Dataset:
    """The same for diagonal linear networks (`Diagonal`) whose teachers have few entries, on batches of one example.

    Args:
        lr: of the schedules' factor 1.
        label_noise: standard deviation of the noise that is added to labels anew in each step.
        entries: of the teacher that are not 0.
        height: of all weights at the start.

    Returns:
        `loss` and `test_loss` over (schedule, seed) after the last step; NaN for a run that overflowed.

    Raises:
        LrscopeError: no seeds or schedules, more entries than dimensions, or a schedule that cannot be read.
    """
    _check_given(schedules, seeds)
    courses = torch.stack([factors(text, steps) for text in schedules], 1)  # [T, J]
    problems = sparse_teachers(sample(examples, dimension, seeds=seeds), entries)
    model = Diagonal(problems, len(schedules), batch=1, label_noise=label_noise)
    end = descend(model, model.start(height), lr * courses.repeat(1, len(seeds)), steps).weights
    found = {"loss": model.loss(end), "test_loss": model.test_loss(end)}
    data = {
        name: (("schedule", "seed"), values.view(len(seeds), -1).T.numpy(), {"long_name": QUANTITIES[name]})
        for name, values in found.items()
    }
    return xr.Dataset(data, {"schedule": list(schedules), "seed": list(seeds)})


def _check(setting: Setting, schedules: Sequence[str], seeds: Sequence[int]) -> None:
    _check_given(schedules, seeds)
    if len(setting.lr) != 1:
        raise LrscopeError(f"lr: {list(setting.lr)} are several learning rates: pass one, which the schedules multiply")
    if setting.small_steps:
        raise LrscopeError(f"small_steps: {setting.small_steps} follow the schedule: pass 0")


def _check_given(schedules: Sequence[str], seeds: Sequence[int]) -> None:
    if not schedules or not seeds:
        name = "seeds" if schedules else "schedules"
        raise LrscopeError(f"{name}: there are none: pass at least one")


def _ends(setting: Setting, courses: Tensor, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """[G, J, S] of each quantity, and `OF_DATA` [S]."""
    problems = sample(setting.examples, setting.dimension, seeds=seeds, teacher_norm=setting.teacher_norm)
    count = courses.shape[1]
    gammas = [gamma for gamma in setting.gamma for _ in range(count)]
    model = NormPower(problems, gammas, batch=setting.batch, label_noise=[setting.label_noise])
    rates = setting.lr[0] * courses.repeat(1, len(setting.gamma) * len(seeds))
    end = descend(model, starts(setting, model), rates, setting.steps).weights
    by_run = measured(model, end).view(len(seeds), len(setting.gamma), count, -1).permute(3, 1, 2, 0).numpy()
    return dict(zip(QUANTITIES, by_run, strict=True)) | of_data(problems)
