"""What a monitor logs: entries of the table of logged statistics for what a sweep logs too, and its own beside them.

G groups. To the table each group is a run with one group, because groups may have their own learning rates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrscope.dynamics.statistics import INTERVAL, STEP, GroupFacts, IntervalFacts, Statistic, StepFacts
from lrscope.monitor.rates import Rates

Array = NDArray[np.float64]


def _entry(name: str) -> Statistic:
    return next(s for s in (*STEP, *INTERVAL) if s.name == name)


def _own(name: str, unit: str, meaning: str, of: Callable[[Mapping[str, Array]], Array], *dims: str) -> Statistic:
    return Statistic(name, unit, meaning, lambda facts: torch.from_numpy(np.asarray(of(facts))), dims=dims)


SHARED = tuple(map(_entry, ("train_loss", "grad_norm", "effective_grad_norm")))
SHARED_GROUPED = tuple(map(_entry, ("group_norm", "group_elr", "group_effective_grad_norm")))
OWN = (_own("loss_scale", "1", "factor of the loss under mixed precision, 1 without a scaler", lambda f: f["scale"]),)
OWN_GROUPED = (
    _own(
        "group_angle",
        "rad",
        "angle by which one update turned the group's weights; for SGD on scale-invariant weights the group's ESS",
        lambda f: f["angle"],
        "group",
    ),
    _own("group_lr", "1", "learning rate of the group", lambda f: f["lr"], "group"),
)
SCALARS = (*SHARED, *OWN)
GROUPED = (*SHARED_GROUPED, *OWN_GROUPED)
LOSS = [s.name for s in SCALARS].index("train_loss")


def values(
    loss: float, scale: float, rates: Rates, groups: Mapping[str, Array], invariant_G: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """The values of SCALARS [S] and of GROUPED [K, G] at a measured update.

    Args:
        loss: mean since the last measurement.
        scale: of the loss under mixed precision.
        rates: learning rates [G], and the power of the norm that divides them in the effective ones.
        groups: squares of the weights and of the `gradient`, and the `angle`, as `movement.by_group` returns them.
        invariant_G: which groups are known to be scale-invariant.
    """
    squares, gradient = groups["squares"], groups["gradient"]
    nothing = torch.zeros(1)
    lr = torch.from_numpy(rates.lr)
    each = _facts(loss, _column(gradient), _column(squares), lr)
    with np.errstate(invalid="ignore"):
        plain = torch.from_numpy(rates.lr * squares ** (1 - rates.power / 2))  # whose lr / norm^2 is the effective one
    ends = IntervalFacts((nothing, nothing), _column(squares), plain, GroupFacts(), None, None)
    known = np.isfinite(gradient) | np.isnan(squares)  # a gradient that was never there is left out
    known |= ~np.isfinite(gradient) & ~np.isnan(gradient)
    total = _facts(loss, _row(gradient[known]), _row(squares[known]), lr[:1])
    sphere = _facts(loss, _row(gradient[known & invariant_G]), _row(squares[known & invariant_G]), lr[:1])
    own = {"scale": np.array([scale]), "angle": groups["angle"], "lr": rates.lr}
    scalars = [_first(s, sphere if s.name == "effective_grad_norm" else total) for s in SHARED]
    grouped = [_all(s, ends if s in INTERVAL else each) for s in SHARED_GROUPED]
    return (
        np.array([*scalars, *(_first(s, own) for s in OWN)]),
        np.stack([*grouped, *(_all(s, own) for s in OWN_GROUPED)]),
    )


def _facts(loss: float, gradient: Tensor, squares: Tensor, lr: Tensor) -> StepFacts:
    """Facts of R runs; a run without groups has no gradient."""
    total = gradient.sum(1) if gradient.shape[1] else torch.full((len(gradient),), torch.nan)
    return StepFacts(torch.tensor([loss]), torch.zeros(1), gradient, total, gradient, squares, lr)


def _column(values: Array) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))[:, None]


def _row(values: Array) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))[None]


def _all(statistic: Statistic, facts: object) -> Array:
    found = statistic.of(facts)
    assert found is not None
    return np.asarray(found.numpy(), dtype=np.float64).reshape(-1)


def _first(statistic: Statistic, facts: object) -> float:
    return float(_all(statistic, facts)[0])
