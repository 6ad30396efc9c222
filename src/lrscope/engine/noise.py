"""The seeds of what networks draw, as a tensor of each run among its frozen ones. R runs, K steps or batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lrscope.config import SweepConfig
from lrscope.dynamics.schedules import factors
from lrscope.engine.segments import Phase
from lrscope.engine.step import Named
from lrscope.tasks.keyed_random import folded
from lrscope.tasks.streams import stream_seed

LEVEL = "noise level"  # of the noise before layers
NOISE = "noise seed"  # its name among named tensors; attributes of modules have no spaces


def with_noise(frozen: Named, seeds_R: Tensor | None, level_R: Tensor | None = None) -> Named:
    """The frozen tensors of the runs, their seeds and their level of noise before layers; None where there are none."""
    given = {NOISE: seeds_R, LEVEL: level_R}
    return {**frozen, **{name: value for name, value in given.items() if value is not None}}


def levels(
    config: SweepConfig, phases: Sequence[Phase], phase: Phase, step: int, count: int, like_R: Tensor
) -> Tensor | None:
    """Levels [K, R], in the type of `like_R`, of the noise before layers in `count` steps of a phase from `step` on; None without
    such noise. Its course goes by the steps since pre-training began, and stays where it ends."""
    if not config.activation_noise:
        return None
    scale = _course(config.noise_schedule, phases[0].steps)
    at = (torch.arange(count) + step + (phase.begun or 0)).clamp(max=len(scale) - 1)
    return (config.activation_noise * scale[at]).to(like_R)[:, None].expand(-1, len(like_R))


@lru_cache(maxsize=8)
def _course(schedule: str, steps: int) -> Tensor:
    return factors(schedule, steps)


def of_batch(frozen: Named, number: int) -> Named:
    """The same, with other seeds for each of several batches."""
    return {**frozen, NOISE: folded(frozen[NOISE], number)} if NOISE in frozen else frozen


def seeds(names: Iterable[tuple[str | int, ...]], device: torch.device) -> Tensor:
    """Seeds [R] of the streams of these names."""
    return torch.tensor([stream_seed(*name) for name in names], device=device)
