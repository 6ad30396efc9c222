"""Generated convolutions and pooling against PyTorch's, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lrscope.engine.backends.cpp import arrays
from lrscope.engine.backends.cpp.values import NotFusible
from test_fused import agree, by_generator, drawn
from tiny_tasks import compiler_needed

pytestmark = compiler_needed
Function = Callable[[Tensor, Tensor, Tensor], Tensor]
# Images, channels inside and outside, height and width, kernel, stride, padding, whether with biases. Among them: fewer channels
# than a vector holds, some more than one or two hold, one pixel, one channel, sides that a stride leaves a rest of, paddings
# beyond the kernel's half, and kernels that are larger than the image.
LAYERS: dict[str, tuple[int, int, int, int, int, tuple[int, int], int, int, bool]] = {
    "usual": (3, 8, 16, 6, 5, (3, 3), 1, 1, False),
    "few channels": (2, 3, 5, 7, 7, (3, 3), 1, 1, True),
    "one channel": (2, 1, 4, 5, 6, (3, 3), 1, 1, False),
    "to one channel": (2, 4, 1, 5, 6, (3, 3), 1, 1, True),
    "more than a vector": (2, 5, 20, 4, 4, (3, 3), 1, 1, False),
    "more than two": (1, 33, 35, 3, 3, (3, 3), 1, 1, False),
    "stride": (2, 4, 8, 8, 7, (3, 3), 2, 1, False),
    "stride of three": (2, 2, 6, 9, 8, (3, 2), 3, 0, True),
    "shortcut": (2, 8, 16, 7, 7, (1, 1), 2, 0, False),
    "one pixel": (4, 6, 7, 1, 1, (3, 3), 1, 1, True),
    "wide padding": (2, 3, 4, 3, 3, (3, 3), 1, 2, False),
    "padding beyond the kernel": (2, 3, 4, 3, 3, (1, 1), 1, 2, False),
    "larger than the image": (2, 2, 3, 4, 2, (5, 3), 1, 2, False),
    "long kernel": (2, 3, 4, 6, 6, (1, 5), 1, 0, False),
}


def of_layer(name: str) -> tuple[Function, Tensor, Tensor]:
    """A function of (w, x, y) that returns a layer's output and the gradients of a sum over it; w and x."""
    b, i, o, h, w, kernel, stride, padding, biased = LAYERS[name]
    inside, sizes = (i, h, w), [o * i * math.prod(kernel), o if biased else 0]

    def function(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        flat, bias = weights[: sizes[0]], weights[sizes[0] : sum(sizes)]
        with torch.enable_grad():
            given = [x.reshape(b, *inside), flat.reshape(o, i, *kernel), *([bias] if biased else [])]
            given = [one.detach().requires_grad_() for one in given]
            out = functional.conv2d(given[0], given[1], given[2] if biased else None, stride, padding)
            gradients = torch.autograd.grad((out * out.detach().cos()).sum(), given)
        return torch.cat([one.reshape(-1) for one in (out.detach(), *gradients)])

    x = drawn(b, math.prod(inside), key=name)
    out = functional.conv2d(x.view(b, *inside), torch.zeros(o, i, *kernel, dtype=x.dtype), None, stride, padding)
    return function, drawn(out.numel() + x.numel() + sum(sizes), key=name), x


@pytest.mark.parametrize("name", LAYERS)
def test_convolutions_and_their_gradients(name: str) -> None:
    function, w, x = of_layer(name)
    found = by_generator(function, w, x, torch.arange(len(x)))
    torch.testing.assert_close(found, function(w, x, x), rtol=1e-10, atol=1e-11)  # sums of some hundred products


@pytest.mark.parametrize(("side", "window"), [((4, 6), 2), ((5, 7), 2), ((7, 6), 3), ((2, 2), 2), ((3, 3), 1)])
def test_the_largest_of_windows(side: tuple[int, int], window: int) -> None:
    """Equal values among them, and a rest that no window covers."""
    shape = (2, 5, *side)

    def function(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            given = (x.reshape(shape).clamp(min=0.0)).detach().requires_grad_()
            out = functional.max_pool2d(given, window)
            (gradient,) = torch.autograd.grad((out * w[: out.numel()].view_as(out)).sum(), given)
        return torch.cat([out.detach().reshape(-1), gradient.reshape(-1)])

    x = drawn(2, math.prod(shape) // 2)
    agree(function, drawn(math.prod(shape) + 10 * (side[0] // window) * (side[1] // window)), x)


def test_not_a_number_is_the_largest() -> None:
    x = drawn(2, 16)
    x[0, 5], x[1, 0] = torch.nan, torch.nan

    def function(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return functional.max_pool2d(x.reshape(2, 1, 4, 4), 2).reshape(-1)

    found = by_generator(function, drawn(8), x, torch.arange(2))
    torch.testing.assert_close(found, function(x, x, x), equal_nan=True)


IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "batch norm": lambda x: functional.batch_norm(x, None, None, x[0, :, 0, 0], x[1, :, 0, 1], training=True),
    "mean over all": lambda x: x * x.mean(),
    "mean over pixels": lambda x: x - x.mean((2, 3), keepdim=True),
    "mean over channels": lambda x: x - x.mean(1, keepdim=True),
    "sum over images": lambda x: x.sum(0, keepdim=True) * x,
    "largest of an image": lambda x: x + x.amax((2, 3))[..., None, None],
    "largest of a pixel": lambda x: x + x.amax(1)[:, None],
    "turned": lambda x: x.permute(0, 3, 2, 1).reshape(x.shape) + x,
    "flattened": lambda x: x.flatten(1).exp().view_as(x) * x,
    "joined": lambda x: torch.cat([x[:, :2], x[:, 2:] * 2], 1),
    "one place of an axis": lambda x: x.select_scatter(x[:, 0] * 3, 1, 2),
}


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_done_to_images(name: str) -> None:
    """Four axes lie in another order in generated code."""
    shape = (3, 4, 2, 5)
    agree(lambda w, x, y: IMAGES[name](x.reshape(shape)).reshape(-1), drawn(math.prod(shape)), drawn(3, 40))


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "dilation": (lambda x: functional.conv2d(x, x[:2, :, :2, :2], dilation=2), "not the plain one of images"),
    "groups": (lambda x: functional.conv2d(x, x[:4, :2, :2, :2], groups=2), "not the plain one of images"),
    "transposed": (lambda x: functional.conv_transpose2d(x, x[:4, :2, :2, :2]), "not the plain one of images"),
    "two strides": (lambda x: functional.conv2d(x, x[:2, :, :2, :2], stride=(1, 2)), "not the plain one of images"),
    "one axis": (lambda x: functional.conv1d(x[0], x[0, :, :, :2]), "not the plain one of images"),
    "overlapping windows": (lambda x: functional.max_pool2d(x, 3, 1), "overlap or lie beyond"),
    "windows beyond the image": (lambda x: functional.max_pool2d(x, 2, 2, 1), "overlap or lie beyond"),
    "windows with gaps": (lambda x: functional.max_pool2d(x, 2, 2, dilation=2), "overlap or lie beyond"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_generated_is_refused_by_name(name: str) -> None:
    function, reason = REFUSED[name]
    x = drawn(4, 100)
    size = function(x.view(4, 4, 5, 5)).numel()
    with pytest.raises(NotFusible, match=reason):
        by_generator(lambda w, x, y: function(x.reshape(4, 4, 5, 5)).reshape(-1), drawn(size), x, torch.arange(4))


@pytest.mark.parametrize(
    "limits", [{"LONGEST": 1, "PART": 2}, {"LARGEST_LOCALS": 1}, {"LONGEST": 1, "LARGEST_LOCALS": 1}]
)
def test_neither_parts_nor_the_arena_change_a_bit(limits: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    function, w, x = of_layer("stride")
    y = torch.arange(len(x))
    before = by_generator(function, w, x, y)
    for name, value in limits.items():
        monkeypatch.setattr(arrays, name, value)
    assert torch.equal(by_generator(function, w, x, y), before)


def test_arrays_that_no_cache_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    function, w, x = of_layer("usual")
    monkeypatch.setattr(arrays, "LARGEST_ARENA", 1000)
    with pytest.raises(NotFusible, match="bytes of intermediate values"):
        by_generator(function, w, x, torch.arange(len(x)))
