"""Results of the study late_decay with planted effects: what its claims read, with a known answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from lrscope.studies.late_decay import STUDY
from lrscope.studies.late_decay.effects_schedules import BRANCH, CONSTANT
from lrscope.studies.late_decay.sweeps_transfer import CHANGED
from lrscope.studies.types import Finding
from planted_decay import main_path, noisy, with_decay
from planted_results import PlantedResults

AT = (1.0, 2.0, 4.0, 8.0, 16.0)
FALLING = np.array([1.5, 1.3, 1.1, 1.0, 1.0])  # saturates at half of the latest time
SEEDS = 20
LARGE = 15.0  # norm of the minimum-norm interpolator: all planted ends lie within 5% of it
GAMMAS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
TIME = np.array([0, 10, 20, 100, 500, 1000, 1100, 1500])
HALF, DECAYS = 4, 5  # place of half of the large rate, and of its last time; phase I ends at place 2


def checked(claim: str, results: PlantedResults) -> Finding:
    return next(c for c in STUDY.claims if c.id == claim).check(results)


def by_name(found: Finding) -> dict[str, str]:
    return {part.name: part.verdict for part in found.parts}


# -- networks ------------------------------------------------------------------------------------------------------------


def swept(levels: Any, *, fitted: Any = 1.0, spread: float = 0.004, lost: bool = False) -> xr.DataTree:
    """A sweep of one rate and five draws with the branch `cooldown`, whose test losses end at `levels` [K] times noise.

    fitted: their training accuracy [K].
    """
    values = noisy(levels, (5, 1), spread)
    if lost:
        values[0, 0] = np.nan
    result = with_decay(main_path(seeds=1, data_seeds=5), values, name="cooldown", at=AT, budget="cooldown")
    by_time = np.broadcast_to(np.asarray(fitted, dtype=float), (len(AT),))
    result["cooldown/train_loss"].values[..., 0] = 2.0  # seen above the level
    result["cooldown/train_accuracy"].values *= by_time[None, :, None, None, None]
    return result


def networks(levels: Any, *, equal: float = 1.2, **options: Any) -> PlantedResults:
    """Both losses end at the same. equal: test loss of the early decay over that of the late one, at one training loss."""
    found = {name: swept(levels, **options) for name in ("mse", "cross_entropy")}
    return PlantedResults(found | {"equal_loss": at_equal_loss(equal)})


def at_equal_loss(ratio: float) -> xr.DataTree:
    """The two sub-paths of five draws: at 4, which comes down to the training loss of the other at its end; and at 8."""
    result = main_path(seeds=1, data_seeds=5)
    values = noisy([1.0, ratio], (5, 1), 0.004)
    for name, at, row in (("cooldown", 8.0, values[:1]), ("long", 4.0, values[1:])):
        budget = "total" if name == "long" else "cooldown"
        result = with_decay(result, row, name=name, at=(at,), budget=budget)
        result[f"{name}/train_loss"].values[..., 0] = 2.0
    return result


def elsewhere(levels: Mapping[str, Any], **options: Any) -> PlantedResults:
    """LD8's sweeps: of those that are named test losses end at these levels, of the others at `FALLING`."""
    return PlantedResults({name: swept(levels.get(name, FALLING), **options) for name in CHANGED})


# -- the model -----------------------------------------------------------------------------------------------------------

AS_THE_PAPER = {"reaches": 1.3, "before": 0.0, "shrinks": 1.0, "generalises": 0.5, "after": 0.0, "refines": 1.0}
LINEAR = AS_THE_PAPER | {"shrinks": 0.0, "generalises": 0.0}


def curves(changes: Mapping[float, Mapping[str, float]] | None = None, seeds: int = SEEDS) -> xr.Dataset:
    """Curves of the model whose phases change what `phase_effects` reads by so many decades; `changes` by gamma."""
    spread = 1 + 0.02 * np.linspace(-1, 1, seeds)[:, None]
    rows: dict[str, list[np.ndarray]] = {
        name: [] for name in ("off", "destination", "loss", "test_loss", "predictor_norm")
    }
    for gamma in GAMMAS:
        of = (LINEAR if gamma == 0 else AS_THE_PAPER) | dict((changes or {}).get(gamma, {}))
        ends = {
            "off": (of["reaches"], 0.0, 1.0),
            "destination": (of["before"], of["shrinks"], of["after"]),
            "loss": (2.0, 0.0, of["refines"]),
            "test_loss": (0.1, of["generalises"], 0.0),
            "predictor_norm": (0.0, 0.0, 0.0),
        }
        for name, falls in ends.items():
            rows[name].append(10 ** -(np.array(_course(*falls)) * spread))
    data = {name: (("gamma", "lr", "seed", "time"), np.stack(values)[:, None]) for name, values in rows.items()}
    coords = {"gamma": list(GAMMAS), "lr": [5e-3], "seed": np.arange(seeds), "time": TIME}
    made = xr.Dataset(data, coords).assign_coords(small=("time", np.arange(len(TIME)) > DECAYS))
    return made.assign(minimum_norm=("seed", np.full(seeds, LARGE)), zero_loss=("seed", np.ones(seeds)))


def _course(first: float, second: float, third: float) -> list[float]:
    """Decades fallen by each of `TIME`, after falls in the three phases."""
    two = first + second
    return [0.0, first / 4, first, first + second / 2, two, two, two + third / 2, two + third]


def counted(good: Mapping[float, int], seeds: int = 200) -> PlantedResults:
    """The model's curves where so many of the runs of a gamma end at the minimum-norm solution; all that are not named do.

    The others have stood at a distance of 1 since half of the large rate.
    """
    made = curves(seeds=seeds)
    made["minimum_norm"].values[:] = 1.0
    ends = made["destination"].values
    for k, gamma in enumerate(GAMMAS):
        ends[k, 0, :, HALF] = 1.0
        ends[k, 0, :, DECAYS] = np.where(np.arange(seeds) < good.get(gamma, seeds), 0.01, 1.0)
    return PlantedResults({}, {"model": made, "success": made.copy(deep=True), "few": made.sel(gamma=[3.0, 4.0])})


def modelled(made: xr.Dataset) -> PlantedResults:
    """These curves of the model, and others without label noise, whose excess norm falls by a tenth of a decade."""
    quiet = curves({gamma: {"shrinks": 0.1} for gamma in GAMMAS[1:]})
    return PlantedResults({}, {"model": made, "quiet": quiet})


def speeds(powers: Mapping[float, float], seeds: int = 4) -> xr.Dataset:
    """Curves over (gamma, start, lr, seed, time) whose excess norm falls by start^power / 2 decades per 1,000 steps."""
    starts, time = np.array([1.0, 1.5, 2.0]), np.arange(0, 2001, 10)
    own = 1 + 0.01 * np.arange(seeds)[:, None]
    excess = np.stack([[10 ** (-0.5 * s**p * own * time / 1000) for s in starts] for p in powers.values()])
    off = np.broadcast_to(np.where(time < 50, 1.0, 0.01), excess.shape).copy()
    dims = ("gamma", "start", "lr", "seed", "time")
    data = {"destination": (dims, excess[:, :, None]), "off": (dims, off[:, :, None])}
    data |= {"loss": (dims, off[:, :, None] ** 2), "zero_loss": (("start", "seed"), np.ones((len(starts), seeds)))}
    coords = {"gamma": list(powers), "start": starts, "lr": [5e-3], "seed": np.arange(seeds), "time": time}
    return xr.Dataset(data, coords).assign_coords(small=("time", np.zeros(len(time), dtype=bool)))


# -- surfaces ------------------------------------------------------------------------------------------------------------


def surfaces(
    *,
    rises: tuple[float, float] = (0.1, 2.0),
    main: tuple[float, float] = (1.6, 0.4),
    ends: tuple[float, float] = (1.2, 0.3),
    verdicts: tuple[str, str] = ("open", "closed"),
    lowest: tuple[int, int] = (2, 2),
    draws: int = 5,
    early: float | None = None,
    beside: float = 0.5,
) -> xr.Dataset:
    """Surfaces whose lowest test loss is at row and column `lowest`, unknown at the frame; the middle is the origin.

    rises: passes to the frame, of the training and of the test loss. main, ends: distances from the origin of the first and the
    last checkpoint of the main path, and of the sub-paths' ends. early: distance of a snapshot before, in phase I. beside:
    distances of the checkpoints from the surface, over their spread on it.
    """
    axis = np.linspace(-2.0, 2.0, 5)
    spread = 1 + 0.02 * np.linspace(-1, 1, draws)
    test = np.ones((draws, 5, 5))
    test[:, lowest[0], lowest[1]] = 0.1
    inside = all(0 < place < 4 for place in lowest)
    place = [axis[lowest[1]], axis[lowest[0]]] if inside else [np.nan, np.nan]
    path = [main[0] if early is None else early, main[0], np.mean(main), main[1]]
    away = np.array([*path, *np.linspace(*ends, len(AT))])
    loss = np.array([1.0, 0.1, 0.09, 0.08, *[0.01] * len(AT)])
    at = spread[:, None] * away
    off = beside * np.broadcast_to(at.std(1, keepdims=True), at.shape)
    by_loss = ("draw", "loss")
    heights = np.array([0.1, 0.5])  # of the levels below over the lowest points
    closing = np.array([0.1, 1.0]) + spread[:, None] * np.array(rises) * heights
    data: dict[str, Any] = {
        "closing": (by_loss, closing),
        "test_loss": (("draw", "row", "column"), test),
        "train_loss": (("draw", "row", "column"), np.full((draws, 5, 5), 0.5)),
        "x": (("draw", "column"), np.broadcast_to(axis, (draws, 5)).copy()),
        "y": (("draw", "row"), np.broadcast_to(axis, (draws, 5)).copy()),
        "at_x": (("draw", "checkpoint"), 0.6 * at),
        "at_y": (("draw", "checkpoint"), 0.8 * at),
        "off": (("draw", "checkpoint"), off),
        "own_train_loss": (("draw", "checkpoint"), spread[:, None] * loss),
        "rise": (by_loss, spread[:, None] * np.array(rises)),
        "lowest": (by_loss, np.tile([0.1, 1.0], (draws, 1))),
        "level": (by_loss, np.tile([0.2, 1.5], (draws, 1))),
        "share": (by_loss, np.full((draws, 2), 0.2)),
        "verdict": (by_loss, np.array([list(verdicts)] * draws, dtype=object)),
        "minimum": (("draw", "axis"), np.array([place] * draws)),
        "wider": ("draw", np.ones(draws, dtype=int)),
        "explained": (("draw", "component"), np.full((draws, 2), 0.4)),
    }
    coords = {
        "loss": ["train_loss", "test_loss"],
        "epoch": ("checkpoint", [1.0, 4.0, 8.0, 16.0, *AT]),
        "main": ("checkpoint", [True] * 4 + [False] * len(AT)),
    }
    return xr.Dataset(data, coords)


# -- schedules -----------------------------------------------------------------------------------------------------------


def courses(network: Mapping[str, float], model: Mapping[str, float]) -> PlantedResults:
    """A network and a model (gamma 2) that end at these test losses by schedule, times noise of each seed.

    The linear model's are all 1, and diagonal linear networks' those of the model.
    """
    others = [name for name in network if name != CONSTANT]
    result = with_decay(
        main_path(seeds=1, data_seeds=4),
        noisy([network[name] for name in others], (4, 1), 0.004)[None, None],
        name=BRANCH,
        at=(0.0,),
        axes={f"{BRANCH}_schedule": others},
    )
    first = result[f"{BRANCH}/test_loss"].values[:, 0, 0, ..., -1]
    result["pretrain/test_loss"].values[..., -1] = network[CONSTANT] / network[others[0]] * first
    ends = np.array([[1.0] * len(model), list(model.values())])[..., None] * np.array([1.0, 1.1, 1.3])
    dims = ("gamma", "schedule", "seed")
    coords = {"gamma": [0.0, 2.0], "schedule": list(model), "seed": np.arange(3)}
    made = xr.Dataset({"test_loss": (dims, ends), "destination": (dims, ends)}, coords)
    diagonal = made[["test_loss"]].sel(gamma=2.0, drop=True)
    return PlantedResults({"schedules": result}, {"courses": made, "diagonal": diagonal})
