"""Learning-rate schedules as factors per step: lr at step t is the run's lr times factors[t]. Reading one needs no PyTorch.

A schedule is written as its name, a colon and its numbers. Each is one entry of `SCHEDULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrscope.dynamics.own_schedule import is_own, own_factors
from lrscope.errors import LrscopeError, nearest, shown

if TYPE_CHECKING:
    from torch import Tensor

Numbers = tuple[float, ...]
SHAPES = ("1-sqrt", "linear", "cosine")  # of a decay to zero


@dataclass(frozen=True)
class Schedule:
    """A kind of schedule.

    Attributes:
        factors: of progress [steps], from 0 to just below 1, and the schedule's numbers.
        form: how its numbers are written; empty if it has none.
        such_as: an example.
        rule: what its numbers must be, said where they are not.
        read: the numbers from their text. It raises ValueError where the text cannot be read and returns None where it breaks
            the rule.
    """

    factors: Callable[[Tensor, Numbers], Tensor]
    form: str = ""
    such_as: str = ""
    rule: str = ""
    read: Callable[[str], Numbers | None] = lambda text: ()


def _fractions(text: str) -> Numbers:
    return tuple(_number(part) for part in text.split(","))


def _number(text: str) -> float:
    if set(text) - set("0123456789.e+-"):
        raise ValueError(text)
    return float(text)


def _read_steps(text: str) -> Numbers | None:
    factor, _, fractions = text.partition("@")
    numbers = _number(factor), *_fractions(fractions)
    increasing = list(numbers[1:]) == sorted(set(numbers[1:])) and all(0 < s < 1 for s in numbers[1:])
    return numbers if 0 < numbers[0] < math.inf and increasing else None


def _read_end(text: str) -> Numbers | None:
    end = _number(text)
    return (end,) if 0 < end < 1 else None


def _read_cycles(text: str) -> Numbers | None:
    low, _, cycles = text.partition("@")
    numbers = _number(low), _number(cycles)
    return numbers if 0 <= numbers[0] < 1 and 0 < numbers[1] < math.inf and numbers[1] == int(numbers[1]) else None


def _read_decay(text: str) -> Numbers | None:
    fraction, _, shape = text.partition(",")
    numbers = _number(fraction), float(SHAPES.index(shape or SHAPES[0]))
    return numbers if 0 < numbers[0] <= 1 else None


def _constant(progress: Tensor, _: Numbers) -> Tensor:
    return progress.new_ones(progress.shape)


def _cosine(progress: Tensor, _: Numbers) -> Tensor:
    return (1 + (math.pi * progress).cos()) / 2


def _linear(progress: Tensor, _: Numbers) -> Tensor:
    return 1 - progress


def _square_root(progress: Tensor, _: Numbers) -> Tensor:
    return 1 - progress.sqrt()


def _steps(progress: Tensor, numbers: Numbers) -> Tensor:
    passed = sum((progress >= s).to(progress.dtype) for s in numbers[1:])
    return progress.new_tensor(numbers[0]) ** passed


def _exponential(progress: Tensor, numbers: Numbers) -> Tensor:
    return progress.new_tensor(numbers[0]) ** progress


def _cyclic(progress: Tensor, numbers: Numbers) -> Tensor:
    low, cycles = numbers
    place = (progress * cycles) % 1
    return low + (1 - low) * (1 - (2 * place - 1).abs())


def _stable_decay(progress: Tensor, numbers: Numbers) -> Tensor:
    fraction, shape = numbers
    decay = (_square_root, _linear, _cosine)[int(shape)]
    return decay(((progress - (1 - fraction)) / fraction).clamp(min=0), ())


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(_constant),
    "cosine": Schedule(_cosine),  # half a cosine from 1 to 0 (three_regimes, Sec. 4)
    "linear": Schedule(_linear),  # from 1 to 0
    "1-sqrt": Schedule(_square_root),  # from 1 to 0 (Hägele et al. 2024, eq. 1)
    "step": Schedule(  # times FACTOR after each fraction of the steps
        _steps,
        "FACTOR@FRACTION,FRACTION",
        "step:0.2@0.3,0.6",
        "a factor above 0 and increasing fractions in (0, 1)",
        _read_steps,
    ),
    "exponential": Schedule(  # from 1 to END
        _exponential, "END", "exponential:0.01", "an end between 0 and 1", _read_end
    ),
    "cyclic": Schedule(  # up from LOW to 1 and down again (Smith 2017, triangular)
        _cyclic, "LOW@CYCLES", "cyclic:0.1@4", "a lowest factor in [0, 1) and a whole number of cycles", _read_cycles
    ),
    "wsd": Schedule(  # constant, then down to 0 over the last fraction of the steps (Hägele et al. 2024)
        _stable_decay,
        "FRACTION",
        "wsd:0.2 or wsd:0.2,linear",
        "a fraction of training in (0, 1]",
        _read_decay,
    ),
}
PLAIN = tuple(name for name, schedule in SCHEDULES.items() if not schedule.form)
HELP = ", ".join(PLAIN) + "".join(
    f"{' or' if name == list(SCHEDULES)[-1] else ','} {name}:{schedule.form} such as {schedule.such_as}"
    for name, schedule in SCHEDULES.items()
    if schedule.form
)


def parse(text: str) -> tuple[str, Numbers]:
    """Name and numbers of a schedule's text.

    Raises:
        LrscopeError: it is none.
    """
    kind, _, rest = text.partition(":")
    if is_own(text):
        return kind, ()
    if kind not in SCHEDULES:
        raise LrscopeError(f"schedule: {shown(text)} is unknown: {nearest(kind, tuple(SCHEDULES))} (write {HELP})")
    schedule = SCHEDULES[kind]
    if not schedule.form:
        if text != kind:
            raise LrscopeError(f"schedule: {kind} takes no arguments, got {shown(text)}: write {kind}")
        return kind, ()
    wanted = f"write {kind}:{schedule.form} such as {schedule.such_as}"
    try:
        numbers = schedule.read(rest)
    except ValueError:
        raise LrscopeError(f"schedule: cannot read {shown(text)}: {wanted}") from None
    if numbers is None:
        raise LrscopeError(f"schedule: {shown(text)} needs {schedule.rule}: {wanted}")
    return kind, numbers


def factors(text: str, steps: int, warmup: int = 0) -> Tensor:
    """Factors [steps] in float64.

    Args:
        text: the schedule (`SCHEDULES`, or an `OwnSchedule`).
        steps: length of training.
        warmup: steps of a linear rise from 1 / warmup to 1 at the beginning; the schedule follows over the rest.
    """
    import torch

    kind, numbers = parse(text)
    rest = steps - warmup
    if is_own(text):
        following = own_factors(text, rest)
    else:
        progress = torch.arange(rest, dtype=torch.float64) / rest
        following = SCHEDULES[kind].factors(progress, numbers)
    if not warmup:
        return following
    rise = torch.arange(1, warmup + 1, dtype=torch.float64) / warmup
    return torch.cat([rise, following])
