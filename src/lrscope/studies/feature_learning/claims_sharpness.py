"""FL8: sharpness against test error of fine-tunes at one training loss.

P pre-training rates, F fine-tuning rates, U seeds.
"""

from __future__ import annotations

import numpy as np

from lrscope.studies.feature_learning.effects_sharpness import (
    at_equal_loss,
    equal_error,
    equal_sharpness,
    mean_slopes,
    overall_slopes,
)
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, interval, part

LEAST_RATES = 3  # ours: a trend needs three points
CLEARLY = float(np.log10(1.5))  # ours: App. G has almost a factor of two
POINT = 0.01  # ours
ALIKE = 0.1  # ours: decades of sharpness, a quarter more
SLOPE = "test error (0 to 1) per decade of sharpness"


def _sharpness(results: StudyResults) -> Finding:
    found = at_equal_loss(results.sweep("converged"))
    sharp, error = found["sharpness"], found["error"]
    plrs, flrs = sharp.shape[:2]
    if min(plrs, flrs) < LEAST_RATES:
        raise Undetermined(
            f"{plrs} learning rates lie in regime 2 and there are {flrs} fine-tuning learning rates, {LEAST_RATES} of each are needed"
        )
    known = np.isfinite(sharp).all((0, 1))
    if not known.any():
        raise Undetermined("some fine-tunes start below the lowest training loss that all of them reach")
    sharp, error = sharp[..., known], error[..., known]
    errors, sharps = equal_error(sharp, error), equal_sharpness(sharp, error)
    across = mean_slopes(sharp.swapaxes(0, 1), error.swapaxes(0, 1))
    return finding(
        [
            part("slope over all fine-tunes", overall_slopes(sharp, error), above=0.0, unit=SLOPE),
            part("slope within a pre-training", mean_slopes(sharp, error), above=0.0, unit=SLOPE),
            part("equal error: test error apart", errors.error, above=-POINT, below=POINT, unit="test error (0 to 1)"),
            part("equal error: sharpness apart", errors.sharpness, above=CLEARLY, unit="decades of sharpness"),
            part(
                "equal sharpness: sharpness apart",
                sharps.sharpness,
                above=-ALIKE,
                below=ALIKE,
                unit="decades of sharpness",
            ),
            part("equal sharpness: test error apart", sharps.error, above=POINT, unit="test error (0 to 1)"),
        ],
        f"At training loss {found['level'][0]:.2g}. Over PLRs at one FLR {100 * np.nanmean(across):+.2f} points of test error per decade of sharpness. Pairs of fine-tunes "
        f"from different pre-trainings are chosen by the other seeds and measured in the one left out.",
        level=float(found["level"][0]),
        across=interval(across)[:3],
        decades_by_flr=float(np.ptp(sharp, axis=1).mean()),
        decades_by_plr=float(np.ptp(sharp, axis=0).mean()),
        seeds_at_the_level=int(known.sum()),
        passed_before_the_first_log=float(found["early"].mean()),
        pairs_of_equal_error=[None if pair is None else list(map(list, pair)) for pair in errors.pairs],
        pairs_of_equal_sharpness=[None if pair is None else list(map(list, pair)) for pair in sharps.pairs],
    )


CLAIMS = (
    Claim(
        id="FL8",
        sentence="At equal training loss sharpness goes with test error, overall and within the fine-tunes of one pre-training; across pre-trainings the relation breaks: equal error with clearly different sharpness, and the reverse.",
        criterion="ResNet-18, fine-tunes from regime 2 at the lowest training loss that all reach (times 1.05), 95% intervals over seeds. Slope of test error on log sharpness over all fine-tunes, and over FLRs, mean over PLRs, above 0. Of the pairs of fine-tunes from different pre-trainings whose mean test error over the other seeds is equal to 0.3 points, the one with the most different sharpness: in the seed left out its test errors differ by less than a point and its sharpness by more than a factor of 1.5. Of the pairs whose mean sharpness is equal to 0.03 decades, the one with the most different test error: its sharpness differs by less than 0.1 decades and its test error by more than a point.",
        needs=("converged",),
        check=_sharpness,
        figures=("17",),
    ),
)
