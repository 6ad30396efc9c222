"""Results of the study feature_learning with planted effects: what its claims read, with a known answer.

L pre-training rates.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from fake_results import fake_result
from lrscope.studies.feature_learning import STUDY
from lrscope.studies.types import Finding
from trees import changed

GROUPS = ("background", "low", "mid", "high")
SETS = (*GROUPS, *(f"without {name}" for name in GROUPS))
RUNS = ("data_seed", "seed")
LEVELS = {"background": 0.2, "low": 0.8, "mid": 0.6, "high": 0.15}
GOOD: dict[str, dict[str, dict[str, float]]] = {
    "pretrain": {
        "low": {"1": 0.3, "2A": 0.5, "2B": 0.25},
        "mid": {"1": 0.3, "2A": 0.3},
        **{f"without {name}": dict.fromkeys(("1", "2A", "2B"), 0.6) for name in LEVELS},
    },
    "average": {"low": {"2A": 0.6}, "mid": {"2A": 0.3}},
    "finetune": {
        "low": {"1": 0.4, "2A": 0.7},
        "mid": {"1": 0.3, "2A": 0.3},
        "without low": {"1": 0.6, "2A": 0.3},
        **{f"without {name}": {"1": 0.7, "2A": 0.7} for name in ("background", "mid", "high")},
    },
}
TEN = json.dumps({"name": "images", "kind": "classification", "classes": 10, "train_size": 512, "test_size": 2000})


class PlantedResults:
    """A study whose sweeps and measurements are given."""

    scale, first_seed = "smoke", 0

    def __init__(self, sweeps: dict[str, xr.DataTree], measured: dict[str, xr.Dataset] | None = None) -> None:
        self.sweeps, self.measurements = sweeps, measured or {}

    def sweep(self, name: str) -> xr.DataTree:
        return self.sweeps[name]

    def measurement(self, name: str) -> xr.Dataset:
        return self.measurements[name]

    def trained(self, name: str) -> Any:
        raise AssertionError("claims read no weights")


def checked(claim: str, sweeps: dict[str, xr.DataTree], measured: dict[str, xr.Dataset] | None = None) -> Finding:
    return next(c for c in STUDY.claims if c.id == claim).check(PlantedResults(sweeps, measured))


def verdicts(found: Finding) -> list[str]:
    return [part.verdict for part in found.parts]


def by_name(found: Finding) -> dict[str, str]:
    return {part.name: part.verdict for part in found.parts}


def planted_result() -> xr.DataTree:
    return fake_result(lrs=24, seeds=2, data_seeds=3, epochs=60)


def by_label(planted: xr.DataTree, name: str, labels: list[str], values: dict[str, float], spread: float = 0.01) -> Any:
    """A variable whose mean depends on the regime alone."""
    rng = np.random.default_rng(7)
    levels = xr.DataArray([values[label] for label in labels], dims="lr", coords={"lr": planted["lr"]})
    noise = xr.DataArray(spread * rng.standard_normal(planted[name].shape), dims=planted[name].dims)
    return (levels + noise).transpose(*planted[name].dims)


def with_levels(
    planted: xr.DataTree, labels: list[str], levels: dict[str, dict[str, float]], spread: float = 0.001
) -> xr.DataTree:
    """Test accuracies by segment and regime."""
    names = {f"{segment}/test_accuracy": values for segment, values in levels.items()}
    return changed(planted, {name: by_label(planted, name, labels, values, spread) for name, values in names.items()})


def with_sets(planted: xr.DataTree, labels: list[str], levels: dict[str, dict[str, dict[str, float]]]) -> xr.DataTree:
    """Accuracies on bands alone and on images without them, by segment, set and regime; 0.1 where nothing is said."""
    made = changed(planted.isel(feature=slice(0, len(SETS))), {"feature": np.array(SETS, dtype=object)}, task=TEN)
    rng = np.random.default_rng(11)
    for segment in ("pretrain", "average", "finetune"):
        name = f"{segment}/feature_accuracy"
        rows = [[levels.get(segment, {}).get(one, {}).get(label, 0.1) for one in SETS] for label in labels]
        array = made[name]
        table = xr.DataArray(rows, dims=("lr", "feature"), coords={"lr": made["lr"], "feature": made["feature"]})
        noise = xr.DataArray(0.002 * rng.standard_normal(array.shape), dims=array.dims)
        made = changed(made, {name: (table + noise).transpose(*array.dims)})
    return made


def trained_alone(levels: dict[str, float]) -> dict[str, xr.DataTree]:
    """The sweeps that train on one group of bands, with what they get."""
    found = {}
    for name, level in levels.items():
        result = fake_result(lrs=3, seeds=1, data_seeds=3, epochs=10, finetune=False, average=False, features=False)
        shape = result["pretrain/test_accuracy"]
        noise = 0.002 * np.random.default_rng(len(name)).standard_normal(shape.shape)
        drop = xr.DataArray([0.1, 0.0, 0.2], dims="lr", coords={"lr": result["lr"]})
        values = (xr.zeros_like(shape) + noise + level - drop).transpose(*shape.dims)
        found[f"only_{name}"] = changed(result, {"pretrain/test_accuracy": values}, task=TEN)
    return found


def by_place(planted: xr.DataTree, name: str, values: np.ndarray, dim: str = "lr") -> xr.DataArray:
    """A variable that depends on the place along one dimension alone."""
    levels = xr.DataArray(values, dims=dim, coords={dim: planted[name][dim]})
    return (xr.zeros_like(planted[name]) + levels).transpose(*planted[name].dims)


def on_bands(planted: xr.DataTree, labels: list[str]) -> xr.DataTree:
    """Networks that rely on low bands in 2A."""
    accuracy = dict.fromkeys(("1", "2A", "2B", "3"), 0.8)
    levels = {"pretrain": accuracy, "average": accuracy, "finetune": accuracy}
    return with_levels(with_sets(planted, labels, GOOD), labels, levels)


def replaced(images: xr.DataTree, labels: list[str], segment: str, name: str, values: dict[str, float]) -> xr.DataTree:
    """The same with another accuracy on one feature set."""
    array = images[f"{segment}/feature_accuracy"].copy(deep=True)
    for label, value in values.items():
        array.loc[{"feature": name, "lr": images["lr"].values[[one == label for one in labels]]}] = value
    return changed(images, {f"{segment}/feature_accuracy": array})


def with_sharpness(planted: xr.DataTree, within: float, across: float, sharper: float = 1.0) -> xr.DataTree:
    """Fine-tunes whose loss falls alike from 10; sharpness grows by a decade over FLRs and by `sharper` decades over PLRs,
    error by so much."""
    loss = planted["finetune/train_loss"]
    fall = xr.DataArray(10.0 * 0.3 ** np.arange(loss.sizes["epoch"]), dims="epoch")
    f, p = (xr.DataArray(np.linspace(0, 1, loss.sizes[d]), dims=d) for d in ("finetune_lr", "lr"))
    noise = xr.DataArray(1e-4 * np.random.default_rng(5).standard_normal(loss.shape), dims=loss.dims)
    return changed(
        planted,
        {
            "finetune/train_loss": (xr.zeros_like(loss) + fall).transpose(*loss.dims),
            "finetune/effective_grad_norm": (xr.zeros_like(loss) + 10 ** (f + sharper * p)).transpose(*loss.dims),
            "finetune/test_accuracy": (1 - (0.4 + within * f + across * p + noise)).transpose(*loss.dims),
        },
    )


def with_floors(made: xr.DataTree, floors: list[float]) -> xr.DataTree:
    """Fine-tunes of each data seed that end at another training loss; their error is linear in its logarithm."""
    floor = xr.DataArray(floors, dims="data_seed", coords={"data_seed": made["data_seed"]})
    loss = made["finetune/train_loss"] + floor
    error = made["finetune/test_accuracy"] - 0.01 * np.log(loss)
    new = {"finetune/train_loss": loss, "finetune/test_accuracy": error}
    return changed(made, {name: values.transpose(*made[name].dims) for name, values in new.items()})
