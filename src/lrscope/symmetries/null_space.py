"""Null spaces of measured matrices, and bases of them that can be read: few entries, small whole numbers.

M rows, C columns, K dimensions of the null space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ZERO = 1e-9  # ours, of the largest singular value, at least 1: rounding leaves 1e-15, what is no symmetry 1e-4 and more
CLEAN = 1e-6  # ours: entries below it are zero beside entries of about 1
MOST_WHOLE = 6  # ours: the largest denominator that is looked for
# Ours: what a minus sign and the place add to an entry's cost of 1, and what each unit beyond 1 costs.
NEGATIVE, PLACE, BEYOND = 1e-2, 1e-3, 3.0


def rank(rows_MC: Array) -> int:
    """How many rows are independent; their entries are about 1 where nothing cancels."""
    return int(_clear(np.linalg.svd(rows_MC, compute_uv=False)).sum()) if rows_MC.size else 0


def null_space(rows_MC: Array, scale_C: Array) -> Array:
    """A basis [K, C] of the vectors a with rows a = 0.

    Args:
        rows_MC: the rows.
        scale_C: the size that entries of a column have where nothing cancels, by which they are divided first.
    """
    _, sizes, right = np.linalg.svd(rows_MC / scale_C, full_matrices=True)
    found = right[int(_clear(sizes).sum()) :] / scale_C
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-300))


def _clear(sizes: NDArray[Any]) -> NDArray[np.bool_]:
    """Which are above rounding? Not beside the largest alone: where everything cancels, that is rounding too."""
    return np.asarray(sizes > ZERO * max(float(sizes.max(initial=0.0)), 1.0))


def sparse_basis(null_KC: Array, place_C: Array | None = None) -> list[Array]:
    """A basis of the same space, each vector [C] with as few entries as can be found, whole numbers where possible.

    For every column the vector of the smallest cost that has 1 there is found by linear programming: entries cost their
    size, those beyond 1 more, minus signs slightly more. Of equals, what goes up with the column comes late, as what is added
    to a stream, and what goes down early, as what reads it. Among all of them a basis is picked, the sparsest first.

    Args:
        null_KC: a basis.
        place_C: where the columns come; None: in their order.
    """
    echelon = reduced(null_KC)
    place = np.arange(echelon.shape[1], dtype=np.float64) if place_C is None else place_C
    found: list[Array] = []
    for rows, columns in _components(echelon):
        part = echelon[np.ix_(rows, columns)]
        for vector in _sparse_part(part, place[columns]):
            whole = np.zeros(echelon.shape[1])
            whole[columns] = vector
            found.append(oriented(whole, place))
    return found


def reduced(rows_KC: Array) -> Array:
    """The reduced row echelon form, the largest entry first, without the rows that depend on others."""
    left = rows_KC.copy()
    pivots: list[tuple[int, int]] = []
    free = np.ones(len(left), dtype=bool)
    while free.any():
        sizes = np.abs(left) * free[:, None]
        row, column = np.unravel_index(int(sizes.argmax()), sizes.shape)
        if sizes[row, column] < CLEAN:
            break
        left[row] /= left[row, column]
        others = np.arange(len(left)) != row
        left[others] -= np.outer(left[others, column], left[row])
        free[row] = False
        pivots.append((int(row), int(column)))
    left[np.abs(left) < CLEAN] = 0.0
    return left[[row for row, _ in sorted(pivots, key=lambda p: p[1])]]


def _components(rows_KC: Array) -> list[tuple[list[int], list[int]]]:
    """Rows and columns in parts that have nothing to do with each other."""
    parts: list[tuple[set[int], set[int]]] = []
    for row, entries in enumerate(rows_KC):
        rows, columns = {row}, set(np.flatnonzero(entries).tolist())
        for part in [p for p in parts if p[1] & columns]:
            parts.remove(part)
            rows, columns = rows | part[0], columns | part[1]
        parts.append((rows, columns))
    return [(sorted(rows), sorted(columns)) for rows, columns in parts]


def _sparse_part(rows_KC: Array, place_C: Array) -> list[Array]:
    """A sparse basis of one part."""
    if len(rows_KC) == 1:
        return [as_whole(rows_KC[0])]
    candidates = [as_whole(v) for c in range(rows_KC.shape[1]) if (v := _cheapest(rows_KC, c, place_C)) is not None]
    candidates.sort(key=_cost)
    return independent([*candidates, *sorted(map(as_whole, rows_KC), key=_cost)], len(rows_KC))


def independent(candidates: Sequence[Array], count: int) -> list[Array]:
    """The first vectors [C] of the list that do not depend on those before them, up to `count`."""
    found: list[Array] = []
    for vector in candidates:
        if len(found) == count:
            break
        if _rank_of([*found, vector]) > len(found):
            found.append(vector)
    return found


def _rank_of(vectors: Sequence[Array]) -> int:
    return int(np.linalg.matrix_rank(np.stack(vectors), tol=CLEAN))


def _cost(vector: Array) -> tuple[int, float, int]:
    minus = int((vector < 0).sum())
    return int((vector != 0).sum()), float(np.abs(vector).sum()), min(minus, int((vector > 0).sum()))


def _cheapest(rows_KC: Array, column: int, place_C: Array) -> Array | None:
    """The cheapest vector of the rows' span with 1 in a column."""
    from scipy.optimize import linprog

    K, C = rows_KC.shape
    late = PLACE * (place_C - place_C.min()) / max(float(np.ptp(place_C)), 1.0)
    up, down = 1 - late, 1 + NEGATIVE + late
    cost = np.concatenate([np.zeros(K), up, down, BEYOND * up, BEYOND * down])
    unit = np.eye(C)
    equal = np.hstack([rows_KC.T, -unit, unit, -unit, unit])  # a = u - v + u' - v', the first two at most 1
    pinned = np.zeros((1, equal.shape[1]))
    pinned[0, :K] = rows_KC[:, column]
    bounds = [(None, None)] * K + [(0, 1)] * (2 * C) + [(0, None)] * (2 * C)
    done = linprog(
        cost, A_eq=np.vstack([equal, pinned]), b_eq=np.append(np.zeros(C), 1.0), bounds=bounds, method="highs"
    )
    return None if done.x is None else np.asarray(done.x[:K] @ rows_KC)


def as_whole(vector_C: Array) -> Array:
    """The vector with its smallest entries 1 and the others whole, if small whole numbers do; else its smallest entry is 1."""
    clean = np.where(np.abs(vector_C) < CLEAN, 0.0, vector_C)
    entries = np.abs(clean[clean != 0])
    if not entries.size:
        return clean
    clean = clean / entries.min()
    for factor in range(1, MOST_WHOLE + 1):
        whole = np.round(clean * factor)
        if np.abs(whole - clean * factor).max() < 1e-4:
            return np.asarray(whole / np.gcd.reduce(np.abs(whole[whole != 0]).astype(int)))
    return np.asarray(clean)


def oriented(vector_C: Array, place_C: Array) -> Array:
    """The vector or its negative, whichever has a positive entry in the first place."""
    there = np.flatnonzero(vector_C)
    first = there[place_C[there].argmin()] if there.size else 0
    return -vector_C if there.size and vector_C[first] < 0 else vector_C
