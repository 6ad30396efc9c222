"""How far one update moved the weights: a copy before it, a comparison after it. No hooks, nothing is written to weights.

T tensors, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrscope.monitor.tracked import Tracked

Array = NDArray[np.float64]
COLUMNS = 4  # of `reduced`: |d|^2, <d, w>, |w|^2 and |gradient|^2, with d = w before - w after
MISSING = -1.0  # in the place of a square
NOWHERE = 1e-5  # ours: a square of weights that is rounding beside those of the update and of the weights after it


class Snapshot:
    """The weights before an update, by name; it takes the memory of one copy, and keeps it for the next."""

    def __init__(self) -> None:
        self.copies: dict[str, Tensor] = {}
        self.taken = False

    def take(self, found: Sequence[Tracked]) -> None:
        """Copy the weights as they are now."""
        sources = [one.weight.detach() for one in found]
        self.copies = {one.name: _like(self.copies.get(one.name), w) for one, w in zip(found, sources, strict=True)}
        torch._foreach_copy_(list(self.copies.values()), sources)
        self.taken = True

    def has_moved(self, found: Sequence[Tracked]) -> bool:
        """Are the weights other ones than when they were copied?"""
        return any(
            one.name in self.copies and not torch.equal(self.copies[one.name], one.weight.detach()) for one in found
        )

    @contextmanager
    def put_aside(self, found: Sequence[Tracked]) -> Iterator[None]:
        """Free the memory of the copies meanwhile; they are taken again afterwards. Kept where weights have moved since."""
        taken = self.taken
        if taken and self.has_moved(found):
            yield
            return
        self.copies, self.taken = {}, False
        try:
            yield
        finally:
            if taken:
                self.take(found)

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs; empty between measurements."""
        return {name: copy.clone() for name, copy in self.copies.items()} if self.taken else {}

    def load(self, copies: Mapping[str, Tensor], found: Sequence[Tracked]) -> None:
        """The inverse of `state`, on the devices of the present weights."""
        devices = {one.name: one.weight.device for one in found}
        self.copies = {name: copy.clone().to(devices.get(name, copy.device)) for name, copy in copies.items()}
        self.taken = bool(copies)


def _like(kept: Tensor | None, weight: Tensor) -> Tensor:
    fits = kept is not None and kept.shape == weight.shape and kept.dtype == weight.dtype
    return kept if kept is not None and fits and kept.device == weight.device else torch.empty_like(weight)


def reduced(snapshot: Snapshot, found: Sequence[Tracked]) -> Tensor:
    """Sums [T, COLUMNS] in float32 on the first tensor's device; squares are MISSING without a copy or a gradient.

    Turns the copies into d, so the snapshot is used up.
    """
    had = [one for one in found if snapshot.taken and one.name in snapshot.copies]
    if had:
        torch._foreach_sub_([snapshot.copies[one.name] for one in had], [one.weight.detach() for one in had])
    snapshot.taken = False
    device = found[0].weight.device
    missing = torch.full((), MISSING, device=device)
    moved = {one.name: _real(snapshot.copies[one.name]) for one in had}
    weights = {one.name: _real(one.weight.detach()) for one in found}
    gradients = {one.name: _dense(one.weight.grad) for one in found if one.weight.grad is not None}
    along = {name: _product(d, weights[name]) for name, d in moved.items()}
    columns = [_squares(moved), along, _squares(weights), _squares(gradients)]
    rows = [column.get(one.name, missing) for column in columns for one in found]
    return torch.stack([_placed(x, device) for x in rows]).reshape(COLUMNS, -1).T


def _squares(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The squared norm of each, in float32 or better."""
    if not tensors:
        return {}
    precise = all(x.dtype in (torch.float32, torch.float64) for x in tensors.values())
    norms = torch._foreach_norm(list(tensors.values()), 2, None if precise else torch.float32)
    return {name: norm * norm for name, norm in zip(tensors, norms, strict=True)}


def _placed(x: Tensor, device: torch.device) -> Tensor:
    fits = x.dtype == torch.float32 and x.device == device
    return x if fits else x.to(device, torch.float32, non_blocking=True)


def _dense(gradient: Tensor) -> Tensor:
    gradient = gradient.detach()
    return _real(gradient.coalesce().values() if gradient.is_sparse else gradient)


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x


def _product(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> as a scalar tensor, in float32 or better."""
    if a.dtype in (torch.float16, torch.bfloat16):
        a, b = a.float(), b.float()
    if a.stride() == b.stride() and _is_dense(a):
        return torch.dot(a.as_strided((a.numel(),), (1,)), b.as_strided((b.numel(),), (1,)))
    return (a * b).sum()


def _is_dense(a: Tensor) -> bool:
    """Does the tensor fill its stretch of memory?"""
    return a.is_contiguous() or (a.dim() == 4 and a.is_contiguous(memory_format=torch.channels_last))


def by_group(sums_TC: Array, place_T: NDArray[np.int64], groups: int) -> dict[str, Array]:
    """Per group [G]: `squares` of the weights and of the `gradient`, and the `angle` (radians) of the update.

    Tensors without a gradient or a copy are left out; NaN where nothing is left. A group that did not move at all has no
    angle either, because its optimizer did not step, nor one that was zero before the update, such as LoRA's second matrix.
    """
    copied, graded = sums_TC[:, 0] != MISSING, sums_TC[:, 3] != MISSING
    d, dw, w = (_summed(sums_TC[:, c], copied, place_T, groups) for c in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        norm = np.sqrt(w)
        across = np.sqrt(np.maximum(d - dw**2 / w, 0.0))  # the part of d that is orthogonal to the weights
        angle = np.arctan2(across, norm + dw / norm)  # w before = w + d
        nowhere = w + 2 * dw + d <= NOWHERE * (w + d)
    return {
        "squares": _summed(sums_TC[:, 2], np.ones_like(copied), place_T, groups),
        "gradient": _summed(sums_TC[:, 3], graded, place_T, groups),
        "angle": np.where((d == 0) | nowhere, np.nan, angle),
    }


def _summed(values_T: Array, known_T: NDArray[np.bool_], place_T: NDArray[np.int64], groups: int) -> Array:
    total = np.bincount(place_T[known_T], weights=values_T[known_T], minlength=groups)
    return np.where(np.bincount(place_T[known_T], minlength=groups) > 0, total, np.nan)
