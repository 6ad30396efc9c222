"""Parts of a claim about a probability: successes are counted, so their interval is Clopper and Pearson's, not Student's."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lrscope.charts.text import number
from lrscope.checked import checked
from lrscope.errors import LrscopeError
from lrscope.readers import Number, Whole
from lrscope.studies.types import Part
from lrscope.studies.verdicts import LEAST, LEVEL, judge

Array = NDArray[np.float64]


@checked
def binomial_interval(
    successes: ArrayLike, trials: ArrayLike, *, level: Annotated[float, Number(0.5, 1, below=True)] = LEVEL
) -> tuple[Array, Array]:
    """Clopper and Pearson's exact interval for a probability, at least at the level whatever the probability is.

    Args:
        successes, trials: whole numbers of any shapes that fit each other; 0 trials give the interval from 0 to 1.

    Raises:
        LrscopeError: negative numbers, more successes than trials.
    """
    k, n = np.broadcast_arrays(np.asarray(successes, float), np.asarray(trials, float))
    if not ((k >= 0) & (k <= n) & (k == np.round(k)) & (n == np.round(n))).all():
        raise LrscopeError("successes: they must be whole numbers from 0 to the number of trials: count runs")
    tail = (1 - level) / 2
    low = np.where(k > 0, special.betaincinv(np.maximum(k, 1), n - k + 1, tail), 0.0)
    high = np.where(k < n, special.betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail), 1.0)
    return low, high


@checked
def binomial_part(
    name: str,
    successes: int,
    trials: int,
    *,
    above: Annotated[float, Number(0, 1, below=True)],
    silent: Annotated[int, Whole(0, 1_000_000_000)] = 0,
    parts: Annotated[int, Whole(1, 1000)] = 1,
    unit: str = "of the runs",
    note: str = "",
) -> Part:
    """One part of a claim: a probability that should lie above a bound, judged by the exact interval of a frequency.

    It is supported if the 95% interval lies above the bound, contradicted if it lies below it, else inconclusive; with fewer than
    three trials it is undetermined. Of several such parts of a claim each is contradicted only at the level 1 - 0.05 / parts,
    as all parts are (`verdicts.finding`).

    Both verdicts hold whatever the silent ones would have said: these count as failures for support and as successes for
    refutation, so the interval goes from the lower end of the one count to the upper end of the other. Where one of the two
    counts alone would decide, the part is undetermined.

    Args:
        name: what is counted, in a few words.
        successes, trials: counts, of those that say something; the value is their frequency.
        above: the bound.
        silent: how many more were tried that say nothing, such as runs that overflowed.
        parts: how many parts of this kind the claim has.
    """
    worst, best = _intervals(successes, trials, silent, LEVEL)
    low, high = worst[0], best[1]
    verdict = judge(low, high, trials, above=above)
    words = [note, f"{successes} of {trials}", f"{silent} more say nothing" if silent else ""]
    if verdict == "contradicted":
        level = 1 - (1 - LEVEL) / parts
        if _intervals(successes, trials, silent, level)[1][1] >= above:
            verdict = "inconclusive"
            words.append(f"below the bound at 95%, not at the {level:.1%} that {parts} parts ask for")
    elif verdict == "inconclusive" and (worst[1] < above or best[0] > above):
        verdict = "undetermined"
        words.append("what these would have said decides")
    few = trials < LEAST
    return Part(
        name=name,
        verdict=verdict,
        value=successes / trials if trials else np.nan,
        low=np.nan if few else low,
        high=np.nan if few else high,
        unit=unit,
        criterion=f"above {number(above)}",
        seeds=trials,
        asked=trials + silent,
        above=above,
        note="; ".join(filter(None, words)),
    )


def _intervals(successes: int, trials: int, silent: int, level: float) -> tuple[tuple[float, float], ...]:
    """With all silent ones failed, and with all of them successful."""
    counts = (successes, successes + silent)
    ends = (binomial_interval(count, trials + silent, level=level) for count in counts)
    return tuple((float(low), float(high)) for low, high in ends)
