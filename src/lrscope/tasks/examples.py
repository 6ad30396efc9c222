"""Reading the examples that a user hands over into two tensors in memory: inputs [N, ...] and labels [N, ...]."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lrscope.errors import LrscopeError

REREAD = 16  # ours: a random flip goes unnoticed once in 2^16 data sets
Examples = tuple[Tensor, Tensor] | Dataset[Any] | DataLoader[Any]


def as_tensors(field: str, examples: Any) -> tuple[Tensor, Tensor]:
    """Read tensors, a `Dataset` or a `DataLoader` into memory, in the order of its index."""
    if isinstance(examples, (tuple, list)) and len(examples) == 2 and isinstance(examples[0], Tensor):
        x, y = examples
    elif isinstance(examples, DataLoader):
        if not hasattr(examples.dataset, "__len__"):
            raise LrscopeError(f"{field}: a DataLoader over a stream has no order to repeat: pass a map-style Dataset")
        return as_tensors(field, examples.dataset)
    elif hasattr(examples, "__getitem__") and hasattr(examples, "__len__") and not isinstance(examples, str):
        x, y = _read(field, examples)
    else:
        raise LrscopeError(
            f"{field}: {type(examples).__name__} is not readable: pass (inputs, labels) as tensors, a Dataset or a DataLoader"
        )
    if len(x) != len(y):
        raise LrscopeError(f"{field}: {len(x)} inputs but {len(y)} labels: pass as many of one as of the other")
    x, y = x.detach().cpu(), y.detach().cpu()
    return (x.float() if x.is_floating_point() else x), (y.float() if y.is_floating_point() else y.long())


def _read(field: str, examples: Any) -> tuple[Tensor, Tensor]:
    """All examples of a map-style data set; warns if its transform is random."""
    if len(examples) == 0:
        raise LrscopeError(f"{field}: the data set is empty: pass at least one batch of examples")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pairs = [_pair(field, examples, i) for i in range(len(examples))]
        again = [_pair(field, examples, i)[0] for i in range(min(REREAD, len(examples)))]
    if any(not torch.equal(x, old) for x, (old, _) in zip(again, pairs, strict=False)):
        warnings.warn(
            f"{field}: the data set's transform is random; lrscope reads every example once and trains on that copy. "
            "Remove random transforms, or use augment=True for crops and flips",
            stacklevel=4,
        )
    try:
        return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])
    except RuntimeError as error:
        raise LrscopeError(
            f"{field}: the examples of the data set differ in shape ({error}): crop or pad them to one shape"
        ) from error


def _pair(field: str, examples: Any, index: int) -> tuple[Tensor, Tensor]:
    try:
        x, y = examples[index]
        return torch.as_tensor(x), torch.as_tensor(y)
    except (RuntimeError, ValueError, TypeError) as error:
        raise LrscopeError(
            f"{field}: example {index} of the data set is not (input, label) as tensors or numbers ({error}): "
            "give the data set a transform, such as torchvision's ToTensor()"
        ) from error
