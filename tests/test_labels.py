"""Labels of every form: understood in one way by loss, accuracy and the best constant prediction, or refused by name."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lrscope
from lrscope.engine.net import build_net
from lrscope.errors import LrscopeError
from lrscope.tasks.labels import as_labels, constant_loss
from lrscope.tasks.losses import correct
from lrscope.tasks.streams import stream_seed
from lrscope.tasks.task import Task
from tiny_tasks import CLASSES, compiler_needed, examples, same_bytes

X, Y = examples(40, (5,))
XT, YT = examples(12, (5,), key="test")
BIT, BIT_T = (Y > 0).long(), (YT > 0).long()
STILL = 1e-12  # a learning rate at which nothing moves
LRS = (STILL, 3e-2)


def model(outputs: int = CLASSES) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, outputs))


BITS: dict[str, Any] = {"train": (X, BIT), "test": (XT, BIT_T)}


def smooth(y: Tensor, classes: int = CLASSES) -> Tensor:
    return 0.8 * functional.one_hot(y, classes) + 0.2 / classes


def sweep(task: Task, **options: Any) -> xr.DataTree:
    base = {"space": "whole", "epochs": 3, "batch_size": 8, "seeds": 1, "random_points": 2, "jobs": 1}
    base |= {"path": "batched", "compile": False, "progress": False}
    return lrscope.sweep(task, LRS, **{**base, **options})


def at_the_start(task: Task, x: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = task.new_model(stream_seed("init", 0, 0))(x)
    return out


def measured(result: xr.DataTree, name: str) -> float:
    """At the learning rate at which nothing moves."""
    return float(result["pretrain"][name].isel(epoch=-1).values[0].ravel()[0])


# -- probabilities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test_y", [smooth(YT), functional.one_hot(YT), YT], ids=["smooth", "one-hot", "numbers"])
@pytest.mark.parametrize("options", [{}, {"path": "single"}, {"precision": "float64"}], ids=str)
def test_probabilities_of_classes(test_y: Tensor, options: dict[str, Any]) -> None:
    task = Task(model, (X, smooth(Y)), (XT, test_y))
    result = sweep(task, **options)
    output = at_the_start(task, XT)
    target = test_y.float() if test_y.dim() == 2 else functional.one_hot(YT, CLASSES).float()
    assert measured(result, "test_loss") == pytest.approx(
        float(-(target * output.log_softmax(1)).sum(1).mean()), rel=1e-5
    )
    assert measured(result, "test_accuracy") == pytest.approx(float((output.argmax(1) == YT).float().mean()))
    guess = smooth(Y).double().mean(0)
    assert task.summary()["constant_loss"] == pytest.approx(float(-(guess * guess.log()).sum()))
    assert task.summary()["classes"] == CLASSES


@pytest.mark.slow
def test_probabilities_train_as_a_loss_written_by_hand() -> None:
    def by_hand(output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target, reduction="none")

    named = sweep(Task(model, (X, smooth(Y)), (XT, smooth(YT))))
    own = sweep(Task(model, (X, smooth(Y)), (XT, smooth(YT)), loss=by_hand, classification=True))
    assert same_bytes(named, own) == []


@pytest.mark.parametrize("column", [False, True])
def test_probabilities_of_a_class(column: bool) -> None:
    train_y, test_y = BIT * 0.9 + 0.05, BIT_T * 0.9 + 0.05
    given = (train_y[:, None], test_y[:, None]) if column else (train_y, test_y)
    task = Task(partial(model, 1), (X, given[0]), (XT, given[1]), loss="binary_cross_entropy")
    result = sweep(task)
    output = at_the_start(task, XT)[:, 0]
    loss = functional.binary_cross_entropy_with_logits(output, test_y)
    assert measured(result, "test_loss") == pytest.approx(float(loss), rel=1e-5)
    assert measured(result, "test_accuracy") == pytest.approx(float(((output > 0) == (BIT_T > 0)).float().mean()))
    p = train_y.double().mean()
    assert task.summary()["constant_loss"] == pytest.approx(float(-(p * p.log() + (1 - p) * (1 - p).log())))


@pytest.mark.slow
@compiler_needed
@pytest.mark.parametrize("kind", ["cross_entropy", "binary_cross_entropy"])
def test_generated_code_agrees_on_probabilities(kind: str) -> None:
    if kind == "cross_entropy":
        task = Task(model, (X, smooth(Y)), (XT, smooth(YT)))
    else:
        task = Task(partial(model, 1), (X, BIT * 0.9 + 0.05), (XT, BIT_T * 0.9 + 0.05), loss=kind)
    plain, generated = (sweep(task, precision="float64", compile=compiled) for compiled in (False, True))
    assert json.loads(generated.attrs["plan"])["fused"]
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        np.testing.assert_allclose(generated["pretrain"][name], plain["pretrain"][name], rtol=1e-9)


def test_accuracy_counts_from_one_half_where_labels_are_probabilities() -> None:
    logit = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    assert correct(logit, torch.tensor([0.05, 0.95, 0.6, 0.4])).tolist() == [1, 1, 0, 0]
    assert correct(logit, torch.tensor([0, 1, 1, 0])).tolist() == [1, 1, 0, 0]
    assert correct(logit[:, None], torch.tensor([-1, 1, 1, -1])[:, None]).tolist() == [1, 1, 0, 0]
    two = torch.stack([-logit, logit], 1)
    assert correct(two, torch.tensor([0, 1, 1, 0])[:, None]).tolist() == [1, 1, 0, 0]
    assert correct(two, torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.0, 1.0], [1.0, 0.0]])).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_no_constant_prediction_does_better(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    rows = torch.rand(30, 4, generator=rng, dtype=torch.float64)
    rows /= rows.sum(1, keepdim=True)
    bits = torch.rand(30, generator=rng, dtype=torch.float64)
    for name, y, guess in (
        ("cross_entropy", rows, torch.zeros(4, dtype=torch.float64)),
        ("binary_cross_entropy", bits, torch.zeros((), dtype=torch.float64)),
    ):
        guess.requires_grad_()
        optimizer = torch.optim.LBFGS([guess], max_iter=100, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

        def loss(name: str = name, y: Tensor = y, guess: Tensor = guess) -> Tensor:
            if name == "cross_entropy":
                return functional.cross_entropy(guess.expand(len(y), -1), y)
            return functional.binary_cross_entropy_with_logits(guess.expand(len(y)), y)

        def closure(loss: Callable[[], Tensor] = loss, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            found = loss()
            found.backward()
            return found

        optimizer.step(closure)
        assert constant_loss(name, y.float()) == pytest.approx(loss().item(), rel=1e-6)


# -- regression ------------------------------------------------------------------------------------------------------

TARGETS: dict[str, Callable[[Tensor], Any]] = {
    "flat": lambda x: x[:, 0] * 2,
    "in a column": lambda x: x[:, :1] * 2,
    "float64": lambda x: x[:, 0].double() * 2,
    "a column of a frame": lambda x: pandas.Series((x[:, 0] * 2).numpy()),
    "a list": lambda x: (x[:, 0] * 2).tolist(),
}


@pytest.mark.parametrize("form", TARGETS)
def test_targets_of_any_form_are_the_same_regression(form: str) -> None:
    task = Task(partial(model, 1), (X, TARGETS[form](X)), (XT, TARGETS[form](XT)), loss="mse")
    error = at_the_start(task, XT)[:, 0] - XT[:, 0] * 2
    assert measured(sweep(task), "test_loss") == pytest.approx(float(error.square().mean()), rel=1e-5)


def test_whole_numbers_and_truth_values_are_targets() -> None:
    for y, yt in ((Y, YT), (BIT.bool(), BIT_T.bool()), (Y.to(torch.uint8), YT.to(torch.uint8))):
        task = Task(partial(model, 1), (X, y), (XT, yt), loss="mse")
        assert task.data(0).train_y.dtype == torch.float32
        assert torch.equal(task.data(0).train_y, y.float())


# -- a loss of one's own ---------------------------------------------------------------------------------------------


def hinge(output: Tensor, target: Tensor) -> Tensor:
    return (1 - output[:, 0] * target).relu()


def soft(output: Tensor, target: Tensor) -> Tensor:
    return -(target * output.log_softmax(-1)).sum(-1)


def from_column(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output, target[:, 0], reduction="none")


def from_floats(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output, target.long(), reduction="none")


def first_of_each(output: Tensor, target: Tensor) -> Tensor:
    return output[:, 0] + target[:, 0]


OWN: dict[str, tuple[Any, int, Any, Any]] = {
    "hinge on -1 and 1": (hinge, 1, BIT * 2 - 1, BIT_T * 2 - 1),
    "hinge on floats": (hinge, 1, BIT * 2.0 - 1, BIT_T * 2.0 - 1),
    "one-hot": (soft, CLASSES, functional.one_hot(Y), functional.one_hot(YT)),
    "one-hot floats": (soft, CLASSES, functional.one_hot(Y).float(), functional.one_hot(YT).float()),
    "numbers in a column": (from_column, CLASSES, Y[:, None], YT[:, None]),
    "numbers as floats": (from_floats, CLASSES, Y.float(), YT.float()),
    "squares on one-hot": ("mse", CLASSES, functional.one_hot(Y), functional.one_hot(YT)),
    "squares on -1 and 1": ("mse", 1, BIT * 2 - 1, BIT_T * 2 - 1),
}


@pytest.mark.parametrize("case", OWN)
def test_accuracy_under_a_loss_of_ones_own(case: str) -> None:
    loss, outputs, y, yt = OWN[case]
    task = Task(partial(model, outputs), (X, y), (XT, yt), loss=loss, classification=True)
    output = at_the_start(task, XT)
    right = output.argmax(1) == YT if outputs > 1 else (output[:, 0] > 0) == (BIT_T > 0)
    assert measured(sweep(task), "test_accuracy") == pytest.approx(float(right.float().mean()))


def broadcasting(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean(1)  # [B, 1] - [B] is [B, B]


def by_batch(output: Tensor, target: Tensor) -> Tensor:
    return (output[:, 0] - target).square() / target.std()


def in_place(output: Tensor, target: Tensor) -> Tensor:
    return target.sub_(output[:, 0]).square()


class Broken(Exception):
    pass


def broken(words: str) -> Tensor:
    raise Broken(words)


class Layer(nn.Module):
    """A loss with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, output: Tensor, target: Tensor | None = None) -> Tensor:
        return (output * self.scale) if target is None else (output[:, 0] - target).square() * self.scale[0]


LAYER = Layer()

LOSSES: dict[str, tuple[Any, str]] = {
    "broadcasting": (
        broadcasting,
        r"an example's loss depends on the others .*outputs \(4, 1\) and labels \(4,\) may broad",
    ),
    "by batch": (by_batch, "loss: an example's loss depends on the others of its batch"),
    "labels in place": (in_place, r"loss: it changes the labels that it is given in place: work on a copy"),
    "outputs in place": (
        lambda o, y: (o.mul_(2)[:, 0] - y).square(),
        "it changes the outputs that it is given in place",
    ),
    "whole numbers": (lambda o, y: (o[:, 0] > y).long(), r"loss: it returned torch.int64: return floats"),
    "a matrix": (
        lambda o, y: (o - y).square(),
        r"returned shape \(4, 4\) for outputs \(4, 1\) .*by outputs\.flatten\(\)",
    ),
    "a mean": (
        lambda o, y: (o[:, 0] - y).square().mean(),
        r"it returned one number .* per example \(reduction='none'\)",
    ),
    "a number": (lambda o, y: 1.0, "loss: it returned float for a batch of 4"),
    "a fault": (lambda o, y: o.no_such_thing, r"loss: it cannot take outputs .*no attribute 'no_such_thing'"),
    "a fault of its own": (lambda o, y: broken("no such labels"), r"loss: it cannot take outputs .*\(no such labels\)"),
    "weights beside it": (lambda o, y: LAYER(o)[:, 0] - y, "loss: it computes with parameters that train"),
    "weights of a method": (LAYER.forward, "loss: it computes with parameters that train"),
    "nothing": (None, "loss: None is no loss: pass one of cross_entropy"),
    "a number for a function": (3, "loss: 3 is no loss"),
    "a class": (nn.MSELoss, r"loss: MSELoss is a class: pass MSELoss\(reduction='none'\)"),
}


@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_that_cannot_be_used_is_refused(case: str) -> None:
    loss, words = LOSSES[case]
    pair = (X, X[:, 0] * 2), (XT, XT[:, 0] * 2)
    with pytest.raises(LrscopeError, match=words) as caught:
        Task(partial(model, 1), *pair, loss=loss, classification=False)
    assert "\n" not in str(caught.value)


def test_a_loss_of_each_output_says_how_to_join_them() -> None:
    loss = nn.BCEWithLogitsLoss(reduction="none")
    pair = (X, BIT[:, None].float()), (XT, BIT_T[:, None].float())
    with pytest.raises(
        LrscopeError, match=r"returned shape \(4, 1\) .* by lambda outputs, labels: loss\(.*\)\.mean\(1\)$"
    ):
        Task(partial(model, 1), *pair, loss=loss, classification=True)

    def joined(outputs: Tensor, labels: Tensor) -> Tensor:
        return loss(outputs, labels).flatten(1).mean(1)

    assert Task(partial(model, 1), *pair, loss=joined, classification=True).classification


def test_whole_numbers_for_a_loss_of_floats_say_so() -> None:
    def task(y: Tensor, yt: Tensor, loss: Any) -> Task:
        return Task(lambda: nn.Sequential(model(1), nn.Flatten(0)), (X, y), (XT, yt), loss=loss, classification=True)

    loss = nn.BCEWithLogitsLoss(reduction="none")
    with pytest.raises(LrscopeError, match=r"change the labels or the loss, such as by labels\.float\(\)$"):
        task(BIT, BIT_T, loss)
    with pytest.raises(LrscopeError, match=r"change the labels or the loss$"):
        task(BIT, BIT_T, lambda o, y: broken("whatever the labels are"))
    assert task(BIT.float(), BIT_T.float(), loss).data(0).classes == 2


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_numbers_inside_a_loss_may_be_of_another_precision_than_the_model(kind: torch.dtype) -> None:
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1, 2, 3], dtype=kind), reduction="none")
    other = torch.float64 if kind == torch.float32 else torch.float32
    task = Task(lambda: model(CLASSES).to(other), (X, Y), (XT, YT), loss=loss, classification=True)
    build_net(task, invariant=False, device=torch.device("cpu"), dtype=other)


def test_broadcasting_is_found_where_labels_are_sorted() -> None:
    order = BIT.argsort(stable=True, descending=True)
    assert len(set(BIT[order][:8].tolist())) == 1, "the first examples say nothing"
    with pytest.raises(LrscopeError, match="an example's loss depends on the others"):
        Task(
            partial(model, 1),
            (X[order], BIT[order].float()),
            (XT, BIT_T.float()),
            loss=broadcasting,
            classification=False,
        )


# -- logits, not probabilities ---------------------------------------------------------------------------------------


def squashed(outputs: int, last: nn.Module) -> nn.Module:
    return nn.Sequential(model(outputs), last)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": partial(squashed, CLASSES, nn.Softmax(1))}, "add up to 1, where cross_entropy takes logits"),
        (
            {**BITS, "model": partial(squashed, 1, nn.Sigmoid()), "loss": "binary_cross_entropy"},
            "leave out the final sigm",
        ),
        (
            {
                **BITS,
                "model": partial(squashed, 1, nn.Sigmoid()),
                "loss": lambda o, y: functional.binary_cross_entropy(o[:, 0], y.float(), reduction="none"),
                "classification": True,
            },
            "between 0 and 1, as probabilities do, where one output is taken as a logit",
        ),
    ],
)
def test_probabilities_as_outputs_are_warned_about(options: dict[str, Any], words: str) -> None:
    with pytest.warns(UserWarning, match=f"^model: .*{words}") as said:
        Task(**{"train": (X, Y), "test": (XT, YT), **options})
    assert said[0].filename == __file__


@pytest.mark.parametrize("last", [nn.Identity(), nn.Tanh(), nn.Softplus(), nn.Flatten()], ids=str)
def test_logits_are_not(last: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Task(partial(squashed, CLASSES, last), (X, Y), (XT, YT))
        Task(partial(squashed, 1, last), **BITS, loss="binary_cross_entropy")


# -- what is refused -------------------------------------------------------------------------------------------------

BCE: dict[str, Any] = {"loss": "binary_cross_entropy", "model": partial(model, 1)}
MSE: dict[str, Any] = {"loss": "mse", "model": partial(model, 1)}
SQUARE: dict[str, Any] = {"loss": lambda o, y: (o[:, 0] - y).square(), "model": partial(model, 1)}
REFUSED: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "floats for classes": (Y * 0.3, YT, {}, r"train labels hold 0\.3, which is no class number: .*loss='mse' for regr"),
    "ignored": (torch.where(Y == 0, -100, Y), YT, {}, "train labels hold -100: number .*ignore_index would skip"),
    "negative floats": (Y, YT - 1.0, {}, "the test labels hold -1: number the classes from 0"),
    "NaN": (Y, YT / 0 * 0, {}, r"of the test labels hold NaN or infinity \(the first is number 0\)"),
    "rows of no probabilities": (torch.rand(40, 3), YT, {}, "rows of 3 that add up to .* instead of 1"),
    "no label in a row": (torch.eye(3)[Y] * (X[:, :1] > 0), YT, {}, "rows of 3 that add up to 0 instead of 1"),
    "several labels": (torch.ones(40, 3), YT, {}, "rows of 3 that add up to 3 instead of 1: .*a loss of your own"),
    "negative probabilities": (torch.tensor([[1.5, -0.5, 0.0]] * 40), YT, {}, r"rows of 3 with -0\.5 in them"),
    "logits": (torch.randn(40, 3), YT, {}, "train labels have rows of 3"),
    "a map an example": (
        torch.zeros(40, 4, 4).long(),
        YT,
        {},
        r"have shape \(4, 4\) for each example: cross_entropy takes",
    ),
    "columns": (smooth(Y), smooth(YT, 4), {}, r"different numbers of columns \(train 3, test 4\)"),
    "a class too many": (smooth(Y), YT + 1, {}, "the test labels hold class 3: the other labels have 3 columns"),
    "outputs for probabilities": (smooth(Y), YT, {"model": partial(model, 4)}, r"return logits of shape \(batch, 3\)"),
    "outputs for classes": (Y + 1, YT, {}, r"the labels go up to 3: return logits of shape \(batch, 4\)"),
    "ids": (Y * 1000, YT, {}, r"labels go up to 2000: .*\(batch, 2001\), or number the classes 0, 1, ... without gaps"),
    "outputs for rows of one split": (Y, smooth(YT, 5), {}, r"labels go up to 4: return logits of shape \(batch, 5\)$"),
    "classification": (Y, YT, {"classification": "no"}, "classification: 'no' is neither True nor False"),
    "two columns": (functional.one_hot(BIT), BIT_T, BCE, r"two columns: .* such as labels\[:, 1\]; .*'cross_entropy'"),
    "several bits": (torch.ones(40, 3), BIT_T, BCE, r"shape \(3,\) for each example: .*classification=False"),
    "signs": (BIT * 2 - 1, BIT_T, BCE, r"hold -1: .* write -1 as 0, such as by \(labels \+ 1\) / 2"),
    "percent": (BIT * 100.0, BIT_T, BCE, "the train labels hold 100: binary_cross_entropy takes 0 and 1, or probab"),
    "two logits": (BIT, BIT_T, {**BCE, "model": partial(model, 2)}, "one logit per example; two outputs go with"),
    "targets of two shapes": (X[:, 0], XT[:, :2], MSE, r"test labels have shape \(2,\) .* the train labels \(\)"),
    "outputs transposed": (
        torch.zeros(40, 3, 2),
        torch.zeros(12, 3, 2),
        {**MSE, "model": lambda: nn.Sequential(model(6), nn.Unflatten(1, (2, 3)))},
        r"its output has shape \(4, 2, 3\), the targets \(4, 3, 2\)",
    ),
    "infinite targets": (X[:, 0] / 0, XT[:, 0], MSE, "of the train labels hold NaN or infinity"),
    "types that differ": (
        X[:, 0],
        YT,
        {**SQUARE, "classification": False},
        "test labels are torch.int64, the train labels tor",
    ),
    "shapes that differ": (
        BIT,
        BIT_T[:, None],
        {**SQUARE, "classification": False},
        r"have shape \(1,\) for each .* \(\)",
    ),
    "truth values": (
        BIT.bool(),
        BIT_T.bool(),
        {**SQUARE, "classification": False},
        r"truth values: .*\.long\(\) or \.float",
    ),
    "accuracy of numbers": (X[:, 0], XT[:, 0], {**SQUARE, "classification": True}, "which is no class number|-1 and 1"),
    "accuracy of squares": (
        BIT,
        BIT_T,
        {**MSE, "classification": True},
        "needs labels that are -1 and 1, one-hot rows",
    ),
    "accuracy of maps": (
        torch.zeros(40, 2, 2),
        torch.zeros(12, 2, 2),
        {"loss": lambda o, y: o[:, 0] + y.sum((1, 2)), "classification": True},
        "accuracy under this loss needs labels that are class numbers, -1 and 1",
    ),
    "one output for three": (
        Y.float(),
        YT.float(),
        {**SQUARE, "classification": True},
        "one output tells two classes apart",
    ),
    "probabilities and classes": (
        BIT * 0.9,
        BIT_T * 0.9,
        {"loss": lambda o, y: (o[:, 0] - y).square(), "classification": True},
        "there are 3 outputs an example, and the labels are no class numbers",
    ),
    "fewer outputs": (
        Y,
        YT,
        {"model": partial(model, 2), "loss": lambda o, y: (o[:, 0] - y).square(), "classification": True},
        "the labels go up to 2, and there are 2 outputs",
    ),
    "outputs beside rows": (
        functional.one_hot(Y),
        functional.one_hot(YT),
        {"model": partial(model, 4), "loss": first_of_each, "classification": True},
        "the outputs have 4 columns, the labels 3",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_do_not_fit_are_refused_in_one_sentence(case: str) -> None:
    y, yt, options, words = REFUSED[case]
    with pytest.raises(LrscopeError, match=words) as caught:
        Task(**{"model": model, "train": (X, y), "test": (XT, yt), **options})
    assert "\n" not in str(caught.value)


def test_zeros_and_ones_of_any_form_are_class_numbers() -> None:
    forms = (BIT, BIT.bool(), BIT.double(), BIT[:, None], BIT.to(torch.uint8))
    prints = set()
    for y in forms:
        task = Task(partial(model, 1), (X, y), (XT, BIT_T), loss="binary_cross_entropy")
        assert torch.equal(task.data(0).train_y, BIT)
        assert task.data(0).train_y.dtype == torch.int64
        prints.add(task.fingerprint([0]))
    assert len(prints) == 1


def test_validation_labels_are_checked_like_the_others() -> None:
    for y in (YT.double(), YT[:, None], functional.one_hot(YT)):
        data = Task(model, (X, Y), (XT, YT), validation=(XT, y)).data(0)
        assert data.validation_y is not None
        assert torch.equal(data.validation_y, YT)
    with pytest.raises(LrscopeError, match="the validation labels hold -1: number the classes from 0"):
        Task(model, (X, Y), (XT, YT), validation=(XT, YT - 1))


def test_labels_of_the_test_set_alone_count_as_classes() -> None:
    _, classes = as_labels("cross_entropy", True, {"train": Y, "test": YT + 4})
    assert classes == int(YT.max()) + 5


# -- any form at all -------------------------------------------------------------------------------------------------

INPUTS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda x: x,
    "float64": lambda x: x.double(),
    "array": lambda x: x.numpy(),
    "Fortran order": lambda x: np.asfortranarray(x.numpy()),
    "list": lambda x: x.tolist(),
    "rows": lambda x: list(x),
    "frame": lambda x: pandas.DataFrame(x.numpy()),
    "sparse": lambda x: x.to_sparse(),
    "complex": lambda x: x + 0j,
    "words": lambda x: [["a"] * x.shape[1]] * len(x),
}
FORMS: dict[str, Callable[[Tensor], Any]] = {
    "numbers": lambda y: y,
    "column": lambda y: y[:, None],
    "one-hot": lambda y: functional.one_hot(y, 2),
    "smooth": lambda y: 0.9 * functional.one_hot(y, 2) + 0.05,
    "probability": lambda y: 0.9 * y + 0.05,
    "signs": lambda y: 2 * y - 1,
    "hundreds": lambda y: 100 * y,
    "NaN": lambda y: y / 0,
}
TYPES = (torch.int64, torch.uint8, torch.bool, torch.float32, torch.float64, torch.float16, torch.bfloat16)
HOLDERS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda y: y,
    "array": lambda y: (y.float() if y.dtype == torch.bfloat16 else y).numpy(),
    "list": lambda y: y.tolist(),
    "column": lambda y: pandas.Series(y.tolist()) if y.dim() == 1 else pandas.DataFrame(y.tolist()),
}
WRAPPED: dict[str, Callable[[Any, Any], Any]] = {
    "pair": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "data set": lambda x, y: TensorDataset(torch.as_tensor(x), torch.as_tensor(y)),
    "loader": lambda x, y: DataLoader(TensorDataset(torch.as_tensor(x), torch.as_tensor(y)), 7, shuffle=True),
}


def expected(loss: str, form: str, y: Tensor) -> Tensor | None:
    """Labels that mean the same in their plain form; None: they mean nothing under this loss."""
    if loss == "mse":
        return None if form == "NaN" else FORMS[form](y)
    if form == "smooth":
        return FORMS[form](y) if loss == "cross_entropy" else None
    if form == "probability":
        return FORMS[form](y) if loss == "binary_cross_entropy" else None
    if form == "one-hot":
        return y if loss == "cross_entropy" else None
    return y if form in ("numbers", "column") else None


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    loss=st.sampled_from(["cross_entropy", "binary_cross_entropy", "mse"]),
    inputs=st.sampled_from(list(INPUTS)),
    form=st.sampled_from(list(FORMS)),
    test_form=st.sampled_from([None, *FORMS]),
    kind=st.sampled_from(TYPES),
    holder=st.sampled_from(list(HOLDERS)),
    wrapped=st.sampled_from(list(WRAPPED)),
)
def test_any_form_means_the_plain_labels_or_is_refused(
    loss: str, inputs: str, form: str, test_form: str | None, kind: torch.dtype, holder: str, wrapped: str
) -> None:
    """Whatever holds the data, the task is that of the plain tensors of the same meaning, or one sentence comes."""
    made = HOLDERS[holder](FORMS[form](BIT).to(kind))
    other = FORMS[test_form or form](BIT_T).to(kind)
    try:
        train = WRAPPED[wrapped](INPUTS[inputs](X), made)
    except (TypeError, ValueError, RuntimeError, KeyError):  # PyTorch itself does not wrap it
        return
    outputs = {
        "cross_entropy": 2,
        "binary_cross_entropy": 1,
        "mse": made.shape[1] if getattr(made, "ndim", 1) == 2 else 1,
    }[loss]
    refusal, task = "", None
    try:
        task = Task(partial(model, outputs), train, (XT, other), loss=loss)
    except LrscopeError as error:
        refusal = str(error)
    assert "\n" not in refusal
    if task is None:
        assert refusal
        return
    found = task.data(0)
    meant = expected(loss, form, BIT)
    if kind.is_floating_point:
        assert meant is not None, "labels without a meaning were taken"
        torch.testing.assert_close(found.train_y.float(), meant.to(kind).float().reshape(found.train_y.shape))
    assert torch.equal(found.train_x, X)
    plain = Task(partial(model, outputs), (X, found.train_y), (XT, found.test_y), loss=loss)
    assert task.fingerprint([0]) == plain.fingerprint([0])
    assert torch.isfinite(task.loss(at_the_start(task, XT), found.test_y)).all()
