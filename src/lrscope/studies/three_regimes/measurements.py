"""The list of the study's measurements. What computes them is loaded when it runs, because it imports PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from lrscope.studies.types import Measurement, StudyResults

if TYPE_CHECKING:
    import xarray as xr


def _later(name: str, **options: Any) -> Callable[[StudyResults], xr.Dataset]:
    """A function of measurements.py by name, with some arguments."""
    return partial(_run, name=name, **options)


def _run(results: StudyResults, *, name: str, **options: Any) -> xr.Dataset:
    from lrscope.studies.three_regimes import measurement_functions

    found: xr.Dataset = getattr(measurement_functions, name)(results, **options)
    return found


def _run_toy(results: StudyResults, *, name: str) -> xr.Dataset:
    from lrscope.studies.three_regimes import toy

    found: xr.Dataset = getattr(toy, name)(results)
    return found


def measurements(sizes: tuple[tuple[str, str], ...], nets: tuple[str, ...]) -> tuple[Measurement, ...]:
    """The measurements of a scale. `sizes` names the sweeps that train the ConvNet with fixed ELRs and fine-tune it, a pair for
    each size of the training set; `nets` those whose highest ELR lies in regime 3, one for each width."""
    by_size = Measurement(
        name="data_sizes",
        about="What regimes 1 and 2 show on training sets of different sizes.",
        needs=tuple(name for pair in sizes for name in pair),
        run=_later("data_sizes", names=sizes),
        version=4,
    )
    offsets = Measurement(
        name="walk_offsets",
        about="What the losses of regime 3 and of random walks consist of, for networks of different widths.",
        needs=nets,
        run=_later("walk_offsets", names=nets),
        version=2,
    )
    return (*_EVERYWHERE, by_size, offsets)


_EVERYWHERE = (
    Measurement(
        name="toy_pair",
        about="One pair of the toy function over ELRs.",
        needs=(),
        run=partial(_run_toy, name="toy_pair"),
        version=2,
    ),
    Measurement(
        name="toy",
        about="Three pairs of the toy function at the paper's ELRs.",
        needs=(),
        run=partial(_run_toy, name="toy_three"),
    ),
    Measurement(
        name="neighbour_paths",
        about="Losses between solutions of neighbouring ELRs of regime 1.",
        needs=("convnet",),
        run=_later("neighbour_paths"),
        version=2,
    ),
    Measurement(
        name="tuned_paths",
        about="Losses between pre-trained and fine-tuned weights of regime 1.",
        needs=("convnet", "tune_first"),
        run=_later("tuned_paths"),
        version=2,
    ),
    Measurement(
        name="checkpoint_paths",
        about="Losses between checkpoints of regime-2 runs.",
        needs=("convnet",),
        run=_later("checkpoint_paths"),
    ),
    Measurement(
        name="steepness",
        about="Four sharpness measures over ELRs and moments of training.",
        needs=("convnet",),
        run=_later("steepness"),
    ),
    Measurement(
        name="walks",
        about="Steps in regimes 2 and 3, and random walks of the same step sizes.",
        needs=("convnet",),
        run=_later("walking"),
    ),
    Measurement(
        name="identities",
        about="Residuals of eq. 3, 4 and 5 in float64, one ELR in each regime.",
        needs=("convnet",),
        run=_later("exactness"),
    ),
)
