"""What a record says: regime, equilibrium and warnings, from arrays alone. N rows, of the record or of the curve; G groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lrscope.charts.text import number
from lrscope.monitor.alarms import Situation, alarms
from lrscope.monitor.curve import Curve
from lrscope.monitor.equilibrium import states
from lrscope.monitor.history import Record, mean_of_known
from lrscope.monitor.quantities import GROUPED, SCALARS
from lrscope.monitor.regime import ROWS, Facts, constant_since, live_regime
from lrscope.monitor.types import Alarm, Group, LiveRegime, LookAhead

Array = NDArray[np.float64]
SHOWN = 10  # ours: updates whose mean loss the line says
BACK = 8  # ours: rows between two looks at what was told before


@dataclass(frozen=True)
class Readings:
    """A record with what the monitor knows beside it.

    curve: losses and learning rates; those of the record, or finer ones while the run is young.
    goals: angular updates in equilibrium, where a formula gives them.
    decays, held: has the group weight decay, does its optimizer keep its norm?
    first: loss of the first measurement, which a long record no longer holds by itself.
    updates: so far; the last ones may not be measured.
    before: the last regime that was told before the curve became coarser, and when.
    spacing: updates from one row of the curve to the next.
    finer: what gives more measurements, in words; empty where there can be no more.
    since_last: calls and skipped updates since the last measurement.
    whole: is everything that trains and matters scale-invariant?
    """

    record: Record
    curve: Curve
    groups: Sequence[Group]
    goals: Sequence[float | None]
    decays: Sequence[bool]
    held: Sequence[bool]
    first: float
    whole: bool
    chance: float | None
    horizon: int | None
    ahead: LookAhead | None
    updates: int
    before: LiveRegime | None
    spacing: int
    finer: str
    since_last: tuple[int, int]

    def scalar(self, name: str) -> Array:
        """A quantity of the run [N]."""
        place = [s.name for s in SCALARS].index(name)
        return self.record.scalars[:, place] if len(self.record.scalars) else np.zeros(0)

    def grouped(self, name: str) -> Array:
        """A quantity of groups [N, G]."""
        place = [s.name for s in GROUPED].index(name)
        return self.record.groups[:, place] if len(self.record.groups) else np.zeros((0, len(self.groups)))

    @cached_property
    def since(self) -> int:
        """The row of the curve from which on the learning rate is about what it is now."""
        return constant_since(self.curve.lr)

    @property
    def measured_since(self) -> int:
        """The same of the record."""
        return int(np.searchsorted(self.record.update, self.curve.update[self.since])) if self.since else 0

    @cached_property
    def facts(self) -> Facts:
        """For the rules of regimes."""
        told = self.curve.told[self.since :]
        return Facts(
            loss=self.curve.loss[self.since :][told],
            updates=self.curve.update[self.since :][told],
            first=self.first,
            chance=self.chance,
            spread=self.spread,
            invariant=self.whole,
            gains=self.decay is not None and self.decay.gains,
            changing=self.since > 0,
            silent=int((~told).sum()),
            spacing=self.spacing,
            finer=self.finer,
            lost=bool(self.lost),
        )

    @property
    def decay(self) -> LookAhead | None:
        """The look ahead, if it was made since the learning rate last changed."""
        changed = int(self.curve.update[self.since]) if self.since else 0
        return None if self.ahead is not None and self.ahead.update < changed else self.ahead

    @property
    def outdated_words(self) -> str | None:
        """The look ahead in words where it is of another learning rate."""
        if self.ahead is None or self.decay is not None:
            return None
        return f"{self.ahead}, before the learning rate changed"

    @cached_property
    def angles(self) -> list[float]:
        """Mean angular update of each group [G] over the last quarter since the learning rate changed."""
        rows = self.grouped("group_angle")[self.measured_since :]
        late = rows[3 * len(rows) // 4 :]
        return [float(x) for x in mean_of_known(late)] if len(late) else [np.nan] * len(self.groups)

    @cached_property
    def lost(self) -> list[str]:
        """Groups whose weights were not finite at the last measurement. A loss need not show it: some trainers log none that is
        not finite. Groups that have come since then have no learning rate in it."""
        norm, lr = (self.grouped(name)[-1:] for name in ("group_norm", "group_lr"))
        lost = np.isfinite(lr) & ~np.isfinite(norm)
        return [self.groups[int(g)].name for g in np.flatnonzero(lost)] if len(lost) else []

    @property
    def spread(self) -> float | None:
        """Largest over smallest angular update of the scale-invariant groups."""
        known = [a for a, g in zip(self.angles, self.groups, strict=True) if g.invariant and g.compared and a > 0]
        return max(known) / min(known) if len(known) > 1 else None

    @cached_property
    def regime(self) -> LiveRegime:
        """The regime now, with what a decay would give. Of a run that learns nothing the average says nothing."""
        found = live_regime(self.facts)
        return replace(found, update=self.updates, decay=None if found.regime in ("3", "dead") else self.decay)

    @cached_property
    def earlier(self) -> LiveRegime | None:
        """Where the learning rate changes too much for a regime now: the last one that there was."""
        if self.regime.regime != "?" or not self.since:
            return None
        lr = np.unique(self.curve.lr, axis=1)
        row = len(lr) - 1
        while row >= ROWS:
            if row - constant_since(lr[:row]) < ROWS:
                row -= 1
                continue
            curve = self.curve.until(row)
            now = int(curve.update[-1])
            record = self.record.until(int((self.record.update <= now).sum()))
            then = replace(self, record=record, curve=curve, ahead=None, updates=now).regime
            if then.regime != "?":
                return then
            row -= BACK
        return self.before

    @property
    def earlier_words(self) -> str | None:
        """The same in words."""
        return None if self.earlier is None else f"at update {self.earlier.update} it was {self.earlier}"

    @cached_property
    def equilibrium(self) -> list[str]:
        """Of each group: `reached`, `on the way`, `none` (norms only grow), `norm kept` or `unknown`."""
        norm, angle = (self.grouped(name)[self.measured_since :] for name in ("group_norm", "group_angle"))
        return states(self.groups, norm, angle, self.goals, self.decays, self.held)

    @cached_property
    def alarms(self) -> list[Alarm]:
        """The warnings that hold now."""
        return alarms(
            Situation(
                facts=self.facts,
                regime=self.regime,
                gradient=self.scalar("grad_norm"),
                calls=np.append(self.record.calls, self.since_last[0]),
                skipped=np.append(self.record.skipped, self.since_last[1]),
                groups=self.groups,
                angles=self.angles,
                horizon=self.horizon,
                lost=self.lost,
            )
        )

    @property
    def line(self) -> str:
        """The run in one line."""
        if not len(self.curve.update):
            return "no measurement yet"
        late = self.curve.loss[-max(SHOWN // self.spacing, 1) :]
        told = self.curve.told[-len(late) :]
        loss = f"loss {number(float(late[told].mean()))}" if told[-1] else "no loss"
        words = [f"update {self.curve.update[-1]}: {loss}", str(self.regime)]
        words += [] if self.earlier_words is None else [self.earlier_words]
        words += [] if self.outdated_words is None else [self.outdated_words]
        return "; ".join(words)

    def dataset(self) -> xr.Dataset:
        """Everything measured, by name, with units."""
        coords = {
            "update": self.record.update,
            "group": [group.name for group in self.groups],
            "invariant": ("group", [_word(group.invariant) for group in self.groups]),
        }
        found = {s.name: ("update", self.scalar(s.name)) for s in SCALARS}
        table = {s.name: s for s in (*SCALARS, *GROUPED)}
        data = xr.Dataset(
            {
                **found,
                **{s.name: (("update", "group"), self.grouped(s.name)) for s in GROUPED},
                "calls": ("update", self.record.calls),
                "skipped": ("update", self.record.skipped),
            },
            coords=coords,
        )
        data.attrs = {"regime": str(self.regime), **self.regime.decay_values}
        for name, statistic in table.items():
            data[name].attrs = {"units": statistic.unit, "long_name": statistic.meaning}
        data["calls"].attrs = {"units": "1", "long_name": "calls of step since the row before"}
        data["skipped"].attrs = {"units": "1", "long_name": "updates that the scaler skipped since the row before"}
        return data


def _word(invariant: bool | None) -> str:
    return "unknown" if invariant is None else "yes" if invariant else "no"


def curve_of(record: Record) -> Curve:
    """The curve that a record has: a row for each measurement."""
    places = [[s.name for s in table].index(name) for table, name in ((SCALARS, "train_loss"), (GROUPED, "group_lr"))]
    known = len(record.update) > 0
    return Curve(
        update=record.update,
        told=record.losses > 0,
        loss=record.scalars[:, places[0]] if known else np.zeros(0),
        lr=record.groups[:, places[1]] if known else np.zeros((0, record.groups.shape[-1])),
    )
