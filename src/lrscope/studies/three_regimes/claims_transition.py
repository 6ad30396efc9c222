"""TR13: the peak of sharpness along training between regimes 1 and 2, and the double descent."""

from __future__ import annotations

import numpy as np

from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects_transition import bottleneck
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import finding, interval, part

SWEEPS = {"clean labels": "noise0", "20% label noise": "noise20"}
NARROW = "noisy"  # the same noise on a usual network: reported
NEAR = 0.3  # ours: decades of training loss, a factor of two


def _transition(results: StudyResults) -> Finding:
    found = {words: bottleneck(results.sweep(name)) for words, name in SWEEPS.items()}
    clean, noisy = found.values()
    parts = [one for words, seen in found.items() for one in _along(words, seen)]
    for name, unit in (("sharpness", "decades of sharpness"), ("error", "test error (0 to 1)")):
        height = noisy[f"{name}_height"] - clean[f"{name}_height"]
        parts.append(part(f"peak of {_NAMED[name]} higher with label noise", height, above=0.0, unit=unit))
    for name, least, unit in (("sharpness", 0.05, "decades of sharpness"), ("error", 0.01, "test error (0 to 1)")):
        parts.append(part(f"peak of {_NAMED[name]}, 20% label noise", noisy[f"{name}_height"], above=least, unit=unit))
    told = [_words(words, seen) for words, seen in found.items()]
    return finding(parts, " ".join([*told, _narrow(bottleneck(results.sweep(NARROW)))]))


_NAMED = {"sharpness": "sharpness", "error": "test error"}


def _along(words: str, seen: dict[str, Array]) -> list[Part]:
    """The parts of one sweep."""
    decades = "decades of training loss"
    return [
        part(
            f"sharpness peaks where regime 2 begins, {words}",
            seen["sharpness"] - seen["level"],
            above=-NEAR,
            below=NEAR,
            unit=decades,
        ),
        part(
            f"test error peaks where sharpness does, {words}",
            seen["error"] - seen["sharpness"],
            above=-NEAR,
            below=NEAR,
            unit=decades,
        ),
        part(f"regime 2 stops at the peak of sharpness, {words}", seen["sharpness_stuck"], above=0.0, unit="decades"),
        part(
            f"regime 2 stops at the peak of test error, {words}",
            seen["error_stuck"],
            above=0.0,
            unit="test error (0 to 1)",
        ),
    ]


def _words(words: str, seen: dict[str, Array]) -> str:
    """A sentence about one sweep."""

    losses = ", ".join(
        f"{said} {10 ** interval(seen[name])[0]:.2g}" if np.isfinite(seen[name]).any() else f"{said} undetermined"
        for name, said in (
            ("level", "regime 2 begins at training loss"),
            ("sharpness", "sharpness peaks at"),
            ("error", "test error at"),
        )
    )
    return (
        f"With {words} {losses}; the peaks are {_heights(seen)} high, and the test error at regime 2's lowest ELR ends "
        f"{_mean(seen['error_stuck'], 100)} points beyond what being stuck at the peak asks."
    )


def _narrow(seen: dict[str, Array]) -> str:
    return f"On the network of the usual width, with 20% label noise, the peaks are {_heights(seen)} high."


def _heights(seen: dict[str, Array]) -> str:
    return f"{_mean(seen['sharpness_height'])} decades and {_mean(seen['error_height'], 100)} points"


def _mean(values: Array, factor: float = 1.0) -> str:
    value, _, _, count = interval(factor * values)
    return f"{value:.2g}" if count else "undetermined"


CLAIMS = (
    Claim(
        id="TR13",
        sentence="Along training, trajectories of regime 1 pass a peak of sharpness at the training loss where regime 2 begins; test error peaks there too; label noise makes both plainer; trajectories of regime 2 stop at the peak, so their second descent is missing.",
        criterion="For a wide MLP, by each seed's own map, over the three highest ELRs of regime 1 that end at a third or less of the training loss of regime 2's lowest ELR, read where the training loss first comes down to each level (running medians over three logging intervals). 95% intervals over seeds, without and with 20% label noise: the training loss at the peak of sharpness along training (the place that stands out most over its lowest before and after, of the run where it does most) is within 0.3 decades of that of regime 2's lowest ELR in the end; that at the peak of test error (likewise; it stands out by a point at least, and by five standard deviations of single logging intervals in the second half of training, from the differences of successive ones) within 0.3 decades of that at the peak of sharpness (by 0.01 decades at least). Regime 2's lowest ELR gets stuck at the peak of sharpness and at that of test error: in the end its log sharpness (the mean) and test error lie above their own lowest value, before the loss came down to its level, by more than half of what those runs of regime 1 climb from their lowest before the peak to the peak; and its sharpness and test error lie above the middle between peak and end of those runs. Undetermined where it is not logged from the loss on at which those runs are at that lowest. With noise both peaks stand out more than without, on average by more than 0.05 decades of sharpness and by more than a point of test error (a run without a peak counts as 0). Regime 2's lowest ELR is the lowest labelled 2 below ln C whose loss does not fall any more.",
        needs=("noise0", "noise20", NARROW),
        check=_transition,
        figures=("15", "16"),
    ),
)
