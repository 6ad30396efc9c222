"""Where training with weight decay ends, from several histories (learning_order, Sec. 1)."""

from __future__ import annotations

import torch

from lrscope.studies.learning_order.distribution import sample
from lrscope.studies.learning_order.runs import Run
from lrscope.studies.learning_order.two_layers import Widths
from lrscope.studies.learning_order.unique_minimum import HISTORIES, SMALL_GRADIENT, Ends, ends

RATES = {"r": 0.5, "weight_decay": 0.01, "large_lr": 5.0, "small_lr": 0.5}


def ended(*, frozen: bool, most: int = 4000) -> Ends:
    sizes = {"p": 0.3, "q": 0.2, "seeds": [0]}
    runs = [Run(anneal_below=level, frozen=frozen, **RATES) for level in (0.5, float("inf"))]
    test = sample(2000, 40, purpose="test", **sizes)
    widths = Widths(first=30, second=100)
    return ends(sample(60, 40, **sizes), runs, test, widths=widths, start_std=0.2, until=20, most=most)


def test_a_convex_model_forgets_what_it_learned_first() -> None:
    found = ended(frozen=True)
    assert found.error_p.shape == (len(HISTORIES),)
    assert (found.gradient < SMALL_GRADIENT).all()
    assert found.error_p.max() - found.error_p.min() < 1e-6
    assert 0 < found.error_p.min() < 0.4


def test_histories_differ_before() -> None:
    """What says that the test above could fail."""
    soon = ended(frozen=True, most=1)  # one look
    assert not (soon.gradient < SMALL_GRADIENT).all()
    assert soon.error_p.max() - soon.error_p.min() > 0.001
    network = ended(frozen=False, most=1)
    assert not torch.equal(soon.error_p, network.error_p), "activations are frozen in the one and not in the other"
