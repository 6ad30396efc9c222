"""What the study measures beyond the logs, but for the toy function: the identities, landscapes between states, sharpness, walks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from lrscope.mapping import regimes
from lrscope.measures import equilibrium, geometry, sharpness, walks
from lrscope.studies import arrays
from lrscope.studies.arrays import Array
from lrscope.studies.three_regimes.effects_tuning import roles
from lrscope.studies.types import StudyResults
from lrscope.trained import State, Trained

WALK_STEPS, WALK_EVERY = 100, 10  # ours: a random walk in regime 3 forgets where it began within a few steps
IDENTITY_STEPS = 100  # ours
MINIMUM = 0.05  # ours, nats: what counts as having reached a minimum where solutions are connected (TR8)
MOMENTS, SHARP_SEEDS = 6, 4  # ours: of training, at which sharpness is measured, and the first seeds, of which
RATES = ("lowest", "middle", "highest")  # of regime 2


def neighbour_paths(results: StudyResults) -> xr.Dataset:
    """Losses on lines between the solutions of neighbouring regime-1 ELRs: of a seed's where both have a loss under
    `MINIMUM`, NaN for the others; without the pairs that no seed has. A seed is one of the data with one of the training."""
    result, trained = results.sweep("long"), results.trained("long")
    one = arrays.shown(regimes(result), "1", least=2)
    converged = arrays.logged(result, "fixed_train_loss") < MINIMUM
    pairs = [(a, b) for a, b in itertools.pairwise(one) if b == a + 1 and (converged[a] & converged[b]).any()]
    lrs, units = result.coords["lr"].values, _units(result)
    values = {
        name: np.full((len(pairs), len(units), geometry.POINTS), np.nan) for name in ("train_loss", "train_error")
    }
    for i, (a, b) in enumerate(pairs):
        for u in np.flatnonzero(converged[a] & converged[b]):
            data_seed, seed = units[u]
            ends = (trained.state(lr=float(lr), seed=seed, data_seed=data_seed) for lr in (lrs[a], lrs[b]))
            path = geometry.between(trained, *ends, data_seed=data_seed, test=False)
            for name, array in values.items():
                array[i, u] = path[name]
    return xr.Dataset(
        {name: (("pair", "seed", "alpha"), array) for name, array in values.items()},
        {
            "low_lr": ("pair", [lrs[a] for a, _ in pairs]),
            "high_lr": ("pair", [lrs[b] for _, b in pairs]),
            "seed": np.arange(len(units)),
            "alpha": np.linspace(0, 1, geometry.POINTS),
        },
    )


def tuned_paths(results: StudyResults, sweeps: Sequence[tuple[str, str]]) -> xr.Dataset:
    """Losses on lines between pre-trained and fine-tuned weights [pair, seed, alpha], where both rates lie in regime 1 by the
    map of the sweep with fixed ELRs; no pair where none do. `sweeps` names pairs of such a sweep and one of fine-tuning; `kind`
    [pair] says `lower`, `slightly`, `more` or `much`."""
    found = [
        _tuned_path(results.trained(name), name, kind, rates, _seeds(results.sweep(name)))
        for base, name in sweeps
        for kind, rates in _pairs(results.sweep(base), results.sweep(name))
    ]
    return xr.concat(found, "pair", join="outer") if found else _tuned_paths_of((), np.empty((0, 0, geometry.POINTS)))


def _pairs(base: xr.DataTree, tune: xr.DataTree) -> Iterator[tuple[str, tuple[float, float]]]:
    known = roles(base, tune)
    for kind in ("lower", "slightly", "more", "much"):
        for p, f in known.pairs(kind):
            yield kind, (float(known.plr[p]), float(known.flr[f]))


def _tuned_path(trained: Trained, name: str, kind: str, rates: tuple[float, float], seeds: Sequence[int]) -> xr.Dataset:
    plr, flr = rates
    losses = [
        geometry.between(trained, _end(trained, plr, u), trained.state(lr=plr, seed=u, finetune_lr=flr), test=False)[
            "train_loss"
        ].values
        for u in seeds
    ]
    return _tuned_paths_of(seeds, np.array(losses)[None], sweep=name, kind=kind, lr=plr, finetune_lr=flr)


def _tuned_paths_of(seeds: Sequence[int], losses: Array, **about: Any) -> xr.Dataset:
    """A measurement of one pair, with what there is to say `about` it, or of none: losses [pair, seed, alpha]."""
    named = about or dict.fromkeys(("sweep", "kind"), "") | dict.fromkeys(("lr", "finetune_lr"), 0.0)
    said = {name: ("pair", np.array([value] * len(losses))) for name, value in named.items()}
    coords = {"seed": list(seeds), "alpha": np.linspace(0, 1, losses.shape[-1]), **said}
    return xr.Dataset({"train_loss": (("pair", "seed", "alpha"), losses)}, coords)


def checkpoint_paths(results: StudyResults, names: Sequence[str]) -> xr.Dataset:
    """Losses on lines between pairs of checkpoints of the second half of training (`pairs_of`), at the lowest, a middle and the
    highest ELR of regime 2 that learns, of each of the sweeps `names` [net]."""
    nets = [_checkpoint_paths(results.sweep(name), results.trained(name)) for name in names]
    return xr.concat(nets, "net", join="outer").assign_coords(net=list(names))


def _checkpoint_paths(result: xr.DataTree, trained: Trained) -> xr.Dataset:
    """The same of one sweep. The middle ELR, which only a figure shows, of the first seed: NaN of the others."""
    two, seeds = arrays.learning(result, regimes(result)), _seeds(result)
    lrs = result.coords["lr"].values[[two[0], two[len(two) // 2], two[-1]]]
    pairs = pairs_of(trained.config.snapshot_epochs)

    def path(lr: float, seed: int, first: float, later: float) -> Array:
        ends = (trained.state(lr=lr, seed=seed, epoch=epoch) for epoch in (first, later))
        return np.asarray(geometry.between(trained, *ends, test=False)["train_loss"].values, dtype=np.float64)

    missing = np.full(geometry.POINTS, np.nan)
    values = [
        [
            [path(float(lr), seed, *pair) if rate != "middle" or seed == seeds[0] else missing for seed in seeds]
            for pair in pairs
        ]
        for rate, lr in zip(RATES, lrs, strict=True)
    ]
    return xr.Dataset(
        {"train_loss": (("rate", "pair", "seed", "alpha"), np.array(values))},
        {
            "rate": list(RATES),
            "lr": ("rate", lrs),
            "delta": ("pair", [later - first for first, later in pairs]),
            "seed": seeds,
            "alpha": np.linspace(0, 1, geometry.POINTS),
        },
    )


def pairs_of(epochs: Sequence[float]) -> list[tuple[float, float]]:
    """Pairs of checkpoints of the second half of training: every third one with each of the next three. Where they come in such
    groups the same distances are seen from several first checkpoints, and do not share the last."""
    late = [epoch for epoch in epochs if epoch >= epochs[-1] / 2]
    return [(late[i], later) for i in range(0, len(late), 3) for later in late[i + 1 : i + 4]]


def steepness(results: StudyResults) -> xr.Dataset:
    """The four sharpness measures at the three highest ELRs of regime 1, which pass the same losses, one of regime 2, and some
    checkpoints."""
    result, trained = results.sweep("convnet"), results.trained("convnet")
    found = regimes(result)
    one, two = arrays.shown(found, "1"), arrays.learning(result, found)
    chosen = [*one[-3:], *two[1:2]]
    labels, seeds = [found.labels[k].regime[0] for k in chosen], _seeds(result)[:SHARP_SEEDS]
    lrs = result.coords["lr"].values[chosen]
    epochs = _spread(trained.config.snapshot_epochs, MOMENTS)
    names = {
        "gradient_norm": "grad_norm",
        "covariance_trace": "grad_trace",
        "fisher_trace": "fisher_trace",
        "hessian_top": "hessian_1",
    }
    shape = (len(lrs), len(seeds), len(epochs))
    values = {name: np.full(shape, np.nan) for name in (*names, "train_loss")}
    for i, lr in enumerate(lrs):
        for j, seed in enumerate(seeds):
            for k, epoch in enumerate(epochs):
                state = trained.state(lr=lr, seed=seed, epoch=epoch)
                values_there = sharpness.of(trained, state, hessian_batches=8)
                for name, source in names.items():
                    values[name][i, j, k] = values_there[source]
                values["train_loss"][i, j, k] = float(
                    trained.material().fixed_pass(trained.program(), state.weights, state.frozen)[0, 0]
                )
    coords = {"lr": lrs, "seed": seeds, "epoch": epochs, "regime": ("lr", labels)}
    return xr.Dataset({name: (("lr", "seed", "epoch"), array) for name, array in values.items()}, coords)


def walking(results: StudyResults, names: Sequence[str]) -> xr.Dataset:
    """Some steps more from the end of training in regimes 2 (the highest ELR that learns) and 3 (the middle one; the only one of
    a sweep with one ELR), and random walks of the same step sizes, for each of the sweeps `names` [net, regime, seed]: cosines of
    weights from step to step and from moment to moment, and of successive updates, what is expected of a walk, training losses
    and those that the mean output alone would cost. NaN for a run at regime 3's ELR whose training ended below ln C: it is not in regime 3. That
    is asked of training before these steps, because their loss is what is compared with the walk's. `runs` are there."""
    nets = [_walking(results.sweep(name), results.trained(name)) for name in names]
    sizes, runs = (
        [results.trained(name).net.size for name in names],
        [len(_seeds(results.sweep(name))) for name in names],
    )
    joined = xr.concat(nets, "net", join="outer")
    return joined.assign_coords(net=list(names), parameters=("net", sizes), runs=("net", runs))


def _walking(result: xr.DataTree, trained: Trained) -> xr.Dataset:
    lrs, chosen = result.coords["lr"].values, {"3": 0}
    if len(lrs) > 1:
        found = regimes(result)
        three = arrays.shown(found, "3")
        chosen = {"2": arrays.learning(result, found)[-1], "3": three[len(three) // 2]}
    ended = arrays.settled(arrays.logged(result, "train_loss"))
    rows = []
    for regime, k in chosen.items():
        least = arrays.guessing(result) if regime == "3" else 0.0
        there = ended[k] >= least
        walked = [_walk(trained, float(lrs[k]), seed).where(there[u]) for u, seed in enumerate(_seeds(result))]
        rows.append(
            xr.concat(walked, "seed").expand_dims(regime=[regime]).assign_coords(lr=("regime", [float(lrs[k])]))
        )
    return xr.concat(rows, "regime").assign_coords(seed=_seeds(result))


def _walk(trained: Trained, lr: float, seed: int) -> xr.Dataset:
    """One run's steps and its walk's."""
    state = _end(trained, lr, seed)
    ours = walks.training(trained, state, elr=lr, steps=WALK_STEPS, every=WALK_EVERY)
    sizes = ours["step_size"].values
    theirs = walks.random_walk(trained, state, step_sizes=sizes, every=WALK_EVERY)
    values: dict[str, Any] = {}
    for prefix, track in (("", ours), ("walk_", theirs)):
        values |= {prefix + name: ("step", track[name].values) for name in ("cosine", "update_cosine")}
        values |= {
            prefix + short: ("moment", track[name].values)
            for short, name in (
                ("loss", "train_loss"),
                ("constant", "constant_loss"),
                ("moment_cosine", "moment_cosine"),
            )
        }
    lagged = walks.expected_cosine(sizes, WALK_EVERY)[::WALK_EVERY]
    values["expected_update_cosine"] = ("step", walks.expected_update_cosine(sizes))
    values["expected_moment_cosine"] = ("moment", np.concatenate([[np.nan], lagged]))
    return xr.Dataset(values, {"step": np.arange(1, WALK_STEPS + 1), "moment": ours["moment"].values})


def exactness(results: StudyResults) -> xr.Dataset:
    """Largest relative residuals of eq. 3, 4 and 5 over float64 steps from the end of training, one ELR in each regime. The
    norms' eps is 1e-30 here: with the usual 1e-5 the network is scale-invariant to about that only."""
    result, trained = results.sweep("convnet"), results.trained("convnet")
    found = regimes(result)
    three = arrays.shown(found, "3")
    chosen = [arrays.shown(found, "1")[-1], arrays.learning(result, found)[0], three[len(three) // 2]]
    lrs, seeds, names = result.coords["lr"].values[chosen], _seeds(result), ("eq3", "eq4", "eq5")
    values = {name: np.full((len(lrs), len(seeds)), np.nan) for name in names}
    with _without_eps(trained.program(torch.float64).net.module):
        for i, lr in enumerate(lrs):
            for j, seed in enumerate(seeds):
                residual = equilibrium.identities(trained, _end(trained, lr, seed), elr=float(lr), steps=IDENTITY_STEPS)
                for name in names:
                    values[name][i, j] = residual[name]
    return xr.Dataset(
        {**{name: (("lr", "seed"), array) for name, array in values.items()}, "steps": IDENTITY_STEPS},
        {"lr": lrs, "seed": seeds},
    )


@contextmanager
def _without_eps(module: nn.Module) -> Iterator[None]:
    norms: list[Any] = [m for m in module.modules() if hasattr(m, "eps")]
    before = [norm.eps for norm in norms]
    try:
        for norm in norms:
            norm.eps = 1e-30
        yield
    finally:
        for norm, eps in zip(norms, before, strict=True):
            norm.eps = eps


def _spread(epochs: Sequence[float], count: int) -> list[float]:
    """So many of the epochs at most, from the first to the last, as evenly as there are on a log scale."""
    known, wanted = np.array(epochs, dtype=np.float64), np.geomspace(epochs[0], epochs[-1], count)
    return sorted({float(known[np.abs(np.log(known / one)).argmin()]) for one in wanted})


def _end(trained: Trained, lr: float, seed: int) -> State:
    return trained.state(lr=float(lr), seed=seed)


def _units(result: xr.DataTree) -> list[tuple[int, int]]:
    """Data seeds and training seeds, as `arrays.per_seed` lays them out."""
    return [(int(d), int(s)) for d in result.coords["data_seed"].values for s in result.coords["seed"].values]


def _seeds(result: xr.DataTree) -> list[int]:
    return [int(s) for s in result.coords["seed"].values]
