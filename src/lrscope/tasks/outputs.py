"""Do a model's outputs fit the labels, and does the loss take both? Tried on a few examples before anything is planned.

N examples, B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrscope.errors import LrscopeError, first_line
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.factory import weights_type
from lrscope.tasks.losses import Loss, correct, placed_loss
from lrscope.tasks.random_state import seeded
from lrscope.terminal import warn

FEW = 4  # ours: examples tried
MANY, FAR = 64, 100.0  # ours: a model without a sigmoid leaves [0, 1] on some of so many examples, 100 times as large
ROUNDING = 1e-4  # ours, relative: a batch of another size sums in another order


def check_outputs(model: nn.Module, loss: Loss, classification: bool, data: DataSet) -> None:
    """Try model and loss on a few training examples, those with the lowest and the highest labels, in eval mode.

    Raises:
        LrscopeError: one of them fails, shapes do not fit, accuracy is not defined, or the loss of an example depends on
            the others; names which and what to change.
    """
    rows = telling_rows(data.train_y)
    y = data.train_y[rows]
    output = _output(model.eval(), data.train_x[rows])
    _check_shape(output, data, y)
    _check_loss(loss, output, y.to(output.dtype) if y.is_floating_point() else y)
    if classification:
        _check_accuracy(data, output, y)
        _warn_of_probabilities(model, data, output)


def telling_rows(y: Tensor) -> Tensor:
    """Indices of up to `FEW` examples, those with the lowest and the highest labels [N, ...]."""
    order = y.reshape(len(y), -1).double().sum(1).argsort(stable=True)
    count = min(FEW, len(order))
    return torch.cat([order[: count - count // 2], order[len(order) - count // 2 :]])


def as_weights(x: Tensor, model: nn.Module) -> Tensor:
    """Examples in the floating type of the model's parameters; whole numbers as they are."""
    return x.to(weights_type(model)) if x.is_floating_point() else x


def _output(model: nn.Module, x: Tensor) -> Tensor:
    try:
        with torch.no_grad(), seeded(0):
            output = model(as_weights(x, model))
    except Exception as error:  # a user's code may raise anything
        kind = "" if x.is_floating_point() else f" and type {x.dtype}"
        floats = "" if x.is_floating_point() else ", such as by x.float() (pixels: x.float() / 255)"
        raise LrscopeError(
            f"model: it cannot take a batch of shape {tuple(x.shape)}{kind} ({first_line(error)}): change the model or the "
            f"data{floats}"
        ) from error
    if not isinstance(output, Tensor):
        raise LrscopeError(
            f"model: it returns {type(output).__name__}: return one tensor of outputs, or write the loss as loss(model, batch)"
        )
    return output


def _check_shape(output: Tensor, data: DataSet, y: Tensor) -> None:
    shape, n = tuple(output.shape), len(y)
    if not output.is_floating_point() or not shape or shape[0] != n:
        raise LrscopeError(
            f"model: its output has shape {shape} and type {output.dtype} for a batch of {n}: return floats, one row an example"
        )
    if data.loss == "cross_entropy" and (
        len(shape) != 2 or shape[1] < data.classes or (y.dim() == 2 and shape[1] != data.classes)
    ):
        raise LrscopeError(
            f"model: its output has shape {shape} for a batch of {n}, but the labels go up to {data.classes - 1}: "
            f"return logits of shape (batch, {data.classes}){_gaps(data)}"
        )
    if data.loss == "binary_cross_entropy" and output.numel() != n:
        raise LrscopeError(
            f"model: its output has shape {shape} for a batch of {n}: binary cross-entropy needs one logit per example; two "
            "outputs go with loss='cross_entropy'"
        )
    if data.loss == "mse" and _without_ones(shape) != _without_ones(tuple(y.shape)):
        raise LrscopeError(
            f"model: its output has shape {shape}, the targets {tuple(y.shape)}: return one output per target, in that shape"
        )


def _gaps(data: DataSet) -> str:
    """Advice where some class numbers up to the largest never occur, which may be a slip."""
    if data.train_y.dim() > 1 or data.test_y.dim() > 1:
        return ""
    if len({*data.train_y.tolist(), *data.test_y.tolist()}) >= data.classes:
        return ""
    return ", or number the classes 0, 1, ... without gaps, as numpy.unique(labels, return_inverse=True)[1] does"


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:1] + tuple(n for n in shape[1:] if n != 1)


def _check_loss(loss: Loss, output: Tensor, y: Tensor) -> None:
    """Refuse a loss function that fails, changes what it is given, or lets examples of a batch depend on each other."""
    loss = placed_loss(loss, output.device, output.dtype)
    n, given, target = len(y), output.detach().clone(), y.clone()
    losses = _losses(loss, given, target)
    if not isinstance(losses, Tensor) or losses.shape != (n,):
        raise _no_losses(losses, output, y)
    if not losses.is_floating_point():
        raise LrscopeError(f"loss: it returned {losses.dtype}: return floats, which have gradients")
    for what, now, before in (("outputs", given, output), ("labels", target, y)):
        if not torch.equal(now.nan_to_num(), before.detach().nan_to_num()):
            raise LrscopeError(f"loss: it changes the {what} that it is given in place: work on a copy (.clone())")
    if losses.requires_grad and not given.requires_grad:
        raise LrscopeError(
            "loss: it computes with parameters that train, but only the model's own are trained: make them part of the model, "
            "or freeze them (requires_grad_(False)); weight decay is an option of the sweep"
        )
    losses = losses.detach()
    if n < 2 or not bool(torch.isfinite(losses).all()):
        return
    for part in (slice(0, n - n // 2), slice(n - n // 2, n)):  # low labels, high labels
        alone = _losses(loss, output.detach()[part].clone(), y[part].clone()).detach()
        if alone.shape != losses[part].shape or not torch.allclose(alone, losses[part], rtol=ROUNDING, atol=ROUNDING):
            raise LrscopeError(
                f"loss: an example's loss depends on the others of its batch (outputs {tuple(output.shape)} and labels "
                f"{tuple(y.shape)} may broadcast against each other): bring both to one shape, and compute each example's "
                "loss from its own output and label"
            )


def _no_losses(losses: object, output: Tensor, y: Tensor) -> LrscopeError:
    """The sentence for a loss that returns anything but one loss per example."""
    n = len(y)
    if not isinstance(losses, Tensor) or not losses.dim():
        what, remedy = type(losses).__name__, " (reduction='none')"
        what = "one number" if isinstance(losses, Tensor) else what
    elif output.shape == y.shape and losses.shape == y.shape:
        what = f"shape {tuple(losses.shape)}"
        remedy = ", such as by lambda outputs, labels: loss(outputs, labels).flatten(1).mean(1)"
    else:
        what = f"shape {tuple(losses.shape)} for outputs {tuple(output.shape)} and labels {tuple(y.shape)}"
        remedy = "; where these two shapes differ, bring them to one first, such as by outputs.flatten()"
    return LrscopeError(f"loss: it returned {what} for a batch of {n}: return one loss per example{remedy}")


def _losses(loss: Loss, output: Tensor, y: Tensor) -> Tensor:
    try:
        with torch.enable_grad(), seeded(0):
            return loss(output, y)
    except Exception as error:  # a user's code may raise anything
        hint = (
            ""
            if y.is_floating_point() or not _takes(loss, output, y.to(output.dtype))
            else ", such as by labels.float()"
        )
        raise LrscopeError(
            f"loss: it cannot take outputs of shape {tuple(output.shape)} and labels of shape {tuple(y.shape)}, type {y.dtype} "
            f"({first_line(error)}): change the labels or the loss{hint}"
        ) from error


def _takes(loss: Loss, output: Tensor, y: Tensor) -> bool:
    try:
        with seeded(0):
            loss(output, y)
    except Exception:  # what else it raises does not matter here
        return False
    return True


def _check_accuracy(data: DataSet, output: Tensor, y: Tensor) -> None:
    """Refuse outputs and labels of which it cannot be said whether a prediction is right."""
    columns = output.shape[1] if output.dim() == 2 else 1 if output.dim() == 1 else 0
    labels = data.train_y.reshape(len(data.train_y), -1)
    wrong = ""
    if not columns:
        wrong = f"one prediction an example is needed, and its outputs have shape {tuple(output.shape[1:])}"
    elif labels.shape[1] > 1 and columns != labels.shape[1]:
        wrong = f"the outputs have {columns} columns, the labels {labels.shape[1]}"
    elif labels.shape[1] == 1 and columns > 1 and bool(((labels != labels.round()) | (labels < 0)).any()):
        wrong = f"there are {columns} outputs an example, and the labels are no class numbers"
    elif labels.shape[1] == 1 and columns == 1 and data.classes > 2:
        wrong = f"the labels go up to {data.classes - 1}, and one output tells two classes apart"
    elif labels.shape[1] == 1 and 1 < columns < data.classes:
        wrong = f"the labels go up to {data.classes - 1}, and there are {columns} outputs"
    if wrong:
        raise LrscopeError(
            f"classification: accuracy is not defined here, as {wrong}: change the outputs or the labels, or pass "
            "classification=False"
        )
    if correct(output, y).shape != (len(y),):
        raise LrscopeError(
            f"classification: outputs {tuple(output.shape)} and labels {tuple(y.shape)} do not give one prediction an example: "
            "pass classification=False"
        )


def _warn_of_probabilities(model: nn.Module, data: DataSet, output: Tensor) -> None:
    """Warn where outputs that are taken as logits are probabilities: of cross_entropy, or one output an example."""
    if data.loss == "cross_entropy":
        if bool((output >= 0).all()) and torch.allclose(output.sum(1), torch.ones(()).to(output), atol=ROUNDING):
            warn(
                "model: its outputs are probabilities, as they add up to 1, where cross_entropy takes logits: leave out the "
                "final softmax",
            )
        return
    if output.numel() > len(output) or not data.train_x.is_floating_point() or int(data.train_y.min()) < 0:
        return
    x = data.train_x[:MANY]
    given = _output(model, x)
    inside = bool(((given > 0) & (given < 1)).all()) and not bool((given == given[0]).all())
    if inside and all(bool(((o >= 0) & (o <= 1)).all()) for o in (_output(model, FAR * x), _output(model, -FAR * x))):
        warn(
            "model: its outputs lie between 0 and 1, as probabilities do, where one output is taken as a logit (accuracy counts "
            "from 0): leave out the final sigmoid, or pass classification=False",
        )


def changes_its_input(model: nn.Module, data: DataSet) -> bool:
    """Does a forward pass, in eval or in train mode, change the examples that it is given? The data stays as it is."""
    x = as_weights(data.train_x[:FEW], model)
    for training in (False, True):
        given = x.clone()
        try:
            with torch.no_grad(), seeded(0):
                model.train(training)(given)
        except Exception:  # whoever tries the model in that mode says so
            continue
        if not torch.equal(given, x):
            return True
    return False


def give_copies(_: nn.Module, given: tuple[object, ...]) -> tuple[object, ...]:
    """A hook before a forward pass: it works on a copy of its input, which others use too."""
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in given)
