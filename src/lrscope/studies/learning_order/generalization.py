"""Test errors and losses of a linear r with any g, as integrals: no test examples are drawn.

A fresh x1 of label y has y <w*, x1> = (1 + |h|) / sqrt(d) with Gaussian h, and is Gaussian with variance 1/d in all other
directions. So for r(x1) = <w, x1> the margin y r(x1) is ((1 + |h|) along + across n) / sqrt(d) with another Gaussian n, where
`along` is w's component along w* and `across` the norm of the rest. What is left is an integral over h; those over n, and over
the scale of Q where there is one, have closed forms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr, ndtr

from lrscope.checked import Count, checked

Array = np.ndarray[Any, Any]
NODES = 64  # ours: of Gauss-Legendre for h; the integrand is smooth
FARTHEST = 9.0  # ours: beyond this |h| lies 2e-19 of its distribution
FLAT = 1e-7  # ours: relative slope in the scale under which the mean over scales is its middle value
NOISE_NODES = 40  # ours: of Gauss-Hermite for n


@checked
def error_p(along: ArrayLike, across: ArrayLike) -> Array:
    """Test error on examples with P alone [...]: the mean over h of Phi(-(1 + |h|) along / across). 1/2 where both are 0.

    Args:
        along, across: [...]; only their ratio matters.
    """
    ratio = _ratio(np.asarray(along, float), np.asarray(across, float))
    h, weights = _half_gaussian()
    return np.asarray(ndtr(-ratio[..., None] * (1 + h)) @ weights)


@checked
def error_both(along: ArrayLike, across: ArrayLike, g: ArrayLike, dimension: Count) -> Array:
    """Test error on examples with P and Q [...].

    Args:
        along, across: of r [...].
        g: g(z - zeta), g(z), g(z + zeta) [..., 3].
        dimension: d.
    """
    a, b, outputs = np.asarray(along, float), np.asarray(across, float), np.asarray(g, float)
    push = outputs * np.array([-1.0, 1.0, -1.0]) * dimension**0.5  # y g sqrt(d): Q's part of the margin at scale 1
    least = 1e-9 * (np.abs(a) + np.abs(push).max(-1)) + 1e-300  # a Gaussian of no width, kept from dividing 0 by 0
    width = np.maximum(b, least)
    h, weights = _half_gaussian()
    start = -(a / width)[..., None, None] * (1 + h)  # [..., 1, H]
    slope = -(push / width[..., None])[..., None]  # [..., 3, 1]
    by_side = _mean_over_scales(start, slope) @ weights
    return np.asarray(by_side @ np.array([0.25, 0.5, 0.25]))


@checked
def loss_p(along: ArrayLike, across: ArrayLike, dimension: Count) -> Array:
    """Mean logistic loss (nat) on fresh examples with P alone [...]; arguments as in `error_both`."""
    a, b = np.asarray(along, float), np.asarray(across, float)
    h, weights = _half_gaussian()
    n, heights = np.polynomial.hermite_e.hermegauss(NOISE_NODES)
    margin = (a[..., None, None] * (1 + h)[:, None] + b[..., None, None] * n) / dimension**0.5
    return np.asarray(np.logaddexp(0, -margin) @ (heights / heights.sum()) @ weights)


def total_error(p_only: ArrayLike, q_only: ArrayLike, both: ArrayLike, *, p: float, q: float) -> Array:
    """Test error over the whole distribution, from those on its three kinds of examples."""
    return np.asarray(p * np.asarray(p_only) + q * np.asarray(q_only) + (1 - p - q) * np.asarray(both))


def _half_gaussian() -> tuple[Array, Array]:
    """Nodes and weights [H] for |h|, h standard normal."""
    x, weights = np.polynomial.legendre.leggauss(NODES)
    h = FARTHEST * (x + 1) / 2
    mass = weights * np.exp(-(h**2) / 2)
    return h, mass / mass.sum()


def _ratio(along: Array, across: Array) -> Array:
    """along / across, 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((along == 0) & (across == 0), 0.0, along / across)


def _mean_over_scales(start: Array, slope: Array) -> Array:
    """The mean of Phi(start + alpha slope) over alpha uniform in [0, 1]."""
    flat = np.abs(slope) < FLAT * (1 + np.abs(start))
    safe = np.where(flat, 1.0, slope)
    risen = (_ndtr_integral(start + safe) - _ndtr_integral(start)) / safe
    return np.where(flat, ndtr(start + slope / 2), np.clip(risen, 0, 1))


def _ndtr_integral(x: Array) -> Array:
    """The integral of Phi up to x: x Phi(x) + phi(x)."""
    return np.asarray(x * np.exp(log_ndtr(x)) + np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))
