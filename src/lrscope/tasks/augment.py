"""Augmentation of image batches: random crop from a black frame and horizontal flip (CIFAR's standard), and RandAugment.

B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lrscope.errors import LrscopeError
from lrscope.tasks.data.dataset import DataSet

PADDED = 8  # feature_learning, App. A: crops of 32 with padding 4, an eighth of the side
DRAWS = 4
WHITE = 255
TOLERANCE = 1e-3  # ours, in parts of white: normalising and back costs 1e-6, a quarter of a grey level changes nothing


def padding(height: int, width: int) -> tuple[int, int]:
    """Pixels of the frame above and below, left and right: an eighth of the side, at least one."""
    return max(1, round(height / PADDED)), max(1, round(width / PADDED))


def draw(count: int, generator: torch.Generator, frame: tuple[int, int]) -> Tensor:
    """What happens to `count` images in a frame: int64 [count, 4] : row shift, column shift, flip, RandAugment's seed."""
    shifts = [torch.randint(0, 2 * pixels + 1, (count, 1), generator=generator) for pixels in frame]
    flips = torch.randint(0, 2, (count, 1), generator=generator)
    seeds = torch.randint(0, 2**32, (count, 1), generator=generator)  # all that torch's generator keeps of a seed
    return torch.cat([*shifts, flips, seeds], 1)


def crop_flip(x: Tensor, draws: Tensor, black: Tensor) -> Tensor:
    """Apply draws [B, 4] to images [B, C, H, W] in a frame of black [C or 1, 1, 1]."""
    height, width = x.shape[-2:]
    above, left = padding(height, width)
    padded = black.expand(len(x), x.shape[1], height + 2 * above, width + 2 * left).clone()
    padded[:, :, above : above + height, left : left + width] = x
    rows = draws[:, 0, None] + torch.arange(height, device=x.device)
    columns = draws[:, 1, None] + torch.arange(width, device=x.device)
    columns = torch.where(draws[:, 2, None] > 0, columns.flip(1), columns)
    index = torch.arange(len(x), device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


class Augmentation:
    """What training does to its images: RandAugment first, if asked for, then crop and flip, if asked for.

    Args:
        data: its training images are normalised by `data.normalisation`. Without one 0 is black, and for RandAugment they are
            floats in [0, 1].
        crops: crop and flip.
        randaugment: (N, M) of RandAugment (Cubuk et al. 2020).

    Raises:
        LrscopeError: the data are no images, or what is black in them is not known, or for RandAugment they are not pixels that
            were normalised.
    """

    def __init__(self, data: DataSet, *, crops: bool, randaugment: tuple[int, int] | None) -> None:
        shape = tuple(data.train_x.shape[1:])
        if crops and len(shape) != 3:
            raise LrscopeError(f"augment: crops and flips need images, the data has shape {shape}: leave it out")
        self.crops = crops
        self.frame = padding(*shape[1:]) if crops else (0, 0)  # without crops nothing is shifted
        self._black = _black(data) if crops else None
        self._randaugment = None if randaugment is None else RandAugment(data, *randaugment)

    def __bool__(self) -> bool:
        """Is anything done at all?"""
        return self.crops or self._randaugment is not None

    def __call__(self, x: Tensor, draws: Tensor) -> Tensor:
        """Images [B, C, H, W] after the draws [B, 4]."""
        if self._randaugment is not None:
            x = self._randaugment(x, draws[:, 3].tolist())
        return x if self._black is None else crop_flip(x, draws, self._black.to(x))


def _black(data: DataSet) -> Tensor:
    """A black pixel of the data's images [C or 1, 1, 1], float64."""
    if data.normalisation is not None:
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in data.normalisation)
        return (-mean / std)[:, None, None]
    low = float(data.train_x.min())
    if low < 0:
        raise LrscopeError(
            f"augment: crops come from a black frame, and no normalisation says what is black in images with values down to "
            f"{low:.3g}: pass Task(normalisation=(mean, std)), or leave augment out"
        )
    return torch.zeros(1, 1, 1, dtype=torch.float64)


class RandAugment:
    """torchvision's RandAugment, each image by a seed of its own. It takes 8-bit images, on the CPU, one after the other.

    Images leave the normalised floats for 8-bit pixels, where other values than 8-bit ones are rounded, and return.

    Raises:
        LrscopeError: see `Augmentation`.
    """

    def __init__(self, data: DataSet, operations: int, magnitude: int) -> None:
        from torchvision.transforms import v2

        x = data.train_x
        if x.dim() != 4 or x.shape[1] not in (1, 3) or not x.is_floating_point():
            raise LrscopeError(
                f"randaugment: it needs images of 1 or 3 channels as floats, the data has shape {tuple(x.shape[1:])} and type "
                f"{x.dtype}: leave it out"
            )
        mean, std = data.normalisation or ((0.0,), (1.0,))
        self._mean, self._std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (mean, std))
        self._transform: Any = v2.RandAugment(operations, magnitude)
        low, high = (float(v) for v in (x * self._std.float() + self._mean.float()).aminmax())
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            known = "after its normalisation is undone" if data.normalisation else "and no normalisation is known"
            raise LrscopeError(
                f"randaugment: it needs pixels in [0, 1], the images reach from {low:.3g} to {high:.3g} {known}: pass images "
                "in [0, 1], or leave randaugment out"
            )

    def __call__(self, x: Tensor, seeds: Sequence[int]) -> Tensor:
        """Images [B, C, H, W] of any device and float type, transformed as the seeds [B] say. Global random state stays."""
        pixels = (x.cpu().to(torch.float64) * self._std + self._mean).mul(WHITE).round().clamp(0, WHITE).to(torch.uint8)
        changed = torch.empty_like(pixels)
        with torch.random.fork_rng(devices=[]):
            for i, seed in enumerate(seeds):
                torch.default_generator.manual_seed(seed)
                changed[i] = self._transform(pixels[i])
        return ((changed.to(torch.float64) / WHITE - self._mean) / self._std).to(x.dtype).to(x.device)
