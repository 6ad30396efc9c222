"""Generated code that reads and writes rows that data name, and products of many matrices, against PyTorch's, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lrscope.engine.backends.cpp import arrays, lowering
from lrscope.engine.backends.cpp.steps import FusedSteps
from lrscope.engine.backends.cpp.values import NotFusible
from lrscope.engine.step import StepInputs, StepState
from lrscope.errors import LrscopeError
from lrscope.tasks.task import Task
from lrscope.tasks.transformer import Transformer
from lrscope.tasks.vit import VisionTransformer
from test_fused import FUSED, WHOLE, agree, by_generator, drawn, trained, trainer_of
from tiny_tasks import compiler_needed, task_of

pytestmark = compiler_needed
PLACES = torch.tensor([[3, 0, 3, 1], [4, 4, 4, 0]])  # some rows several times, one never
MASK = torch.tensor([[True, False, True], [False, False, True]])


def gradient_of(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    with torch.enable_grad():
        given = at.detach().requires_grad_()
        (found,) = torch.autograd.grad(function(given).square().sum(), given)
    return found


def table(w: Tensor) -> Tensor:
    return w[:15].view(5, 3)


OPERATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "rows of a table": lambda w, x, y: functional.embedding(PLACES, table(w)).exp().reshape(-1),
    "gradients of rows": lambda w, x, y: gradient_of(partial(functional.embedding, PLACES), table(w)).reshape(-1),
    "all but one row": lambda w, x, y: gradient_of(
        lambda t: functional.embedding(PLACES, t, padding_idx=4), table(w)
    ).reshape(-1),
    "rows that the data name": lambda w, x, y: functional.embedding(y, table(w)).sum(1),
    "products of many matrices": lambda w, x, y: torch.bmm(x.view(2, 3, 4), x.view(2, 4, 3)).reshape(-1),
    "of turned ones": lambda w, x, y: torch.bmm(x.view(2, 4, 3).mT, x.view(2, 4, 3)).reshape(-1),
    "of one against all": lambda w, x, y: (x.view(2, 3, 4) @ x[0].view(4, 3)).reshape(-1),
    "gradients of a softmax": lambda w, x, y: gradient_of(lambda t: torch.softmax(t, -1), x.view(2, 3, 4)).reshape(-1),
    "heads": lambda w, x, y: torch.softmax(x.view(2, 2, 2, 3) @ x.view(2, 2, 3, 2), -1).sum((0, 2)).reshape(-1),
    "parts": lambda w, x, y: torch.cat([one * (1 + i) for i, one in enumerate(x.view(2, 3, 4).unbind(1))], 0).reshape(
        -1
    ),
    "a constant": lambda w, x, y: torch.where(MASK, w[:6].view(2, 3), x[0, :6].view(2, 3)).reshape(-1),
    "its opposite": lambda w, x, y: torch.where(~(w > 0), w, 2 * w),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str) -> None:
    x, y = drawn(2, 12, key=name), torch.tensor([3, 1])
    size = len(OPERATIONS[name](drawn(15), x, y))

    def function(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([OPERATIONS[name](w, x, y), w[size:]])

    agree(function, drawn(max(15, size), key=name), x, y)


REFUSED: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], str]] = {
    "by frequency": (
        lambda w, x, y: gradient_of(
            lambda t: functional.embedding(PLACES, t, scale_grad_by_freq=True), table(w)
        ).reshape(-1),
        "by frequency",
    ),
    "bits of integers": (lambda w, x, y: w * (~y).sum(), "the bits of integers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_generated_is_refused_by_name(name: str) -> None:
    function, reason = REFUSED[name]
    with pytest.raises(NotFusible, match=reason):
        by_generator(function, drawn(15), drawn(2, 12), torch.tensor([3, 1]))


def test_long_constants_and_large_products_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LONGEST_CONSTANT", 5)
    with pytest.raises(NotFusible, match="a constant of 6 elements"):
        by_generator(lambda w, x, y: w * MASK.sum(), drawn(6), drawn(2, 12), torch.tensor([3, 1]))
    monkeypatch.setattr(lowering, "LARGEST_MATRIX", 10)
    with pytest.raises(NotFusible, match=r"a product of matrices \[3, 4\] and \[4, 3\]"):
        by_generator(OPERATIONS["products of many matrices"], drawn(18), drawn(2, 12), torch.tensor([3, 1]))


CHANGES: dict[str, Callable[[Tensor], object]] = {
    "in place": lambda held: held.mul_(2),
    "behind autograd's back": lambda held: held.data.fill_(3),
    "as numpy's": lambda held: held.numpy().fill(float("nan")),
    "one element": lambda held: held.__setitem__((1, 2), -1.0),
    "in shape": lambda held: held.resize_(2, 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_tensor_that_is_held_may_not_change_in_training(change: str) -> None:
    held, none = torch.arange(6.0, dtype=torch.float64).view(2, 3), torch.full((3,), float("nan"))
    x, y, one = drawn(2, 12), torch.tensor([3, 1]), torch.zeros(1)

    def step(state: StepState, inputs: StepInputs) -> StepState:
        known = torch.where(none != none, held[1:], 0.0)  # a view, and NaN that is the same NaN
        return state._replace(weights=state.weights * known.sum())

    state = StepState(drawn(1, 6), {}, torch.zeros(1, 1), torch.zeros(1, 1))
    steps = FusedSteps(step, state, StepInputs({}, x[None], y[None], one, one))
    inputs = StepInputs({}, x, y, one[None], one, torch.arange(2).view(1, 1, -1))
    torch.testing.assert_close(steps(state, inputs).weights, state.weights * 12)
    CHANGES[change](held)
    with pytest.raises(LrscopeError, match=r"a tensor of shape \[2, [23]\] that it holds.*was changed.*--no-compile"):
        steps(state, inputs)


def words() -> Task:
    places = torch.arange(48 * 6).view(48, 6) * 7 % 11
    places[::3, 4:] = 0  # shorter texts
    return Task(
        partial(Transformer, 11, 6, 3, width=8), (places, torch.arange(48) % 3), (places[:20], torch.arange(20) % 3)
    )


NETWORKS: dict[str, Callable[[], Task]] = {
    "texts": words,
    "patches": partial(
        task_of, partial(VisionTransformer, (1, 8, 8), 3, width=8, patch=4, depth=1, dropout=0.0), (1, 8, 8)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_of_transformers_agree_with_pytorch(name: str, tmp_path: Path) -> None:
    task = NETWORKS[name]()
    eager, fused = (
        trained(trainer_of(task, WHOLE, tmp_path, plan), 20)
        for plan in (replace(FUSED, compiled=False, fused=False, unroll=1), FUSED)
    )
    for key, value in eager.items():
        torch.testing.assert_close(fused[key], value, rtol=1e-9, atol=1e-12, equal_nan=True)
