"""Scale invariance as theorems: what `make_scale_invariant` and `split_groups` call SI behaves so, to rounding.

Shapes: B batch, G groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrscope.dynamics.float64 import InFloat64
from lrscope.engine.net import build_net, draw_weights
from lrscope.errors import LrscopeError, listed
from lrscope.symmetries import find_symmetries
from lrscope.symmetries.invariance import (
    Split,
    conventional_split,
    find_readout,
    make_scale_invariant,
    prepare,
    split_groups,
)
from lrscope.symmetries.partition import Partition, partition
from lrscope.tasks.models import MLP, ConvNet, ResNet18
from lrscope.tasks.norms import PopulationBatchNorm, is_norm, replace_batch_norms
from lrscope.tasks.streams import generator
from lrscope.tasks.wideresnet import WideResNet16
from tiny_tasks import CLASSES, drawn, examples, task_of

BATCH = 32


class Tokens(nn.Module):
    """A token mixer as Vision Transformers have: parameters of the outermost module beside those of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4, generator=generator("tests", "token")))
        self.embed = nn.Linear(2, 4, bias=False)
        self.norm = nn.LayerNorm(4)
        self.mix = nn.Linear(4, 4)
        self.last = nn.LayerNorm(4)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], 1)
        x = x + self.mix(self.norm(x))
        out: Tensor = self.head(self.last(x).mean(1))
        return out


def images(norm: Callable[[int], nn.Module], *, bias: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=bias),
        norm(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, bias=bias),
        norm(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, CLASSES),
    )


def vectors(norm: Callable[[int], nn.Module], *, bias: bool) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8, bias=bias), norm(8), nn.Tanh(), nn.Linear(8, CLASSES))


@dataclass(frozen=True)
class Case:
    name: str
    factory: Callable[[], nn.Module]
    shape: tuple[int, ...]
    readout: str
    groups: tuple[tuple[str, ...], ...]  # the trainable parameters, group by group


def streams(stem: str, shortcut: str, count: int) -> tuple[tuple[str, ...], ...]:
    """What is added up between two norms that read it: a shortcut behind a norm begins a new stream."""
    first = (stem, "blocks.0.conv2.weight", "blocks.1.conv2.weight")
    later = range(2, count, 2)
    return (
        first,
        *((f"blocks.{i}.conv2.weight", f"blocks.{i}.{shortcut}", f"blocks.{i + 1}.conv2.weight") for i in later),
    )


CASES = [
    Case("mlp batch norm", partial(MLP, (5, 8, 6, 3)), (5,), "readout", (("hidden.0.weight",), ("hidden.1.weight",))),
    Case(
        "mlp layer norm",
        partial(MLP, (5, 8, 6, 3), norm="layer", bias=False, normal_init=True),
        (5,),
        "readout",
        (("hidden.0.weight",), ("hidden.1.weight",)),
    ),
    Case(
        "convnet",
        partial(ConvNet, 1, 3, 2, blocks=2),
        (1, 8, 8),
        "readout",
        tuple((f"convs.{i}.weight",) for i in range(3)),
    ),
    Case(
        "resnet18",
        partial(ResNet18, 1, 3, 2),
        (1, 8, 8),
        "readout",
        (*streams("stem.weight", "shortcut.1.weight", 8), *((f"blocks.{i}.conv1.weight",) for i in range(8))),
    ),
    Case(
        "wideresnet16",
        partial(WideResNet16, 1, 3, 2),
        (1, 8, 8),
        "readout",
        (
            ("stem.weight",),
            ("blocks.0.conv2.weight", "blocks.0.shortcut.weight", "blocks.1.conv2.weight"),
            *streams("", "shortcut.weight", 6)[1:],
            *((f"blocks.{i}.conv1.weight",) for i in range(6)),
        ),
    ),
    Case("group norm", partial(images, partial(nn.GroupNorm, 2)), (1, 8, 8), "7", (("0.weight",), ("3.weight",))),
    Case("instance norm", partial(images, nn.InstanceNorm2d), (1, 8, 8), "7", (("0.weight",), ("3.weight",))),
    Case(
        "batch norm after biases",
        partial(images, nn.BatchNorm2d, bias=True),
        (1, 8, 8),
        "7",
        (("0.weight", "0.bias"), ("3.weight", "3.bias")),
    ),
    Case("layer norm after a bias", partial(vectors, nn.LayerNorm, bias=True), (5,), "3", (("0.weight", "0.bias"),)),
    Case("rms norm", partial(vectors, nn.RMSNorm, bias=False), (5,), "3", (("0.weight",),)),
    Case("tokens", Tokens, (3, 2), "head", (("token", "embed.weight", "mix.weight", "mix.bias"),)),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


class Ready:
    """A case made SI, in float64, with the norms' eps at almost nothing: the theorems hold to rounding then."""

    def __init__(self, case: Case) -> None:
        self.x, self.y = examples(BATCH, case.shape)
        model = replace_batch_norms(drawn(case.factory))
        self.readout = make_scale_invariant(model, self.x)
        self.split: Split = split_groups(model, self.x)
        self.model = model.double().train()
        self.x = self.x.double()
        for module in self.model.modules():
            if is_norm(module):
                module.eps = 1e-30
        self.weights = {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    @property
    def groups(self) -> dict[str, list[Tensor]]:
        found: dict[str, list[Tensor]] = {}
        for name, group in self.split.groups.items():
            found.setdefault(group, []).append(self.weights[name])
        return found

    def loss(self) -> Tensor:
        return functional.cross_entropy(self.model(self.x), self.y)

    def gradients(self) -> dict[str, Tensor]:
        found = torch.autograd.grad(self.loss(), list(self.weights.values()))
        return dict(zip(self.weights, found, strict=True))

    def rescale(self, parameters: list[Tensor], factor: float) -> None:
        with torch.no_grad():
            for parameter in parameters:
                parameter.mul_(factor)


@every_case
def test_groups_are_the_layers(case: Case) -> None:
    ready = Ready(case)
    found: dict[str, set[str]] = {}
    for name, group in ready.split.groups.items():
        found.setdefault(group, set()).add(name)
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, case.groups))
    assert ready.split.scale_invariant
    assert set(ready.split.frozen) == {n for n, _ in ready.model.named_parameters()} - set(ready.weights)


@every_case
@pytest.mark.parametrize("factor", [0.05, 30.0])
def test_loss_does_not_see_the_scale_of_all_weights_or_of_one_group(case: Case, factor: float) -> None:
    ready = Ready(case)
    before = ready.loss().item()
    for parameters in [list(ready.weights.values()), *ready.groups.values()]:
        ready.rescale(parameters, factor)
        assert ready.loss().item() == pytest.approx(before, rel=1e-10)
        ready.rescale(parameters, 1 / factor)
    ready.rescale([ready.model.get_submodule(case.readout).weight], factor)
    assert ready.loss().item() != pytest.approx(before, rel=1e-3), "the loss must see the readout, or it sees nothing"


@every_case
def test_gradient_is_orthogonal_to_every_group(case: Case) -> None:
    ready = Ready(case)
    gradients = ready.gradients()
    for name, group in ready.groups.items():
        members = [n for n, g in ready.split.groups.items() if g == name]
        gradient = torch.cat([gradients[n].flatten() for n in members])
        weights = torch.cat([p.detach().flatten() for p in group])
        assert gradient.norm() > 1e-6, "no gradient, no theorem"
        assert abs(float(gradient @ weights)) < 1e-10 * float(gradient.norm() * weights.norm())


@every_case
def test_gradient_falls_as_one_over_the_scale(case: Case) -> None:
    ready, factor = Ready(case), 4.0
    before = ready.gradients()
    for parameters in [list(ready.weights.values()), *ready.groups.values()]:
        ready.rescale(parameters, factor)
        for name, gradient in ready.gradients().items():
            rescaled = any(ready.weights[name] is p for p in parameters)
            expected = before[name] / factor if rescaled else before[name]
            tiny = 1e-10 * max(g.abs().max().item() for g in before.values())
            torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=tiny)
        ready.rescale(parameters, 1 / factor)


@every_case
def test_norms_lose_their_affine_parameters(case: Case) -> None:
    ready = Ready(case)
    norms = [m for m in ready.model.modules() if is_norm(m)]
    assert norms
    assert all(not list(m.parameters()) for m in norms)


def test_stripping_fixes_weight_1_and_bias_0_whatever_they_were() -> None:
    x, _ = examples(BATCH, (5,))
    plain = drawn(lambda: nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES)))
    with torch.no_grad():
        plain[1].weight.fill_(0.0)  # as residual nets begin
        plain[1].bias.fill_(0.7)
    model = replace_batch_norms(plain).train()
    make_scale_invariant(model, x)
    hidden = model[0](x)
    by_hand = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(model[:2](x), by_hand)


@every_case
def test_readout_is_frozen_at_norm_10_in_its_own_direction(case: Case) -> None:
    raw = drawn(case.factory).get_submodule(case.readout)
    ready = Ready(case)
    assert ready.readout == case.readout
    layer = ready.model.get_submodule(case.readout)
    assert not any(p.requires_grad for p in layer.parameters())
    assert float(layer.weight.norm()) == pytest.approx(10, rel=1e-6)
    torch.testing.assert_close(layer.weight / 10, (raw.weight / raw.weight.norm()).double(), check_dtype=False)
    if raw.bias is not None:
        torch.testing.assert_close(layer.bias, raw.bias.double(), check_dtype=False, rtol=0, atol=0)


@every_case
def test_net_lays_out_every_trainable_weight_once(case: Case) -> None:
    task = task_of(case.factory, case.shape, train=BATCH)
    net = build_net(task, invariant=True, device=torch.device("cpu"), dtype=torch.float64)
    assert net.scale_invariant
    covered = sorted(piece for segment in net.segments for piece in segment)
    assert [a for a, _ in covered] == [0, *(b for _, b in covered[:-1])]
    assert covered[-1][1] == net.size == sum(s.stop - s.start for s in net.slots)
    assert {s.name for s in net.slots} == {n for group in case.groups for n in group}
    weights, frozen = draw_weights(task, net, [5, 6, 5], device=torch.device("cpu"), dtype=torch.float64, radius=2.0)
    torch.testing.assert_close(weights.norm(dim=1), torch.full((3,), 2.0, dtype=torch.float64))
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(net.flatten(net.views(weights)), weights)
    assert torch.allclose(frozen[f"{case.readout}.weight"].flatten(1).norm(dim=1), torch.tensor(10.0).double())


def test_batch_norms_are_swapped_wherever_they_hang() -> None:
    shared = nn.BatchNorm1d(4)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared, nn.ReLU()), "c": nn.BatchNorm1d(4)})
    model["again"] = shared
    swapped = replace_batch_norms(model)
    assert not any(isinstance(m, nn.BatchNorm1d) for m in swapped.modules())
    assert swapped["a"] is swapped["again"] is swapped["b"][0]
    assert isinstance(swapped["a"], PopulationBatchNorm)
    assert swapped["a"].weight is shared.weight


def test_a_conventional_net_keeps_every_tensor_and_claims_nothing() -> None:
    model = replace_batch_norms(drawn(partial(MLP, (5, 8, CLASSES))))
    split = conventional_split(model)
    assert split.groups == {n: n for n, _ in model.named_parameters()}
    assert not split.scale_invariant
    assert split.frozen == ()


def no_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def norm_too_early() -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, CLASSES)
    )


def norm_nowhere() -> nn.Module:
    """Its norm reads the inputs."""
    return nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def norm_only() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, CLASSES))


def zero_readout() -> nn.Module:
    model = vectors(nn.LayerNorm, bias=True)
    nn.init.zeros_(model[-1].weight)
    return model


def constant() -> nn.Module:
    return nn.Sequential(nn.LayerNorm(5), nn.Flatten())


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (no_norm, "no normalisation layer after 0, 2, so it cannot be made scale-invariant: add norm layers, or use"),
        (norm_too_early, "outputs change when 3 is rescaled, so no norm layer undoes it: put a norm after it, or use"),
        (norm_too_early, r"only 1 of its 4 weight tensors can be rescaled \(0.weight\): outputs change when 3 is"),
        (norm_nowhere, "it cannot be made scale-invariant: outputs change when 1, 3 is rescaled"),
        (norm_only, "nothing is left to train once its readout is frozen: add a hidden layer"),
        (zero_readout, "readout 3 is zero at initialisation"),
        (constant, "no layer with weights was called"),
    ],
)
def test_errors_name_the_layers(factory: Callable[[], nn.Module], message: str) -> None:
    x, _ = examples(BATCH, (5,))
    model = replace_batch_norms(drawn(factory))

    def attempt() -> None:
        make_scale_invariant(model, x)
        split_groups(model, x)

    with pytest.raises(LrscopeError, match=message):
        attempt()


def test_a_net_without_weights_cannot_train() -> None:
    with pytest.raises(LrscopeError, match="no trainable parameters"):
        conventional_split(nn.Sequential(nn.ReLU()))


def test_readout_is_the_layer_called_last_not_the_one_defined_last() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.readout = nn.Linear(8, CLASSES)
            self.norm = nn.LayerNorm(8)
            self.hidden = nn.Linear(5, 8)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.readout(self.norm(self.hidden(x)))
            return out

    assert find_readout(drawn(Backwards), examples(4, (5,))[0]) == "readout"


def test_looking_for_the_readout_leaves_no_hooks_and_sees_through_parts_without_weights() -> None:
    class Held(nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, CLASSES)
            self.idle = nn.Identity()

    model = drawn(lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), Held()))
    assert find_readout(model, examples(4, (5,))[0]) == "2"
    assert not any(module._forward_hooks for module in model.modules())


def test_a_readout_takes_the_norm_that_is_asked_for() -> None:
    x, _ = examples(BATCH, (5,))
    model = prepare(drawn(partial(vectors, nn.LayerNorm, bias=False)), x, invariant=True, readout_norm=3.0)
    assert float(model[3].weight.norm()) == pytest.approx(3.0, rel=1e-6)


def test_what_is_frozen_beforehand_does_not_train() -> None:
    model = drawn(partial(vectors, nn.LayerNorm, bias=False))
    model[0].weight.requires_grad_(False)
    split = conventional_split(model)
    assert split.frozen == ("0.weight",)
    assert "0.weight" not in split.groups


# -- which modules are SI by themselves ------------------------------------------------------------------------------


class Balanced(nn.Module):
    """Two weights whose ratio counts, beside a layer before a norm. With `rounded` no derivative shows that."""

    def __init__(self, *, rounded: bool, relative: bool = True) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(5, 5, bias=False) for _ in range(3))
        self.norm = nn.LayerNorm(5, elementwise_affine=False)
        self.rounded, self.relative = rounded, relative

    def forward(self, x: Tensor) -> Tensor:
        level = self.a.weight.norm().log() - (self.b.weight.norm().log() if self.relative else 0.0)
        level = (20 * level).round() if self.rounded else level
        return self.norm(self.c(x)) * (50 + level)  # type: ignore[no-any-return]


def parts(model: nn.Module, x: Tensor) -> Partition:
    return partition(model, x, lambda probe, batch: probe(batch))


@pytest.mark.parametrize("rounded", [False, True])
def test_weights_that_are_invariant_only_together_are_told_from_those_that_are_alone(rounded: bool) -> None:
    model = drawn(partial(Balanced, rounded=rounded))
    assert parts(model, examples(BATCH, (5,))[0]) == Partition((("a.weight", "b.weight"), ("c.weight",)), (), ())


def test_a_change_that_no_derivative_shows_is_refused_all_the_same() -> None:
    model = drawn(partial(Balanced, rounded=True, relative=False))
    assert parts(model, examples(BATCH, (5,))[0]) == Partition((("c.weight",),), ("b.weight",), ("a.weight",))
    with pytest.raises(LrscopeError, match="outputs change when a is rescaled"):
        split_groups(model, examples(BATCH, (5,))[0])


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_scale_of_the_outputs_makes_no_difference(scale: float) -> None:
    class Scaled(nn.Module):
        def __init__(self, *layers: nn.Module) -> None:
            super().__init__()
            self.layers = nn.Sequential(*layers)

        def forward(self, x: Tensor) -> Tensor:
            return scale * self.layers(x)  # type: ignore[no-any-return]

    x, _ = examples(BATCH, (5,))
    norm = partial(nn.LayerNorm, 8, elementwise_affine=False)
    weights = ("layers.0.weight", "layers.0.bias")
    assert parts(drawn(lambda: Scaled(nn.Linear(5, 8), norm())), x) == Partition((weights,), (), ())
    found = parts(drawn(lambda: Scaled(nn.Linear(5, 8), norm(), nn.Linear(8, 3))), x)
    assert found == Partition((weights,), (), ("layers.2.weight", "layers.2.bias"))


def test_weights_at_zero_are_moved_before_they_are_tried() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.norm = nn.Linear(5, 8, bias=False), nn.LayerNorm(8, elementwise_affine=False)
            self.shift = nn.ParameterDict({"by": torch.zeros(8)})

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.inner(x)) + self.shift["by"]  # type: ignore[no-any-return]

    assert parts(drawn(Shifted), examples(BATCH, (5,))[0]).others == ("shift.by",)


def test_single_numbers_whole_numbers_and_unused_layers_are_taken() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.unused = nn.Embedding(7, 4), nn.Linear(2, 2)
            self.gain = nn.ParameterDict({"by": torch.ones(1)})
            self.norm = nn.LayerNorm(4, elementwise_affine=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.gain["by"] * self.words(x)).flatten(1)  # type: ignore[no-any-return]

    x = torch.arange(3 * BATCH).reshape(BATCH, 3) % 7
    model = drawn(Words)
    found = parts(model, x)
    nothing = ("unused.weight", "unused.bias", "gain.by")  # of a number before a norm, only the sign could matter
    assert found == Partition((("words.weight",),), nothing, ())
    assert split_groups(model, x).groups["unused.bias"] == "unused.weight", "what is not used is a group of its layer"


def test_streams_that_a_norm_cuts_are_groups_of_their_own() -> None:
    """And one factor for both of two streams would be a coarser group, which rescaling does not refute."""
    ready = Ready(next(case for case in CASES if case.name == "resnet18"))
    names = list(dict.fromkeys(ready.split.groups.values()))
    assert [name for name in names if " and " in name] == [
        "stem.weight and 2 others",
        *(f"blocks.{i}.conv2.weight and 2 others" for i in (2, 4, 6)),
    ]


@pytest.mark.slow
@every_case
def test_groups_are_what_find_symmetries_finds(case: Case) -> None:
    ready = Ready(case)
    found = find_symmetries(ready.model, ready.x)
    joint = [
        frozenset(part.tensor for part in one.parts)
        for one in (*found.of("scale-invariant"), *found.of("group"))
        if all(part.power == 1 and part.start is None for part in one.parts)
    ]
    dead = {part.tensor for one in found.of("no effect") for part in one.parts if part.start is None}
    ours = [frozenset(n for n, g in ready.split.groups.items() if g == group) - dead for group in ready.groups]
    assert set(ours) == set(joint)


def test_six_names_are_listed_and_the_rest_counted() -> None:
    assert listed("abcdef") == "a, b, c, d, e, f"
    assert listed("abcdefgh") == "a, b, c, d, e, f and 2 more"


def test_float32_in_a_models_code_is_float64() -> None:
    third = torch.tensor([1 / 3], dtype=torch.float64)
    with InFloat64():
        for given in (third.float(), third.half(), third.bfloat16(), third.to(torch.float32)):
            assert given.dtype == torch.float64
            assert torch.equal(given, third), "and no digit is lost on the way"
        assert torch.zeros(2).dtype == torch.ones(2, dtype=torch.float16).dtype == torch.float64
        assert torch.zeros(2, dtype=torch.int64).dtype == third.long().dtype == torch.int64
    assert third.float().dtype == torch.get_default_dtype() == torch.float32
