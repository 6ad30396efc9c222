"""The list of the study's measurements. What computes them is loaded when it runs, because it imports PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lrscope.studies.types import Measurement, StudyResults

if TYPE_CHECKING:
    import xarray as xr


def _run(results: StudyResults, *, name: str, **options: Any) -> xr.Dataset:
    from lrscope.studies.feature_learning import measurement_functions

    found: xr.Dataset = getattr(measurement_functions, name)(results, **options)
    return found


def _measurement(name: str, about: str, *needs: str, by: str = "", **options: Any) -> Measurement:
    return Measurement(name=name, about=about, needs=needs, run=partial(_run, name=by or name, **options))


TICK = _measurement("tick", "Points of one tick feature and its decision boundary.")
GEOMETRY = _measurement(
    "geometry",
    "Angles and barriers between low-FLR, high-FLR and averaged solutions of the ticks.",
    "ticks",
    by="ticks_geometry",
)
SPLITS = _measurement(
    "vit_splits", "Accuracies of the fine-tuned transformer on other splits between low and mid bands.", "vit"
)


def everywhere(task: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """The measurements of all scales; `task` names the images whose bands are shown."""
    about = "Test images with their normalisation, for their frequency bands."
    return (TICK, GEOMETRY, _measurement("band_examples", about, task=dict(task)))
