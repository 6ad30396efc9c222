"""Cosines between what a descent shows one after the other: its weights, and its updates of them.

P parameters. One run: tensors have a leading axis of length 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrscope.dynamics.descend import Update


def cosine_between(first_1P: Tensor, second_1P: Tensor) -> Tensor:
    """The cosine [1] of two vectors, in float64."""
    a, b = first_1P[0].double(), second_1P[0].double()
    cosine: Tensor = a @ b / (a.norm() * b.norm())
    return cosine[None]


class Lag:
    """The cosine [1] between the vector that it is shown and the one before; NaN at the first."""

    def __init__(self) -> None:
        self.last: Tensor | None = None

    def __call__(self, vector_1P: Tensor) -> Tensor:
        last, self.last = self.last, vector_1P.clone()
        return vector_1P.new_full((1,), torch.nan).double() if last is None else cosine_between(last, vector_1P)


class UpdateLag:
    """The cosine [1] between an update of the weights and the one before; NaN at the first."""

    def __init__(self) -> None:
        self.lag = Lag()

    def __call__(self, update: Update) -> Tensor:
        return self.lag(update.after - update.before)
