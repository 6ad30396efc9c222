"""Noise before layers: what is added where, that a run draws the same in any batch, its course, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrscope import Branch
from lrscope.config import SweepConfig
from lrscope.engine.noise import levels
from lrscope.engine.plan import Plan
from lrscope.engine.segments import phases
from lrscope.errors import LrscopeError
from lrscope.tasks.activation_noise import ActivationNoise
from lrscope.tasks.noise import Keyed
from lrscope.tasks.streams import generator
from lrscope.tasks.wideresnet import WideResNet16
from test_plans import differing
from tiny_tasks import (
    ALL_RUNS,
    CLASSES,
    ONE_RUN,
    SHORT,
    Dropping,
    computed,
    context_of,
    conv_task,
    drawn,
    mlp_task,
    same_bytes,
    stopped_and_resumed,
    task_of,
)

SEED = torch.tensor(7)
X = torch.randn(6, 4, 5, 3, generator=generator("tests", "activation noise"), dtype=torch.float64)
NOISY = replace(SHORT, activation_noise=0.4, precision="float64")


def added(module: nn.Module, x: Tensor, before: tuple[str, ...] = ("ReLU",), level: float = 0.5) -> Tensor:
    noise = ActivationNoise(module, before)
    with Keyed(SEED), noise.at(level):
        out: Tensor = module(x.clone())
    return out


class Calls(nn.Module):
    """An activation by a function of the model's own."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.call(x)
        return out


WAYS = {
    "layer": lambda: nn.Sequential(nn.ReLU()),
    "layer in place": lambda: nn.Sequential(nn.ReLU(inplace=True)),
    "functional": lambda: Calls(functional.relu),
    "functional in place": lambda: Calls(lambda x: functional.relu(x, True)),
    "torch": lambda: Calls(torch.relu),
    "method": lambda: Calls(lambda x: x.relu()),
    "method in place": lambda: Calls(lambda x: x.relu_()),
    "keyword": lambda: Calls(lambda x: functional.relu(input=x)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_relu_gets_one_map_for_the_batch_and_all_channels(way: str) -> None:
    with Keyed(SEED):
        map_HW = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(added(WAYS[way](), X), (X + 0.5 * map_HW).clamp(min=0), rtol=0, atol=0)


@pytest.mark.parametrize(("shape", "shared"), [((6, 4), (4,)), ((6, 3, 4), (3, 4)), ((6, 2, 3, 4), (3, 4))])
def test_the_map_has_the_layers_places(shape: tuple[int, ...], shared: tuple[int, ...]) -> None:
    x = torch.zeros(shape, dtype=torch.float64)
    found = added(nn.Sequential(nn.Identity()), x, ("Identity",))
    with Keyed(SEED):
        expected = 0.5 * torch.randn(shared, dtype=torch.float64)
    torch.testing.assert_close(found, expected.expand(shape), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("word", "call", "plain"),
    [
        ("ELU", functional.elu_, functional.elu),
        ("LeakyReLU", functional.leaky_relu_, functional.leaky_relu),
        ("Tanh", torch.tanh_, torch.tanh),
        ("Tanh", lambda x: x.tanh_(), torch.tanh),
        ("Sigmoid", torch.sigmoid_, torch.sigmoid),
        ("Sigmoid", lambda x: x.sigmoid_(), torch.sigmoid),
    ],
)
def test_an_activation_is_known_in_its_form_in_place(word: str, call: Any, plain: Any) -> None:
    with Keyed(SEED):
        map_HW = torch.randn(5, 3, dtype=torch.float64)
    assert torch.equal(added(Calls(call), X, (word,)), plain(X + 0.5 * map_HW))


def test_a_layer_that_is_called_by_keyword_gets_noise_until_hooks_are_removed() -> None:
    layer = drawn(lambda: nn.Linear(3, 2)).double()
    noise, module = ActivationNoise(layers := nn.Sequential(layer), ("Linear",)), Calls(lambda x: layer(input=x))
    x, plain = X[:, 0, 0], layer(X[:, 0, 0])
    with Keyed(SEED), noise.at(0.5):
        found = module(x)
    with Keyed(SEED):
        shift = 0.5 * torch.randn(3, dtype=torch.float64)
    torch.testing.assert_close(found, layer(x + shift))
    noise.remove()
    with noise.at(0.5):
        assert torch.equal(layers(x), plain)


def test_in_place_changes_what_it_is_given() -> None:
    x, layer = X.clone(), nn.Sequential(nn.ReLU(inplace=True))
    noise = ActivationNoise(layer, ("ReLU",))
    with Keyed(SEED), noise.at(0.5):
        out = layer(x)
    assert torch.equal(out, x)


def test_layers_are_chosen_by_class_or_name() -> None:
    def make() -> nn.Module:
        return drawn(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))).double()

    x = X[:, :, 0, 0]
    plain = make()(x)
    with Keyed(SEED):
        first, second = (0.5 * torch.randn(4, dtype=torch.float64) for _ in range(2))
    net = make()
    both = net[2](net[1](net[0](x + first)) + second)
    torch.testing.assert_close(added(make(), x, ("Linear",)), both)
    torch.testing.assert_close(added(make(), x, ("0",)), net[2](net[1](net[0](x + first))))
    torch.testing.assert_close(added(make(), x, ("Tanh",)), net[2](net[1](net[0](x) + first)))
    assert torch.equal(make()(x), plain)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (("relu",), "noise_before: 'relu' is neither an activation (ReLU, GELU, .* of kinds Linear, ReLU"),
        (("ReLU", "ReLU"), "names a layer twice"),
        (("Linear", "0"), "'0' names a layer twice"),
        (("ReLU", "1"), "'1' names a layer twice"),
    ],
)
def test_layers_that_are_not_there_or_twice_are_refused(before: tuple[str, ...], words: str) -> None:
    net = drawn(lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    with pytest.raises(LrscopeError, match=words.replace("(", r"\(").replace(r"\(ReLU, GELU, .*", r"\(ReLU, GELU, .*")):
        ActivationNoise(net, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"activation_noise": -1}, "activation_noise: -1 is outside"),
        ({"noise_before": "GELU"}, "noise_before: given without activation_noise"),
        ({"noise_schedule": "linear"}, "noise_schedule: given without activation_noise"),
        ({"activation_noise": 0.1, "noise_schedule": "steps"}, "'steps' is unknown"),
        (
            {
                "activation_noise": 0.1,
                "noise_schedule": "linear",
                "branches": (Branch(name="b", at_loss=[1.0], steps=2),),
            },
            "a branch begins at a loss",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(LrscopeError, match=words):
        replace(SHORT, **options)


def test_an_activation_that_the_model_never_calls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LrscopeError, match="the model calls no GELU, so no noise would be added"):
        context_of(mlp_task(), replace(NOISY, noise_before="GELU"), tmp_path)


# -- trained -------------------------------------------------------------------------------------------------------

TASKS = {
    "batch norm": (mlp_task, {}),
    "layer by class": (
        mlp_task,
        {"noise_before": "Linear", "space": "whole", "momentum": 0.9, "nesterov": True},
    ),
    "convolutions": (conv_task, {"noise_schedule": "step:1e-5@0.5"}),
    "with dropout": (partial(task_of, Dropping, (5,)), {"space": "whole"}),
    "wide": (partial(task_of, partial(WideResNet16, 1, CLASSES, 1), (1, 8, 8)), {"steps": 2, "random_points": 1}),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == "wide" else ()) for n in TASKS])
def test_another_plan_gives_the_same_runs(name: str, tmp_path: Path) -> None:
    make, options = TASKS[name]
    config = replace(NOISY, **options)
    batched, single = (computed(make(), config, plan, tmp_path / plan.path) for plan in (ALL_RUNS, ONE_RUN))
    assert differing(batched, single) == []
    quiet = computed(
        make(),
        replace(config, activation_noise=0.0, noise_before="ReLU", noise_schedule="constant"),
        ALL_RUNS,
        tmp_path / "quiet",
    )
    assert "pretrain/train_loss" in differing(batched, quiet)


@pytest.mark.slow
def test_stopped_in_the_middle_and_resumed_is_the_same_to_the_byte(tmp_path: Path) -> None:
    config = replace(NOISY, steps=6, noise_schedule="step:0.1@0.5")
    plan = Plan("batched", 2, False, "", 0.0)
    whole = computed(mlp_task(), config, plan, tmp_path / "whole")
    assert same_bytes(stopped_and_resumed(mlp_task, config, plan, tmp_path / "parts", 2), whole) == []


@pytest.mark.slow
def test_a_level_of_nearly_nothing_is_no_noise_and_tests_have_none(tmp_path: Path) -> None:
    quiet = computed(mlp_task(), replace(NOISY, activation_noise=0.0), ALL_RUNS, tmp_path / "quiet")
    faint = computed(mlp_task(), replace(NOISY, activation_noise=1e-13), ALL_RUNS, tmp_path / "faint")
    np.testing.assert_allclose(faint["pretrain/train_loss"], quiet["pretrain/train_loss"], rtol=1e-9)
    context = context_of(mlp_task(), NOISY, tmp_path)
    trainer = context.trainer(ALL_RUNS, next(iter(context.each_chunk(ALL_RUNS))))
    program, x = trainer.program, trainer.material.test_x
    named = {n: v[0] for n, v in {**context.net.views(trainer.tensors["weights"]), **trainer.frozen}.items()}
    noisy = {**named, **{n: v[0] for n, v in trainer._frozen("log noise", trainer.phases[0]).items()}}
    context.net.module.eval()
    assert torch.equal(program.output(noisy, x), program.output(named, x))
    context.net.module.train()
    assert not torch.equal(program.output(noisy, x), program.output(named, x))


def test_the_course_goes_by_the_steps_since_the_beginning() -> None:
    """Segments that leave in the middle go on with it, those at the end stay at its end."""
    config = SweepConfig(
        lrs=(0.1,),
        steps=10,
        batch_size=8,
        space="whole",
        finetune_lrs=(0.01,),
        finetune_steps=3,
        activation_noise=0.4,
        noise_schedule="step:1e-5@0.5",
        branches=(Branch(name="early", at=[0.4], steps=4),),
    )
    found = phases(config, 10)
    by = {phase.segment: phase for phase in found}

    def of(segment: str, count: int) -> list[float]:
        level_KR = levels(config, found, by[segment], 0, count, torch.zeros(2, dtype=torch.float64))
        assert level_KR is not None
        assert torch.equal(level_KR[:, 0], level_KR[:, 1])
        return level_KR[:, 0].tolist()

    assert of("pretrain", 10) == pytest.approx([0.4] * 5 + [4e-6] * 5)
    assert of("early", 4) == pytest.approx([0.4] + [4e-6] * 3)
    assert of("finetune", 3) == pytest.approx([4e-6] * 3)
