"""Random numbers as a function of (seed, number of the draw, place in the tensor), by integer operations that `vmap` maps.

A run draws the same bits alone, in any batch and on any device. Of rand, randn and the like only the last bit may differ between
devices, as their logarithms and cosines do. Checked against theory in tests/test_keyed_random.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _signed(word: int, bits: int) -> int:
    """A word of so many bits as the signed number that PyTorch holds it in."""
    return word - (1 << bits) if word >> (bits - 1) else word


GOLDEN, FIRST, SECOND = (_signed(c, 32) for c in (0x9E3779B9, 0x7FEB352D, 0x846CA68B))  # lowbias32, C. Wellons 2018
DRAW = _signed(0x85EBCA77, 32), _signed(0xC2B2AE3D, 32)  # xxHash's primes: steps from one draw's key to the next's
GOLDEN64, FIRST64, SECOND64 = (  # splitmix64, Steele et al. 2014
    _signed(c, 64) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def folded(seeds: Tensor, number: int | Tensor) -> Tensor:
    """New seeds [...] from seeds [...] and a number, all int64: the streams of a step, or of a batch, of each run."""
    word = seeds + torch.as_tensor(number, device=seeds.device) * GOLDEN64
    word = (word ^ _right(word, 30, 64)) * FIRST64
    word = (word ^ _right(word, 27, 64)) * SECOND64
    return word ^ _right(word, 31, 64)


def _right(word: Tensor, by: int, bits: int) -> Tensor:
    """Shifted right with zeros from the left, where PyTorch repeats the sign."""
    return (word >> by) & ((1 << (bits - by)) - 1)


DIGITS = {torch.bfloat16: 8, torch.float16: 11}  # binary digits of shorter types; in others 24 are drawn


class KeyedStream:
    """The draws of one pass of one run, numbered in their order.

    Args:
        seed: int64 [].
    """

    def __init__(self, seed: Tensor) -> None:
        self._low, self._high = seed.to(torch.int32), (seed >> 32).to(torch.int32)
        self.drawn = 0

    def bits(self, shape: torch.Size) -> Tensor:
        """The next draw: int32 of this shape, each value as likely as any other."""
        number = self.drawn
        self.drawn += 1
        place = torch.arange(shape.numel(), dtype=torch.int32, device=self._low.device) * GOLDEN
        word = place.view(shape) + (self._low + _signed(number * DRAW[0] & 0xFFFFFFFF, 32))
        word = (word ^ _right(word, 16, 32)) * FIRST
        word = word ^ (self._high + _signed(number * DRAW[1] & 0xFFFFFFFF, 32))
        return (word ^ _right(word, 15, 32)) * SECOND

    def kept(self, shape: torch.Size, probability: float) -> Tensor:
        """True with this probability, to 2**-32."""
        bound = round(probability * 2**32) - 2**31
        drawn = self.bits(shape)
        return drawn < bound if bound < 2**31 else torch.ones_like(drawn, dtype=torch.bool)

    def uniform(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Multiples of 2**-24 in [0, 1), or of 2**-8 and 2**-11 in types that hold no more digits."""
        digits = DIGITS.get(dtype, 24)
        return _right(self.bits(shape), 32 - digits, 32).to(_computed_in(dtype)).mul(2.0**-digits).to(dtype)

    def normal(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Standard normal numbers up to 5.9 (Box and Muller 1958), two draws."""
        wide = _computed_in(dtype)
        radius = (-2 * (self.uniform(shape, wide) + 2.0**-25).log()).sqrt()
        return (radius * (2 * math.pi * self.uniform(shape, wide)).cos()).to(dtype)


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    """A floating type that holds 24 bits."""
    return dtype if dtype == torch.float64 else torch.float32
