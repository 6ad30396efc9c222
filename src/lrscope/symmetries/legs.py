"""Legs: the slices of a tensor along one of its axes, such as the output channels of a convolution.

Where a channel of one layer meets the same channel of another, the slices of both can be rescaled against each other.
A wire is all legs of one length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

FUSED = (2, 3)  # ours: queries, keys and values in one tensor, or keys and values
CHANNELS = 8  # ours: channels of a wire that are looked at first
PIECE = 1 << 15  # ours: entries of a piece, so that both factors and both products stay in a cache of 1 MiB
KERNEL = 4  # tensors of so many axes have kernels behind the first two


@dataclass(frozen=True, order=True)
class Leg:
    """`length` slices of a tensor along an axis, each `block` wide, from `start` on."""

    tensor: str
    axis: int
    length: int
    start: int = 0
    block: int = 1

    @property
    def stop(self) -> int:
        """Where the last slice ends."""
        return self.start + self.length * self.block

    def sums(self, along: Tensor) -> Tensor:
        """The sum of each slice [length], from sums along the axis."""
        return along[self.start : self.stop].reshape(self.length, self.block).sum(1)

    def sums_at(self, first: Tensor, second: Tensor, places: Tensor) -> Tensor:
        """The sums of the products of two tensors' entries [length]: those of the slices at `places`, all others NaN."""
        there = self.entries(places).to(first.device)
        products = first.index_select(self.axis, there) * second.index_select(self.axis, there)
        return self.at(_along(products, self.axis), places)

    def entries(self, places: Tensor) -> Tensor:
        """Where along the axis the slices at `places` lie, one after the other."""
        return (self.start + self.block * places[:, None] + torch.arange(self.block)).flatten()

    def at(self, along: Tensor, places: Tensor) -> Tensor:
        """The sum of each slice at `places` [length], from sums along the axis at their `entries`; all others NaN."""
        found = along.new_full((self.length,), torch.nan)
        found[places.to(along.device)] = along.view(-1, self.block).sum(1)
        return found

    def scale(self, tensor: Tensor, factors: Tensor) -> None:
        """Multiply each slice by its factor [length], in place."""
        shape = [1] * tensor.dim()
        shape[self.axis] = -1
        tensor.narrow(self.axis, self.start, self.stop - self.start).mul_(
            factors.repeat_interleave(self.block).view(shape)
        )

    def is_whole(self, shape: tuple[int, ...]) -> bool:
        """Is it all of the tensor?"""
        return self.stop - self.start == shape[self.axis]


def axes(shape: tuple[int, ...]) -> list[int]:
    """The axes of a tensor that may be channels: not those of kernels, nor any of length 1."""
    among = range(len(shape)) if len(shape) < KERNEL else (0, 1)
    return [axis for axis in among if shape[axis] > 1]


def sums_along(first: Tensor, second: Tensor, axes: Iterable[int]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """By axis the sums over all others of the products of two tensors' entries, and of the products' squares.

    Taken piece by piece: products of a large tensor would leave the processor's cache, and its memory is the slowest part.
    """
    if not first.dim():
        first, second = first[None], second[None]
    axes = sorted(axes)
    rows = max(1, PIECE // max(1, first[:1].numel()))
    sums, squares = ({axis: first.new_zeros(first.shape[axis]) for axis in axes} for _ in range(2))
    for start in range(0, len(first), rows):
        products = first[start : start + rows] * second[start : start + rows]
        for found, entries in ((sums, products), (squares, products.square())):
            others = [axis for axis in range(entries.dim()) if axis not in axes]
            left = entries.sum(others, keepdim=True) if others else entries
            for axis, total in found.items():
                (total[start : start + rows] if axis == 0 else total).add_(_along(left, axis))
    return sums, squares


def _along(entries: Tensor, axis: int) -> Tensor:
    others = [i for i in range(entries.dim()) if i != axis]
    return entries.sum(others) if others else entries


def wires(shapes: Mapping[str, tuple[int, ...]]) -> dict[int, list[Leg]]:
    """All legs of tensors of these shapes, by their length."""
    found: dict[int, list[Leg]] = {}
    for leg in [leg for name in shapes for leg in _whole_legs(name, shapes[name])]:
        found.setdefault(leg.length, []).append(leg)
    for leg in [*_fused_legs(shapes, set(found)), *_flat_legs(shapes, set(found))]:
        found[leg.length].append(leg)
    return found


def _whole_legs(name: str, shape: tuple[int, ...]) -> list[Leg]:
    return [Leg(name, axis, shape[axis]) for axis in axes(shape)]


def _fused_legs(shapes: Mapping[str, tuple[int, ...]], lengths: set[int]) -> list[Leg]:
    """Parts of matrices that are two or three squares beside each other, and of the biases beside them."""
    found = []
    for name, shape in shapes.items():
        if len(shape) == 2 and (split := _squares(shape)) is not None:
            axis, count, length = split
            found += [Leg(name, axis, length, i * length) for i in range(count)]
            found += [
                Leg(n, 0, length, i * length) for n in _beside(name, shapes, count * length) for i in range(count)
            ]
    return [leg for leg in dict.fromkeys(found) if leg.length in lengths]


def _squares(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The axis, the number and the side of the squares that a matrix consists of."""
    long, short = max(shape), min(shape)
    return (shape.index(long), long // short, short) if short > 1 and long in [n * short for n in FUSED] else None


def _beside(name: str, shapes: Mapping[str, tuple[int, ...]], length: int) -> list[str]:
    """Vectors of a length in the module of a tensor."""
    module = name.rpartition(".")[0]
    return [n for n, shape in shapes.items() if shape == (length,) and n.rpartition(".")[0] == module]


def _flat_legs(shapes: Mapping[str, tuple[int, ...]], lengths: set[int]) -> list[Leg]:
    """Inputs of matrices behind a flattening: each channel is a block of them. Nothing else is as long as these."""
    made = {shape[0] for shape in shapes.values() if shape} | {
        shape[-1] for shape in shapes.values() if len(shape) == 1
    }
    found = []
    for name, shape in shapes.items():
        if len(shape) == 2 and shape[1] not in made:
            blocks = [n for n in lengths & made if 1 < n < shape[1] and shape[1] % n == 0]
            found += [Leg(name, 1, n, 0, shape[1] // n) for n in blocks]
    return found


@cache
def sampled(length: int, count: int = CHANNELS) -> Tensor:
    """Up to `count` places below a length, the same in every call; not to be written to."""
    order = torch.randperm(length, generator=torch.Generator().manual_seed(length))
    return order[:count].sort().values
