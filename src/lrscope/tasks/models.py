"""The papers' networks. Widths and details: three_regimes App. C, feature_learning App. A."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrscope.errors import LrscopeError, nearest
from lrscope.tasks.conv3x3 import Conv3x3
from lrscope.tasks.data.table import TABLE
from lrscope.tasks.transformer import Transformer
from lrscope.tasks.vgg import VGG11
from lrscope.tasks.vit import VisionTransformer
from lrscope.tasks.wideresnet import WideResNet16


class MLP(nn.Module):
    """Linear layers with a norm and ReLU after each hidden one: sizes (in, hidden..., out)."""

    def __init__(
        self, sizes: Sequence[int], *, norm: str = "batch", bias: bool = True, normal_init: bool = False
    ) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(sizes[:-1]))
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(b) if norm == "batch" else nn.LayerNorm(b, eps=1e-7, elementwise_affine=False)
            for b in sizes[1:-1]
        )
        self.readout = nn.Linear(sizes[-2], sizes[-1], bias=bias)
        if normal_init:
            for layer in self.hidden:
                nn.init.normal_(cast(nn.Linear, layer).weight)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, ...] to outputs [B, sizes[-1]]."""
        x = x.flatten(1)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = functional.relu(norm(layer(x)))
        out: Tensor = self.readout(x)
        return out


class ConvNet(nn.Module):
    """conv-BN-ReLU(k), three times [conv-BN-ReLU-maxpool2] with 2k, 4k, 8k channels, global max pool, linear.

    `blocks` of 2 drops the last block: for images below 16 pixels, where a third pooling leaves nothing (ours).
    """

    def __init__(self, channels: int, classes: int, width: int, blocks: int = 3) -> None:
        super().__init__()
        sizes = [channels, *(width * 2**i for i in range(blocks + 1))]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in sizes[1:])
        self.readout = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [B, classes]."""
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(conv(x))
            if i > 0:
                x = functional.max_pool2d(x, 2)  # before the ReLU: the same numbers, a quarter of the work
            x = functional.relu(x)
        out: Tensor = self.readout(torch.amax(x, dim=(2, 3)))
        return out


class _PreActBlock(nn.Module):
    """Pre-activation block; the 1x1 shortcut has a BN of its own in front, which makes it scale-invariant."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inside)
        self.conv1 = Conv3x3(inside, outside, stride, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.conv2 = Conv3x3(outside, outside, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.BatchNorm2d(inside), nn.Conv2d(inside, outside, 1, stride=stride, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(functional.relu(self.norm1(x)))
        out = self.conv2(functional.relu(self.norm2(out)))
        total: Tensor = out + self.shortcut(x)
        return total


class ResNet18(nn.Module):
    """Pre-activation ResNet-18 of width k: stages k, 2k, 4k, 8k with strides 1, 2, 2, 2, final BN, average pool."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        inside = width
        for stage in range(4):
            outside = width * 2**stage
            blocks += [_PreActBlock(inside, outside, 1 if stage == 0 else 2), _PreActBlock(outside, outside, 1)]
            inside = outside
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(inside)
        self.readout = nn.Linear(inside, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [B, classes]."""
        x = functional.relu(self.norm(self.blocks(self.stem(x))))
        out: Tensor = self.readout(x.mean(dim=(2, 3)))
        return out


def _mlp(data: str, shape: Sequence[int], outputs: int, width: int | None) -> nn.Module:
    if _vocabulary(data):
        raise LrscopeError(f"model: 'mlp' needs numbers, but data {data!r} is text: use model transformer")
    inputs = 1
    for n in shape:
        inputs *= n
    if data == "ticks":  # feature_learning, App. A, and its public code: no biases, LayerNorm, N(0, 1)
        hidden = width or 32
        return MLP((inputs, hidden, hidden, outputs), norm="layer", bias=False, normal_init=True)
    if width is None and inputs >= 28 * 28:  # three_regimes, App. O: 300 and 100
        return MLP((inputs, 300, 100, outputs))
    hidden = width or 64  # ours: the size of a digit image
    return MLP((inputs, hidden, hidden, outputs))


def _convnet(data: str, shape: Sequence[int], outputs: int, width: int | None) -> nn.Module:
    _check_images("convnet", data, shape)
    return ConvNet(shape[0], outputs, width or 32, blocks=3 if min(shape[1:]) >= 16 else 2)


def _resnet18(data: str, shape: Sequence[int], outputs: int, width: int | None) -> nn.Module:
    _check_images("resnet18", data, shape)
    return ResNet18(shape[0], outputs, width or 32)


def _wideresnet16(data: str, shape: Sequence[int], outputs: int, width: int | None) -> nn.Module:
    _check_images("wideresnet16", data, shape)
    return WideResNet16(shape[0], outputs, width or 10)  # learning_order, Sec. 6


def _vgg11(data: str, shape: Sequence[int], outputs: int, width: int | None) -> nn.Module:
    _check_images("vgg11", data, shape)
    return VGG11(shape, outputs, width or 32)  # late_decay's public code


def _check_images(model: str, data: str, shape: Sequence[int]) -> None:
    if len(shape) != 3 or min(shape[1:]) < 4:
        other = "transformer" if _vocabulary(data) else "mlp"
        raise LrscopeError(
            f"model: {model!r} needs images, but data {data!r} has shape {tuple(shape)}: use model {other}"
        )


def _transformer(data: str, shape: Sequence[int], outputs: int, width: int | None) -> nn.Module:
    if not (vocabulary := _vocabulary(data)):
        raise LrscopeError(f"model: 'transformer' needs text, but data {data!r} is none: use model mlp")
    return Transformer(vocabulary, shape[0], outputs, width or 32)  # three_regimes' public code: d_model 32


def _vit(
    data: str,
    shape: Sequence[int],
    outputs: int,
    width: int | None,
    *,
    patch: int = 4,
    depth: int = 6,
    dropout: float = 0.1,
) -> nn.Module:
    _check_images("vit", data, shape)
    for name, value in (("patch", patch), ("depth", depth)):
        if value < 1:
            raise LrscopeError(f"{name}: {value} is too small: use 1 or more")
    if not 0 <= dropout < 1:
        raise LrscopeError(f"dropout: {dropout:g} is outside [0, 1): use 0.1, or 0 for none")
    channels, height, breadth = shape
    if height % patch or breadth % patch:
        raise LrscopeError(
            f"model: 'vit' cuts images into patches of {patch} x {patch} pixels, but data {data!r} has {height} x {breadth}: use "
            "another patch or pool, or model convnet"
        )
    return VisionTransformer(
        (channels, height, breadth), outputs, width or 512, patch=patch, depth=depth, dropout=dropout
    )


def _vocabulary(data: str) -> int:
    """Words that a text data set knows; 0 for other data."""
    return TABLE[data].vocabulary if data in TABLE else 0


MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": _mlp,
    "convnet": _convnet,
    "resnet18": _resnet18,
    "wideresnet16": _wideresnet16,
    "vgg11": _vgg11,
    "transformer": _transformer,
    "vit": _vit,
}
OPTIONS = {"vit": ("patch", "depth", "dropout")}  # beside the width


def build(
    name: str, *, data: str, shape: Sequence[int], outputs: int, width: int | None, **options: float
) -> nn.Module:
    """A freshly initialised model by name, for examples of `shape` (without the batch axis); `options` as in OPTIONS."""
    if name not in MODELS:
        raise LrscopeError(f"model: {name!r} is unknown: {nearest(name, MODELS)}")
    if width is not None and width < 1:
        raise LrscopeError(f"width: {width} is too small: use 1 or more")
    for option in options:
        if option not in OPTIONS.get(name, ()):
            known = ", ".join(OPTIONS.get(name, ())) or "none"
            raise LrscopeError(
                f"model_options: {option!r} is no option of model {name!r}, which has {known}: leave it out"
            )
    return MODELS[name](data, shape, outputs, width, **options)
