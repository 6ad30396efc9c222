"""Results of the study learning_order with planted effects: what its claims read, with a known answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from fake_results import fake_result
from lrscope.studies.learning_order import STUDY
from lrscope.studies.types import Finding
from planted_results import PlantedResults
from trees import changed

LOG2 = float(np.log(2))
EPOCHS, SEEDS = 40, 5
TEN = json.dumps({"name": "images", "kind": "classification", "classes": 10, "train_size": 512, "test_size": 2000})
GROUPS = ("image only", "image and patch", "patch only")
RUNS = ("lr", "data_seed", "seed", "epoch")
TIMES = np.linspace(0.0, 1000.0, 201)
SPREAD = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])  # of seeds around what is planted


def checked(claim: str, results: PlantedResults) -> Finding:
    return next(c for c in STUDY.claims if c.id == claim).check(results)


def by_name(found: Finding) -> dict[str, str]:
    return {part.name: part.verdict for part in found.parts}


# -- experiments ---------------------------------------------------------------------------------------------------------


def steps(*pieces: tuple[float, float]) -> np.ndarray:
    """Accuracy [W] by pieces (until this part of training, this value)."""
    part = np.arange(1, EPOCHS + 1) / EPOCHS
    return np.select([part <= until + 1e-9 for until, _ in pieces], [value for _, value in pieces])


def swept(
    *clean: np.ndarray | float,
    patch: np.ndarray | float | None = None,
    train: tuple[np.ndarray | float, ...] = (),
    kinds: tuple[float, ...] = (),
    spread: float = 0.005,
    **config: str,
) -> xr.DataTree:
    """A sweep with a learning rate for each curve of test accuracy; `kinds`: accuracies on training images without a patch, with
    one, and of a patch alone."""
    made = fake_result(lrs=len(clean), seeds=SEEDS, epochs=EPOCHS, finetune=False, average=False, features=False)
    rows = {
        "test_accuracy": _rows(clean, spread),
        "train_accuracy": _rows(train or tuple(0.0 for _ in clean), spread),
    }
    new: dict[str, Any] = {f"pretrain/{name}": (RUNS, values) for name, values in rows.items()}
    if patch is not None:
        values = np.stack([_rows((patch,), spread), np.full((1, 1, SEEDS, EPOCHS), 0.5)], -1)
        names = np.array(["patch only", "mixed"], dtype=object)
        new["pretrain/logged_feature_accuracy"] = xr.DataArray(
            values, dims=(*RUNS, "feature"), coords={"feature": names}
        )
    if kinds:
        values = np.broadcast_to(kinds, (len(clean), 1, SEEDS, EPOCHS, 3))
        new["pretrain/example_group_accuracy"] = xr.DataArray(
            values, dims=(*RUNS, "example_group"), coords={"example_group": np.array(GROUPS, dtype=object)}
        )
    return changed(made, new, task=TEN, config=json.dumps(json.loads(made.attrs["config"]) | config))


def _rows(values: tuple[np.ndarray | float, ...], spread: float) -> np.ndarray:
    """[L, 1, U, W]."""
    rows = np.stack([np.broadcast_to(np.asarray(v, dtype=float), (EPOCHS,)) for v in values])
    return rows[:, None, None] + spread * SPREAD[:, None]


# -- theory --------------------------------------------------------------------------------------------------------------


def algorithm(
    *,
    p: float,
    q: float,
    anneal: float = 0.0,
    error: float = 0.01,
    share: float = 0.2,
    along: float | None = None,
    spread: float = 0.02,
    curvature: float = 2.0,
    norm: float = 3.0,
    noise: float = 1.0,
    forgotten: float = 0.0,
    fitted: float = 200.0,
) -> xr.Dataset:
    """Curves [seed, time] of an algorithm that learns P and Q, and is annealed, at these times (inf: never), times 1 + spread for
    each seed. `fitted`: when the training loss has fallen to log 2 over e. `share`, `along`: of what comes from examples with Q
    in W's squared signal and in its components along w*. `noise`: size of the noise part until the anneal, halved after it;
    its correlation with the start decays at the rate `forgotten`."""
    each = (1 + spread * SPREAD)[:, None]

    def falling(at: float) -> np.ndarray:
        return LOG2 * 0.8 ** (TIMES / (at * each)) if np.isfinite(at) else np.full((SEEDS, len(TIMES)), LOG2)

    constant = {
        "error_p": error * each,
        "error_p_signal": error * each,
        "error": error * each,
        "curvature": -curvature * each,
        "norm_w": norm * each,
        "norm_v": 0.1 * norm * each,
        "norm_w_m2": share**0.5 * norm * each,
        "norm_w_m1": (1 - share) ** 0.5 * norm * each,
        "along": each * 1.0,
        "along_m2": each / (1 + (1 / (share if along is None else along) - 1) ** 0.5),
    }
    values = {name: value * np.ones(len(TIMES)) for name, value in constant.items()}
    values |= {"noise_std": noise * np.where(anneal * each <= TIMES, 0.5, 1.0)}
    values |= {"noise_kept": np.exp(-forgotten * TIMES) * np.ones_like(each)}
    values |= {"loss_p_only": falling(p), "loss_q_only": falling(q)}
    values |= {"loss": LOG2 * np.exp(-TIMES / fitted) * np.ones_like(each), "annealed": (anneal * each <= TIMES) * 1.0}
    return xr.Dataset({name: (("seed", "time"), value) for name, value in values.items()})


def algorithms(**by_name: xr.Dataset) -> xr.Dataset:
    """Side by side; `L_S` is L-S, `S_noise` is S + noise."""
    names = [{"L_S": "L-S", "S_noise": "S + noise"}.get(name, name) for name in by_name]
    coords = {"algorithm": names, "seed": np.arange(SEEDS), "time": TIMES}
    made = xr.concat(list(by_name.values()), dim="algorithm").assign_coords(coords)
    return made.assign_attrs(p=0.2, q=0.2, eps=0.36, test_examples=100_000)


def along(dim: str, values: list[Any], parts: list[xr.Dataset]) -> xr.Dataset:
    """Curves of several sizes or models."""
    return xr.concat(parts, dim=dim).assign_coords({dim: values})


def theorem(**changes: dict[str, float]) -> xr.Dataset:
    """A race as the theorems have it: L-S, S and S + noise, with changes by name."""
    of = {
        "L_S": {"p": 200.0, "q": 600.0, "anneal": 400.0, "error": 0.01, "share": 0.9, "forgotten": 5e-4},
        "S": {"p": 500.0, "q": 100.0, "error": 0.02, "share": 0.2},
        "S_noise": {"p": 200.0, "q": 600.0, "error": 0.011, "share": 0.9},
    }
    return algorithms(**{name: algorithm(**(own | changes.get(name, {}))) for name, own in of.items()})


KAPPAS = (1.0, 0.5**0.5, 0.5, 0.125**0.5)


def over_kappa(small: float, large: float, kappas: Sequence[float] = KAPPAS, **changes: dict[str, float]) -> xr.Dataset:
    """Test errors like these powers of p."""
    rows = []
    for kappa in kappas:
        p = kappa**2 / 2
        errors = {"S": {"error": p**small}, "L_S": {"error": p**large}}
        rows.append(theorem(**{name: own | changes.get(name, {}) for name, own in errors.items()}))
    return along("kappa", list(kappas), rows)


def over_dimension(
    curvature: float,
    norm: float,
    m2: float,
    of_small: float = 0.0,
    longest: float = 1000.0,
    error_of_small: float = 0.0,
    **changes: float,
) -> xr.Dataset:
    """Curvature, norm and the norm of what comes from examples with Q like these powers of d; `of_small` is that of the
    curvature of S, `error_of_small` that of its test error."""
    rows, dimensions = [], [400, 700, 1300, 2300, 4000]
    for d in dimensions:
        large = {"curvature": d**curvature, "norm": d**norm, **changes}
        small = {"norm": d**m2, "share": 1.0, "curvature": d**of_small, "error": 1e-4 * d**error_of_small}
        rows.append(theorem(L_S=large, S=small).assign(longest=longest))
    return along("dimension", dimensions, rows)


def minima(convex: float = 0.0, network: float = 0.1, gradient: float = 1e-7, error: float = 0.1) -> xr.Dataset:
    """Errors on P where training ends, the histories up to so many decades apart."""
    apart = np.array([[convex], [network]])[..., None] * np.linspace(0, 1, 4)  # [model, seed, history]
    values = {"error_p": error * 10**apart, "gradient": np.full((2, 1, 4), gradient)}
    wide = {name: (("model", "seed", "history"), v.repeat(SEEDS, 1)) for name, v in values.items()}
    return xr.Dataset(wide, {"model": ["network", "convex"][::-1]}, {"p": 0.2, "test_examples": 4000})


def models(network: xr.Dataset, convex: xr.Dataset) -> xr.Dataset:
    return along("model", ["network", "convex"], [network, convex])
