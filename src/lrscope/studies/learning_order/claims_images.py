"""LO1 to LO4: what networks on images do with a large and with a small learning rate.

U seeds. Every run of a sweep has its counterpart, with the same seed, in the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lrscope.studies import arrays
from lrscope.studies.learning_order.effects_images import (
    CLEAN,
    PATCH,
    Arm,
    Curves,
    anneals,
    as_read,
    chance,
    curves,
    first_above,
    place_between,
)
from lrscope.studies.types import REPORTED, Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, part

LOW, HIGH = 0, -1  # places of the two rates in the sweep `plain`
LATE = 0.75  # ours: from here to the anneal is "just before" it
SOON, SOON_END = 0.25, 0.5  # ours: parts of the way to the anneal; what is learned there is learned at once
SHORTLY, JUMP = 0.1, 0.2  # ours: the part of training after the anneal, and the least rise of accuracy there
ACCURACY = "accuracy (0 to 1)"
TEST, TRAINING = "test accuracy (0 to 1)", "training accuracy (0 to 1)"
METHODS = {"large": "large rate", "small": "small rate", "small_noise": "small rate with noise"}


def _first(results: StudyResults, name: str) -> float:
    """The epoch of the first anneal.

    Raises:
        Undetermined: the sweep has none.
    """
    found = anneals(results.sweep(name))
    if not found:
        raise Undetermined(f"the sweep {name} is not annealed")
    return found[0]


def _lead(results: StudyResults) -> Finding:
    plain, first = results.sweep("plain"), _first(results, "plain")
    following = [*anneals(plain)[1:], float("inf")][0]
    small, large = (Arm.of(plain, f"{name} rate", place) for name, place in (("small", LOW), ("large", HIGH)))
    late = LATE * first, first
    middle = (1 + chance(plain)) / 2
    if not arrays.average(large.train.mean(*late)) > middle:
        raise Undetermined(f"the large rate fits no {middle:.0%} of its training set before the anneal")

    def ahead(of: str, times: tuple[float, float]) -> arrays.Array:
        one, other = (getattr(arm, of).mean(*times) for arm in (small, large))
        return np.asarray(one - other)

    def behind(times: tuple[float, float]) -> arrays.Array:
        large.require_finished(small)
        return -ahead("clean", times)

    final = large.end - small.end
    return finding(
        [
            part("small leads before the anneal", ahead("clean", (0, first)), above=0.0, unit=TEST),
            part("small leads just before the anneal", ahead("clean", late), above=0.0, unit=TEST),
            part("small fits better before the anneal", ahead("train", (0, first)), above=0.0, unit=TRAINING),
            part("small fits better just before the anneal", ahead("train", late), above=0.0, unit=TRAINING),
            part("large leads after the first anneal", lambda: behind((first, following)), above=0.0, unit=TEST),
            part("large leads at the end", lambda: large.minus(small), above=0.0, unit=TEST),
        ],
        f"At the end the large rate is {100 * arrays.average(final):+.2f} points from the small one.",
        small_at_the_end=small.end.tolist(),
        large_at_the_end=large.end.tolist(),
        training_at_the_end=[arrays.average(arm.train.end) for arm in (small, large)],
    )


def _patches(results: StudyResults) -> Finding:
    first, end = _first(results, "large"), float(curves(results.sweep("large"), CLEAN).epochs[-1])
    guessing = chance(results.sweep("large"))
    half = (1 + guessing) / 2
    found = {name: curves(results.sweep(name), PATCH) for name in METHODS}
    clean = {name: curves(results.sweep(name), CLEAN) for name in METHODS}
    every = float(found["large"].epochs[0])
    best = max(arrays.average(one.end) for one in found.values())
    if not best > half:
        raise Undetermined(f"no method gets {half:.0%} of the images with a patch alone by its end")
    middle = (best + guessing) / 2
    soon = found["small"].mean(SOON * first, SOON_END * first)
    parts = [part("small rate early on", soon, above=middle, unit=ACCURACY)]
    for name in ("large", "small_noise"):
        parts += _after_the_anneal(METHODS[name], found[name], clean[name], (first, end), middle, half)
    of_patches = {name: first_above(one, middle) for name, one in found.items()}
    of_images = {name: first_above(one, half) for name, one in clean.items()}
    first_of_both = "; ".join(f"{METHODS[name]}: {_first_of(of_images[name], of_patches[name])}" for name in METHODS)
    return finding(
        parts,
        f"Accuracy on images with a patch alone; half-way between guessing and the best is {middle:.3g}. What comes first, where "
        f"accuracies are read every {every:g} epochs: {first_of_both}.",
        at_the_end={name: one.end.tolist() for name, one in found.items()},
        just_before={name: _late(one, first).tolist() for name, one in found.items()},
        epoch_of_patches=of_patches,
        epoch_of_images=of_images,
    )


def _first_of(images: float, patches: float) -> str:
    """Which of both passes half-way first, by how many epochs."""
    if not np.isfinite([images, patches]).all():
        never = [name for name, epoch in (("images", images), ("patches", patches)) if not np.isfinite(epoch)]
        return f"{' and '.join(never)} never half-way"
    if images == patches:
        return f"both by epoch {images:g}, in which the order cannot be seen"
    early, late = ("images", "patches") if images < patches else ("patches", "images")
    return f"{early} by epoch {min(images, patches):g}, {late} {abs(images - patches):g} epochs later"


def _after_the_anneal(
    method: str, patches: Curves, clean: Curves, times: tuple[float, float], middle: float, half: float
) -> list[Part]:
    """The parts of a method that should learn images before the anneal, patches after it; `times`: the anneal and the end."""
    first, end = times

    def known(values: arrays.Array) -> arrays.Array:
        images = arrays.average(_late(clean, first))
        if not images > half:
            raise Undetermined(f"{images:.0%} of the clean images before the anneal: nothing was learned first")
        return values

    before, after = _late(patches, first), patches.mean(first, first + SHORTLY * end)
    return [
        part(f"{method} just before the anneal", lambda: known(before), below=middle, unit=ACCURACY),
        part(f"{method}, rise at the anneal", lambda: known(after - before), above=JUMP, unit=ACCURACY),
        part(f"{method} at the end", lambda: known(patches.end), above=middle, unit=ACCURACY),
    ]


def _late(found: Curves, first: float) -> arrays.Array:
    return found.mean(LATE * first, first)


def _suffers(results: StudyResults) -> Finding:
    names = ("large", "small", "large_shown", "small_shown", "unpatched")
    arms = {name: Arm.of(results.sweep(name), name) for name in names}
    large, small, large_shown, small_shown, unpatched = arms.values()

    def place() -> arrays.Array:
        for other in (unpatched, small):
            small_shown.require_finished(other)
        return _place(small, unpatched, small_shown)

    harms = small_shown.end - small.end, large_shown.end - large.end
    differences = {
        "large minus small": large.end - small.end,
        "harm to small": harms[0],
        "to small minus to large": harms[0] - harms[1],
    }
    ends = {name: arrays.average(arm.end) for name, arm in arms.items()}
    return finding(
        [
            part("large minus small rate", lambda: large.minus(small), above=0.0, unit=TEST),
            part("small rate: harm of the patches", lambda: small_shown.minus(small), above=0.0, unit=TEST),
            part(
                "harm of the patches: small minus large rate",
                lambda: small_shown.minus(small) - large_shown.minus(large),
                above=0.0,
                unit=TEST,
            ),
            part("place between unpatched and shown images", place, above=-0.5, below=0.5, unit="of the way"),
        ],
        "On clean images at the end: " + ", ".join(f"{name} {value:.3f}" for name, value in ends.items()) + ". "
        f"{_told(differences)}",
        at_the_end=ends,
        as_read={name: as_read(values) for name, values in differences.items()}
        | _place_as_read(small, unpatched, small_shown),
        images_fitted={name: arrays.average(arm.images.end) for name, arm in arms.items()},
        training_at_the_end={name: arrays.average(arm.train.end) for name, arm in arms.items()},
    )


def _place(small: Arm, unpatched: Arm, shown: Arm) -> arrays.Array:
    return place_between(small.end, unpatched.end, shown.end)


def _place_as_read(*arms: Arm) -> dict[str, Any]:
    """The place, whether or not runs are finished; nothing where there is none."""
    try:
        return {"place": as_read(_place(*arms))}
    except Undetermined:
        return {}


def _told(differences: dict[str, arrays.Array]) -> str:
    """Means and intervals, which a part that is undetermined does not give."""
    read = {name: as_read(100 * values) for name, values in differences.items()}
    words = [f"{name} {one['mean']:+.2f} [{one['low']:.2f}, {one['high']:.2f}]" for name, one in read.items()]
    return f"Judged or not, in points with 95% intervals: {', '.join(words)}."


def _repairs(results: StudyResults) -> Finding:
    plain = results.sweep("plain")
    without = Arm.of(plain, "small", LOW), Arm.of(plain, "large", HIGH), Arm.of(results.sweep("plain_noise"), "noise")
    patched = tuple(Arm.of(results.sweep(name), name) for name in ("small", "large", "small_noise"))
    gains = [arrays.average(noisy.end - small.end) for small, _, noisy in (without, patched)]
    harms = [arrays.average(large.end - small.end) for small, large, _ in (without, patched)]
    differences = {
        "noise without patches": without[2].end - without[0].end,
        "large minus small without patches": without[1].end - without[0].end,
        "noise with patches": patched[2].end - patched[0].end,
        "large minus small with patches": patched[1].end - patched[0].end,
    }
    with_patches = part("images with patches: with noise minus without", lambda: _gain(*patched), above=0.0, unit=TEST)
    return finding(
        [
            part("images without patches: with noise minus without", lambda: _gain(*without), above=0.0, unit=TEST),
            replace(with_patches, verdict=REPORTED),
        ],
        f"On clean images at the end. {_told(differences)}",
        large_minus_small=harms,
        as_read={name: as_read(values) for name, values in differences.items()},
        repaired=[gain / harm if harm > 0 else None for gain, harm in zip(gains, harms, strict=True)],
    )


def _gain(small: Arm, large: Arm, noisy: Arm) -> arrays.Array:
    """What noise adds to the small rate's accuracy.

    Raises:
        Undetermined: whether the small rate does harm cannot be said, because a run is unfinished; it is not shown that it does;
            or the run with noise is unfinished.
    """
    harm = part("harm", lambda: large.minus(small), above=0.0, unit=TEST)
    if harm.verdict == "undetermined":
        raise Undetermined(f"whether there is harm cannot be said: {harm.note or 'too few seeds'}")
    if harm.verdict != "supported":
        above = f"by {100 * harm.value:+.2f} points [{100 * harm.low:.2f}, {100 * harm.high:.2f}]"
        raise Undetermined(
            f"the large rate, {above}, is not shown to be above the small one: there is no harm to counteract"
        )
    return noisy.minus(small)


CLAIMS = (
    Claim(
        id="LO1",
        sentence="The small learning rate leads, in training and test accuracy, until the anneal; the large one leads in test accuracy after it.",
        criterion="Clean data, both rates annealed by the same schedule from the same initialisations and batches; 95% intervals over seeds of differences seed by seed, all above 0. Small rate minus large one, mean over all epochs before the first anneal, and over the last quarter of these: test accuracy, and accuracy on the training batches. Large rate minus small one, test accuracy: mean from the first anneal to the second, and over the last tenth of training. Undetermined unless the large rate's training accuracy over the last quarter before the anneal is above half-way between guessing and 1, mean over seeds. What follows the anneal: undetermined where over the last tenth of training the rate that is worse on test images is the worse on its training set too, with a training accuracy under 99% mean over seeds: it may be unfinished.",
        needs=("plain",),
        check=_lead,
        figures=("1",),
    ),
    Claim(
        id="LO2",
        sentence="The small learning rate learns the patches at once; the large one, and the small one with noise before activations, only after the anneal.",
        criterion="Test images with a patch alone, on an image of zeros, evaluated without noise; learned means an accuracy above half-way between guessing and the best that any of the three methods has over the last tenth of training, mean over seeds; 95% intervals over seeds. Small rate, mean from a quarter to a half of the way to the anneal: above. Large rate, and small rate with noise: mean over the last quarter before the anneal below; mean over the tenth of training after the anneal minus that quarter above 0.2; mean over the last tenth of training above half-way. Of each of these two undetermined unless its accuracy on clean test images over the quarter before the anneal is above half-way between guessing and 1, mean over seeds: else nothing was learned first. All undetermined while the best is below half-way between guessing and 1.",
        needs=("large", "small", "small_noise"),
        check=_patches,
        figures=("3", "patches"),
    ),
    Claim(
        id="LO3",
        sentence="On clean images the small learning rate suffers from the patches, more than the large one does, as if it had learned from the unpatched images alone.",
        criterion="Accuracy on clean test images over the last tenth of training; 95% intervals over seeds of differences seed by seed. Large rate minus small rate, both trained with patches: above 0. Harm of the patches is the accuracy without patches, trained on the 84% of the images that still show one when there are patches, with as many steps, minus the accuracy with them. Harm to the small rate: above 0. Harm to the small rate minus harm to the large one: above 0. Place of the small rate trained with patches, seed by seed, 0 where it is trained on exactly the unpatched images, 1 on the 84%, with as many steps: between -0.5 and 0.5; undetermined while the lower end of the interval of the distance of these two is under a point. Only our sentence and Theorem 1.2 speak of the unpatched alone, Sec. 6 of a small fraction of the images: a place outside contradicts the former. Undetermined where of two that are compared the worse on test images is the worse on its training images too, with under 99% of them right over the last tenth, mean over seeds: it may be unfinished. Of these the lower accuracy counts, of those with a patch and those without; a patch alone does not count, because its pattern may be as faint as nothing. Every difference is given with its interval, of undetermined parts too.",
        needs=("large", "small", "large_shown", "small_shown", "unpatched"),
        check=_suffers,
        figures=("3",),
    ),
    Claim(
        id="LO4",
        sentence="Noise before activations, annealed, counteracts the harm of the small learning rate.",
        criterion="Accuracy on clean test images over the last tenth of training; 95% intervals over seeds of differences seed by seed. Trained on images without patches, small rate with noise that is annealed minus without: above 0. The same on images with patches is reported, because the paper states no number there. Undetermined while large rate minus small rate on the same data is not above 0: there is no harm to counteract. Undetermined where of two that are compared the worse on test images is the worse on its training images too, with under 99% of them right over the last tenth, mean over seeds: it may be unfinished. Of patched training images those that show an image count, as in LO3. The note says which of the two left a part undetermined. Every difference is given with its interval, of undetermined parts too.",
        needs=("plain", "plain_noise", "large", "small", "small_noise"),
        check=_repairs,
        figures=("3",),
    ),
)
