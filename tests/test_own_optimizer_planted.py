"""A task's own optimizer, one step at a time: what of its state is kept and how, and what is refused. P parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lrscope.dynamics.layout import Slot
from lrscope.dynamics.optimizers.own import OwnOptimizer
from lrscope.errors import LrscopeError

SLOTS = (Slot("first", (2, 3), 0, 6), Slot("second", (2,), 6, 8))
P = 8
Keep = Callable[["Planted", Tensor], dict[Any, Any]]


class Planted(torch.optim.Optimizer):
    """Gradient descent that keeps in each parameter's state what `keep` says, and notes what it finds there."""

    found: list[dict[str, Any]]  # of the first parameter, and its group, before each step

    def __init__(self, params: list[Tensor], lr: float, keep: Keep, **group: Any) -> None:
        super().__init__(params, {"lr": lr, **group})
        self.keep, self.found = keep, []

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            first = group["params"][0]
            self.found.append({**self.state.get(first, {}), **{k: v for k, v in group.items() if k != "params"}})
            for p in group["params"]:
                self.state[p] = self.keep(self, p)
                p.sub_(group["lr"] * p.grad)
            if "k" in group:
                group["k"] += 1


def own(keep: Keep = lambda optimizer, p: {}, *, made: list[Planted] | None = None, **group: Any) -> OwnOptimizer:
    def factory(params: list[Tensor], lr: float) -> Planted:
        optimizer = Planted(params, lr, keep, **group)
        if made is not None:
            made.append(optimizer)
        return optimizer

    return OwnOptimizer(slots=SLOTS, factory=factory)


def numbers(*, rows: int = 1, first: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.arange(first, first + P * rows, dtype=dtype).reshape(rows, P)


def stepped(
    optimizer: OwnOptimizer, *lrs: float, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, dict[str, Tensor]]:
    weights = numbers(dtype=dtype)
    state = optimizer.init(weights)
    for lr in lrs:
        weights, state = optimizer.update(numbers(first=5.0, dtype=dtype), state, weights, torch.tensor([lr]))
    return weights, state


# -- what is kept ------------------------------------------------------------------------------------------------------


KINDS, KEYS = ("bool", "int", "float"), ("flag", "count", "share")


def all_kinds(optimizer: Planted, p: Tensor) -> dict[Any, Any]:
    """A number of each kind, a tensor and nothing, which comes first."""
    return {"nothing": None, "flag": True, "count": 3, "share": 0.25, "mean": 2 * p.grad}  # type: ignore[operator]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_state_has_a_name_a_shape_and_a_type_for_each_thing_that_is_kept(dtype: torch.dtype) -> None:
    optimizer = own(all_kinds, k=2, on=False, by="word")
    state = optimizer.init(numbers(rows=3, dtype=dtype))
    single = [f"{kind}{i}_{key}" for i in (0, 1) for kind, key in zip(KINDS, KEYS, strict=True)]
    expected: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        **dict.fromkeys(("begun", *single, "group0_k", "group0_on"), ((3,), torch.float64)),
        "state0_mean": ((3, 2, 3), dtype),
        "state1_mean": ((3, 2), dtype),
    }
    assert {name: (tuple(value.shape), value.dtype) for name, value in state.items()} == expected
    assert not any(value.any() for value in state.values())
    _, after = stepped(optimizer, 0.1, 0.1, dtype=dtype)
    assert {name: (tuple(value.shape), value.dtype) for name, value in after.items()} == {
        name: ((1, *shape[1:]), kind) for name, (shape, kind) in expected.items()
    }


def test_what_is_kept_comes_back_as_what_it_was() -> None:
    made: list[Planted] = []
    weights, state = stepped(own(all_kinds, made=made, k=2, on=True, by="word"), 0.25, 0.5)
    assert torch.equal(weights, numbers() - 0.75 * numbers(first=5.0))
    numbers_kept = {name: float(value[0]) for name, value in state.items() if "mean" not in name}
    assert numbers_kept == {
        "begun": 1.0,
        **{f"{kind}{i}_{key}": v for i in (0, 1) for kind, key, v in zip(KINDS, KEYS, (1.0, 3.0, 0.25), strict=True)},
        "group0_k": 4.0,
        "group0_on": 1.0,
    }
    assert torch.equal(state["state0_mean"], 2 * numbers(first=5.0)[:, :6].view(1, 2, 3))
    assert torch.equal(state["state1_mean"], 2 * numbers(first=5.0)[:, 6:])
    _, first, second = (optimizer.found[0] for optimizer in made)
    assert first == {"lr": 0.25, "k": 2, "on": True, "by": "word"}, "the first step begins as the optimizer does"
    mean = second.pop("mean")
    assert torch.equal(mean, 2 * numbers(first=5.0)[0, :6].view(2, 3))
    assert second == {"flag": True, "count": 3, "share": 0.25, "lr": 0.5, "k": 3, "on": True, "by": "word"}
    assert [type(second[key]) for key in (*KEYS, "k", "on")] == [bool, int, float, int, bool]


def test_a_tensor_of_any_strides_is_kept_in_order() -> None:
    """A file takes contiguous ones only."""
    _, state = stepped(own(lambda optimizer, p: {"turned": p.grad.t()}), 0.1)  # type: ignore[union-attr]
    assert state["state0_turned"].is_contiguous()
    assert torch.equal(state["state0_turned"][0], numbers(first=5.0)[0, :6].view(2, 3).t())


@pytest.mark.parametrize("flags", [{}, {"capturable": False, "fused": None}, {"capturable": True}, {"fused": True}])
def test_steps_are_counted_on_the_cpu_unless_the_optimizer_says_so(
    flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[float] = []

    def cpu(tensor: Tensor) -> Tensor:
        moved.append(float(tensor))
        return tensor

    def factory(params: list[Tensor], lr: float) -> Planted:
        keep: Keep = lambda optimizer, p: {"step": torch.tensor(7.0), "other": torch.tensor(8.0)}  # noqa: E731
        optimizer = Planted(params[:1], lr, keep, **flags)
        optimizer.add_param_group({"params": params[1:]} | dict.fromkeys(flags, False))
        return optimizer

    optimizer = OwnOptimizer(slots=SLOTS, factory=factory)
    _, state = stepped(optimizer, 0.1)
    monkeypatch.setattr(Tensor, "cpu", cpu)
    optimizer.update(numbers(), state, numbers(), torch.tensor([0.1]))
    assert moved == ([] if any(flags.values()) else [7.0, 7.0])


def test_attributes_that_are_no_numbers_may_change() -> None:
    def keep(optimizer: Planted, p: Tensor) -> dict[Any, Any]:
        optimizer.note = f"saw {len(p)}"  # type: ignore[attr-defined]
        optimizer.last = object()  # type: ignore[attr-defined]
        return {}

    weights, _ = stepped(own(keep), 0.5)
    assert torch.equal(weights, numbers() - 0.5 * numbers(first=5.0))


# -- what is refused ---------------------------------------------------------------------------------------------------


def counting(optimizer: Planted, p: Tensor) -> dict[Any, Any]:
    optimizer.count = getattr(optimizer, "count", 0) + 1  # type: ignore[attr-defined]
    return {}


def scheduled(params: list[Tensor], lr: float) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(params, lr)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    return optimizer


def planted(keep: Keep) -> Callable[[list[Tensor], float], Planted]:
    return lambda params, lr: Planted(params, lr, keep)


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "a number that is no state": (planted(counting), "changes its attribute count when it steps, which no checkpoint"),
    "a scheduler": (scheduled, "attaches a learning-rate scheduler, which would begin anew at every step"),
    "a key that is no name": (planted(lambda o, p: {"a b": 1.0}), "keeps 'a b' as float, which no checkpoint holds"),
    "a key that is a number": (planted(lambda o, p: {7: 1.0}), "keeps 7 as float, which no checkpoint holds"),
    "a list": (planted(lambda o, p: {"seen": [1.0]}), "keeps 'seen' as list, which no checkpoint holds"),
    "whole numbers": (planted(lambda o, p: {"seen": torch.ones(2).long()}), "keeps 'seen' as Tensor, which no"),
    "nothing": (lambda params, lr: None, "returns None, which is no torch.optim.Optimizer: return one"),
    "no learning rate": (lambda params: None, "the task's function fails .TypeError: .*: it is called with a list"),
    "some parameters": (
        lambda params, lr: torch.optim.SGD(params[:1], lr),
        "of the 2 parameters .* does not hold each once and no others: pass on all of them",
    ),
    "other parameters": (
        lambda params, lr: torch.optim.SGD([*params, torch.zeros(2, requires_grad=True)], lr),
        "does not hold each once and no others",
    ),
    "a closure": (lambda params, lr: torch.optim.LBFGS(params, lr), "a step of the task's own fails .TypeError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_stepped_anew_is_refused(name: str) -> None:
    factory, message = REFUSED[name]
    with pytest.raises(LrscopeError, match=message):
        OwnOptimizer(slots=SLOTS, factory=factory).init(numbers())


@pytest.mark.parametrize("later", ["more", "less", "longer"])
def test_a_state_that_is_another_after_its_second_step_is_refused(later: str) -> None:
    def keep(optimizer: Planted, p: Tensor) -> dict[Any, Any]:
        begun = "always" in optimizer.state.get(p, {})
        found: dict[Any, Any] = {"always": 1.0, "odd_one": torch.zeros(3 if begun and later == "longer" else 2)}
        if begun and later == "less":
            del found["odd_one"]
        return found | ({"late_one": 1.0} if begun and later == "more" else {})

    stepped(own(keep), 0.1)
    key = "'late_one'" if later == "more" else "'odd_one'"
    with pytest.raises(LrscopeError, match=rf"later than after its first step \({key}\): use one whose state stays"):
        stepped(own(keep), 0.1, 0.1)


@pytest.mark.parametrize("lr", [float("nan"), float("inf")])
def test_a_run_whose_learning_rate_is_no_number_ends(lr: float) -> None:
    state = own().init(numbers())
    weights, after = own().update(numbers(), state, numbers(), torch.tensor([lr]))
    assert weights.shape == (1, P)
    assert weights.isnan().all()
    assert after is state
