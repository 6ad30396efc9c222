"""Results of schema version 1, which were one flat dataset, as the tree that they are today. They are read, never written."""

from __future__ import annotations

import xarray as xr

from lrscope.schema import AVERAGE, FINETUNE, PRETRAIN, ROOT_VARIABLES, SCHEMA_VERSION, SHARED, Node

VERSION = 1
PREFIXES = {"finetune_": FINETUNE, "average_": AVERAGE}  # of variables' names; those of pre-training have none
AXES = (*FINETUNE.axes, *AVERAGE.axes)


def as_tree(flat: xr.Dataset) -> xr.DataTree:
    """The same arrays, a node a segment: `finetune_train_loss(lr, finetune_lr, data_seed, seed, finetune_epoch)` is
    `train_loss(lr, finetune_lr, data_seed, seed, epoch)` of the node `finetune`. Nothing is loaded."""
    root = flat.drop_vars([name for name in flat.variables if not _is_shared(str(name))])
    found = {"/": root.assign_attrs(schema_version=SCHEMA_VERSION)}
    for node in (PRETRAIN, AVERAGE, FINETUNE):
        if set(node.axes) <= set(flat.dims):
            found["/" + node.name] = _part(flat, node)
    return xr.DataTree.from_dict(found)


def _part(flat: xr.Dataset, node: Node) -> xr.Dataset:
    """The variables and coordinates of one segment, under the names of today."""
    names = {str(name): _own_name(str(name), node) for name in flat.variables}
    part = flat.drop_vars([name for name, own in names.items() if own is None])
    part.attrs = node.attributes()
    return part.rename({name: own for name, own in names.items() if own not in (None, name)})


def _is_shared(name: str) -> bool:
    return name in SHARED or name in ROOT_VARIABLES


def _own_name(name: str, node: Node) -> str | None:
    """What a variable of the flat dataset is called in the node; None if it belongs elsewhere."""
    if _is_shared(name):
        return None
    if name in AXES:
        return name if name in node.axes else None
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
    return name.removeprefix(prefix) if PREFIXES.get(prefix, PRETRAIN) == node else None
