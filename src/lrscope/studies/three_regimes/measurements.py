"""The list of the study's measurements. What computes them is loaded when it runs, because it imports PyTorch."""

from __future__ import annotations

from lrscope.studies.lazy_functions import lazy
from lrscope.studies.types import Measurement

HERE = "lrscope.studies.three_regimes"
FUNCTIONS = f"{HERE}.measurement_functions"


def measurements(sizes: tuple[tuple[str, str], ...], nets: tuple[str, ...]) -> tuple[Measurement, ...]:
    """The measurements of a scale. `sizes` names the sweeps that train the ConvNet with fixed ELRs and fine-tune it, a pair for
    each size of the training set; `nets` those whose highest ELR lies in regime 3, one for each width."""
    by_size = Measurement(
        name="data_sizes",
        about="What regimes 1 and 2 show on training sets of different sizes.",
        needs=tuple(name for pair in sizes for name in pair),
        run=lazy(f"{FUNCTIONS}:data_sizes", names=sizes),
    )
    offsets = Measurement(
        name="walk_offsets",
        about="What the losses of regime 3 and of random walks consist of, for networks of different widths.",
        needs=nets,
        run=lazy(f"{FUNCTIONS}:walk_offsets", names=nets),
    )
    return (*_EVERYWHERE, by_size, offsets)


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
        needs=("convnet",),
        run=lazy(f"{FUNCTIONS}:neighbour_paths"),
    ),
    Measurement(
        name="tuned_paths",
        about="Losses between pre-trained and fine-tuned weights of regime 1.",
        needs=("convnet", "tune_first"),
        run=lazy(f"{FUNCTIONS}:tuned_paths"),
    ),
    Measurement(
        name="checkpoint_paths",
        about="Losses between checkpoints of regime-2 runs.",
        needs=("convnet",),
        run=lazy(f"{FUNCTIONS}:checkpoint_paths"),
    ),
    Measurement(
        name="steepness",
        about="Four sharpness measures over ELRs and times of training.",
        needs=("convnet",),
        run=lazy(f"{FUNCTIONS}:steepness"),
    ),
    Measurement(
        name="walks",
        about="Steps in regimes 2 and 3, and random walks of the same step sizes.",
        needs=("convnet",),
        run=lazy(f"{FUNCTIONS}:walking"),
    ),
    Measurement(
        name="identities",
        about="Residuals of eq. 3, 4 and 5 in float64, one ELR in each regime.",
        needs=("convnet",),
        run=lazy(f"{FUNCTIONS}:exactness"),
    ),
)
