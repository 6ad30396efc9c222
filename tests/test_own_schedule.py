"""A schedule that is a function of the user's: honoured step by step, known by its code, or refused in one sentence."""

from __future__ import annotations

import copy
import itertools
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch

import lrscope
from lrscope.config import SweepConfig
from lrscope.dynamics.own_schedule import OwnSchedule, name_of
from lrscope.dynamics.schedules import factors
from lrscope.errors import LrscopeError
from lrscope.mapping import regimes
from lrscope.reporting.frames import training
from lrscope.tasks.random_state import states
from lrscope.trained import Trained
from tiny_tasks import ALL_RUNS, BATCHED, SHORT, computed, context_of, mlp_task, same_bytes, stopped_and_resumed, train

LONGER = replace(SHORT, steps=12)


def linear(step: int, steps: int) -> float:
    return 1 - step / steps


def to_power(power: float) -> Callable[[int, int], float]:
    def decay(step: int, steps: int) -> float:
        return (1 - step / steps) ** power

    return decay


class Course:
    """A callable object."""

    def __call__(self, step: int, steps: int) -> float:
        return linear(step, steps)


def test_each_step_has_the_factor_that_the_function_gives() -> None:
    given = OwnSchedule(to_power(2.0))
    assert factors(given, 5).tolist() == [(1 - i / 5) ** 2 for i in range(5)]
    assert factors(given, 7, warmup=2).tolist() == [0.5, 1.0, *((1 - i / 5) ** 2 for i in range(5))]


@pytest.mark.parametrize("number", [float, np.float32, np.float64, torch.tensor, lambda x: torch.tensor([x])[0]])
def test_numbers_of_other_libraries_count(number: Any) -> None:
    assert factors(OwnSchedule(lambda step, steps: number(0.5)), 2).tolist() == [0.5, 0.5]
    assert factors(OwnSchedule(lambda step, steps: 1), 2).tolist() == [1.0, 1.0]


def test_it_trains_as_the_same_schedule_of_the_table(tmp_path: Path) -> None:
    task = mlp_task()
    ours = computed(task, replace(LONGER, schedule=linear), ALL_RUNS, tmp_path / "ours")  # type: ignore[arg-type]
    theirs = computed(task, replace(LONGER, schedule="linear"), ALL_RUNS, tmp_path / "theirs")
    constant = computed(task, LONGER, ALL_RUNS, tmp_path / "constant")
    for name in ("pretrain/train_loss", "pretrain/elr"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)
        assert not np.allclose(ours[name], constant[name], rtol=1e-3), name


def test_branches_take_functions_too(tmp_path: Path) -> None:
    branch = lrscope.Branch(name="decay", at=(1.0,), schedules=[linear, "1-sqrt"], steps=4)
    context = context_of(mlp_task(), replace(LONGER, branches=(branch,)), tmp_path)
    trainer = context.trainer(ALL_RUNS, context.chunks(ALL_RUNS)[0])
    mine, theirs = (p for p in context.phases if p.segment == "decay")
    assert trainer._factors(mine).tolist() == [1.0, 0.75, 0.5, 0.25]
    assert theirs.schedule == "1-sqrt"
    assert lrscope.Branch(name="decay", schedules=linear, steps=4).schedules == branch.schedules[:1]


def test_stopped_and_resumed_is_the_same_to_the_byte(tmp_path: Path) -> None:
    config = replace(LONGER, schedule=to_power(0.5))  # type: ignore[arg-type]
    whole = computed(mlp_task(), config, ALL_RUNS, tmp_path / "whole")
    assert same_bytes(stopped_and_resumed(mlp_task, config, ALL_RUNS, tmp_path / "parts", 5), whole) == []


# -- what it is known by -------------------------------------------------------------------------------------------


def test_functions_are_known_by_their_code_and_what_they_read() -> None:
    same = OwnSchedule(to_power(2.0)), OwnSchedule(to_power(2.0))
    assert same[0] == same[1]
    others = [to_power(3.0), linear, lambda step, steps: 1.0, lambda step, steps: 0.5, Course(), partial(linear)]
    assert len({same[0], *map(OwnSchedule, others)}) == 1 + len(others)
    assert str(OwnSchedule(linear)).startswith("function:linear:")
    assert str(OwnSchedule(others[2])).startswith("function:lambda:")
    assert str(OwnSchedule(Course())).startswith("function:Course:")


def test_copies_keep_the_function_and_json_its_text() -> None:
    config = SweepConfig(lrs=(1e-3,), steps=4, schedule=linear)  # type: ignore[arg-type]
    values = config.to_dict()
    for kept in (
        replace(config, seeds=1).schedule,
        values["schedule"],
        copy.deepcopy(config).schedule,
        cloudpickle.loads(cloudpickle.dumps(config)).schedule,
        pickle.loads(pickle.dumps(config)).schedule,
    ):
        assert kept == config.schedule
        assert isinstance(kept, OwnSchedule)
        assert kept.function(1, 4) == 0.75
    assert type(json.loads(json.dumps(values))["schedule"]) is str


@pytest.mark.slow
def test_a_result_states_it_and_a_folder_knows_it(tmp_path: Path) -> None:
    task, options = mlp_task(), {"steps": 3, "batch_size": 8, "seeds": 1, "engine": BATCHED, "progress": False}
    asked = partial(lrscope.sweep, task, [1e-3, 1e-2], out=tmp_path, **options)
    result = asked(schedule=to_power(2.0))
    stated = json.loads(result.attrs["config"])["schedule"]
    assert stated == str(OwnSchedule(to_power(2.0)))
    assert ("schedule", "decay (your function)") in training(result)
    assert "the peaks of the schedule decay (your function)" in regimes(result).borders["1|2"].reason
    assert asked(schedule=to_power(2.0)).identical(result)
    for other in (to_power(1.0), "linear"):
        with pytest.raises(LrscopeError, match=r"out: .* holds another sweep|holds the result of another sweep"):
            asked(schedule=other)
    with pytest.raises(
        LrscopeError, match=r"schedule: 'function:decay:.*is not here: pass the function itself, or another"
    ):
        asked(schedule=stated)
    assert Trained.open(tmp_path, task).state(lr=1e-3, seed=0).weights.shape[0] == 1


# -- what is refused -----------------------------------------------------------------------------------------------


COUNTER = itertools.count()
REFUSED: dict[str, tuple[Any, str]] = {
    "one argument": (lambda step: 1.0, "schedule: lambda cannot be called .*: pass a function of"),
    "three arguments": (lambda step, steps, more: 1.0, "schedule: lambda cannot be called"),
    "a class of three": (SweepConfig, "schedule: SweepConfig cannot be called"),
    "fails": (lambda step, steps: 1 / (2 - step), "fails at step 2 of 3 .ZeroDivisionError"),
    "nan": (lambda step, steps: math.nan, "returns nan at step 0 of 3: return a finite number of 0 or more"),
    "infinite": (lambda step, steps: math.inf, "returns inf at step 0"),
    "negative": (lambda step, steps: 1 - step, "returns -1 at step 2 of 3"),
    "nothing": (lambda step, steps: None, "returns None at step 0"),
    "a text": (lambda step, steps: "0.5", "returns '0.5' at step 0"),
    "a truth value": (lambda step, steps: True, "returns True at step 0"),
    "a list": (lambda step, steps: [1.0], "returns \\[1.0\\] at step 0"),
    "a tensor of two": (lambda step, steps: torch.ones(2), "returns .* at step 0"),
    "another each time": (
        lambda step, steps: float(next(COUNTER)),
        "and then .* return what depends on the two numbers",
    ),
    "chance": (lambda step, steps: float(torch.rand(())), "and then .* return what depends on the two numbers"),
    "a number": (0.5, "schedule: 0.5 is not a text"),
    "nothing at all": (None, "schedule: None is not a text"),
    "a folder's text of none": ("function:decay:12", "schedule: 'function:decay:12' is unknown"),
}


class Fickle:
    """Returns something else the second time, at some steps alone, and counts how often it is asked."""

    def __init__(self, *steps: int) -> None:
        self.fickle, self.asked = steps, list[int]()

    def __call__(self, step: int, steps: int) -> float:
        self.asked.append(step)
        return 0.5 * self.asked.count(step) if step in self.fickle else 1.0


@pytest.mark.parametrize("step", [0, 1, 6, 7])
def test_a_function_that_changes_its_mind_at_one_step_is_found_out(step: int) -> None:
    with pytest.raises(LrscopeError, match=f"returns 0.5 and then 1 at step {step} of 8: return what depends"):
        factors(OwnSchedule(Fickle(step)), 8)


def test_of_many_steps_64_and_the_last_are_tried_again() -> None:
    steady = Fickle()
    assert factors(OwnSchedule(steady), 640).tolist() == [1.0] * 640
    assert sorted(steady.asked[640:]) == [step for step in range(640) if step % 10 == 9]


def test_it_is_called_by_its_name_and_its_text_alone_is_refused() -> None:
    assert name_of(OwnSchedule(linear)) == "linear (your function)"
    assert name_of("step:0.2@0.5") == "step:0.2@0.5"
    with pytest.raises(LrscopeError, match="is the name of a function that is not here: pass the function itself"):
        factors(str(OwnSchedule(linear)), 3)


def test_a_function_that_draws_leaves_the_global_generators_as_they_were() -> None:
    before = states()
    with pytest.raises(LrscopeError, match="return what depends on the two numbers alone"):
        factors(OwnSchedule(REFUSED["chance"][0]), 3)
    assert states() == before


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_schedule_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    given, words = REFUSED[name]
    with pytest.raises(LrscopeError, match=words):
        lrscope.sweep(
            mlp_task(),
            [1e-3],
            schedule=given,
            steps=3,
            batch_size=8,
            engine=BATCHED,
            out=tmp_path / "out",
            progress=False,
        )
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.safetensors"))


def test_a_branch_whose_schedule_fails_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    branch = lrscope.Branch(name="decay", schedules=[lambda step, steps: 1 - step], steps=4)
    with pytest.raises(LrscopeError, match="returns -1 at step 2 of 4"):
        train(mlp_task(), replace(SHORT, branches=(branch,)), BATCHED, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.safetensors"))
