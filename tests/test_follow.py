"""A repetition by the plan that the evidence names: the same to the byte, or a sentence that says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from lrscope.config import EngineConfig
from lrscope.engine import choose, follow
from lrscope.engine.follow import NotFollowed, follow_or_choose, named
from lrscope.engine.plan import Plan, Replan
from lrscope.studies import evidence
from lrscope.studies.reproduction import Reproduction
from test_studies import call
from tiny_study import STUDY, tiny  # noqa: F401 - a fixture
from tiny_tasks import BATCHED, SHORT, compiler_needed, context_of, mlp_task, same_bytes, train

ODD = EngineConfig(device="cpu", jobs=1, path="batched", chunk=4, compile=False)  # timing would take 6 runs, or 1
FREE = EngineConfig(device="cpu", jobs=1)


def made(root: Path, engine: EngineConfig, recorded: dict[str, Any] | None = None, **options: Any) -> Reproduction:
    there = Reproduction(STUDY, "smoke", root, engine=engine, recorded=recorded, **{"quiet": True, **options})
    there.prepare(["double", "noise"])
    return there


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    return made(tmp_path_factory.mktemp("first"), ODD)


def record_of(there: Reproduction) -> dict[str, Any]:
    """As the evidence file has it."""
    return json.loads(json.dumps(evidence.plain(there.records(["double"])[0])))


@pytest.mark.slow
def test_a_repetition_follows_the_plan_to_the_byte(first: Reproduction, tmp_path: Path, capsys: Any) -> None:
    recorded = record_of(first)
    assert recorded["sphere"]["plan"] == "batched 4"
    again = made(tmp_path, FREE, recorded, quiet=False)
    assert record_of(again)["sphere"]["plan"] == "batched 4"
    assert same_bytes(first.result("sphere"), again.result("sphere")) == []
    for name in ("losses", "double"):
        assert first.measurement(name).identical(again.measurement(name))
    assert json.loads(again.result("sphere").attrs["plan"])["chosen"] == "named by the evidence"
    assert "not followed" not in capsys.readouterr().err
    steps = [record_of(one)["sphere"]["steps_of_plan"] for one in (first, again)]
    assert steps[0] == steps[1], "so a third run follows the second"


@pytest.mark.slow
def test_verify_and_reproduce_follow_it(tiny: str, first: Reproduction, tmp_path: Path, monkeypatch: Any) -> None:  # noqa: F811
    path = evidence.path_of(tmp_path, "tiny", "smoke")
    path.parent.mkdir()
    path.write_text(json.dumps({"sweeps": record_of(first), "measurements": {}, "claims": []}))
    monkeypatch.setattr(evidence, "folder_of", lambda name: tmp_path)
    words = [tiny, "--scale", "smoke", "--jobs", "1", "--device", "cpu"]
    for name, more in (("verify", ["--fresh", "--evidence", str(tmp_path)]), ("reproduce", ["--figure", "1"])):
        root = tmp_path / name
        code, _, said = call(name, *words, *more, "--root", str(root))
        assert code == 0, said
        assert json.loads((root / "tiny/smoke/sphere/plan.json").read_text())["chunk"] == 4


@pytest.mark.slow
def test_a_stopped_sweep_goes_on_by_its_own_plan(first: Reproduction, tmp_path: Path) -> None:
    made(tmp_path, replace(ODD, chunk=3))
    again = made(tmp_path, FREE, record_of(first))
    assert record_of(again)["sphere"]["plan"] == "batched 3"


CONFIG = replace(SHORT, seeds=3)


def record(**changes: Any) -> dict[str, Any]:
    """Of `mlp_task` by a plan of four runs; `changes` are of the plan's steps."""
    context = context_of(mlp_task(), CONFIG, Path("unused"))
    hash_ = follow.hashes(context.task.fingerprint(CONFIG.draws), CONFIG)[0]
    plan = Plan("batched", 4, False, "timed", 1e-5).to_dict() | changes
    return named({"config_hash": hash_, "device": "cpu"}, plan)


def planned(record: dict[str, Any], engine: EngineConfig = FREE, config: Any = CONFIG) -> tuple[Plan, str]:
    """The plan that is made and what is said."""
    said: list[str] = []
    context = context_of(mlp_task(), config, Path("unused"), engine)
    return follow_or_choose(context, 1, record=record, tell=said.append), " ".join(said)


def test_nothing_is_timed_where_a_plan_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "_timed", lambda *_: pytest.fail("timed"))
    plan, said = planned(record())
    assert (plan.path, plan.chunk, plan.compiled, said) == ("batched", 4, False, "")
    assert planned(record(), replace(FREE, path="batched", chunk=4, compile=False))[0] == plan, "what is asked for fits"


REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], EngineConfig, str]] = {
    "data": (lambda: {**record(), "config_hash": "other"}, FREE, "it is of another configuration, or of other data"),
    "device": (lambda: {**record(), "device": "cuda:0"}, FREE, "it is for cuda, and this is cpu"),
    "no whole plan": (
        lambda: {k: v for k, v in record().items() if k != "steps_of_plan"},
        FREE,
        "the evidence is of an earlier version, which did not keep all of it",
    ),
    "newer": (lambda: {**record(), "steps_of_plan": {"way": 5}}, FREE, "it is of a newer version of lrscope"),
    "no plan": (lambda: {**record(), "steps_of_plan": 7}, FREE, "it is of a newer version of lrscope"),
    "path": (record, replace(FREE, path="single"), "another path is asked for"),
    "chunk": (record, replace(FREE, path="batched", chunk=5), "another chunk is asked for"),
    "compile": (
        lambda: record(compiled=True, fused=True),
        replace(FREE, compile=False),
        "another compile is asked for",
    ),
    "replans": (
        lambda: record(replans=[vars(Replan("00000", ("00000a", "00000b"), 4, 0, 1, "memory"))]),
        FREE,
        "it was changed while the sweep was trained, because memory ran out",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_followed_is_said_and_timed(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "PROBE_SECONDS", 0.0)
    make, engine, reason = REFUSED[why]
    plan, said = planned(make(), engine)
    assert said == f"the plan that the evidence names is not followed, a plan is timed: {reason}"
    assert (plan.path, plan.chunk) != ("batched", 4)
    assert plan.chosen != "named by the evidence"


def test_another_configuration_is_timed() -> None:
    assert "of another configuration" in planned(record(), config=replace(CONFIG, first_seed=7))[1]


def test_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "makes_libraries", lambda: False)
    plan, said = planned(record(compiled=True, fused=True, unroll=32))
    assert said.endswith("its steps are compiled, and there is no compiler here")
    assert not plan.compiled


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a smaller plan is timed, if there is one."""

    def full(*_: Any) -> None:
        raise NotFollowed("memory: 4 runs need more than there is")

    monkeypatch.setattr(follow, "check_fits", full)
    assert planned(record())[1].endswith("memory: 4 runs need more than there is")


@compiler_needed
@pytest.mark.slow
def test_generated_steps_are_followed_to_the_byte(tmp_path: Path) -> None:
    from lrscope.engine.sweep import sweep_again

    asked = replace(BATCHED, chunk=3, compile=True)
    whole = train(mlp_task(), CONFIG, asked, tmp_path / "first")
    plan = json.loads(whole.attrs["plan"])
    assert plan["fused"]
    said: list[str] = []
    again = sweep_again(
        mlp_task(),
        config=CONFIG,
        engine=FREE,
        out=tmp_path / "again",
        progress=False,
        command="again",
        record=json.loads(json.dumps(named(whole.attrs, plan))),
        tell=said.append,
    )
    assert said == []
    assert json.loads(again.attrs["plan"])["generated"] == plan["generated"]
    assert same_bytes(whole, again) == []


@compiler_needed
@pytest.mark.slow
def test_functions_that_cannot_be_generated_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(mlp_task(), CONFIG, Path("unused"), FREE)
    monkeypatch.setattr(type(context), "warm", lambda self, plan: ((), {"fixed_pass": "an operation is missing"}))
    _, said = planned(record(compiled=True, fused=True, unroll=32, generated=["fixed_pass"]))
    assert said.endswith("fixed_pass cannot be compiled here (an operation is missing)")


@pytest.mark.slow
def test_the_study_says_which_sweep_it_means(first: Reproduction, tmp_path: Path, capsys: Any) -> None:
    recorded = record_of(first)
    recorded["sphere"]["device"] = "cuda"
    made(tmp_path, FREE, recorded, quiet=False)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "not followed" in line]
    assert "sweep sphere: the plan that the evidence names is not followed, a plan is timed: it is for cuda" in line


def test_records_keep_what_a_plan_does_and_not_what_it_took(first: Reproduction) -> None:
    steps = record_of(first)["sphere"]["steps_of_plan"]
    assert set(steps) == {field.name for field in fields(Plan)} - {"chosen", "run_step_seconds"}
