"""Curves read off at equal training loss: synthetic ones whose crossings are known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from lrscope.errors import LrscopeError
from lrscope.measures.alignment import at_loss, lowest_common_level

TIME = np.arange(10.0)
NAN = np.nan


def test_an_exponential_is_crossed_where_it_crosses() -> None:
    """loss = exp(-t / 2), value = 3 t + 1: both are what is interpolated, so the answer is exact between checkpoints."""
    levels = np.exp(-np.array([0.25, 1.0, 3.7]) / 2)
    assert at_loss(np.exp(-TIME / 2), 3 * TIME + 1, levels) == pytest.approx([1.75, 4.0, 12.1])


def test_a_power_law_of_the_loss_is_exact_in_logarithms() -> None:
    loss = np.array([2.0, 0.7, 0.05, 0.01])
    assert at_loss(loss, loss**1.5, [1.0, 0.2], logarithmic=True) == pytest.approx([1.0, 0.2**1.5])
    assert at_loss(loss, loss**1.5, [1.0])[0] != pytest.approx(1.0, rel=1e-3)


def test_the_first_crossing_counts_in_a_noisy_curve() -> None:
    loss = [4.0, 1.0, 3.0, 0.5, 2.0, 0.1]
    assert at_loss(loss, TIME[:6], [2.0]) == pytest.approx([0.5])
    assert at_loss(loss, TIME[:6], [0.75]) == pytest.approx([2 + np.log(4) / np.log(6)])


def test_a_checkpoint_at_the_level_is_taken_as_it_is() -> None:
    assert at_loss([4.0, 2.0, 1.0], [7.0, 8.0, 9.0], [4.0, 2.0, 1.0]) == pytest.approx([7, 8, 9], rel=0)
    assert at_loss([NAN, 2.0], [7.0, 8.0], [2.0]) == pytest.approx([8])


def test_what_was_not_seen_is_nan() -> None:
    never, from_the_start = [4.0, 3.0, 2.0], [0.5, 0.4, 0.3]
    assert np.isnan(at_loss([never, from_the_start], TIME[:3], [1.0])).all()
    assert np.isnan(at_loss([4.0, NAN, NAN], TIME[:3], [1.0])).all()
    assert np.isnan(at_loss([4.0, NAN, 0.5], TIME[:3], [1.0])).all()  # nobody knows where between
    assert np.isnan(at_loss([4.0, 0.5], [NAN, 1.0], [1.0])).all()


def test_a_nan_tail_does_not_hide_an_earlier_crossing() -> None:
    assert at_loss([4.0, 1.0, NAN, NAN], TIME[:4], [2.0]) == pytest.approx([0.5])


def test_a_loss_of_zero_is_crossed_at_once() -> None:
    """In logarithms zero is infinitely far down."""
    assert at_loss([4.0, 1.0, 0.0], TIME[:3], [0.5, 2.0]) == pytest.approx([1, 0.5])


def test_runs_are_read_off_independently() -> None:
    rng = np.random.default_rng(0)
    loss = np.exp(rng.normal(size=(3, 2, 40)) * 0.3 - np.linspace(0, 4, 40))
    loss[1, 0, 20:] = NAN
    value = rng.normal(size=loss.shape)
    levels = [0.5, 0.1, 0.03]
    found = at_loss(loss, value, levels)
    assert found.shape == (3, 2, 3)
    for i in range(3):
        for j in range(2):
            assert np.array_equal(found[i, j], at_loss(loss[i, j], value[i, j], levels), equal_nan=True)
    assert np.isfinite(found).sum() >= 15


def test_the_lowest_level_that_all_reach() -> None:
    loss = [[4.0, 1.0, 3.0], [2.0, 0.5, 0.7], [8.0, 1.5, NAN]]
    assert lowest_common_level(loss) == 1.5
    assert np.isfinite(at_loss(loss, TIME[:3], [1.5])).all()
    assert np.isnan(at_loss(loss, TIME[:3], [1.4999])).sum() == 1
    assert np.isnan(lowest_common_level([[1.0, 2.0], [NAN, NAN]]))


@pytest.mark.parametrize(
    ("loss", "values", "levels", "message"),
    [
        ([1.0, 0.5], [1.0, 2.0, 3.0], [0.7], r"values: shape \(3,\)"),
        ([1.0, -0.5], [1.0, 2.0], [0.7], r"train_loss: -0\.5 is negative"),
        ([1.0, 0.5], [1.0, 2.0], [0.0], r"levels: \[0\.0\]"),
        ([], [], [1.0], "no checkpoints"),
    ],
)
def test_unusable_curves_are_refused(loss: list[float], values: list[float], levels: list[float], message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        at_loss(loss, values, levels)


def test_logarithms_of_nothing_are_refused() -> None:
    with pytest.raises(LrscopeError, match=r"values: 0 is not positive"):
        at_loss([1.0, 0.5], [0.0, 1.0], [0.7], logarithmic=True)
