"""The exact identities of projected SGD, checked on recorded steps, and how equal the groups' step sizes get.

three_regimes, Sec. 3.1. For groups i with norms rho_i and gradient norms g_i: ELR_i = eta / rho_i^2, ESS_i = ELR_i g_i rho_i.
Eq. 3 is the constraint on the total norm, eq. 4 an average with the weights omega_i = rho_i^2 / rho^2; eq. 5 holds because
each group's gradient is orthogonal to its weights, so it tells whether each group really is SI by itself.

T steps, G groups, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from lrscope.checked import Positive, Seed, Steps, checked
from lrscope.dynamics.descend import PointRecord, Recorded, StepRecord, Update, descend
from lrscope.dynamics.layout import Segments, group_squares
from lrscope.engine.material import Material
from lrscope.engine.program import Program
from lrscope.engine.step import Named
from lrscope.errors import LrscopeError
from lrscope.measures.common import evaluation, one_run, undisturbed
from lrscope.measures.objectives import TrainingLoss
from lrscope.readers import Number
from lrscope.tasks.streams import generator
from lrscope.trained import State, Trained

Final = Annotated[float, Number(0, 1, above=True)]
FINAL = 0.25  # ours: the last quarter of training, where an equilibrium has set in or will not


@dataclass(frozen=True)
class Record:
    """Norms along T steps of projected SGD at learning rate `lr`, all float64."""

    lr: float
    norms: Tensor  # [T + 1, G], the groups' weights, the last row after the last step
    gradient_norms: Tensor  # [T, G]
    total_norms: Tensor  # [T + 1], of the whole vector, not added up from the groups'
    total_gradient_norms: Tensor  # [T]
    radial: Tensor  # [T, G], |cosine| between a group's gradient and its weights


@checked
def identities(
    trained: Trained, state: State, *, elr: Positive, steps: Steps, seed: Seed = 0, data_seed: Seed | None = None
) -> dict[str, float]:
    """Train a stored (or initial) state `steps` steps at total ELR `elr` in float64 and compare both sides of the identities.

    Returns the largest relative differences over steps (and groups): `eq3`, `eq4`, `eq5`; and `radial`, the largest |cosine|
    between a group's gradient and its weights. With norms without eps they are rounding, about 1e-13; the usual eps of
    1e-5 breaks the invariance by about eps over the variance it is added to, and eq. 5 and `radial` show it.

    Raises:
        LrscopeError: a net that is not SI; `elr` or `steps` not positive.
    """
    exact = State(state.weights.double(), {name: value.double() for name, value in state.frozen.items()})
    program, material = evaluation(trained, exact, data_seed)
    return residuals(record(program, material, exact.weights, exact.frozen, elr=elr, steps=steps, seed=seed))


@checked
def record(
    program: Program,
    material: Material,
    weights_1P: Tensor,
    frozen: Named,
    *,
    elr: Positive,
    steps: Steps,
    seed: Seed = 0,
) -> Record:
    """Norms of `steps` steps of projected SGD (eq. 2) from weights [1, P] in float64, on randomly ordered batches."""
    if not program.net.scale_invariant:
        raise LrscopeError(
            "identities: this net is not scale-invariant, and they hold for such nets only: use space sphere"
        )
    if weights_1P.dtype != torch.float64:
        raise LrscopeError("weights: the identities are exact, float32 is not: pass float64 weights and program")
    segments = program.net.segments
    x, y = material.batches()
    order = torch.randint(0, len(x), (steps,), generator=generator("identities", material.data_seed, seed)).tolist()
    rho = one_run(weights_1P).norm()[None]
    lr = elr * rho**2
    objective = TrainingLoss(program, frozen, lambda step: (x[order[step]][None], y[order[step]][None]))
    wanted: dict[str, Recorded] = {
        "norms": PointRecord(lambda weights: group_squares(weights, segments).sqrt()),
        "total_norms": PointRecord(lambda weights: weights.norm()[None]),
        "gradient_norms": StepRecord(lambda update: group_squares(update.gradient, segments).sqrt()),
        "total_gradient_norms": StepRecord(lambda update: update.gradient.norm()[None]),
        "radial": StepRecord(lambda update: _radial(update, segments)),
    }
    with undisturbed(program.net, "identities"):
        found = descend(objective, weights_1P, lr, steps, radius=rho, groups=segments, record=wanted)
    return Record(float(lr), **{name: value[:, 0] for name, value in found.recorded.items()})


@checked
def residuals(found: Record) -> dict[str, float]:
    """Largest relative differences between the two sides of eq. 3, 4 and 5 of a record, and the largest `radial`."""
    elr = found.lr / found.norms**2  # [T + 1, G]
    total_elr = found.lr / found.total_norms**2
    ess = elr[:-1] * found.gradient_norms * found.norms[:-1]
    total_ess = total_elr[:-1] * found.total_gradient_norms * found.total_norms[:-1]
    eq3 = (1 / elr).sum(1) * total_elr - 1
    omega = (1 / elr[:-1]) / (1 / elr[:-1]).sum(1, keepdim=True)
    eq4 = (omega * ess**2).sum(1) / total_ess**2 - 1
    eq5 = elr[:-1] * (1 + total_ess[:, None] ** 2) / (1 + ess**2) / elr[1:] - 1
    sides = {"eq3": eq3, "eq4": eq4, "eq5": eq5, "radial": found.radial}
    return {name: float(value.abs().max()) for name, value in sides.items()}


@checked
def ess_spread(group_ess: xr.DataArray, *, final: Final = FINAL) -> xr.DataArray:
    """Ratio of the largest to the smallest mean ESS of a run's groups over the `final` fraction of the epochs (three_regimes,
    Fig. 5 left, 21): 1 where all groups move alike, as in regime 2.

    `group_ess` is a result's variable over (..., epoch, group). NaN where a run ended early; 1 with a single group.

    Raises:
        LrscopeError: a fraction outside (0, 1], or an array without the dimensions epoch and group.
    """
    if not {"epoch", "group"} <= set(group_ess.dims):
        raise LrscopeError(
            f"group_ess: its dimensions are {', '.join(map(str, group_ess.dims))}: epoch and group are needed"
        )
    count = group_ess.sizes["epoch"]
    last = max(1, int(np.ceil(final * count)))
    mean = group_ess.isel(epoch=slice(count - last, None)).mean("epoch", skipna=False)
    return (mean.max("group", skipna=False) / mean.min("group", skipna=False)).rename("ess_spread")


def _radial(update: Update, segments: Segments) -> Tensor:
    """|cosine| [1, G] between the groups' gradients and weights."""
    product = update.gradient * update.before
    inner = torch.stack([sum((product[0, a:b].sum() for a, b in ranges), product.new_zeros(())) for ranges in segments])
    norms = [group_squares(vectors, segments)[0].sqrt() for vectors in (update.gradient, update.before)]
    found: Tensor = inner.abs() / (norms[0] * norms[1])
    return found[None]
