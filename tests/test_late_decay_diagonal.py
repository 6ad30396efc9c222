"""late_decay's diagonal linear networks: gradient, teachers, and schedules side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lrscope.errors import LrscopeError
from lrscope.studies.late_decay.diagonal import Diagonal, sparse_teachers
from lrscope.studies.late_decay.problems import sample
from lrscope.studies.late_decay.schedules import diagonal_ends

WORDS = {"lr": 5e-3, "label_noise": 1.0, "examples": 6, "dimension": 10}


def test_the_gradient_is_that_of_the_loss() -> None:
    problems = sparse_teachers(sample(4, 6, seeds=[0, 1]), 2)
    model = Diagonal(problems, 3)
    points = torch.randn(6, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gradient, loss = model.gradient(points.detach(), 0)
    literal = []
    for row, point in enumerate(points):
        u, v = point[:6], point[6:]
        x, labels = problems.x[row // 3], problems.labels[row // 3]
        literal.append(0.5 * (x @ (u * u - v * v) - labels).square().mean())
    (expected,) = torch.autograd.grad(torch.stack(literal).sum(), points)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(loss, torch.stack(literal).detach())
    torch.testing.assert_close(model.loss(points.detach()), loss)


def test_a_batch_of_one_with_noise() -> None:
    """Of an example whose label has the step's noise: the gradient's direction is that example."""
    problems = sample(4, 6, seeds=[3])
    model = Diagonal(problems, 1, batch=1, label_noise=0.5)
    gradient, loss = model.gradient(model.start(0.5), 7)
    x, labels, noise = model._drawn.at(7)
    assert noise is not None
    target = labels + 0.5 * noise
    torch.testing.assert_close(loss, 0.5 * target[0].square(), msg="the predictor is 0 at the start")
    torch.testing.assert_close(gradient[0, :6], -target[0] * x[0, 0])
    torch.testing.assert_close(gradient[0, 6:], target[0] * x[0, 0])


def test_teachers_of_few_entries_keep_their_length_and_label_the_examples() -> None:
    problems = sample(4, 6, seeds=range(3), teacher_norm=2.0)
    found = sparse_teachers(problems, 2)
    assert (found.teacher != 0).sum(1).tolist() == [2, 2, 2]
    torch.testing.assert_close(found.teacher.norm(dim=1), torch.full((3,), 2.0, dtype=torch.float64))
    torch.testing.assert_close(found.labels, torch.einsum("snd,sd->sn", found.x, found.teacher))
    with pytest.raises(LrscopeError, match="entries: 7 of a teacher in 6 dimensions: use 6 or fewer"):
        sparse_teachers(problems, 7)


def test_the_test_loss_is_half_the_squared_distance_from_the_teacher() -> None:
    problems = sparse_teachers(sample(4, 6, seeds=[0]), 2)
    model = Diagonal(problems, 1)
    u, v = problems.teacher.clamp_min(0).sqrt(), (-problems.teacher).clamp_min(0).sqrt()
    assert float(model.test_loss(torch.cat([u, v], 1))) == pytest.approx(0, abs=1e-12)
    assert float(model.test_loss(model.start(0.3))) == pytest.approx(0.5)


def test_schedules_end_alike_whatever_is_trained_beside_them() -> None:
    both = diagonal_ends(["constant", "linear"], range(2), steps=50, **WORDS)
    assert both["test_loss"].dims == ("schedule", "seed")
    alone = diagonal_ends(["linear"], [1], steps=50, **WORDS)
    for name in ("loss", "test_loss"):
        twin = both[name].sel(schedule="linear", seed=1).item()
        np.testing.assert_allclose(alone[name].item(), twin, rtol=1e-9)
    assert not np.allclose(both["loss"].sel(schedule="constant"), both["loss"].sel(schedule="linear"))


@pytest.mark.parametrize(("schedules", "seeds"), [([], [0]), (["constant"], [])])
def test_nothing_to_train_is_refused(schedules: list[str], seeds: list[int]) -> None:
    with pytest.raises(LrscopeError, match="there are none: pass at least one"):
        diagonal_ends(schedules, seeds, steps=5, **WORDS)
