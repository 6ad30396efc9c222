"""Where a network's tensors and groups lie in the flat vector of a run's weights. R runs, P parameters, G groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Segments = tuple[tuple[tuple[int, int], ...], ...]  # for each group its ranges (start, stop) over P


@dataclass(frozen=True)
class Slot:
    """One trainable tensor inside the flat vector: flat[start:stop] viewed as shape."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


Slots = tuple[Slot, ...]


def group_squares(flat_RP: Tensor, segments: Segments) -> Tensor:
    """Squared norms of the groups: [R, P] to [R, G]."""
    import torch

    return torch.stack(
        [
            torch.stack([flat_RP[:, a:b].square().sum(1) for a, b in group], 1).sum(1)
            if len(group) > 1
            else flat_RP[:, group[0][0] : group[0][1]].square().sum(1)
            for group in segments
        ],
        1,
    )
