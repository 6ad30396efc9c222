"""The smallest sets of weight tensors that are scale-invariant: what a sweep on a sphere needs of `find_symmetries`.

Slopes, null space and verification are the same. Left out is what a sphere does not ask for: channels, powers other than 1,
and eval mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrscope.errors import LrscopeError
from lrscope.symmetries.batches import Forward
from lrscope.symmetries.draws import DEAD, Draws
from lrscope.symmetries.probe import FEW, Probe
from lrscope.symmetries.rescaling import Candidate, kept

ROUNDS = 3  # ours: searches, each with more draws where the one before found what rescaling refutes
SURPLUS = 2  # ours: draws beyond the rank; what too few of them invent, rescaling refutes
MOST = 48  # ours: tensors among which sets are looked for though all together are none; each may cost a backward pass

Names = tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """The tensors that train, each in one place.

    groups: sets that may be multiplied by any factor, each by its own, as rescaling has shown.
    without_effect: tensors on which the outputs do not depend.
    others: what changes the outputs when it is multiplied by one factor.
    """

    groups: tuple[Names, ...]
    without_effect: Names
    others: Names


class Examples(Probe):
    """A probe whose batches are other examples of x [N, ...], which the model is known to take."""

    def fresh(self, seed: int, *, larger: bool = False) -> Tensor:
        """A few of the examples, drawn without replacement; a larger batch has twice as many. They are in their own order: a
        stream that is read anew begins again for an earlier one."""
        order = torch.randperm(len(self.batch), generator=torch.Generator().manual_seed(seed))
        x: Tensor = self.batch[order[: FEW * (2 if larger else 1)].sort().values]
        return x

    def only(self, names: Iterable[str]) -> None:
        """From now on slopes of these tensors alone: other gradients need not be computed."""
        asked = set(names)
        for name, weight in self.weights.items():
            weight.requires_grad_(name in asked)

    def _settle(self) -> None:
        """Nothing is left to find out: batches are as in training, and running statistics do not matter in train mode."""


def partition(model: nn.Module, x: Tensor, forward: Forward) -> Partition:
    """Divide a model's trainable tensors into sets that are scale-invariant by themselves, as small as can be found.

    Args:
        model: as it trains; it stays as it is.
        x: examples [N, ...] of which batches are made.
        forward: how the model is called with them, in float64.

    Raises:
        LrscopeError: slopes that are not finite, or outputs without gradients.
    """
    probe = Examples(model, x, forward, training=True)
    alone, dead, moving = _first_look(probe)
    held = _search(probe, [*alone, *dead], moving)
    there = {name for one in held for name in one}
    rest = tuple(name for name in probe.weights if name not in there)
    joint = bool(rest) and bool(kept(probe, [_together(rest)], training=True))
    groups = [names for names in held if names not in dead] + ([rest] if joint else [])
    place = {name: i for i, name in enumerate(probe.weights)}
    return Partition(
        groups=tuple(sorted(groups, key=lambda names: place[names[0]])),
        without_effect=tuple(name for names in held if names in dead for name in names),
        others=() if joint else rest,
    )


def _first_look(probe: Examples) -> tuple[list[Names], list[Names], list[str]]:
    """By one random function of the outputs: tensors whose size does not matter, to first order; those without effect; all
    others."""
    slopes = next(probe.slopes(probe.fresh(0), training=True, seed=0, count=1, legs=()))
    if not all(torch.isfinite(torch.tensor(size)) for size in slopes.size.values()):
        raise LrscopeError(
            "model: its gradients on the first examples are not finite: initialise it with smaller weights, or scale the data"
        )
    largest = max([1.0, *slopes.size.values()])  # slopes are about 1
    dead: list[Names] = [(name,) for name in probe.weights if slopes.size.get(name, 0.0) <= DEAD * largest]
    flat: list[Names] = [(name,) for name in probe.weights if (name,) not in dead and _together([name]).is_flat(slopes)]
    return flat, dead, [name for name in probe.weights if (name,) not in dead and (name,) not in flat]


def _search(probe: Examples, known: Sequence[Names], moving: Sequence[str]) -> list[Names]:
    """The sets that hold: those known from a first look, and those that tensors make up which move the outputs by themselves.
    Among very many they are looked for only if all together are one, without which a network cannot be on a sphere."""
    if len(moving) > MOST and not kept(probe, [_together(moving)], training=True):
        moving = []
    probe.only(moving)
    draws = Draws(list(moving), {}, surplus=SURPLUS)
    held: list[Names] = []
    for seed in range(1, 1 + ROUNDS):
        asked = [*known, *_joint(probe, draws, seed)]
        by_candidate = {_together(names): names for names in asked}
        held = [by_candidate[one] for one in kept(probe, list(by_candidate), training=True)]
        if len(held) == len(asked) or not moving:
            break
    return held


def _joint(probe: Examples, draws: Draws, seed: int) -> list[Names]:
    """Sets with no tensor in common whose members all have power 1, the smallest first."""
    if not draws.names:
        return []
    draws.extend(probe, seed)
    place = {name: float(i) for i, name in enumerate(draws.names)}
    sets = [tuple(powers) for powers in draws.tensors(place) if set(powers.values()) == {1.0}]
    found: list[Names] = []
    for names in sorted(sets, key=len):
        if not {name for one in found for name in one} & set(names):
            found.append(names)
    return found


def _together(names: Iterable[str]) -> Candidate:
    """All multiplied by one factor."""
    return Candidate(dict.fromkeys(names, 1.0))
