"""A user's code may draw from three generators: all are seeded, and all are put back."""

from __future__ import annotations

import random

import numpy as np
import torch

from lrscope.tasks.random_state import seeded


def draws() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()


def test_all_three_draw_as_the_seed_says_and_are_put_back() -> None:
    with seeded(2**62 + 1):
        before = draws()
        with seeded(7):
            first = draws()
        with seeded(7):
            assert draws() == first
        with seeded(8):
            assert not set(draws()) & set(first)
        after = draws()
    with seeded(2**62 + 1):
        assert (draws(), draws()) == (before, after)
