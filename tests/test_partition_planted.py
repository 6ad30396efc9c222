"""Scale-invariant sets of weights of planted models: what is found, what is moved before it is tried, readouts and groups."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from lrscope.errors import LrscopeError
from lrscope.symmetries.invariance import make_scale_invariant, prepare, split_groups
from lrscope.symmetries.partition import Examples, Partition, partition
from lrscope.tasks.batches import replayed
from lrscope.tasks.norms import PopulationBatchNorm
from lrscope.tasks.streams import generator
from tiny_tasks import drawn, examples


def parts(model: nn.Module, x: Tensor) -> Partition:
    return partition(model, x, lambda probe, batch: probe(batch))


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

    model = drawn(Mixed)
    with torch.no_grad():
        model.inner.weight.mul_(1e3)
        model.nearly.weight.mul_(1e-3)
    found = parts(model, examples(20, (5,))[0])
    # The gradient of `nearly` leaves out what rescaling undoes all the same, and rescaling decides.
    assert found.groups == (("inner.weight",), ("nearly.weight",), ("almost.weight",))
    assert found.without_effect == ("idle.weight",)


class Counting(nn.Module):
    """Counts the examples of its forward passes; a gain and what divides it are scale-invariant together."""

    seen: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = nn.Linear(5, 4, bias=False), nn.LayerNorm(4, elementwise_affine=False)
        self.up, self.down = (nn.ParameterDict({"by": torch.ones(4) * k}) for k in (1, 2))
        self.seen = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return self.norm(self.inner(x)) * self.up["by"] / self.down["by"]  # type: ignore[no-any-return]


def test_a_few_passes_are_enough() -> None:
    """One for a first look, one for the slopes of what moves the outputs alone; then all is rescaled at once, on two batches."""
    seen: list[int] = []
    model = drawn(Counting)
    model.seen = seen
    found = partition(model, examples(20, (5,))[0], lambda probe, batch: seen.append(len(batch)) or probe(batch))
    assert found == Partition((("inner.weight",), ("up.by", "down.by")), (), ())
    assert seen == [8, 8, 16, 16, 16, 16]
    assert all(p.requires_grad for p in model.parameters()), "the model itself stays"


def test_batches_are_other_examples_of_the_same_set() -> None:
    x = torch.arange(40.0).reshape(40, 1)
    model = drawn(lambda: nn.Linear(1, 1))
    probe = Examples(model, x, lambda model, batch: model(batch), training=True)
    one, other, again = (probe.fresh(seed) for seed in (0, 1, 0))
    assert (len(one), len(probe.fresh(0, larger=True))) == (8, 16)
    assert torch.equal(one, again)
    assert set(one.flatten().tolist()) != set(other.flatten().tolist())
    assert len(set(one.flatten().tolist())) == 8
    assert len(Examples(model, x[:3], lambda m, b: m(b), training=True).fresh(0)) == 3


@pytest.mark.parametrize("spoilt", [False, True])
def test_sets_among_very_many_tensors_are_looked_for_where_all_are_one(
    spoilt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrscope.symmetries.partition.MOST", 2)

    class Gains(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gains = nn.ParameterList(torch.linspace(1, 2, 4) * k for k in (1, 2, 3, 4))

        def forward(self, x: Tensor) -> Tensor:
            a, b, c, d = self.gains
            return x * a / b * c / d * (d if spoilt else 1)  # type: ignore[no-any-return]

    found = parts(Gains(), torch.rand(20, 4, generator=generator("tests", "gains")) + 1)
    if spoilt:
        assert found == Partition((), ("gains.3",), ("gains.0", "gains.1", "gains.2"))
    else:
        assert sorted(map(len, found.groups)) == [2, 2]
        assert found.others == ()


def test_slopes_that_are_not_finite_are_refused() -> None:
    model = drawn(lambda: nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3)))
    with torch.no_grad():
        model[2].weight.fill_(torch.inf)
    with pytest.raises(LrscopeError, match="its gradients on the first examples are not finite: initialise it"):
        parts(model, examples(20, (5,))[0])


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


def test_what_is_invariant_only_together_is_a_group() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.deep = (nn.Linear(5, 5, bias=False) for _ in range(3))
            self.inner, self.norm = (nn.LayerNorm(5, elementwise_affine=False) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.one(x) + self.two(self.inner(self.deep(x))))  # type: ignore[no-any-return]

    split = split_groups(drawn(Residual), examples(20, (5,))[0])
    assert split.groups == {
        "one.weight": "one.weight and 1 other",
        "two.weight": "one.weight and 1 other",
        "deep.weight": "deep.weight",
    }


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


class Stream:
    """Ready-made batches, which counts how often it is begun."""

    def __init__(self) -> None:
        self.begun = 0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        self.begun += 1
        return ({"x": torch.randn(6, 5, generator=generator("tests", "batch", str(i)))} for i in range(len(self)))

    def __len__(self) -> int:
        return 20


@pytest.mark.parametrize("memory", [1, 2**30])
def test_a_stream_beyond_memory_gives_the_same_groups_and_begins_once_for_a_pass(
    memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replayed, "memory_for_streams", lambda: memory)
    stream, passes = Stream(), 0
    part = replayed.Replayed("train", stream)
    assert part.in_order == (memory == 1)
    read = stream.begun

    def forward(probe: nn.Module, numbers: Tensor) -> Tensor:
        nonlocal passes
        passes += 1
        batches = [part.batch(number, torch.float64)["x"] for number in torch.split(numbers, 1)]
        return torch.cat([probe(x) for x in batches])

    model = drawn(lambda: nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 3)))
    found = partition(model, torch.arange(len(stream)), forward)  # in float64, in which the stream is not
    assert found.groups == (("0.weight", "0.bias"),)
    assert found.others == ("2.weight", "2.bias")
    assert passes > 5
    assert stream.begun - read <= (passes if memory == 1 else 0)
