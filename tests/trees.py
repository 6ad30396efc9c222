"""Results are trees: their arrays by path, and changed copies of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from lrscope.schema import AVERAGE, FINETUNE, PRETRAIN, ROOT_VARIABLES, variables_of


def arrays(result: xr.DataTree, *, coordinates: bool = False) -> dict[str, xr.DataArray]:
    """Every variable of every node, and with `coordinates` those too, by its path: `seconds`, `pretrain/train_loss`."""
    found = {}
    for node in result.subtree:
        own = node.to_dataset(inherit=False)
        for name in own.variables if coordinates else own.data_vars:
            found[f"{node.path}/{name}".lstrip("/")] = own[name]
    return found


def changed(result: xr.DataTree, new: Mapping[str, Any] | None = None, **attributes: Any) -> xr.DataTree:
    """A copy with other arrays at some paths and other attributes of the root."""
    nodes = {node.path: node.to_dataset(inherit=False).copy(deep=True) for node in result.subtree}
    for path, array in (new or {}).items():
        node, _, name = path.rpartition("/")
        nodes["/" + node] = nodes["/" + node].assign({name: array})
    nodes["/"] = nodes["/"].assign_attrs(attributes)
    return xr.DataTree.from_dict(nodes)


def with_node(result: xr.DataTree, name: str, node: xr.Dataset | None) -> xr.DataTree:
    """A copy with another node below the root (the root itself: ""), or without it."""
    nodes = {n.path: n.to_dataset(inherit=False) for n in result.subtree} | {"/" + name: node}
    return xr.DataTree.from_dict({path: dataset for path, dataset in nodes.items() if dataset is not None}).copy(
        deep=True
    )


def own(result: xr.DataTree, name: str) -> xr.Dataset:
    """A node below the root without what it inherits."""
    return result.children[name].to_dataset(inherit=False)


def without(result: xr.DataTree, *paths: str) -> xr.DataTree:
    """A copy without the variables or coordinates at some paths."""
    nodes = {node.path: node.to_dataset(inherit=False) for node in result.subtree}
    for path in paths:
        node, _, name = path.rpartition("/")
        nodes["/" + node] = nodes["/" + node].drop_vars(name)
    return xr.DataTree.from_dict(nodes)


def dims_of(path: str) -> tuple[str, ...]:
    """What the schema says of the variable at a path of today's nodes."""
    name, _, variable = path.rpartition("/")
    node = {node.name: node for node in (PRETRAIN, AVERAGE, FINETUNE)}.get(name)
    return (ROOT_VARIABLES if node is None else variables_of(node))[variable].dims
