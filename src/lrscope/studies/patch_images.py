"""The picture of patches (learning_order, App. H.2): the patterns, and images with and without a patch.

N images, C channels, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrscope.charts import Chart, Image, Panel
from lrscope.checked import Count, checked
from lrscope.errors import LrscopeError
from lrscope.tasks.bands import per_channel
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.patches import GROUPS

DRAWN_CHANNELS = (1, 3)  # grey, or red, green and blue


@checked
def patch_chart(data: DataSet, columns: Count = 5) -> Chart:
    """A row for each group of training examples of a patched data set: its first images, one of each class as far as there are.

    Args:
        data: what `with_patches` returns, with its `normalisation`.
        columns: images a row; fewer where a group that is drawn has fewer.

    The first image of a row is titled by its group, the others by their class.
    Pixels are drawn as they are, cut to 0 and 1 where a patch goes beyond; a group without examples is left out.

    Raises:
        LrscopeError: it has no patches, or images of other than 1 or 3 channels.
    """
    if data.train_groups is None or data.train_group_names != GROUPS:
        raise LrscopeError(f"data: {data.name!r} has no patches: pass what lrscope.tasks.patches.with_patches returns")
    if data.train_x.shape[1] not in DRAWN_CHANNELS:
        raise LrscopeError(f"data: its images have {data.train_x.shape[1]} channels: pass some with 1 or 3")
    mean, std = data.normalisation or ((0.0,), (1.0,))
    m, s = per_channel(data.train_x.double(), mean, std)
    sizes = torch.bincount(data.train_groups, minlength=len(GROUPS))
    columns = min(columns, int(sizes[sizes > 0].min()))
    panels = []
    for number, name in enumerate(GROUPS):
        rows = _one_of_each_class(data, number, columns)
        pixels = (data.train_x[rows].double() * s + m).clamp(0, 1)
        panels += [
            Panel(title=f"class {int(label)}" if place else name, layers=[_picture(image)])
            for place, (image, label) in enumerate(zip(pixels, data.train_y[rows], strict=True))
        ]
    return Chart(panels=panels, columns=columns)


def _one_of_each_class(data: DataSet, group: int, count: int) -> Tensor:
    """Indices of up to `count` examples of a group: the first of each class, then those that follow."""
    assert data.train_groups is not None
    where = (data.train_groups == group).nonzero()[:, 0]
    classes = data.train_y[where]
    turn = torch.stack([(classes[:i] == c).sum() for i, c in enumerate(classes)]) if len(where) else where
    order = torch.argsort(turn * data.classes + classes, stable=True)
    return where[order[:count]]


def _picture(pixels: Tensor) -> Image:
    values = pixels.permute(1, 2, 0).numpy()
    return Image(values=values if values.shape[2] == 3 else values[..., 0], low=0.0, high=1.0)
