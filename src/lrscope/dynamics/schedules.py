"""Learning-rate schedules as factors per step: lr at step t is the run's lr times factors[t]. Reading one needs no PyTorch."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from lrscope.errors import LrscopeError, nearest, shown

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("constant", "cosine", "linear", "step")
HELP = "constant, cosine, linear, or step:FACTOR@FRACTION,FRACTION such as step:0.2@0.3,0.6"


def parse(text: str) -> tuple[str, float, tuple[float, ...]]:
    """Kind, factor and increasing fractions of training (of `step`) of a schedule's text.

    Raises:
        LrscopeError: it is none.
    """
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise LrscopeError(f"schedule: {shown(text)} is unknown: {nearest(kind, KINDS)} (write {HELP})")
    if kind != "step":
        if text != kind:
            raise LrscopeError(f"schedule: {kind} takes no arguments, got {shown(text)}: write {HELP}")
        return kind, 1.0, ()
    match = re.fullmatch(r"([\d.e+-]+)@([\d.,e+-]+)", rest)
    try:
        if match is None:
            raise ValueError
        factor, fractions = float(match[1]), tuple(float(s) for s in match[2].split(","))
    except ValueError:
        raise LrscopeError(f"schedule: cannot read {shown(text)}: write {HELP}") from None
    increasing = list(fractions) == sorted(set(fractions)) and all(0 < s < 1 for s in fractions)
    if not 0 < factor < math.inf or not increasing:
        raise LrscopeError(
            f"schedule: {shown(text)} needs a factor above 0 and increasing fractions in (0, 1): write {HELP}"
        )
    return kind, factor, fractions


def factors(text: str, steps: int) -> Tensor:
    """Factors [steps] in float64.

    `constant`: 1. `cosine`: half a cosine from 1 to 0 (three_regimes, Sec. 4). `linear`: from 1 to 0.
    `step:0.2@0.3,0.6`: times 0.2 after 30% and again after 60% of the steps.
    """
    import torch

    kind, factor, fractions = parse(text)
    progress = torch.arange(steps, dtype=torch.float64) / steps
    if kind == "constant":
        return torch.ones(steps, dtype=torch.float64)
    if kind == "cosine":
        return (1 + torch.cos(torch.pi * progress)) / 2
    if kind == "linear":
        return 1 - progress
    passed = sum((progress >= s).to(torch.float64) for s in fractions)
    return torch.as_tensor(factor, dtype=torch.float64) ** passed
