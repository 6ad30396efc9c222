"""FL8: sharpness against test error of fine-tunes, those of a seed at one training loss.

P pre-training rates, F fine-tuning rates, U seeds.
"""

from __future__ import annotations

import numpy as np

from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects_sharpness import (
    CLEARLY,
    LEAST_RATES,
    LOW_LEVEL,
    at_equal_loss,
    equal_error,
    mean_slopes,
    near_the_end,
    overall_slopes,
    reversed_pairs,
)
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part

POINT = 0.01  # ours
ERROR, DECADES = "test error (0 to 1)", "decades of sharpness"
SLOPE = "test error (0 to 1) per decade of sharpness"


def _sharpness(results: StudyResults) -> Finding:
    found = at_equal_loss(results.sweep("converged"), results.sweep("fine_tuned"))
    level = found["level"]
    read = near_the_end(level)
    sharp, error = (np.where(read, found[name], np.nan) for name in ("sharpness", "error"))
    plrs, flrs = sharp.shape[:2]
    if min(plrs, flrs) < LEAST_RATES:
        raise Undetermined(
            f"{plrs} learning rates lie in regime 2 and there are {flrs} fine-tuning learning rates, {LEAST_RATES} of each are needed"
        )
    if not read.any():
        raise Undetermined(
            f"in no draw all fine-tunes reach a training loss of {LOW_LEVEL:g}: the best gets to {np.nanmin(level):.2g}"
        )
    if not np.isfinite(sharp).any():
        raise Undetermined("all fine-tunes start below the lowest training loss that all of them reach")
    equal, turned = equal_error(sharp, error), reversed_pairs(sharp, error)
    across = mean_slopes(sharp.swapaxes(0, 1), error.swapaxes(0, 1))
    counts = found["early"][..., read].sum((1, 2))
    early = {f"{plr:.4g}": int(count) for plr, count in zip(found["plr"], counts, strict=True)}
    return finding(
        [
            part("slope over all fine-tunes", overall_slopes(sharp, error), above=0.0, unit=SLOPE),
            part("slope within a pre-training", mean_slopes(sharp, error), above=0.0, unit=SLOPE),
            part("equal error: test error apart", equal.error, above=-POINT, below=POINT, unit=ERROR),
            part("equal error: sharpness apart", equal.sharpness, above=CLEARLY, unit=DECADES),
            part("reverse: the sharper one's test error minus the other's", turned.error, below=0.0, unit=ERROR),
            part("reverse: sharpness apart", turned.sharpness, above=CLEARLY, unit=DECADES),
        ],
        f"At training losses of {_listed(level[read])}, a draw each; {int((~read).sum())} of {len(read)} draws stay above {LOW_LEVEL:g} and "
        "are not read. Left out because they had passed that loss before the first logged moment, of "
        f"{flrs * int(read.sum())} runs at each PLR: {', '.join(f'{plr} {count}' for plr, count in early.items())}. Over PLRs at one FLR "
        f"{100 * np.nanmean(across):+.2f} points of test error per decade of sharpness. Pairs of fine-tunes from different pre-trainings are "
        "chosen by the other seeds and measured in the one left out.",
        level=level.tolist(),
        across=interval(across)[:3],
        decades_by_flr=_decades(sharp, 1),
        decades_by_plr=_decades(sharp, 0),
        runs_at_the_level=float(np.isfinite(sharp[..., read]).mean()),
        passed_before_the_first_log=early,
        pairs_of_equal_error=[None if pair is None else list(map(list, pair)) for pair in equal.pairs],
        reversed_pairs=[None if pair is None else list(map(list, pair)) for pair in turned.pairs],
    )


def _listed(levels: Array) -> str:
    return ", ".join(f"{level:.2g}" for level in levels)


def _decades(sharpness: Array, axis: int) -> float:
    """Range of known sharpness along an axis, mean over the rest."""
    known = np.isfinite(sharpness)
    top, bottom = (f(np.where(known, sharpness, fill), axis=axis) for f, fill in ((np.max, -np.inf), (np.min, np.inf)))
    return float((top - bottom)[known.any(axis)].mean())


CLAIMS = (
    Claim(
        id="FL8",
        sentence="At equal training loss sharpness goes with test error, overall and within the fine-tunes of one pre-training; across pre-trainings the relation breaks: equal error with clearly different sharpness, or the sharper one errs less.",
        criterion="ResNet-18, fine-tunes from regime 2, those of a draw of the data at the lowest training loss that all of them reach (times 1.05); a draw in which that is above 0.01 is not read, and with fewer than three that are read all is undetermined; runs that passed the level of their draw before the first logged moment of fine-tuning are left out; 95% intervals over draws of the data, or over seeds where there is one. Slope of test error on log sharpness over all fine-tunes, and over FLRs, mean over PLRs, above 0. Of the pairs of fine-tunes from different pre-trainings whose mean test error over the other seeds is equal to 0.3 points, the one with the most different sharpness: in the seed left out its test errors differ by less than a point and its sharpness by more than a factor of 1.5. Of the pairs whose mean sharpness over the other seeds differs by more than a factor of 1.5, the one whose sharper fine-tune has the least error in comparison: in the seed left out the sharper one's test error minus the other's is below 0, and its sharpness is more than 1.5 times the other's.",
        needs=("converged", "fine_tuned"),
        check=_sharpness,
        figures=("17",),
    ),
)
