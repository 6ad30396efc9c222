"""Convolutions and pooling of images as calls of convolutions.h.

B images, H x W pixels, I channels inside and O outside, kernels of Kh x Kw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from lrscope.engine.backends.cpp.values import Index, NotFusible, Placed, Value, contiguous, seen_as

aten = torch.ops.aten
LARGEST_KERNEL = 1 << 16  # ours, elements: 256 KiB of float32, half of a usual L2 cache
LARGEST_IMAGE = 1 << 16  # ours, elements of one image with its border
VECTOR = 16  # elements of the longest vector: packed weights are filled up to whole ones


class Maker(Protocol):
    """What writes the code (`Lowering`)."""

    lines: list[str]

    def array(self, shape: tuple[int, ...], kind: str, strides: tuple[int, ...] | None = None) -> Placed:
        """A new local array."""
        ...

    def place(self, value: Value) -> Placed:
        """The value in memory."""
        ...

    def dense(self, value: Value) -> Placed:
        """The value in memory, images with the channels of a pixel side by side."""
        ...

    def loops(self, shape: Sequence[int], body: Callable[[Index], str], *, hint: str = "GCC ivdep") -> None:
        """A line for each index of a shape; without dependence between them, unless the hint says otherwise."""
        ...

    def plus(self, one: Placed, other: Value) -> Placed:
        """The sum of an array and what is broadcast to it."""
        ...

    def summed(self, value: Value, dims: Sequence[int]) -> Placed:
        """The sum over some axes, which go."""
        ...


def convolution(make: Maker, args: Sequence[Any]) -> Placed:
    """aten.convolution(x, weight, bias, stride, padding, dilation, transposed, output padding, groups)."""
    x, weight, bias = args[:3]
    stride, padding = _checked(x, weight, *args[3:9])
    (b, i, h, w), (o, _, kh, kw) = x.shape, weight.shape
    ho, wo = ((n + 2 * padding - k) // stride + 1 for n, k in ((h, kh), (w, kw)))
    out = make.array((b, o, ho, wo), x.ctype)
    packed = _packed(make, weight, turned=False)
    sizes = (b, h, w, i, ho, wo, o, kh, kw, _filled(o), stride, 1, padding, padding)
    _call(make, "convolved", x.ctype, sizes, make.dense(x), packed, out)
    return out if bias is None else make.plus(out, seen_as(make.dense(bias), (o, 1, 1)))


def convolution_backward(make: Maker, args: Sequence[Any]) -> tuple[Value | None, ...]:
    """aten.convolution_backward(gradient, x, weight, bias sizes, stride, padding, dilation, transposed, output padding, groups,
    which are wanted): the gradients at x, at the weight and at the bias."""
    gradient, x, weight = args[:3]
    stride, padding = _checked(x, weight, *args[4:10])
    of_x, of_weight, of_bias = args[10]
    (b, i, h, w), (o, _, kh, kw), (ho, wo) = x.shape, weight.shape, gradient.shape[2:]
    kind, given, at_x, at_weight = x.ctype, make.dense(gradient), None, None
    if of_x:
        at_x = make.array(x.shape, kind)
        # A convolution with the kernel turned by half a turn, of gradients that are `stride` pixels from each other.
        sizes = (b, ho, wo, o, h, w, i, kh, kw, _filled(i), 1, stride, kh - 1 - padding, kw - 1 - padding)
        _call(make, "convolved", kind, sizes, given, _packed(make, weight, turned=True), at_x)
    if of_weight:
        packed = make.array((kh, kw, i, _filled(o)), kind, contiguous((kh, kw, i, _filled(o))))
        shape = (b, h, w, i, ho, wo, o, kh, kw, _filled(o), stride, padding, padding)
        _call(make, "weights_gradient", kind, shape, make.dense(x), given, packed)
        by_row, by_column, by_channel, _ = packed.strides
        at_weight = Placed(packed.name, weight.shape, kind, (1, by_channel, by_row, by_column))
    return at_x, at_weight, make.summed(given, (0, 2, 3)) if of_bias else None


def largest(make: Maker, args: Sequence[Any]) -> tuple[Placed, None]:
    """aten.max_pool2d_with_indices(x, kernel, stride, padding, dilation, whether sizes are rounded up): the largest values. Where
    they were is found again when it is asked for."""
    x = args[0]
    size = _window(*args[1:])
    b, c, h, w = x.shape
    out = make.array((b, c, h // size, w // size), x.ctype)
    _call(make, "pooled", x.ctype, (b, h, w, c, size), make.dense(x), out)
    return out, None


def largest_backward(make: Maker, args: Sequence[Any]) -> Placed:
    """aten.max_pool2d_with_indices_backward(gradient, x, kernel, stride, padding, dilation, rounded up, indices)."""
    gradient, x = args[:2]
    size = _window(*args[2:7])
    b, c, h, w = x.shape
    out = make.array(x.shape, x.ctype)
    _call(make, "pooled_gradient", x.ctype, (b, h, w, c, size), make.dense(gradient), make.dense(x), out)
    return out


IMAGES: dict[Any, Callable[[Any, Sequence[Any]], Any]] = {
    aten.convolution.default: convolution,
    aten.convolution_backward.default: convolution_backward,
    aten.max_pool2d_with_indices.default: largest,
    aten.max_pool2d_with_indices_backward.default: largest_backward,
}


def _checked(
    x: Value,
    weight: Value,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _: Sequence[int],
    groups: int,
) -> tuple[int, int]:
    """Stride and padding.

    Raises:
        NotFusible: another kind of convolution, or one for which the caches are too small.
    """
    plain = len(x.shape) == 4 and groups == 1 and not transposed and set(dilation) == {1}
    if not plain or len(set(stride)) > 1 or len(set(padding)) > 1 or x.ctype not in ("float", "double"):
        raise NotFusible("a convolution that is not the plain one of images")
    o, i, kh, kw = weight.shape
    kernel = kh * kw * max(i * _filled(o), o * _filled(i))
    image = (x.shape[2] + 2 * kh) * (x.shape[3] + 2 * kw) * max(i, _filled(o))
    if kernel > LARGEST_KERNEL or image > LARGEST_IMAGE:
        raise NotFusible(f"a convolution of {i} to {o} channels on {x.shape[2]} x {x.shape[3]} pixels")
    return stride[0], padding[0]


def _window(
    size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    rounded_up: bool = False,
) -> int:
    """The side of windows that do not overlap.

    Raises:
        NotFusible: they do, or there is more to them.
    """
    if len({*size, *stride}) > 1 or set(padding) != {0} or set(dilation) != {1} or rounded_up:
        raise NotFusible("pooling over windows that overlap or lie beyond the image")
    return size[0]


def _packed(make: Maker, weight: Value, *, turned: bool) -> Placed:
    o, i, kh, kw = weight.shape
    inside, outside = (o, i) if turned else (i, o)
    shape = (kh, kw, inside, _filled(outside))
    given, packed = make.place(weight), make.array(shape, weight.ctype, contiguous(shape))
    sizes = (o, i, kh, kw, *given.strides, _filled(outside))
    _call(make, "packed", weight.ctype, (*sizes, "true" if turned else "false"), given, packed)
    return packed


def _filled(channels: int) -> int:
    """Elements of whole vectors that hold so many."""
    return -(-channels // VECTOR) * VECTOR


def _call(make: Maker, name: str, kind: str, sizes: Sequence[Any], *arrays: Placed) -> None:
    words = ", ".join(map(str, sizes))
    make.lines.append(f"{name}<{kind}, {words}>({', '.join(array.start for array in arrays)});")
