"""The regime of a run in progress: the rules of the map, as far as they apply to one unfinished run.

What the map compares with other learning rates cannot be known here. So 1 and 2 are told from the run's own curve since the
learning rate last changed, 3 from the loss of guessing if given, and what neither says is undetermined. N rows, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrscope.charts.text import number
from lrscope.mapping.votes import RULES, Decline, decline
from lrscope.monitor.stationarity import LEAST, Trend, stationary_for, trend
from lrscope.monitor.types import LiveRegime

Array = NDArray[np.float64]
CONSTANT = 1.25  # ours: a learning rate that changes by less counts as constant; the level of regime 2 follows it
WINDOWS = 64  # ours: as many as a map's run has epochs
EQUAL = 1.1  # ours: steps of groups are equalised below; digits: 1.3 to 1.5 in regime 1, 1.00 +- 0.02 in regime 2
CONVERGING = 3.4  # tolerances: 1/t decay falls by 0.34 between the third and the fourth quarter (mapping/votes.py)
# The same from the first quarter on. Ours: two thirds, what 1/t decay seems to fall that began a quarter of the curve earlier.
CONVERGING_LONG = CONVERGING * 2 / 3
ROWS = 2 * LEAST  # of which the second half is tested
# Ours: updates at one learning rate until regimes 2 and 3 are told. On digits 37 of 83 such labels that were given earlier were
# wrong: a loss that pauses, or has not begun to fall, looks like them.
SETTLED = 320


@dataclass(frozen=True)
class Facts:
    """What is known of a run in progress.

    loss: [N], since the learning rate last changed.
    updates: [N], their numbers.
    first: loss of the first row of the run.
    chance: loss of the best constant prediction; None: not known.
    spread: largest over smallest angular update of scale-invariant groups; None with fewer than two.
    invariant: are all weights that train and matter scale-invariant? Only such a run has a regime 3.
    gains: have the averaged weights a loss that is lower by 10%?
    changing: does the learning rate change?
    silent: measurements without a loss, which `loss` leaves out.
    spacing: updates from one measurement to the next.
    finer: what gives more measurements, in words; empty where there can be no more.
    lost: are some weights not finite?
    """

    loss: Array
    updates: NDArray[np.int64]
    first: float
    chance: float | None = None
    spread: float | None = None
    invariant: bool = False
    gains: bool = False
    changing: bool = False
    silent: int = 0
    spacing: int = 10
    finer: str = "a smaller every= gives more"
    lost: bool = False

    @property
    def guess(self) -> float:
        """The loss of guessing: where it is not known that at the start."""
        return self.first if self.chance is None else self.chance


def constant_since(lr_NG: Array) -> int:
    """The first row from which on no group's learning rate differs by more than a factor CONSTANT from what it is now."""
    if not len(lr_NG):
        return 0
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(lr_NG)
        apart = np.abs(logs - logs[-1])
    other = (np.where(np.isnan(apart), 0.0, apart) > np.log(CONSTANT)).any(1)
    return int(np.flatnonzero(other)[-1]) + 1 if other.any() else 0


def live_regime(facts: Facts) -> LiveRegime:
    """The regime, or that it cannot be told and why."""
    if len(facts.loss) and not np.isfinite(facts.loss[-1]):
        return _unknown("the loss is not finite")
    if facts.lost:
        return _unknown("the weights are not finite")
    if len(facts.loss) < ROWS:
        return _unknown(_too_few(facts))
    if not np.isfinite(facts.loss).all():
        return _unknown("some losses are not finite")
    curve = _curve(facts)
    return _converging(curve) or _once_settled(_of_trend(curve), facts)


def _once_settled(found: LiveRegime, facts: Facts) -> LiveRegime:
    """Regimes 2 and 3 are told after SETTLED updates only."""
    if found.regime in ("1", "?") or _span(facts, 0) >= SETTLED:
        return found
    name = "dead" if found.regime == "dead" else f"regime {found.regime}"
    return _unknown(f"{found.reason}, which is called {name} only after {SETTLED} updates at one learning rate")


@dataclass(frozen=True)
class _Curve:
    """Facts with what the rules look at: the trend of the second half, that from the first quarter on, and what the map's rules
    see, None where losses are not all above 0."""

    facts: Facts
    half: Trend
    long: Trend
    seen: Decline | None

    @property
    def since(self) -> str:
        """Over the second half, in words."""
        return f"within {_span(self.facts, len(self.facts.loss) // 2)} updates"

    @property
    def nearly_all(self) -> bool:
        """Is nearly all of the loss gone? By its log level, jumps cut off, as the map tells where runs get to."""
        return self.seen is not None and float(np.exp(self.seen.level[0])) < RULES.least_learned * self.facts.guess

    @property
    def far(self) -> bool:
        """Has the loss not got anywhere yet, as the map tells which runs are slow? Only where the loss of guessing is known: the
        start may be that of a trained network."""
        chance = self.facts.chance
        return self.seen is not None and chance is not None and self.half.level > RULES.slow_share * chance

    @property
    def falls_long(self) -> bool:
        """Does a fall that matters show from the first quarter on, and seem to go on in the second half?"""
        shown = self.long.low > self.long.tolerance
        return self.seen is not None and shown and self.half.fall > self.half.tolerance

    @property
    def flat(self) -> bool:
        """Does nothing fall from the first quarter on, as a converging run would?"""
        shown = self.long.high < CONVERGING_LONG * self.long.tolerance
        return self.seen is not None and shown and not self.long.falling

    @property
    def at_guessing(self) -> bool:
        """Is the loss no better than guessing, and still so three eighths of the curve's length beyond its end, at its present
        speed? Two falls of a quarter each, from the middle of the last quarter, lead there. Not one that comes down from the
        first quarter on: too low a learning rate may begin so, and moves."""
        if self.half.falling and self.long.falling:
            return False
        lowest = min(self.half.level, self.half.ahead(2))
        return bool(lowest >= (1 - RULES.least_learned) * self.facts.guess)

    @property
    def new_low(self) -> bool:
        """Is the last quarter below the second too, as the map's rule wants it to be below the third? A loss that has memory
        swings, and comes down from a rise without getting anywhere."""
        assert self.seen is not None
        rows = windows(self.facts.loss)
        second = np.median(np.log(rows[len(rows) // 4 : len(rows) // 2]))
        drop = float(second - self.seen.level[0])
        return drop > max(RULES.falling_logs, RULES.falling_errors * float(self.seen.error[0]))


def _curve(facts: Facts) -> _Curve:
    loss, scale = facts.loss, facts.guess - float(facts.loss[-1])
    quarter = len(loss) // 4
    half, long = trend(loss[len(loss) // 2 :], scale), trend(loss[quarter:], scale, before=quarter)
    assert half is not None
    assert long is not None
    return _Curve(facts, half, long, decline(windows(loss)[None]) if (loss > 0).all() else None)


def windows(loss_N: Array) -> Array:
    """Means of at most WINDOWS stretches of equal length."""
    count = min(WINDOWS, len(loss_N))
    length = len(loss_N) // count
    found: Array = loss_N[len(loss_N) - count * length :].reshape(count, length).mean(1)
    return found


def _converging(curve: _Curve) -> LiveRegime | None:
    """Regime 1: the loss falls as the map's rule wants it, goes down steadily, or is next to nothing."""
    facts, half, seen = curve.facts, curve.half, curve.seen
    if seen is None:
        return None
    span = _span(facts, len(facts.loss) // 2)
    drop = 1 - np.exp(-float(seen.drop[0]))
    if half.level <= RULES.converged_share * facts.guess:
        return LiveRegime("1", True, f"the loss has come down to {number(half.level)}")
    if seen.falls[0] and curve.new_low:
        return LiveRegime(
            "1", half.falling, f"loss falls, by {drop:.0%} within {span // 2} updates, at {number(half.level)}"
        )
    if seen.creeps[0]:
        return LiveRegime("1", False, f"loss goes down slowly but steadily, at {number(half.level)}")
    return None


def _of_trend(curve: _Curve) -> LiveRegime:
    """Regime 3 or 2, or undetermined."""
    facts, half, level = curve.facts, curve.half, number(curve.half.level)
    if curve.at_guessing:
        return _no_better_than_guessing(facts, level)
    if half.falling:
        return _falling(curve, level)
    if half.rising and half.high > -half.tolerance:
        return LiveRegime("2", False, f"loss no longer falls, it creeps up, at {level}")
    if half.rising:
        return _unknown(f"the loss rises {curve.since}, at {level}")
    if not half.stationary:
        return _noisy(curve, level)
    found = _equilibrium(facts, level)
    if curve.nearly_all and not found.sure:
        return _unknown(f"{found.reason}, which may be as low as it gets")
    return found


def _falling(curve: _Curve, level: str) -> LiveRegime:
    """It falls beyond noise, but not as the map's rule wants it."""
    if curve.nearly_all:
        return LiveRegime("1", False, f"the loss has come down to {level} and still falls")
    if curve.seen is not None and curve.seen.falls[0]:
        return _unknown(f"the loss falls {curve.since}, but only comes back from a rise, at {level}")
    return _unknown(f"the loss falls {curve.since}, but less than in converging runs, at {level}")


def _noisy(curve: _Curve, level: str) -> LiveRegime:
    """No fall beyond noise, but noise would hide one of 10%. The fall of a converging run is larger, and larger still from the
    first quarter of the curve on. There it may be seen; but a loss that has only come down there, and does not seem to fall any
    more, is not told. Where too low a learning rate keeps a loss high, the curve is smooth: one that is high and hides its trend
    jumps about."""
    if curve.nearly_all:
        return LiveRegime("1", False, f"the loss has come down to {level} and jumps about there")
    if curve.falls_long:
        return LiveRegime("1", False, f"the loss falls beyond noise from the first quarter of the curve on, at {level}")
    if curve.half.high < CONVERGING * curve.half.tolerance or curve.flat:
        words = f"the loss, {level}, shows no fall {curve.since}; that of a converging run would show"
        return LiveRegime("2", False, words)
    if curve.far and not curve.long.falling:
        return LiveRegime("2", False, f"the loss jumps about at {level}, above a quarter of that of guessing")
    return _unknown(f"the loss is too noisy at {level} to tell a fall {curve.since}")


def _equilibrium(facts: Facts, level: str) -> LiveRegime:
    rows = stationary_for(facts.loss, facts.guess - float(facts.loss[-1]))
    parts = [f"loss stationary for {_span(facts, len(facts.loss) - rows)} updates at {level}"]
    equal = facts.spread is not None and facts.spread < EQUAL
    parts += ["steps equalised"] if equal else []
    return LiveRegime("2", equal or facts.gains, ", ".join(parts))


def _no_better_than_guessing(facts: Facts, level: str) -> LiveRegime:
    """Without `chance` the start may be that of a trained network, or the learning rate so low that nothing moves."""
    if facts.chance is None:
        start = f"a loss of {level} is no better than at the start ({number(facts.first)})"
        return _unknown(f"{start}: pass chance= to tell a dead run")
    words = f"a loss of {level} is no better than guessing ({number(facts.chance)})"
    return LiveRegime("3" if facts.invariant else "dead", True, words)


def _span(facts: Facts, row: int) -> int:
    """Updates from a row to the last."""
    before = facts.updates[row - 1] if row else facts.updates[0] - (facts.updates[1] - facts.updates[0])
    return int(facts.updates[-1] - before)


def _too_few(facts: Facts) -> str:
    if facts.silent and not len(facts.loss):
        return "no loss was passed to step"
    count, unit = len(facts.loss), "update" if facts.spacing == 1 else "measurement"
    more = f" ({facts.finer})" if facts.finer else ""
    if not facts.changing:
        return f"{count} of {ROWS} {unit}s so far{more}"
    taken = f"{count} {unit}{'s' * (count != 1)} with about the present one"
    return f"the learning rate is changing: {taken}, and {ROWS} are needed{more}"


def _unknown(reason: str) -> LiveRegime:
    return LiveRegime("?", False, reason)
