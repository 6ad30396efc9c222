"""A schedule that is a function of the user's: known by its name and its code, so that it fits wherever a schedule's text does.

Reading one needs PyTorch only where a function is given.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lrscope.errors import LrscopeError, first_line, shown
from lrscope.values import as_number

if TYPE_CHECKING:
    from torch import Tensor

KIND = "function"
SUCH_AS = "a function of (step, steps) that returns a factor, such as lambda step, steps: 1 - step / steps"
TRIED_AGAIN = 64  # ours: steps at which a function must return the same factor twice
_TEXT = re.compile(rf"{KIND}:[A-Za-z_]\w*:[0-9a-f]{{16}}")


class OwnSchedule(str):
    """The text `function:NAME:DIGEST` with the function itself. The digest is that of its code and of what it reads.

    Args:
        function: of (step, steps), which count from 0 up to steps - 1, to a factor of the learning rate.

    Raises:
        LrscopeError: it does not take two arguments.
    """

    __slots__ = ("function",)
    function: Callable[[int, int], Any]

    def __new__(cls, function: Callable[[int, int], Any]) -> OwnSchedule:
        from lrscope.tasks.identity import digest

        name = _name(function)
        try:
            inspect.signature(function).bind(0, 1)
        except (TypeError, ValueError) as error:
            raise LrscopeError(f"schedule: {name} cannot be called ({first_line(error)}): pass {SUCH_AS}") from None
        return cls._of(f"{KIND}:{name}:{digest(function)}", function)

    @classmethod
    def _of(cls, text: str, function: Callable[[int, int], Any]) -> OwnSchedule:
        made = super().__new__(cls, text)
        made.function = function
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnSchedule._of, (str(self), self.function)

    def __deepcopy__(self, _: Any) -> OwnSchedule:
        return self

    def __str__(self) -> str:
        """The text alone."""
        return self[:]


def _name(function: Any) -> str:
    name = str(getattr(function, "__name__", None) or type(function).__name__)
    return name if name.isidentifier() and name.isascii() else "lambda"


def is_own(text: str) -> bool:
    """Is this the text of a function?"""
    return _TEXT.fullmatch(text) is not None


def name_of(text: str) -> str:
    """The schedule as messages and reports call it."""
    return f"{text.split(':')[1]} (your function)" if is_own(text) else text


def check_given(text: str) -> None:
    """Refuse the text of a function without the function.

    Raises:
        LrscopeError: it is not here.
    """
    if is_own(text) and not isinstance(text, OwnSchedule):
        raise LrscopeError(
            f"schedule: {shown(str(text))} is the name of a function that is not here: pass the function itself, or another "
            "schedule"
        )


def own_factors(schedule: str, steps: int) -> Tensor:
    """Factors [steps], float64, of a function.

    Raises:
        LrscopeError: the function is not here, fails, or returns something else than a finite number of 0 or more.
    """
    import torch

    check_given(schedule)
    assert isinstance(schedule, OwnSchedule)
    return torch.tensor(_values(schedule, steps), dtype=torch.float64)


@lru_cache(maxsize=32)
def _values(schedule: OwnSchedule, steps: int) -> tuple[float, ...]:
    """The factors; they are asked for by every chunk."""
    from lrscope.tasks.random_state import kept

    with kept():
        found = tuple(_value(schedule, step, steps) for step in range(steps))
        for step in range(steps - 1, -1, -max(1, steps // TRIED_AGAIN)):
            again = _value(schedule, step, steps)
            if again != found[step]:
                raise LrscopeError(
                    f"schedule: {_name(schedule.function)} returns {found[step]:g} and then {again:g} at step {step} of {steps}: "
                    "return what depends on the two numbers alone"
                )
    return found


def _value(schedule: OwnSchedule, step: int, steps: int) -> float:
    name = _name(schedule.function)
    try:
        given = schedule.function(step, steps)
    except Exception as error:  # a user's code may raise anything
        raise LrscopeError(
            f"schedule: {name} fails at step {step} of {steps} ({type(error).__name__}: {first_line(error)}): pass {SUCH_AS}"
        ) from error
    number = None if isinstance(given, str) else as_number(given)
    if number is None or not 0 <= number < math.inf:
        raise LrscopeError(
            f"schedule: {name} returns {shown(given)} at step {step} of {steps}: return a finite number of 0 or more, the "
            "factor of the learning rate"
        )
    return float(number)
