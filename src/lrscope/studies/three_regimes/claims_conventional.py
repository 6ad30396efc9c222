"""TR18, TR20: training of networks that are not scale-invariant, an MLP or ResNet-18 and a Transformer."""

from __future__ import annotations

import xarray as xr

from lrscope.charts.text import number
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects_conventional import both_regimes, generalisation
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import finding, part

ERROR = "test error (0 to 1)"
ZONES = {
    "lower": "below the top of regime 1",
    "at_top": "at the top",
    "higher": "above the border",
    "low": "cosines from regime 1",
    "medium": "from low regime 2",
    "high": "from high regime 2",
}


def _conventional(results: StudyResults) -> Finding:
    constant = results.sweep("constant")
    found = generalisation(constant, results.sweep("cosine"))

    def above(high: str, low: str) -> Array:
        return arrays.independent(constant, found[high] - found[low])

    def own(name: str) -> Array:
        return arrays.independent(constant, found[name])

    parts = [
        part("width of regime 2", above("end", "border"), above=0.2, cell=_width_cell(constant), unit="decades of LR"),
        part("neither overflowed nor dead above", own("neither"), below=0.1, unit="fraction of LRs"),
        part("above the border it climbs to the peak", own("climbs"), above=0.0, unit="decades of sharpness"),
        part("above the border it stays at the peak", own("stays"), above=0.0, unit="decades of sharpness"),
        part("constant: top of 1 better than below", above("lower", "at_top"), above=0.0, unit=ERROR),
        part("constant: top of 1 better than 2", above("higher", "at_top"), above=0.0, unit=ERROR),
        part("cosine: medium better than low", above("low", "medium"), above=0.0, unit=ERROR),
        part("cosine: medium better than high", above("high", "medium"), above=0.0, unit=ERROR),
    ]
    errors = ", ".join(f"{words} {_percent(found[name])}" for name, words in ZONES.items())
    return finding(
        parts,
        f"Trajectories pass the peak of sharpness up to LR {_rate(found['border'])} and networks learn up to {_rate(found['end'])}. "
        f"{_weighted(found)} Test errors: {errors}.",
        effective=found["effective"],
    )


def _transformer(results: StudyResults) -> Finding:
    result = results.sweep("transformer")
    found = {name: arrays.independent(result, values) for name, values in both_regimes(result).items()}
    width, gap = found["end"] - found["border"], found["two"] - found["one"]
    parts = [
        part("width of regime 2", width, above=0.2, cell=_width_cell(result), unit="decades of LR"),
        part("overflow above regime 2", found["overflow"], above=0.5, unit="fraction of LRs"),
        part("best of 2 against best of 1", gap, above=-0.01, below=0.01, unit=ERROR),
    ]
    return finding(
        parts,
        f"Trajectories pass the peak of sharpness up to LR {_rate(found['border'])} (by the norm of the gradient times that of the "
        f"weights up to {_rate(found['effective'])}) and networks learn up to {_rate(found['end'])}. Best test error "
        f"{_percent(found['one'])} in regime 1 and {_percent(found['two'])} in regime 2.",
        effective=found["effective"],
    )


def _width_cell(result: xr.DataTree) -> float:
    """What the decades from a border to the end of learning are known to: a step of the grid for either."""
    return 2 * arrays.cell(result.coords["lr"].values)


def _weighted(found: dict[str, Array]) -> str:
    """What the norm of the gradient times that of the weights says of the border and of runs above it."""
    marks = " and ".join(number(arrays.average(found[f"effective_{name}"]), 2) for name in ("climbs", "stays"))
    return (
        f"By the norm of the gradient times that of the weights they pass it up to {_rate(found['effective'])}, and runs above end {marks} "
        "decades beyond the two marks of a run that is stuck."
    )


def _rate(logs: Array) -> str:
    return number(10 ** arrays.average(logs), 2)


def _percent(errors: Array) -> str:
    return f"{number(100 * arrays.average(errors))}%"


CLAIMS = (
    Claim(
        id="TR18",
        sentence="Conventional training shows regimes 1 and 2 only, then overflow or a dead network; the border is where trajectories stop passing the peak of sharpness. With a constant LR the best test error lies at the top of 1, with a cosine at a medium initial LR that passes through low 2.",
        criterion="Learning ends half-way between the highest LR that its seed's own map labels 1 or 2, with a settled training loss below 0.99 ln C, and the next one. Sharpness is the norm of the gradient, as the paper plots it; what the same times the norm of all trained weights gives is reported. The border is the ordered split, from the first LR whose trajectory passes the peak of sharpness to the last that learns, into those that pass and those that do not; where all of them pass it is the end of learning. A trajectory passes if its sharpness (running medians over five logging intervals) climbs to a peak and ends below it, both by more than 0.05 decades and more than three standard deviations of its second half about a straight line. 95% intervals over draws of the training set, the mean over its seeds for each: the decades from the border to the end of learning lie above 0.2; less than a tenth of the LRs above end finite with a loss of more than twice ln C. Runs of the half decade above the border get stuck at the peak that those of the half decade below pass: in the end their log sharpness lies above their own lowest value before their peak (the place highest above the lowest before it) by more than half of what those climb to theirs; and their sharpness lies above the middle between peak and end of those. With a constant LR the mean test error of the half decade below the border is lower than that of the half decade below that, and than that of the half decade above the border; with a cosine that of initial LRs in the lower half of the decades from the border to the end of learning is lower than that of the decade below the border, and than that of the upper half. A stretch of LRs of which the grid leaves out the lower half is undetermined.",
        needs=("constant", "cosine"),
        check=_conventional,
        figures=("7", "26"),
    ),
    Claim(
        id="TR20",
        sentence="A text Transformer trained conventionally shows regimes 1 and 2, then overflow; the best test error is found in both.",
        criterion="Learning ends half-way between the highest LR that its seed's own map labels 1 or 2, with a settled training loss below 0.99 ln C, and the next one. The border is that of TR18, by the norm of the gradient: the ordered split, from the first LR whose trajectory passes the peak of sharpness to the last that learns, into those that pass and those that do not; where all of them pass it is the end of learning, and where none does it is undetermined. 95% intervals over draws of the training set: the decades of LR from the border to the end of learning lie above 0.2; more than half of the LRs above overflow; the test error of the best LR above the border differs from that of the best below by less than a point, where the best on either side is that with the lowest mean over the other draws.",
        needs=("transformer",),
        check=_transformer,
        figures=("28",),
    ),
)
