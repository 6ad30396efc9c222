"""What is found of a learning order, as plain values and as arrays for each run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import xarray as xr

from lrscope.charts.text import number, plural
from lrscope.errors import LrscopeError, shown

LISTED = 12  # ours: groups of a learning rate that the text lists


@dataclass(frozen=True, kw_only=True)
class GroupTime:
    """When a group is learned at one learning rate: over the runs that were trained there.

    Attributes:
        epoch, step: median time at which the accuracy reaches the level; None where half of the runs or more do not.
        low, high: in epochs, the 95% interval over runs (their range, with fewer than 5), never closer than the logged
            times around it; `high` is None where it is not reached.
        reached, kept: how many of the `runs` reach the level, and how many of them are at it at their end too.
        rank: mean place in the order, from 1 on; groups that are not reached share the last places. None without runs.
        rank_low, rank_high: its 95% interval (range, with fewer than 5 runs).
    """

    lr: float
    group: str
    epoch: float | None
    step: float | None
    low: float | None
    high: float | None
    reached: int
    kept: int
    runs: int
    rank: float | None
    rank_low: float | None
    rank_high: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Kendall's tau-b between the orders at two learning rates in the same run, mean over runs, with its interval.

    At one learning rate with itself it is that between different seeds, mean over their pairs. None where it is
    undetermined: nothing was reached, or there is one seed only. It is of those of the `runs` trained at both rates that are
    `ordered`: a run that brings all groups to the level at the same time, or none, has no order.
    """

    first: float
    second: float
    tau: float | None
    low: float | None
    high: float | None
    ordered: int
    runs: int


@dataclass(frozen=True, kw_only=True)
class LearningOrder:
    """All that `learning_order` found. `str()` is the table that the command line prints.

    Attributes:
        of, segment, level: groups of what, in which segment of training, and the accuracy that counts as learned.
        groups: names, in the result's order.
        times: by learning rate, the groups of each from the first to the last.
        agreements: of each pair of learning rates, and of each with itself.
        runs: for each run (lr, data_seed, seed, group): `epoch` (inf: not reached, NaN: not trained), `low` and `high`, the
            logged times around it, `kept`, `rank`; and `tau` (lr, other_lr, data_seed, seed), which for equal rates is the
            mean over the other seeds.
        notes: what to know before reading the numbers.
    """

    of: str
    segment: str
    level: float
    groups: tuple[str, ...]
    times: tuple[GroupTime, ...]
    agreements: tuple[Agreement, ...]
    runs: xr.Dataset
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `of`, `segment`, `level`, `groups`, `times`, `agreements`, `notes` (null where something is not reached
        or undetermined)."""
        plain = {name: getattr(self, name) for name in ("of", "segment", "level")}
        rows = {name: [asdict(row) for row in getattr(self, name)] for name in ("times", "agreements")}
        return {**plain, "groups": list(self.groups), **rows, "notes": list(self.notes)}

    def between(self, first: float, second: float) -> Agreement:
        """The agreement of two learning rates of the result.

        Raises:
            LrscopeError: one of them is none of the result's.
        """
        known = dict.fromkeys(row.lr for row in self.times)
        for lr in (first, second):
            if lr not in known:
                raise LrscopeError(
                    f"between: {shown(lr)} is no learning rate of the result: name one of {shown(list(known))}"
                )
        return next(a for a in self.agreements if {a.first, a.second} == {first, second})

    @property
    def reference(self) -> float:
        """The learning rate that others are compared with in text and chart: the lowest of those with an order in most runs."""
        most = {row.lr: max(a.ordered for a in self.agreements if row.lr in (a.first, a.second)) for row in self.times}
        return min(most, key=lambda lr: (-most[lr], lr))

    def __str__(self) -> str:
        wide = max(5, *(len(name) for name in self.groups))
        lines = [f"{self.of}, {self.segment}: epochs until their accuracy reaches {100 * self.level:g}%"]
        for lr in dict.fromkeys(row.lr for row in self.times):
            rows = [row for row in self.times if row.lr == lr]
            lines += ["", f"learning rate {lr:.3g}: {plural(rows[0].runs, 'run')}; {self._agreements(lr)}"]
            lines += [f"  {row_text(row, wide)}" for row in rows[:LISTED]]
            lines += [f"  and {len(rows) - LISTED} more: see --json"] if len(rows) > LISTED else []
        return "\n".join([*lines, *([""] if self.notes else []), *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        """The order as a notebook shows it."""
        from lrscope.notebook import order_html

        return order_html(self)

    def _agreements(self, lr: float) -> str:
        first, words = self.reference, [f"between seeds {tau_text(self.between(lr, lr))}"]
        words += [f"with learning rate {first:.3g} {tau_text(self.between(first, lr))}"] if lr != first else []
        return "tau of the order " + ", ".join(words)


def time_text(row: GroupTime) -> str:
    """`2.31 (2 to 3)`, or that it is not reached, and until when that is known."""
    if row.epoch is None:
        return "not reached" if row.low is None else f"not reached (not before {number(row.low)})"
    end = "not reached" if row.high is None else number(row.high)
    return f"{number(row.epoch)} ({number(row.low or 0.0)} to {end})"


def tau_text(found: Agreement) -> str:
    """`0.82 [0.60, 0.90]`, of how many runs where others have no order, or undetermined."""
    if found.tau is None or found.low is None or found.high is None:
        return "undetermined"
    some = f" in {found.ordered} of {plural(found.runs, 'run')}" if found.ordered < found.runs else ""
    if found.ordered == 1:
        return f"{found.tau:.2f}{some or ' in one run'}"
    return f"{found.tau:.2f} [{found.low:.2f}, {found.high:.2f}]{some}"


def row_text(row: GroupTime, wide: int) -> str:
    """A line of the table."""
    rank = "  -  " if row.rank is None else f"{row.rank:5.1f}"
    lost = f", {row.reached - row.kept} lost again" if row.kept < row.reached else ""
    return f"{rank}  {row.group:<{wide}}  {time_text(row):<28}  reached in {row.reached} of {row.runs}{lost}".rstrip()
