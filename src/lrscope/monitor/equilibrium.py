"""Rotational equilibrium: how far a step turns weights in the long run, where a formula says so, and whether they are there.

Scale-invariant weights, decay and independent gradients balance at an angular update of sqrt(2 lr wd / (1 + mu)) for SGD with
momentum mu, and of sqrt(2 lr wd (1 - b1) / (1 + b1)) for AdamW (Wan et al. 2021; Kosson, Messmer and Jaggi 2024, Table 1).
N rows, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrscope.monitor.tracked import Tracked
from lrscope.monitor.types import Group

Array = NDArray[np.float64]
REACHED, ON_THE_WAY, NONE, UNKNOWN = "reached", "on the way", "none", "unknown"
HELD = "norm kept"
STEADY = 0.02  # ours: logs by which a norm may change from one half of the window to the other
NEAR = 1.3  # ours: factor around the formula; gradients are not independent
LEAST = 8  # rows


def expected_angle(kind: str, options: Mapping[str, Any]) -> float | None:
    """Root mean square of the angular update in equilibrium (radians), for scale-invariant weights under an optimizer of class
    `kind`; None where no formula is known or nothing decays."""
    lr, decay = float(options.get("lr", 0.0)), float(options.get("weight_decay", 0.0))
    if lr <= 0 or decay <= 0:
        return None
    if kind == "SGD" and not options.get("nesterov") and options.get("dampening", 0) == 0:
        return math.sqrt(2 * lr * decay / (1 + float(options.get("momentum", 0.0))))
    if kind == "AdamW" or (kind == "Adam" and options.get("decoupled_weight_decay")):
        b1 = float(options["betas"][0])
        return math.sqrt(2 * lr * decay * (1 - b1) / (1 + b1))
    return None


def expected(groups: Sequence[Group], found: Sequence[Tracked]) -> list[float | None]:
    """`expected_angle` of each group whose tensors are scale-invariant and have the same options."""
    by_name = {one.name: one for one in found}
    result: list[float | None] = []
    for group in groups:
        members = [by_name[name] for name in group.tensors if name in by_name]
        angles = {expected_angle(one.kind, one.options) for one in members} if group.invariant else set()
        result.append(angles.pop() if len(angles) == 1 else None)
    return result


def any_of(groups: Sequence[Group], found: Sequence[Tracked], said: Callable[[Tracked], bool]) -> list[bool]:
    """Of each group: is it so of one of its tensors that train?"""
    so = {one.name for one in found if said(one)}
    return [bool(so & set(group.tensors)) for group in groups]


def decays(one: Tracked) -> bool:
    """Has the tensor weight decay?"""
    return float(one.options.get("weight_decay", 0.0)) > 0


def states(
    groups: Sequence[Group],
    norm_NG: Array,
    angle_NG: Array,
    goal_G: Sequence[float | None],
    decays_G: Sequence[bool],
    held_G: Sequence[bool],
) -> list[str]:
    """Of each group: has its norm come to rest, and its angular update to where a formula says it goes?

    Args:
        groups: they have G entries, as what follows.
        norm_NG, angle_NG: since the learning rate last changed.
        goal_G: `expected`.
        decays_G: have they weight decay? Without, norms of scale-invariant weights only grow.
        held_G: does an optimizer keep their norms?
    """
    return [
        HELD if held_G[g] else _state(group, norm_NG[:, g], angle_NG[:, g], goal_G[g], decays_G[g])
        for g, group in enumerate(groups)
    ]


def _state(group: Group, norm: Array, angle: Array, goal: float | None, decaying: bool) -> str:
    known = np.isfinite(norm) & np.isfinite(angle) & (norm > 0)
    norm, angle = norm[known], angle[known]
    if group.invariant and not decaying:
        return NONE
    if len(norm) < 2 * LEAST:
        return UNKNOWN
    half = norm[len(norm) // 2 :]
    first, second = np.array_split(np.log(half), 2)
    if abs(float(second.mean() - first.mean())) > STEADY:
        return ON_THE_WAY
    if goal is None:
        return REACHED
    seen = float(np.sqrt(np.mean(angle[len(angle) // 2 :] ** 2)))
    return REACHED if max(seen / goal, goal / max(seen, 1e-300)) < NEAR else ON_THE_WAY
