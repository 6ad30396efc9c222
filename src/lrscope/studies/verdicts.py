"""Effect sizes with intervals over seeds, and verdicts against a threshold. One rule for all claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from lrscope.checked import checked
from lrscope.errors import LrscopeError
from lrscope.studies.types import Finding


class Undetermined(LrscopeError):
    """A claim speaks of something that the results do not show, such as a regime: its verdict is `inconclusive`."""


LEVEL = 0.95
LEAST = 3  # ours: two seeds have a t interval of twelve standard errors


@checked
def interval(values: ArrayLike) -> tuple[float, float, float, int]:
    """Mean of the finite values over seeds with its 95% Student interval, and their number. NaN ends with fewer than 2."""
    finite = np.asarray(values, dtype=np.float64).ravel()
    finite = finite[np.isfinite(finite)]
    if len(finite) == 0:
        return np.nan, np.nan, np.nan, 0
    mean = float(finite.mean())
    if len(finite) == 1:
        return mean, np.nan, np.nan, 1
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(finite) - 1) * finite.std(ddof=1) / np.sqrt(len(finite)))
    return mean, mean - half, mean + half, len(finite)


def judge(low: float, high: float, threshold: float, seeds: int) -> str:
    """`supported` if the whole interval lies above the threshold, `contradicted` if all of it lies below, else
    `inconclusive`; always that with fewer than three seeds."""
    if seeds < LEAST or not (np.isfinite(low) and np.isfinite(high)):
        return "inconclusive"
    return "supported" if low > threshold else "contradicted" if high < threshold else "inconclusive"


def undetermined(reason: str) -> Finding:
    """The finding of a claim whose subject does not show."""
    return Finding(
        effect=np.nan, low=np.nan, high=np.nan, seeds=0, verdict="inconclusive", note=f"Undetermined: {reason}."
    )


@checked
def finding(values: ArrayLike, threshold: float, note: str, **numbers: Any) -> Finding:
    """One effect per seed, its mean judged against a threshold that it must exceed."""
    mean, low, high, seeds = interval(values)
    return Finding(
        effect=mean,
        low=low,
        high=high,
        seeds=seeds,
        verdict=judge(low, high, threshold, seeds),
        note=note,
        numbers={"per_seed": [float(v) for v in np.asarray(values, dtype=np.float64).ravel()], **numbers},
    )


@checked
def all_of(parts: Sequence[Finding], note: str, **numbers: Any) -> Finding:
    """Several conditions at once: the effect shown is that of the weakest part, and the verdict the worst; `numbers` are
    kept beside the parts'."""
    order = ("contradicted", "inconclusive", "supported")
    worst = min(parts, key=lambda part: order.index(part.verdict))
    return Finding(
        effect=worst.effect,
        low=worst.low,
        high=worst.high,
        seeds=worst.seeds,
        verdict=worst.verdict,
        note=note,
        numbers={
            **{
                f"part_{i + 1}": {
                    **part.numbers,
                    "effect": part.effect,
                    "low": part.low,
                    "high": part.high,
                    "verdict": part.verdict,
                }
                for i, part in enumerate(parts)
            },
            **numbers,
        },
    )
