"""A network like VGG-11 (Simonyan & Zisserman 2015) without norms: that of late_decay's public code, which states its channels.

B batch, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from lrscope.tasks.conv3x3 import Conv3x3

# Channels of the convolutions over those of the first: 32, 64, 64, 64, 128, 128, 256, 256.
GROWTH = (1, 2, 2, 2, 4, 4, 8, 8)
POOLED = (0, 1, 3, 5, 7)  # convolutions behind which VGG-11 halves the image


class VGG11(nn.Module):
    """Eight 3x3 convolutions with biases and ReLUs, five max pools as in VGG-11, and a linear layer.

    Without norms the signal would fade at PyTorch's usual initialisation, and grow at He's with five pools. Weights start
    at normal numbers of variance 2 / inputs of a unit behind a ReLU alone, and 1 / inputs behind a pool, which makes up for
    what the ReLU leaves out, and at the pixels. Inputs are those that lie inside the image, on average over its pixels. The
    linear layer starts at 0, so that the first steps at a large learning rate do not overflow; biases do too (ours: the
    public code's start is not known to us).

    Args:
        shape: (C, H, W) of the images.
        classes: outputs.
        width: channels of the first convolution; late_decay has 32.
    """

    def __init__(self, shape: Sequence[int], classes: int, width: int) -> None:
        super().__init__()
        channels, *sides = shape
        sizes = [channels, *(width * growth for growth in GROWTH)]
        convs, square = [], 1.0  # of the signal in front of a convolution, roughly
        for i, (inside, outside) in enumerate(pairwise(sizes)):
            taps = math.prod(3 - 2 / side for side in sides)  # of the kernel, that lie inside the image
            convs.append(_started(Conv3x3(inside, outside), 1 / (inside * taps * square)))
            pooled = i in POOLED and min(sides) > 1
            sides, square = ([side // 2 for side in sides], 1.0) if pooled else (sides, 0.5)
        self.convs = nn.ModuleList(convs)
        self.readout = _started(nn.Linear(sizes[-1], classes), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to outputs [B, classes]. A side of one pixel is not halved; what is left at the end is averaged."""
        for i, conv in enumerate(self.convs):
            x = conv(x)
            if i in POOLED and min(x.shape[-2:]) > 1:
                x = functional.max_pool2d(x, 2)  # before the ReLU: the same numbers, a quarter of the work
            x = functional.relu(x)
        out: Tensor = self.readout(x.mean(dim=(2, 3)))
        return out


def _started(layer: nn.Conv2d | nn.Linear, variance: float) -> nn.Module:
    """The layer with normal weights of this variance and biases at 0."""
    nn.init.normal_(layer.weight, std=math.sqrt(variance))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
