"""From powers that were verified to symmetries with names: nothing twice, channels beside the tensors that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lrscope.symmetries.legs import Leg
from lrscope.symmetries.probe import Probe
from lrscope.symmetries.rescaling import Candidate, Candidates
from lrscope.symmetries.types import GROUP, INVARIANT, KINDS, NO_EFFECT, RESCALING, Part, Symmetry

Key = frozenset[tuple[str, float]]


def described(probe: Probe, held: Candidates, other: Candidates) -> tuple[Symmetry, ...]:
    """All symmetries in the order of their kinds, and in each as the tensors are first used.

    Args:
        probe: knows shapes and order.
        held: what holds in the probe's mode.
        other: which of these hold in the other mode.
    """
    both = {id(one) for one in (*other.tensors, *other.channels, *other.dead)}
    channels = _without_parts(held.channels, probe.shapes)
    sums = {_key(_summed(one)): one for one in reversed(channels) if _is_whole(one, probe.shapes)}
    known = {_key(one.powers): one for one in held.tensors}
    found = [_symmetry(one, sums.get(key), probe, both) for key, one in known.items()]
    merged = {id(one) for key, one in sums.items() if key in known}
    found += [_symmetry(one, one, probe, both) for one in channels if id(one) not in merged]
    found += [_symmetry(one, one if one.legs else None, probe, both, dead=True) for one in held.dead]
    place = {name: i for i, name in enumerate(probe.order)}
    return tuple(sorted(found, key=lambda one: (KINDS.index(one.kind), place.get(one.parts[0].tensor, len(place)))))


def _without_parts(channels: Sequence[Candidate], shapes: Mapping[str, tuple[int, ...]]) -> list[Candidate]:
    """Without those of a part of channels whose others are there as well."""
    whole = {_leg_key(one) for one in channels if _is_whole(one, shapes)}
    return [one for one in channels if _is_whole(one, shapes) or _leg_key(one) not in whole]


def _is_whole(one: Candidate, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    return all(leg.is_whole(shapes[leg.tensor]) for leg in one.legs)


def _leg_key(one: Candidate) -> frozenset[tuple[str, int, float]]:
    return frozenset((leg.tensor, leg.axis, one.powers[leg]) for leg in one.legs)


def _summed(one: Candidate) -> dict[str, float]:
    """The powers of tensors when all channels have one factor."""
    found: dict[str, float] = {}
    for leg in one.legs:
        found[leg.tensor] = found.get(leg.tensor, 0.0) + one.powers[leg]
    return found


def _key(powers: Mapping[Any, float]) -> Key:
    """The same for powers and their opposites."""
    there = {name: power for name, power in powers.items() if power}
    sign = there[min(there)] if there else 1.0
    return frozenset((name, power / sign) for name, power in there.items())


def _symmetry(
    one: Candidate, channels: Candidate | None, probe: Probe, both: set[int], *, dead: bool = False
) -> Symmetry:
    """With the channels of `channels`, if there are any."""
    powers = one.powers if channels is None else channels.powers
    parts = tuple(_part(key, power, probe.shapes) for key, power in powers.items())
    own, other = True, id(one) in both and (channels is None or id(channels) in both)
    return Symmetry(
        kind=NO_EFFECT if dead else _kind(parts),
        parts=parts,
        channels=None if dead or channels is None else channels.length,
        train=own if probe.training else other,
        eval=other if probe.training else own,
    )


def _part(key: str | Leg, power: float, shapes: Mapping[str, tuple[int, ...]]) -> Part:
    if isinstance(key, str):
        return Part(key, _number(power))
    whole = key.is_whole(shapes[key.tensor])
    return Part(key.tensor, _number(power), key.axis, *((None, None) if whole else (key.start, key.stop)))


def _number(power: float) -> float:
    return int(power) if power == int(power) else round(power, 9)


def _kind(parts: Sequence[Part]) -> str:
    if any(part.power < 0 for part in parts):
        return RESCALING
    return INVARIANT if len(parts) == 1 else GROUP
