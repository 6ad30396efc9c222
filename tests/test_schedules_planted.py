"""Schedules by their text: how they are written, as literals, and what of a function is kept or refused."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lrscope.dynamics.own_schedule import OwnSchedule, check_given, is_own, name_of
from lrscope.dynamics.schedules import HELP, PLAIN, factors, parse
from lrscope.errors import LrscopeError

FORMS = {
    "step": "write step:FACTOR@FRACTION,FRACTION such as step:0.2@0.3,0.6",
    "exponential": "write exponential:END such as exponential:0.01",
    "cyclic": "write cyclic:LOW@CYCLES such as cyclic:0.1@4",
    "wsd": "write wsd:FRACTION such as wsd:0.2 or wsd:0.2,linear",
}
RULES = {
    "step:0@0.5": "a factor above 0 and increasing fractions in (0, 1)",
    "exponential:1": "an end between 0 and 1",
    "cyclic:1@2": "a lowest factor in [0, 1) and a whole number of cycles",
    "wsd:0": "a fraction of training in (0, 1]",
}


def said(text: str) -> str:
    with pytest.raises(LrscopeError) as caught:
        parse(text)
    return str(caught.value)


def test_the_help_names_every_schedule_and_how_it_is_written() -> None:
    assert PLAIN == ("constant", "cosine", "linear", "1-sqrt")
    assert HELP == (
        "constant, cosine, linear, 1-sqrt, step:FACTOR@FRACTION,FRACTION such as step:0.2@0.3,0.6, exponential:END such as "
        "exponential:0.01, cyclic:LOW@CYCLES such as cyclic:0.1@4 or wsd:FRACTION such as wsd:0.2 or wsd:0.2,linear"
    )


def test_what_cannot_be_read_is_refused_with_the_form_and_what_breaks_its_rule_with_the_rule() -> None:
    for kind, form in FORMS.items():
        assert said(kind) == f"schedule: cannot read '{kind}': {form}"
    for text, rule in RULES.items():
        assert said(text) == f"schedule: '{text}' needs {rule}: {FORMS[text.partition(':')[0]]}"
    for kind in PLAIN:
        assert said(f"{kind}:1") == f"schedule: {kind} takes no arguments, got '{kind}:1': write {kind}"
        assert parse(kind) == (kind, ())


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("step:0.2@0.3,0.6", (0.2, 0.3, 0.6)),
        ("step:2@1e-3", (2.0, 0.001)),
        ("step:+3@0.5", (3.0, 0.5)),
        ("exponential:0.5", (0.5,)),
        ("exponential:1e-9", (1e-9,)),
        ("cyclic:0@1", (0.0, 1.0)),
        ("cyclic:0.99@3", (0.99, 3.0)),
        ("cyclic:0.5@4e0", (0.5, 4.0)),
        ("wsd:1", (1.0, 0.0)),
        ("wsd:0.2,1-sqrt", (0.2, 0.0)),
        ("wsd:0.2,linear", (0.2, 1.0)),
        ("wsd:0.2,cosine", (0.2, 2.0)),
    ],
)
def test_the_numbers_of_a_text(text: str, numbers: tuple[float, ...]) -> None:
    assert parse(text) == (text.partition(":")[0], numbers)


@pytest.mark.parametrize(
    "text", ["step:", "step:0.2@", "step:0.2@0.3,", "step:1_0@0.5", "exponential: 0.1", "wsd:,linear"]
)
def test_what_is_no_number_cannot_be_read(text: str) -> None:
    assert said(text).startswith(f"schedule: cannot read '{text}': write {text.partition(':')[0]}:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ("1-sqrt", [1, 0.5, 1 - math.sqrt(0.5), 1 - math.sqrt(0.75)]),
        ("step:0.5@0.25,0.75", [1, 0.5, 0.5, 0.25]),
        ("exponential:0.0625", [1, 0.5, 0.25, 0.125]),
        ("cyclic:0.5@1", [0.5, 0.75, 1, 0.75]),
        ("cyclic:0.2@2", [0.2, 1, 0.2, 1]),
        ("wsd:0.5", [1, 1, 1, 1 - math.sqrt(0.5)]),
        ("wsd:1,linear", [1, 0.75, 0.5, 0.25]),
        ("wsd:0.5,cosine", [1, 1, 1, 0.5]),
    ],
)
def test_factors_of_four_steps_and_after_a_warm_up_of_three(text: str, expected: list[float]) -> None:
    found = factors(text, 4)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, rel=1e-14)
    assert factors(text, 7, 3).tolist() == pytest.approx([1 / 3, 2 / 3, 1, *expected], rel=1e-14)


# -- functions ---------------------------------------------------------------------------------------------------------


def half(step: int, steps: int) -> float:
    return 0.5


class Course:
    def __call__(self, step: int, steps: int) -> float:
        return step / steps


def test_a_function_is_known_by_its_name_and_sixteen_digits() -> None:
    for function, name in ((half, "half"), (lambda step, steps: 0.5, "lambda"), (Course(), "Course")):
        kind, called, digits = OwnSchedule(function).split(":")
        assert (kind, called, len(digits)) == ("function", name, 16)
    assert is_own(OwnSchedule(half))
    for text in ("function:half:12", "function:half", "function:1f:0123456789abcdef", "linear"):
        assert not is_own(text)
    assert name_of("function:half:0123456789abcdef") == "half (your function)"
    assert name_of("wsd:0.2") == "wsd:0.2"
    assert parse(OwnSchedule(half)) == ("function", ())
    assert factors(OwnSchedule(Course()), 4).tolist() == [0, 0.25, 0.5, 0.75]


def test_names_that_no_file_or_message_should_hold_are_not_taken() -> None:
    def named(name: str) -> Callable[[int, int], float]:
        function: Any = lambda step, steps: 0.5  # noqa: E731
        function.__name__ = name
        return function  # type: ignore[no-any-return]

    called = [OwnSchedule(named(name)).split(":")[1] for name in ("fine", "größe", "two words", "")]
    assert called == ["fine", "lambda", "lambda", "function"]


def test_copies_are_the_function_and_its_text_is_text() -> None:
    schedule = OwnSchedule(half)
    assert copy.deepcopy(schedule) is schedule
    again = pickle.loads(pickle.dumps(schedule))
    assert isinstance(again, OwnSchedule)
    assert (again, again.function) == (schedule, half)
    assert type(str(schedule)) is str
    check_given(schedule)
    check_given("linear")
    with pytest.raises(LrscopeError, match="is the name of a function that is not here"):
        check_given(str(schedule))


REFUSED: dict[str, tuple[Any, str]] = {
    "nan": (math.nan, "returns nan at step 0 of 3: return a finite number of 0 or more"),
    "infinite": (math.inf, "returns inf at step 0 of 3"),
    "negative": (-1e-9, "returns -1e-09 at step 0 of 3"),
    "nothing": (None, "returns None at step 0 of 3"),
    "a text": ("0.5", "returns '0.5' at step 0 of 3"),
    "a truth value": (True, "returns True at step 0 of 3"),
    "a list": ([1.0], r"returns \[1.0\] at step 0 of 3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_factor_is_refused(name: str) -> None:
    given, message = REFUSED[name]
    with pytest.raises(LrscopeError, match=f"schedule: lambda {message}"):
        factors(OwnSchedule(lambda step, steps: given), 3)


def test_a_function_that_fails_or_takes_something_else_is_refused() -> None:
    with pytest.raises(
        LrscopeError, match=r"lambda fails at step 2 of 3 .ZeroDivisionError: division by zero.: pass a"
    ):
        factors(OwnSchedule(lambda step, steps: 1 / (2 - step)), 3)
    for wrong in (lambda step: 1.0, lambda step, steps, more: 1.0, min):
        with pytest.raises(
            LrscopeError, match=r"schedule: .* cannot be called .*: pass a function of .step, steps. that"
        ):
            OwnSchedule(wrong)  # type: ignore[arg-type]
    assert factors(OwnSchedule(lambda step, steps: 0), 2).tolist() == [0, 0]
