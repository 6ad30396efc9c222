"""The map's row that shows where to start, as plain values for both renderings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lrscope.mapping.types import Recommendation, RegimeMap
from lrscope.reporting.frames import Grid, has_regimes
from lrscope.reporting.placement import Place, place
from lrscope.reporting.text import rate

ROW = "start"


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where to start, on the axis of learning rates: the recommended range, what is left open, the best, the cliff."""

    low: float
    high: float
    best: float
    open_low: float
    open_high: float
    cliff: float | None
    words: str

    def words_at(self, grid: Grid) -> Place:
        """Where the range is written: beside its marks in room that ends at the cliff, because words beyond it would seem to be
        about it; below them if there is too little."""
        marks: dict[str, float] = {
            "low": self.open_low,
            "high": self.open_high,
            "middle": math.sqrt(self.low * self.high),
        }
        return place(grid, self.words, rate(self.best), until=self.cliff, **marks)


def start(grid: Grid, regime_map: RegimeMap) -> Start | None:
    """The row's content; None where nothing is recommended."""
    advice = regime_map.recommended
    if advice.low is None or advice.high is None or advice.best is None:
        return None
    open_low, open_high = advice.undecided or (advice.low, advice.high)
    words = (
        grid.text(advice.low) if advice.low == advice.high else f"{grid.text(advice.low)} to {grid.text(advice.high)}"
    )
    return Start(
        low=advice.low,
        high=advice.high,
        best=advice.best,
        open_low=min(open_low, advice.low),
        open_high=max(open_high, advice.high),
        cliff=advice.cliff,
        words=words,
    )


def wider(advice: Recommendation) -> bool:
    """Do the seeds leave more open than what is recommended?"""
    return advice.undecided is not None and advice.undecided != (advice.low, advice.high)


def rows(regime_map: RegimeMap, found: Start | None) -> list[str]:
    """Names of the rows above the map's panels: the borders, where regimes are known, and the start."""
    return [*(regime_map.borders if has_regimes(regime_map) else ()), *([ROW] if found else [])]
