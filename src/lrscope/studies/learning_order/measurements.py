"""The list of the study's measurements. What computes them is loaded when it runs, because it imports PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrscope.studies.lazy_functions import lazy
from lrscope.studies.types import Measurement

FUNCTIONS = "lrscope.studies.learning_order.measurement_functions"
ABOUT = {
    "race": "L-S, S, and S with activation noise, at infinite width, on the shares of eq. 1.1: losses on P and Q, errors, curvature.",
    "scaling": "L-S and S over kappa, with p = kappa^2 / 2 and N = d / kappa^2.",
    "lemmas": "L-S and S over d, with r and weight decay as Assumption 3.3 has them.",
    "control": "The network and the convex model on the same data.",
    "finite": "The network and the convex model at finite width, step by step.",
    "minimum": "Where training from several histories ends, with small steps and without noise, at finite width.",
    "phases": "When P and Q are learned, over r and weight decay.",
    "patched": "Training images with and without patches.",
}
BY = {"race": "curves", "patched": "patches"}


def measurement(name: str, **options: Any) -> Measurement:
    """One of `ABOUT`, with the options of its function."""
    return Measurement(name=name, about=ABOUT[name], needs=(), run=lazy(f"{FUNCTIONS}:{BY.get(name, name)}", **options))


def measurements(patched: Mapping[str, Any], **options: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """All of them: `patched` is the task whose images are shown, `options` are those of each of the others."""
    return (
        *(measurement(name, **chosen) for name, chosen in options.items()),
        measurement("patched", task=dict(patched), columns=5),
    )
