"""What the study measures beyond its sweeps: the theory's model, trained. Seeds begin at the scale's first seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from lrscope.studies.late_decay.curves import Setting, late_decay_curves
from lrscope.studies.late_decay.problems import sample
from lrscope.studies.late_decay.schedules import diagonal_ends, schedule_ends
from lrscope.studies.late_decay.slices import model_landscape
from lrscope.studies.types import StudyResults

KEPT = ("off", "destination", "loss", "zero_loss")  # of the curves from which speeds are read


def model(results: StudyResults, setting: Mapping[str, Any], seeds: int, **how: Any) -> xr.Dataset:
    """Curves of every gamma (`late_decay_curves`)."""
    return late_decay_curves(Setting(**setting), _seeds(results, seeds), **how)


def quiet(results: StudyResults, setting: Mapping[str, Any], seeds: int, **how: Any) -> xr.Dataset:
    """The same without label noise."""
    return late_decay_curves(Setting(**setting), _seeds(results, seeds), **how)


def few(results: StudyResults, setting: Mapping[str, Any], seeds: int, **how: Any) -> xr.Dataset:
    """The same with few examples."""
    return late_decay_curves(Setting(**setting), _seeds(results, seeds), **how)


def success(results: StudyResults, setting: Mapping[str, Any], seeds: int, **how: Any) -> xr.Dataset:
    """The same of another setting."""
    return late_decay_curves(Setting(**setting), _seeds(results, seeds), **how)


def speed(
    results: StudyResults, setting: Mapping[str, Any], starts: Sequence[float], seeds: int, **how: Any
) -> xr.Dataset:
    """Some of them over the norm of the predictor at the start [start, ...]."""
    chosen = _seeds(results, seeds)
    found = [
        late_decay_curves(Setting(**setting, start_norm=norm, start_of="predictor"), chosen, **how)[list(KEPT)]
        for norm in starts
    ]
    joined = xr.concat(found, dim="start", combine_attrs="drop_conflicts")
    return joined.assign_coords(start=np.array(starts, dtype=float))


def landscape(results: StudyResults, gammas: Sequence[float], examples: int, dimension: int, **how: Any) -> xr.Dataset:
    """Losses of the first data set's model over its plane [gamma, y, x], with what is where (`model_landscape`)."""
    problems = sample(examples, dimension, seeds=[results.first_seed])
    found = [model_landscape(problems, gamma, **how) for gamma in gammas]
    numbered = [one.assign_coords(position=np.arange(one.sizes["position"])) for one in found]
    joined = xr.concat(numbered, dim="gamma", join="outer", combine_attrs="drop_conflicts")
    return joined.assign_coords(gamma=np.array(gammas, dtype=float))


def courses(results: StudyResults, setting: Mapping[str, Any], schedules: Sequence[str], seeds: int) -> xr.Dataset:
    """Ends of every schedule (`schedule_ends`)."""
    return schedule_ends(Setting(**setting), schedules, _seeds(results, seeds))


def diagonal(results: StudyResults, schedules: Sequence[str], seeds: int, **how: Any) -> xr.Dataset:
    """Ends of every schedule on diagonal linear networks (`diagonal_ends`)."""
    return diagonal_ends(schedules, _seeds(results, seeds), **how)


def _seeds(results: StudyResults, count: int) -> range:
    return range(results.first_seed, results.first_seed + count)
