"""What makes the search of symmetries fast changes nothing that it finds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from lrscope.symmetries import depthwise, find_symmetries
from lrscope.symmetries.batches import call
from lrscope.symmetries.depthwise import DepthwiseAtOnce
from lrscope.symmetries.legs import Leg, sampled, sums_along
from lrscope.symmetries.probe import FEW, FEWER, MANY, Probe
from lrscope.symmetries.rescaling import Candidate, kept
from lrscope.tasks.streams import generator
from test_symmetries import drawn, mlp, powers, seeded

CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
# Images, kernel, stride, padding, dilation: kernels beyond the image on both sides, places that are never read, none left out.
CASES = {
    "as usual": ((5, 6), (3, 3), 1, 1, 1),
    "one axis": ((7,), (3,), 2, 1, 1),
    "three axes": ((3, 4, 2), (2, 3, 1), 1, (0, 1, 0), 1),
    "larger than the image": ((1, 2), (7, 7), 1, 3, 1),
    "strides": ((7, 6), (3, 5), (3, 2), (0, 4), 1),
    "dilated": ((6, 7), (3, 2), (1, 2), (2, 0), (2, 3)),
    "never read": ((1, 1), (2, 2), 4, 5, 1),
}


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator("tests", "depthwise", len(shape)))


def images(*sizes: int) -> Tensor:
    return random(2, 3, *sizes)


@pytest.mark.parametrize("with_bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("case", list(CASES))
def test_a_depthwise_convolution_is_that_of_pytorch(case: str, with_bias: bool) -> None:
    image, kernel, *how = CASES[case]
    convolve = CONVOLUTIONS[len(image) - 1]
    x, weight = images(*image).requires_grad_(), random(3, 1, *kernel).requires_grad_()
    bias = random(3).requires_grad_() if with_bias else None
    given = [x, weight, *([] if bias is None else [bias])]
    expected = convolve(x, weight, bias, *how, groups=3)
    with DepthwiseAtOnce():
        out = convolve(x, weight, bias, *how, groups=3)
        assert "Depthwise" in str(out.grad_fn) or with_bias
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    ways = torch.cos(expected.detach())
    for one, other in zip(
        torch.autograd.grad(out, given, ways), torch.autograd.grad(expected, given, ways), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.changes_random_state  # gradcheck draws from PyTorch's global generator
def test_its_gradients_have_gradients() -> None:
    x, weight = images(3, 4).requires_grad_(), random(3, 1, 3, 2).requires_grad_()
    with DepthwiseAtOnce():
        convolve = lambda *given: functional.conv2d(*given, None, (1, 2), (1, 0), 1, 3)  # noqa: E731
        assert gradcheck(convolve, (x, weight))
        assert gradgradcheck(convolve, (x, weight))


def test_what_pytorch_does_well_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthwise._Depthwise, "apply", lambda *given: pytest.fail("not depthwise, or not small"))
    dense, wide = random(3, 3, 3, 3), random(6, 1, 3, 3)
    with DepthwiseAtOnce():
        functional.conv2d(images(4, 4), dense)
        functional.conv2d(images(4, 4), wide, groups=3)
        functional.conv2d(images(4, 4).float(), dense[:, :1].float(), groups=3)
        functional.conv2d(images(40, 40), dense[:, :1], groups=3)
        functional.conv2d(images(4, 4), dense[:, :1], padding="same", groups=3)
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            functional.conv2d(images(2, 2), dense[:, :1], groups=3)


class Gated(nn.Module):
    """A direction that some batches do not read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.direction = nn.Linear(4, 3), nn.Parameter(drawn(3))

    def forward(self, x: Tensor) -> Tensor:
        along = functional.normalize(self.direction, dim=0, eps=0.0) if is_read(x) else 0.0
        return torch.tanh(self.first(x)) + along


def is_read(x: Tensor) -> bool:
    return bool(x[0, 0] > -0.7)


def test_what_the_first_draws_do_not_read_is_looked_at_later() -> None:
    x = drawn(8, 4)
    probe = Probe(seeded(Gated), x, call, training=True)
    seed = next(s for s in itertools.count() if not is_read(probe.fresh(s)))
    found = find_symmetries(seeded(Gated), x, seed=seed)
    assert [powers(found, kind) for kind in ("scale-invariant", "no effect")] == [[{"direction": 1}], []]


def test_of_many_that_are_tried_at_once_the_false_ones_alone_are_refuted() -> None:
    probe = Probe(seeded(mlp), drawn(8, 4), call, training=True)
    pairs: list[Any] = [{"0.weight": 1, "0.bias": 1, "2.weight": -1}, {"2.weight": 1, "2.bias": 1, "4.weight": -1}]
    true = [Candidate(pair) for pair in pairs]
    false = [Candidate({"4.bias": 1.0}), Candidate({"0.bias": 1.0, "2.weight": -1.0})]
    assert kept(probe, [true[0], false[0], false[1], true[1]], training=True) == true
    assert kept(probe, false, training=False) == []


def test_models_without_buffers_are_not_warmed_up() -> None:
    """Running statistics are the only reason for it."""

    class Counted(nn.Linear):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Counted.calls += 1
            return super().forward(x)

    Probe(seeded(lambda: Counted(4, 3)), drawn(8, 4), call, training=True)
    before, Counted.calls = Counted.calls, 0
    Probe(seeded(lambda: nn.Sequential(Counted(4, 3), nn.BatchNorm1d(3))), drawn(8, 4), call, training=True)
    assert before < Counted.calls


@pytest.mark.parametrize("leg", [Leg("w", 0, 6), Leg("w", 1, 12), Leg("w", 1, 4, 4, 2), Leg("w", 1, 6, 0, 2)], ids=str)
def test_slopes_of_sampled_slices_are_those_of_all(leg: Leg) -> None:
    first, second = random(6, 12, 2).unbind(-1)
    places = sampled(leg.length, 3)
    found = leg.sums_at(first, second, places)
    torch.testing.assert_close(found[places], leg.sums(sums_along(first, second, [leg.axis])[0][leg.axis])[places])
    assert int(found.isnan().sum()) == leg.length - 3


class Deep(nn.Module):
    """A residual stream with as many tensors as there must be for few examples to do.

    Args:
        norm: of each block.
        mixed: what the examples see of each other.
        depth: blocks, of four tensors each.
    """

    def __init__(
        self,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        mixed: Callable[[Tensor], Tensor] = lambda x: x,
        depth: int = MANY // 4,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(norm(5), nn.Linear(5, 5)) for _ in range(depth))
        self.mixed = mixed

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + functional.gelu(block(x))
        return self.mixed(x)


class Tokens(nn.Module):
    """The same behind an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.deep = nn.Embedding(30, 5), Deep()

    def forward(self, x: Tensor) -> Tensor:
        return self.deep(self.embedding(x))


class Masked(Deep):
    """The same with a mask beside the examples."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(x if mask is None else x * mask)


class EvalAlone(Deep):
    """It has no train mode."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("it is only to be used")
        return super().forward(x)


def test_few_examples_are_drawn_where_none_depends_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    x = drawn(8, 5)
    tried = Probe(seeded(Deep), x, call, training=True)
    assert (len(tried.drawn(0)), len(tried.fresh(0)), len(tried.fresh(0, larger=True))) == (FEWER, FEW, 2 * FEW)
    few = find_symmetries(seeded(Deep), x)
    monkeypatch.setattr("lrscope.symmetries.probe.FEWER", FEW)
    assert few.found == find_symmetries(seeded(Deep), x).found
    assert len(few) >= MANY // 4  # a norm's weight and bias against the matrix behind it, block by block


KEPT: dict[str, tuple[Callable[[], nn.Module], Any, bool]] = {
    "batch norm": (lambda: Deep(nn.BatchNorm1d), drawn(8, 5), True),
    "batch norm in eval mode": (lambda: Deep(nn.BatchNorm1d), drawn(8, 5), False),
    "their mean": (lambda: Deep(mixed=lambda x: x - x.mean(0)), drawn(8, 5), True),
    "those before": (lambda: Deep(mixed=lambda x: x.cumsum(0)), drawn(8, 5), True),
    "those behind": (lambda: Deep(mixed=lambda x: x.flip(0).cumsum(0).flip(0)), drawn(8, 5), True),
    "a loss": (lambda: Deep(mixed=lambda x: x.square().mean()), drawn(8, 5), True),
    "few tensors": (lambda: Deep(depth=MANY // 4 - 1), drawn(8, 5), True),
    "tokens": (Tokens, torch.arange(8)[:, None] + torch.arange(4), True),
    "a mask": (Masked, {"x": drawn(8, 5), "mask": drawn(8, 5) > 0}, True),
    "zeros and ones": (Deep, (drawn(8, 5) > 0).float(), True),
    "no train mode": (EvalAlone, drawn(8, 5), False),
}


@pytest.mark.parametrize("case", list(KEPT))
def test_no_fewer_are_drawn_where_that_is_not_known(case: str) -> None:
    make, batch, training = KEPT[case]
    tried = Probe(seeded(make), batch, call, training=training)
    found = tried.drawn(0)
    assert len(found["x"] if isinstance(found, dict) else found) == FEW
