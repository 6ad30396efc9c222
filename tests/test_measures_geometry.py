"""Lines, barriers and angles on cases with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lrscope.errors import LrscopeError
from lrscope.measures import geometry
from lrscope.trained import State
from measured import OneRun, mlp, place


def test_a_line_has_its_ends_and_equal_steps() -> None:
    a, b = torch.randn(2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path = geometry.line(a, b, 11)
    assert path.shape == (11, 7)
    assert torch.equal(path[0], a)
    assert torch.equal(path[-1], b)
    assert torch.allclose(path.diff(dim=0), ((b - a) / 10).expand(10, 7))


def test_a_line_moved_out_to_the_sphere_keeps_directions_and_norms() -> None:
    a, b = torch.randn(2, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a, b = 2 * a / a.norm(), 2 * b / b.norm()
    plain, out = geometry.line(a, b, 5), geometry.line(a, b, 5, on_sphere=True)
    assert out.norm(dim=1) == pytest.approx(torch.full((5,), 2.0).double())
    assert float(plain[2].norm()) < 1.9
    assert geometry.angles(plain, out) == pytest.approx(torch.zeros(5), abs=1e-12)
    with pytest.raises(LrscopeError, match=r"on_sphere: .*opposite"):
        geometry.line(a, -a, 5, on_sphere=True)


def test_a_barrier_is_the_height_above_the_straight_line() -> None:
    share = np.linspace(0, 1, 11)
    hill = np.where(np.arange(11) == 3, 2.0, 0.0)
    assert geometry.barrier(hill + 5 - 4 * share) == pytest.approx(2.0)
    assert geometry.barrier(5 - 4 * share) == pytest.approx(0.0, abs=1e-14)
    assert geometry.barrier(3 - share + share**2) == 0.0  # convex: below the line
    both = np.stack([hill + share, 2 * hill - share], 1)
    assert geometry.barrier(both, axis=0) == pytest.approx([2.0, 4.0])
    assert np.isnan(geometry.barrier([0.0, np.nan, 0.0]))


def test_angles_are_exact_where_the_arc_cosine_is_not() -> None:
    small = torch.tensor([[1.0, 0.0], [math.cos(1e-9), math.sin(1e-9)]], dtype=torch.float64)
    assert float(geometry.angles(small[0], 3 * small[1])) == pytest.approx(1e-9, rel=1e-6)
    a = torch.tensor([[1.0, 0.0]] * 4, dtype=torch.float64)
    b = torch.tensor([[0.0, 2.0], [-1.0, 0.0], [1.0, 1.0], [5.0, 0.0]], dtype=torch.float64)
    assert geometry.angles(a, b) == pytest.approx(torch.tensor([math.pi / 2, math.pi, math.pi / 4, 0.0]).double())


def test_each_group_has_its_angle() -> None:
    first = torch.tensor([[1.0, 0.0, 1.0, 0.0, 7.0]])
    second = torch.tensor([[0.0, 3.0, 1.0, 1.0, -7.0]])
    found = geometry.group_angles(first, second, (((0, 2),), ((2, 4),), ((4, 5),)))
    assert found[0].numpy() == pytest.approx([math.pi / 2, math.pi / 4, math.pi])
    joined = geometry.group_angles(first, second, (((0, 2), (4, 5)),))
    assert float(joined[0, 0]) == pytest.approx(math.acos(-49 / math.sqrt(50 * 58)))


def test_step_cosines_of_a_turning_vector() -> None:
    turn = torch.linspace(0, 3, 7, dtype=torch.float64)
    path = torch.stack([turn.cos(), turn.sin()], 1) * torch.arange(1, 8)[:, None]
    assert geometry.step_cosines(path) == pytest.approx(torch.full((6,), math.cos(0.5)).double())
    assert geometry.step_cosines(path, lag=3) == pytest.approx(torch.full((4,), math.cos(1.5)).double())
    with pytest.raises(LrscopeError, match="lag: 7"):
        geometry.step_cosines(path, lag=7)


def test_between_two_states_measures_what_the_program_measures() -> None:
    near, far = place(mlp(), steps=2), place(mlp(), steps=6)
    found = geometry.between(OneRun(near), near.state, far.state, points=5)
    assert found.sizes == {"position": 5}
    for where, at in ((0, near), (4, far)):
        loss, accuracy = at.program.train_mode_metrics(at.weights, at.frozen, *at.batches)
        test_loss, test_accuracy = at.material.test_metrics(at.program, at.weights, at.frozen)
        assert found["train_loss"].values[where] == pytest.approx(float(loss))
        assert found["train_error"].values[where] == pytest.approx(1 - float(accuracy))
        assert found["test_loss"].values[where] == pytest.approx(float(test_loss))
        assert found["test_error"].values[where] == pytest.approx(1 - float(test_accuracy))
    middle = (near.weights + far.weights) / 2
    loss, _ = near.material.test_metrics(near.program, middle, near.frozen)  # its own population statistics
    assert found["test_loss"].values[2] == pytest.approx(float(loss))
    assert float(found["barrier_train_loss"]) == float(geometry.barrier(found["train_loss"].values))
    assert float(found["angle"]) == pytest.approx(float(geometry.angles(near.weights, far.weights)))
    assert len(set(found["train_loss"].values)) == 5


def test_an_invariant_net_does_not_care_for_the_sphere() -> None:
    near, far = place(mlp(), steps=1), place(mlp(), steps=6)
    plain = geometry.between(OneRun(near), near.state, far.state, points=4)
    out = geometry.between(OneRun(near), near.state, far.state, points=4, on_sphere=True)
    for name in plain.data_vars:
        assert plain[name].values == pytest.approx(out[name].values, rel=1e-9), name


def test_states_of_different_seeds_are_refused() -> None:
    at, other = place(mlp()), place(mlp(), seed=4)
    with pytest.raises(LrscopeError, match=r"readout\.\w+ differs.*same seed"):
        geometry.between(OneRun(at), at.state, other.state)
    with pytest.raises(LrscopeError, match="points: 1"):
        geometry.between(OneRun(at), at.state, State(other.weights, at.frozen), points=1)
