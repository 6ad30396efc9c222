"""Steps on the sphere: what is exact for every step, what holds for a random walk on average, and the identities."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr

from lrscope.errors import LrscopeError
from lrscope.measures import equilibrium, geometry, walks
from lrscope.measures.common import outputs
from lrscope.measures.objectives import shuffled_batches
from lrscope.tasks.models import MLP
from measured import OneRun, Place, mlp, place
from tiny_tasks import task_of


@pytest.fixture(scope="module")
def at() -> Place:
    return place(mlp())


@pytest.mark.parametrize("elr", [1e-3, 0.1, 10.0])
def test_the_cosine_of_a_step_follows_from_its_size(at: Place, elr: float) -> None:
    """theta is orthogonal to g, so cos = 1 / sqrt(1 + ESS^2): exact, whatever the step."""
    track = walks.train_on(at.program, at.material, at.weights, at.frozen, elr=elr, steps=8, every=4)
    size = np.array(track.step_size)
    assert track.cosine == pytest.approx(1 / np.sqrt(1 + size**2), rel=1e-12)
    assert size.min() > 1e-5
    assert float(track.weights.norm()) == pytest.approx(float(at.weights.norm()))


def test_training_goes_on_as_written_out(at: Place) -> None:
    """The numbers of one step against autograd, and what is noted when."""
    found = walks.training(OneRun(at), at.state, elr=0.05, steps=6, every=3)
    assert found["step"].values.tolist() == list(range(6))
    assert found["moment"].values.tolist() == [0, 3, 6]
    loss, accuracy = at.program.train_mode_metrics(at.weights, at.frozen, *at.batches)
    assert float(found["train_loss"][0]) == float(loss)
    assert float(found["train_error"][0]) == 1 - float(accuracy)
    expected = []
    for x, y in zip(*at.batches, strict=True):
        mean = outputs(at.program, at.weights[0], at.frozen, x).double().mean(0)
        expected.append(float(-torch.log_softmax(mean, 0)[y].mean()))
    assert float(found["constant_loss"][0]) == pytest.approx(np.mean(expected), rel=1e-9)
    x, y = shuffled_batches(at.material, 0)(0)
    gradient, batch_loss, _ = at.program.gradients(at.weights, at.frozen, x, y)
    assert float(found["step_loss"][0]) == float(batch_loss)
    assert float(found["step_size"][0]) == pytest.approx(float(0.05 * gradient.norm() * at.weights.norm()))
    assert float(found["train_loss"][2]) != float(found["train_loss"][0])


def test_batches_are_an_epoch_and_their_order_comes_from_the_seed(at: Place) -> None:
    epoch = [shuffled_batches(at.material, 0)(step)[0] for step in range(4)]
    seen = torch.cat(epoch, 1)[0]
    assert torch.equal(seen.sort(0).values, at.material.train_x.sort(0).values)
    assert not torch.equal(epoch[0], shuffled_batches(at.material, 1)(0)[0])


def test_a_random_walk_forgets_as_the_theory_says() -> None:
    """E cos over k steps is (1 + s^2)^(-k/2), a cosine's spread about it at most 1 / sqrt(P): 5 standard errors of the mean
    over the stretches of 300 steps that do not overlap."""
    at = place(mlp(hidden=(8, 8)))
    sizes, parameters = np.full(5, 0.4), at.weights.shape[1]
    weights, path = at.weights, [at.weights[0]]
    for part in range(60):
        track = walks.walk_from(at.program, at.material, weights, at.frozen, step_sizes=sizes, every=1000, seed=part)
        assert track.cosine == pytest.approx(1 / np.sqrt(1 + sizes**2), rel=1e-12)
        weights = track.weights
        path.append(weights[0])
    for parts in (1, 2, 4):
        expected = walks.expected_cosine(np.full(300, 0.4), 5 * parts)[0]
        assert expected == pytest.approx(1.16 ** (-5 * parts / 2))
        error = 5 / np.sqrt(parameters * 60 / parts)
        assert float(geometry.step_cosines(torch.stack(path), parts).mean()) == pytest.approx(expected, abs=error)
        assert error < 0.6 * expected  # so it is told from a walk that forgets at once


def test_expected_cosines_of_uneven_steps() -> None:
    sizes = np.array([0.0, 1.0, np.sqrt(3.0)])
    assert walks.expected_cosine(sizes, 1) == pytest.approx([1, 0.5**0.5, 0.5])
    assert walks.expected_cosine(sizes, 2) == pytest.approx([0.5**0.5, 0.5**1.5])


@pytest.mark.parametrize("size", [0.3, 3.0])
def test_successive_updates_of_a_walk_turn_back_as_the_theory_says(at: Place, size: float) -> None:
    """Their mean cosine over 400 steps, within 5 standard errors of 1 / sqrt(P) each; and it is told from none and from half of
    it where steps are large."""
    sizes = np.linspace(0.8, 1.2, 401) * size
    track = walks.walk_from(at.program, at.material, at.weights, at.frozen, step_sizes=sizes, every=401)
    expected, error = walks.expected_update_cosine(sizes), 5 / np.sqrt(at.weights.shape[1] * 400)
    assert np.isnan(track.update_cosine[0])
    assert np.isnan(expected[0])
    assert track.update_cosine[1:].mean() == pytest.approx(expected[1:].mean(), abs=error)
    short = 1 - 1 / np.sqrt(1 + sizes**2)
    assert expected[7] == pytest.approx(-np.sqrt(short[6] * short[7]) / 2)
    assert size < 1 or expected[1:].mean() < -3 * error
    assert walks.expected_update_cosine([0.5]).shape == (1,)


def test_cosines_are_noted_between_neighbours(at: Place) -> None:
    """Against the weights of a training that is stopped and written down after each step."""
    path = [at.weights[0].double()]
    for steps in (1, 2, 3, 4):
        path.append(
            walks.train_on(at.program, at.material, at.weights, at.frozen, elr=2.0, steps=steps, every=9)
            .weights[0]
            .double()
        )
    moves = [b - a for a, b in pairwise(path)]
    track = walks.train_on(at.program, at.material, at.weights, at.frozen, elr=2.0, steps=4, every=2)
    cosine = torch.nn.functional.cosine_similarity
    turns = [float(cosine(a, b, dim=0)) for a, b in pairwise(moves)]
    assert track.update_cosine[1:] == pytest.approx(turns, abs=1e-4)
    lags = [float(cosine(path[k], path[k + 2], dim=0)) for k in (0, 2)]
    assert track.moment_cosine[1:] == pytest.approx(lags, abs=1e-5)
    assert np.isnan(track.moment_cosine[0])


def test_a_walk_at_a_learning_rate_takes_the_gradients_length(at: Place) -> None:
    found = walks.random_walk(OneRun(at), at.state, elr=0.05, steps=4, every=2)
    trained = walks.training(OneRun(at), at.state, elr=0.05, steps=4, every=2)
    assert float(found["step_size"][0]) == pytest.approx(float(trained["step_size"][0]), rel=1e-12)
    assert float(found["step_loss"][0]) == float(trained["step_loss"][0])
    assert float(found["step_size"][2]) != pytest.approx(float(trained["step_size"][2]), rel=1e-3)
    copied = walks.random_walk(OneRun(at), at.state, step_sizes=trained["step_size"].values, every=2)
    assert copied["step_size"].values == pytest.approx(trained["step_size"].values, rel=1e-12)
    assert copied["cosine"].values == pytest.approx(trained["cosine"].values, rel=1e-12)
    assert np.isnan(copied["step_loss"].values).all()
    assert float(copied["train_loss"][-1]) != pytest.approx(float(trained["train_loss"][-1]), rel=1e-3)
    other = walks.random_walk(OneRun(at), at.state, step_sizes=trained["step_size"].values, every=2, seed=1)
    assert float(copied["train_loss"][-1]) != float(other["train_loss"][-1])


def test_unusable_walks_are_refused(at: Place) -> None:
    with pytest.raises(LrscopeError, match=r"give elr=0\.1 with steps=None"):
        walks.random_walk(OneRun(at), at.state, elr=0.1, every=1)
    with pytest.raises(LrscopeError, match="steps: 0 is too small"):
        walks.training(OneRun(at), at.state, elr=0.1, steps=0, every=1)
    with pytest.raises(LrscopeError, match="step_sizes"):
        walks.random_walk(OneRun(at), at.state, step_sizes=[0.1, -0.1], every=1)
    plain = place(mlp(), space="whole", steps=0)
    with pytest.raises(LrscopeError, match="not scale-invariant"):
        walks.training(OneRun(plain), plain.state, elr=0.1, steps=1, every=1)
    with pytest.raises(LrscopeError, match="not scale-invariant"):
        equilibrium.identities(OneRun(plain), plain.state, elr=0.1, steps=1)


def test_the_identities_hold_to_rounding(at: Place) -> None:
    found = equilibrium.identities(OneRun(at), at.state, elr=0.3, steps=12)
    assert set(found) == {"eq3", "eq4", "eq5", "radial"}
    assert max(found.values()) < 1e-11, found


def test_a_norm_with_eps_shows_in_what_rests_on_invariance() -> None:
    def model() -> MLP:
        found = MLP((4, 6, 5, 3))
        found.norms[0].eps = 1e-2  # type: ignore[union-attr, assignment]
        return found

    at = place(task_of(model, (4,)))
    found = equilibrium.identities(OneRun(at), at.state, elr=0.3, steps=12)
    assert found["eq3"] < 1e-11 > found["eq4"]
    assert 1e-5 < found["radial"] < 0.1
    assert found["eq5"] > 1e-5


def test_wrong_records_show() -> None:
    """Each residual notices what it is about."""
    at = place(mlp())
    good = equilibrium.record(at.program, at.material, at.weights, at.frozen, elr=0.3, steps=4)
    kinds = {
        "eq3": {"total_norms": good.total_norms * 1.01},
        "eq4": {"total_gradient_norms": good.total_gradient_norms * 1.01},
        "eq5": {"gradient_norms": good.gradient_norms.flip(1), "total_gradient_norms": good.total_gradient_norms},
    }
    for name, change in kinds.items():
        wrong = equilibrium.Record(**{**vars(good), **change})
        assert equilibrium.residuals(wrong)[name] > 1e-3, name


def test_float32_is_refused(at: Place) -> None:
    with pytest.raises(LrscopeError, match="float64"):
        equilibrium.record(at.program, at.material, at.weights.float(), at.frozen, elr=0.1, steps=1)


def test_the_spread_of_step_sizes() -> None:
    early, late = [[1.0, 9.0]] * 6, [[2.0, 3.0], [4.0, 6.0]]
    ended = [[1.0, 1.0]] * 7 + [[np.nan, np.nan]]
    ess = xr.DataArray([early + late, ended], dims=("seed", "epoch", "group"))
    found = equilibrium.ess_spread(ess)
    assert found.values == pytest.approx([1.5, np.nan], nan_ok=True)
    assert float(equilibrium.ess_spread(ess, final=1.0)[0]) == pytest.approx((54 + 9) / (6 + 6))
    with pytest.raises(LrscopeError, match="final: 0"):
        equilibrium.ess_spread(ess, final=0)
    with pytest.raises(LrscopeError, match="epoch and group"):
        equilibrium.ess_spread(ess[:, 0])
