"""How models are drawn: by the seed alone, each anew, from whatever generator; and what is found by drawing twice."""

from __future__ import annotations

import copy
import itertools
import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

from lrscope.errors import LrscopeError
from lrscope.tasks.task import Task
from tiny_tasks import CLASSES, drawn, examples

TRAIN, TEST = examples(24, (5,)), examples(12, (5,), key="test")


def task(model: Any) -> Task:
    return Task(model, TRAIN, TEST)


def weights(model: nn.Module) -> list[Tensor]:
    return [t.detach().clone() for t in (*model.parameters(), *model.buffers())]


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


class OneWeight(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.as_tensor(value, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


class Block(nn.Module):
    """Its reset_parameters initialises its children, after they did so themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5, 8), nn.Linear(8, CLASSES)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.inner.weight, std=1e-3)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.outer(self.inner(x).relu())
        return out


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(CLASSES))


SHARED = drawn(lambda: nn.Linear(5, CLASSES))


def initialised_again() -> nn.Module:
    SHARED.reset_parameters()
    return SHARED


@pytest.mark.parametrize(
    "model",
    [
        lambda: OneWeight(np.random.randn(5, CLASSES)),
        lambda: OneWeight([[random.random() for _ in range(CLASSES)] for _ in range(5)]),
        lambda: OneWeight(torch.randn(5, CLASSES)),
        lazy,
        drawn(Block),
        drawn(lambda: nn.Sequential(nn.Linear(5, 4), nn.Linear(4, CLASSES))),
        initialised_again,
    ],
    ids=["numpy", "python", "torch", "lazy", "parent and children", "module", "one module drawn anew"],
)
def test_seeds_decide_alone_whatever_generator_draws(model: Any) -> None:
    """conftest.py watches the three global generators."""
    made = task(model)
    first, other = made.new_model(3), made.new_model(4)
    again = made.new_model(3)
    assert equal(first, again)
    assert not equal(first, other)
    assert first is not again
    assert {type(m) for m in first.modules()}.isdisjoint({nn.LazyLinear, nn.LazyBatchNorm1d})


def test_parents_have_the_last_word() -> None:
    made = task(drawn(Block)).new_model(0)
    assert made.inner.weight.std() < 2e-3
    assert not made.outer.weight.any()


def test_layers_draw_in_their_order() -> None:
    """As the module's own construction does, for layers without parents that interfere."""
    plain = lambda: nn.Sequential(nn.Linear(5, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, CLASSES))  # noqa: E731
    assert equal(task(drawn(plain)).new_model(7), task(plain).new_model(7))


def test_what_is_frozen_in_a_module_stays_as_it_was() -> None:
    module = drawn(lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, CLASSES)))
    module[0].requires_grad_(False)
    module[1].running_mean.fill_(3.0)
    module[1].eval()
    new = task(module).new_model(5)
    assert torch.equal(new[0].weight, module[0].weight)
    assert torch.equal(new[1].running_mean, module[1].running_mean)
    assert not torch.equal(new[2].weight, module[2].weight)


def test_a_part_that_models_share_is_copied() -> None:
    backbone = drawn(lambda: nn.Linear(5, 6))
    made = task(lambda: nn.Sequential(backbone, nn.Linear(6, CLASSES)))
    new = made.new_model(2)
    assert torch.equal(new[0].weight, backbone.weight)
    assert new[0] is not backbone
    assert made.drawing.shared
    assert not made.drawing.constant


COUNT = itertools.count()
ONE = drawn(lambda: nn.Linear(5, CLASSES))


class Aside(nn.Module):
    """A lazy layer that a pass does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.aside = nn.Linear(5, CLASSES), nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.used(x)
        return out


class Idle(OneWeight):
    """Its reset_parameters resets nothing."""

    def __init__(self) -> None:
        super().__init__(torch.randn(5, CLASSES))

    def reset_parameters(self) -> None:
        pass


def failing() -> nn.Module:
    raise KeyError("width")


def mixed() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4).double(), nn.Linear(4, CLASSES))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: ONE, "the factory returns one and the same module"),
        (
            lambda: OneWeight(np.random.default_rng().normal(size=(5, CLASSES))),
            "under one seed gave different w: draw only",
        ),
        (lambda: OneWeight(np.full((5, CLASSES), os.urandom(4)[0] + next(COUNT) / 7)), "gave different w"),
        (failing, "the factory failed .KeyError: 'width'.: correct it"),
        (
            drawn(lambda: nn.Sequential(weight_norm(nn.Linear(5, CLASSES)))),
            "cannot be copied for each seed",
        ),
        (
            drawn(lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(5, CLASSES)))),
            "0.parametrizations.weight cannot be initialised anew for each seed",
        ),
        (lambda: nn.Linear(5, CLASSES).half(), "its parameters are float16"),
        (mixed, r"several types \(.*float64, .*float32\): bring them to one"),
        (lambda: nn.Linear(5, CLASSES, dtype=torch.complex64), "weight, bias are complex"),
        (lazy(), "model: it cannot be copied for each seed .*: pass a function that returns a new model"),
        (drawn(Idle), "model: w stays the same for every seed, because no reset_parameters draws it anew"),
        (Aside, "lazy layers aside.weight, aside.bias are not reached"),
        (
            lambda: nn.Sequential(nn.LazyConv2d(4, 3)),
            r"lazy layers 0 cannot be initialised by an example of shape \(5,\)",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(model: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(LrscopeError, match=message) as caught:
        task(model)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_the_same_for_every_seed_is_known() -> None:
    start = drawn(lambda: nn.Linear(5, CLASSES))
    assert task(lambda: copy.deepcopy(start)).drawing.constant
    assert not task(lambda: nn.Linear(5, CLASSES)).drawing.constant


def test_a_loss_whose_own_parameters_would_not_train_is_refused() -> None:
    class Margin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.margin = nn.Parameter(torch.zeros(()))

    with pytest.raises(LrscopeError, match="loss: its parameters margin would not be trained"):
        Task(lambda: nn.Linear(5, CLASSES), TRAIN, TEST, loss=Margin(), classification=True)


def test_a_model_that_fails_in_its_own_way_is_refused_in_one_sentence() -> None:
    class Own(Exception):
        pass

    class Picky(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise Own("inputs\nof another kind")

    with pytest.raises(
        LrscopeError, match=r"model: it cannot take a batch of shape \(4, 5\) \(inputs\): change the model"
    ):
        task(lambda: Picky(5, CLASSES))
