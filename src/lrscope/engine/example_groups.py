"""The examples on which groups of training and of test examples are evaluated while runs train.

N examples, E groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrscope.dynamics.statistics import GroupFacts
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.subsets import subset
from lrscope.tasks.streams import generator

EXAMPLES = 1024  # ours, of a group: accuracies to 1.6%, at the price of a test set of that size
BLOCK = 64  # N is a multiple of it, so that generated code is compiled for one size of block


@dataclass(frozen=True)
class ExampleGroups:
    """Up to `EXAMPLES` of each group, in one array; the last ones may belong to no group.

    The data seed draws the training examples. Test examples are the same for all data seeds, as the test set is.

    One pass over them gives all groups' metrics, under the labels that are trained on and under the true ones. The first
    `of_training` groups are of training examples, the others of test examples.
    """

    x: Tensor  # [N, ...]
    y: Tensor  # [N, ...]
    true_y: Tensor  # [N, ...]: labels before label noise; without noise those of y
    member: Tensor  # [N, E] 1 or 0, in the type of the weights
    sizes: Tensor  # [E] float64: examples evaluated; 0 makes a group's metrics NaN
    of_training: int

    @classmethod
    def of(
        cls, data: DataSet, data_seed: int, place: Callable[[Tensor], Tensor], dtype: torch.dtype
    ) -> ExampleGroups | None:
        """Those of a data set, put on the device by `place`; None if it has no partition."""
        train = _drawn(data.train_groups, data.train_group_names, lambda e: generator("example group", e, data_seed))
        test = _drawn(data.test_groups, data.test_group_names, lambda e: generator("test group", e))
        chosen = [*train, *test]
        if not chosen:
            return None
        sizes = torch.tensor([len(part) for part in chosen])
        count = int(sizes.sum())
        from_train, from_test = (torch.cat([_NONE, *parts]) for parts in (train, test))
        rest = _NONE.new_zeros(-count % BLOCK)

        def rows(of_train: Tensor, of_test: Tensor) -> Tensor:
            return place(torch.cat([of_train[from_train], of_test[from_test], of_train[rest]]))

        member = torch.zeros(count + len(rest), len(chosen), dtype=dtype)
        member[torch.arange(count), torch.arange(len(chosen)).repeat_interleave(sizes)] = 1
        x, y = rows(data.train_x, data.test_x), rows(data.train_y, data.test_y)
        true_y = y if data.clean_train_y is None else rows(data.clean_train_y, data.test_y)
        return cls(x, y, true_y, place(member), sizes.to(x.device, torch.float64), len(train))

    def divided(self, found_REM: Tensor) -> GroupFacts:
        """What was found of all groups [R, E, M], by the groups of training and of test examples."""
        train, test = found_REM[:, : self.of_training], found_REM[:, self.of_training :]
        return GroupFacts(train if train.shape[1] else None, test if test.shape[1] else None)


_NONE = torch.zeros(0, dtype=torch.int64)


def _drawn(groups: Tensor | None, names: Sequence[str], stream: Callable[[int], torch.Generator]) -> list[Tensor]:
    """Indices of up to `EXAMPLES` examples of each group of a partition, by a stream for each group."""
    found = [] if groups is None else [(groups == e).nonzero()[:, 0] for e in range(len(names))]
    return [where[subset(len(where), EXAMPLES, stream(e))] for e, where in enumerate(found)]
