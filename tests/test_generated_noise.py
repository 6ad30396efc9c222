"""Generated steps of networks that draw noise: the draws of PyTorch's way, step by step and sweep by sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lrscope.config import SweepConfig
from lrscope.engine.backends.vmap import Vmap
from lrscope.engine.choose import choose_plan
from lrscope.engine.noise import NOISE
from lrscope.tasks import GaussianNoise
from lrscope.tasks.keyed_random import KeyedStream
from lrscope.tasks.models import ConvNet
from lrscope.tasks.task import Task
from lrscope.tasks.vit import VisionTransformer
from test_fused import FUSED, WHOLE, by_generator, trained, trainer_of
from test_plans import differing
from tiny_tasks import BATCHED, CLASSES, Dropping, compiler_needed, context_of, conv_task, mlp_task, task_of, train

pytestmark = compiler_needed
EAGER = replace(FUSED, compiled=False, fused=False, unroll=1)
SEEDS = torch.tensor([5, -(2**62) - 3, 2**40 + 1])


def words(w: Tensor, seeds: Tensor, draw: Callable[[KeyedStream, torch.Size], Tensor]) -> Tensor:
    """Second draws of streams of these seeds, in float64."""
    found = []
    for seed in seeds:
        stream = KeyedStream(seed)
        stream.bits(torch.Size([2]))
        found.append(draw(stream, torch.Size([len(w)])).to(w.dtype))
    return torch.stack(found).sum(0)


DRAWS: dict[str, Callable[[KeyedStream, torch.Size], Tensor]] = {
    "bits": KeyedStream.bits,
    "kept": lambda stream, shape: stream.kept(shape, 0.7),
    "never kept": lambda stream, shape: stream.kept(shape, 0.0),
    "uniform": lambda stream, shape: stream.uniform(shape, torch.float32),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_those_of_pytorch_to_the_bit(name: str) -> None:
    w, x = torch.zeros(50, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    found = by_generator(lambda w, x, y: words(w, y, DRAWS[name]), w, x, SEEDS)
    expected = words(w, SEEDS, DRAWS[name])
    assert torch.equal(found, expected)
    assert len(expected.unique()) > 1 or name == "never kept"


def test_whole_numbers_overflow_as_in_pytorch() -> None:
    def mixed(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
        long = (y * 0x7F4A7C15F39CC060 + (1 << 62)) * y - y
        short = (y.to(torch.int32) * 0x7FEB352D + 0x7FFFFFFF) * y.to(torch.int32) - y.to(torch.int32)
        return torch.cat([long >> 11, (short >> 3).long(), (long ^ short).bitwise_and(0xFFFF)]).to(w.dtype)

    w, x = torch.zeros(9, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    assert torch.equal(by_generator(mixed, w, x, SEEDS), mixed(w, x, SEEDS))


def sequential(*layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        nn.Linear(5, 8), nn.LayerNorm(8), nn.ReLU(), *(layer() for layer in layers), nn.Linear(8, CLASSES)
    )


NOISY = {"activation_noise": 0.4, "noise_schedule": "step:1e-5@0.5"}
NETWORKS: dict[str, tuple[Callable[[], Task], SweepConfig]] = {
    "dropout": (partial(task_of, Dropping, (5,)), WHOLE),
    "two dropouts": (partial(task_of, sequential(partial(nn.Dropout, 0.3), nn.Dropout), (5,)), WHOLE),
    "on the sphere": (partial(task_of, Dropping, (5,)), replace(WHOLE, space="sphere")),
    "alpha dropout": (partial(task_of, sequential(nn.AlphaDropout), (5,)), WHOLE),
    "normal numbers": (partial(task_of, sequential(partial(GaussianNoise, 0.3)), (5,)), WHOLE),
    "before activations": (mlp_task, replace(WHOLE, **NOISY)),
    "maps before activations": (conv_task, replace(WHOLE, **NOISY)),
    "both": (partial(task_of, Dropping, (5,)), replace(WHOLE, **NOISY)),
    "attention": (
        partial(
            task_of, partial(VisionTransformer, (1, 8, 8), CLASSES, width=8, patch=4, depth=1, dropout=0.2), (1, 8, 8)
        ),
        WHOLE,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_draw_what_pytorch_draws(name: str, tmp_path: Path) -> None:
    task, config = NETWORKS[name][0](), NETWORKS[name][1]
    eager, fused = (trained(trainer_of(task, config, tmp_path, plan), 20) for plan in (EAGER, FUSED))
    for key, value in eager.items():
        torch.testing.assert_close(fused[key], value, rtol=1e-8, atol=1e-11, equal_nan=True)


@pytest.mark.slow
def test_another_level_is_seen(tmp_path: Path) -> None:
    """So that agreement is not that of networks to which noise does nothing."""
    task, config = NETWORKS["both"][0](), NETWORKS["both"][1]
    quieter = replace(config, activation_noise=0.3)
    one, other = (trained(trainer_of(task, c, tmp_path, FUSED), 20)["weights"] for c in (config, quieter))
    assert not torch.allclose(one, other, rtol=1e-3)


@pytest.mark.slow
def test_calls_and_chunks_change_no_bit(tmp_path: Path) -> None:
    task, config = NETWORKS["both"][0](), NETWORKS["both"][1]
    together = trained(trainer_of(task, config, tmp_path, FUSED), 20)["weights"]
    for chunk, unroll in ((1, 32), (4, 3)):
        apart = trained(trainer_of(task, config, tmp_path, replace(FUSED, chunk=chunk, unroll=unroll)), 20)["weights"]
        assert torch.equal(apart, together[: len(apart)])


@pytest.mark.slow
def test_statistics_of_batches_are_not_generated_where_each_draws_its_own(tmp_path: Path) -> None:
    trainer = trainer_of(task_of(Dropping, (5,)), WHOLE, tmp_path, FUSED)
    program, weights = trainer.program, trainer.tensors["weights"]
    runs = len(weights)
    frozen = {**trainer.frozen, NOISE: torch.arange(runs)}
    x = trainer.material.population_x
    found = program.populations(weights, frozen, x)
    expected = program.on(Vmap()).populations(weights, frozen, x)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    program.metrics(weights, frozen, found, x[0], torch.arange(len(x[0])) % CLASSES)
    assert program.backend.made == ("metrics",)


@pytest.mark.slow
def test_a_sweep_agrees_and_is_chosen_where_it_is_asked_for(tmp_path: Path) -> None:
    config = replace(WHOLE, **NOISY)
    task = task_of(partial(ConvNet, 1, CLASSES, 2), (1, 8, 8), name="noisy images")
    asked = replace(BATCHED, compile=True)
    assert choose_plan(context_of(task, config, tmp_path / "plan", asked), 1).fused
    fused, eager = (train(task, config, engine, tmp_path / str(engine.compile)) for engine in (asked, BATCHED))
    assert differing(fused, eager) == []
