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
