"""Do the outputs stay when weights are rescaled? Tried with random factors on new batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lrscope.symmetries.legs import Leg
from lrscope.symmetries.probe import Probe, Slopes

TOLERANCE = 1e-7  # ours, relative: rounding of a deep net stays below 1e-10, what is no symmetry is above 1e-4
LARGEST = 2.0  # ours: factors lie between its inverse and it
BATCHES = 2  # ours: batches on which a symmetry is looked at in each mode, and as many others on which it is tried
SEEDS = 1 << 20  # where the seeds of these batches begin: others than those of the search


@dataclass(frozen=True, eq=False)
class Candidate:
    """Powers by tensor, or by leg, whose channels then have factors of their own."""

    powers: Mapping[Any, float]  # by a tensor's name, or by Leg

    @property
    def length(self) -> int | None:
        """The number of channels."""
        first = next(iter(self.powers))
        return first.length if isinstance(first, Leg) else None

    @property
    def legs(self) -> list[Leg]:
        """The legs whose channels have factors of their own."""
        return [key for key in self.powers if isinstance(key, Leg)]

    def is_flat(self, slopes: Slopes) -> bool:
        """Does a function of the outputs not change to first order, in each channel?"""
        total: Any = 0.0
        size: Any = 0.0
        for key, power in self.powers.items():
            slope, scale = (slopes.slopes, slopes.sizes) if isinstance(key, Leg) else (slopes.slope, slopes.size)
            total = total + power * scale_of(slope, key)
            size = size + abs(power) * scale_of(scale, key)
        return bool((torch.as_tensor(total).abs() <= TOLERANCE * (torch.as_tensor(size).max() + 1e-300)).all())

    def is_dead(self, slopes: Slopes) -> bool:
        """Does no entry of it change a function of the outputs, to first order?"""
        largest = max([1.0, *slopes.size.values()])  # slopes are about 1
        sizes = [scale_of(slopes.sizes if isinstance(key, Leg) else slopes.size, key) for key in self.powers]
        return all(bool((torch.as_tensor(size) <= TOLERANCE * largest).all()) for size in sizes)


@dataclass(frozen=True)
class Candidates:
    """What may keep the outputs: powers of tensors (a basis), powers of legs, and what has no effect on them."""

    tensors: list[Candidate]
    channels: list[Candidate]
    dead: list[Candidate]

    @property
    def all(self) -> list[Candidate]:
        """Of all three kinds."""
        return [*self.tensors, *self.channels, *self.dead]

    def among(self, left: Iterable[Candidate]) -> Candidates:
        """Those that are left."""
        there = set(left)
        kinds = (self.tensors, self.channels, self.dead)
        return Candidates(*([one for one in kind if one in there] for kind in kinds))


def scale_of(values: dict[Any, Any], key: Any) -> Any:
    """What is known of a tensor or a leg; 0 where no gradient reached it."""
    return values.get(key, 0.0)


def holding(probe: Probe, asked: Candidates, *, training: bool) -> Candidates:
    """Those that hold in a mode. One look at gradients for all of them, then one trial by rescaling."""
    return asked.among(kept(probe, flat(probe, asked, training=training).all, training=training))


def flat(probe: Probe, asked: Candidates, *, training: bool) -> Candidates:
    """Those that pass the first look, by the gradients of random functions on new batches."""
    legs = sorted({leg for one in asked.all for leg in one.legs})
    for seed in range(SEEDS, SEEDS + BATCHES):
        batch = probe.fresh(seed, larger=True)
        for slopes in probe.slopes(batch, training=training, seed=seed, count=1, legs=legs):
            moving = [one for one in (*asked.tensors, *asked.channels) if one.is_flat(slopes)]
            asked = asked.among([*moving, *(one for one in asked.dead if one.is_dead(slopes))])
    return asked


def kept(probe: Probe, found: Sequence[Candidate], *, training: bool) -> list[Candidate]:
    """Those that keep the outputs when weights are rescaled by random factors, and by their inverses.

    All are tried at once, each with factors of its own; where that changes the outputs, halves are tried, down to one.
    """
    if not found:
        return []
    batches = [(seed, probe.fresh(seed, larger=True)) for seed in range(SEEDS + BATCHES, SEEDS + 2 * BATCHES)]
    known = [probe.outputs(batch, training=training, seed=seed) for seed, batch in batches]

    def stays(some: Sequence[Candidate]) -> bool:
        for i, ((seed, batch), before) in enumerate(zip(batches, known, strict=True)):
            with rescaled(probe, some, up=bool(i % 2)):
                after = probe.outputs(batch, training=training, seed=seed)
            if not all(_same(a, b) for a, b in zip(before, after, strict=True)):
                return False
        return True

    return _passing(list(found), stays)


def _passing(found: list[Candidate], stays: Callable[[Sequence[Candidate]], bool]) -> list[Candidate]:
    if stays(found):
        return found
    half = len(found) // 2
    return [*_passing(found[:half], stays), *_passing(found[half:], stays)] if half else []


def _same(before: Tensor, after: Tensor) -> bool:
    return bool((after - before).norm() <= TOLERANCE * before.norm())


@contextmanager
def rescaled(probe: Probe, found: Sequence[Candidate], *, up: bool) -> Iterator[None]:
    """Inside, the weights are rescaled along all of these at once, by random factors; without `up` by their inverses."""
    generator = torch.Generator().manual_seed(len(found))
    names = sorted({key.tensor if isinstance(key, Leg) else key for one in found for key in one.powers})
    before = {name: probe.weights[name].detach().clone() for name in names}
    try:
        with torch.no_grad():
            for one in found:
                _rescale(probe, one, generator, 1.0 if up else -1.0)
        yield
    finally:
        with torch.no_grad():
            for name, value in before.items():
                probe.weights[name].copy_(value)


def _rescale(probe: Probe, one: Candidate, generator: torch.Generator, sign: float) -> None:
    spread = 2 * torch.rand(one.length or 1, generator=generator, dtype=torch.float64) - 1
    factors = LARGEST ** (spread.sign() * (0.5 + 0.5 * spread.abs()))  # none near 1
    for key, power in one.powers.items():
        weight = probe.weights[key.tensor if isinstance(key, Leg) else key]
        by = factors.to(weight.device) ** (sign * power)
        if isinstance(key, Leg):
            key.scale(weight, by)
        else:
            weight.mul_(by[0])
