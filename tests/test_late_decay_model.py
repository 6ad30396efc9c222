"""late_decay's model y = |w|^gamma <w, x>: gradient, gradient flow and its invariant, drift along the manifold, landscapes.

S data sets, R runs on each, N examples, d dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from lrscope.dynamics.descend import descend
from lrscope.dynamics.objective import Objective
from lrscope.errors import LrscopeError
from lrscope.studies.late_decay.drift import attracts, drift, label_noise_drift, label_noise_rate, predicted_change
from lrscope.studies.late_decay.flow import gradient_flow
from lrscope.studies.late_decay.invariant import destination, distance_of, log_invariant
from lrscope.studies.late_decay.norm_power import NormPower, predictors, weights_of
from lrscope.studies.late_decay.problems import Problems, directions, sample
from lrscope.studies.late_decay.slices import model_landscape

GAMMAS = [0.0, 0.5, 1.0, 2.0, 4.0]


@cache
def problems(sets: int = 2, examples: int = 4, dimension: int = 8) -> Problems:
    return sample(examples, dimension, seeds=range(sets))


def start(model: NormPower, norm: float = 1.2) -> Tensor:
    """Points [S R, d], predictors of one norm for all gammas."""
    alpha = norm * directions(model.problems)[:, None].expand(-1, model.count, -1)
    return weights_of(alpha, model.gamma).reshape(-1, model.size)


def literal(model: NormPower, points: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Half the mean squared errors of single runs, as the paper writes the model: [S R], for x [S, B, d] and y [S, R, B]."""
    losses = []
    for row, w in enumerate(points):
        on, run = divmod(row, model.count)
        output = w.norm() ** model.gamma[run, 0] * (x[on] @ w)
        losses.append(0.5 * (output - y[on, run]).square().mean())
    return torch.stack(losses)


# -- data ----------------------------------------------------------------------------------------------------------------


def test_minimum_norm_interpolators_are_those_of_the_pseudoinverse() -> None:
    data = problems()
    torch.testing.assert_close(data.minimum_norm, (torch.linalg.pinv(data.x) @ data.labels[..., None])[..., 0])
    alpha = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    off, along = data.parts(alpha)
    torch.testing.assert_close(off + along, alpha - data.minimum_norm[:, None])
    torch.testing.assert_close(((alpha - off) @ data.x.mT), data.labels[:, None].expand(-1, 3, -1))
    assert (along @ data.x.mT).abs().max() < 1e-12


def test_a_seed_names_a_data_set() -> None:
    one, two = sample(4, 8, seeds=[1]), problems()
    assert torch.equal(one.x[0], two.x[1])
    assert torch.equal(one.teacher[0], two.only(1).teacher[0])
    assert not torch.equal(two.x[0], two.x[1])
    assert float(sample(4, 8, seeds=[1], teacher_norm=3.0).teacher.norm()) == pytest.approx(3)


# -- the objective -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_the_gradient_is_that_of_autograd(batch: int | None) -> None:
    noise = [0.0, 0.3, 0.0, 0.7, 0.1]
    model = NormPower(problems(), GAMMAS, batch=batch, label_noise=noise)
    assert isinstance(model, Objective)
    points = start(model)
    for step in (0, 5, 2000):
        gradient, loss = model.gradient(points, step)
        x, labels, drawn = model._drawn.at(step)
        assert drawn is not None
        y = labels[:, None] + torch.tensor(noise, dtype=torch.float64)[:, None] * drawn[:, None]
        free = points.clone().requires_grad_()
        expected = literal(model, free, x, y)
        torch.testing.assert_close(loss, expected.detach())
        torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), free)[0])


def test_losses_and_sharpness_are_what_they_say() -> None:
    model = NormPower(problems(), GAMMAS)
    points, data = start(model), problems()
    y = data.labels[:, None].expand(-1, len(GAMMAS), -1)
    torch.testing.assert_close(model.loss(points), literal(model, points, data.x, y))
    x = torch.randn(1, 200_000, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).expand(2, -1, -1)
    new = literal(model, points, x, (x @ data.teacher[..., None])[:, None, :, 0].expand(-1, len(GAMMAS), -1))
    torch.testing.assert_close(model.test_loss(points), new, rtol=0.02, atol=0)
    solved = weights_of(data.minimum_norm[:, None].expand(-1, len(GAMMAS), -1), model.gamma).reshape(-1, 8)
    for row in range(len(solved)):
        one = NormPower(data.only(row // len(GAMMAS)), [GAMMAS[row % len(GAMMAS)]])
        hessian = torch.autograd.functional.hessian(lambda w, m=one: m.loss(w[None])[0], solved[row])
        assert float(hessian.trace()) == pytest.approx(float(model.sharpness(solved)[row]))


def test_weights_and_predictors_are_inverse() -> None:
    gamma = torch.tensor(GAMMAS, dtype=torch.float64)[:, None]
    alpha = 2 * directions(problems())[:, None].expand(-1, len(GAMMAS), -1)
    torch.testing.assert_close(predictors(weights_of(alpha, gamma), gamma), alpha)
    assert torch.equal(weights_of(torch.zeros(1, 3), 2.0), torch.zeros(1, 3))
    at_zero, _ = NormPower(problems(1), [2.0]).gradient(torch.zeros(1, 8, dtype=torch.float64), 0)
    assert torch.equal(at_zero, torch.zeros(1, 8, dtype=torch.float64))


def test_batches_are_those_of_a_seed_and_a_step() -> None:
    whole = NormPower(problems(), [1.0, 2.0], batch=2, label_noise=[0.5])
    alone = NormPower(sample(4, 8, seeds=[1]), [2.0], batch=2, label_noise=[0.5])
    for step in (0, 1500):
        of_both = whole._drawn.at(step)
        for both, one in zip(of_both, alone._drawn.at(step), strict=True):
            assert both is not None
            assert one is not None
            assert torch.equal(both[1], one[0])
    assert not torch.equal(whole._drawn.at(0)[1], whole._drawn.at(1)[1])


# -- gamma = 0 -----------------------------------------------------------------------------------------------------------


def test_the_linear_model_ends_where_least_squares_says() -> None:
    """alpha_min and what the start has outside the examples' span, by full gradients; phase II then does nothing."""
    model = NormPower(problems(), [0.0])
    begin = start(model)
    found = descend(model, begin, 0.1, 4000).weights
    expected = problems().minimum_norm + problems().parts(begin[:, None])[1][:, 0]
    torch.testing.assert_close(found, expected)
    noisy = NormPower(problems(), [0.0], batch=1, label_noise=[1.0])
    walked = descend(noisy, begin, 0.02, 500).weights
    torch.testing.assert_close(problems().parts(walked[:, None])[1], problems().parts(begin[:, None])[1])
    assert not torch.allclose(walked, begin, atol=0.05)


# -- gradient flow and what it conserves ---------------------------------------------------------------------------------


def test_gradient_flow_is_the_limit_of_small_steps() -> None:
    model = NormPower(problems(), GAMMAS, batch=1, label_noise=[0.5])
    whole, begin = NormPower(problems(), GAMMAS), start(model)
    flow = gradient_flow(model, begin, [0.0, 0.25, 0.5])
    torch.testing.assert_close(flow[0], begin)
    errors = []
    for steps in (400, 800):
        small = descend(whole, begin, 0.5 / steps, steps).weights
        errors.append(float((small - flow[2]).norm()))
    assert errors[1] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2), "the error of Euler's method is of first order"


def test_gradient_flow_conserves_the_invariant_and_ends_at_the_destination() -> None:
    model = NormPower(problems(), GAMMAS)
    begin = start(model)
    flow = gradient_flow(model, begin, [0.5, 400.0])
    for points in flow:
        torch.testing.assert_close(log_invariant(model, points), log_invariant(model, begin), rtol=0, atol=1e-7)
    off, along = (part.norm(dim=-1) for part in problems().parts(model.predictors(flow[1])))
    assert off.max() < 1e-6
    torch.testing.assert_close(along, destination(model, begin), rtol=1e-5, atol=0)


def test_destinations_far_and_near() -> None:
    gamma, least = torch.tensor([0.0, 1.0, 4.0, 64.0], dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    s = gamma * (2 + gamma) / (1 + gamma).square()
    for distance in (1e-12, 0.3, 5.0, 1e4):
        log = np.log(distance) - s / 2 * np.log(0.49 + distance**2)
        expected = torch.full((4,), distance, dtype=torch.float64)
        torch.testing.assert_close(distance_of(log, gamma, least), expected, rtol=1e-7, atol=0)
    assert torch.equal(distance_of(torch.tensor([-torch.inf]).double(), gamma[1:2], least), torch.zeros(1).double())
    assert distance_of(torch.tensor([torch.nan]).double(), gamma[1:2], least).isnan().all()


# -- drift ---------------------------------------------------------------------------------------------------------------


def test_drift_is_predicted_by_the_length_of_the_steps() -> None:
    data = sample(20, 40, seeds=[0, 1])
    model = NormPower(data, GAMMAS, batch=1, label_noise=[0.5])
    begin = descend(model, start(model), 2e-3, 200).weights
    found = drift(model, begin, 2e-3, 600, windows=3)
    assert np.abs(found.measured[..., 0]).max() < 1e-12, "the linear model does not move along the manifold"
    moved = found.measured[..., 1:]
    assert (moved < -1e-3).all()
    np.testing.assert_allclose(found.predicted[..., 1:], moved, rtol=0.03)
    radial_left_out = found.predicted[..., 1:] * (1 + 1 / 1.5)
    assert not np.allclose(radial_left_out, moved, rtol=0.03)


def test_full_gradients_move_along_the_manifold_only_while_they_are_unstable() -> None:
    """Without noise a stable rate stands still after phase I. At an unstable one the weights swing along w, which moves away."""
    model = NormPower(sample(20, 40, seeds=[0]), [2.0, 2.0])
    begin = weights_of(1.5 * directions(model.problems)[:, None].expand(-1, 2, -1), model.gamma).reshape(-1, 40)
    found = drift(model, begin, torch.tensor([0.16, 0.2], dtype=torch.float64), 300, windows=3)
    stable, unstable = found.measured[:, 0].T
    assert stable[0] < -0.1
    assert np.abs(stable[1:]).max() < 1e-4
    assert (unstable[1:] > 0.03).all()
    np.testing.assert_allclose(found.predicted[1:, 0, 1], unstable[1:], rtol=0.1)


def test_label_noise_flows_down_the_sharpness() -> None:
    """The rate is minus lr^2 noise^2 / 4 times the slope of the trace in the manifold's metric, by finite differences."""
    data = problems()
    model = NormPower(data, [0.5, 1.0, 3.0], batch=1, label_noise=[0.4])
    unit = data.parts(directions(data)[:, None])[1]
    unit = unit / unit.norm(dim=-1, keepdim=True)

    def weights(along: Tensor) -> Tensor:
        return weights_of(data.minimum_norm[:, None] + along[..., None] * unit, model.gamma)

    along, small = torch.full((2, 3), 0.6, dtype=torch.float64), 1e-5
    high, low = weights(along + small), weights(along - small)
    speed = (high - low).norm(dim=-1) / (2 * small)  # of w, for a unit of `along`
    slope = (model.sharpness(high.view(-1, 8)) - model.sharpness(low.view(-1, 8))).view(2, 3) / (2 * small)
    expected = -(0.01**2) * 0.4**2 / 4 * slope / speed.square() / along
    torch.testing.assert_close(label_noise_rate(model, 0.01, along), expected, rtol=1e-5, atol=0)


@pytest.mark.slow
def test_label_noise_carries_runs_as_the_slow_flow_says() -> None:
    data = sample(20, 40, seeds=range(4))
    model = NormPower(data, [1.0, 3.0], batch=1, label_noise=[1.0])
    begin = weights_of((data.minimum_norm[:, None] + data.parts(directions(data)[:, None])[1]), model.gamma)
    begin = begin.reshape(-1, 40)
    reached = destination(model, descend(model, begin, 2e-3, 4000).weights)
    predicted = label_noise_drift(model, 2e-3, destination(model, begin), [1000.0, 4000.0])[1]
    np.testing.assert_allclose(reached.numpy(), predicted, rtol=0.06)
    assert (predicted < 0.9 * destination(model, begin).numpy()).all()


def test_where_label_noise_leads() -> None:
    """With many examples to the minimum-norm interpolator; with few, and a large gamma, away from it."""
    model = NormPower(sample(20, 40, seeds=range(50)), [1.0, 4.0])
    assert attracts(model).double().mean() > 0.95
    few = NormPower(sample(2, 40, seeds=range(50), teacher_norm=1.0), [1.0, 8.0])
    assert attracts(few)[:, 1].double().mean() < 0.1
    near = torch.full((50, 2), 1e-3, dtype=torch.float64)
    noisy = NormPower(few.problems, [1.0, 8.0], batch=1, label_noise=[0.1])
    assert torch.equal(label_noise_rate(noisy, 1e-3, near) < 0, attracts(few))


def test_a_step_along_w_pulls_less_than_it_pushes() -> None:
    assert float(predicted_change(1.0, 0.04, 0.0)) == pytest.approx(-0.01)
    assert float(predicted_change(1.0, 0.0, 0.04)) == pytest.approx(0.005)
    assert float(predicted_change(0.0, 0.04, 0.02)) == 0


# -- landscapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_landscapes_have_an_open_manifold_and_a_closed_test_minimum(gamma: float) -> None:
    found = model_landscape(problems(), gamma, extent=2.5, points=61)
    assert found["train_loss"].dims == ("y", "x")
    plane_x, plane_y = found["manifold"].values.T
    assert plane_y.min() < -2.3
    assert plane_y.max() > 2.3
    assert (np.diff(plane_y) > 0).all()
    weights = found["manifold"].values
    norm = np.linalg.norm(weights, axis=1)
    np.testing.assert_allclose(norm**gamma * plane_x, float(problems().minimum_norm[0].norm()), rtol=1e-9)
    best = found["test_loss"].argmin(["y", "x"])
    at = [float(found[axis][best[axis]]) for axis in ("x", "y")]
    np.testing.assert_allclose(at, found["teacher"], atol=0.09)  # a cell of the grid
    edge = np.concatenate([found["test_loss"].values[[0, -1]].ravel(), found["test_loss"].values[:, [0, -1]].ravel()])
    assert edge.min() > 10 * float(found["test_loss"].min() + 1e-3)
    if gamma == 0:
        np.testing.assert_allclose(plane_x, plane_x[0])
    else:
        assert plane_x.max() == pytest.approx(found["minimum_norm"].values[0], rel=1e-3)


# -- misuse --------------------------------------------------------------------------------------------------------------

MODEL = NormPower(sample(2, 4, seeds=[0]), [1.0], batch=1, label_noise=[0.1])
HERE = torch.ones(1, 4, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: sample(4, 4, seeds=[0]),
            "examples: 4 in 4 dimensions leave at most one interpolator: use fewer than 4",
        ),
        (lambda: sample(2, 4, seeds=[]), "seeds: there are none: pass one for each data set"),
        (lambda: NormPower(problems(), []), "gamma: there is none: pass one for each run"),
        (lambda: NormPower(problems(), [-1.0]), "gamma: -1 is outside"),
        (lambda: NormPower(problems(), [1.0], batch=0), "batch: 0 is too small"),
        (lambda: NormPower(problems(), [1.0], label_noise=[1, 2]), "label_noise: 2 values for 1 runs"),
        (lambda: NormPower(None, [1.0]), "problems: None is not a"),  # type: ignore[arg-type]
        (lambda: gradient_flow(MODEL, HERE[:, :3], [1]), "start: its shape is (1, 3): pass finite weights [1 runs, 4"),
        (lambda: gradient_flow(MODEL, HERE, [1, 1]), "times: these do not increase"),
        (lambda: drift(MODEL, HERE, 0.1, 10, windows=3), "windows: 3 do not divide 10 steps: use a divisor"),
        (lambda: label_noise_drift(MODEL, 0.1, HERE, [1]), "along: its shape is (1, 4)"),
        (lambda: label_noise_drift(MODEL, 0.1, HERE[:, :1], [2, 1]), "at: these are no increasing"),
        (lambda: model_landscape(problems(), 1.0, points=1), "points: 1 along an axis draw nothing: use 2 or more"),
        (lambda: model_landscape(problems(), 1.0, extent=0), "extent: 0 is outside"),
    ],
)
def test_misuse_is_one_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(LrscopeError) as caught:
        call()
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)
