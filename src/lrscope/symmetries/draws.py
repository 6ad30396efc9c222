"""Slopes of many random functions of the outputs, gathered until more of them say nothing new.

M draws, P tensors, L legs of a wire, K sampled channels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lrscope.symmetries.legs import Leg, sampled
from lrscope.symmetries.null_space import null_space, rank, sparse_basis
from lrscope.symmetries.probe import Probe, Slopes

Array = NDArray[np.float64]
K = TypeVar("K")
SURPLUS = 8  # ours: draws beyond the rank
FIRST = 4  # ours: draws that say the sizes of all tensors, which take several times as long
A_BATCH = 8  # ours: draws from one forward pass at most
DEAD = 1e-10  # ours, of the largest, at least 1, which is the size that slopes have: gradients that are rounding


@dataclass
class Draws:
    """What was drawn.

    wires: the legs by their length.
    slope, slopes: by draw.
    size, sizes: the same by tensor and leg, of the first draws in which it has an effect.
    surplus: how many draws beyond the rank.
    """

    names: list[str]
    wires: Mapping[int, Sequence[Leg]]
    slope: list[list[float]] = field(default_factory=list)
    size: dict[str, list[float]] = field(default_factory=dict)
    slopes: dict[Leg, list[Array]] = field(default_factory=dict)
    sizes: dict[Leg, list[Array]] = field(default_factory=dict)
    surplus: int = SURPLUS

    @property
    def legs(self) -> list[Leg]:
        """All legs."""
        return [leg for wire in self.wires.values() for leg in wire]

    def add(self, slopes: Slopes, sized: Collection[str]) -> None:
        """Enter a draw, with the sizes of some tensors and of their legs."""
        self.slope.append([slopes.slope.get(name, 0.0) for name in self.names])
        for name in sized:
            self.size.setdefault(name, []).append(slopes.size.get(name, 0.0))
        for length, wire in self.wires.items():
            places = sampled(length)
            for leg in wire:
                _enter(self.slopes, leg, slopes.slopes, places)
                if leg.tensor in sized:
                    _enter(self.sizes, leg, slopes.sizes, places)

    def extend(self, probe: Probe, seed: int) -> None:
        """Draw a batch, and on until there are `surplus` draws more than the rank, with a new batch for every few."""
        target = len(self.slope) + FIRST
        while len(self.slope) < target:
            number, sized = seed + len(self.slope), self._unsettled()
            count = min(target - len(self.slope), A_BATCH)
            batch = probe.drawn(number)
            for slopes in probe.slopes(
                batch, training=probe.training, seed=number, count=count, legs=self.legs, sized=sized
            ):
                self.add(slopes, sized)
            alive = self.alive
            scale = self.scale_P[alive]
            target = rank(np.asarray(self.slope)[:, alive] / scale) + self.surplus if alive.any() else self.surplus

    def _unsettled(self) -> set[str]:
        """Tensors whose sizes are still asked for: all in the first draws, then those of which a part has had no effect."""
        if len(self.slope) < FIRST:
            return set(self.names)
        dead = {name for name, alive in zip(self.names, self.alive, strict=True) if not alive}
        return dead | {leg.tensor for leg in self.dead_legs()}

    @property
    def scale_P(self) -> Array:
        """The size of each tensor's slopes where nothing cancels."""
        return np.asarray([_rms(self.size[name]) for name in self.names])

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which tensors have an effect on the outputs?"""
        scale = self.scale_P
        return np.asarray(scale > DEAD * scale.max(initial=1.0))

    def dead_legs(self) -> list[Leg]:
        """Legs without effect that are parts of tensors that have one."""
        live = {name for name, alive in zip(self.names, self.alive, strict=True) if alive}
        scale = self._leg_scales()
        largest = max([1.0, *scale.values()])
        return [leg for leg in self.legs if leg.tensor in live and scale[leg] <= DEAD * largest]

    def tensors(self, place: Mapping[str, float]) -> list[dict[str, float]]:
        """Powers of tensors that keep the outputs: a basis of all, those without effect left out."""
        alive = np.flatnonzero(self.alive)
        if not len(alive):
            return []
        names = [self.names[i] for i in alive]
        null = null_space(np.asarray(self.slope)[:, alive], self.scale_P[alive])
        basis = sparse_basis(null, np.asarray([place[name] for name in names]))
        return [_powers(names, vector) for vector in basis]

    def channels(self, place: Mapping[str, float]) -> list[dict[Leg, float]]:
        """Powers of legs that keep the outputs in the sampled channels, wire by wire."""
        scale, dead = self._leg_scales(), set(self.dead_legs())
        live = {name for name, alive in zip(self.names, self.alive, strict=True) if alive}
        found: list[dict[Leg, float]] = []
        for wire in self.wires.values():
            legs = [leg for leg in wire if leg.tensor in live and leg not in dead]
            if legs:
                rows = np.stack([np.concatenate(self.slopes[leg]) for leg in legs], axis=1)  # [M K, L]
                null = null_space(_short(rows), np.asarray([scale[leg] for leg in legs]))
                basis = sparse_basis(null, np.asarray([place[leg.tensor] for leg in legs]))
                found += [_powers(legs, vector) for vector in basis]
        return found

    def _leg_scales(self) -> dict[Leg, float]:
        return {leg: _rms(np.concatenate(sizes)) for leg, sizes in self.sizes.items()}


def _enter(kept: dict[Leg, list[Array]], leg: Leg, found: Mapping[Leg, Tensor], places: Tensor) -> None:
    kept.setdefault(leg, []).append(found[leg][places].numpy() if leg in found else np.zeros(len(places)))


def _rms(values: Sequence[float] | Array) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _short(rows_MC: Array) -> Array:
    """As many rows as columns at most, with the same null space."""
    return np.asarray(np.linalg.qr(rows_MC, mode="r")) if len(rows_MC) > rows_MC.shape[1] else rows_MC


def _powers(keys: Sequence[K], vector: Array) -> dict[K, float]:
    return {key: float(power) for key, power in zip(keys, vector, strict=True) if power}
