"""The list of the study's measurements. What computes them is loaded when it runs, because it imports PyTorch."""

from __future__ import annotations

from lrscope.studies.lazy_functions import lazy
from lrscope.studies.types import Measurement

HERE = "lrscope.studies.three_regimes"
FUNCTIONS = f"{HERE}.measurement_functions"


def measurements(nets: tuple[str, ...]) -> tuple[Measurement, ...]:
    """The measurements of a scale. `nets` names the sweeps whose regime 3 is held against random walks."""
    steps = Measurement(
        name="walks",
        about="Steps in regimes 2 and 3, and random walks of the same step sizes, for networks of different widths.",
        needs=nets,
        run=lazy(f"{FUNCTIONS}:walking", names=nets),
    )
    return (*_EVERYWHERE, steps)


EQUILIBRIA = ("convnet", "noisy")  # whose checkpoints are connected
TUNED = {  # sweeps with fixed ELRs and with fine-tuning
    "tuned_paths": (("convnet", "tune_lower"), ("convnet", "tune_first")),
    "tuned_paths_noise": (("noisy", "tune_noise_lower"), ("noisy", "tune_noise")),
}

_EVERYWHERE = (
    Measurement(
        name="toy_pair",
        about="One pair of the toy function over ELRs.",
        needs=(),
        run=lazy(f"{HERE}.toy:toy_pair"),
    ),
    Measurement(
        name="toy",
        about="Three pairs of the toy function at the paper's ELRs.",
        needs=(),
        run=lazy(f"{HERE}.toy:toy_three"),
    ),
    Measurement(
        name="neighbour_paths",
        about="Losses between solutions of neighbouring ELRs of regime 1.",
        needs=("long",),
        run=lazy(f"{FUNCTIONS}:neighbour_paths"),
    ),
    *(
        Measurement(
            name=name,
            about="Losses between pre-trained and fine-tuned weights of regime 1.",
            needs=tuple(dict.fromkeys(sweep for pair in pairs for sweep in pair)),
            run=lazy(f"{FUNCTIONS}:tuned_paths", sweeps=pairs),
        )
        for name, pairs in TUNED.items()
    ),
    Measurement(
        name="checkpoint_paths",
        about="Losses between checkpoints of regime-2 runs.",
        needs=EQUILIBRIA,
        run=lazy(f"{FUNCTIONS}:checkpoint_paths", names=EQUILIBRIA),
    ),
    Measurement(
        name="steepness",
        about="Four sharpness measures over ELRs and times of training.",
        needs=("convnet",),
        run=lazy(f"{FUNCTIONS}:steepness"),
    ),
    Measurement(
        name="identities",
        about="Residuals of eq. 3, 4 and 5 in float64, one ELR in each regime.",
        needs=("convnet",),
        run=lazy(f"{FUNCTIONS}:exactness"),
    ),
)
