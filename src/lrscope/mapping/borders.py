"""From votes to borders: the best ordered split of the grid, and its bootstrap over seeds. Array kernels without labels.

L learning rates, U units (data seed x seed), T bootstrap draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Votes = NDArray[np.int64]

DRAWS = 1000  # ours: the 2.5% quantile is then known to about half a percent


def tally(votes_LU: Votes) -> NDArray[np.int64]:
    """Counts [L, 3] of votes for regimes 1, 2, 3; unknown votes (0) count for none."""
    return np.stack([(votes_LU == regime).sum(1) for regime in (1, 2, 3)], 1)


def split(counts_L3: NDArray[np.int64]) -> tuple[int, int]:
    """The ordered split that agrees with most votes: learning rates [0, i) are regime 1, [i, j) 2, [j, L) 3.

    Among equally good splits the middle one, so that no end of the grid is favoured.
    """
    lrs = len(counts_L3)
    sums = np.concatenate([np.zeros((1, 3), np.int64), np.cumsum(counts_L3, 0)])
    first, second = sums[:, 0] - sums[:, 1], sums[:, 1] - sums[:, 2]
    agreement = np.where(np.tri(lrs + 1, dtype=bool).T, first[:, None] + second[None, :], np.iinfo(np.int64).min)
    ties = np.argwhere(agreement == agreement.max())
    i, j = ties[(len(ties) - 1) // 2]
    return int(i), int(j)


def draws(data_seeds: int, seeds: int, *, count: int = DRAWS, seed: int = 0) -> NDArray[np.int64]:
    """Resampled units [T, U], U = data_seeds * seeds in C order.

    With one data seed the training seeds are resampled; with several, data seeds first and training seeds within them.
    """
    generator = np.random.default_rng(seed)
    chosen = (
        generator.integers(0, data_seeds, (count, data_seeds)) if data_seeds > 1 else np.zeros((count, 1), np.int64)
    )
    inner = generator.integers(0, seeds, (count, data_seeds, seeds))
    return (chosen[:, :, None] * seeds + inner).reshape(count, data_seeds * seeds)


def middle(lrs: NDArray[np.floating[Any]], index: int) -> float:
    """The geometric middle of the grid cell below position `index`: between lrs[index - 1] and lrs[index]."""
    return float(np.sqrt(lrs[index - 1] * lrs[index]))


def interval(positions: NDArray[np.int64], lrs: NDArray[np.floating[Any]], level: float = 0.95) -> tuple[float, float]:
    """The learning rates that bound the given share of bootstrap positions, widened to whole grid cells.

    A position i is a border between lrs[i - 1] and lrs[i]; 0 and L are borders off the grid and end at its edge.
    """
    tail = (1 - level) / 2
    low, high = np.quantile(positions, [tail, 1 - tail], method="inverted_cdf")
    return float(lrs[max(int(low) - 1, 0)]), float(lrs[min(int(high), len(lrs) - 1)])
