"""Examples in memory, all of one shape: a tree of tensors with a leading axis of examples. N examples, B batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lrscope.errors import LrscopeError
from lrscope.tasks.arrays import MASK, is_grey, is_picture, own_tensor, stacked
from lrscope.tasks.batches.trees import Tree, form, joined, leaves, mapped, placed, tupled
from lrscope.tasks.examples import own_rows
from lrscope.tasks.identity import tensor_bytes
from lrscope.tasks.labels import check_finite


class Columns:
    """Examples of one shape, in memory: batches of them can be gathered for many runs at once.

    Args:
        tree: tensors [N, ...] in dicts and tuples.
    """

    by_run = ""
    whole = in_order = False

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.size = len(next(leaves(tree))[1])
        self._on: dict[torch.device, Tree] = {torch.device("cpu"): tree}

    def batch(self, numbers: Tensor, dtype: torch.dtype) -> Tree:
        """The examples of these numbers [B], on their device, floats in `dtype`; under vmap of many runs at once."""
        if numbers.device not in self._on:
            self._on[numbers.device] = mapped(lambda _, leaf: leaf.to(numbers.device), self.tree)
        chosen = mapped(lambda _, leaf: leaf.index_select(0, numbers), self._on[numbers.device])
        return placed(chosen, numbers.device, dtype)

    def weight(self, number: int) -> float:
        """All count alike."""
        return 1.0

    def digest(self) -> str:
        """A hash of names, shapes, types and values."""
        sha = hashlib.sha256()
        for name, leaf in leaves(self.tree):
            sha.update(repr((name, tuple(leaf.shape), str(leaf.dtype))).encode())
            sha.update(tensor_bytes(leaf))
        return sha.hexdigest()[:16]


def appended(parts: Sequence[Columns], fields: Sequence[str]) -> Columns:
    """The examples of several splits, one after the other.

    Raises:
        LrscopeError: they differ in form, shape or type.
    """
    for field, part in zip(fields[1:], parts[1:], strict=True):
        check_alike(field, part.tree, fields[0], parts[0].tree)
    return Columns(joined([part.tree for part in parts], lambda _, tensors: torch.cat(tensors)))


def check_alike(field: str, tree: Tree, other: str, reference: Tree) -> None:
    """Refuse examples that are not made as the others: other names, shapes or types."""
    if form(tree) != form(reference):
        ours, theirs = ([name for name, _ in leaves(t)] for t in (tree, reference))
        raise LrscopeError(
            f"{field}: its examples hold {_listed(ours)}, those of {other} {_listed(theirs)}: make them alike"
        )
    for (name, one), (_, two) in zip(leaves(tree), leaves(reference), strict=True):
        if one.shape[1:] != two.shape[1:] or one.dtype != two.dtype:
            raise LrscopeError(
                f"{field}: {name} is {one.dtype} of shape {tuple(one.shape[1:])} an example, in {other} {two.dtype} of shape "
                f"{tuple(two.shape[1:])}: make them alike, or pass a DataLoader whose collate_fn pads"
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


# -- reading ----------------------------------------------------------------------------------------------------------


def of_arrays(field: str, given: Tree) -> Columns:
    """Arrays side by side, in a dict or a tuple: each has a row for each example.

    Raises:
        LrscopeError: they differ in length, or hold no numbers.
    """
    tree = _arrays(own_rows, f"{field}: ", given, "batch")
    sizes = {name: len(leaf) for name, leaf in leaves(tree)}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise LrscopeError(f"{field}: its parts differ in length ({said}): give each one row for each example")
    return checked(field, tree)


def _arrays(own: Callable[[str, Any], Tensor], field: str, given: Any, name: str) -> Tree:
    """Arrays in dicts and tuples as tensors of our own; a list is an array here."""
    if isinstance(given, Mapping):
        return {key: _arrays(own, field, item, f"{name}[{key!r}]") for key, item in given.items()}
    if isinstance(given, tuple):
        items = [_arrays(own, field, item, f"{name}[{place}]") for place, item in enumerate(given)]
        return type(given)(*items) if hasattr(given, "_fields") else tuple(items)
    return own(field + name, given)


def of_rows(field: str, rows: Sequence[Tree]) -> Columns:
    """Examples one by one, of one form and shape.

    Raises:
        LrscopeError: they differ, or hold what is no number.
    """
    if rows:
        _check_pictures(field, rows[0])
    trees = [_arrays(own_tensor, f"{field}: ", row, "batch") for row in rows]
    for number, tree in enumerate(trees):
        if form(tree) != form(trees[0]):
            ours, first = ([name for name, _ in leaves(t)] for t in (tree, trees[0]))
            raise LrscopeError(
                f"{field}: example {number} holds {_listed(ours)}, example 0 {_listed(first)}: give all examples the same parts"
            )
    return checked(field, joined(trees, lambda name, tensors: stacked(f"{field}: {name} of the examples", tensors)))


def _check_pictures(field: str, row: Tree) -> None:
    """Refuse a grey picture beside other pixels: it may be a mask of class numbers, which must not become brightness."""
    pixels = [(name, leaf) for name, leaf in leaves(row) if is_picture(leaf) or getattr(leaf, "ndim", 0) > 1]
    grey = [name for name, leaf in pixels if is_grey(leaf)]
    if grey and len(pixels) > 1:
        raise LrscopeError(
            f"{field}: {' and '.join(grey)} of the examples hold grey pictures, whose pixels may be class numbers or brightness: "
            f"pass {MASK}"
        )


def of_batches(field: str, batches: Sequence[Tree]) -> Columns:
    """Batches of examples, each a tree of tensors [B, ...], one after the other."""
    batches = [tupled(batch) for batch in batches]
    return checked(field, joined(batches, lambda name, tensors: own_tensor(f"{field}: {name}", torch.cat(tensors))))


def checked(field: str, tree: Tree) -> Columns:
    """Columns of the tree.

    Raises:
        LrscopeError: there are no examples, or NaN or infinity among them.
    """
    found = list(leaves(tree))
    if not found or not len(found[0][1]):
        raise LrscopeError(f"{field}: the data set is empty: pass at least one batch of examples")
    for name, leaf in found:
        check_finite(f"{field} examples' {name}", leaf)
    return Columns(tree)
