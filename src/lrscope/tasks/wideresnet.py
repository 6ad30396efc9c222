"""WideResNet-16-k (Zagoruyko & Komodakis 2016), the network of learning_order's experiments (Sec. 6).

The details are those of the authors' code: pre-activation blocks, no dropout, and a shortcut that leaves after the first ReLU
where a block changes the number of channels. B batch, C channels, H x W pixels.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

STEM = 16  # channels before the first group
BLOCKS = 2  # in each of the three groups: (16 - 4) / 6


class _WideBlock(nn.Module):
    """BN-ReLU-conv3x3 twice. Where channels change, the input of the first convolution goes through a 1x1 one as the shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.shortcut = None if inside == outside else nn.Conv2d(inside, outside, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = functional.relu(self.norm1(x))
        out = self.conv2(functional.relu(self.norm2(self.conv1(active))))
        total: Tensor = out + (x if self.shortcut is None else self.shortcut(active))
        return total


class WideResNet16(nn.Module):
    """A convolution with 16 channels, groups of two blocks with 16k, 32k and 64k channels and strides 1, 2, 2, BN, ReLU, average
    pool, linear.

    Convolutions start at normal numbers of variance 2 / (kernel area x output channels), the linear layer's bias at 0.

    Args:
        channels: C of the images.
        classes: outputs.
        width: k; learning_order has 10.
    """

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, STEM, 3, padding=1, bias=False)
        sizes = [STEM, *(STEM * width * 2**group for group in range(3))]
        blocks: list[nn.Module] = []
        for group, (inside, outside) in enumerate(pairwise(sizes)):
            blocks.append(_WideBlock(inside, outside, stride=1 if group == 0 else 2))
            blocks += [_WideBlock(outside, outside, stride=1) for _ in range(BLOCKS - 1)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(sizes[-1])
        self.readout = nn.Linear(sizes[-1], classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.readout.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [B, classes]."""
        x = functional.relu(self.norm(self.blocks(self.stem(x))))
        out: Tensor = self.readout(x.mean(dim=(2, 3)))
        return out
