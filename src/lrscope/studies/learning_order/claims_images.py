"""LO1 to LO4: what networks on images do with a large and with a small learning rate.

U seeds. Every run of a sweep has its counterpart, with the same seed, in the others.
"""

from __future__ import annotations

from lrscope.studies import arrays
from lrscope.studies.learning_order.effects_images import (
    CLEAN,
    PATCH,
    TRAIN,
    Curves,
    anneals,
    chance,
    curves,
    place_between,
)
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, part

LOW, HIGH = 0, -1  # places of the two rates in the sweep `plain`
LATE = 0.75  # ours: from here to the anneal is "just before" it
SOON, SOON_END = 0.25, 0.5  # ours: parts of the way to the anneal; what is learned there is learned at once
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
    small, large = (curves(plain, CLEAN, place) for place in (LOW, HIGH))
    train_small, train_large = (curves(plain, TRAIN, place) for place in (LOW, HIGH))
    late = LATE * first, first
    final = large.end - small.end
    return finding(
        [
            part("small leads before the anneal", small.mean(0, first) - large.mean(0, first), above=0.0, unit=TEST),
            part("small leads just before the anneal", small.mean(*late) - large.mean(*late), above=0.0, unit=TEST),
            part(
                "small fits better just before the anneal",
                train_small.mean(*late) - train_large.mean(*late),
                above=0.0,
                unit=TRAINING,
            ),
            part(
                "large leads after the first anneal",
                large.mean(first, following) - small.mean(first, following),
                above=0.0,
                unit=TEST,
            ),
            part("large leads at the end", final, above=0.0, unit=TEST),
        ],
        f"At the end the large rate is {100 * arrays.average(final):+.2f} points from the small one.",
        small_at_the_end=small.end.tolist(),
        large_at_the_end=large.end.tolist(),
    )


def _patches(results: StudyResults) -> Finding:
    first = _first(results, "large")
    middle = (1 + chance(results.sweep("large"))) / 2
    found = {name: curves(results.sweep(name), PATCH) for name in METHODS}
    if all(not arrays.average(one.end) > middle for one in found.values()):
        raise Undetermined(f"no method gets {middle:.0%} of the images with a patch alone by its end")
    soon = found["small"].mean(SOON * first, SOON_END * first)
    others = ("large", "small_noise")
    before = [
        part(f"{METHODS[name]} just before the anneal", _late(found[name], first), below=middle, unit=ACCURACY)
        for name in others
    ]
    after = [part(f"{METHODS[name]} at the end", found[name].end, above=middle, unit=ACCURACY) for name in others]
    return finding(
        [part("small rate early on", soon, above=middle, unit=ACCURACY), *before, *after],
        f"Accuracy on images with a patch alone; half-way between guessing and all is {middle:.3g}.",
        at_the_end={name: one.end.tolist() for name, one in found.items()},
        just_before={name: _late(one, first).tolist() for name, one in found.items()},
    )


def _late(found: Curves, first: float) -> arrays.Array:
    return found.mean(LATE * first, first)


def _suffers(results: StudyResults) -> Finding:
    names = ("large", "small", "small_full", "unpatched")
    large, small, full, unpatched = (curves(results.sweep(name), CLEAN).end for name in names)
    place = place_between(small, unpatched, full)
    ends = {name: arrays.average(v) for name, v in zip(names, (large, small, full, unpatched), strict=True)}
    return finding(
        [
            part("large minus small rate", large - small, above=0.0, unit=TEST),
            part("small rate: without patches minus with them", full - small, above=0.0, unit=TEST),
            part(
                "place between the unpatched images alone and all images",
                place,
                above=-0.5,
                below=0.5,
                unit="of the way",
            ),
        ],
        "On clean images at the end: " + ", ".join(f"{name} {value:.3f}" for name, value in ends.items()) + ".",
        at_the_end=ends,
    )


def _repairs(results: StudyResults) -> Finding:
    plain, noise = results.sweep("plain"), results.sweep("plain_noise")
    small, large, noisy = curves(plain, CLEAN, LOW).end, curves(plain, CLEAN, HIGH).end, curves(noise, CLEAN).end
    patched = {name: curves(results.sweep(name), CLEAN).end for name in METHODS}
    gains = noisy - small, patched["small_noise"] - patched["small"]
    return finding(
        [
            part("images without patches: with noise minus without", gains[0], above=0.0, unit=TEST),
            part("images with patches: with noise minus without", gains[1], above=0.0, unit=TEST),
        ],
        f"Noise gains the small rate {100 * arrays.average(gains[0]):+.2f} points without patches, "
        f"{100 * arrays.average(gains[1]):+.2f} with them, on clean images.",
        large_minus_small=[arrays.average(large - small), arrays.average(patched["large"] - patched["small"])],
    )


CLAIMS = (
    Claim(
        id="LO1",
        sentence="The small learning rate leads, in training and test accuracy, until the anneal; the large one leads in test accuracy after it.",
        criterion="Clean data; 95% intervals over seeds, all above 0. Test accuracy of the small rate minus that of the large one, mean over all epochs before the first anneal, and over the last quarter of these; the same of training accuracy over the last quarter. Test accuracy of the large rate minus that of the small one, mean from the first anneal to the second, and over the last tenth of training.",
        needs=("plain",),
        check=_lead,
        figures=("1",),
    ),
    Claim(
        id="LO2",
        sentence="The small learning rate learns the patches at once; the large one, and the small one with noise before activations, only after the anneal.",
        criterion="Test images with a patch alone; learned means an accuracy above half-way between guessing and 1; 95% intervals over seeds. Small rate, mean from a quarter to a half of the way to the anneal: above. Large rate, and small rate with noise, mean over the last quarter before the anneal: below; over the last tenth of training: above. Undetermined while none of the three gets half-way by its end, mean over seeds.",
        needs=("large", "small", "small_noise"),
        check=_patches,
        figures=("3", "patches"),
    ),
    Claim(
        id="LO3",
        sentence="On clean images the small learning rate suffers from the patches, as if it had learned from the unpatched images alone.",
        criterion="Accuracy on clean test images over the last tenth of training; 95% intervals over seeds. Large rate minus small rate, both trained with patches: above 0. Small rate trained on the same images without patches, minus with patches: above 0. Place of the small rate trained with patches, 0 where it is trained on exactly the unpatched images with as many steps, 1 where it is trained on all images without patches: between -0.5 and 0.5, nearer to the first than to the second; undetermined while these two differ by less than a point.",
        needs=("large", "small", "small_full", "unpatched"),
        check=_suffers,
        figures=("3",),
    ),
    Claim(
        id="LO4",
        sentence="Noise before activations, annealed, counteracts the harm of the small learning rate.",
        criterion="Accuracy on clean test images over the last tenth of training; 95% intervals over seeds. Small rate with noise that is annealed minus without, trained on images without patches, and on images with patches: both above 0.",
        needs=("plain", "plain_noise", "large", "small", "small_noise"),
        check=_repairs,
        figures=("3",),
    ),
)
