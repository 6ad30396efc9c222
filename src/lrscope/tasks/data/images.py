"""Pixels to a data set: draw, scale to [0, 1], normalise; average pooling."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from lrscope.errors import LrscopeError
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.formats import Request, Spec
from lrscope.tasks.data.held_out import arrays, draw
from lrscope.tasks.data.subsets import checked_size, subset
from lrscope.tasks.streams import generator


def normalised(pixels: Tensor, white: float, spec: Spec) -> Tensor:
    """[N, C, H, W] float32: pixels in [0, `white`] scaled to [0, 1], minus the mean, over the deviation per channel."""
    mean, std = (torch.tensor(constant)[:, None, None] for constant in (spec.mean, spec.std))
    return pixels.to(torch.float32, copy=True).div_(white).sub_(mean).div_(std)


def draw_split(
    spec: Spec, request: Request, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], white: float = 255.0
) -> DataSet:
    """The asked number of examples from an official split of (pixels [N, C, H, W], labels [N]).

    Training examples are drawn by `data_seed`, test examples by a fixed stream: all data seeds share one test set.
    """
    pixels, labels = train
    size = checked_size("train_size", request.train_size, len(labels), len(labels), spec.name)
    order = torch.randperm(len(labels), generator=generator("training subset", request.data_seed))
    drawn = draw(order, size, request.validation, request.data_seed)
    test_pixels, test_labels = test
    size = checked_size("test_size", request.test_size, len(test_labels), len(test_labels), spec.name)
    test_index = subset(len(test_labels), size, generator("test subset"))
    return DataSet(
        name=spec.name,
        **arrays(drawn, lambda index: (normalised(pixels.index_select(0, index), white, spec), labels[index])),
        test_x=normalised(test_pixels.index_select(0, test_index), white, spec),
        test_y=test_labels[test_index],
        classes=spec.classes,
        loss="cross_entropy",
        normalisation=(spec.mean, spec.std),
    )


def check_pool(spec: Spec, pool: int) -> None:
    """Refuse a pooling factor that the inputs of `spec` cannot take."""
    if pool == 1:
        return
    if not spec.is_image:
        raise LrscopeError(f"pool={pool!r} needs images, and data set {spec.name!r} has none; leave pool at 1")
    side = spec.shape[-1]
    factors = [factor for factor in range(1, side + 1) if side % factor == 0]
    if pool not in factors:
        raise LrscopeError(
            f"pool={pool!r} does not divide the side of {side} pixels of data set {spec.name!r}; "
            f"choose one of {', '.join(map(str, factors))}"
        )


def pooled(images: Tensor, pool: int) -> Tensor:
    """[N, C, H / pool, W / pool]: means over squares of `pool` x `pool` pixels."""
    return images if pool == 1 else avg_pool2d(images, pool)
