"""Warnings worth having: a dead run, skipped updates, a learning rate that is too high or too low, uneven groups. N rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrscope.charts.text import number
from lrscope.mapping.votes import RULES, decline
from lrscope.monitor.regime import ROWS, Facts, windows
from lrscope.monitor.types import Alarm, Group, LiveRegime

Array = NDArray[np.float64]
UNEVEN = 10.0  # times
ROUNDED = 1e-6  # ours: rad; smaller turns are rounding of float32 weights, as at the end of a schedule
OFTEN = 0.02  # ours: a scaler that tries larger scales skips one update in 2,000
LEAST_SKIPPED = 20  # ours: a scale of 65,536 is halved down to 1 in sixteen steps at the start
EARLY = 0.1  # of the horizon: before, a slow start may only be a slow start


@dataclass(frozen=True)
class Situation:
    """What warnings look at.

    facts, regime: of the run since the learning rate last changed.
    gradient: [N] norms of the whole gradient; NaN where there was none.
    calls, skipped: [N].
    angles: mean angular update of each group of late; NaN where it did not move.
    horizon: updates that are planned; None: not known.
    lost: groups whose weights were not finite at the last measurement.
    """

    facts: Facts
    regime: LiveRegime
    gradient: Array
    calls: NDArray[np.int64]
    skipped: NDArray[np.int64]
    groups: Sequence[Group]
    angles: Sequence[float]
    horizon: int | None
    lost: Sequence[str] = ()


def alarms(seen: Situation) -> list[Alarm]:
    """All warnings that hold now."""
    found = [_dead(seen), _too_high(seen), _too_low(seen), _skipped(seen), _uneven(seen)]
    return [alarm for alarm in found if alarm is not None]


def _dead(seen: Situation) -> Alarm | None:
    loss, gradient = seen.facts.loss, seen.gradient
    remedy = "start again from a checkpoint before, with a lower learning rate"
    if len(loss) and not np.isfinite(loss[-1]):
        return Alarm("dead", f"the loss is {loss[-1]:g} at update {seen.facts.updates[-1]}: {remedy}")
    if seen.lost:
        more = f" and {len(seen.lost) - 1} more" if len(seen.lost) > 1 else ""
        return Alarm("dead", f"the weights of {seen.lost[0]}{more} are not finite any more: {remedy}")
    if len(gradient) >= 3 and (gradient[-3:] == 0).all():
        return Alarm(
            "dead",
            "all gradients are 0: nothing is learned any more, or zero_grad ran before monitor.step; lower the learning "
            "rate, or look for dead units",
        )
    if seen.regime.regime == "dead":
        remedy = "change the learning rate (too high, or so low that nothing moves), or check data and loss"
        return Alarm("dead", f"{seen.regime.reason}: {remedy}")
    return None


def _too_high(seen: Situation) -> Alarm | None:
    if seen.regime.regime != "3":
        return None
    remedy = "lower it, or raise it if group_angle says that nothing moves"
    return Alarm("too high", f"the learning rate is above the border 2|3, {seen.regime.reason}: {remedy}")


def _too_low(seen: Situation) -> Alarm | None:
    """At the present speed, kept up on the log scale, the loss stays above a quarter of that of guessing to the end. Where the
    run began says nothing of that: the start may be that of a trained network, which has little left to learn."""
    facts, horizon, chance = seen.facts, seen.horizon, seen.facts.chance
    if horizon is None or chance is None:
        return None
    if len(facts.loss) < ROWS or seen.regime.regime != "1" or (facts.loss <= 0).any():
        return None
    now = int(facts.updates[-1])
    if not EARLY * horizon <= now < horizon:
        return None
    curve = decline(windows(facts.loss)[None])
    quarter = max((now - int(facts.updates[0])) / 4, 1)
    end = float(np.exp(curve.level[0] - max(curve.drop[0], 0.0) * (horizon - now) / quarter))
    if end <= RULES.slow_share * chance:
        return None
    words = f"at this speed the loss would only come down to {number(end)} by update {horizon}"
    remedy = "raise the learning rate, or train longer"
    return Alarm("too low", f"{words}, where guessing has {number(chance)}: {remedy}")


def _skipped(seen: Situation) -> Alarm | None:
    late = slice(len(seen.calls) // 2, None)
    skipped, calls = int(seen.skipped[late].sum()), int(seen.calls[late].sum())
    if skipped < LEAST_SKIPPED or skipped < OFTEN * calls:
        return None
    remedy = "gradients overflow: clip them, lower the learning rate, or use bfloat16"
    return Alarm("skipped", f"the scaler skipped {skipped} of the last {calls} updates: {remedy}")


def _uneven(seen: Situation) -> Alarm | None:
    angles = np.array([a if g.compared else np.nan for a, g in zip(seen.angles, seen.groups, strict=True)])
    known = np.flatnonzero(np.isfinite(angles) & (angles > 0))
    if len(known) < 2:
        return None
    low, high = known[angles[known].argmin()], known[angles[known].argmax()]
    ratio = angles[high] / angles[low]
    if angles[high] <= UNEVEN * max(angles[low], ROUNDED):
        return None
    names = f"{seen.groups[high].name} turns {ratio:.0f} times as far in a step as {seen.groups[low].name}"
    return Alarm(
        "uneven", f"{names} ({angles[high]:.1e} and {angles[low]:.1e} rad): give them learning rates of their own"
    )
