"""LD2 and LD3: the surface through a network's main path and its sub-paths' ends.

U seeds: draws of the training images, each with a surface of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.late_decay import effects_planes as effects
from lrscope.studies.late_decay.effects_network import SubPaths
from lrscope.studies.types import Claim, Finding, StudyResults
from lrscope.studies.verdicts import finding, part

CLOSED = 1.0  # of lrscope.landscapes: above it a level set does not reach the frame
RISE = "of the level's height"
DECADES = "decades of distance"


def _level_sets(results: StudyResults) -> Finding:
    found = results.measurement("planes")

    def rises(loss: str) -> Callable[[], Array]:
        return lambda: effects.enough(effects.rises(found, loss))

    shares = {str(of): arrays.average(found["share"].sel(loss=of).values) for of in found["loss"].values}
    explained = [arrays.average(column) for column in found["explained"].values.T]
    return finding(
        [
            part("training loss: pass to the frame", rises("train_loss"), below=effects.OPEN, unit=RISE),
            part("test loss: pass to the frame", rises("test_loss"), above=CLOSED, unit=RISE),
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
        at = paths.finished().at
        return effects.enough(effects.ends_approach(found, float(at[0]), float(at[-1])))

    def main() -> Array:
        return effects.enough(effects.main_path_approaches(found))

    return finding(
        [
            part("main path approaches the test minimum", main, above=0.0, unit=DECADES),
            part("so do the sub-paths' ends", ends, above=0.0, unit=DECADES),
        ],
        "Distances on the surface, of the main path from its late training loss on. The ends lie on the manifold of minima, because they fit the "
        "training images.",
    )


CLAIMS = (
    Claim(
        id="LD2",
        sentence="On the principal surface of main path and sub-paths the level set of the training loss is open, that of the test loss closed.",
        criterion="For each draw of the training images a surface over the first two principal components of the main path's snapshots and the ends of its sub-paths, the third component following a parabola in the first; a frame with room of half of the checkpoints' extent on every side. Level: the median loss over the last quarter of the main path, as drawn. Height of the lowest pass from the level set's lowest point to the frame, over the height of the level; 95% intervals over draws. Training loss: below 1/4, which is open. Test loss: above 1, which is closed. A draw of which the landscape says that it is undetermined says nothing; so does one whose set reaches the frame by a pass above 1/4, because a larger frame could close it. A pass above 10 heights counts as 10. Undetermined if more than a quarter of the draws say nothing. Refuted by a training loss whose set is closed, or a test loss whose set is open.",
        needs=("planes",),
        check=_level_sets,
        figures=("planes",),
    ),
    Claim(
        id="LD3",
        sentence="The main path at the large learning rate runs along the manifold of minima toward the test minimum.",
        criterion="On the surfaces of LD2, 95% intervals over draws. Distance from the surface's lowest test loss where checkpoints are drawn, in decades: it falls along the main path, and from the end of the earliest sub-path to that of the latest, both above 0. The main path counts from the first snapshot, draw by draw, whose training loss is at most twice (ours) the median of its snapshots' over the last quarter of the path, because before that it still comes to the manifold. The earliest and the latest sub-path are those of the times whose ends fit 99% of the training images, mean over draws, so that they are minima; undetermined with fewer than three such times. A draw whose lowest test loss lies at the frame says nothing, nor does one with no snapshot but the last at the late level. Undetermined if more than a quarter of the draws say nothing. Refuted by a distance that grows.",
        needs=("planes", "mse"),
        check=_toward_the_test_minimum,
        figures=("planes",),
    ),
)
