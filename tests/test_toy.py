"""The toy function of three_regimes (eq. 6, 7) under the library's step on the sphere: thresholds as the proofs say.

F(x, y) = sum_i alpha_i x_i^2 / (x_i^2 + y_i^2); weights are (x_1, y_1, ..., x_n, y_n) on the unit sphere, so lr = ELR.
R runs (an ELR and a starting point each), n pairs, T kept steps.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from lrscope.studies.three_regimes import toy
from lrscope.studies.three_regimes.toy import ALPHA, THRESHOLD, Recorded, gradient, values
from lrscope.tasks.streams import generator

STARTS = 4


@cache
def optimise(alpha: tuple[float, ...], elrs: tuple[float, ...], steps: int, keep: int) -> Recorded:
    """Recorded for the tests that share it."""
    return toy.optimise(alpha, elrs, steps, keep=keep, starts=STARTS)


def test_starting_points_are_those_of_a_seed() -> None:
    def starts(**words: int) -> np.ndarray:
        return toy.optimise((1.0,), (0.1,), 1, keep=1, starts=STARTS, **words).values.numpy()

    assert np.array_equal(starts(), starts(seed=0))
    assert not np.isin(starts(seed=1000), starts()).any()


def test_the_gradient_is_the_gradient() -> None:
    alpha = torch.tensor(ALPHA, dtype=torch.float64)
    weights = torch.randn(3, 6, generator=generator("tests", "toy gradient"), dtype=torch.float64).requires_grad_()
    (found,) = torch.autograd.grad(values(weights, alpha).sum(), weights)
    torch.testing.assert_close(gradient(weights.detach(), alpha), found)


# -- TR3: Proposition 1, one pair ----------------------------------------------------------------------------------

BELOW = (0.05, 0.3, 0.8, 0.95)  # shares of 1/alpha
ABOVE = (1.02, 1.1, 1.5, 2.0, 5.0, 10.0)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_one_pair_converges_linearly_below_one_over_alpha(alpha: float) -> None:
    kept = optimise((alpha,), tuple(s / alpha for s in BELOW), 300, 40)
    r = (kept.values / (alpha - kept.values)).sqrt()[..., 0]  # |x / y|, eq. 17
    rate = (r[-1] / r[0]) ** (1 / 39)
    # Eq. 20 with r at 0.
    np.testing.assert_allclose(rate, np.abs(1 - 2 * np.array(BELOW))[:, None].repeat(STARTS, 1), rtol=1e-4)
    assert (kept.values[-1] < 1e-10).all()


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_one_pair_stabilises_at_its_level_above_one_over_alpha(alpha: float) -> None:
    elrs = tuple(s / alpha for s in ABOVE)
    kept = optimise((alpha,), elrs, 2000, 2)
    levels = (alpha - 1 / np.array(elrs)) / 2
    for values_at in kept.values[..., 0]:
        np.testing.assert_allclose(values_at, levels[:, None].repeat(STARTS, 1), rtol=1e-6)


# -- TR4: eq. 8 and 9, three pairs; ELRs 0.1, 0.2, 0.5 as in Fig. 2 --------------------------------------------------

ELRS = (0.1, 0.97 * THRESHOLD, 1.03 * THRESHOLD, 0.2, 0.5)
REGIME_1, JUST_BELOW, JUST_ABOVE, REGIME_2, REGIME_3 = range(5)


@pytest.fixture(scope="module")
def three_pairs() -> Recorded:
    return optimise(ALPHA, ELRS, 6000, 3000)


def equilibrium(elr: float) -> np.ndarray:
    return toy.equilibrium(elr).numpy()


@pytest.mark.slow
def test_threshold_lies_at_one_over_the_sum_of_alphas(three_pairs: Recorded) -> None:
    total = three_pairs.values.sum(-1)
    for below in (REGIME_1, JUST_BELOW):
        assert (total[:, below] < 1e-12).all()
    for above in (JUST_ABOVE, REGIME_2, REGIME_3):
        bound = (sum(ALPHA) - 1 / ELRS[above]) / 2  # eq. 25
        assert (total[:, above].mean(0) > 0.98 * bound).all()
        assert bound > 0.01


@pytest.mark.slow
def test_in_regime_2_the_function_stabilises_at_the_bound(three_pairs: Recorded) -> None:
    """All ESS equal: every subfunction is above its threshold, and eq. 25 is an equality."""
    for elr in (JUST_ABOVE, REGIME_2):
        level = (sum(ALPHA) - 1 / ELRS[elr]) / 2
        np.testing.assert_allclose(three_pairs.values[:, elr].sum(-1).mean(0), [level] * STARTS, rtol=2e-3)


def test_in_regime_2_mean_group_elrs_sit_at_equation_9(three_pairs: Recorded) -> None:
    for elr in (JUST_ABOVE, REGIME_2):
        means = three_pairs.elr_i[:, elr].mean(0)
        np.testing.assert_allclose(means, np.tile(equilibrium(ELRS[elr]), (STARTS, 1)), rtol=5e-3)


def test_in_regime_1_group_elrs_stop_early(three_pairs: Recorded) -> None:
    elr_i = three_pairs.elr_i[:, REGIME_1]
    assert ((elr_i.amax(0) - elr_i.amin(0)) < 1e-9).all(), "they stand still"
    assert (elr_i[-1] < 1 / torch.tensor(ALPHA)).all(), "each below its own threshold"
    astray = (elr_i[-1] / torch.tensor(equilibrium(ELRS[REGIME_1])) - 1).abs().amax(1)
    assert (astray > 0.05).all(), "and not at equation 9's values"
    assert elr_i[-1].std(0).max() > 0.05, "where they stop depends on the start"


def test_in_regime_3_there_is_no_equilibrium(three_pairs: Recorded) -> None:
    elr_i = three_pairs.elr_i
    spread = elr_i.std(0) / elr_i.mean(0)
    assert (spread[REGIME_2] < 0.1).all()
    assert (spread[REGIME_3] > 1.0).all()
    astray = elr_i[:, REGIME_3].mean(0) / torch.tensor(equilibrium(ELRS[REGIME_3]))
    assert (astray.amax(1) > 1.5).all()


@pytest.mark.parametrize("alpha", [(1.0, 1.0), (0.3, 0.7, 1.5, 2.5)])
def test_threshold_holds_for_other_functions(alpha: tuple[float, ...]) -> None:
    threshold = 1 / sum(alpha)
    kept = optimise(alpha, (0.9 * threshold, 1.1 * threshold), 2000, 1000)
    total = kept.values.sum(-1).mean(0)
    assert (total[0] < 1e-6).all()
    np.testing.assert_allclose(total[1], [(sum(alpha) - 1 / (1.1 * threshold)) / 2] * STARTS, rtol=1e-2)
