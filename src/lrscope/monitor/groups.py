"""Groups of weights: scale-invariant ones as `find_symmetries` found them, other tensors one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lrscope.monitor.tracked import Tracked
from lrscope.monitor.types import Group
from lrscope.symmetries.types import GROUP, INVARIANT, NO_EFFECT, Symmetries, Symmetry


def groups_of(found: Sequence[Tracked], symmetries: Symmetries | None, before: Sequence[Group] = ()) -> list[Group]:
    """A partition of the tensors that train. Groups that were there `before` keep their places."""
    trains = {one.name: one.weight.dim() for one in found}
    told = [] if before else _invariant(trains, symmetries)
    groups = [*before, *told]
    placed = {name for group in groups for name in group.tensors}
    without = _without_effect(symmetries)
    for name, dims in trains.items():
        if name not in placed:
            matters = name not in without
            invariant = None if symmetries is None else False
            groups.append(Group(name, (name,), invariant, compared=matters and dims > 1, matters=matters))
    return groups


def _invariant(trains: Mapping[str, int], symmetries: Symmetries | None) -> list[Group]:
    """Joint groups, the largest first, then single tensors; each tensor in one of them."""
    found: list[Group] = []
    placed: set[str] = set()
    for one in sorted(symmetries or (), key=lambda s: -len(s.parts)):
        names = tuple(part.tensor for part in one.parts)
        if _is_sphere(one) and set(names) <= set(trains) and not placed & set(names):
            placed |= set(names)
            found.append(Group(_name(names), names, invariant=True, compared=max(trains[n] for n in names) > 1))
    order = list(trains)
    return sorted(found, key=lambda group: order.index(group.tensors[0]))


def _is_sphere(one: Symmetry) -> bool:
    """Are whole tensors scale-invariant together in training, with one power?"""
    whole = all(part.start is None for part in one.parts)
    return one.train and one.kind in (INVARIANT, GROUP) and whole and len({part.power for part in one.parts}) == 1


def _without_effect(symmetries: Symmetries | None) -> set[str]:
    dead = [one for one in symmetries or () if one.train and one.kind == NO_EFFECT]
    return {part.tensor for one in dead for part in one.parts if part.start is None}


def _name(tensors: Sequence[str]) -> str:
    rest = len(tensors) - 1
    return tensors[0] if not rest else f"{tensors[0]} and {rest} other{'s' if rest > 1 else ''}"
