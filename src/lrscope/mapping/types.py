"""What the map says, as plain values: labels, borders with intervals, a recommendation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

REGIMES = ("1", "2", "2A", "2B", "3", "dead", "?")
INFERRED, LEFT_OUT = "inferred", "not trained"  # flags of learning rates without any trained run
BORDERS = ("1|2", "2A|2B", "2|3")


def show(value: float | None, *, accurate: bool) -> str:
    """An accuracy in percent, a loss with four digits; empty for None."""
    if value is None:
        return ""
    return f"{100 * value:.2f}%" if accurate else f"{value:.4g}"


@dataclass(frozen=True, kw_only=True)
class Border:
    """Where one regime ends and the next begins, on the axis of learning rates.

    `lr` is the point estimate (geometric middle of a grid cell), `low` and `high` bound it and are never closer than
    one grid cell. An undetermined border has `lr = low = high = None`; `reason` then says why and what to do.
    Otherwise `reason` says how the interval was made (bootstrap over seeds, or the seeds' range).
    """

    between: str
    lr: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Label:
    """The regime of one learning rate, over all seeds; `votes` counts the single runs' labels.

    `before` and `after` are the test results (`RegimeMap.measure`), means over the seeds that ended finite: after
    pre-training, and after fine-tuning at `RegimeMap.finetune_lr`. None where there is nothing.
    """

    lr: float
    regime: str
    flags: tuple[str, ...] = ()
    votes: dict[str, int] = field(default_factory=dict)
    before: float | None = None
    after: float | None = None

    @property
    def trained(self) -> bool:
        """Was any run trained here? If not, an adaptive sweep left it out and the regime follows from its neighbours."""
        return not set(self.flags) & {INFERRED, LEFT_OUT}


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """Learning rates to start from, by measured quality; `low = high = best = None` where nothing can be recommended.

    Attributes:
        low, high: the range of neighbouring learning rates that are as good as `best` within the margin, shown at 95%.
        best: the learning rate with the best smoothed quality.
        reason: what the recommendation rests on, one or more sentences.
        finetune_lr: the learning rate to decay to, if fine-tunes were measured.
        before, after: test result at `best` (`RegimeMap.measure`), mean over seeds, before and after the decay.
        undecided: the wider range that the seeds cannot tell from the best within the margin.
        cliff: the lowest learning rate above the best measured one at which a seed ended non-finite or near guessing; None if
            the grid shows none.
        alternative: what else was measured, such as training without a decay; empty if nothing.
        margin: in points, hundredths of accuracy or of explained variance.
        chosen_by: the measure that chose: `validation accuracy`, `test accuracy`, `validation loss` or `test loss`.
    """

    low: float | None
    high: float | None
    reason: str
    best: float | None = None
    finetune_lr: float | None = None
    before: float | None = None
    after: float | None = None
    undecided: tuple[float, float] | None = None
    cliff: float | None = None
    alternative: str = ""
    margin: float | None = None
    chosen_by: str = ""


@dataclass(frozen=True, kw_only=True)
class RegimeMap:
    """All that `regimes` found in a result. `str()` is the table that the command line prints.

    `measure` is `test accuracy` or `test loss`, `finetune_lr` the learning rate of the fine-tunes in the labels' `after`.
    """

    labels: tuple[Label, ...]
    borders: dict[str, Border]
    recommended: Recommendation
    seeds: int
    notes: tuple[str, ...] = ()
    measure: str = "test accuracy"
    finetune_lr: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `borders`, `labels`, `recommended`, `seeds`, `notes`, `measure`, `finetune_lr` (null where something
        is undetermined)."""
        borders = {name: asdict(border) for name, border in self.borders.items()}
        for border in borders.values():
            del border["between"]
        return {
            "borders": borders,
            "labels": [{**asdict(x), "flags": list(x.flags)} for x in self.labels],
            "recommended": asdict(self.recommended),
            "seeds": self.seeds,
            "notes": list(self.notes),
            "measure": self.measure,
            "finetune_lr": self.finetune_lr,
        }

    def show(self, value: float | None) -> str:
        """A test result as text: accuracies in percent, losses with four digits; empty for None."""
        return show(value, accurate=self.measure.endswith("accuracy"))

    def __str__(self) -> str:
        tuned = any(x.after is not None for x in self.labels)
        head = f"{'learning rate':>13}  regime  {self.measure:>13}"
        decay = "" if self.finetune_lr is None else f"decay to {self.finetune_lr:.3g}"
        wide = max(len(decay), 11)
        head += f"  {decay:>{wide}}" if tuned else ""
        rows = [f"{head}  seeds' votes        flags"]
        for label in self.labels:
            votes = " ".join(f"{name}:{count}" for name, count in label.votes.items())
            row = f"{label.lr:>13.4g}  {label.regime:<6}  {self.show(label.before):>13}"
            row += f"  {self.show(label.after):>{wide}}" if tuned else ""
            rows.append(f"{row}  {votes:<18}  {', '.join(label.flags)}".rstrip())
        rows.append("")
        for border in self.borders.values():
            if border.lr is None:
                rows.append(f"border {border.between:<5}  undetermined: {border.reason}")
            else:
                rows.append(
                    f"border {border.between:<5}  {border.lr:.3g}  in [{border.low:.3g}, {border.high:.3g}]  ({border.reason})"
                )
        rows += ["", *self._advice()]
        rows += [f"note: {note}" for note in self.notes]
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        """The map as a notebook shows it."""
        from lrscope.notebook import map_html

        return map_html(self)

    def _advice(self) -> list[str]:
        """The recommendation in lines."""
        start = self.recommended
        if start.low is None or start.high is None:
            return [f"start: undetermined: {start.reason}"]
        span = f"{start.low:.3g}" if start.low == start.high else f"{start.low:.3g} to {start.high:.3g}"
        decay = "" if start.finetune_lr is None else f", then decay to {start.finetune_lr:.3g}"
        lines = [f"start: {span}{decay}: {start.reason}"]
        return lines + ([f"  or: {start.alternative}"] if start.alternative else [])
