"""What is logged: one table of statistics, which the engine computes, the schema describes and reports read.

A statistic is one entry. It has a value per run, or one for each group of weights, group of examples or feature set.
Importing the table needs no PyTorch. R runs, G groups of weights, E groups of examples, F feature sets, M metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

TRAINED = ("pretrain", "finetune", "branch")
WHOLE = ("pretrain", "branch")  # with what is logged of each tensor
# Traits of a task without which there is nothing to compute from.
STRUCTURAL = {"example_groups", "test_groups", "features", "logged_features", "validation", "metrics"}


class StepFacts(NamedTuple):
    """What a step knows before the weights move."""

    loss: Tensor  # [R], mean of the mini-batch
    accuracy: Tensor  # [R]
    gradient_squares: Tensor  # [R, G], of the whole gradient
    gradient_total: Tensor  # [R], their sum
    moved_squares: Tensor  # [R, G], of the gradient that the optimizer gets, which may be clipped
    squares: Tensor  # [R, G], of the weights
    lr: Tensor  # [R], the optimizer's


class GroupFacts(NamedTuple):
    """Metrics [R, E, 3] of groups of examples: loss, accuracy, accuracy under the true labels."""

    train: Tensor | None = None  # of training examples
    test: Tensor | None = None  # of test examples


class IntervalFacts(NamedTuple):
    """What is known at the end of a logging interval."""

    test: tuple[Tensor, Tensor]  # loss [R] and accuracy [R]
    squares: Tensor  # [R, G] float64, of the weights
    lr: Tensor  # [R] float64, the optimizer's
    examples: GroupFacts
    own: Tensor | None  # [R, M], the task's own metrics on the test set
    features: Tensor | None  # [R, F], accuracy on each feature set, where it is logged along training


class EndFacts(NamedTuple):
    """What is known at the end of a segment."""

    fixed: Tensor  # [R, 3]: loss, accuracy, gradient norm of a pass over the training set at fixed weights
    norm: Tensor  # [R], of all weights
    features: Tensor | None  # [R, F]
    validation: Tensor | None  # [R, 2]: loss, accuracy
    own_validation: Tensor | None  # [R, M], the task's own metrics


class AverageFacts(NamedTuple):
    """What is known of averaged weights."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    features: Tensor | None  # [R, F]
    validation: Tensor | None  # [R, 2]
    own: Tensor | None  # [R, M], the task's own metrics on the test set
    own_validation: Tensor | None  # [R, M]


@dataclass(frozen=True)
class Statistic:
    """One logged quantity.

    Attributes:
        name: of the variable in a result.
        unit, meaning: for schema, documentation and reports.
        of: its values [R, *dims] from the facts of its table; None where there are none.
        dims: dimensions beside the run and the time.
        needs: traits of the task and the network that it takes, in words (`results.Variable`).
        segments: the kinds of segments that it is logged in.
    """

    name: str
    unit: str
    meaning: str
    of: Callable[[Any], Tensor | None]
    dims: tuple[str, ...] = ()
    needs: str = "always"
    segments: tuple[str, ...] = TRAINED

    def is_computed(self, kind: str, traits: Iterable[str]) -> bool:
        """Is it computed in a segment of that kind, for a task with these traits?"""
        return kind in self.segments and set(self.needs.split()) & STRUCTURAL <= set(traits)


def _example_group(column: int) -> Callable[[IntervalFacts], Tensor | None]:
    return lambda facts: None if facts.examples.train is None else facts.examples.train[..., column]


def _test_group(column: int) -> Callable[[IntervalFacts], Tensor | None]:
    return lambda facts: None if facts.examples.test is None else facts.examples.test[..., column]


def _validation(column: int) -> Callable[[EndFacts | AverageFacts], Tensor | None]:
    return lambda facts: None if facts.validation is None else facts.validation[:, column]


STEP = (  # means over the steps of a logging interval
    Statistic("train_loss", "nat", "mean mini-batch loss over the logging interval, training pass", lambda f: f.loss),
    Statistic(
        "train_accuracy",
        "1",
        "mean mini-batch accuracy over the logging interval, training pass",
        lambda f: f.accuracy,
        needs="classification",
    ),
    Statistic(
        "grad_norm",
        "1/weight",
        "mean norm of the stochastic gradient over the logging interval, training pass",
        lambda f: f.gradient_total.sqrt(),
    ),
    Statistic(
        "effective_grad_norm",
        "1",
        "mean gradient norm times total weight norm (sharpness)",
        lambda f: (f.gradient_total * f.squares.sum(1)).sqrt(),
        needs="invariant",
    ),
    Statistic(
        "group_effective_grad_norm",
        "1",
        "mean gradient norm times weight norm of the group",
        lambda f: (f.gradient_squares * f.squares).sqrt(),
        dims=("group",),
        needs="invariant",
        segments=WHOLE,
    ),
    Statistic(
        "group_ess",
        "1",
        "mean effective step size of the group",
        lambda f: (f.moved_squares / f.squares).sqrt() * f.lr[:, None],
        dims=("group",),
        needs="invariant",
        segments=WHOLE,
    ),
)

INTERVAL = (  # at the end of a logging interval
    Statistic("test_loss", "nat", "test loss at the end of the logging interval", lambda f: f.test[0]),
    Statistic(
        "test_accuracy",
        "1",
        "test accuracy at the end of the logging interval",
        lambda f: f.test[1],
        needs="classification",
    ),
    Statistic(
        "group_norm",
        "weight",
        "norm of the group's weights at the end of the logging interval",
        lambda f: f.squares.sqrt(),
        dims=("group",),
        segments=WHOLE,
    ),
    Statistic(
        "group_elr",
        "1",
        "lr / (group norm)^2 at the end of the logging interval",
        lambda f: f.lr[:, None] / f.squares,
        dims=("group",),
        needs="invariant",
        segments=WHOLE,
    ),
    Statistic(
        "example_group_loss",
        "nat",
        "training loss of an example group at the end of the logging interval",
        _example_group(0),
        dims=("example_group",),
        needs="example_groups",
    ),
    Statistic(
        "example_group_accuracy",
        "1",
        "accuracy of an example group under the labels trained on",
        _example_group(1),
        dims=("example_group",),
        needs="example_groups classification",
    ),
    Statistic(
        "example_group_true_accuracy",
        "1",
        "accuracy of an example group under the labels before noise",
        _example_group(2),
        dims=("example_group",),
        needs="example_groups true_labels classification",
    ),
    Statistic(
        "test_group_loss",
        "nat",
        "loss of a group of test examples at the end of the logging interval",
        _test_group(0),
        dims=("test_group",),
        needs="test_groups",
    ),
    Statistic(
        "test_group_accuracy",
        "1",
        "accuracy of a group of test examples at the end of the logging interval",
        _test_group(1),
        dims=("test_group",),
        needs="test_groups classification",
    ),
    Statistic(
        "test_metric",
        "task's own",
        "the task's own metrics on the test set at the end of the logging interval",
        lambda f: f.own,
        dims=("metric",),
        needs="metrics",
    ),
    Statistic(
        "logged_feature_accuracy",
        "1",
        "accuracy on each feature set at the end of the logging interval",
        lambda f: f.features,
        dims=("feature",),
        needs="logged_features",
    ),
)

END = (  # once, at the end of a segment
    Statistic(
        "fixed_train_loss",
        "nat",
        "training loss of a separate pass at the final weights, train mode",
        lambda f: f.fixed[:, 0],
    ),
    Statistic(
        "fixed_train_accuracy",
        "1",
        "training accuracy of the separate pass",
        lambda f: f.fixed[:, 1],
        needs="classification",
    ),
    Statistic(
        "fixed_grad_norm", "1/weight", "mean stochastic gradient norm of the separate pass", lambda f: f.fixed[:, 2]
    ),
    Statistic(
        "fixed_effective_grad_norm",
        "1",
        "the same times the total weight norm",
        lambda f: f.fixed[:, 2] * f.norm,
        needs="invariant",
    ),
    Statistic(
        "feature_accuracy",
        "1",
        "accuracy on each feature set",
        lambda f: f.features,
        dims=("feature",),
        needs="features",
    ),
    Statistic("validation_loss", "nat", "validation loss at the segment's end", _validation(0), needs="validation"),
    Statistic(
        "validation_accuracy",
        "1",
        "validation accuracy at the segment's end",
        _validation(1),
        needs="validation classification",
    ),
    Statistic(
        "validation_metric",
        "task's own",
        "the task's own metrics on the validation set at the segment's end",
        lambda f: f.own_validation,
        dims=("metric",),
        needs="validation metrics",
    ),
)

AVERAGE = (  # of averaged weights
    Statistic("train_loss", "nat", "training loss", lambda f: f.train[0], segments=("average",)),
    Statistic(
        "train_accuracy",
        "1",
        "training accuracy",
        lambda f: f.train[1],
        needs="classification",
        segments=("average",),
    ),
    Statistic("test_loss", "nat", "test loss", lambda f: f.test[0], segments=("average",)),
    Statistic(
        "test_accuracy", "1", "test accuracy", lambda f: f.test[1], needs="classification", segments=("average",)
    ),
    Statistic(
        "feature_accuracy",
        "1",
        "accuracy on each feature set",
        lambda f: f.features,
        dims=("feature",),
        needs="features",
        segments=("average",),
    ),
    Statistic("validation_loss", "nat", "validation loss", _validation(0), needs="validation", segments=("average",)),
    Statistic(
        "validation_accuracy",
        "1",
        "validation accuracy",
        _validation(1),
        needs="validation classification",
        segments=("average",),
    ),
    Statistic(
        "test_metric",
        "task's own",
        "the task's own metrics on the test set",
        lambda f: f.own,
        dims=("metric",),
        needs="metrics",
        segments=("average",),
    ),
    Statistic(
        "validation_metric",
        "task's own",
        "the task's own metrics on the validation set",
        lambda f: f.own_validation,
        dims=("metric",),
        needs="validation metrics",
        segments=("average",),
    ),
)


def computed(facts: NamedTuple, table: Iterable[Statistic], kind: str) -> dict[str, Tensor]:
    """The values of a table's statistics in a segment of that kind, by name, in new memory."""
    found = {s.name: s.of(facts) for s in table if kind in s.segments}
    return {name: in_own_memory(value) for name, value in found.items() if value is not None}


def in_own_memory(value: Tensor) -> Tensor:
    """A contiguous copy."""
    import torch

    return value.clone(memory_format=torch.contiguous_format)


def packed(finite_R: Tensor, facts: StepFacts) -> Tensor:
    """Was the step finite, then the statistics of a step in one array [R, M] in float64: those per run, then those per group."""
    import torch

    values = [s.of(facts) for s in STEP]
    per_run = [v.to(facts.loss.dtype) for v, s in zip(values, STEP, strict=True) if v is not None and not s.dims]
    per_group = [v for v, s in zip(values, STEP, strict=True) if v is not None and s.dims]
    row = torch.stack([finite_R.to(facts.loss.dtype), *per_run], 1)
    return torch.cat([row, *per_group], 1).to(torch.float64)


def packed_size(groups: int) -> int:
    """Columns of `packed` for G groups."""
    return 1 + sum(groups if s.dims else 1 for s in STEP)


def unpacked(sums: Tensor, groups: int) -> dict[str, Tensor]:
    """The columns of `packed` by name, but the first."""
    order = sorted(STEP, key=lambda s: bool(s.dims))
    parts = sums[:, 1:].split_with_sizes([groups if s.dims else 1 for s in order], 1)
    return {s.name: part if s.dims else part[:, 0] for s, part in zip(order, parts, strict=True)}


def shapes(
    table: Iterable[Statistic], kind: str, traits: Iterable[str], sizes: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """What each statistic of a table has beside the run and the time, in a segment of that kind: its shape by name."""
    traits = set(traits)
    return {s.name: tuple(sizes[d] for d in s.dims) for s in table if s.is_computed(kind, traits)}
