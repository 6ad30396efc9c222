"""Slopes of matrices from what flows past them, without the gradients of the matrices.

With y = x W^T on R rows and the gradient d [R, out] at y, the gradient of W is d^T x. So the sum of W times it is over an input i
the sum over rows of x_i (d W)_i, and over an output o that of d_o y_o. Backpropagation has d W anyway; d^T x is as
much work again, and as large as W.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from lrscope.symmetries.legs import Leg, sampled

# By the name of a product in PyTorch's graph: which of its inputs are x and the matrix, and where x is kept.
PRODUCTS = {"AddmmBackward0": (1, 2, "_saved_mat1"), "MmBackward0": (0, 1, "_saved_self")}
LEAF = "AccumulateGrad"
OWN = "_DepthwiseBackward"  # of depthwise.py: it calls no backward pass
Users = Mapping[Node, Sequence[tuple[Node, int]]]


@dataclass(frozen=True)
class Product:
    """One product of a weight matrix: its node in the graph, its x [R, in], and the matrix's axis that x is summed along."""

    node: Node
    x: Tensor
    axis: int

    def hook(self, weight: Tensor, legs: Sequence[Leg], add: Callable[[float, dict[Leg, Tensor]], None]) -> Any:
        """Call `add` in the next backward pass with the matrix's slope and those of its legs' sampled slices."""
        place = PRODUCTS[self.node.name()][0]

        def measured(inner: Sequence[Tensor], outer: Sequence[Tensor]) -> None:
            along = (self.x * inner[place]).sum(0)
            slopes = {leg: self._along(leg, along, weight, outer[0]) for leg in legs}
            add(float(along.sum()), slopes)

        return self.node.register_hook(measured)

    def _along(self, leg: Leg, along: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
        if leg.axis == self.axis:
            return leg.sums(along).cpu()
        places = sampled(leg.length)
        there = leg.entries(places).to(weight.device)
        rows = weight.index_select(leg.axis, there)
        y = self.x @ (rows.T if self.axis else rows)
        return leg.at((y * gradient.index_select(1, there)).sum(0), places).cpu()


@dataclass(frozen=True)
class Flow:
    """What of a graph needs no gradients of its own.

    products: by tensor all products that it is in; it is in nothing else.
    leaves: all other tensors with gradients, whatever they are; not asked for without products.
    """

    products: Mapping[str, Sequence[Product]]
    leaves: Sequence[Tensor]


def flow(outputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Flow:
    """Of the graph behind `outputs`: the matrices among `weights` whose slopes can be had without their gradients.

    There are none in a graph with custom functions, which may call a backward pass of their own; such as gradient checkpointing.
    Nor where an output is a tensor that trains, which then is in more than the graph shows.
    """
    if any(x.grad_fn is None for x in outputs):  # a tensor that trains is itself an output
        return Flow({}, [])
    users = _users([x.grad_fn for x in outputs if x.grad_fn is not None])
    leaves: dict[Node, Tensor] = {node: node.variable for node in users if node.name().endswith(LEAF)}  # type: ignore[attr-defined]
    if any(hasattr(type(node), "save_for_backward") and node.name() != OWN for node in users):
        return Flow({}, [])
    names = {id(weight): name for name, weight in weights.items()}
    products: dict[str, list[Product]] = {}
    for node, leaf in leaves.items():
        found = _products(node, users) if id(leaf) in names else []
        if found:
            products[names[id(leaf)]] = found
    others = [leaf for leaf in leaves.values() if names.get(id(leaf)) not in products]
    return Flow(products, others)


def _users(roots: Sequence[Node]) -> dict[Node, list[tuple[Node, int]]]:
    """All nodes, each with those that it is an input of, and which of their inputs it is."""
    users: dict[Node, list[tuple[Node, int]]] = {root: [] for root in roots}
    left = list(users)
    while left:
        node = left.pop()
        for place, (inner, _) in enumerate(node.next_functions):
            if inner is None:
                continue
            if inner not in users:
                users[inner] = []
                left.append(inner)
            users[inner].append((node, place))
    return users


def _products(leaf: Node, users: Users) -> list[Product]:
    """The products that a leaf is the matrix of; none if it is in anything else, or an x has no gradient."""
    found = []
    for node, place in users[leaf]:
        turned = _is_transposed(node)
        for product, at in users[node] if turned else [(node, place)]:
            one = _product(product, at, axis=1 if turned else 0)
            if one is None:
                return []
            found.append(one)
    return found


def _is_transposed(node: Node) -> bool:
    """Is it W.t() or W.T of a matrix?"""
    dims = getattr(node, "_saved_dims", ()) if node.name() == "PermuteBackward0" else ()
    return node.name() == "TBackward0" or [dim % 2 for dim in dims] == [1, 0]


def _product(node: Node, place: int, *, axis: int) -> Product | None:
    x_at, matrix_at, kept = PRODUCTS.get(node.name(), (0, -1, ""))
    if place != matrix_at or node.next_functions[x_at][0] is None or getattr(node, "_saved_alpha", 1) != 1:
        return None
    return Product(node, getattr(node, kept), axis)
