"""The training examples on which example groups are evaluated while runs train.

N examples, E groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.subsets import subset
from lrscope.tasks.streams import generator

EXAMPLES = 1024  # ours, of a group: accuracies to 1.6%, at the price of a test set of that size
BLOCK = 64  # N is a multiple of it, so that generated code is compiled for one size of block


@dataclass(frozen=True)
class ExampleGroups:
    """Up to `EXAMPLES` of each group, drawn by the data seed, in one array; the last ones may belong to no group.

    One pass over them gives all groups' metrics, under the labels that are trained on and under the true ones.
    """

    x: Tensor  # [N, ...]
    y: Tensor  # [N, ...]
    true_y: Tensor  # [N, ...]: labels before label noise; without noise those of y
    member: Tensor  # [N, E] 1 or 0, in the type of the weights
    sizes: Tensor  # [E] float64: examples evaluated; 0 makes a group's metrics NaN

    @classmethod
    def of(
        cls, data: DataSet, data_seed: int, place: Callable[[Tensor], Tensor], dtype: torch.dtype
    ) -> ExampleGroups | None:
        """Those of a data set, put on the device by `place`; None if it has no partition."""
        if data.train_groups is None:
            return None
        chosen = [_drawn(data.train_groups, e, data_seed) for e in range(len(data.train_group_names))]
        index = torch.cat(chosen)
        member = torch.zeros(len(index), len(chosen), dtype=dtype)
        member[torch.arange(len(index)), data.train_groups[index]] = 1
        missing = -len(index) % BLOCK
        index = torch.cat([index, index.new_zeros(missing)])
        member = torch.cat([member, member.new_zeros(missing, len(chosen))])
        true_y = data.train_y if data.clean_train_y is None else data.clean_train_y
        x = place(data.train_x[index])
        sizes = torch.tensor([len(part) for part in chosen], dtype=torch.float64, device=x.device)
        return cls(x, place(data.train_y[index]), place(true_y[index]), place(member), sizes)


def _drawn(groups: Tensor, group: int, data_seed: int) -> Tensor:
    """Indices of up to `EXAMPLES` examples of a group."""
    where = (groups == group).nonzero()[:, 0]
    return where[subset(len(where), EXAMPLES, generator("example group", group, data_seed))]
