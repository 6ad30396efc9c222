"""The form of labels: what a loss takes, brought into one form for training and test alike, or refused by name.

N examples, K classes. Class numbers are int64 [N]; probabilities of classes float32 [N, K]; of a class float32 [N].
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lrscope.errors import LrscopeError
from lrscope.tasks.losses import CLASSIFICATION

SUM = 1e-3  # ours: half-precision probabilities add up to 1 within it
IGNORED = -100  # PyTorch's ignore_index


def as_labels(loss: str, classification: bool, labels: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Labels of every split in the form that the loss takes, and the number of classes (0 where there are none).

    cross_entropy: whole numbers [N] or [N, 1] of any type (floats too) are class numbers; one-hot rows [N, K] become class
    numbers, which is the same loss; other rows [N, K] are probabilities. binary_cross_entropy: 0 and 1, or probabilities.
    mse: any numbers, as floats. A loss of the user's own gets its labels as they are, in float32 or int64.

    Args:
        loss: its name; one that is not among the named losses is the user's own.
        classification: is accuracy measured?
        labels: by split, such as "train" and "test".

    Raises:
        LrscopeError: labels of another form, NaN among them, or splits whose labels differ in form.
    """
    for split, y in labels.items():
        check_finite(f"{split} labels", y)
    if loss == "cross_entropy":
        found = {split: _class_labels(split, y) for split, y in labels.items()}
        return found, _classes(found)
    if loss == "binary_cross_entropy":
        return {split: _binary_labels(split, y) for split, y in labels.items()}, 2
    found = {split: _own_labels(split, y, named=loss == "mse") for split, y in labels.items()}
    _check_alike(loss, found)
    return found, _of_accuracy(loss, found) if classification else 0


def constant_loss(loss: str, y: Tensor) -> float | None:
    """Mean loss on labels y of the best constant prediction, for the named losses: what guessing gets. In nats for the
    cross-entropies; for `mse` the variance of the targets, mean over outputs. None for other losses."""
    if loss == "mse":
        return float(y.double().reshape(len(y), -1).var(0, correction=0).mean())
    if loss not in CLASSIFICATION:
        return None
    if not y.is_floating_point():
        shares = torch.bincount(y).double() / len(y)
    elif y.dim() == 2:
        shares = y.double().mean(0)
        shares = shares / shares.sum()
    else:
        one = y.double().mean()
        shares = torch.stack([1 - one, one])
    shares = shares[shares > 0]
    return float(-(shares * shares.log()).sum())


def check_finite(what: str, tensor: Tensor) -> None:
    """Refuse examples that hold NaN or infinity."""
    if not len(tensor):
        raise LrscopeError(f"data: the {what} are empty: pass at least one example")
    if not tensor.is_floating_point():
        return
    bad = ~torch.isfinite(tensor).reshape(len(tensor), -1).all(1)
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise LrscopeError(
            f"data: {int(bad.sum())} of the {what} hold NaN or infinity (the first is number {first}): remove or repair them"
        )


def _flat(y: Tensor) -> Tensor:
    """Labels without trailing axes of size 1: [N, 1] is [N]."""
    while y.dim() > 1 and y.shape[-1] == 1:
        y = y.squeeze(-1)
    return y


def _refused(split: str, wrong: str, remedy: str) -> LrscopeError:
    return LrscopeError(f"data: the {split} labels {wrong}: {remedy}")


# -- cross_entropy ---------------------------------------------------------------------------------------------------


def _class_labels(split: str, y: Tensor) -> Tensor:
    y = _flat(y)
    if y.dim() == 1:
        return _whole(split, y)
    if y.dim() == 2 and not y.is_complex():
        return _rows(split, y)
    raise _refused(
        split,
        f"have shape {tuple(y.shape[1:])} for each example",
        "cross_entropy takes a class number or K probabilities for each; several predictions an example need a loss of your own",
    )


def _whole(split: str, y: Tensor) -> Tensor:
    """Class numbers [N] as int64."""
    if y.is_floating_point():
        broken = y != y.round()
        if bool(broken.any()):
            raise _refused(
                split,
                f"hold {float(y[broken][0]):.6g}, which is no class number",
                "number the classes 0, 1, ..., pass probabilities as [N, K], or use loss='mse' for regression",
            )
        if bool((y.abs() >= 2**24).any()):
            raise _refused(split, "hold class numbers beyond 16,777,216 as floats", "pass whole numbers")
    y = y.to(torch.int64)
    low = int(y.min())
    if low < 0:
        hint = " (leave out examples that PyTorch's ignore_index would skip)" if low == IGNORED else ""
        raise _refused(split, f"hold {low}", f"number the classes from 0{hint}")
    return y


def _rows(split: str, y: Tensor) -> Tensor:
    """One-hot rows [N, K] as class numbers [N], others as probabilities [N, K]."""
    check_probabilities(split, y)
    rows = y.to(torch.float32)
    one_hot = ((rows == 0) | (rows == 1)).all() & (rows.sum(1) == 1).all()
    return rows.argmax(1) if bool(one_hot) else rows


def check_probabilities(split: str, y: Tensor) -> None:
    """Refuse rows [N, K] that are no probabilities of K classes."""
    rows = y.to(torch.float64)
    if bool((rows < 0).any()):
        raise _refused(
            split,
            f"have rows of {y.shape[1]} with {float(rows.min()):.6g} in them",
            "a row gives probabilities, from 0 to 1",
        )
    sums = rows.sum(1)
    bad = (sums - 1).abs() > SUM
    if bool(bad.any()):
        raise _refused(
            split,
            f"have rows of {y.shape[1]} that add up to {float(sums[bad][0]):.6g} instead of 1",
            "pass class numbers [N], one-hot rows or probabilities; several labels an example need a loss of your own",
        )


def _classes(labels: dict[str, Tensor]) -> int:
    """Classes of class numbers and probabilities, which must agree."""
    columns = {split: y.shape[1] for split, y in labels.items() if y.dim() == 2}
    if len(set(columns.values())) > 1:
        said = ", ".join(f"{split} {count}" for split, count in columns.items())
        raise LrscopeError(f"data: labels have different numbers of columns ({said}): give all splits the same classes")
    most = max(columns.values(), default=0)
    numbers = {split: int(y.max()) + 1 for split, y in labels.items() if y.dim() == 1}
    for split, count in numbers.items():
        if most and count > most:
            raise _refused(
                split, f"hold class {count - 1}", f"the other labels have {most} columns, classes 0 to {most - 1}"
            )
    return max([most, *numbers.values()])


# -- binary_cross_entropy --------------------------------------------------------------------------------------------


def _binary_labels(split: str, y: Tensor) -> Tensor:
    """Class numbers int64 [N] if all are 0 or 1, otherwise probabilities float32 [N]."""
    y = _flat(y)
    if y.dim() == 2 and y.shape[1] == 2:
        raise _refused(
            split,
            "have two columns",
            "binary_cross_entropy takes one number an example, such as labels[:, 1]; two outputs go with loss='cross_entropy'",
        )
    if y.dim() != 1:
        raise _refused(
            split,
            f"have shape {tuple(y.shape[1:])} for each example",
            "binary_cross_entropy takes one number an example; several labels each need a loss of your own, such as "
            "lambda o, y: binary_cross_entropy_with_logits(o, y, reduction='none').mean(1), with classification=False",
        )
    low, high = float(y.min()), float(y.max())
    if low < 0 or high > 1:
        hint = (
            "write -1 as 0, such as by (labels + 1) / 2"
            if (low, high) == (-1, 1)
            else "several classes go with loss='cross_entropy'"
        )
        raise _refused(
            split,
            f"hold {low if low < 0 else high:.6g}",
            f"binary_cross_entropy takes 0 and 1, or probabilities between; {hint}",
        )
    return y.to(torch.int64) if bool(((y == 0) | (y == 1)).all()) else y


# -- mse and losses of a user's own ----------------------------------------------------------------------------------


def _own_labels(split: str, y: Tensor, *, named: bool) -> Tensor:
    """float32 or int64; a named loss computes in floats."""
    if named:
        return y.to(torch.float32)
    if y.dtype == torch.bool:
        raise _refused(
            split, "are truth values", "pass them as the numbers that your loss function takes, by .long() or .float()"
        )
    return y if y.is_floating_point() else y.to(torch.int64)


def _check_alike(loss: str, labels: dict[str, Tensor]) -> None:
    (first, one), *others = labels.items()
    for split, y in others:
        shapes = [tuple((_flat(t) if loss == "mse" else t).shape[1:]) for t in (y, one)]
        if shapes[0] != shapes[1]:
            raise _refused(
                split, f"have shape {shapes[0]} for each example, the {first} labels {shapes[1]}", "make them alike"
            )
        if y.dtype != one.dtype:
            raise _refused(
                split, f"are {y.dtype}, the {first} labels {one.dtype}", "give both the type that your loss takes"
            )


def _of_accuracy(loss: str, labels: dict[str, Tensor]) -> int:
    """Classes of labels by which a loss without a name for them is measured in accuracy.

    Raises:
        LrscopeError: it is not known which prediction is right.
    """
    flat = {split: _flat(y) for split, y in labels.items()}
    if all(y.dim() == 2 for y in flat.values()):
        for split, y in flat.items():
            check_probabilities(split, y)
        return next(iter(flat.values())).shape[1]
    signs = all(bool((y.abs() == 1).all()) for y in flat.values()) and any(int(y.min()) < 0 for y in flat.values())
    if all(y.dim() == 1 for y in flat.values()):
        if signs:
            return 2
        if loss != "mse":
            binary = all(float(y.min()) >= 0 and float(y.max()) <= 1 for y in flat.values())
            return 2 if binary else max(int(_whole(split, y).max()) + 1 for split, y in flat.items())
    take = "-1 and 1, one-hot rows or probabilities [N, K]"
    take = take if loss == "mse" else f"class numbers, {take}"
    raise LrscopeError(
        f"classification: True, but accuracy under this loss needs labels that are {take}: pass classification=False"
    )
