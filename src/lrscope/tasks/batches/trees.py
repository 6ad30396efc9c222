"""Batches as trees: tensors in dicts, tuples and lists, nested as the user nests them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

Tree = Any
"""A leaf, or a dict, tuple or list of trees."""


def _inside(tree: Tree) -> bool:
    """Is it a tree with parts, and no leaf? A packed sequence is a leaf."""
    return isinstance(tree, Mapping | tuple | list) and not isinstance(tree, PackedSequence)


def mapped(function: Callable[[str, Any], Any], tree: Tree, name: str = "batch") -> Tree:
    """The tree with function(name, leaf) in the place of each leaf. Mappings of other kinds become dicts."""
    if not _inside(tree):
        return function(name, tree)
    if isinstance(tree, Mapping):
        return {key: mapped(function, item, f"{name}[{key!r}]") for key, item in tree.items()}
    items = [mapped(function, item, f"{name}[{place}]") for place, item in enumerate(tree)]
    return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)


def leaves(tree: Tree, name: str = "batch") -> Iterator[tuple[str, Any]]:
    """The leaves with their names, such as `batch['labels']` or `batch[0]`, in their order."""
    if not _inside(tree):
        yield name, tree
        return
    parts = [(repr(key), item) for key, item in tree.items()] if isinstance(tree, Mapping) else enumerate(tree)
    for key, item in parts:
        yield from leaves(item, f"{name}[{key}]")


def tupled(tree: Tree) -> Tree:
    """The tree with tuples in the place of lists, which PyTorch's default_collate makes of tuples."""
    if isinstance(tree, Mapping):
        return {key: tupled(item) for key, item in tree.items()}
    if not _inside(tree):
        return tree
    items = [tupled(item) for item in tree]
    return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)


def form(tree: Tree) -> Any:
    """What two trees of one structure share: their types and keys, without the leaves."""
    return mapped(lambda name, leaf: None, tree)


def joined(trees: Sequence[Tree], join: Callable[[str, list[Any]], Any], name: str = "batch") -> Tree:
    """One tree of trees of one `form`: join(name, leaves that stand in one place)."""
    places = zip(*(list(leaves(tree, name)) for tree in trees), strict=True)
    made = iter([join(place[0][0], [leaf for _, leaf in place]) for place in places])
    return mapped(lambda name, leaf: next(made), trees[0], name)


def described(tree: Tree) -> str:
    """The leaves in words, for messages: "batch['labels'] [4] int64"."""
    return ", ".join(f"{name} {_kind(leaf)}" for name, leaf in leaves(tree)) or "empty"


def _kind(leaf: Any) -> str:
    if not isinstance(leaf, Tensor):
        return type(leaf).__name__
    return f"{list(leaf.shape)} {str(leaf.dtype).removeprefix('torch.')}"


def placed(tree: Tree, device: torch.device, dtype: torch.dtype) -> Tree:
    """The tree on the device, floats in `dtype`: its tensors, packed sequences and what else has a method `to`."""

    def move(name: str, leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.to(device, dtype if leaf.is_floating_point() else None)
        if isinstance(leaf, PackedSequence):
            return leaf.to(device, dtype if leaf.data.is_floating_point() else leaf.data.dtype)  # type: ignore[arg-type]
        return leaf.to(device) if hasattr(leaf, "to") else leaf

    return mapped(move, tree)
