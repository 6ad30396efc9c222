"""Gradient flow of late_decay's model: the limit of small steps, solved by SciPy. S data sets, R runs on each, B times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from lrscope.checked import checked
from lrscope.errors import LrscopeError
from lrscope.studies.late_decay.norm_power import NormPower

ACCURACY = 1e-10  # ours: relative, of a step of the solver


@checked
def gradient_flow(model: NormPower, start: Tensor, times: Sequence[float]) -> Tensor:
    """Weights [B, S R, d] on the flow dw/dt = - gradient of the training loss, without batches and noise.

    Time is learning rate times steps.

    Args:
        model: its batches and label noise are left out.
        start: weights at time 0 [S R, d].
        times: increasing from 0 or more.

    Raises:
        LrscopeError: a start of another shape or that is not finite; no times, or times that do not increase; a flow that the
            solver cannot follow.
    """
    rows, at = model.sets * model.count, np.asarray(times, float)
    if start.shape != (rows, model.size) or not bool(torch.isfinite(start).all()):
        raise LrscopeError(
            f"start: its shape is {tuple(start.shape)}: pass finite weights [{rows} runs, {model.size} dimensions]"
        )
    if not len(at) or not np.isfinite(at).all() or at[0] < 0 or not (np.diff(at) > 0).all():
        raise LrscopeError("times: these do not increase from 0 or more: pass some, such as (0, 1, 10)")
    gammas, start = model.gamma[:, 0].tolist(), start.detach()
    flows = []
    for row in range(rows):
        on, run = divmod(row, model.count)
        flows.append(_of_one(NormPower(model.problems.only(on), [gammas[run]]), start[row : row + 1], at))
    return torch.cat(flows, 1)


def _of_one(model: NormPower, start: Tensor, at: np.ndarray) -> Tensor:
    """[B, 1, d], so that no run's steps depend on another's."""

    def velocity(_: float, weights: np.ndarray) -> np.ndarray:
        gradient, _loss = model.gradient(torch.from_numpy(weights)[None].to(start), 0)
        return np.asarray(-gradient[0].double().numpy())

    words = {"method": "LSODA", "t_eval": at, "rtol": ACCURACY, "atol": ACCURACY / 100}
    found = solve_ivp(velocity, (0, at[-1] or 1.0), start[0].double().numpy(), **words)
    if not found.success:
        raise LrscopeError(f"start: the solver gave up: {found.message}: use smaller weights")
    return torch.from_numpy(found.y.T.copy())[:, None].to(start)
