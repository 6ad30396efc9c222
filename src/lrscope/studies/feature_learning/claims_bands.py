"""FL5 and FL6: on which frequency bands of images networks rely, on the sphere and in conventional training.

L pre-training rates, U seeds (data seed x seed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import ACCURACY, best_apart, over, trained
from lrscope.studies.feature_learning.effects_bands import (
    GROUPS,
    ONLY,
    Useful,
    above_floor,
    ahead,
    lost,
    on_set,
    useful,
    whole,
)
from lrscope.studies.feature_learning.folds import Fold, border_above, by_accuracy, folds_of, per_fold
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import finding, interval, part

TRAINED_ALONE = tuple(ONLY + name for name in GROUPS)
LOW_TOO = (
    "With low bands the most useful, reliance on useful bands cannot be told from a general preference for low ones."
)
Effect = Callable[[Fold], Array]


def _part(folds: list[Fold], name: str, effect: Effect, unit: str = ACCURACY) -> Part:
    return part(name, lambda: per_fold(folds, effect), above=0.0, unit=unit)


def _alone_part(folds: list[Fold], name: str, stage: str, effect: Effect) -> Part:
    """A part about bands alone, undetermined where they measure a floor."""

    def values() -> Array:
        above_floor(folds, stage)
        return per_fold(folds, effect)

    return part(name, values, above=0.0, unit=ACCURACY)


def _rise(of: Effect, low: Callable[[Fold], list[int]]) -> Effect:
    """Mean of `of` [L, U] over 2A minus over other PLRs [U]."""
    return lambda fold: over(of(fold), fold.inside("2A")) - over(of(fold), low(fold))


def _alone(stage: str, group: str) -> Effect:
    return lambda fold: on_set(fold, stage, group)


def _ahead(stage: str, group: str) -> Callable[[Callable[[Fold], list[int]]], Effect]:
    """How far networks get further on a group alone than on the best of the others, in 2A minus elsewhere [U]."""

    def against(low: Callable[[Fold], list[int]]) -> Effect:
        def lead(fold: Fold, where: list[int]) -> Array:
            return ahead(fold, stage, group, on_set, where)

        return lambda fold: lead(fold, _a(fold)) - lead(fold, low(fold))

    return against


def _removed(folds: list[Fold], group: str) -> dict[str, Any]:
    """What removing a group costs after the lowest FLR, in 2A minus in 1, and in 2A minus what another one costs at most: of
    networks that get nothing without it, it says how much they had. So it is reported without a verdict."""
    effects: dict[str, Effect] = {
        "2A minus 1": _rise(lambda fold: lost(fold, "low", group), _one),
        "minus the others in 2A": lambda fold: ahead(fold, "low", group, lost, _a(fold)),
    }
    return _numbers([_part(folds, name, effect) for name, effect in effects.items()])


def _a(fold: Fold) -> list[int]:
    return fold.inside("2A")


def _one(fold: Fold) -> list[int]:
    return fold.upper_one()


def _b(fold: Fold) -> list[int]:
    return fold.inside("2B")


def _more(stage: str, group: str) -> Effect:
    """Accuracy on a group alone in 2A at a stage minus after pre-training [U]."""
    return lambda fold: over(on_set(fold, stage, group) - on_set(fold, "pre", group), fold.inside("2A"))


def _resnet(folds: list[Fold], group: str) -> list[Part]:
    """The parts about the ResNet for a group of bands."""
    alone = _alone("pre", group)
    parts: dict[str, tuple[str, Effect]] = {
        "alone, 2A above 1": ("pre", _rise(alone, _one)),
        "alone, 2A above 2B": ("pre", _rise(alone, _b)),
        "alone ahead of the others in 2A": ("low", lambda fold: ahead(fold, "low", group, on_set, _a(fold))),
        "alone ahead of the others, 2A above 1": ("pre", _ahead("pre", group)(_one)),
        "alone, more by the lowest FLR": ("low", _more("low", group)),
        "alone, more by averaging": ("swa", _more("swa", group)),
    }
    return [_alone_part(folds, f"ResNet: {group} {name}", stage, effect) for name, (stage, effect) in parts.items()]


def _bands(results: StudyResults) -> Finding:
    found = useful(results)
    resnet, convnet = (folds_of(results.sweep(name)) for name in ("resnet", "convnet"))
    weak = _rise(_alone("pre", found.best), _one)
    return finding(
        [
            _lead(found),
            *_resnet(resnet, found.best),
            _alone_part(convnet, f"ConvNet: {found.best} alone, 2A above 1", "pre", weak),
        ],
        _note(found, "The paper's most useful group is mid. " + (LOW_TOO if found.best == "low" else "")),
        alone={name: interval(values)[:3] for name, values in found.accuracy.items()},
        removed=_removed(resnet, found.best),
        mid=_numbers(_resnet(resnet, "mid")) if found.best != "mid" else {},
    )


def _lead(found: Useful) -> Part:
    return part(f"{found.best} is the most useful group", found.lead, above=0.0, unit=ACCURACY)


def _note(found: Useful, more: str) -> str:
    levels = ", ".join(f"{name} {100 * values.mean():.1f}" for name, values in found.accuracy.items())
    return (
        f"ResNets trained and tested on one group of bands alone get, in percent: {levels}. {more} Bands alone lie on a grey card and keep "
        "their contrast. Regimes from the other data seeds; 1 means its upper half."
    )


def _numbers(parts: list[Part]) -> dict[str, Any]:
    return {one.name: (one.value, one.low, one.high) for one in parts}


def _practice(results: StudyResults) -> Finding:
    found = useful(results)
    folds = folds_of(results.sweep("practical"), by_accuracy)
    group = found.best
    peaks = {
        name: partial(best_apart, of=partial(whole, stage=stage))
        for stage, name in (("low", "fine-tuning"), ("swa", "averaging"))
    }
    drawn = {name: _part(folds, f"{name}: best of 2 above best of 1", effect) for name, effect in peaks.items()}
    above = [border_above(fold) for fold in folds]
    other = {name: _part(above, name, effect) for name, effect in peaks.items()}

    def gain(stage: str) -> Effect:
        return lambda fold: over(whole(fold, stage) - trained(fold), fold.inside("1"))

    def stage_rise(stage: str, low: Callable[[Fold], list[int]]) -> Effect:
        return _rise(lambda fold: whole(fold, stage), low)

    return finding(
        [
            *drawn.values(),
            _part(folds, "averaging: 2A above 2B", stage_rise("swa", _b)),
            _part(folds, "fine-tuning helps in 1", gain("low")),
            _part(folds, "averaging helps in 1", gain("swa")),
            _alone_part(folds, f"{group} alone, 2A above 1", "low", _rise(_alone("low", group), _one)),
            _alone_part(
                folds,
                f"{group} alone ahead of the others in 2A",
                "low",
                lambda fold: ahead(fold, "low", group, on_set, _a(fold)),
            ),
            _alone_part(folds, f"{group} alone ahead of the others, 2A above 1", "low", _ahead("low", group)(_one)),
            _alone_part(folds, f"{group} alone ahead of the others, 2A above 2B", "low", _ahead("low", group)(_b)),
        ],
        _note(
            found,
            "Regime 2 begins at the best pre-training accuracy, as the paper draws it. " + _convention(drawn, other),
        ),
        border_above=_numbers([*other.values()]),
        removed=_removed(folds, group),
        border=[float(fold.plr[fold.labels.index("2A")]) if "2A" in fold.labels else np.nan for fold in folds],
    )


def _convention(drawn: Mapping[str, Part], other: Mapping[str, Part]) -> str:
    """What becomes of best of 2 minus best of 1 if the best pre-training rate belongs to 1, and whether its sign depends on it."""
    known = [name for name in drawn if np.isfinite([drawn[name].value, other[name].value]).all()]
    if not known:
        return "With that rate in regime 1 instead no rate of 2 is left to compare."
    numbers = ", ".join(f"{name} {100 * other[name].value:+.1f}" for name in known)
    turned = [name for name in known if np.sign(drawn[name].value) != np.sign(other[name].value)]
    sign = f"the sign depends on where the border is drawn ({', '.join(turned)})" if turned else "the sign stays"
    return f"With that rate in regime 1 instead, best of 2 minus best of 1 is, in points: {numbers}: {sign}."


CLAIMS = (
    Claim(
        id="FL5",
        sentence="The most useful frequency bands, in the paper the mid ones, matter most in 2A (ResNet clearly, ConvNet weakly), more so after fine-tuning or averaging.",
        criterion="The most useful of the groups background, low, mid and high is the one on which networks trained on it alone get most; all is undetermined while it gets less than twice chance, and what networks get on bands alone is undetermined while, mean over all data seeds, no group reaches twice chance in any of 1, 2A and 2B. Regimes by the other data seeds, regime 1 meaning its upper half; 95% intervals over data seeds, or over seeds where there is one data seed, all above 0. Most useful group, chosen by the other data seeds, minus the next one. ResNet-18: accuracy on images with that group alone after pre-training in 2A minus 1, and minus 2B; after the lowest FLR in 2A minus the best of the other groups; that lead over the best of the others after pre-training in 2A minus 1; its accuracy in 2A after the lowest FLR, and after averaging five checkpoints, minus after pre-training. ConvNet: accuracy with that group alone after pre-training in 2A minus 1. What removing the group costs is reported.",
        needs=("resnet", "convnet", *TRAINED_ALONE),
        check=_bands,
        figures=("4", "5", "7", "11"),
    ),
    Claim(
        id="FL6",
        sentence="The same shows in conventional training: fine-tuned and averaged networks are best from 2A; in regime 1 both help.",
        criterion="Momentum, weight decay, augmentation. By the other data seeds regime 2 begins at the best pre-training accuracy, as the paper draws it; 2A: PLRs whose accuracy after the lowest FLR is within noise of the best; regime 1 means its upper half but where it is compared with itself or by its best rate; the most useful group of bands is that of FL5. 95% intervals over data seeds, or over seeds where there is one data seed, all above 0: accuracy after the lowest FLR, and after averaging five checkpoints, at the best PLR of regime 2 minus the best of 1, both chosen by the other data seeds, and averaged in 2A minus 2B; accuracy in 1 after the lowest FLR, and after averaging, minus after pre-training; after the lowest FLR accuracy on images with the most useful group alone in 2A minus 1, in 2A minus the best of the other groups, and that lead in 2A minus 1 and minus 2B, all four undetermined while, mean over all data seeds, no group reaches twice chance in any of 1, 2A and 2B. What removing the group costs is reported, and so is the best of 2 minus the best of 1 with the best pre-training rate in 1 instead.",
        needs=("practical", *TRAINED_ALONE),
        check=_practice,
        figures=("6", "12", "13"),
    ),
)
