"""Depthwise convolutions of small images in float64 on a CPU, where PyTorch runs one convolution for each channel.

B batch, C channels, the axes of the image between or behind them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = {functional.conv1d: 1, functional.conv2d: 2, functional.conv3d: 3}
FEW = 512  # ours: entries of a channel in all examples up to which this is faster; measured, by 1.4 times there
Sizes = tuple[int, ...]
Slices = tuple[slice, ...]


class DepthwiseAtOnce(TorchFunctionMode):
    """Inside, depthwise convolutions of float64 on a CPU are computed for all channels at once. Only rounding differs."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, or what does the same."""
        done = _depthwise(CONVOLUTIONS[func], *args, **(kwargs or {})) if func in CONVOLUTIONS else None
        return func(*args, **(kwargs or {})) if done is None else done


def _depthwise(
    axes: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """The convolution, if it is one that is slow otherwise: one output channel for each input channel."""
    is_one = 1 < groups == len(weight) == input.shape[-axes - 1] and input.dim() == axes + 2
    is_small = input.numel() <= FEW * groups and input.dtype == torch.float64 and input.device.type == "cpu"
    if not (is_one and is_small) or weight.dtype != input.dtype or isinstance(padding, str):
        return None
    how = tuple(_sizes(given, axes) for given in (stride, padding, dilation))
    if min(_out_sizes(input.shape[2:], weight.shape[2:], *how)) < 1:
        return None  # PyTorch says what is wrong
    out: Tensor = _Depthwise.apply(input, weight, *how)
    return out if bias is None else out + bias.view(-1, *[1] * axes)


def _sizes(given: Any, axes: int) -> Sizes:
    """One for each axis."""
    sizes = (given,) if isinstance(given, int) else tuple(given)
    return sizes * axes if len(sizes) == 1 else sizes


def _out_sizes(image: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> list[int]:
    return [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(image, kernel, stride, padding, dilation, strict=True)
    ]


class _Depthwise(torch.autograd.Function):
    """The sum over the kernel's places of the image, moved, times the weights there."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, stride: Sizes, padding: Sizes, dilation: Sizes) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.how = stride, padding, dilation
        image, kernel = _last(input), _last(weight.movedim(0, 1))
        sizes = _out_sizes(input.shape[2:], weight.shape[2:], *ctx.how)
        out = image.new_zeros(len(image), *sizes, image.shape[-1])
        for place, there, here in _places(image.shape[1:-1], kernel.shape[1:-1], out.shape[1:-1], *ctx.how):
            out[:, *there].addcmul_(image[:, *here], kernel[0, *place])
        return out.movedim(-1, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        input, weight = ctx.saved_tensors
        (gradient,), (stride, padding, dilation) = gradients, ctx.how
        if torch.is_grad_enabled():  # gradients of gradients are asked for
            wanted, none = [*ctx.needs_input_grad[:2], False], [0] * len(stride)
            back = torch.ops.aten.convolution_backward
            found = back(gradient, input, weight, None, stride, padding, dilation, False, none, len(weight), wanted)
            return *found[:2], None, None, None
        image, kernel, out = _last(input), _last(weight.movedim(0, 1)), _last(gradient)
        of_image, of_kernel = torch.zeros_like(image), torch.zeros_like(kernel)
        for place, there, here in _places(image.shape[1:-1], kernel.shape[1:-1], out.shape[1:-1], *ctx.how):
            part = out[:, *there]
            of_image[:, *here].addcmul_(part, kernel[0, *place])
            of_kernel[0, *place] = (part * image[:, *here]).flatten(0, -2).sum(0)
        return of_image.movedim(-1, 1), of_kernel.movedim(-1, 1).movedim(0, 1), None, None, None


def _last(x: Tensor) -> Tensor:
    """With the channels behind: what is next to each other in memory is computed together."""
    return x.movedim(1, -1).contiguous()


def _places(image: Sizes, kernel: Sizes, out: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Iterator[Any]:
    """The places of a kernel that meet the image, with the slices of the output and of the image that belong together there."""
    along = [list(_along(*sizes)) for sizes in zip(image, kernel, out, stride, padding, dilation, strict=True)]
    for chosen in itertools.product(*along):
        yield tuple(zip(*chosen, strict=True))


def _along(
    image: int, kernel: int, out: int, stride: int, padding: int, dilation: int
) -> Iterator[tuple[int, slice, slice]]:
    for place in range(kernel):
        shift = place * dilation - padding  # output i reads the image at i * stride + shift
        first, last = max(0, -(shift // stride)), min(out - 1, (image - 1 - shift) // stride)
        if first <= last:
            yield place, slice(first, last + 1), slice(first * stride + shift, last * stride + shift + 1, stride)
