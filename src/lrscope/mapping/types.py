"""What the map says, as plain values: labels, borders with intervals, a recommendation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

REGIMES = ("1", "2", "2A", "2B", "3", "?")
INFERRED, LEFT_OUT = "inferred", "not trained"  # flags of learning rates without any trained run
BORDERS = ("1|2", "2A|2B", "2|3")


@dataclass(frozen=True, kw_only=True)
class Border:
    """Where one regime ends and the next begins, on the axis of learning rates.

    `lr` is the point estimate (geometric middle of a grid cell), `low` and `high` bound it and are never closer than
    one grid cell. A border that cannot be told has `lr = low = high = None`; `reason` then says why and what to do.
    Otherwise `reason` says how the interval was made (bootstrap over seeds, or the seeds' range).
    """

    between: str
    lr: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Label:
    """The regime of one learning rate, over all seeds; `votes` counts the single runs' labels."""

    lr: float
    regime: str
    flags: tuple[str, ...] = ()
    votes: dict[str, int] = field(default_factory=dict)

    @property
    def trained(self) -> bool:
        """Was any run trained here? If not, an adaptive sweep left it out and the regime follows from its neighbours."""
        return not set(self.flags) & {INFERRED, LEFT_OUT}


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """Learning rates to start from; None where nothing can be recommended, `reason` says why."""

    low: float | None
    high: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class RegimeMap:
    """All that `regimes` found in a result. `str()` is the table that the command line prints."""

    labels: tuple[Label, ...]
    borders: dict[str, Border]
    recommended: Recommendation
    seeds: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `borders`, `labels`, `recommended`, `seeds`, `notes` (null where something cannot be told)."""
        return {
            "borders": {
                name: {"lr": b.lr, "low": b.low, "high": b.high, "reason": b.reason} for name, b in self.borders.items()
            },
            "labels": [
                {"lr": x.lr, "regime": x.regime, "flags": list(x.flags), "votes": dict(x.votes)} for x in self.labels
            ],
            "recommended": {
                "low": self.recommended.low,
                "high": self.recommended.high,
                "reason": self.recommended.reason,
            },
            "seeds": self.seeds,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        rows = [f"{'learning rate':>13}  regime  seeds' votes        flags"]
        for label in self.labels:
            votes = " ".join(f"{name}:{count}" for name, count in label.votes.items())
            rows.append(f"{label.lr:>13.4g}  {label.regime:<6}  {votes:<18}  {', '.join(label.flags)}".rstrip())
        rows.append("")
        for border in self.borders.values():
            if border.lr is None:
                rows.append(f"border {border.between:<5}  cannot be told: {border.reason}")
            else:
                rows.append(
                    f"border {border.between:<5}  {border.lr:.3g}  in [{border.low:.3g}, {border.high:.3g}]  ({border.reason})"
                )
        start = self.recommended
        rows.append("")
        if start.low is None or start.high is None:
            rows.append(f"start: cannot be told: {start.reason}")
        else:
            span = f"{start.low:.3g}" if start.low == start.high else f"{start.low:.3g} to {start.high:.3g}"
            rows.append(f"start: {span}: {start.reason}")
        rows += [f"note: {note}" for note in self.notes]
        return "\n".join(rows)
