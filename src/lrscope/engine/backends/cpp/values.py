"""Values while C++ is generated: what a function is given, arrays that lie somewhere, and formulas that are written where
they are used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Index = Sequence[str]
# Where the value of run r at step k begins, in values: one for each run, run and step, step, or for all.
PLACES = {"run": "r", "run and step": "(k * R + r)", "step": "k", "all": "0"}
CTYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.int64: "int64_t",
    torch.int32: "int32_t",
    torch.bool: "bool",
}


class NotFusible(Exception):
    """The function needs something that this generator does not write, or no library can be made of it; another way
    computes it."""

    def __init__(self, reason: str, function: str = "steps") -> None:
        super().__init__(reason)
        self.function = function


def ctype(dtype: torch.dtype) -> str:
    """The C++ type of a tensor's elements."""
    if dtype not in CTYPES:
        raise NotFusible(f"elements of type {dtype}")
    return CTYPES[dtype]


@dataclass(frozen=True)
class Input:
    """An argument of a traced function: an example, and where its values lie (`PLACES`).

    Args:
        gathered: the array holds all examples, and the rows of the first dimension are those that the index names.
        trial: used in the function's self-test instead of the example.
        apart: its numbers differ in scale, so the self-test takes each by itself.
    """

    name: str
    example: Tensor
    place: str
    gathered: bool = False
    trial: Tensor | None = None
    apart: bool = False


@dataclass(frozen=True)
class Placed:
    """An array in memory: element `index` lies at name[offset + sum(index * strides)]."""

    name: str
    shape: tuple[int, ...]
    ctype: str
    strides: tuple[int, ...]
    offset: int = 0

    def at(self, index: Index) -> str:
        """The element as an expression."""
        terms = [i if s == 1 else f"{i} * {s}" for i, s in zip(index, self.strides, strict=True) if s and i != "0"]
        if self.offset:
            terms.insert(0, str(self.offset))
        return f"{self.name}[{' + '.join(terms) or '0'}]"

    @property
    def start(self) -> str:
        """A pointer to the first element."""
        return f"{self.name} + {self.offset}" if self.offset else self.name


@dataclass(frozen=True)
class Formula:
    """An array that is computed element by element where it is read. A `constant` one has one value everywhere."""

    shape: tuple[int, ...]
    ctype: str
    at: Callable[[Index], str]
    constant: bool = False


Value = Placed | Formula


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def nesting(axes: int, *, images: bool) -> tuple[int, ...]:
    """The axes of a local array from the one with the largest stride to that with the smallest. Four are those of images
    [B, C, H, W] where there are any; their channels of a pixel lie side by side: loops over channels are as long as vectors, or
    several of them."""
    return (0, 2, 3, 1) if images and axes == 4 else tuple(range(axes))


def strides_of(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """The strides of an array without gaps whose axes lie in this order (`nesting`)."""
    strides = dict(zip(order, contiguous([shape[axis] for axis in order]), strict=True))
    return tuple(strides[axis] for axis in range(len(shape)))


def lies_as(value: Placed, strides: Sequence[int]) -> bool:
    """Does it have these strides where it has more than one element along an axis?"""
    return all(n == 1 or have == want for n, have, want in zip(value.shape, value.strides, strides, strict=True))


def broadcast(value: Value, index: Index) -> str:
    """The element of `value` that a broadcast result reads at `index`."""
    tail = list(index)[len(index) - len(value.shape) :]
    return value.at(["0" if n == 1 else i for i, n in zip(tail, value.shape, strict=True)])


def seen_as(value: Placed, shape: tuple[int, ...]) -> Placed:
    """The same memory seen in another shape.

    Raises:
        RuntimeError: that needs a copy.
    """
    seen = torch.empty_strided(value.shape, value.strides, device="meta").view(shape)
    return Placed(value.name, tuple(seen.shape), value.ctype, tuple(seen.stride()), value.offset)
