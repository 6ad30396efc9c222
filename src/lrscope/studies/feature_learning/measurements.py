"""The list of the study's measurements. What computes them is loaded when it runs, because it imports PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrscope.studies.lazy_functions import lazy
from lrscope.studies.types import Measurement

FUNCTIONS = "lrscope.studies.feature_learning.measurement_functions"


def _measurement(name: str, about: str, *needs: str, by: str = "", **options: Any) -> Measurement:
    return Measurement(name=name, about=about, needs=needs, run=lazy(f"{FUNCTIONS}:{by or name}", **options))


TICK = _measurement("tick", "Points of one tick feature and its decision boundary.")
GEOMETRY = _measurement(
    "geometry",
    "Angles and barriers between low-FLR, high-FLR and averaged solutions of the ticks.",
    "ticks",
    by="ticks_geometry",
)


def everywhere(task: Mapping[str, Any], *, scaled: bool) -> tuple[Measurement, ...]:
    """The measurements of all scales; `task` names the images whose bands are shown, `scaled` says whether single bands are
    divided by the standard deviation."""
    about = "Test images with their normalisation, for their frequency bands."
    splits = "Accuracies of the fine-tuned transformer on other splits between low and mid bands."
    return (
        TICK,
        GEOMETRY,
        _measurement("band_examples", about, task=dict(task)),
        _measurement("vit_splits", splits, "vit", scaled=scaled),
    )
