"""The record of a run in bounded memory: where it is full, neighbouring rows become one.

N rows, S scalars, K quantities of groups, G groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrscope.monitor.quantities import LOSS

Array = NDArray[np.float64]
CAPACITY = 1024  # ours: rows; 60 groups take 3 MB


@dataclass(frozen=True)
class Row:
    """Means over measured updates, the last of which was number `update`."""

    update: int
    calls: int  # since the row before
    skipped: int  # of these, updates that a scaler left out
    losses: int  # passed since the row before; without any the loss is NaN, as that of a diverged run may be
    scalars: Array  # [S]
    groups: Array  # [K, G]


@dataclass(frozen=True)
class Record:
    """All rows as arrays: update, calls, skipped, losses [N], scalars [N, S], groups [N, K, G]."""

    update: NDArray[np.int64]
    calls: NDArray[np.int64]
    skipped: NDArray[np.int64]
    losses: NDArray[np.int64]
    scalars: Array
    groups: Array

    def until(self, row: int) -> Record:
        """The record as it was when it had so many rows."""
        return Record(*(values[:row] for values in vars(self).values()))


@dataclass
class History:
    """Rows in order; each stands for `stride` measurements, `partial` are those of the row to come."""

    stride: int = 1
    rows: list[Row] = field(default_factory=list)
    partial: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Add a measurement."""
        self.partial.append(row)
        if len(self.partial) < self.stride:
            return
        self.rows.append(merged(self.partial))
        self.partial = []
        if len(self.rows) >= CAPACITY:
            self.rows = [merged(self.rows[i : i + 2]) for i in range(0, len(self.rows), 2)]
            self.stride *= 2

    def record(self, groups: int) -> Record:
        """As arrays, whole rows only; NaN for groups that came later."""
        rows = self.rows
        wide = [np.pad(r.groups, ((0, 0), (0, groups - r.groups.shape[1])), constant_values=np.nan) for r in rows]
        counts = np.array([counted(r) for r in rows], dtype=np.int64).reshape(-1, 4)
        return Record(
            update=counts[:, 0],
            calls=counts[:, 1],
            skipped=counts[:, 2],
            losses=counts[:, 3],
            scalars=np.stack([r.scalars for r in rows]) if rows else np.zeros((0, 0)),
            groups=np.stack(wide) if rows else np.zeros((0, 0, groups)),
        )

    def state(self) -> dict[str, Any]:
        """Tensors and whole numbers, as a checkpoint takes them."""
        return {"stride": self.stride, "rows": stated(self.rows), "partial": stated(self.partial)}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.stride, self.rows, self.partial = state["stride"], read(state["rows"]), read(state["partial"])


def counted(row: Row) -> list[int]:
    """The whole numbers of a row."""
    return [row.update, row.calls, row.skipped, row.losses]


def merged(rows: Sequence[Row]) -> Row:
    """One row of several: means, for the loss over rows that have one, for groups with NaN left out; counts summed."""
    if len(rows) == 1:
        return rows[0]
    most = max(r.groups.shape[1] for r in rows)
    wide = [np.pad(r.groups, ((0, 0), (0, most - r.groups.shape[1])), constant_values=np.nan) for r in rows]
    scalars = np.mean([r.scalars for r in rows], axis=0)
    told = [r.scalars[LOSS] for r in rows if r.losses]
    scalars[LOSS] = np.mean(told) if told else np.nan
    _, calls, skipped, losses = np.sum([counted(r) for r in rows], axis=0).tolist()
    return Row(rows[-1].update, calls, skipped, losses, scalars, mean_of_known(np.stack(wide)))


def mean_of_known(values: Array) -> Array:
    """Mean over the first axis, NaN left out; NaN where there is nothing."""
    known = ~np.isnan(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    found: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found


def stated(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows as a checkpoint takes them."""
    return [
        {
            "counts": counted(r),
            "scalars": torch.from_numpy(r.scalars.copy()),
            "groups": torch.from_numpy(r.groups.copy()),
        }
        for r in rows
    ]


def read(rows: Iterable[dict[str, Any]]) -> list[Row]:
    """The inverse of `stated`."""
    found = []
    for r in rows:
        update, calls, skipped, losses = r["counts"]
        found.append(Row(update, calls, skipped, losses, r["scalars"].numpy().copy(), r["groups"].numpy().copy()))
    return found
