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
    parts: Annotated[int, Whole(1, 1000)] = 1,
    unit: str = "of the runs",
    note: str = "",
) -> Part:
    """One part of a claim: a probability that should lie above a bound, judged by the exact interval of a frequency.

    It is supported if the 95% interval lies above the bound, contradicted if it lies below it, else inconclusive; with fewer than
    three trials it is undetermined. Of several such parts of a claim each is contradicted only at the level 1 - 0.05 / parts,
    as all parts are (`verdicts.finding`).

    Args:
        name: what is counted, in a few words.
        successes, trials: counts.
        above: the bound.
        parts: how many parts of this kind the claim has.
    """
    low, high = (float(end) for end in binomial_interval(successes, trials))
    verdict = judge(low, high, trials, above=above)
    words = [note]
    if verdict == "contradicted":
        level = 1 - (1 - LEVEL) / parts
        if float(binomial_interval(successes, trials, level=level)[1]) >= above:
            verdict = "inconclusive"
            words.append(f"below the bound at 95%, not at the {level:.1%} that {parts} parts ask for")
    frequency = successes / trials if trials else np.nan
    few = trials < LEAST
    return Part(
        name=name,
        verdict=verdict,
        value=frequency,
        low=np.nan if few else low,
        high=np.nan if few else high,
        unit=unit,
        criterion=f"above {number(above)}",
        seeds=trials,
        asked=trials,
        above=above,
        note="; ".join(filter(None, [*words, f"{successes} of {trials}"])),
    )
