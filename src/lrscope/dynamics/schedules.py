"""Learning-rate schedules as factors per step: lr at step t is the run's lr times factors[t]."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from lrscope.errors import LrscopeError, nearest

KINDS = ("constant", "cosine", "linear", "step")
HELP = "write constant, cosine, linear, or step:FACTOR@SHARE,SHARE such as step:0.2@0.3,0.6"


def factors(text: str, steps: int) -> Tensor:
    """Factors [steps] in float64.

    `constant`: 1. `cosine`: half a cosine from 1 to 0 (three_regimes, Sec. 4). `linear`: from 1 to 0.
    `step:0.2@0.3,0.6`: times 0.2 after 30% and again after 60% of the steps.
    """
    kind, _, rest = text.partition(":")
    progress = torch.arange(steps, dtype=torch.float64) / steps
    if kind == "constant" and not rest:
        return torch.ones(steps, dtype=torch.float64)
    if kind == "cosine" and not rest:
        return (1 + torch.cos(torch.pi * progress)) / 2
    if kind == "linear" and not rest:
        return 1 - progress
    if kind == "step":
        match = re.fullmatch(r"([\d.e+-]+)@([\d.,e+-]+)", rest)
        if match is None:
            raise LrscopeError(f"schedule: cannot read {text!r}: {HELP}")
        try:
            factor, shares = float(match[1]), [float(s) for s in match[2].split(",")]
        except ValueError:
            raise LrscopeError(f"schedule: cannot read {text!r}: {HELP}") from None
        if not 0 < factor < math.inf or shares != sorted(set(shares)) or not all(0 < s < 1 for s in shares):
            raise LrscopeError(f"schedule: {text!r} needs a factor above 0 and increasing shares in (0, 1): {HELP}")
        passed = sum((progress >= s).to(torch.float64) for s in shares)
        return torch.as_tensor(factor, dtype=torch.float64) ** passed
    if kind in KINDS:
        raise LrscopeError(f"schedule: {kind} takes no arguments, got {text!r}: {HELP}")
    raise LrscopeError(f"schedule: {text!r} is unknown: {nearest(kind, KINDS)} ({HELP})")
