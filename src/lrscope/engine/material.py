"""What the runs of one data seed share: the examples on the device and the ways to evaluate weights on them.

R runs, P parameters, K batches, B batch, F feature sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lrscope.config import SweepConfig
from lrscope.dynamics.layout import group_squares
from lrscope.dynamics.statistics import GroupFacts
from lrscope.engine.batch_order import BatchOrder
from lrscope.engine.evaluation import Evaluation
from lrscope.engine.example_groups import ExampleGroups
from lrscope.engine.net import Net, draw_weights
from lrscope.engine.noise import seeds, with_noise
from lrscope.engine.step import Named
from lrscope.errors import LrscopeError
from lrscope.tasks.augment import Augmentation
from lrscope.tasks.data.held_out import left_to_train
from lrscope.tasks.random_state import seed_all
from lrscope.tasks.streams import generator, stream_seed
from lrscope.tasks.task import Task

DRAWN_TOGETHER = 16  # normal numbers, in PyTorch's CPU kernel
POPULATION_EXAMPLES = 1024  # ours: population statistics to about 3%, whatever the data set's size


class Material:
    """Examples of one data seed on the device, in the training precision."""

    def __init__(
        self, task: Task, net: Net, config: SweepConfig, data_seed: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        data = task.data(data_seed)
        self.task, self.net, self.config = task, net, config
        self.data_seed = data_seed
        self.device, self.dtype = device, dtype
        self.train_x, self.train_y = self._place(data.train_x), self._place(data.train_y)
        self.test_x, self.test_y = self._place(data.test_x), self._place(data.test_y)
        self.validation_x = None if data.validation_x is None else self._place(data.validation_x)
        self.validation_y = None if data.validation_y is None else self._place(data.validation_y)
        self.feature_x = None if data.feature_x is None else self._place(data.feature_x)
        self.feature_y = None if data.feature_y is None else self._place(data.feature_y)
        self.groups = ExampleGroups.of(data, data_seed, self._place, dtype)
        self.augmentation = Augmentation(data, crops=config.augment, randaugment=config.randaugment)
        self.train_size = len(self.train_x)
        if self.train_size < config.batch_size:
            raise LrscopeError(
                f"batch_size: {config.batch_size} is more than the {left_to_train(data)}: use a smaller one"
            )
        batches = self.train_size // config.batch_size
        self._batches_x = self._cut(self.train_x, batches)
        self._batches_y = self._cut(self.train_y, batches)
        self.population_x = self._batches_x[: max(1, POPULATION_EXAMPLES // config.batch_size)]

    def _place(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)

    def _cut(self, tensor: Tensor, batches: int) -> Tensor:
        b = self.config.batch_size
        return tensor[: batches * b].view(batches, b, *tensor.shape[1:])

    def order(self, keys: Sequence[tuple[str | int, ...]]) -> BatchOrder:
        """The order in which runs of these streams see the training examples."""
        source = None if self.task.batches is None else self.task.batches.source
        shuffled = source is None or not source.train.in_order
        size = self.config.batch_size
        return BatchOrder(keys, self.train_size, size, self.device, self.augmentation, shuffled=shuffled)

    def batches(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Training batches x [K, B, ...], y [K, B] in the examples' order, as `fixed_pass` goes through them.

        `count` takes that many, spread evenly over the training set; None, or more than there are, takes all.
        """
        n = len(self._batches_x)
        if count is None or count >= n:
            return self._batches_x, self._batches_y
        chosen = torch.arange(count, device=self.device) * n // count
        return self._batches_x[chosen], self._batches_y[chosen]

    def initial_weights(self, seeds: Sequence[int]) -> tuple[Tensor, Named]:
        """Initial weights [R, P] and frozen tensors [R, ...] for initialisation seeds."""
        return draw_weights(self.task, self.net, seeds, device=self.device, dtype=self.dtype, radius=self.config.radius)

    def squares(self, weights_RP: Tensor) -> Tensor:
        """Squared norms of the groups [R, G]."""
        return group_squares(weights_RP, self.net.segments)

    def test_metrics(self, evaluation: Evaluation, weights_RP: Tensor, frozen: Named) -> tuple[Tensor, Tensor]:
        """Test loss and accuracy [R], batch norms with population statistics re-estimated over training batches."""
        return self._evaluated(evaluation, weights_RP, frozen, self.test_x, self.test_y)

    def validation_metrics(self, evaluation: Evaluation, weights_RP: Tensor, frozen: Named) -> Tensor | None:
        """Validation loss and accuracy [R, 2] under the same rule; None without a validation set."""
        if self.validation_x is None or self.validation_y is None:
            return None
        return torch.stack(self._evaluated(evaluation, weights_RP, frozen, self.validation_x, self.validation_y), 1)

    def window_metrics(
        self, evaluation: Evaluation, weights_RP: Tensor, frozen: Named
    ) -> tuple[tuple[Tensor, Tensor], GroupFacts]:
        """What is logged at the end of a logging interval: `test_metrics`, and the metrics of groups of examples under the same
        rule."""
        populations = evaluation.populations(weights_RP, frozen, self.population_x)
        test = evaluation.metrics(weights_RP, frozen, populations, self.test_x, self.test_y)
        if self.groups is None:
            return test, GroupFacts()
        return test, self.groups.divided(evaluation.group_metrics(weights_RP, frozen, populations, self.groups))

    def own_metrics(
        self, evaluation: Evaluation, weights_RP: Tensor, frozen: Named, *, validation: bool = False
    ) -> Tensor | None:
        """The task's own metrics on test or validation examples [R, M] under the same rule; None where there are none."""
        x, y = (self.validation_x, self.validation_y) if validation else (self.test_x, self.test_y)
        if not evaluation.own or x is None or y is None:
            return None
        populations = evaluation.populations(weights_RP, frozen, self.population_x)
        return evaluation.own_metrics(weights_RP, frozen, populations, x, y)

    def train_metrics(self, evaluation: Evaluation, weights_RP: Tensor, frozen: Named) -> tuple[Tensor, Tensor]:
        """Training loss and accuracy [R] under the same rule as `test_metrics`."""
        return self._evaluated(evaluation, weights_RP, frozen, self.train_x, self.train_y)

    def feature_accuracy(self, evaluation: Evaluation, weights_RP: Tensor, frozen: Named) -> Tensor | None:
        """Accuracy on each feature set [R, F], or None without feature sets."""
        if self.feature_x is None or self.feature_y is None:
            return None
        return torch.stack(
            [
                self._evaluated(evaluation, weights_RP, frozen, x, y)[1]
                for x, y in zip(self.feature_x, self.feature_y, strict=True)
            ],
            1,
        )

    def logged_features(self, evaluation: Evaluation, weights_RP: Tensor, frozen: Named) -> Tensor | None:
        """The same at the end of a logging interval, or None where it is not logged along training."""
        return self.feature_accuracy(evaluation, weights_RP, frozen) if self.config.log_features else None

    def _evaluated(
        self, evaluation: Evaluation, weights_RP: Tensor, frozen: Named, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        populations = evaluation.populations(weights_RP, frozen, self.population_x)
        return evaluation.metrics(weights_RP, frozen, populations, x, y)

    def fixed_pass(self, evaluation: Evaluation, weights_RP: Tensor, frozen: Named) -> Tensor:
        """Loss, accuracy and mean gradient norm [R, 3] of a pass over the training set at fixed weights, train mode."""
        return evaluation.fixed_pass(weights_RP, frozen, self._batches_x, self._batches_y)

    def random_points(self, evaluation: Evaluation, group: int = 0) -> dict[str, Tensor]:
        """Training loss and accuracy [seeds, K] at K random points of the space for every training seed.

        For an SI net: uniform directions, with the readout that the seed's runs have. Otherwise fresh initialisations.
        `group` is the number of points that are in memory at a time; 0 for all. The points are the same.
        """
        count = self.config.random_points
        losses, accuracies = [], []
        for seed in self.config.training_seeds:
            names = [("init", self.data_seed, seed)] * count
            if not self.net.scale_invariant:
                names = [("random-init", self.data_seed, seed * count + i) for i in range(count)]
            directions = normal_rows(
                generator("random-point", self.data_seed, seed), count, self.net.size, group or count
            )
            for first in range(0, count, group or count):
                some = names[first : first + (group or count)]
                weights, frozen = self.initial_weights([stream_seed(*name) for name in some])
                if self.net.noise == "keyed":
                    drawn = [("random noise", self.data_seed, seed, first + i) for i in range(len(some))]
                    frozen = with_noise(frozen, seeds(drawn, self.device))
                if self.net.scale_invariant:
                    direction = next(directions).to(self.device, self.dtype)
                    weights = direction * (weights.norm(dim=1) / direction.norm(dim=1))[:, None]
                    del direction
                for start, part in self._parts(evaluation, len(some)):
                    if self.net.noise == "global":
                        seed_all(stream_seed("random noise", self.data_seed, seed, first + start))
                    loss, accuracy = evaluation.train_mode_metrics(
                        weights[part], {name: f[part] for name, f in frozen.items()}, self._batches_x, self._batches_y
                    )
                    losses.append(loss)
                    accuracies.append(accuracy)
        shape = (self.config.seeds, count)
        return {"loss": torch.cat(losses).view(shape), "accuracy": torch.cat(accuracies).view(shape)}

    @staticmethod
    def _parts(evaluation: Evaluation, count: int) -> list[tuple[int, slice]]:
        """Which of `count` points the program takes together, and the first one's number."""
        size = 1 if evaluation.backend.path == "single" else count
        return [(start, slice(start, start + size)) for start in range(0, count, size)]


def normal_rows(stream: torch.Generator, count: int, size: int, group: int) -> Iterator[Tensor]:
    """The rows of torch.randn(count, size, generator=stream), `group` at a time, without holding all of them.

    PyTorch draws normal numbers on a CPU in blocks of 16, and the last 16 of all once more where that does not come out
    even; so what is drawn at a time ends at a whole block, or at the end.
    """
    total, drawn = count * size, 0
    rest = torch.empty(0)
    for first in range(0, count, group):
        rows = min(group, count - first)
        stop = -(-(first + rows) * size // DRAWN_TOGETHER) * DRAWN_TOGETHER
        stop = total if total - stop < DRAWN_TOGETHER else stop
        if stop > drawn:
            rest = torch.cat([rest, torch.randn(stop - drawn, generator=stream)])
            drawn = stop
        yield rest[: rows * size].view(rows, size)
        rest = rest[rows * size :].clone()
