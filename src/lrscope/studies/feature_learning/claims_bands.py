"""FL5 and FL6: on which frequency bands of images networks rely, on the sphere and in conventional training.

L pre-training rates, U seeds (data seed x seed).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lrscope.studies.arrays import Array
from lrscope.studies.feature_learning.effects import ACCURACY, over, trained
from lrscope.studies.feature_learning.effects_bands import (
    GROUPS,
    ONLY,
    Useful,
    above_floor,
    ahead,
    lost,
    on_set,
    share,
    useful,
    whole,
)
from lrscope.studies.feature_learning.folds import Fold, by_accuracy, folds_of, per_fold
from lrscope.studies.types import Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import finding, interval, part

TRAINED_ALONE = tuple(ONLY + name for name in GROUPS)
Effect = Callable[[Fold], Array]


def _part(folds: list[Fold], name: str, effect: Effect, unit: str = ACCURACY) -> Part:
    return part(name, lambda: per_fold(folds, effect), above=0.0, unit=unit)


def _read(stage: str, effect: Effect) -> Effect:
    """The effect, undetermined where bands alone measure a floor."""

    def read(fold: Fold) -> Array:
        above_floor(fold, stage)
        return effect(fold)

    return read


def _rise(of: Effect, low: Callable[[Fold], list[int]]) -> Effect:
    """Mean of `of` [L, U] over 2A minus over other PLRs [U]."""
    return lambda fold: over(of(fold), fold.inside("2A")) - over(of(fold), low(fold))


def _alone(stage: str, group: str) -> Effect:
    return lambda fold: on_set(fold, stage, group)


def _without(stage: str, group: str) -> Effect:
    return lambda fold: lost(fold, stage, group)


def _one(fold: Fold) -> list[int]:
    return fold.upper_one()


def _b(fold: Fold) -> list[int]:
    return fold.inside("2B")


def _more(stage: str, group: str) -> Effect:
    """Accuracy on a group alone in 2A at a stage minus after pre-training [U]."""
    return lambda fold: over(on_set(fold, stage, group) - on_set(fold, "pre", group), fold.inside("2A"))


def _resnet(folds: list[Fold], group: str) -> list[Part]:
    """The parts about the ResNet for a group of bands."""
    return [
        _part(folds, f"ResNet: {group} alone, 2A above 1", _read("pre", _rise(_alone("pre", group), _one))),
        _part(folds, f"ResNet: {group} alone, 2A above 2B", _read("pre", _rise(_alone("pre", group), _b))),
        _part(
            folds,
            f"ResNet: {group} alone ahead of the others in 2A",
            _read("low", lambda fold: ahead(fold, "low", group, on_set, "2A")),
        ),
        _part(
            folds,
            f"ResNet: sparser in 2A than in 1, part of {group}",
            _read("pre", _rise(lambda fold: share(fold, "pre", group), _one)),
            "part of accuracies above chance",
        ),
        _part(folds, f"ResNet: {group} alone, more by the lowest FLR", _read("low", _more("low", group))),
        _part(folds, f"ResNet: {group} alone, more by averaging", _read("swa", _more("swa", group))),
        _part(folds, f"ResNet: removing {group} costs more in 2A than in 1", _rise(_without("low", group), _one)),
        _part(
            folds,
            f"ResNet: removing {group} costs most in 2A",
            lambda fold: ahead(fold, "low", group, lost, "2A"),
        ),
    ]


def _bands(results: StudyResults) -> Finding:
    found = useful(results)
    resnet, convnet = (folds_of(results.sweep(name)) for name in ("resnet", "convnet"))
    weak = _rise(_alone("pre", found.best), _one)
    return finding(
        [
            _lead(found),
            *_resnet(resnet, found.best),
            _part(convnet, f"ConvNet: {found.best} alone, 2A above 1", _read("pre", weak)),
        ],
        _note(found, "The paper's most useful group is mid."),
        alone={name: interval(values)[:3] for name, values in found.accuracy.items()},
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

    def gain(stage: str) -> Effect:
        return lambda fold: over(whole(fold, stage) - trained(fold), fold.inside("1"))

    def stage_rise(stage: str, low: Callable[[Fold], list[int]]) -> Effect:
        return _rise(lambda fold: whole(fold, stage), low)

    return finding(
        [
            _part(folds, "fine-tuning: 2A above 1", stage_rise("low", _one)),
            _part(folds, "averaging: 2A above 1", stage_rise("swa", _one)),
            _part(folds, "averaging: 2A above 2B", stage_rise("swa", _b)),
            _part(folds, "fine-tuning helps in 1", gain("low")),
            _part(folds, "averaging helps in 1", gain("swa")),
            _part(folds, f"{group} alone, 2A above 1", _read("low", _rise(_alone("low", group), _one))),
            _part(
                folds,
                f"{group} alone ahead of the others in 2A",
                _read("low", lambda fold: ahead(fold, "low", group, on_set, "2A")),
            ),
            _part(folds, f"removing {group} costs more in 2A than in 1", _rise(_without("low", group), _one)),
        ],
        _note(found, "Regime 2 begins at the best pre-training accuracy, as the paper draws it."),
        border=[float(fold.plr[fold.labels.index("2A")]) if "2A" in fold.labels else np.nan for fold in folds],
    )


CLAIMS = (
    Claim(
        id="FL5",
        sentence="The most useful frequency bands, in the paper the mid ones, matter most in 2A (ResNet clearly, ConvNet weakly), more so after fine-tuning or averaging.",
        criterion="The most useful of the groups background, low, mid and high is the one on which networks trained on it alone get most; all is undetermined while it gets less than twice chance, and what networks get on bands alone is undetermined while in 2A no group reaches twice chance. Regimes by the other data seeds, regime 1 meaning its upper half; 95% intervals over data seeds, all above 0. Most useful group minus the next one. ResNet-18: accuracy on images with that group alone after pre-training in 2A minus 1, and minus 2B; after the lowest FLR in 2A minus the best of the other groups; its part of all groups' accuracy above chance after pre-training in 2A minus 1; its accuracy in 2A after the lowest FLR, and after averaging five checkpoints, minus after pre-training; what removing it costs after the lowest FLR in 2A minus 1, and in 2A minus what removing another one costs at most. ConvNet: accuracy with that group alone after pre-training in 2A minus 1.",
        needs=("resnet", "convnet", *TRAINED_ALONE),
        check=_bands,
        figures=("4", "5", "7", "11"),
    ),
    Claim(
        id="FL6",
        sentence="The same shows in conventional training: fine-tuned and averaged networks are best from 2A; in regime 1 both help, because convergence was incomplete.",
        criterion="Momentum, weight decay, augmentation. By the other data seeds regime 2 begins at the best pre-training accuracy, as the paper draws it, and 2A ends where the lowest FLR does; regime 1 means its upper half but where it is compared with itself; the most useful group of bands is that of FL5. 95% intervals over data seeds, all above 0: accuracy after the lowest FLR, and after averaging five checkpoints, in 2A minus 1, and averaged in 2A minus 2B; accuracy in 1 after the lowest FLR, and after averaging, minus after pre-training; after the lowest FLR accuracy on images with the most useful group alone in 2A minus 1, and in 2A minus the best of the other groups, both undetermined while in 2A no group reaches twice chance; what removing it costs in 2A minus 1.",
        needs=("practical", *TRAINED_ALONE),
        check=_practice,
        figures=("6", "12", "13"),
    ),
)
