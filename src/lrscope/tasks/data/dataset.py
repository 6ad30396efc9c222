"""What a data set is once loaded: arrays in memory.

Shapes: N examples, V validation examples, C channels, H x W pixels, T words, F features, M examples of a feature set.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lrscope.tasks.validation import NONE


@dataclass(frozen=True, kw_only=True, eq=False)
class DataSet:
    """In-memory arrays of one data set, on the CPU; inputs are float32 and already normalised, or int64 numbers of words."""

    name: str
    train_x: Tensor  # [N, C, H, W]; ticks [N, 2 F]; texts [N, T] int64
    train_y: Tensor  # [N] int64
    test_x: Tensor  # [N, C, H, W]; ticks [N, 2 F]; texts [N, T] int64
    test_y: Tensor  # [N] int64
    classes: int  # 2 for ticks
    loss: str  # "cross_entropy", or "binary_cross_entropy" (ticks: one logit)
    feature_x: Tensor | None = None  # [F, M, ...]: feature sets, such as ticks' single-feature test sets [F, M, 2 F]
    feature_y: Tensor | None = None  # [F, M] int64
    feature_names: tuple[str, ...] = ()  # of the F feature sets; () leaves them their numbers
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = (
        None  # images': (mean, std) per channel of pixels
    )
    clean_train_y: Tensor | None = None  # [N] int64: labels before label noise, where noise was asked for
    train_groups: Tensor | None = None  # [N] int64: which group of a partition each training example is in
    train_group_names: tuple[str, ...] = ()  # of the groups 0, 1, ...
    test_groups: Tensor | None = None  # [M] int64: the same for the M test examples
    test_group_names: tuple[str, ...] = ()
    validation_x: Tensor | None = (
        None  # [V, ...]: examples to choose by; neither trained on nor reported as the test set is
    )
    validation_y: Tensor | None = None  # [V, ...]
    validation_source: str = NONE  # where they come from: one of the words of `tasks.validation`
