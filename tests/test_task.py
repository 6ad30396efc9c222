"""What a user may hand in as a task, and the sentence for everything that cannot be used."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lrscope.errors import LrscopeError
from lrscope.tasks.losses import cross_entropy
from lrscope.tasks.models import MLP, ConvNet
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from tiny_tasks import CLASSES, SHORT, drawn, examples, same_bytes, train
from trees import arrays

Pair = tuple[Tensor, Tensor]
MODEL = partial(MLP, (5, 8, CLASSES))
TRAIN, TEST = examples(24, (5,)), examples(12, (5,), key="test")


class Jittered(Dataset[Pair]):
    """A data set whose transform is random, as crops and flips are."""

    def __len__(self) -> int:
        return len(TRAIN[0])

    def __getitem__(self, index: int) -> Pair:
        x = TRAIN[0][index]
        return (x.flip(0) if torch.rand(()) < 0.5 else x), TRAIN[1][index]


class Table(Dataset[Any]):
    """A data set of whatever it is given."""

    def __init__(self, *rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


# -- what can be handed in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        TRAIN,
        list(TRAIN),
        TensorDataset(*TRAIN),
        DataLoader(TensorDataset(*TRAIN), batch_size=5, shuffle=True, drop_last=True),
        Table(*[(x.numpy(), int(y)) for x, y in zip(*TRAIN, strict=True)]),
        (TRAIN[0], TRAIN[1].to(torch.int32)),
        (TRAIN[0], TRAIN[1].double()),
        (TRAIN[0], TRAIN[1][:, None]),
        (TRAIN[0], functional.one_hot(TRAIN[1])),
    ],
    ids=[
        *("tensors", "list", "dataset", "loader", "arrays and ints"),
        *("int32 labels", "float labels", "labels in a column", "one-hot labels"),
    ],
)
def test_examples_are_read_in_the_order_of_their_index(given: Any) -> None:
    task = Task(MODEL, given, TEST)
    data = task.data(0)
    assert torch.equal(data.train_x, TRAIN[0])
    assert torch.equal(data.train_y, TRAIN[1])
    assert data.train_y.dtype == torch.int64
    shares = torch.bincount(TRAIN[1], minlength=CLASSES) / len(TRAIN[1])
    guess = functional.cross_entropy(shares.log().expand(len(TRAIN[1]), -1), TRAIN[1])
    summary = task.summary()
    assert summary.pop("constant_loss") == pytest.approx(guess.item()), "no constant prediction does better"
    assert summary == {
        "name": "task",
        "kind": "classification",
        "loss": "cross_entropy",
        "classes": CLASSES,
        "input_shape": [5],
        "train_size": 24,
        "test_size": 12,
        "validation": {"size": 0, "source": "none"},
        "probes": 0,
    }
    assert task.fingerprint(range(2)) == Task(MODEL, TRAIN, TEST).fingerprint(range(2))


class Plain(nn.Module):
    """A class that needs no arguments is a factory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


@pytest.mark.parametrize("model", [MODEL, drawn(MODEL), Plain], ids=["function", "module", "class"])
def test_a_model_is_drawn_anew_for_every_seed_and_repeats(model: Any) -> None:
    task = Task(model, TRAIN, TEST)
    first, again, other = (nn.utils.parameters_to_vector(task.new_model(s).parameters()) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_module_given_as_model_is_left_as_it_was() -> None:
    module = drawn(MODEL)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    train(Task(module, TRAIN, TEST), SHORT)
    assert before.keys() == module.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_the_convnet_pools_as_the_paper_says_to_the_bit() -> None:
    """conv-BN-ReLU-maxpool (three_regimes, App. C); the model pools before the ReLU, which is less work."""
    model = drawn(partial(ConvNet, 1, CLASSES, 2)).double()
    x = examples(8, (1, 16, 16))[0].double()

    def as_written() -> Tensor:
        out = x
        for i, (conv, norm) in enumerate(zip(model.convs, model.norms, strict=True)):
            out = functional.relu(norm(conv(out)))
            out = functional.max_pool2d(out, 2) if i else out
        return model.readout(out.amax((2, 3)))

    weights = list(model.parameters())
    assert torch.equal(model(x), as_written())
    ours, theirs = (torch.autograd.grad(f.square().sum(), weights) for f in (model(x), as_written()))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_fingerprints_tell_tasks_apart() -> None:
    base = Task(MODEL, TRAIN, TEST).fingerprint([0])
    others = [
        Task(MODEL, examples(24, (5,), key="other"), TEST),
        Task(MODEL, TRAIN, examples(12, (5,), key="other")),
        Task(partial(MLP, (5, 9, CLASSES)), TRAIN, TEST),
        Task(partial(MLP, (5, 8, CLASSES), normal_init=True), TRAIN, TEST),
        Task(MODEL, TRAIN, TEST, loss=lambda o, y: 2 * cross_entropy(o, y), classification=True),
    ]
    prints = [base, *(t.fingerprint([0]) for t in others)]
    assert len(set(prints)) == len(prints)


def test_regression_has_no_accuracy() -> None:
    x, _ = TRAIN
    task = Task(partial(MLP, (5, 8, 2)), (x, x[:, :2].square()), (x, x[:, :2].square()), loss="mse")
    result = train(task, replace(SHORT, space="whole", lrs=(1e-2, 3e-2)))
    assert not [name for name in arrays(result) if "accuracy" in str(name)]
    assert torch.isfinite(torch.from_numpy(result["pretrain/test_loss"].values)).all()
    assert task.summary()["kind"] == "regression"


@pytest.mark.slow
def test_own_loss_trains_as_the_named_one() -> None:
    own = Task(MODEL, TRAIN, TEST, loss=lambda o, y: cross_entropy(o, y), classification=True)
    assert same_bytes(train(own, SHORT), train(Task(MODEL, TRAIN, TEST), SHORT)) == []


@pytest.mark.slow
def test_one_logit_is_a_binary_classifier() -> None:
    y = (TRAIN[0][:, 0] > 0).long()
    task = Task(partial(MLP, (5, 8, 1)), (TRAIN[0], y), (TRAIN[0], y), loss="binary_cross_entropy")
    result = train(task, replace(SHORT, steps=60, lrs=(1e-2,), seeds=1))
    assert float(result["pretrain/test_accuracy"][..., -1].mean()) > 0.8


def test_random_transforms_are_warned_about() -> None:
    with pytest.warns(UserWarning, match="train: .* a transform is random.*augment=True"):
        Task(MODEL, Jittered(), TEST)


def test_fixed_transforms_are_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Task(MODEL, TensorDataset(*TRAIN), TEST)


# -- what cannot ---------------------------------------------------------------------------------------------------


def spoiled(value: float) -> Pair:
    x = TRAIN[0].clone()
    x[3, 1] = value
    x[7, 0] = value
    return x, TRAIN[1]


class Cell(nn.Module):
    """Weights of its own, and no way to draw them anew."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(5, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def wrap(cell: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 5), cell)


REGRESSION: dict[str, Any] = {"loss": "mse", "train": (TRAIN[0], TRAIN[0]), "test": (TRAIN[0], TRAIN[0])}
BINARY: dict[str, Any] = {"loss": "binary_cross_entropy"}
BITS: dict[str, Any] = {"train": (TRAIN[0], TRAIN[1] > 0), "test": (TEST[0], TEST[1] > 0)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"loss": "cross-entropy"},
            "loss: 'cross-entropy' is unknown: did you mean 'cross_entropy'.*or pass a function",
        ),
        ({"loss": cross_entropy}, r"classification: not given, and the loss is a function: pass True .* or False"),
        (
            {"loss": lambda o, y: functional.cross_entropy(o, y), "classification": True},
            r"loss: it returned one number for a batch of 4: return one loss per example \(reduction='none'\)",
        ),
        ({"train": (TRAIN[0][:5], TRAIN[1])}, "train: 5 inputs but 24 labels"),
        ({"test": (TEST[0], TEST[1][:5])}, "test: 12 inputs but 5 labels"),
        ({"test": (TEST[0][:, :4], TEST[1])}, r"test inputs have shape \(4,\), the train inputs \(5,\)"),
        ({"train": (TRAIN[0][:0], TRAIN[1][:0])}, "train: the data set is empty"),
        ({"test": (TEST[0][:0], TEST[1][:0])}, "test: the data set is empty"),
        ({"train": Table()}, "train: the data set is empty"),
        (
            {"train": spoiled(float("nan"))},
            r"data: 2 of the train inputs hold NaN or infinity \(the first is number 3\)",
        ),
        ({"train": spoiled(float("inf"))}, "data: 2 of the train inputs hold NaN or infinity"),
        ({"train": (TRAIN[0], TRAIN[1] - 1)}, "data: the train labels hold -1: number the classes from 0"),
        ({"test": (TEST[0], TEST[1] - 1)}, "data: the test labels hold -1"),
        ({"train": (TRAIN[0], TRAIN[1] / 0 * 0)}, "data: 24 of the train labels hold NaN"),
        (
            {"train": "mnist"},
            "train: str is not readable: pass .inputs, labels. as tensors or arrays, a Dataset or a Dat",
        ),
        (
            {"train": Table(("a picture", 0), ("another", 1))},
            "train: the inputs of example 0 hold str, .* into numbers",
        ),
        ({"train": Table(TRAIN[0][0], TRAIN[0][1])}, r"train: example 0 is one Tensor: give \(input, label\)"),
        (
            {"train": Table((torch.zeros(5), 0), (torch.zeros(6), 1))},
            r"train: the inputs of the examples differ in shape \(\(5,\) and \(6,\)\): crop or pad",
        ),
        ({"model": "resnet"}, "model: str is no model: pass an nn.Module or a function that returns one"),
        ({"model": MLP}, r"model: MLP needs arguments: pass lambda: MLP\(...\)"),
        ({"model": Cell()}, "model: Cell cannot be initialised anew for each seed"),
        ({"model": wrap(Cell())}, r"model: 1 cannot be initialised anew for each seed \(no reset_parameters\)"),
        ({"model": lambda: "a model"}, "model: the factory returned str: return an nn.Module"),
        (
            {"model": partial(MLP, (6, 8, 3))},
            r"model: it cannot take a batch of shape \(4, 5\) .*change the model or the",
        ),
        ({"model": Two}, "model: it returns tuple: return one tensor of outputs"),
        (
            {"model": partial(MLP, (5, 8, 2))},
            r"model: its output has shape \(4, 2\) .* labels go up to 2: return logits of shape \(batch, 3\)",
        ),
        ({"model": lambda: nn.Sequential(MODEL(), nn.Unflatten(1, (3, 1)))}, r"shape \(4, 3, 1\)"),
        ({**BINARY}, "the train labels hold 2: binary_cross_entropy takes 0 and 1"),
        ({**BINARY, **BITS}, r"model: its output has shape \(4, 3\) .* one logit per example; two .*'cross_entropy'"),
        (REGRESSION, r"its output has shape \(4, 3\), the targets \(4, 5\): return one output per target"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"model": MODEL, "train": TRAIN, "test": TEST, **options}
    with torch.random.fork_rng(devices=[]), pytest.raises(LrscopeError, match=message) as caught:
        Task(**given)
    assert "\n" not in str(caught.value)


def test_every_data_seed_is_checked() -> None:
    def data(data_seed: int) -> Any:
        found = Task(MODEL, TRAIN, TEST).data(0)
        return replace(found, train_x=spoiled(float("nan"))[0]) if data_seed == 1 else found

    task = Task.from_data("spoiled later", MODEL, data)
    with pytest.raises(LrscopeError, match="2 of the train inputs hold NaN"):
        task.data(1)


def test_a_stream_has_one_name() -> None:
    with pytest.raises(ValueError, match="holds '/'"):
        generator("order", "a/b")
    assert generator("order", 1, 2).initial_seed() == generator("order", 1, 2).initial_seed()
    assert generator("order", 1, 2).initial_seed() != generator("order", 12).initial_seed()


def test_what_guessing_gets_in_a_regression_is_the_variance_of_the_targets() -> None:
    y = torch.randn(24, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).float()
    task = Task(lambda: nn.Linear(5, 3), (TRAIN[0], y), (TEST[0], y[:12]), loss="mse")
    best = (y - y.mean(0)).square().mean()
    assert task.summary()["constant_loss"] == pytest.approx(best.item())
    noise = 0.1 * torch.randn(3, generator=torch.Generator().manual_seed(2))
    assert best < (y - y.mean(0) - noise).square().mean(), "no constant prediction does better"
