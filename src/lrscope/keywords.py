"""The options of `sweep` as editors complete them. A test compares them with the fields of `SweepConfig` and `EngineConfig`.

Types are what may be passed; the configs hold what it is read as. NumPy's, PyTorch's and pandas' numbers and arrays, and
text as the command line writes it, are read too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Real = float | np.floating | np.integer
    Whole = int | np.integer
    Reals = float | str | Sequence[float] | np.ndarray | Tensor
    Wholes = int | str | Sequence[int] | np.ndarray | Tensor


class SweepOptions(TypedDict, total=False):
    """Fields of `SweepConfig` but `lrs`, then of `EngineConfig`; docs/usage.md explains them."""

    seeds: Whole
    data_seeds: Whole
    space: Literal["sphere", "whole"]
    scale_invariant: bool | None
    radius: Real | None
    epochs: Real | None
    steps: Whole | None
    batch_size: Whole
    momentum: Real
    weight_decay: Real
    schedule: str
    finetune_lrs: Reals
    finetune_epochs: Real | None
    finetune_steps: Whole | None
    average: Wholes
    average_every: Whole | None
    same_init: bool
    augment: bool
    precision: Literal["float32", "float64", "bf16"]
    log_points: Whole
    adaptive: bool
    random_points: Whole
    log_epochs: Reals
    snapshot_epochs: Reals
    keep_weights: bool
    randaugment: tuple[int, int] | Sequence[int] | str | None
    optimizer: Literal["sgd", "adam"]

    device: str
    jobs: Whole | None
    path: Literal["auto", "batched", "single"]
    chunk: Whole | None
    compile: bool | None
    checkpoint_seconds: Real
    on: Literal["local", "ray"]
    extend_finetunes: bool
