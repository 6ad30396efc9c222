"""The list of the study's measurements. What computes them is loaded when it runs, because it imports PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrscope.studies.lazy_functions import lazy
from lrscope.studies.types import Measurement

FUNCTIONS = "lrscope.studies.late_decay.measurement_functions"
ABOUT = {
    "model": "The model y = |w|^gamma <w, x> with label noise, a large learning rate and its decay, over gamma.",
    "speed": "The same at the large rate alone, over gamma and the norm of the predictor at the start.",
    "landscape": "Training and test loss of the model on the plane that shows its manifold, its minimum-norm point and the teacher.",
}


def measurements(**options: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """All of them, with the options of each."""
    return tuple(
        Measurement(name=name, about=ABOUT[name], needs=(), run=lazy(f"{FUNCTIONS}:{name}", **chosen))
        for name, chosen in options.items()
    )
