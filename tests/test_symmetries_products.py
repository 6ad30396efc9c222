"""Slopes of matrices from what flows past them are those by their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lrscope.symmetries import find_symmetries, probe, products
from lrscope.symmetries.batches import call
from lrscope.symmetries.legs import sampled, wires
from lrscope.symmetries.probe import Probe, Slopes
from lrscope.symmetries.products import Flow, flow
from test_symmetries import drawn, seeded


class Tied(nn.Module):
    """An embedding that is the readout too, and a matrix that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.twice = nn.Embedding(7, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.twice(functional.gelu(self.twice(self.words(x))))
        return functional.layer_norm(h, (6,)) @ self.words.weight.T


class Turned(nn.Module):
    """x W and x W^T, as GPT-2's layers and PyTorch's are; one matrix is in both."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(5, 5))
        self.bias = nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.addmm(self.bias, x, self.first).relu()
        h = torch.addmm(self.bias, h.tanh(), self.second)
        return h.sigmoid() @ self.second.T


class Shown(nn.Module):
    """A matrix that is an output, too, as for a penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.last(self.first(x).relu()), self.last.weight


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.first, self.block, self.reentrant = nn.Linear(4, 5), seeded(body), reentrant

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = checkpoint(self.block, self.first(x), use_reentrant=self.reentrant)
        return out


def body() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 5), nn.LayerNorm(5), nn.Linear(5, 3))


def attention() -> nn.Module:
    """Queries, keys and values in one matrix."""
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True), 2)


MODELS: dict[str, tuple[Callable[[], nn.Module], Any, int]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 5, bias=False), body()), drawn(8, 4), 3),
    "tokens": (lambda: nn.Sequential(nn.Linear(4, 5), body()), drawn(4, 3, 4), 3),
    "tied": (Tied, torch.arange(12).reshape(4, 3) % 7, 1),
    "turned": (Turned, drawn(8, 4), 1),
    "shown": (Shown, drawn(8, 4), 0),
    "attention": (attention, drawn(3, 4, 8), 7),
    "checkpointed": (lambda: Checkpointed(reentrant=False), drawn(8, 4), 3),
    "reentrant": (lambda: Checkpointed(reentrant=True), drawn(8, 4), 0),
}


def slopes(model: Callable[[], nn.Module], x: Any) -> list[Slopes]:
    """Of three random functions, without sizes."""
    tried = Probe(seeded(model), x, call, training=True)
    legs = [leg for wire in wires(tried.shapes).values() for leg in wire]
    return list(tried.slopes(tried.fresh(1), training=True, seed=1, count=3, legs=legs, sized=()))


@pytest.mark.parametrize("name", list(MODELS))
def test_they_are_those_by_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, matrices = MODELS[name]
    seen: list[Flow] = []

    def spied(*given: Any) -> Flow:
        seen.append(flow(*given))
        return seen[-1]

    monkeypatch.setattr(probe, "flow", spied)
    found = slopes(model, x)
    assert len(seen[0].products) == matrices
    monkeypatch.setattr(probe, "flow", lambda *_: Flow({}, []))
    for one, other in zip(found, slopes(model, x), strict=True):
        assert one.slope.keys() == other.slope.keys()
        assert all(one.slope[key] == pytest.approx(other.slope[key], rel=1e-9, abs=1e-11) for key in other.slope)
        assert one.slopes.keys() == other.slopes.keys()
        for leg, expected in other.slopes.items():
            places = sampled(leg.length)
            torch.testing.assert_close(one.slopes[leg][places], expected[places], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", list(MODELS))
def test_the_same_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, _ = MODELS[name]
    found = find_symmetries(seeded(model), x)
    monkeypatch.setattr(probe, "flow", lambda *_: Flow({}, []))
    assert find_symmetries(seeded(model), x).found == found.found


def test_gradients_of_matrices_are_not_computed() -> None:
    """Else nothing would be gained."""
    weights = dict(seeded(lambda: nn.Sequential(nn.Linear(4, 5), body())).named_parameters())
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 5), body()))
    weights = dict(model.named_parameters())
    out = model(drawn(8, 4))
    passed = products.flow([out], weights)
    out.sum().backward(inputs=list(passed.leaves))
    assert {name for name, weight in weights.items() if weight.grad is None} == set(passed.products)
    assert "0.weight" not in passed.products, "its inputs have no gradients"


def test_a_tensor_that_no_parameter_is_gets_its_gradient_as_before() -> None:
    """All that leads to the second matrix is a tensor that the model does not name."""

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 3, bias=False)
            self.held = [torch.ones(4, dtype=torch.float64, requires_grad=True)]

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(x * self.held[0])
            return out

    (one, *_), x = slopes(Hidden, drawn(8, 4)), drawn(8, 4)
    assert x.shape == (8, 4)
    assert one.slope["last.weight"] != 0
