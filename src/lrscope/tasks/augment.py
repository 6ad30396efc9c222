"""Batched augmentation on the device: random crop with zero padding and horizontal flip (CIFAR's standard)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PADDING = 4  # feature_learning, App. A: crops of 32 with padding 4
DRAWS = 3


def draw(count: int, generator: torch.Generator, padding: int = PADDING) -> Tensor:
    """Shifts and flips for `count` images: int64 [count, 3] with columns row shift, column shift, flip."""
    shifts = torch.randint(0, 2 * padding + 1, (count, 2), generator=generator)
    flips = torch.randint(0, 2, (count, 1), generator=generator)
    return torch.cat([shifts, flips], 1)


def crop_flip(x: Tensor, draws: Tensor, padding: int = PADDING) -> Tensor:
    """Apply draws [B, 3] to images [B, C, H, W]."""
    height, width = x.shape[-2:]
    padded = functional.pad(x, (padding,) * 4)
    rows = draws[:, 0, None] + torch.arange(height, device=x.device)
    columns = draws[:, 1, None] + torch.arange(width, device=x.device)
    columns = torch.where(draws[:, 2, None] > 0, columns.flip(1), columns)
    index = torch.arange(len(x), device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
