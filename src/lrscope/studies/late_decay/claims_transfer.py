"""LD8: what LD1 reads, with another network, other images, Adam and RMSprop.

U seeds: draws of the training images, each with an initialisation of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lrscope.studies import arrays
from lrscope.studies.late_decay.claims_network import DECADES, by_time, means, said
from lrscope.studies.late_decay.effects_network import COOLDOWN, SubPaths
from lrscope.studies.late_decay.sweeps_transfer import CHANGED
from lrscope.studies.types import REPORTED, Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import finding, part

# Properties of `SubPaths` -> name, unit and the side of 0 that LD1 has them on.
READ: dict[str, tuple[str, str, dict[str, Any]]] = {
    "fall": ("earliest over latest decay", DECADES, {"above": 0.0}),
    "fall_at_equal_loss": ("the same at equal training loss", DECADES, {"above": 0.0}),
    "trend": ("the later the lower", "Kendall's tau", {"below": 0.0}),
    "last_doubling": ("gain of the last doubling", DECADES, {"above": 0.0}),
}


def _elsewhere(results: StudyResults) -> Finding:
    every = {name: SubPaths.of(results.sweep(name), COOLDOWN) for name in CHANGED}
    return finding(
        [one for name, paths in every.items() for one in _parts(CHANGED[name], paths)],
        "Each differs from LD1's squared error in what its name says, in the number of draws and in where the main path ends; at laptop scale the "
        "ResNet also has smaller images. Test losses by time, and points of test accuracy, latest minus earliest decay: "
        f"{' '.join(_ends(*of) for of in every.items())}",
        times={name: paths.at.tolist() for name, paths in every.items()},
        test_loss={name: means(paths.test) for name, paths in every.items()},
        training_loss={name: means(paths.train) for name, paths in every.items()},
        training_accuracy={name: means(paths.fitted) for name, paths in every.items()},
        test_accuracy={name: means(paths.accuracy) for name, paths in every.items()},
    )


def _parts(words: str, paths: SubPaths) -> list[Part]:
    """Over the times that count, as in LD1."""

    def one(of: str) -> Part:
        name, unit, side = READ[of]
        return part(f"{words}: {name}", lambda: getattr(paths.finished(), of), unit=unit, **side)

    return [replace(one(of), verdict=REPORTED) for of in READ]


def _ends(name: str, paths: SubPaths) -> str:
    points = arrays.average(100 * (paths.accuracy[-1] - paths.accuracy[0]))
    return f"{CHANGED[name]}: {by_time(paths, paths.test)}; {said(points, '+.2f')} points."


CLAIMS = (
    Claim(
        id="LD8",
        sentence="Whether the test loss is the lower the later the learning rate decays with another network, on other images, and with Adam and RMSprop, too (the summary's next checks).",
        criterion="The squared error's main path and sub-paths of LD1 with one thing changed in each sweep, three draws of the training images, and at laptop scale a main path that ends with the decay at epoch 320. (1) A ResNet-18, which has batch norms, at LD1's rates, and at laptop scale on images of 7x7 pixels instead of 14x14. (2) Other images, at LD1's rates: 1,000 of the 8x8 digits of scikit-learn at laptop scale, SVHN at paper scale. (3) Adam and (4) RMSprop, with their usual constants, weight decay as an L2 term in the gradient, and a large rate of their own, because SGD's means nothing to them: of 1e-4, 3e-4, 1e-3, 3e-3 and 1e-2 the largest at which a main path of 80 epochs, seed 0 at laptop scale, stays finite and classifies at least 90% of its training images over its last eighth. Only times count whose sub-paths fit 99% of the training images at their end, mean over draws; where fewer than three do, nothing is read. Reported of each as LD1 reads it, with 95% intervals over draws: by how many decades the final test loss of the earliest decay lies above that of the latest, the same where training losses are equal, Kendall's tau of times and final test losses, and the decades that the last doubling of the time gains. LD1 shows there, too, where the first two are above 0 and tau is below 0. An interval on the other side of 0 would speak against it; one that holds 0 says nothing.",
        needs=tuple(CHANGED),
        check=_elsewhere,
        figures=("transfers",),
        exploratory=True,
    ),
)
