"""What the study measures beyond the logs, but for the toy function: the identities, landscapes between states, sharpness, walks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from lrscope.mapping import regimes
from lrscope.measures import equilibrium, geometry, sharpness, walks
from lrscope.schema import segment
from lrscope.studies import arrays
from lrscope.studies.three_regimes.data_sizes import FRACTIONS, REGIME_ONE, REGIME_TWO
from lrscope.studies.three_regimes.effects import equalised, faster_flatter_better
from lrscope.studies.three_regimes.effects_tuning import levels
from lrscope.studies.types import StudyResults
from lrscope.studies.verdicts import Undetermined
from lrscope.trained import State, Trained

WALK_STEPS, WALK_EVERY = 200, 10  # ours: a random walk in regime 3 forgets where it began within a few steps
OFFSET_STEPS = 60  # ours
IDENTITY_STEPS = 100  # ours
CONVERGED = 0.1  # ours, nats: what counts as having reached a minimum where solutions are connected (TR8)


def data_sizes(results: StudyResults, names: Sequence[tuple[str, str]]) -> xr.Dataset:
    """What TR6, TR9 and TR10 speak of, on training sets of different sizes [train_size, seed]: slopes per decade of ELR,
    the settled training loss at the lowest ELR of regime 2, how loss and sharpness go together within its runs at its lowest
    and highest ELR, fractions of the way to another level; NaN where it does not show. `names` are those of the sweeps with fixed ELRs and with fine-tuning."""
    rows = []
    for name, tuned in names:
        result = results.sweep(name)
        found = {key: np.full(len(_seeds(result)), np.nan) for key in (*REGIME_ONE, *REGIME_TWO)}
        with suppress(Undetermined):
            one = faster_flatter_better(result)
            found |= {key: one[key] for key in REGIME_ONE}
        with suppress(Undetermined):
            two = equalised(result)
            lowest = arrays.learning(result, regimes(result))[0]
            found |= {
                "higher": two["higher"],
                "flatter_within_2": two["flatter"],
                "flatter_where_calm": two["flatter_where_calm"],
                **{f"{name}_{end}": two[name][k] for name in ("scatter", "together") for end, k in _ENDS},
                "lowest_loss": arrays.settled(arrays.logged(result, "train_loss"))[lowest],
            }
        row = xr.Dataset({key: ("seed", values) for key, values in found.items()}, {"seed": _seeds(result)})
        tune = results.sweep(tuned)
        fractions = {key: np.full(len(_seeds(tune)), np.nan) for key in FRACTIONS}
        with suppress(Undetermined):
            fractions = levels(result, tune)
        rows.append(
            row.merge(xr.Dataset({k: ("seed", v) for k, v in fractions.items()}, {"seed": _seeds(tune)}), join="outer")
        )
    sizes = [json.loads(results.sweep(name).attrs["task"])["train_size"] for name, _ in names]
    return xr.concat(rows, "train_size", join="outer").assign_coords(train_size=sizes)


_ENDS = (("lowest", 0), ("highest", -1))


def neighbour_paths(results: StudyResults) -> xr.Dataset:
    """Losses on lines between the solutions of neighbouring regime-1 ELRs: of a seed's where both have a loss under
    `CONVERGED`, NaN for the others; without the pairs that no seed has."""
    result, trained = results.sweep("convnet"), results.trained("convnet")
    one = arrays.shown(regimes(result), "1", least=2)
    converged = arrays.logged(result, "fixed_train_loss") < CONVERGED
    pairs = [(a, b) for a, b in itertools.pairwise(one) if b == a + 1 and (converged[a] & converged[b]).any()]
    lrs, seeds = result.coords["lr"].values, _seeds(result)
    values = {
        name: np.full((len(pairs), len(seeds), geometry.POINTS), np.nan) for name in ("train_loss", "train_error")
    }
    for i, (a, b) in enumerate(pairs):
        for u in np.flatnonzero(converged[a] & converged[b]):
            ends = (_end(trained, lr, seeds[u]) for lr in (lrs[a], lrs[b]))
            path = geometry.between(trained, *ends, test=False)
            for name, array in values.items():
                array[i, u] = path[name]
    return xr.Dataset(
        {name: (("pair", "seed", "alpha"), array) for name, array in values.items()},
        {
            "low_lr": ("pair", [lrs[a] for a, _ in pairs]),
            "high_lr": ("pair", [lrs[b] for _, b in pairs]),
            "seed": seeds,
            "alpha": np.linspace(0, 1, geometry.POINTS),
        },
    )


def tuned_paths(results: StudyResults) -> xr.Dataset:
    """Losses on lines between pre-trained and fine-tuned weights, for PLRs and FLRs that both lie in regime 1 of the whole
    grid; NaN for the others."""
    tune, trained = results.sweep("tune_first"), results.trained("tune_first")
    first = arrays.border(regimes(results.sweep("convnet")), "1|2")
    plrs, flrs, seeds = tune.coords["lr"].values, segment(tune, "finetune")["finetune_lr"].values, _seeds(tune)
    values = np.full((len(plrs), len(flrs), len(seeds), geometry.POINTS), np.nan)
    for p, plr in enumerate(plrs):
        for f, flr in enumerate(flrs):
            if max(plr, flr) < first:
                for u, seed in enumerate(seeds):
                    end = trained.state(lr=plr, seed=seed, finetune_lr=flr)
                    values[p, f, u] = geometry.between(trained, _end(trained, plr, seed), end, test=False)["train_loss"]
    return xr.Dataset(
        {"train_loss": (("lr", "finetune_lr", "seed", "alpha"), values)},
        {"lr": plrs, "finetune_lr": flrs, "seed": seeds, "alpha": np.linspace(0, 1, geometry.POINTS)},
    )


def checkpoint_paths(results: StudyResults) -> xr.Dataset:
    """Losses on lines between stored checkpoints of regime-2 runs: from the first one to the later ones."""
    result, trained = results.sweep("convnet"), results.trained("convnet")
    two = arrays.learning(result, regimes(result))
    chosen = sorted({two[0], two[len(two) // 2], two[-1]})
    lrs, seeds = result.coords["lr"].values[chosen], _seeds(result)
    epochs = _late(trained)
    deltas = [later - epochs[0] for later in epochs[1:]]
    values = [
        [
            [
                geometry.between(
                    trained,
                    trained.state(lr=lr, seed=seed, epoch=epochs[0]),
                    trained.state(lr=lr, seed=seed, epoch=later),
                    test=False,
                )["train_loss"].values
                for seed in seeds
            ]
            for later in epochs[1:]
        ]
        for lr in lrs
    ]
    return xr.Dataset(
        {"train_loss": (("lr", "delta", "seed", "alpha"), np.array(values))},
        {"lr": lrs, "delta": deltas, "seed": seeds, "alpha": np.linspace(0, 1, geometry.POINTS)},
    )


def _late(trained: Trained) -> list[float]:
    """The stored checkpoints of the second half of training."""
    epochs = trained.config.snapshot_epochs
    return [epoch for epoch in epochs if epoch >= epochs[-1] / 2]


def steepness(results: StudyResults) -> xr.Dataset:
    """The four sharpness measures at every second ELR that learns and some checkpoints."""
    result, trained = results.sweep("convnet"), results.trained("convnet")
    found = regimes(result)
    one, two = arrays.shown(found, "1"), arrays.learning(result, found)
    chosen = [
        *one[(len(one) - 1) % 2 :: 2],
        *two[1:2],
    ]  # every second of regime 1 with the highest, and one of regime 2
    labels, seeds = [found.labels[k].regime[0] for k in chosen], _seeds(result)
    lrs = result.coords["lr"].values[chosen]
    epochs = _spread(trained.config.snapshot_epochs, 4)
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


def walking(results: StudyResults) -> xr.Dataset:
    """Some steps more from the end of training, at the highest ELR of regime 2 that learns and at the middle one of regime 3,
    and random walks of the same step sizes: cosines of successive weights, and training losses every few steps."""
    result, trained = results.sweep("convnet"), results.trained("convnet")
    found = regimes(result)
    three = arrays.shown(found, "3")
    chosen = {"2": arrays.learning(result, found)[-1], "3": three[len(three) // 2]}
    rows = []
    for k in chosen.values():
        lr, seeds = float(result.coords["lr"].values[k]), []
        for seed in _seeds(result):
            state = _end(trained, lr, seed)
            ours = walks.training(trained, state, elr=lr, steps=WALK_STEPS, every=WALK_EVERY)
            theirs = walks.random_walk(trained, state, step_sizes=ours["step_size"], every=WALK_EVERY)
            seeds.append(
                xr.Dataset(
                    {
                        "cosine": ("step", ours["cosine"].values),
                        "walk_cosine": ("step", theirs["cosine"].values),
                        "loss": ("moment", ours["train_loss"].values),
                        "walk_loss": ("moment", theirs["train_loss"].values),
                    },
                    {"step": np.arange(1, WALK_STEPS + 1), "moment": ours["moment"].values},
                )
            )
        rows.append(xr.concat(seeds, "seed"))
    lrs = [float(result.coords["lr"].values[k]) for k in chosen.values()]
    return xr.concat(rows, "regime").assign_coords(regime=list(chosen), seed=_seeds(result), lr=("regime", lrs))


def walk_offsets(results: StudyResults, names: Sequence[str]) -> xr.Dataset:
    """What lies behind the losses of regime 3 and of random walks, for networks of different sizes [net, seed]: mean
    training loss and error of some steps from the end of training at the highest ELR of each of the sweeps `names`, those
    of a random walk of the same step sizes, and the losses that the mean output alone would cost; `parameters` [net]. NaN
    for a run that is below ln C: it is not in regime 3."""
    nets, sizes = [], []
    for name in names:
        result, trained = results.sweep(name), results.trained(name)
        lr, runs = float(result.coords["lr"].values[-1]), []
        for seed in _seeds(result):
            state = _end(trained, lr, seed)
            ours = walks.training(trained, state, elr=lr, steps=OFFSET_STEPS, every=WALK_EVERY)
            theirs = walks.random_walk(trained, state, step_sizes=ours["step_size"], every=WALK_EVERY)
            values = {
                prefix + short: float(track[long].isel(moment=slice(1, None)).mean())
                for prefix, track in (("", ours), ("walk_", theirs))
                for short, long in (("loss", "train_loss"), ("constant", "constant_loss"), ("error", "train_error"))
            }
            if values["loss"] < arrays.guessing(result):
                values = dict.fromkeys(values, np.nan)
            runs.append(xr.Dataset(values, {"seed": seed}))
        nets.append(xr.concat(runs, "seed").expand_dims(net=[name]))
        sizes.append(trained.net.size)
    return xr.concat(nets, "net", join="outer").assign_coords(parameters=("net", sizes))


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
    return [epochs[int(i)] for i in np.linspace(0, len(epochs) - 1, min(count, len(epochs))).round()]


def _end(trained: Trained, lr: float, seed: int) -> State:
    return trained.state(lr=float(lr), seed=seed)


def _seeds(result: xr.DataTree) -> list[int]:
    return [int(s) for s in result.coords["seed"].values]
