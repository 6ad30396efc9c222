"""LD2 and LD3: the surface through a network's main path and its sub-paths' ends.

U seeds: draws of the training images, each with a surface of its own.
"""

from __future__ import annotations

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.late_decay import effects_planes as effects
from lrscope.studies.late_decay.effects_network import FITTED, SubPaths
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import Undetermined, finding, part

CLOSED = 1.0  # of lrscope.landscapes: above it a level set does not reach the frame
RISE = "of the level's height"
DECADES = "decades of distance"


def _level_sets(results: StudyResults) -> Finding:
    found = results.measurement("planes")
    train, test = (effects.rises(found, loss) for loss in ("train_loss", "test_loss"))
    shares = {str(of): arrays.average(found["share"].sel(loss=of).values) for of in found["loss"].values}
    explained = [arrays.average(column) for column in found["explained"].values.T]
    return finding(
        [
            part("training loss: pass to the frame", train, below=effects.OPEN, unit=RISE),
            part("test loss: pass to the frame", test, above=CLOSED, unit=RISE),
        ],
        f"The two components have {_percent(explained[0])} and {_percent(explained[1])} of the checkpoints' variance; the level sets hold "
        f"{_percent(shares['train_loss'])} (training) and {_percent(shares['test_loss'])} (test) of the frame.",
        verdicts={of: found["verdict"].sel(loss=of).values.tolist() for of in ("train_loss", "test_loss")},
    )


def _percent(part: float) -> str:
    return "none" if part != part else f"{part:.0%}"


def _toward_the_test_minimum(results: StudyResults) -> Finding:
    found = results.measurement("planes")
    paths = SubPaths.of(results.sweep("mse"), "cooldown")

    def ends() -> Array:
        if not min(arrays.average(paths.fitted[k]) for k in (0, -1)) >= FITTED:
            raise Undetermined(
                f"the earliest or the latest sub-path fits less than {FITTED:.0%} of the training images"
            )
        return effects.approach(found, main=False)

    return finding(
        [
            part("main path approaches the test minimum", effects.approach(found, main=True), above=0.0, unit=DECADES),
            part("so do the sub-paths' ends", ends, above=0.0, unit=DECADES),
        ],
        "Distances on the surface, from the first to the last checkpoint. The ends lie on the manifold of minima, because they fit the "
        "training images.",
    )


CLAIMS = (
    Claim(
        id="LD2",
        sentence="On the principal surface of main path and sub-paths the level set of the training loss is open, that of the test loss closed.",
        criterion="For each draw of the training images a surface over the first two principal components of the main path's snapshots and the ends of its sub-paths, the third component following a parabola in the first; a frame with room of half of the checkpoints' extent on every side. Level: the median loss over the last quarter of the main path, as drawn. Height of the lowest pass from the level set's lowest point to the frame, over the height of the level; 95% intervals over draws. Training loss: below 1/4, which is open. Test loss: above 1, which is closed. A draw of which the landscape says that it is undetermined says nothing; so does one whose set reaches the frame by a pass above 1/4, because a larger frame could close it. Refuted by a training loss whose set is closed, or a test loss whose set is open.",
        needs=("planes",),
        check=_level_sets,
        figures=("planes",),
    ),
    Claim(
        id="LD3",
        sentence="The main path at the large learning rate runs along the manifold of minima toward the test minimum.",
        criterion="On the surfaces of LD2, 95% intervals over draws. Distance from the surface's lowest test loss where checkpoints are drawn, in decades: it falls from the main path's first snapshot to its last, and from the end of the earliest sub-path to that of the latest, both above 0. The second is undetermined unless both ends fit 99% of the training images, mean over draws, so that they are minima. A draw whose lowest test loss lies at the frame says nothing. Refuted by a distance that grows.",
        needs=("planes", "mse"),
        check=_toward_the_test_minimum,
        figures=("planes",),
    ),
)
