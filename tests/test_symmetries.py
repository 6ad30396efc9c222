"""Scale symmetries of small networks that are known by hand: all of them are found, and nothing else.

B batch, T tokens, D channels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.nn.utils import weight_norm as old_weight_norm
from typer.testing import CliRunner

import lrscope
from lrscope.cli import app
from lrscope.errors import LrscopeError
from lrscope.symmetries import Symmetries, Symmetry, find_symmetries, legs
from lrscope.symmetries.null_space import as_whole, null_space, rank, sparse_basis
from lrscope.symmetries.probe import Probe
from lrscope.symmetries.rescaling import Candidate, kept
from lrscope.tasks.random_state import states
from lrscope.tasks.streams import generator

D = 6


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator("tests", "symmetries", shape[0]))


def powers(found: Symmetries, kind: str) -> list[dict[str, float]]:
    return [dict(one.powers) for one in found.of(kind)]


def one_of(found: Symmetries, *tensors: str) -> Symmetry:
    """The one symmetry that has these tensors among others."""
    (one,) = [s for s in found if set(tensors) <= set(s.powers)]
    return one


def span(vectors: list[Mapping[str, float]]) -> int:
    """How many of these powers are independent."""
    names = sorted({name for vector in vectors for name in vector})
    rows = np.array([[vector.get(name, 0.0) for name in names] for vector in vectors])
    return int(np.linalg.matrix_rank(rows)) if vectors else 0


def seeded(make: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, D), nn.ReLU(), nn.Linear(D, 5), nn.ReLU(), nn.Linear(5, 3))


def images() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, D, 3, bias=False),
        nn.BatchNorm2d(D),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * D, 3),
    )


class Block(nn.Module):
    """A pre-norm Transformer block with one head."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.up, self.down = nn.Linear(dim, 5 * dim), nn.Linear(5 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        weights = (self.q(y) @ self.k(y).mT / math.sqrt(y.shape[-1])).softmax(-1)
        x = x + self.o(weights @ self.v(y))
        out: Tensor = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return out


class Words(nn.Module):
    """Tokens [B, T] to logits, the head's weights those of the embedding or its own."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(11, D), nn.Parameter(torch.randn(1, 5, D) / 5)
        self.block, self.last = Block(D), nn.LayerNorm(D)
        self.head = nn.Linear(D, 11, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.last(self.block(self.tokens(x) + self.places)))
        return out


TOKENS = torch.tensor([[1, 2, 3, 4, 5], [9, 8, 7, 6, 0], [2, 4, 6, 8, 10]])
STREAM = ["tokens.weight", "places", "block.o.weight", "block.o.bias", "block.down.weight", "block.down.bias"]
IN_A_BLOCK = [
    {"block.norm1.weight": 1, "block.norm1.bias": 1, "block.q.weight": -1, "block.k.weight": -1, "block.v.weight": -1},
    {"block.q.weight": 1, "block.q.bias": 1, "block.k.weight": -1},
    {"block.v.weight": 1, "block.v.bias": 1, "block.o.weight": -1},
    {"block.norm2.weight": 1, "block.norm2.bias": 1, "block.up.weight": -1},
]


# -- what networks have ---------------------------------------------------------------------------------------------


def test_hidden_units_of_a_relu_network_can_be_rescaled() -> None:
    found = find_symmetries(seeded(mlp), drawn(8, 4))
    assert [(dict(one.powers), one.channels, one.train, one.eval) for one in found] == [
        ({"0.weight": 1, "0.bias": 1, "2.weight": -1}, D, True, True),
        ({"2.weight": 1, "2.bias": 1, "4.weight": -1}, 5, True, True),
    ]
    assert {one.kind for one in found} == {"rescaling"}
    assert [(part.tensor, part.axis) for part in found.found[0].parts] == [
        ("0.weight", 0),
        ("0.bias", 0),
        ("2.weight", 1),
    ]


@pytest.mark.parametrize("act", [nn.GELU, nn.Tanh, nn.Softplus])
def test_networks_without_homogeneous_layers_have_none(act: type[nn.Module]) -> None:
    net = seeded(lambda: nn.Sequential(nn.Linear(4, D), act(), nn.Linear(D, 3)))
    assert len(find_symmetries(net, drawn(8, 4))) == 0


def test_batch_norm_makes_channels_scale_invariant() -> None:
    found = find_symmetries(seeded(images), drawn(4, 1, 8, 8))
    assert [(one.powers, one.channels, one.eval) for one in found.of("scale-invariant")] == [
        ({"0.weight": 1}, 4, False),
        ({"3.weight": 1}, D, False),
    ]
    assert powers(found, "group") == [{"1.weight": 1, "1.bias": 1}]
    assert powers(found, "no effect") == [{"0.bias": 1}]
    assert [(one.powers, one.channels, one.eval) for one in found.of("rescaling")] == [
        ({"1.weight": 1, "1.bias": 1, "3.weight": -1}, 4, True),
        ({"4.weight": 1, "4.bias": 1, "7.weight": -1}, D, True),
    ]
    assert not any(one.is_stream for one in found)


def test_in_eval_mode_fixed_statistics_leave_the_rescalings() -> None:
    found = find_symmetries(seeded(images), drawn(4, 1, 8, 8), mode="eval")
    assert powers(found, "rescaling") == [
        {"1.weight": 1, "1.bias": 1, "3.weight": -1},
        {"4.weight": 1, "4.bias": 1, "7.weight": -1},
    ]
    assert len(found) == 2
    assert all(one.train and one.eval and one.channels for one in found)


def test_a_residual_stream_is_one_group() -> None:
    found = find_symmetries(seeded(lambda: Words(tied=False)), TOKENS)
    (stream,) = found.of("group")
    assert stream.powers == dict.fromkeys(STREAM, 1)
    assert stream.is_stream
    assert [powers(found, "no effect"), powers(found, "scale-invariant")] == [[{"block.k.bias": 1}], []]
    rescalings = powers(found, "rescaling")
    expected = [*IN_A_BLOCK, {"last.weight": 1, "last.bias": 1, "head.weight": -1}]
    assert sorted(map(sorted, rescalings)) == sorted(map(sorted, expected))
    assert span([*rescalings, *expected]) == span(expected) == len(rescalings)  # equal powers, up to the sign
    assert all(one.channels == D for one in found.of("rescaling"))


def test_tied_weights_are_one_tensor() -> None:
    found = find_symmetries(seeded(lambda: Words(tied=True)), TOKENS)
    stream = one_of(found, "tokens.weight")
    assert stream.powers == {**dict.fromkeys(STREAM, 1), "last.weight": -1, "last.bias": -1}
    assert stream.is_stream
    assert not found.of("group")


def test_queries_keys_and_values_in_one_tensor_are_told_apart() -> None:
    options: dict[str, Any] = {"batch_first": True, "norm_first": True, "activation": "gelu", "dropout": 0.3}
    net = seeded(
        lambda: nn.Sequential(nn.Linear(3, D), nn.TransformerEncoderLayer(D, 2, 5 * D, **options), nn.Linear(D, 2))
    )
    found = find_symmetries(net, drawn(3, 4, 3))
    pairs = powers(found, "rescaling")
    weight, bias = "1.self_attn.in_proj_weight", "1.self_attn.in_proj_bias"
    assert {f"{weight}[0:6]": 1, f"{bias}[0:6]": 1, f"{weight}[6:12]": -1} in pairs
    assert {f"{weight}[12:18]": 1, f"{bias}[12:18]": 1, "1.self_attn.out_proj.weight": -1} in pairs
    assert {"1.norm1.weight": 1, "1.norm1.bias": 1, weight: -1} in pairs
    assert powers(found, "no effect") == [{f"{bias}[6:12]": 1}]
    assert one_of(
        found, "0.weight", "2.weight"
    ).is_stream  # nothing normalises it at the end, so the last layer makes up for it
    assert len(found) == 6  # and the second norm


@pytest.mark.parametrize("normed", [parametrizations.weight_norm, old_weight_norm])
def test_weight_norm(normed: Any) -> None:
    net = seeded(lambda: nn.Sequential(normed(nn.Linear(4, D)), nn.Tanh(), nn.Linear(D, 3)))
    net(drawn(8, 4))  # the older one leaves a computed tensor behind
    (one,) = find_symmetries(net, drawn(8, 4))
    assert (one.kind, one.channels) == ("scale-invariant", D)
    assert list(one.powers) in (["0.parametrizations.weight.original1"], ["0.weight_v"])


def test_spectral_norm() -> None:
    net = seeded(lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, D)), nn.Tanh(), nn.Linear(D, 3)))
    assert powers(find_symmetries(net, drawn(8, 4)), "scale-invariant") == [{"0.parametrizations.weight.original": 1}]


def test_a_recurrent_layer_has_a_factor_on_both_sides() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.RNN(3, D, nonlinearity="relu", batch_first=True), nn.Linear(D, 2)

        def forward(self, x: Tensor) -> Any:
            return self.out(self.rnn(x)[0])

    (one,) = find_symmetries(seeded(Recurrent), drawn(5, 4, 3))
    assert one.channels == D
    assert {(part.tensor, part.axis, part.power) for part in one.parts} == {
        ("rnn.weight_ih_l0", 0, 1),
        ("rnn.bias_ih_l0", 0, 1),
        ("rnn.bias_hh_l0", 0, 1),
        ("rnn.weight_hh_l0", 0, 1),
        ("rnn.weight_hh_l0", 1, -1),
        ("out.weight", 1, -1),
    }


class Product(nn.Module):
    """y = a^2 b x + c: powers beyond 1."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.tensor(value)) for value in (1.3, 0.7, 0.4))

    def forward(self, x: Tensor) -> Tensor:
        return self.a**2 * self.b * x + self.c


def test_powers_are_whole_numbers() -> None:
    assert powers(find_symmetries(Product(), drawn(8, 1)), "rescaling") == [{"a": 1, "b": -2}]


# -- any module, as users have them ---------------------------------------------------------------------------------


@dataclass
class Outputs:
    logits: Tensor
    extra: list[Tensor]
    name: str = "outputs"


class Odd(nn.Module):
    """Keywords and a mask, several outputs, dropout, casts to float32, an eps in a function, a tiny layer scale, zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, D), nn.Linear(D, D)
        self.scale, self.late = nn.Parameter(torch.full((D,), 1e-6)), nn.Linear(D, 3, bias=False)
        nn.init.zeros_(self.second.weight)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor, mask: Tensor, factor: float = 1.0) -> Outputs:
        hidden = functional.layer_norm(self.first(x).float(), (D,), eps=1e-3).to(torch.bfloat16)
        hidden = functional.dropout(functional.gelu(hidden), 0.3, self.training) * mask
        last = self.second(hidden) * self.scale
        return Outputs(self.late(last) * factor, [last.tanh()])


def test_a_module_with_odd_habits() -> None:
    net = seeded(lambda: Odd().to(torch.bfloat16))
    batch = {"x": drawn(8, 4).bfloat16(), "mask": (torch.arange(8) % 3 > 0)[:, None], "factor": 2.0}
    found = find_symmetries(net, batch)
    assert powers(found, "group") == [{"first.weight": 1, "first.bias": 1}]
    assert [(one.powers, one.channels) for one in found.of("rescaling")] == [
        ({"second.weight": 1, "second.bias": 1, "scale": -1}, D)
    ]
    assert powers(found, "no effect") == [{"unused.weight": 1}, {"unused.bias": 1}]


def test_what_does_not_train_is_left_out() -> None:
    net = seeded(mlp)
    net[2].requires_grad_(False)
    assert len(find_symmetries(net, drawn(8, 4))) == 0


@pytest.mark.parametrize(
    ("name", "kind"), [("0.weight", "scale-invariant"), ("0.bias", "no effect"), ("3.weight", None)]
)
def test_a_tensor_that_trains_alone(name: str, kind: str | None) -> None:
    """What is zero beside nothing else is zero all the same."""
    net = seeded(lambda: nn.Sequential(nn.Linear(4, D), nn.BatchNorm1d(D), nn.ReLU(), nn.Linear(D, 2)))
    for other, weight in net.named_parameters():
        weight.requires_grad_(other == name)
    found = find_symmetries(net, drawn(16, 4))
    assert [(one.kind, one.powers) for one in found] == ([(kind, {name: 1.0})] if kind else [])
    assert str(found).startswith("Sequential: 1 tensor with ")


def test_a_batch_is_called_as_the_user_says() -> None:
    net = seeded(mlp)
    pairs = {"inputs": drawn(8, 4), "labels": torch.zeros(8, dtype=torch.long)}

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return functional.cross_entropy(model(batch["inputs"]), batch["labels"])

    assert len(find_symmetries(net, pairs, forward=loss)) == 2
    assert len(find_symmetries(net, (drawn(8, 4),))) == 2


def test_two_values_in_a_batch_norm_invent_nothing() -> None:
    """With two values a channel comes out as 1 and -1, whatever the weights before it are."""
    net = seeded(lambda: nn.Sequential(nn.Linear(4, D), nn.Tanh(), nn.Linear(D, D), nn.BatchNorm1d(D), nn.Linear(D, 2)))
    found = find_symmetries(net, drawn(2, 4))
    assert powers(found, "scale-invariant") == [{"2.weight": 1}]
    assert len(found) == 3  # and the bias before the norm, and the norm against the last layer


def test_what_holds_for_small_changes_only_is_refuted() -> None:
    """Where hardtanh does not saturate it is linear, until weights are rescaled."""

    class Clipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.full((4, 1), 3.5)), nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return functional.hardtanh(x @ self.a.T, -6.0, 6.0) @ self.b

    signs = torch.tensor([[1.0], [-1.0]] * 4)
    probe = Probe(Clipped(), signs, lambda model, batch: model(batch), training=True)
    slopes = next(probe.slopes(probe.fresh(1), training=True, seed=1, count=1, legs=[]))
    pair = Candidate({"a": 1.0, "b": -1.0})
    assert pair.is_flat(slopes)
    assert kept(probe, [pair], training=True) == []
    assert len(find_symmetries(Clipped(), signs)) == 0


def test_the_model_and_the_random_state_stay_as_they_are() -> None:
    net = seeded(images).eval()
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    known = states()
    find_symmetries(net, drawn(4, 1, 8, 8))
    assert states() == known
    assert not any(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is not None and bool((p.grad == 1).all()) for p in net.parameters())
    assert not any(p._post_accumulate_grad_hooks for p in net.parameters())


def test_two_calls_agree() -> None:
    first, second = (find_symmetries(seeded(images), drawn(4, 1, 8, 8)) for _ in range(2))
    assert first == second
    assert find_symmetries(seeded(images), drawn(4, 1, 8, 8), seed=7).found == first.found


@pytest.mark.parametrize("shape", [(), (7,), (5, 4), (3, 4, 2, 2)])
def test_sums_of_pieces_are_those_of_the_whole(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legs, "PIECE", 8)  # two rows of the second matrix, less than one of the third tensor
    first, second = (torch.randn(shape, dtype=torch.float64, generator=generator("tests", n)) for n in ("a", "b"))
    products = torch.atleast_1d(first * second)
    found, squares = legs.sums_along(first, second, range(min(products.dim(), 2)))
    for axis in found:
        others = [i for i in range(products.dim()) if i != axis]
        for entries, sums in ((products, found), (products**2, squares)):
            torch.testing.assert_close(sums[axis], entries.sum(others) if others else entries)


# -- null spaces ----------------------------------------------------------------------------------------------------


def test_a_planted_basis_is_found_again() -> None:
    planted = np.array(
        [[1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, -1, 0, 0], [0, 0, 0, 0, 1, 1, -1]], dtype=float
    )  # the last two share a column
    random = np.random.default_rng(0)
    mixed = random.normal(size=(3, 3)) @ planted
    found = sparse_basis(mixed)
    assert {tuple(vector) for vector in found} == {tuple(vector) for vector in planted}
    rows = np.linalg.svd(planted)[2][3:]
    sizes = 10.0 ** np.arange(-3, 4)
    null = null_space(random.normal(size=(20, 4)) @ rows / sizes, 1 / sizes)
    assert rank(random.normal(size=(20, 4)) @ rows) == 4
    assert np.linalg.matrix_rank(np.vstack([null, planted * sizes]), tol=1e-6) == 3


def test_whole_numbers_are_preferred() -> None:
    assert as_whole(np.array([0.5, -1.0, 1e-9])).tolist() == [1, -2, 0]
    assert as_whole(np.array([1.0, 1.5])).tolist() == [2, 3]
    assert as_whole(np.array([1.0, math.pi])).tolist() == [1, math.pi]


# -- what is said ---------------------------------------------------------------------------------------------------


def test_the_listing() -> None:
    text = str(find_symmetries(seeded(images), drawn(4, 1, 8, 8)))
    assert text.startswith("Sequential: 9 tensors with 567 weights that train, 6 symmetries in train mode\n")
    assert "scale-invariant, each tensor by itself (2):\n  0.weight*, 3.weight*\n    each output channel too\n" in text
    assert "one group of 2 tensors*:\n  1.weight, 1.bias\n" in text
    assert "  4.weight, 4.bias | 7.weight\n    each of 6 channels with a factor of its own\n" in text
    assert text.endswith("no effect on the outputs (1):\n  0.bias*\n\n* in train mode only")
    stream = str(find_symmetries(seeded(lambda: Words(tied=False)), TOKENS))
    assert "\n\none group of 6 tensors: a residual stream:\n  " in stream


FILE = """
import torch
from torch import nn

def make_model():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

def make_both():
    return make_model(), torch.randn(8, 4)

def make_batch():
    return torch.randn(8, 4)

def fails():
    raise ValueError("no such luck")

number = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "my_symmetric_net.py").write_text(FILE)
    return str(tmp_path / "my_symmetric_net.py")


@pytest.mark.parametrize(
    "words",
    [["make_model", "--shape", "8,4"], ["make_both"], ["make_model", "--batch", "{file}:make_batch", "--mode", "eval"]],
    ids=str,
)
def test_the_command(words: list[str], file: str) -> None:
    given = [f"{file}:{words[0]}", *(word.format(file=file) for word in words[1:])]
    done = CliRunner().invoke(app, ["symmetries", *given, "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert [part["tensor"] for part in said["found"][0]["parts"]] == ["0.weight", "0.bias", "2.weight"]
    assert "0.weight, 0.bias | 2.weight" in CliRunner().invoke(app, ["symmetries", *given]).output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["make_model"], "batch: nothing says what .*:make_model is given: use --shape"),
        (["make_mode", "--shape", "8,4"], "model: there is no make_mode in .*: did you mean 'make_model'"),
        (["fails"], r"model: .*:fails failed \(no such luck\)"),
        (["number"], "model: .*:number gives 'int': return an nn.Module"),
        (["make_model", "--shape", "8,-4"], "shape: '8,-4' is no shape"),
        (["make_model", "--shape", "8,5"], r"batch: the model cannot take it \(.*\): pass a tensor"),
        (["make_model", "--shape", "8,4", "--batch", "x.py:f"], "batch: --batch and --shape both"),
        (["make_model", "--shape", "8,4", "--mode", "test"], "mode: 'test' is unknown: choose train or eval"),
    ],
    ids=str,
)
def test_misuse_of_the_command_is_named(words: list[str], message: str, file: str) -> None:
    done = CliRunner().invoke(app, ["symmetries", f"{file}:{words[0]}", *words[1:]])
    assert isinstance(done.exception, LrscopeError)
    with pytest.raises(LrscopeError, match=message):
        raise done.exception


def test_a_file_that_is_not_there_is_named() -> None:
    for where, message in (
        ("nowhere.py:f", "model: there is no file nowhere.py"),
        ("nowhere:f", "model: nowhere cannot be imported"),
        ("nowhere.py", "model: 'nowhere.py' names no function of a file"),
    ):
        done = CliRunner().invoke(app, ["symmetries", where])
        with pytest.raises(LrscopeError, match=message):
            raise done.exception or AssertionError


class Bad(nn.Module):
    def __init__(self, out: Any) -> None:
        super().__init__()
        self.layer, self.out = nn.Linear(4, 2), out

    def forward(self, x: Tensor) -> Any:
        return self.out(self.layer(x))


@pytest.mark.parametrize(
    ("model", "batch", "message"),
    [
        (5, None, "model: 5 is not a Module: pass a torch.nn.Module"),
        (Bad(lambda x: x), "words", "batch: the model cannot take it"),
        (Bad(lambda x: x.detach()), drawn(8, 4), "model: its outputs have no gradients"),
        (Bad(lambda x: "words"), drawn(8, 4), "model: it returns no tensor of floats"),
        (Bad(lambda x: x / 0), drawn(8, 4), "model: its outputs on this batch are not finite"),
        (Bad(lambda x: x).requires_grad_(False), drawn(8, 4), "model: none of its parameters trains"),
    ],
    ids=["number", "words", "detached", "text", "infinite", "frozen"],
)
def test_misuse_is_named(model: Any, batch: Any, message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        lrscope.find_symmetries(model, batch)
