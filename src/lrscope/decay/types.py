"""What is found of the time of the decay, as plain values and as arrays for each run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import xarray as xr

from lrscope.charts.text import number, plural

BUDGETS = {
    "total": "all end at epoch {end}",
    "cooldown": "each ends {length} epochs after its decay",
    "own": "each has a length of its own",
}


@dataclass(frozen=True, kw_only=True)
class DecayTime:
    """One time of decay, over the runs that ended there.

    Attributes:
        at, end: when the rate falls and when training ends, in epochs since pre-training began.
        value, low, high: mean quality at the end with its 95% interval (Student); None without three units.
        before: the same of the main path at the decay; None where it is not logged.
        train_loss: mean at the end.
        gain, gain_low, gain_high: what waiting from here for the latest time gains, seed by seed, in the unit of the margin.
        runs, lost: how many ended finite, and how many did not.
    """

    at: float
    end: float
    value: float | None
    low: float | None
    high: float | None
    before: float | None
    train_loss: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    runs: int
    lost: int


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """Where waiting with the decay stops to pay, in epochs.

    Attributes:
        at: the first time from which waiting for any later one gains at most the margin, by means. None where only the latest
            time is left, and where it is undetermined.
        low: the last time that is shown to be too early (95%); None where none is.
        high: the first one that is shown to be late enough; None where none is.
        reason: why it is undetermined, else empty.
    """

    at: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"undetermined: {self.reason}"
        where = "not reached before the latest time" if self.at is None else f"epoch {number(self.at)}"
        early = "no time is shown to be too early" if self.low is None else f"{number(self.low)} is too early"
        late = "none is shown to be late enough" if self.high is None else f"{number(self.high)} is late enough"
        return f"{where} (95%: {early}, {late})"


@dataclass(frozen=True, kw_only=True)
class DecayCurve:
    """The quality at the end against the time of the decay. `str()` is the table that the command line prints.

    Attributes:
        branch, lr, point: of the result: the branch, the main path's learning rate, and the place on the branch's other axes.
        quality: the variable, such as `test_loss`.
        budget: `total`: all times end at the same epoch; `cooldown`: all have the same length after the decay; `own`: neither.
        margin, unit: gains up to the margin do not count; of the margin and of gains.
        times: from the earliest to the latest.
        saturation: where waiting stops to pay.
        runs: for each run (decay_at, data_seed, seed) `value` and `train_loss` at the end, and `before`, of the main path at the
            decay.
        notes: what to know before reading the numbers.
    """

    branch: str
    lr: float
    quality: str
    budget: str
    margin: float
    unit: str
    times: tuple[DecayTime, ...]
    saturation: Saturation
    runs: xr.Dataset
    point: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: all but `runs` (null where something is not known)."""
        plain = {name: getattr(self, name) for name in ("branch", "lr", "quality", "budget", "margin", "unit")}
        rows = {"times": [asdict(row) for row in self.times], "saturation": asdict(self.saturation)}
        return {**plain, "point": dict(self.point), **rows, "notes": list(self.notes)}

    @property
    def words(self) -> str:
        """`test loss`."""
        return self.quality.replace("_", " ")

    @property
    def title(self) -> str:
        """Branch, learning rate and point: `decay, learning rate 0.1, decay_factor 0.1`."""
        place = [f"{axis} {number(v) if isinstance(v, float) else v}" for axis, v in self.point.items()]
        return ", ".join([self.branch, f"learning rate {self.lr:.3g}", *place])

    @property
    def heading(self) -> str:
        """What the table is of."""
        last = self.times[-1]
        budget = BUDGETS[self.budget].format(end=number(last.end), length=number(last.end - last.at))
        return f"{self.title}: {self.words} at the end; {budget}"

    @property
    def verdict(self) -> str:
        """Where it saturates, and what counts."""
        return f"saturation: {self.saturation}; gains up to {number(self.margin)} {self.unit} do not count"

    @property
    def rows(self) -> list[list[str]]:
        """The table, its head first."""
        gains = f"waiting gains ({self.unit.partition(' ')[0]})"
        head = ["decay at", self.words, "95% interval", "before", "training loss", gains]
        return [head, *(self._cells(row) for row in self.times)]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in self.rows]
        return "\n".join([self.heading, *lines, self.verdict, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        """The curve as a notebook shows it."""
        from lrscope.notebook import decay_html

        return decay_html(self)

    def _cells(self, row: DecayTime) -> list[str]:
        lost = f", {plural(row.lost, 'run')} lost" if row.lost else ""
        gain = _said(row.gain) + (
            f" [{_said(row.gain_low)}, {_said(row.gain_high)}]" if row.gain_low is not None else ""
        )
        return [
            number(row.at),
            _said(row.value),
            f"{_said(row.low)} to {_said(row.high)}" if row.low is not None else "none",
            _said(row.before),
            _said(row.train_loss),
            (gain if row is not self.times[-1] else "") + lost,
        ]


def _said(value: float | None) -> str:
    return "none" if value is None else number(value)
