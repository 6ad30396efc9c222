"""Level sets along the floor of a valley, on planted ones that a grid's rows miss."""

from __future__ import annotations

import numpy as np
import pytest

from lrscope.landscapes.level_sets import level_set
from lrscope.studies.late_decay.valleys import FINER, finer_rows, valley_set

X, Y = np.linspace(-2, 2, 21), np.linspace(-2, 2, 9)
FLAT = np.zeros(len(X))
BOWL = X**2


def valley(floor: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A valley along y = x / 3, narrower than rows are apart, whose floor at each column is given."""
    return np.asarray(floor + 100 * (y - x / 3) ** 2 + 1)


def read(floor: np.ndarray, level: float):
    values = valley(floor, X, Y[:, None])
    finer = valley(floor[:, None], X[:, None], finer_rows(values, Y))
    return valley_set(values, finer, level)


def test_the_floor_is_looked_for_between_the_rows_beside_the_lowest() -> None:
    values = valley(FLAT, X, Y[:, None])
    rows = finer_rows(values, Y)
    assert rows.shape == (len(X), 2 * FINER - 1)
    apart = (Y[1] - Y[0]) / FINER
    assert (np.abs(rows - X[:, None] / 3).min(1) <= apart / 2 + 1e-9).all()
    assert rows.min() > Y[0]
    assert rows.max() < Y[-1]


def test_an_open_valley_that_the_grid_shows_closed() -> None:
    """What the grid alone sees of it is a row of holes."""
    values, level = valley(0.1 * BOWL, X, Y[:, None]), 4.0
    path = np.stack([X[4:17], X[4:17] / 3], 1)
    assert level_set(values, X, Y, path, np.full(13, level)).verdict != "open"
    assert read(0.1 * BOWL, level).verdict == "open"


@pytest.mark.parametrize(
    ("floor", "level", "verdict"),
    [
        (BOWL, 3.0, "closed"),
        (0.1 * BOWL, 8.0, "open"),
        (0.5 * BOWL, 5.0, "undetermined"),
        (-X, 3.0, "undetermined"),
        (BOWL, 0.5, "undetermined"),
        (100 * BOWL, 3.0, "undetermined"),
    ],
)
def test_valleys(floor: np.ndarray, level: float, verdict: str) -> None:
    """In order: a bowl; one whose ends are low; one between; a lowest point at the frame, which cannot be told from a bowl
    beyond it; a level below all; too few columns."""
    assert read(floor, level).verdict == verdict


def test_a_pass_may_lie_along_a_column() -> None:
    """Ends of the floor are high, and one column is low to its end."""
    values = valley(10 * BOWL, X, Y[:, None])
    values[:, 10] = np.minimum(values[:, 10], 1.5)
    found = valley_set(values, valley(10 * BOWL[:, None], X[:, None], finer_rows(values, Y)), 3.0)
    assert found.closing == pytest.approx(1.5)
    assert found.lowest == pytest.approx(1)


def test_what_is_not_finite_lies_above_every_level() -> None:
    values = valley(BOWL, X, Y[:, None])
    values[:, 0] = np.nan
    finer = valley(BOWL[:, None], X[:, None], finer_rows(values, Y))
    finer[0] = np.nan
    found = valley_set(values, finer, 3.0)
    assert np.isfinite([found.lowest, found.closing]).all()
    assert found.verdict == "closed"
