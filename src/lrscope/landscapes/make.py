"""From checkpoints to a landscape: a surface through them, values over a grid on it, level sets of the main path.

N checkpoints, P parameters, W x H points of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from lrscope.checked import Count, Seed, checked
from lrscope.errors import LrscopeError
from lrscope.landscapes.components import components, distances
from lrscope.landscapes.level_sets import LevelSet, level_set
from lrscope.landscapes.rows import Paths, Rows, in_memory
from lrscope.landscapes.surfaces import Surface, filter_normalised, of_components
from lrscope.landscapes.told import Told
from lrscope.landscapes.types import Landscape
from lrscope.measures.common import undisturbed
from lrscope.measures.landscape import MEMORY, Memory, Values, evaluate
from lrscope.measures.plane import Plane
from lrscope.readers import Number, Whole
from lrscope.tasks.task import Task
from lrscope.trained import Trained

Array = NDArray[np.float64]
GRID = (42, 31)  # late_decay's picture
MARGIN = 0.5  # ours, of the checkpoints' extent, on every side
LEVEL_PART = 4  # ours: the level is that of the last quarter of the main path, where it has come to
RANDOM_EXTENT = 1.0  # Li et al. 2018: coordinates from -1 to 1
Margin = Annotated[float, Number(0, 100)]
Side = Annotated[int, Whole(3, 10_000)]
UNUSED = {
    "through": {
        "surface": "as a plane through three checkpoints has no third component",
        "seed": "as only random directions are drawn, with around",
    },
    "around": {
        "surface": "as random directions have no third component",
        "margin": "as coordinates along random directions go from -1 to 1",
    },
    "": {"seed": "as only random directions are drawn, with around"},
}
SURFACES = {"curved": "PCA of all checkpoints, PC3 following a parabola in PC1", "flat": "PCA of all checkpoints, flat"}


@checked
def landscape(
    task: Task | Trained,
    checkpoints: Any,
    *,
    surface: Literal["curved", "flat"] | None = None,
    through: Sequence[str | int] | None = None,
    around: str | int | None = None,
    seed: Seed | None = None,
    grid: tuple[Side, Side] = GRID,
    margin: Margin | None = None,
    since: str | int | None = None,
    until: str | int | None = None,
    leaves: Mapping[str, Any] | None = None,
    test: bool = True,
    data_seed: Seed | None = None,
    batch_size: Count | None = None,
    path: Literal["single", "batched"] | None = None,
    memory: Memory = MEMORY,
    device: str = "cpu",
) -> Landscape:
    """The loss and accuracy around the checkpoints of a network, on a surface in weight space through them.

    Principal components of all checkpoints are the surface's axes (Ren, Ma and Ying 2024); `through` and `around` choose others.

    Args:
        task: the model, the examples and the loss; or a finished sweep, `Trained`, with its states as checkpoints.
        checkpoints: a folder of safetensors or of state dicts saved by PyTorch, read in the order of their names, numbers as
            numbers: its files are the main path, each folder in it a path that leaves the main one. Or a list of files or state
            dicts. Or folders and lists by the name of their path, the main one first.
        surface: `curved`, the default, lets the third component follow a parabola in the first, fitted over all checkpoints;
            `flat` leaves it at its mean. Neither goes with `through` or `around`.
        through: three checkpoints, by label or number, for the plane through them.
        around: one checkpoint, for a plane along two random filter-normalised directions (Li et al. 2018) drawn from `seed`, by
            default 0; coordinates go from -1 to 1.
        grid: points along x and y.
        margin: room around all checkpoints on every side, in their extents along x and y; by default 0.5. Not with `around`.
        since, until: the part of the main path, by label or number, whose level is judged; left out, its last quarter.
        leaves: the main path's checkpoint at which a path leaves it, by label or number; left out, the nearest to the path's
            first checkpoint in weight space.
        test: also evaluate the test examples.
        data_seed: of the examples; left out, 0, or the sweep's first.
        batch_size: examples that train-mode statistics of batch norms are taken over; left out, the task's, or 128; not with a
            sweep, which states its own.
        path, memory: as in `measures.landscape.at_points`; left out, convolutions on a CPU are evaluated one network at a time.
        device: as of a sweep; `Trained` has one already.

    Raises:
        LrscopeError: an option that the chosen surface has no use for; checkpoints that are none of the model, that are too few
            or too alike, hold other numbers than real finite ones, or need more memory than there is; labels of checkpoints that
            there are not.
    """
    from lrscope.landscapes.networks import of_task, of_trained

    view = View(surface, through, around, seed, grid, margin, since, until, leaves or {})
    if isinstance(task, Trained):
        _as_trained(batch_size, device)
        survey = of_trained(task, checkpoints, data_seed=data_seed, path=path, test=test)
    else:
        survey = of_task(
            task,
            checkpoints,
            data_seed=data_seed or 0,
            batch_size=batch_size,
            device=device,
            path=path,
            memory=memory,
            test=test,
        )
    with undisturbed(survey.values.program.net, "landscape"):
        found = survey_of(
            survey.values,
            survey.rows,
            survey.paths,
            view,
            shapes=survey.shapes,
            dtype=survey.dtype,
            device=survey.values.material.device,
            memory=memory,
        )
    data = found.data.assign_attrs(survey.facts)
    return Landscape(data=data, surface=found.surface, level_sets=found.level_sets, notes=(*survey.notes, *found.notes))


def _as_trained(batch_size: int | None, device: str) -> None:
    """A sweep's states are evaluated where, and in batches as, they were trained."""
    if batch_size is not None:
        raise LrscopeError(f"batch_size: {batch_size} is of no use with a sweep, which states its own: leave it out")
    if device != "cpu":
        raise LrscopeError(
            f"device: {device} is of no use with a sweep: open it there, Trained.open(..., device={device!r})"
        )


@dataclass(frozen=True)
class View:
    """What is looked at; see `landscape`."""

    surface: Literal["curved", "flat"] | None = None
    through: Sequence[str | int] | None = None
    around: str | int | None = None
    seed: int | None = None
    grid: tuple[int, int] = GRID
    margin: float | None = None
    since: str | int | None = None
    until: str | int | None = None
    leaves: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.through is not None and self.around is not None:
            raise LrscopeError(
                "through: a plane through checkpoints has no random directions: leave around out, or through"
            )
        chosen = next((name for name in UNUSED if getattr(self, name, None) is not None), "")
        for name, why in UNUSED[chosen].items():
            if getattr(self, name) is not None:
                raise LrscopeError(f"{name}: {getattr(self, name)} is of no use, {why}: leave it out")

    @property
    def curved(self) -> bool:
        """May the third component follow a parabola? It does where nothing else is asked for."""
        return self.surface != "flat"


@checked
def function_landscape(
    values: Values,
    paths: Mapping[str, Any],
    *,
    surface: Literal["curved", "flat"] | None = None,
    through: Sequence[str | int] | None = None,
    grid: tuple[Side, Side] = GRID,
    margin: Margin | None = None,
    since: str | int | None = None,
    until: str | int | None = None,
    leaves: Mapping[str, Any] | None = None,
    memory: Memory = MEMORY,
) -> Landscape:
    """`landscape` of a function of weights, such as a theory model's losses: `measures.landscape.FunctionValues`.

    Args:
        values: its names are the values'; those that end in `loss` have level sets.
        paths: weights [T, P] by the name of their path, the main one first.
    """
    rows, named = in_memory(paths)
    if rows.size != values.size:
        raise LrscopeError(
            f"paths: they have {rows.size} parameters, the values {values.size}: pass points of one space"
        )
    view = View(surface, through, None, None, grid, margin, since, until, leaves or {})
    return survey_of(values, rows, named, view, shapes={}, dtype=torch.float64, memory=memory)


def survey_of(
    values: Values,
    rows: Rows,
    paths: Paths,
    view: View,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: torch.dtype,
    device: torch.device | None = None,
    memory: int,
) -> Landscape:
    """Surface, grid, values and level sets; `shapes` are those of the network's tensors, for random directions."""
    seen, about, arrays, notes = _surface(rows, paths, view, shapes)
    at = np.array([seen.coordinates(rows.row(i)) for i in range(rows.count)])
    x, y = _frame(at, view)
    columns, lines = (a.ravel() for a in np.meshgrid(x, y))
    told = Told(values, 2 * rows.count + len(columns))
    own = evaluate(told, (rows.row(i).to(device, dtype)[None] for i in range(rows.count)), memory=memory)
    below = evaluate(told, seen.points(at[:, 0], at[:, 1], dtype, device), memory=memory)
    over = evaluate(told, seen.points(columns, lines, dtype, device), memory=memory)
    data = xr.Dataset(
        {
            **{name: (("y", "x"), v.reshape(len(y), len(x))) for name, v in _accuracies(over).items()},
            **{"own_" + name: ("checkpoint", v) for name, v in _accuracies(own).items()},
            **{"surface_" + name: ("checkpoint", v) for name, v in _accuracies(below).items()},
            **{name: ("checkpoint", at[:, i]) for i, name in enumerate(("at_x", "at_y", "off"))},
            "path": ("checkpoint", np.asarray(paths.path, dtype=np.int32)),
            "label": ("checkpoint", list(paths.labels)),
            "leaves": ("path_name", _leaves(rows, paths, view.leaves or {})),
            **arrays,
        },
        {"x": x, "y": y, "path_name": list(paths.names)},
        about,
    )
    main = _judged_part(paths, view)
    sets = [_level_set(data, name, main) for name in over if name.endswith("loss")]
    return Landscape(data=data, surface=seen, level_sets=tuple(sets), notes=tuple(notes))


def _level_set(data: xr.Dataset, name: str, main: NDArray[np.intp]) -> LevelSet:
    """The level set of some of the checkpoints, by their numbers."""
    path = np.stack([data[axis].values[main] for axis in ("at_x", "at_y")], 1)
    below, own = (data[prefix + name].values[main] for prefix in ("surface_", "own_"))
    found = level_set(data[name], data["x"], data["y"], path, below, of=name)
    return replace(found, own=float(np.median(own)))


def _surface(
    rows: Rows, paths: Paths, view: View, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[Surface, dict[str, Any], dict[str, Any], list[str]]:
    """The surface, attributes and arrays that describe it, and notes."""
    if view.through is not None:
        chosen = [paths.find("through", one) for one in view.through]
        if len(set(chosen)) != 3:
            raise LrscopeError(f"through: {len(set(chosen))} checkpoints make no plane: name three different ones")
        words = "plane through " + ", ".join(paths.labels[i] for i in chosen)
        plane = Plane.through(*(rows.row(i) for i in chosen))
        return Surface(plane), {"surface": words, "axes": "distance x|distance y"}, {}, []
    if view.around is not None:
        number = paths.find("around", view.around)
        origin = rows.row(number)
        seed = view.seed or 0
        words = f"random filter-normalised directions of seed {seed} around {paths.labels[number]}"
        first, second = filter_normalised(shapes, origin, seed)
        about = {"surface": words, "axes": "direction 1|direction 2", "seed": seed}
        return Surface(Plane(origin, first, second)), about, {}, []
    found = components(rows, paths.of(0))
    seen, fit = of_components(found, curved=view.curved)
    about = {"surface": SURFACES["flat" if seen.bend is None else "curved"], "axes": "PC1|PC2", "bend_r2": fit}
    if seen.bend is not None:
        about["bend"] = list(seen.bend.coefficients)
    notes = []
    if view.curved and seen.bend is None:
        notes.append(
            "the surface is flat: there is no third component, or there are too few checkpoints for a parabola"
        )
    arrays = {
        "explained": ("component", found.explained),
        "scores": (("checkpoint", "component"), found.scores.numpy()),
    }
    return seen, about, arrays, notes


def _frame(at: Array, view: View) -> tuple[Array, Array]:
    """Coordinates x [W] and y [H] of the grid."""
    if view.around is not None:
        return tuple(np.linspace(-RANDOM_EXTENT, RANDOM_EXTENT, n) for n in view.grid)  # type: ignore[return-value]
    low, high = at[:, :2].min(0), at[:, :2].max(0)
    margin = MARGIN if view.margin is None else view.margin
    room = np.maximum(margin * (high - low), 1e-3 * (high - low).max())
    return tuple(np.linspace(a, b, n) for a, b, n in zip(low - room, high + room, view.grid, strict=True))  # type: ignore[return-value]


def _accuracies(found: Mapping[str, Array]) -> dict[str, Array]:
    """Accuracies instead of errors; none where they are NaN, as for regression."""
    kept = {}
    for name, values in found.items():
        if not name.endswith("_error"):
            kept[name] = values
        elif not np.isnan(values).all():
            kept[name.removesuffix("error") + "accuracy"] = 1 - values
    return kept


def _leaves(rows: Rows, paths: Paths, given: Mapping[str, Any]) -> NDArray[np.int32]:
    """The main path's checkpoint where each path leaves it; -1 for itself."""
    if unknown := set(given) - set(paths.names[1:]):
        raise LrscopeError(
            f"leaves: there is no path {sorted(unknown)[0]}: name one of {', '.join(paths.names[1:]) or 'none'}"
        )
    main, found = paths.of(0), [-1]
    for number, name in enumerate(paths.names[1:], start=1):
        if name in given:
            found.append(_on_main(paths, "leaves", given[name]))
        else:
            found.append(int(main[distances(rows, int(paths.of(number)[0]), main).argmin()]))
    return np.asarray(found, dtype=np.int32)


def _on_main(paths: Paths, name: str, wanted: Any) -> int:
    number = paths.find(name, wanted)
    if paths.path[number] != 0:
        raise LrscopeError(f"{name}: {paths.labels[number]} is not on the main path {paths.names[0]}: name one that is")
    return number


def _judged_part(paths: Paths, view: View) -> NDArray[np.intp]:
    """Numbers of the main path's checkpoints from `since` to `until`, or of its last quarter."""
    main = paths.of(0)
    usual = main[0] if view.until is not None else main[-max(1, len(main) // LEVEL_PART)]
    first = usual if view.since is None else _on_main(paths, "since", view.since)
    last = main[-1] if view.until is None else _on_main(paths, "until", view.until)
    if last < first:
        raise LrscopeError(f"since: {paths.labels[first]} comes after until, {paths.labels[last]}: swap them")
    return main[(main >= first) & (main <= last)]
