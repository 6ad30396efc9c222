"""From numbers over seeds to a verdict: intervals, and the one rule by which all claims are judged.

A part of a claim is `supported` if the whole 95% interval of its quantity lies within its bounds, `contradicted` if all of
it lies beyond one of them, else `inconclusive`. It is `undetermined` if the quantity could be read in fewer than three
seeds: a border that the grid does not reach is NaN, and NaN is never held against a claim. A value that is infinite was
read, but has no interval: the part is `undetermined` too. What a grid quantises is known to a cell of it at best
(`part(cell=...)`).

The claim's verdict is that of its weakest part (`types.weakest`). Since one contradicted part contradicts the claim, the
more parts a claim has the more often chance alone would do so. `finding` therefore leaves a part contradicted only if its
interval at the level 1 - 0.05/m lies beyond the bound too, with m parts judged by an interval (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lrscope.charts.text import number
from lrscope.checked import checked
from lrscope.errors import LrscopeError
from lrscope.readers import Number
from lrscope.studies.types import REPORTED, Finding, Part


class Undetermined(LrscopeError):
    """A claim speaks of something that the results do not show, such as a regime: its verdict is `undetermined`."""


LEVEL = 0.95
LEAST = 3  # ours: two seeds have a t interval of twelve standard errors


@checked
def interval(
    values: ArrayLike,
    *,
    level: Annotated[float, Number(0.5, 1, below=True)] = LEVEL,
    cell: Annotated[float, Number(0, 1e30)] = 0.0,
) -> tuple[float, float, float, int]:
    """Mean over seeds with its Student interval, and the number of values. NaN is a seed that could not be read.

    An interval that is narrower than `cell` is widened to half a cell on both sides of the mean. NaN ends with fewer than two
    values, and where one is infinite: there is no spread to judge by.
    """
    read = np.asarray(values, dtype=np.float64).ravel()
    read = read[~np.isnan(read)]
    if len(read) == 0:
        return np.nan, np.nan, np.nan, 0
    with np.errstate(invalid="ignore"):  # infinities of both signs have no mean
        mean = float(read.mean())
    if len(read) == 1 or not np.isfinite(read).all():
        return mean, np.nan, np.nan, len(read)
    half = float(special.stdtrit(len(read) - 1, (1 + level) / 2) * read.std(ddof=1) / np.sqrt(len(read)))
    half = max(half, cell / 2)
    return mean, mean - half, mean + half, len(read)


def judge(low: float, high: float, seeds: int, *, above: float | None = None, below: float | None = None) -> str:
    """The verdict on an interval [low, high] that should lie above one bound, below another, or between both."""
    if seeds < LEAST or not (np.isfinite(low) and np.isfinite(high)):
        return "undetermined"
    floor, ceiling = -np.inf if above is None else above, np.inf if below is None else below
    if floor < low and high < ceiling:
        return "supported"
    return "contradicted" if high < floor or low > ceiling else "inconclusive"


def part(
    name: str,
    values: ArrayLike | Callable[[], ArrayLike],
    *,
    unit: str,
    above: float | None = None,
    below: float | None = None,
    cell: float = 0.0,
    note: str = "",
) -> Part:
    """One part of a claim: a quantity per seed, whose mean should lie above a bound, below one, or between two.

    Args:
        name: what is compared, in a few words.
        values: one for each seed, NaN where it could not be read; or a function that returns them. If that raises
            `Undetermined`, this part is undetermined and the others are judged all the same.
        unit: of the values.
        above, below: the bounds; at least one.
        cell: the grid's step, in the unit of the values, of a quantity that a grid quantises, such as a border or the position
            of the best learning rate. Seeds that agree to the cell say no more than that: the interval is never narrower.
        note: a phrase for the table.

    Raises:
        LrscopeError: no bounds, or bounds that leave nothing between them.
    """
    criterion = _in_words(name, above, below)
    try:
        per_seed = _per_seed(name, values() if callable(values) else values)
    except Undetermined as reason:
        return _undetermined(name, str(reason), unit, criterion)
    mean, low, high, seeds = interval(per_seed, cell=cell)
    return Part(
        name=name,
        verdict=judge(low, high, seeds, above=above, below=below),
        value=mean,
        low=low,
        high=high,
        unit=unit,
        criterion=criterion,
        seeds=seeds,
        asked=len(per_seed),
        above=above,
        below=below,
        per_seed=tuple(map(float, per_seed)),
        cell=cell,
        note=_joined(note, *_remarks(per_seed, cell)),
    )


def exact(name: str, worst: float, *, at_most: float, unit: str, seeds: int, note: str = "") -> Part:
    """A part without spread: the worst deviation over everything that was tried, held against what rounding allows.

    It is undetermined where nothing was tried, and an infinite deviation never supports it.
    """
    criterion = f"at most {number(at_most)}"
    if seeds < 1:
        return _undetermined(name, "nothing was tried", unit, criterion)
    supported = "supported" if np.isfinite(worst) else "undetermined"
    verdict = "contradicted" if worst > at_most else supported
    return Part(
        name=name,
        verdict=verdict,
        value=worst,
        low=worst,
        high=worst,
        unit=unit,
        criterion=criterion,
        seeds=seeds,
        asked=seeds,
        below=at_most,
        note=note,
    )


@checked
def finding(parts: Sequence[Part], note: str, **numbers: Any) -> Finding:
    """What a check returns: its parts, a note, and further `numbers` worth keeping.

    Contradicted parts among several judged ones stay so only if they are at the level corrected for their number.
    """
    judged = sum(bool(one.per_seed) and one.verdict not in ("undetermined", REPORTED) for one in parts)
    return Finding(parts=tuple(_corrected(one, judged) for one in parts), note=note, numbers=numbers)


def undetermined(reason: str) -> Finding:
    """The finding of a claim whose subject does not show."""
    return finding([_undetermined("all", reason, "", "")], f"Undetermined: {reason}.")


def reported(found: Finding) -> Finding:
    """The finding of an exploratory claim: numbers without verdicts."""
    return replace(found, parts=tuple(replace(one, verdict=REPORTED) for one in found.parts))


def _corrected(one: Part, judged: int) -> Part:
    """A contradicted part as `judged` parts together allow it. Exact ones, which have no `per_seed`, make no false alarms."""
    if one.verdict != "contradicted" or not one.per_seed:
        return one
    level = 1 - (1 - LEVEL) / judged
    _, low, high, seeds = interval(one.per_seed, level=level, cell=one.cell)
    verdict = judge(low, high, seeds, above=one.above, below=one.below)
    if verdict == one.verdict:
        return one
    why = f"beyond the bound at 95%, not at the {level:.1%} that {judged} parts ask for"
    return replace(one, verdict=verdict, note=_joined(one.note, why))


def _remarks(per_seed: NDArray[np.float64], cell: float) -> Iterator[str]:
    infinite = int(np.isinf(per_seed).sum())
    if infinite:
        yield f"infinite in {infinite} of {int((~np.isnan(per_seed)).sum())}"
    if cell:
        _, low, high, _ = interval(per_seed)
        if high - low < cell:
            yield f"interval widened to the grid's cell, {number(cell)}"


def _joined(*phrases: str) -> str:
    return "; ".join(filter(None, phrases))


def _undetermined(name: str, reason: str, unit: str, criterion: str) -> Part:
    return Part(
        name=name,
        verdict="undetermined",
        value=np.nan,
        low=np.nan,
        high=np.nan,
        unit=unit,
        criterion=criterion,
        seeds=0,
        asked=0,
        note=reason,
    )


def _in_words(name: str, above: float | None, below: float | None) -> str:
    if above is None and below is None:
        raise LrscopeError(f"part {name}: it has no bound: pass above=, below= or both")
    if above is None or below is None:
        return f"above {number(above)}" if above is not None else f"below {number(below or 0.0)}"
    if not above < below:
        raise LrscopeError(f"part {name}: nothing lies above {above:g} and below {below:g}: exchange them")
    return f"between {number(above)} and {number(below)}"


def _per_seed(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise LrscopeError(f"part {name}: its values are no numbers ({error}): pass one for each seed") from error
