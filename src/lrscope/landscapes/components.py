"""Principal components of checkpoints. N points, P parameters, K components.

A matrix that fits into memory goes to scikit-learn's PCA. Of a larger one the products of all pairs of rows are summed over
blocks of columns, which gives the same components: the eigenvectors of the N x N matrix say how they are put together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lrscope.errors import LrscopeError
from lrscope.landscapes.rows import BLOCK, Rows, blocks

COMPONENTS = 5  # late_decay's picture
NOTHING = 1e-12  # ours, of the variance: below it a component is rounding


@dataclass(frozen=True)
class Components:
    """All float64.

    Attributes:
        mean: of the checkpoints [P].
        directions: orthonormal [K, P], along falling variance.
        scores: coordinates of the checkpoints [N, K].
        explained: fractions of the checkpoints' total variance [K].
    """

    mean: Tensor
    directions: Tensor
    scores: Tensor
    explained: np.ndarray


def components(rows: Rows, main: np.ndarray, *, count: int = COMPONENTS, memory: int = BLOCK) -> Components:
    """Principal components of all rows, at most `count`; those that are rounding are left out.

    A component's sign is such that the path `main` (row numbers) ends further along it than it begins.

    Args:
        memory: bytes for a block of columns; a matrix of no more goes to scikit-learn.

    Raises:
        LrscopeError: fewer than three checkpoints, checkpoints that are all alike or lie on one line.
    """
    if rows.count < 3:
        raise LrscopeError(
            f"checkpoints: {rows.count} make no plane of principal components: pass 3 or more, or directions around one"
        )
    small = 8 * rows.count * rows.size <= memory
    found = _whole(rows, count) if small else _by_blocks(rows, count, memory)
    if len(found.explained) < 2:
        what = "lie on one line" if len(found.explained) else "are all alike"
        raise LrscopeError(f"checkpoints: they {what}, which is no plane: pass some that differ in two directions")
    return _signed(found, main)


def _whole(rows: Rows, count: int) -> Components:
    from sklearn.decomposition import PCA

    matrix = rows.columns(0, rows.size).cpu().numpy()
    _check_spread(float(((matrix - matrix.mean(0)) ** 2).sum()))
    fitted = PCA(min(count, *matrix.shape), svd_solver="full").fit(matrix)
    kept = fitted.explained_variance_ratio_ > NOTHING
    arrays = fitted.mean_, fitted.components_[kept], fitted.transform(matrix)[:, kept]
    mean, directions, scores = (torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
    return Components(mean, directions, scores, fitted.explained_variance_ratio_[kept])


def _by_blocks(rows: Rows, count: int, memory: int) -> Components:
    products = torch.zeros(rows.count, rows.count, dtype=torch.float64)
    mean = torch.empty(rows.size, dtype=torch.float64)
    for start, stop in blocks(rows, memory):
        block = rows.columns(start, stop).cpu()
        mean[start:stop] = block.mean(0)
        centred = block - mean[start:stop]
        products += centred @ centred.T
    total = float(products.trace())
    _check_spread(total)
    values, vectors = torch.linalg.eigh(products)
    order = torch.arange(rows.count - 1, -1, -1)[: min(count, rows.size)]
    order = order[values[order] / total > NOTHING]
    lengths = values[order].sqrt()
    directions = torch.empty(len(order), rows.size, dtype=torch.float64)
    for start, stop in blocks(rows, memory):
        block = rows.columns(start, stop).cpu() - mean[start:stop]
        directions[:, start:stop] = (vectors[:, order] / lengths).T @ block
    return Components(mean, directions, vectors[:, order] * lengths, (values[order] / total).numpy())


def _check_spread(total: float) -> None:
    if total == 0:
        raise LrscopeError("checkpoints: they are all alike, which is no plane: pass some that differ")


def _signed(found: Components, main: np.ndarray) -> Components:
    moved = found.scores[main[-1]] - found.scores[main[0]]
    sign = torch.where(moved < 0, -1.0, 1.0).double()
    return Components(found.mean, sign[:, None] * found.directions, sign * found.scores, found.explained)


def distances(rows: Rows, number: int, others: np.ndarray, memory: int = BLOCK) -> np.ndarray:
    """Distances in weight space from one checkpoint to others [M]."""
    squares = torch.zeros(len(others), dtype=torch.float64)
    for start, stop in blocks(rows, memory):
        block = rows.columns(start, stop).cpu()
        squares += (block[others] - block[number]).square().sum(1)
    return np.asarray(squares.sqrt().numpy())
