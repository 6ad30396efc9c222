"""The table of optimizers: names, options and defaults as literals, and what a learning rate means on a sphere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lrscope.config import SweepConfig
from lrscope.dynamics import optimizers
from lrscope.dynamics.layout import Slot
from lrscope.dynamics.optimizers import OPTIMIZERS, Optimizer, options
from lrscope.dynamics.optimizers.adam import Adam, AdamW
from lrscope.dynamics.optimizers.muon import Muon, orthogonal
from lrscope.dynamics.optimizers.rmsprop import RMSprop
from lrscope.dynamics.optimizers.sgd import SGD
from lrscope.tasks.streams import generator

SLOTS = (Slot("matrix", (3, 2), 0, 6), Slot("bias", (3,), 6, 9))
MADE: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
    "muon": lambda **options: Muon(slots=SLOTS, **options),
}
READ = {
    "sgd": ("momentum", "nesterov", "weight_decay"),
    "rmsprop": ("rmsprop_alpha", "epsilon", "momentum", "weight_decay"),
    "adam": ("betas", "epsilon", "weight_decay"),
    "adamw": ("betas", "epsilon", "weight_decay"),
    "muon": ("muon_momentum", "betas", "epsilon", "weight_decay"),
    "task": (),
}


def test_the_table_has_these_names_and_each_reads_these_options() -> None:
    assert {name: options(name) for name in (*OPTIMIZERS, "task")} == READ


def test_an_optimizer_made_without_options_is_that_of_a_sweep_without_options() -> None:
    config = SweepConfig(lrs=(1e-3,), steps=1)
    for name, made in MADE.items():
        for option in READ[name]:
            assert getattr(made(), option) == getattr(config, option), (name, option)


def test_the_names_of_the_package_are_there() -> None:
    assert len(set(optimizers.__all__)) == 6
    assert all(hasattr(optimizers, name) for name in optimizers.__all__)


@pytest.mark.parametrize("name", MADE)
def test_a_learning_rate_means_the_same_at_every_radius(name: str) -> None:
    """Of a scale-invariant loss the gradient falls as 1 / radius. Weights and updates grow with it, without epsilon."""
    without = {"epsilon": 0.0} if "epsilon" in READ[name] else {}
    optimizer = MADE[name](**without)
    weights, gradient = torch.randn(2, 9, generator=generator("tests", "radius"), dtype=torch.float64)[:, None]
    assert isinstance(optimizer, Optimizer)
    moved = []
    for radius in (1.0, 4.0):
        lr = torch.tensor([0.1 * radius**optimizer.radius_power], dtype=torch.float64)
        found, _ = optimizer.update(gradient / radius, optimizer.init(weights), radius * weights, lr)
        moved.append(found / radius)
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-9, atol=0)
    assert not torch.allclose(moved[0], weights, rtol=1e-3)


def test_muon_decays_its_matrices_and_hands_its_options_to_adamw() -> None:
    weights, gradient = torch.randn(2, 9, generator=generator("tests", "muon"), dtype=torch.float64)[:, None]
    lr = torch.tensor([0.1], dtype=torch.float64)
    given = {"betas": (0.5, 0.7), "epsilon": 0.3, "weight_decay": 0.4}
    muon, adamw = Muon(slots=SLOTS, **given), AdamW(**given)  # type: ignore[arg-type]
    states = [optimizer.init(weights) for optimizer in (muon, adamw)]
    found, others = weights, weights
    for _ in range(2):
        found, states[0] = muon.update(gradient, states[0], found, lr)
        others, states[1] = adamw.update(gradient, states[1], others, lr)
    assert torch.equal(found[:, 6:], others[:, 6:])
    still, _ = Muon(slots=SLOTS, **given).update(0 * gradient, muon.init(weights), weights, lr)  # type: ignore[arg-type]
    torch.testing.assert_close(still, 0.96 * weights, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4)])
def test_muon_multiplies_by_the_smaller_of_the_two_squares(shape: tuple[int, int]) -> None:
    """Five times 4 x 6 by 6 x 4, 4 x 4 by 4 x 4 and 4 x 4 by 4 x 6, with two operations for each product."""
    counter = FlopCounterMode(display=False)
    with counter:
        orthogonal(torch.ones(1, *shape))
    assert counter.get_total_flops() == 5 * 2 * (4 * 6 * 4 + 4 * 4 * 4 + 4 * 4 * 6)
