"""The stored weights of a finished sweep, with what is needed to evaluate them: for measures beyond the logged ones.

R runs (here mostly 1), P parameters.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor

from lrscope.engine.material import Material
from lrscope.engine.net import Net
from lrscope.engine.program import Named, Program
from lrscope.tasks.task import Task


@dataclass(frozen=True)
class State:
    """Weights [1, P] of one run at one moment and its frozen tensors [1, ...]."""

    weights: Tensor
    frozen: Named


class Trained:
    """The runs of a result folder: their weights, the net's layout, programs and examples to evaluate them with."""

    result: xr.Dataset
    task: Task
    net: Net

    @classmethod
    def open(cls, folder: str | os.PathLike[str], task: Task) -> Trained:
        """Open the finished sweep of `task` in `folder`.

        Raises:
            LrscopeError: no result there, one of another task, or one whose chunks were removed.
        """
        raise NotImplementedError

    def state(
        self, *, lr: float, seed: int, data_seed: int = 0, finetune_lr: float | None = None, step: int | None = None
    ) -> State:
        """Weights at the end of pre-training, at the end of a fine-tuning, or at a kept step (`snapshots`) of either.

        Raises:
            LrscopeError: a run or a step that was not kept; the message lists those that were.
        """
        raise NotImplementedError

    def program(self, dtype: torch.dtype | None = None) -> Program:
        """Evaluation and gradients one run at a time; in another precision on request."""
        raise NotImplementedError

    def material(self, data_seed: int = 0) -> Material:
        """The examples of a data seed."""
        raise NotImplementedError
