"""What a `Task` with a loss of (model, batch) is made of, and what is refused at its door. N examples, B batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lrscope.errors import LrscopeError, first_line
from lrscope.tasks.batches.module import LOSS, BatchLoss, LossesOf, Recipe, mean_of, per_example, said
from lrscope.tasks.batches.reading import as_part
from lrscope.tasks.batches.source import Part, Source
from lrscope.tasks.batches.trees import described
from lrscope.tasks.factory import weights_type
from lrscope.tasks.identity import digest
from lrscope.tasks.random_state import seeded
from lrscope.tasks.validation import Size

MODEL = "model"  # the name by which a loss says that it gets the model and a batch
FEW = 4  # ours: examples tried
ROUNDING = 1e-3  # ours, relative: a batch of another size sums in another order


def takes_model(loss: Any) -> bool:
    """Is it a function of (model, batch): is its first parameter called `model`?"""
    function = loss.forward if isinstance(loss, nn.Module) else loss
    if isinstance(loss, type) or not callable(function):
        return False
    try:
        return next(iter(inspect.signature(function).parameters), "") == MODEL
    except (TypeError, ValueError):  # a builtin without one
        return False


def read(splits: Mapping[str, Any], loss: BatchLoss, metrics: Mapping[str, BatchLoss]) -> Recipe:
    """The examples of all splits, with the loss and the metrics.

    Raises:
        LrscopeError: examples that cannot be read, or a metric that takes no model.
    """
    for name, metric in metrics.items():
        if not takes_model(metric):
            raise LrscopeError(
                f"metrics: {name} does not take the model, as the loss does: write it as a function of (model, batch), its first "
                "parameter called model"
            )
    return Recipe(Source({split: as_part(split, examples) for split, examples in splits.items()}), loss, metrics)


def refuse(**options: Any) -> None:
    """Refuse options that a loss of (model, batch) leaves no meaning.

    Raises:
        LrscopeError: one of them is given.
    """
    why = {
        "classification": "accuracy cannot be read off a loss of (model, batch): pass it as a metric, such as "
        "metrics={'accuracy': lambda model, batch: (model(batch['x']).argmax(1) == batch['y']).float()}",
        "features": "feature sets are versions of one tensor of inputs, which batches are not: leave them out",
        "normalisation": "it is for one tensor of images, which batches are not: leave it out",
    }
    for name, value in options.items():
        if value is not None and value is not False:
            raise LrscopeError(f"{name}: {why[name]}")


def summary(recipe: Recipe) -> str:
    """A batch in words."""
    with seeded(0):
        return described(recipe.source.batch(_numbers(recipe, "train")[:1], torch.float32))


def check_sizes(recipe: Recipe, batch_size: int) -> None:
    """Refuse to put ready-made batches together.

    Raises:
        LrscopeError: the training batches are ready-made, and `batch_size` is not 1.
    """
    if recipe.source.train.whole and batch_size != 1:
        raise LrscopeError(
            f"batch_size: {batch_size}, but the training batches come ready-made from a stream, and each is one step: leave it "
            "out, or pass 1"
        )


def held_out_of(recipe: Recipe, size: Size) -> Size:
    """How many examples are held out for validation: none of ready-made batches.

    Raises:
        LrscopeError: some were asked for.
    """
    if not recipe.source.train.whole:
        return size
    if size:
        raise LrscopeError(
            f"validation: {size}, but batches that come ready-made from a stream cannot be held out: pass examples of your own"
        )
    return 0


def identity(recipe: Recipe) -> tuple[str, ...]:
    """Hashes of the examples, the loss and the metrics."""
    metrics = [f"{name} {digest(metric)}" for name, metric in recipe.metrics.items()]
    return recipe.source.digest(), digest(recipe.loss), *metrics


# -- tried before anything is planned -----------------------------------------------------------------------------------


def try_out(recipe: Recipe, new_model: Callable[[], nn.Module], *, by_example: bool) -> None:
    """Try loss and metrics on a few examples of every split in eval mode, and on training examples in train mode.

    Args:
        by_example: must the loss return one number per example?

    Raises:
        LrscopeError: one fails or returns no losses; the loss is a sum, does not depend on the model or trains other
            parameters.
    """
    ready_made = [split for split in recipe.source.splits if _part(recipe, split).whole]
    if by_example and ready_made:
        raise LrscopeError(
            f"train_groups, test_groups: {ready_made[0]} batches come ready-made from a stream, and groups are of single "
            "examples: leave the groups out, or pass examples"
        )
    for split in recipe.source.splits:
        for name in (LOSS, *recipe.metrics):
            _tried(recipe, name, new_model(), split, "eval")
    value = _tried(recipe, LOSS, new_model(), "train", "train")
    _check_gradient(value, recipe, new_model())
    if value.dim() == 0 and not recipe.source.train.whole:
        if by_example:
            raise LrscopeError(
                "loss: it returns one number for a batch, and groups of examples need one per example: return losses of shape "
                "[B], or leave the groups out"
            )
        _refuse_sum(recipe, new_model())


def _numbers(recipe: Recipe, split: str) -> Tensor:
    """Of a few examples that are tried together; of one ready-made batch."""
    return recipe.source.numbers(split)[: 1 if _part(recipe, split).whole else FEW]


def _part(recipe: Recipe, split: str) -> Part:
    """The examples of a split."""
    return recipe.source.located(recipe.source.numbers(split)[:1])[0]


def _tried(
    recipe: Recipe,
    name: str,
    model: nn.Module,
    split: str,
    mode: str,
    numbers: Tensor | None = None,
) -> Tensor:
    """What the loss or a metric returns, as it is, for a few examples, by default the first ones."""
    numbers = _numbers(recipe, split) if numbers is None else numbers
    dtype = weights_type(model)
    function = recipe.function(name, numbers.device, dtype)
    with seeded(0):
        batch = recipe.source.batch(numbers, dtype)
        words = described(batch)
        try:
            with torch.enable_grad():
                value = function(model.train(mode == "train"), batch)
        except LrscopeError:
            raise
        except Exception as error:  # a user's code may raise anything
            raise LrscopeError(
                f"{said(name)}: in {mode} mode it fails on a batch of {split} examples ({type(error).__name__}: "
                f"{first_line(error)}): change it, the model or the data; the batch is {words}"
            ) from error
    if recipe.source.located(numbers)[0].whole:
        mean_of(name, value)
    else:
        per_example(name, value, len(numbers))
    if name == LOSS and not value.is_floating_point():
        raise LrscopeError(f"loss: it returned {value.dtype}: return floats, which have gradients")
    return value


def _check_gradient(value: Tensor, recipe: Recipe, model: nn.Module) -> None:
    """Refuse a loss without a gradient, or with one for parameters that are not the model's."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if trained and not value.requires_grad:
        raise LrscopeError(
            "loss: it has no gradient with respect to the model's parameters: call the model that it is given, and leave out "
            "torch.no_grad, .detach() and .item()"
        )
    frozen = model.requires_grad_(False)
    if _tried(recipe, LOSS, frozen, "train", "train").requires_grad:
        raise LrscopeError(
            "loss: it computes with parameters that train, but only those of the model that it is given are trained: use that "
            "model, make them part of it, or freeze them (requires_grad_(False)); weight decay is an option of the sweep"
        )


def _refuse_sum(recipe: Recipe, model: nn.Module) -> None:
    """Refuse one number for a batch that is the sum over its examples: learning rates would mean something else."""
    numbers = _numbers(recipe, "train")

    def value(some: Tensor) -> float:
        return float(_tried(recipe, LOSS, model, "train", "eval", some).detach())

    if len(numbers) < 2:
        return
    whole, each = value(numbers), [value(number[None]) for number in numbers]
    if abs(whole - sum(each)) <= ROUNDING * abs(whole) and abs(whole - sum(each) / len(each)) > ROUNDING * abs(whole):
        raise LrscopeError(
            "loss: it returns the sum over the batch's examples: return their mean, or one loss per example"
        )


def network(model: nn.Module) -> nn.Module:
    """The user's own model inside a task's."""
    return model.model if isinstance(model, LossesOf) else model
