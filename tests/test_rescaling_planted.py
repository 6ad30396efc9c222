"""Trying scale invariance, step by step: what planted slopes and changes decide, and what is measured on known models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from lrscope.dynamics.float64 import InFloat64
from lrscope.dynamics.invariance import make_scale_invariant, prepare, split_groups
from lrscope.dynamics.rescaling import Rescaling, _float64_probe, output_of
from lrscope.errors import LrscopeError
from lrscope.tasks.norms import PopulationBatchNorm
from lrscope.tasks.streams import generator
from tiny_tasks import drawn, examples

OWNERS = {"a": ["a.weight"], "b": ["b.weight"], "": ["token"]}


# -- what is decided ---------------------------------------------------------------------------------------------------


class Told(Rescaling):
    """Takes slopes and changes from a list, and notes what was asked for."""

    def __init__(self, suspects: Sequence[bool], changes: Sequence[float]) -> None:
        self.x, self.few = torch.zeros(3), torch.zeros(2)
        self.owners = OWNERS
        self.weights = {module: [] for module in OWNERS}
        self.suspects, self.changes = dict(zip(OWNERS, suspects, strict=True)), list(changes)
        self.asked: list[tuple[str, dict[str, float]]] = []

    def _slopes(self, x: Tensor) -> dict[str, bool]:
        assert x is self.few
        return self.suspects

    def _change(self, x: Tensor, factors: dict[str, float]) -> float:
        self.asked.append(("few" if x is self.few else "all", factors))
        return self.changes.pop(0)

    def looks(self) -> list[tuple[str, str]]:
        """The examples and modules of each look."""
        return [(where, ",".join(factors)) for where, factors in self.asked]


NONE, SOME = (False, False, False), (True, True, False)
TINY, ROUNDED, SEEN = 1e-12, 1e-7, 1e-3  # below rounding; its bound; the bound of a change that no rounding makes


def test_without_suspects_one_look_at_all_and_one_at_each_its_own_factor_are_enough() -> None:
    told = Told(NONE, [TINY, TINY])
    assert told.find_alone() == dict.fromkeys(OWNERS, True)
    assert told.looks() == [("all", "a,b,"), ("all", "a,b,")]
    together, apart = (list(factors.values()) for _, factors in told.asked)
    assert len(set(together)) == 1
    assert together[0] > 1
    assert len(set(apart)) == 3
    assert min(apart) > 1


def test_suspects_are_not_alone_where_the_rest_are() -> None:
    told = Told(SOME, [TINY, TINY, TINY])
    assert told.find_alone() == {"a": False, "b": False, "": True}
    assert told.looks() == [("few", "a,b,"), ("all", "a,b,"), ("all", "")]
    assert len(set(told.asked[0][1].values())) == 1


@pytest.mark.parametrize("change", [ROUNDED, 0.5, float("nan")])
def test_where_the_rest_are_not_alone_each_is_tried(change: float) -> None:
    told = Told(SOME, [TINY, TINY, change, ROUNDED, TINY, 0.5])
    assert told.find_alone() == {"a": False, "b": True, "": False}
    assert told.looks()[3:] == [("all", "a"), ("all", "b"), ("all", "")]
    assert min(factor for _, factors in told.asked[3:] for factor in factors.values()) > 1


@pytest.mark.parametrize("change", [ROUNDED, 0.5, float("nan")])
@pytest.mark.parametrize(
    ("suspects", "message"),
    [
        (NONE, "outputs change when all its weights are rescaled, though no layer's does alone to first order"),
        (SOME, "outputs change when a, b is rescaled"),
        ((False, True, True), "outputs change when b, token is rescaled"),
    ],
)
def test_what_together_changes_the_outputs_is_refused(change: float, suspects: Sequence[bool], message: str) -> None:
    told = Told(suspects, [*([TINY] if any(suspects) else []), change])
    with pytest.raises(LrscopeError, match=message):
        told.find_alone()


def test_a_clear_change_on_the_first_examples_is_refused_there() -> None:
    clear = Told(SOME, [2 * SEEN])
    with pytest.raises(LrscopeError, match="outputs change when a, b is rescaled"):
        clear.find_alone()
    assert clear.looks() == [("few", "a,b,")]
    unclear = Told(SOME, [SEEN, TINY, TINY])
    assert unclear.find_alone()[""], "all examples decide"


# -- what is measured --------------------------------------------------------------------------------------------------


def linear(*, scale: float = 1.0) -> nn.Module:
    """A homogeneous layer before a scale-invariant one."""
    model = drawn(lambda: nn.Sequential(nn.Linear(5, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False)))
    with torch.no_grad():
        model[2].weight.mul_(scale)
    return model


def probe_of(model: nn.Module, x: Tensor) -> Rescaling:
    owners: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        owners.setdefault(name.rpartition(".")[0], []).append(name)
    return Rescaling(model, x, owners)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_change_is_relative_and_undone(scale: float) -> None:
    x = examples(20, (5,))[0]
    probe = probe_of(linear(scale=scale), x)
    before = [p.clone() for p in probe.model.parameters()]
    with InFloat64():
        assert probe._change(probe.x, {"2": 3.0}) == pytest.approx(2, rel=1e-12)
        assert probe._change(probe.few, {"2": 1.5}) == pytest.approx(0.5, rel=1e-12)
        assert probe._change(probe.x, {}) == 0
    assert all(torch.equal(p, old) for p, old in zip(probe.model.parameters(), before, strict=True))


@pytest.mark.parametrize(("shape", "few"), [((5,), 16), ((2, 3), 8), ((1, 4, 4), 8)])
def test_the_first_examples_are_16_vectors_or_8_images(shape: tuple[int, ...], few: int) -> None:
    x = examples(20, shape)[0]
    probe = probe_of(linear(), x)
    assert torch.equal(probe.few, x[:few].double())
    assert torch.equal(probe.x, x.double())


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_slope_is_seen_against_the_size_of_weights_and_gradients(scale: float) -> None:
    class Mixed(nn.Module):
        """A scale-invariant layer, two that are so up to 1e-3 and 1e-11, and one that is not used."""

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.nearly, self.almost, self.idle = (nn.Linear(5, 5, bias=False) for _ in range(4))
            self.norm = nn.LayerNorm(5, elementwise_affine=False)

        def forward(self, x: Tensor) -> Tensor:
            maps = [part(layer.weight, by) for layer, by in ((self.nearly, 1e-3), (self.almost, 1e-11))]
            return scale * (self.norm(self.inner(x)) @ maps[0] @ maps[1])  # type: ignore[no-any-return]

    def part(weight: Tensor, by: float) -> Tensor:
        return weight / weight.norm() + by * weight / weight.detach().norm()

    x = examples(20, (5,))[0]
    model = drawn(Mixed)
    with torch.no_grad():
        model.inner.weight.mul_(1e3)
        model.nearly.weight.mul_(1e-3)
    with InFloat64():
        found = probe_of(model, x)
        assert found._slopes(found.x) == {"inner": False, "nearly": True, "almost": False, "idle": False}
    assert found._known is not None
    assert not found._known[1].requires_grad


def test_outputs_that_no_weight_reaches_have_no_slope() -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.idle.weight.detach().sum() * 0

    x = examples(20, (5,))[0]
    with InFloat64():
        assert probe_of(drawn(Deaf), x).find_alone() == {"idle": True}


def test_outputs_of_weights_as_they_are_are_computed_once() -> None:
    class Counting(nn.Module):
        """Counts the examples of its forward passes; one weight is not scale-invariant alone."""

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.norm = nn.Linear(5, 4, bias=False), nn.LayerNorm(4, elementwise_affine=False)
            self.up, self.down = (nn.ParameterDict({"by": torch.ones(4) * k}) for k in (1, 2))
            self.seen: list[int] = []

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append(len(x))
            return self.norm(self.inner(x)) * self.up["by"] / self.down["by"]  # type: ignore[no-any-return]

    model = drawn(Counting)
    probe = probe_of(model, examples(20, (5,))[0])
    with InFloat64():
        assert probe.find_alone() == {"inner": True, "up": False, "down": False}
    assert probe.model.seen == [16, 16, 20, 20, 20], "slopes and a first look at 16; as it is, all, the rest at 20"


# -- the copy that is tried ---------------------------------------------------------------------------------------------


def moved(fill: Callable[[Tensor], Tensor]) -> float:
    """Root mean square of how far a parameter of 20,000 numbers is moved, which `fill` makes from normal ones."""
    model = drawn(lambda: nn.Linear(100, 200, bias=False))
    numbers = torch.randn(200, 100, generator=generator("tests", "moved"), dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(fill(numbers))
    before = model.weight.detach().double()
    probe = _float64_probe(model)
    assert torch.equal(model.weight.detach().double(), before), "the model itself stays"
    (weight,) = probe.parameters()
    assert weight.dtype == torch.float64
    return float((weight.detach() - before).square().mean().sqrt())


def test_weights_are_moved_by_a_tenth_of_their_spread_and_a_little() -> None:
    assert moved(lambda numbers: 5 * numbers) == pytest.approx(0.5, rel=0.03)
    assert moved(torch.zeros_like) == pytest.approx(0.001, rel=0.03)
    assert moved(torch.ones_like) == pytest.approx(0.001, rel=0.03)
    assert moved(lambda numbers: 0.01 * numbers.sign()) == pytest.approx(0.002, rel=0.03)


def test_norms_alone_lose_their_eps() -> None:
    class Ratio(nn.Module):
        eps = 0.5

    model = nn.Sequential(nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.RMSNorm(4), Ratio(), nn.BatchNorm1d(4)).eval()
    probe = _float64_probe(model)
    assert [module.eps for module in probe] == [1e-30, 1e-30, None, 0.5, 1e-30]
    assert probe.training
    assert [module.eps for module in model] == [1e-5, 1e-5, None, 0.5, 1e-5]


def test_what_a_model_draws_repeats_itself_and_leaves_the_global_generator_alone() -> None:
    model, x = nn.Dropout(0.5), torch.ones(50)
    assert torch.equal(output_of(model, x), output_of(model, x))


# -- readouts and groups ------------------------------------------------------------------------------------------------


class Outer(nn.Module):
    """Its readout is the outermost module itself: a matrix behind a norm."""

    def __init__(self, *, zero: bool = False) -> None:
        super().__init__()
        self.norm, self.matrix = nn.LayerNorm(5, elementwise_affine=False), nn.Parameter(torch.eye(5) * (not zero))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) @ self.matrix  # type: ignore[no-any-return]


def test_a_readout_without_a_name_is_called_by_its_class() -> None:
    x = examples(20, (5,))[0]
    model = Outer()
    assert make_scale_invariant(model, x) == ""
    assert float(model.matrix.detach().norm()) == pytest.approx(10)
    with pytest.raises(LrscopeError, match=r"nothing is left to train once its readout is frozen"):
        make_scale_invariant(Outer(zero=True), x)


def test_what_is_invariant_only_together_is_the_rest() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.deep = (nn.Linear(5, 5, bias=False) for _ in range(3))
            self.inner, self.norm = (nn.LayerNorm(5, elementwise_affine=False) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.one(x) + self.two(self.inner(self.deep(x))))  # type: ignore[no-any-return]

    split = split_groups(drawn(Residual), examples(20, (5,))[0])
    assert split.groups == {"one.weight": "rest", "two.weight": "rest", "deep.weight": "deep.weight"}


@pytest.mark.parametrize("invariant", [False, True])
def test_batch_norms_are_swapped_and_the_readout_is_the_one_that_is_given(invariant: bool) -> None:
    model = drawn(lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)))
    ready = prepare(model, examples(20, (5,))[0], invariant=invariant, readout="0")
    assert isinstance(ready[1], PopulationBatchNorm)  # type: ignore[index]
    assert {name: p.requires_grad for name, p in ready.named_parameters()} == {
        "0.weight": not invariant,
        "0.bias": not invariant,
        **({} if invariant else {"1.weight": True, "1.bias": True}),
        "2.weight": True,
        "2.bias": True,
    }
    assert (float(ready[0].weight.detach().norm()) == pytest.approx(10)) is invariant  # type: ignore[index]
