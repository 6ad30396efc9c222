"""The list of the study's measurements. What computes them is loaded when it runs, because it imports PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrscope.studies.lazy_functions import lazy
from lrscope.studies.types import Measurement

FUNCTIONS = "lrscope.studies.late_decay.measurement_functions"
ABOUT = {
    "model": "The model y = |w|^gamma <w, x> with label noise, a large learning rate and its decay, over gamma.",
    "quiet": "The same without label noise, at two rates.",
    "few": "The same with label noise and 4 examples: there label noise leads elsewhere than to the minimum-norm solution.",
    "success": "The model at a smaller rate and for longer, over larger gammas: how often phase II ends at the minimum-norm solution.",
    "speed": "The same at the large rate alone, over gamma and the norm of the predictor at the start.",
    "planes": "Losses on the surface through main path and sub-paths of the squared error, for each draw of the images.",
    "landscape": "Training and test loss of the model on the plane that shows its manifold, its minimum-norm point and the teacher.",
    "courses": "Where the model ends by schedules of one number of steps, from the same starts with the same batches and noise.",
    "diagonal": "The same of diagonal linear networks, y = <u * u - v * v, x>, whose teachers have few entries.",
}
NEEDS = {"planes": ("mse",)}
WHERE = {"planes": "lrscope.studies.late_decay.planes"}


def measurements(**options: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """All of them, with the options of each."""
    return tuple(
        Measurement(
            name=name,
            about=ABOUT[name],
            needs=NEEDS.get(name, ()),
            run=lazy(WHERE.get(name, FUNCTIONS) + f":{name}", **chosen),
        )
        for name, chosen in options.items()
    )
