"""LD2 and LD3: the surface through a network's main path and its sub-paths' ends.

U seeds: draws of the training images, each with a surface of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import xarray as xr

from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.binomial import binomial_part
from lrscope.studies.late_decay import effects_planes as effects
from lrscope.studies.late_decay.effects_network import SubPaths
from lrscope.studies.types import REPORTED, Claim, Finding, Part, StudyResults
from lrscope.studies.verdicts import finding, part

MOST = 0.5  # ours: more than half of the draws
SETS = {"training loss": ("train_loss", "open", "closed"), "test loss": ("test_loss", "closed", "open")}
OF_DRAWS = "of the draws"
DECADES = "decades of distance"


def _level_sets(results: StudyResults) -> Finding:
    found = results.measurement("planes")
    counts = {name: effects.level_sets(found, *asked) for name, asked in SETS.items()}
    shares = {str(of): arrays.average(found["share"].sel(loss=of).values) for of in found["loss"].values}
    judged = [_counted(f"{name}: {SETS[name][1]}", *row) for name, row in counts.items()]
    return finding(
        [*judged, *_at_other_height(found), *_passes(found)],
        f"{_contrast(found)} The level sets hold {_percent(shares['train_loss'])} (training) and {_percent(shares['test_loss'])} (test) of the frame. {_near(found)}",
        verdicts={of: found["verdict"].sel(loss=of).values.tolist() for of in ("train_loss", "test_loss")},
        rises={of: _finite(found["rise"].sel(loss=of).values) for of in ("train_loss", "test_loss")},
        held=_finite(effects.held(found)),
    )


def _counted(name: str, good: int, bad: int, silent: int) -> Part:
    return binomial_part(name, good, good + bad, above=MOST, silent=silent, parts=len(SETS), unit=OF_DRAWS)


def _at_other_height(found: xr.Dataset) -> list[Part]:
    """Each level set at the relative height of the other's, beside the claim: what the rule would say is its note."""
    other = {of: next(name for name, *_ in SETS.values() if name != of) for of, *_ in SETS.values()}
    parts = []
    for name, (of, good, bad) in SETS.items():
        counts = effects.at_other_height(found, of, other[of], good, bad)
        one = _counted(f"{name} at the other's height: {good}", *counts)
        parts.append(replace(one, verdict=REPORTED, note=f"by the same rule {one.verdict}; {one.note}"))
    return parts


def _passes(found: xr.Dataset) -> list[Part]:
    """How high each loss's pass to the frame lies, whatever the level."""
    return [
        _reported(f"{name}: pass over the lowest", effects.near(found, effects.passes(found, of)), "decades of loss")
        for name, (of, *_) in SETS.items()
    ]


def _contrast(found: xr.Dataset) -> str:
    """From where to where each level set is closed, in words: levels over the lowest loss."""
    told = {
        name: 10 ** arrays.average(effects.near(found, effects.passes(found, of))) for name, (of, *_) in SETS.items()
    }
    said = "; ".join(f"{name}: {_times(value)}" for name, value in told.items())
    return f"A level set is closed up to so many times its loss's lowest value (geometric means): {said}."


def _times(value: float) -> str:
    return f"{value:.3g}" if value == value else "none"


def _reported(name: str, values: Array | Callable[[], Array], unit: str = DECADES) -> Part:
    return replace(part(name, values, unit=unit, above=0.0), verdict=REPORTED)


def _near(found: xr.Dataset) -> str:
    """How near the checkpoints lie to the surface, in words."""
    first, second = (arrays.average(column) for column in found["explained"].values.T)
    return (
        f"The surface holds {_percent(arrays.average(effects.held(found)))} of the checkpoints' variance; its two components "
        f"have {_percent(first)} and {_percent(second)}."
    )


def _finite(values: Array) -> list[float | None]:
    return [float(value) if value == value and abs(value) != float("inf") else None for value in values]


def _percent(part: float) -> str:
    return "none" if part != part else f"{part:.0%}"


def _toward_the_test_minimum(results: StudyResults) -> Finding:
    found = results.measurement("planes")
    paths = SubPaths.of(results.sweep("mse"), "cooldown")

    wider, stays = int((found["wider"].values > 1).sum()), effects.stays_at_level(found)

    def read(values: Array) -> Array:
        return effects.enough(effects.near(found, values))

    def ends(to: str) -> Array:
        at = paths.finished().at
        return read(effects.ends_approach(found, float(at[0]), float(at[-1]), to))

    def main(to: str) -> Array:
        return read(effects.main_path_approaches(found, to))

    return finding(
        [
            part("main path approaches the test minimum", lambda: main("test_loss"), above=0.0, unit=DECADES),
            part("so do the sub-paths' ends", lambda: ends("test_loss"), above=0.0, unit=DECADES),
            _reported("main path, to the lowest training loss", lambda: main("train_loss")),
            _reported("ends, to the lowest training loss", lambda: ends("train_loss")),
            _reported("ends, to the main path's last snapshot", lambda: ends("end")),
            _reported(
                "distance of the latest end, over the paths' extent", lambda: _left(found, paths), "of the extent"
            ),
        ],
        "Not judged: that it runs along the manifold, and that it comes nearer to the test minimum than to others (controls, reported: along "
        "a line a path comes nearer to whatever lies at its end). Distances on the surface, of the main path from its late training loss on. From there on "
        f"{_percent(arrays.average(stays))} of its snapshots are at that level. The ends fit the training images. In "
        f"{wider} of {found.sizes['draw']} draws the lowest test loss lies outside of the first frame. {_near(found)}",
        at_late_level=_finite(stays),
    )


def _left(found: xr.Dataset, paths: SubPaths) -> Array:
    return effects.enough(effects.near(found, effects.last_distance(found, float(paths.finished().at[-1]))))


CLAIMS = (
    Claim(
        id="LD2",
        sentence="On the principal surface of main path and sub-paths the level set of the training loss is open, that of the test loss closed.",
        criterion="For each draw of the training images a surface over the first two principal components of the main path's snapshots and the ends of its sub-paths, the third component following a parabola in the first; a frame with room of half of the checkpoints' extent on every side. Level: the median, over the last quarter of the main path's snapshots, of the surface's own loss at their coordinates. The first component runs along the valley. So the set is read along the valley's floor: in each column of the grid the lowest value, also looked for between the rows beside it, at a quarter of their distance. Height of the pass from the lowest floor to the frame, over the height of the level, both measured from the loss at that lowest floor: at most 1/4 the set is open, above 1 it is closed. The pass is the highest floor on the way to the first or the last column, or to a column and along that to the first or the last row, whichever is lowest. The training loss is open, and the test loss closed, each in more than half of the draws: exact 95% intervals (Clopper and Pearson), that is, a sign test: of the 10 draws of `laptop` 9 support, and 9 refute. A draw says nothing whose set is neither, because a larger frame could close it, nor one whose set has its lowest floor in the two columns (ours) beside the frame, because a bowl whose middle lies beyond the frame looks the same, nor one whose level is not above its lowest floor or whose set holds the floor of fewer than three columns, nor one whose surface holds less than half (ours) of the checkpoints' variance. Such draws count against support, and against refutation; undetermined where they decide. Refuted by a training loss whose set is closed, or a test loss whose set is open, in more than half of the draws, also at the level that two parts ask for. Such a refutation stands whatever the other part says. The ends of sub-paths stand for all of their checkpoints (ours). Reported: both counts at the other loss's relative height, that is, at a level whose ratio to the loss at the set's lowest point is that of the other loss, with the same pass; and the pass over the loss at that lowest point, in decades: a level at a smaller ratio is closed.",
        needs=("planes",),
        check=_level_sets,
        figures=("planes",),
    ),
    Claim(
        id="LD3",
        sentence="Once its training loss has come to its late level, the main path at the large learning rate comes nearer to the test minimum. (That it runs along the manifold of minima on its way is not judged.)",
        criterion="On the surfaces of LD2, 95% intervals over draws. Distance, in the plane's coordinates and in decades, between a checkpoint's place and the lowest test loss of the whole frame: it falls along the main path, and from the end of the earliest sub-path to that of the latest, both above 0. The main path counts from the first of three (ours) successive snapshots, draw by draw, whose training losses are at most twice (ours) the median of its snapshots' over the last quarter of the path, because before that it still comes to the manifold. The earliest and the latest sub-path are those of the times whose ends fit 99% of the training images, mean over draws, so that they are minima; undetermined with fewer than three such times. Where the lowest test loss lies at the frame, frames 2 and then 4 times as wide are drawn (ours); a draw says nothing only if it lies at the widest one, too, nor does one without three such snapshots, nor one whose surface holds less than half (ours) of the checkpoints' variance. Undetermined if more than a quarter of the draws say nothing. Refuted by a distance that grows, at 95% and at the level that two parts ask for. Such a refutation stands whatever the other part says. Reported: how many of the snapshots from that first one on have a training loss at the late level. Reported as controls, because along a line a path comes nearer to whatever lies at its end: the same falls of the distance to the lowest training loss of the grid, of both paths, and of the ends to the main path's last snapshot; and the distance of the latest end from the lowest test loss, over the checkpoints' extent.",
        needs=("planes", "mse"),
        check=_toward_the_test_minimum,
        figures=("planes",),
    ),
)
