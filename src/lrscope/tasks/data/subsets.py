"""Drawing examples and labels: the one rule for all data sets."""

from __future__ import annotations

import torch
from torch import Tensor

from lrscope.errors import LrscopeError, shown
from lrscope.values import as_whole

MOST = 1_000_000  # ours: of examples that are made, not read


def checked_size(field: str, size: int | None, default: int, limit: int | None, name: str) -> int:
    """`size`, or `default` where it is None; refused unless it is a whole number from 1 to `limit` (None: `MOST`)."""
    if size is None:
        return default
    number, most = as_whole(size), MOST if limit is None else limit
    if number is None or not 1 <= number <= most:
        whose = "" if limit is None else f", all that {name!r} has"
        raise LrscopeError(
            f"{field}: {shown(size)} does not fit data set {name!r}: choose a whole number from 1 to {most:,}{whose}"
        )
    return number


def subset(count: int, size: int, generator: torch.Generator) -> Tensor:
    """[size] int64: distinct indices below `count` drawn at random, in ascending order.

    Ascending, so that all of a split is the split as it is, whatever the seed; subsets of growing size are nested.
    """
    return torch.randperm(count, generator=generator)[:size].sort().values


def redraw_labels(labels: Tensor, share: float, classes: int, generator: torch.Generator) -> Tensor:
    """[N] int64: a copy with exactly `round(share * N)` labels redrawn uniformly over all classes.

    A redrawn label may be the old one again, so about share * (1 - 1/classes) of them change
    (three_regimes: "a fixed random share of training labels is redrawn uniformly over the classes").
    """
    count = round(share * len(labels))
    chosen = torch.randperm(len(labels), generator=generator)[:count]
    noisy = labels.clone()
    noisy[chosen] = torch.randint(classes, (count,), generator=generator)
    return noisy
