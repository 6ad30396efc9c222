"""The seeds of what networks draw, as a tensor of each run among its frozen ones. R runs, K steps or batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lrscope.engine.step import Named
from lrscope.tasks.keyed_random import folded
from lrscope.tasks.streams import stream_seed

NOISE = "noise seed"  # its name among named tensors; attributes of modules have no spaces


def with_noise(frozen: Named, seeds_R: Tensor | None) -> Named:
    """The frozen tensors of the runs and their seeds; None where the network draws nothing from them."""
    return frozen if seeds_R is None else {**frozen, NOISE: seeds_R}


def of_batch(frozen: Named, number: int) -> Named:
    """The same, with other seeds for each of several batches."""
    return {**frozen, NOISE: folded(frozen[NOISE], number)} if NOISE in frozen else frozen


def seeds(names: Iterable[tuple[str | int, ...]], device: torch.device) -> Tensor:
    """Seeds [R] of the streams of these names."""
    return torch.tensor([stream_seed(*name) for name in names], device=device)
