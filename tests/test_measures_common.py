"""What every measure of weights must keep to: a measure joins by its name in `MEASURES`.

The same numbers every time; the module's modes, the weights and the global random state as they were; and nothing of other
runs or of earlier measures in a run's numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from lrscope.measures import equilibrium, geometry, landscape, sharpness, walks
from lrscope.measures.plane import Plane
from lrscope.trained import Trained
from measured import OneRun, Place, mlp, place
from tiny_tasks import BATCHED, SHORT, Dropping, conv_task, task_of, train

MEASURES: dict[str, Callable[[Any, Place], Any]] = {
    "sharpness": lambda trained, at: sharpness.of(trained, at.state, hessian_top=2),
    "exact fisher trace": lambda trained, at: sharpness.of(
        trained, at.state, measures=["fisher_trace"], fisher_batches=1, fisher_draws=None
    ),
    "line": lambda trained, at: geometry.between(
        trained, at.state, replace(at.state, weights=-at.weights + 1), points=4
    ),
    "points": lambda trained, at: landscape.at_points(trained, at.state, [at.weights, 1 - at.weights], path="single"),
    "plane": lambda trained, at: landscape.on_plane(
        trained,
        at.state,
        Plane.through(at.weights[0], -at.weights[0], 0 * at.weights[0] + 1),
        [0, 1],
        [0],
        path="single",
    ),
    "training": lambda trained, at: walks.training(trained, at.state, elr=0.1, steps=3, every=2),
    "walk": lambda trained, at: walks.random_walk(trained, at.state, elr=0.1, steps=3, every=2),
    "given walk": lambda trained, at: walks.random_walk(trained, at.state, step_sizes=[0.1, 0.2], every=2),
    "identities": lambda trained, at: equilibrium.identities(trained, at.state, elr=0.1, steps=3),
}


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, NaN included."""
    if isinstance(a, xr.Dataset):
        return bool(a.identical(b))
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)


@pytest.fixture(scope="module")
def at() -> Place:
    return place(mlp())


@pytest.fixture(scope="module")
def dropping() -> Place:
    """A net that draws from the global generator in train mode."""
    return place(task_of(Dropping, (5,)), steps=0)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("training", [True, False])
def test_a_measure_repeats_itself_and_leaves_all_as_it_was(at: Place, name: str, training: bool) -> None:
    module, one = at.program.net.module, OneRun(at)
    module.train(training)
    module.norms[0].train(not training)  # type: ignore[union-attr, operator]
    modes = [m.training for m in module.modules()]
    weights, frozen = at.weights.clone(), {k: v.clone() for k, v in at.frozen.items()}
    parameters = [p.clone() for p in module.parameters()]
    first = MEASURES[name](one, at)
    assert [m.training for m in module.modules()] == modes
    assert torch.equal(at.weights, weights)
    assert all(torch.equal(at.frozen[k], v) for k, v in frozen.items())
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), parameters, strict=True))
    assert all(p.grad is None for p in module.parameters())
    module.train(not training)
    torch.randn(3)  # the global generator stands elsewhere now
    assert same(MEASURES[name](one, at), first)
    torch.manual_seed(0)


test_a_measure_repeats_itself_and_leaves_all_as_it_was = (
    pytest.mark.changes_random_state(  # to see that nothing reads it
        test_a_measure_repeats_itself_and_leaves_all_as_it_was
    )
)


@pytest.mark.parametrize("name", MEASURES)
def test_noise_comes_from_the_measure_and_global_state_is_kept(dropping: Place, name: str) -> None:
    state = torch.get_rng_state()
    first = MEASURES[name](OneRun(dropping), dropping)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(MEASURES[name](OneRun(dropping), dropping), first)


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_does_not_know_of_other_states(at: Place, name: str) -> None:
    """Measured alone, and after another state went through the same program and examples."""
    alone = MEASURES[name](OneRun(at), at)
    other = replace(at, weights=at.weights.flip(1))
    assert not same(MEASURES[name](OneRun(at), other), alone)
    assert same(MEASURES[name](OneRun(at), at), alone)


@pytest.mark.slow
def test_every_measure_takes_a_stored_run(tmp_path: Path) -> None:
    """From a sweep's folder, in the precision it was trained in; the others of the sweep make no difference."""
    folder = tmp_path / "sweep"
    task = conv_task()
    result = train(task, SHORT, BATCHED, folder)
    trained = Trained.open(folder, task)
    state = trained.state(lr=SHORT.lrs[1], seed=1)
    found = sharpness.of(trained, state)
    logged = result["pretrain/fixed_effective_grad_norm"].isel(lr=1, data_seed=0, seed=1)
    assert found["grad_norm"] == pytest.approx(float(logged), rel=1e-5)
    start = trained.state(lr=SHORT.lrs[1], seed=1, epoch=0)
    line = geometry.between(trained, start, state, points=3)
    assert float(line["train_loss"][-1]) == pytest.approx(
        float(result["pretrain/fixed_train_loss"].isel(lr=1, data_seed=0, seed=1)), rel=1e-5
    )
    assert float(line["test_loss"][-1]) == pytest.approx(
        float(result["pretrain/test_loss"].isel(lr=1, data_seed=0, seed=1, epoch=-1)), rel=1e-5
    )
    walked = walks.training(trained, state, elr=0.1, steps=2, every=2)
    assert float(walked["train_loss"][0]) == pytest.approx(float(line["train_loss"][-1]), rel=1e-6)
    assert walked["cosine"].values == pytest.approx(1 / np.sqrt(1 + walked["step_size"].values ** 2), abs=1e-5)
    exact = equilibrium.identities(trained, state, elr=0.1, steps=2)
    assert exact["eq3"] < 1e-12 > exact["eq4"]
    assert exact["eq5"] < 1e-2
    assert equilibrium.ess_spread(result["pretrain/group_ess"]).shape == (2, 1, 2)
