"""What the monitor says: groups of weights, a look ahead, a regime, warnings. Imports no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from lrscope.charts.text import number
from lrscope.mapping.votes import RULES

RECENT = 1.25  # ours: growth of the number of updates until a look ahead is no longer of now; it is that of CONSTANT in `regime`


@dataclass(frozen=True)
class Group:
    """Weights that are looked at as one.

    name: of its first tensor, with the number of further ones.
    tensors: their names, those of wrappers left out.
    invariant: scale-invariant; None: not known, because no symmetries were looked for.
    matters: False where it is known that the outputs do not depend on it.
    compared: is its angular update comparable with that of others? That of biases and gains is not.
    """

    name: str
    tensors: tuple[str, ...]
    invariant: bool | None = None
    compared: bool = True
    matters: bool = True


@dataclass(frozen=True)
class LookAhead:
    """What an evaluation gives at the weights as they are, and at their running average.

    now, ahead: means of what the evaluation returned.
    low, high: 95% interval of `ahead` over the values it returned; None for a single number.
    update: of the evaluation.
    tells: does it say what a decay would reach? Only if it is lower than `now`, of several values beyond the noise of their
        differences (95%), and the run was not in regime 1, whose loss falls by itself, nor in regime 3 or dead.
    """

    now: float
    ahead: float
    low: float | None
    high: float | None
    update: int
    tells: bool

    @property
    def gains(self) -> bool:
        """Is it lower by 10%, as in regime 2?"""
        return self.now - self.ahead > RULES.risen_logs * abs(self.now)

    def is_recent(self, update: int) -> bool:
        """Does it still hold at a later update?"""
        return update <= RECENT * self.update

    def words(self, update: int) -> str:
        """What a decay would reach, or that this is undetermined, as said at a later update."""
        if self.is_recent(update):
            return self._words("now", "would reach")
        return self._words(f"at update {self.update}", "would have reached")

    def _words(self, when: str, reach: str) -> str:
        if not self.tells:
            averaged = f"averaged weights have {number(self.ahead)}, the present ones {number(self.now)}"
            return f"what a decay {when} {reach} is undetermined: {averaged}"
        ends = "" if self.low is None or self.high is None else f" [{number(self.low)}, {number(self.high)}]"
        return f"a decay {when} {reach} about {number(self.ahead)}{ends} (without it {number(self.now)})"

    def __str__(self) -> str:
        return self._words(f"at update {self.update}", "would reach")


@dataclass(frozen=True)
class LiveRegime:
    """The regime of a run in progress.

    regime: `1`, `2`, `3`, `dead` (no better than guessing, not scale-invariant), or `?` where nothing can be told.
    sure: is there more for it than one rule on one curve? Never with `?`.
    reason: why, in words.
    update: how many updates the run has had.
    decay: the last look ahead, where it was made at the present learning rate and the run is neither `3` nor `dead`.
    """

    regime: str
    sure: bool
    reason: str
    update: int = 0
    decay: LookAhead | None = None

    @property
    def confidence(self) -> str:
        """`sure`, `likely` or `undetermined`."""
        return "undetermined" if self.regime == "?" else "sure" if self.sure else "likely"

    @property
    def decay_values(self) -> dict[str, float]:
        """What a decay now would reach, by the names that sinks and results use; empty where the sentence does not say it."""
        found = self.decay
        if found is None or not found.tells or not found.is_recent(self.update):
            return {}
        told = {"decay_loss": found.ahead, "decay_loss_low": found.low, "decay_loss_high": found.high}
        return {name: value for name, value in told.items() if value is not None}

    def __str__(self) -> str:
        name = "regime undetermined" if self.regime == "?" else "dead run" if self.regime == "dead" else "regime "
        name += f"{self.regime}, {self.confidence}" if name.endswith(" ") else ""
        decay = "" if self.decay is None else f"; {self.decay.words(self.update)}"
        return f"{name}: {self.reason}{decay}"


@dataclass(frozen=True)
class Alarm:
    """A warning: `name` is one of `dead`, `skipped`, `too high`, `too low`, `uneven`; `words` say what to do."""

    name: str
    words: str

    def __str__(self) -> str:
        return self.words
