"""How large a validation set is: what is asked for, and the rule where nothing is. Known without importing PyTorch."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

from lrscope.errors import LrscopeError, shown
from lrscope.values import plain

Size = int | float | None  # None: by the rule; 0: none; a fraction in (0, 1); a whole number of examples from 1 on
SHARE = 10  # ours: a tenth of the training examples
LEAST = 500  # ours: with fewer one example is more than 0.2 points of accuracy, too coarse to choose by
USUAL = 1000  # ours: of unused examples, which cost no training example, at least so many where there are so many
HELD_OUT, UNUSED, GIVEN, NONE = "held out of the training data", "unused training examples", "given", "none"
ADVICE = "pass a fraction such as 0.1, a whole number of examples, or 0 for none"


def is_size(value: Any) -> bool:
    """Is `value` meant as a size, rightly or not, rather than as examples of a user's own?"""
    return value is None or isinstance(plain(value), (numbers.Number, str))


def checked_size(value: Any) -> Size:
    """A size as `Size` says; NumPy's numbers, and text as the command line writes it, are read too.

    Raises:
        LrscopeError: it is no number of that kind.
    """
    value = plain(value)
    if value is None:
        return None
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise LrscopeError(f"validation: {shown(value)} is no size: {ADVICE}")
    if isinstance(value, numbers.Integral):
        if value < 0:
            raise LrscopeError(f"validation: {int(value)} is negative: {ADVICE}")
        return int(value)
    size = float(value)
    if size == 0:
        return 0
    if size > 1 and size.is_integer():
        return int(size)
    if not 0 < size < 1:
        raise LrscopeError(f"validation: {size:g} is neither a fraction below 1 nor a whole number: {ADVICE}")
    return size


@dataclass(frozen=True)
class SizeReader:
    """Reads the argument of a function."""

    def read(self, name: str, value: Any) -> Size:
        """See `Reader`."""
        del name  # its messages name it
        return checked_size(value)

    def takes(self) -> str:
        """See `Reader`."""
        return ADVICE.removeprefix("pass ")


def parse_size(text: str | None) -> Size:
    """A size as the command line and config files write it: `0.1`, `1000`, `0`; None: by the rule."""
    if text is None:
        return None
    try:
        value: int | float = int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            raise LrscopeError(f"validation: cannot read {shown(text)}: {ADVICE}") from None
    return checked_size(value)


def count(size: Size, train: int, unused: int = 0) -> tuple[int, bool]:
    """How many validation examples `size` means, and whether they are unused ones rather than held out of the training data.

    The rule (None): of unused examples a tenth of `train`, but at least 1,000 or all there are, if there are at least 500;
    otherwise a tenth of the training examples, if that gives at least 500; otherwise none. A size that is asked for is taken
    from the unused examples where they are enough.

    Args:
        size: checked by `checked_size`.
        train: examples drawn for training.
        unused: training examples of the data set beyond those.

    Raises:
        LrscopeError: the size leaves nothing to train on, or is a fraction of less than one example.
    """
    if size is None:
        if unused >= LEAST:
            return min(unused, max(USUAL, train // SHARE)), True
        return (train // SHARE if train // SHARE >= LEAST else 0), False
    wanted = size if isinstance(size, int) else math.floor(size * train + 0.5)
    if size and not wanted:
        raise LrscopeError(f"validation: {size:g} of {train} training examples is less than one: use a larger fraction")
    if wanted <= unused:
        return wanted, bool(wanted)
    if wanted >= train:
        raise LrscopeError(
            f"validation: {size:g} would hold out {wanted} of {train} training examples and leave none to train on: use fewer"
        )
    return wanted, False
