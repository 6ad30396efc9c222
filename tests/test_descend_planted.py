"""Descent, step by step on made-up gradients: what is drawn and when, what forms numbers may have, and what is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lrscope.dynamics import descend as module
from lrscope.dynamics.descend import PointRecord, StepRecord, descend
from lrscope.errors import LrscopeError
from lrscope.tasks.streams import generator

START = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)


class Slope:
    """The gradient is 1 everywhere; the loss of some runs ends in a step."""

    size = 3

    def __init__(self, *, gradient: Any = None, loss: Any = None, ends: dict[int, int] | None = None) -> None:
        self.gradient_given, self.loss_given, self.ends = gradient, loss, ends or {}

    def gradient(self, points: Tensor, step: int) -> tuple[Any, Any]:
        loss = torch.tensor([torch.nan if self.ends.get(run) == step else 1.0 for run in range(len(points))])
        given = torch.ones_like(points) if self.gradient_given is None else self.gradient_given
        return given, loss if self.loss_given is None else self.loss_given


# -- numbers -----------------------------------------------------------------------------------------------------------


TWOS: dict[str, Any] = {
    "int": 2,
    "float": 2.0,
    "list": [2, 2],
    "tuple of one": (2.0,),
    "one row": [[2.0]],
    "NumPy's float": np.float32(2),
    "a longer float": np.longdouble(2),
    "longer floats": np.full((3, 2), 2, np.longdouble),
    "unsigned": np.full(2, 2, np.uint32),
    "tensor": torch.tensor(2),
    "a column": torch.full((3, 1), 2.0),
    "a row": torch.full((1, 2), 2, dtype=torch.int32),
}


@pytest.mark.parametrize("lr", TWOS.values(), ids=TWOS.keys())
def test_learning_rates_of_any_type_and_form_count(lr: Any) -> None:
    found = descend(Slope(), START, lr, 3)
    assert torch.equal(found.weights, START - 6)
    assert found.weights.dtype == torch.float64
    assert (found.taken.tolist(), found.taken.dtype) == ([3, 3], torch.int64)


# -- noise -------------------------------------------------------------------------------------------------------------


def draws(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | int, ...]]:
    """The names of the streams, as they are asked for."""
    asked: list[tuple[str | int, ...]] = []

    def noted(*name: str | int) -> torch.Generator:
        asked.append(name)
        return generator(*name)

    monkeypatch.setattr(module, "generator", noted)
    return asked


def test_each_block_of_noise_is_drawn_once_for_each_run_from_the_stream_of_weight_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = draws(monkeypatch)
    descend(Slope(), START, 0.1, 130, noise=0.1)
    assert asked == [("weight noise", run, block) for block in (0, 1, 2) for run in (0, 1)]


@pytest.mark.parametrize("noise", [0, 0.0, [0.0, 0.0]])
def test_without_noise_nothing_is_drawn(noise: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = draws(monkeypatch)
    assert torch.equal(descend(Slope(), START, 0.5, 2, noise=noise).weights, START - 1)
    assert asked == []


def test_noise_is_added_and_scaled_to_each_step_and_run() -> None:
    drawn = [torch.randn(64, 3, generator=generator("n", 1, run, 0), dtype=torch.float64) for run in (0, 1)]
    found = descend(Slope(), START, 0, 2, noise=[[0.0, 2.0], [1.0, 3.0]], stream=("n", 1)).weights
    torch.testing.assert_close(found[0], START[0] + drawn[0][1])
    torch.testing.assert_close(found[1], START[1] + 2 * drawn[1][0] + 3 * drawn[1][1])


# -- records -----------------------------------------------------------------------------------------------------------


def test_quantities_of_any_rank_are_not_a_number_after_a_run_has_ended_and_whole_numbers_are_as_they_are() -> None:
    ones: Callable[[Any], Tensor] = lambda _: torch.ones(2, 3, 2)  # noqa: E731
    record = {
        "points": PointRecord(ones),
        "steps": StepRecord(ones),
        "whole": PointRecord(lambda _: torch.tensor([[5], [6]])),
    }
    found = descend(Slope(ends={1: 1}), START, 0.1, 3, record=record)
    assert found.taken.tolist() == [3, 1]
    points, steps, whole = (found.recorded[name] for name in record)
    assert points.shape == (4, 2, 3, 2)
    assert points.isnan().flatten(2).all(2).tolist() == [[False, False]] * 2 + [[False, True]] * 2
    assert points.isnan().flatten(2).any(2).tolist() == [[False, False]] * 2 + [[False, True]] * 2
    assert steps.isnan().flatten(2).any(2).tolist() == [[False, False]] * 2 + [[False, True]]
    assert (whole.dtype, whole.tolist()) == (torch.int64, [[[5], [6]]] * 4)


def test_what_is_recorded_with_a_gradient_is_kept_without() -> None:
    record = {"w": PointRecord(lambda weights: weights.clone().requires_grad_() * 2)}
    assert not descend(Slope(), START, 0.1, 2, record=record).recorded["w"].requires_grad


def test_a_start_with_a_gradient_is_taken_as_it_is() -> None:
    found = descend(Slope(), START.clone().requires_grad_(), 0.5, 2)
    assert not found.weights.requires_grad
    assert torch.equal(found.weights, START - 1)


# -- misuse ------------------------------------------------------------------------------------------------------------

POINTS = PointRecord(lambda weights: weights)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "one value": ({"record": {"w": PointRecord(lambda _: torch.zeros(()))}}, r"record: w is \(\): return a tensor"),
    "no tensor": ({"record": {"w": PointRecord(lambda _: 5)}}, "record: w is 5: return a tensor with one value"),  # type: ignore[arg-type,return-value]
    "other runs": ({"record": {"w": StepRecord(lambda _: torch.zeros(3, 2))}}, r"record: w is \(3, 2\): return"),
    "a time before": ({"record": {"w": PointRecord(lambda w: w, (-1, 2))}}, "record: w at -1 is outside the descent"),
    "a time after": (
        {"record": {"w": PointRecord(lambda w: w, (4, 3))}},
        "record: w at 4 is outside the descent: choose from 0 to 3",
    ),
    "a step after": (
        {"record": {"w": StepRecord(lambda u: u.after, (3,))}},
        "record: w at 3 is outside the descent: choose from 0 to 2",
    ),
    "complex": ({"lr": torch.tensor(1j)}, "lr: .* must hold finite numbers of 0 or more"),
    "infinite": ({"lr": [0.1, np.inf]}, "lr: .* must hold finite numbers of 0 or more"),
    "of no runs": ({"lr": [0.1, 0.1, 0.1]}, r"lr: its shape is \(3,\): pass a number, one for each of the 2 runs, or"),
    "of three dimensions": ({"lr": np.ones((1, 3, 2))}, r"lr: its shape is \(1, 3, 2\): pass a number, one for each"),
    "ranges that meet": ({"groups": (((0, 2), (1, 3)),)}, "groups: .* do not hold each of the 3 weights once"),
    "ranges that end early": ({"groups": (((0, 2),),)}, "groups: .* do not hold each of the 3 weights once"),
    "ranges that begin late": ({"groups": (((1, 3),),)}, "groups: .* do not hold each of the 3 weights once"),
    "no gradient": ({"objective": Slope(gradient="none")}, "objective: its gradient is str at points .2, 3.: return a"),
    "a short gradient": ({"objective": Slope(gradient=torch.ones(2, 2))}, r"its gradient is \(2, 2\) at points"),
    "a short loss": ({"objective": Slope(loss=torch.ones(3))}, r"its loss is \(3,\) at points .*: return a tensor \[2\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_misuse_is_refused_in_one_sentence(name: str) -> None:
    given, message = REFUSED[name]
    with pytest.raises(LrscopeError, match=message):
        descend(**{"objective": Slope(), "start": START, "lr": 0.1, "steps": 3} | given)


def test_an_objective_that_returns_nothing_for_a_gradient_is_refused() -> None:
    class Empty(Slope):
        def gradient(self, points: Tensor, step: int) -> tuple[Any, Any]:
            return None, torch.ones(2)

    with pytest.raises(LrscopeError, match="its gradient is NoneType at points"):
        descend(Empty(), START, 0.1, 3)
