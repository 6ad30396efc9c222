"""Fine-tunes made longer: the arrays of a sweep that had the longer ones from the start, without pre-training again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import xarray as xr

from lrscope.config import EngineConfig, SweepConfig
from lrscope.config.settings import MapSettings, load_settings
from lrscope.engine import sweep_folder as storage
from lrscope.engine.chunk import ChunkTrainer
from lrscope.engine.segments import Phase
from lrscope.engine.sweep import dry_run
from lrscope.errors import AnotherSweep, LrscopeError
from lrscope.results import open_result
from lrscope.tasks.models import MLP
from lrscope.tasks.task import Task
from lrscope.trained import Trained
from tiny_tasks import BASE, BATCHED, CLASSES, SINGLE, compiler_needed, mlp_task, same_bytes, small_task, task_of, train

EXTENDING = replace(BATCHED, extend_finetunes=True)
SPACES: dict[str, dict[str, Any]] = {
    "sphere": {},
    "momentum": {"space": "whole", "momentum": 0.9, "weight_decay": 1e-2},
    "adam": {"space": "whole", "optimizer": "adam"},
}


def longer(config: SweepConfig) -> SweepConfig:
    return replace(config, finetune_steps=14)


@contextmanager
def only_fine_tuning() -> Iterator[None]:
    """Refuses steps of other phases."""
    whole = ChunkTrainer._train_steps

    def checked(self: ChunkTrainer, phase: Phase, *rest: Any) -> None:
        assert phase.kind == "finetune", f"{phase.kind} is trained again"
        whole(self, phase, *rest)

    with patch.object(ChunkTrainer, "_train_steps", checked):
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "engine"),
    [*((name, BATCHED) for name in SPACES), ("sphere", SINGLE)],
    ids=lambda v: getattr(v, "path", v),
)
def test_arrays_are_those_of_longer_fine_tunes_from_the_start(space: str, engine: EngineConfig, tmp_path: Path) -> None:
    config = replace(BASE, **SPACES[space], keep_weights=True)
    whole = train(mlp_task(), longer(config), engine, tmp_path / "whole")
    train(mlp_task(), config, engine, tmp_path / "out")
    with only_fine_tuning():
        extended = train(mlp_task(), longer(config), replace(engine, extend_finetunes=True), tmp_path / "out")
    assert same_bytes(extended, whole) == []
    assert extended.attrs["config_hash"] == whole.attrs["config_hash"]
    assert same_bytes(open_result(tmp_path / "out"), whole) == []
    ours, theirs = (Trained.open(tmp_path / f, mlp_task()) for f in ("out", "whole"))
    for at in ({}, {"finetune_lr": 1e-3}, {"n_average": 3}):
        assert ours.state(lr=1e-2, seed=1, **at).weights.equal(theirs.state(lr=1e-2, seed=1, **at).weights)


@pytest.mark.slow
@compiler_needed
def test_generated_code_extends_too(tmp_path: Path) -> None:
    engine = replace(BATCHED, compile=True)
    whole = train(small_task(), longer(BASE), engine, tmp_path / "whole")
    assert json.loads(whole.attrs["plan"])["fused"]
    train(small_task(), BASE, engine, tmp_path / "out")
    extended = train(small_task(), longer(BASE), replace(engine, extend_finetunes=True), tmp_path / "out")
    assert same_bytes(extended, whole) == []


@pytest.mark.slow
def test_a_dry_run_predicts_what_is_not_there(tmp_path: Path) -> None:
    config = replace(longer(BASE), average=())
    predicted = partial(dry_run, mlp_task(), config=config, engine=EXTENDING)
    whole = 12 + 14
    assert predicted(out=tmp_path / "new")["steps_per_run"] == whole
    train(mlp_task(), replace(BASE, average=()), out=tmp_path / "out")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    said = predicted(out=tmp_path / "out")
    assert (said["steps_per_run"], said["run_steps"]) == (14, 4 * 14)
    a_step = said["plan"]["run_step_seconds"] * said["plan"]["chunk"] * said["chunks"]
    assert said["seconds"] - said["evaluation_seconds"] == pytest.approx(14 * a_step)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    with pytest.raises(LrscopeError, match="have 6 steps already, 6 are no longer"):
        dry_run(
            mlp_task(),
            config=replace(config, finetune_steps=None, finetune_epochs=1),
            engine=EXTENDING,
            out=tmp_path / "out",
        )
    with pytest.raises(LrscopeError, match="there is no folder"):
        predicted()


@pytest.mark.slow
def test_with_all_that_a_task_may_have_and_twice(tmp_path: Path) -> None:
    """Two data seeds, two FLRs, groups, a validation set, snapshots; the second time in epochs."""

    def task() -> Task:
        return task_of(partial(MLP, (5, 6, CLASSES), norm="layer"), (5,), validation=8, train_groups=[0, 1] * 24)

    config = replace(BASE, data_seeds=2, finetune_lrs=(1e-3, 1e-2), snapshot_epochs=(1.0,))
    final = replace(config, finetune_steps=None, finetune_epochs=4.0)
    whole = train(task(), final, out=tmp_path / "whole")
    train(task(), config, out=tmp_path / "out")
    with only_fine_tuning():
        train(task(), longer(config), EXTENDING, tmp_path / "out")
        extended = train(task(), final, EXTENDING, tmp_path / "out")
    assert same_bytes(extended, whole) == []


# -- stopped anywhere ------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of a process."""


@contextmanager
def killed_at(last: int) -> Iterator[None]:
    """The process ends before it writes or removes a file for the time `last` (counted from 0)."""
    write, unlink, count = storage.write_whole, Path.unlink, iter(range(1_000_000))

    def one_more() -> None:
        if next(count) >= last:
            raise Killed

    def writing(*given: Any) -> None:
        one_more()
        write(*given)

    def removing(path: Path, *given: Any, **options: Any) -> None:
        if path.parent.name == "chunks":
            one_more()
        unlink(path, *given, **options)

    with patch.object(storage, "write_whole", writing), patch.object(Path, "unlink", removing):
        yield


SMALL = replace(BASE, average=(2,))
CHUNKED = replace(BATCHED, chunk=2, checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def from_the_start(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    return train(mlp_task(), longer(SMALL), CHUNKED, tmp_path_factory.mktemp("whole") / "out")


def extend_until_done(out: Path, start: int, step: int) -> tuple[xr.DataTree, int]:
    """Extend in lives that each end at a later moment (first the lock's owner is written, then the experiment); the result
    and how many there were."""
    engine, lives = replace(CHUNKED, extend_finetunes=True), 0
    while True:
        try:
            with killed_at(start + step * lives), only_fine_tuning():
                return train(mlp_task(), longer(SMALL), engine, out), lives
        except Killed:
            lives += 1
            engine = CHUNKED if lives % 2 else replace(CHUNKED, extend_finetunes=True)  # needed once


@pytest.mark.slow
@pytest.mark.parametrize("start", range(4))
def test_killed_at_any_moment_nothing_is_trained_again(start: int, from_the_start: xr.DataTree, tmp_path: Path) -> None:
    short = train(mlp_task(), SMALL, CHUNKED, tmp_path / "out")
    if start:
        with killed_at(start + 1), pytest.raises(Killed):
            train(mlp_task(), longer(SMALL), replace(CHUNKED, extend_finetunes=True), tmp_path / "out")
        assert same_bytes(open_result(tmp_path / "out"), short) == [], "the old result stays"
        with pytest.raises(LrscopeError, match="its fine-tunes are being extended: run that command to its end"):
            Trained.open(tmp_path / "out", mlp_task())
    extended, lives = extend_until_done(tmp_path / "out", start + 2, 3)
    assert lives >= 2
    assert same_bytes(extended, from_the_start) == []
    assert not list((tmp_path / "out" / "chunks").glob("*checkpoint*"))


@pytest.mark.slow
def test_killed_before_the_experiment_is_written_the_folder_is_the_shorter_sweeps(tmp_path: Path) -> None:
    short = train(mlp_task(), SMALL, CHUNKED, tmp_path / "out")
    with killed_at(1), pytest.raises(Killed):
        train(mlp_task(), longer(SMALL), replace(CHUNKED, extend_finetunes=True), tmp_path / "out")
    assert same_bytes(train(mlp_task(), SMALL, CHUNKED, tmp_path / "out"), short) == []


@pytest.mark.slow
@pytest.mark.parametrize("last", [4, 6, 9, 12])
def test_an_unfinished_sweep_is_extended_too(last: int, from_the_start: xr.DataTree, tmp_path: Path) -> None:
    with killed_at(last), pytest.raises(Killed):
        train(mlp_task(), SMALL, CHUNKED, tmp_path / "out")
    extended = train(mlp_task(), longer(SMALL), replace(CHUNKED, extend_finetunes=True), tmp_path / "out")
    assert same_bytes(extended, from_the_start) == []


# -- what is asked for -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_the_option_the_folder_is_refused_with_a_hint(tmp_path: Path) -> None:
    train(mlp_task(), BASE, out=tmp_path)
    with pytest.raises(
        AnotherSweep, match=r"differs in finetune_steps\).*, or --extend-finetunes if fine-tunes are to be"
    ):
        train(mlp_task(), longer(BASE), out=tmp_path)
    with pytest.raises(AnotherSweep, match=r"or delete that folder$"):
        train(mlp_task(), replace(BASE, seeds=3), out=tmp_path)


OTHERS = {
    "seeds": ({"seeds": 3}, "it differs in seeds, finetune_steps"),
    "another FLR": ({"finetune_lrs": (2e-3,)}, "it differs in finetune_lrs, finetune_steps"),
    "as long": ({"finetune_steps": 6}, None),
    "shorter": ({"finetune_steps": 5}, "have 6 steps already, 5 are no longer: ask for more"),
    "as long in epochs": ({"finetune_steps": None, "finetune_epochs": 1.0}, "have 6 steps already, 6 are no longer"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHERS)
def test_what_is_not_the_same_but_longer_is_refused_and_left_alone(case: str, tmp_path: Path) -> None:
    change, message = OTHERS[case]
    short = train(mlp_task(), BASE, out=tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.glob("chunks/*")}
    config = replace(longer(BASE), **change)
    if message is None:  # the very sweep that is there
        assert same_bytes(train(mlp_task(), config, EXTENDING, tmp_path), short) == []
    else:
        with pytest.raises(LrscopeError, match=message):
            train(mlp_task(), config, EXTENDING, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.glob("chunks/*")} == files
    assert same_bytes(open_result(tmp_path), short) == []


@pytest.mark.slow
def test_another_task_is_not_extended(tmp_path: Path) -> None:
    train(mlp_task(), BASE, out=tmp_path)
    with pytest.raises(AnotherSweep):
        train(mlp_task("layer"), longer(BASE), EXTENDING, tmp_path)


@pytest.mark.parametrize(
    ("change", "kept", "message"),
    [
        ({}, False, "extend_finetunes: there is no folder that holds shorter fine-tunes: name it with out"),
        ({"finetune_lrs": (), "finetune_steps": None}, True, "extend_finetunes: there are no fine-tunes"),
        ({"adaptive": True, "lrs": tuple(range(1, 9))}, True, "extend_finetunes: an adaptive sweep chooses its runs"),
    ],
)
def test_what_can_never_be_extended_is_refused(
    change: dict[str, Any], kept: bool, message: str, tmp_path: Path
) -> None:
    with pytest.raises(LrscopeError, match=message):
        train(mlp_task(), replace(BASE, **change), EXTENDING, tmp_path / "out" if kept else None)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_new_folder_is_trained_from_the_start(tmp_path: Path, from_the_start: xr.DataTree) -> None:
    engine = replace(CHUNKED, extend_finetunes=True)
    assert same_bytes(train(mlp_task(), longer(SMALL), engine, tmp_path / "new"), from_the_start) == []


def test_the_option_determines_no_number() -> None:
    settings = load_settings(None, {"finetune_lrs": "1e-3", "extend_finetunes": True})
    assert settings.engine_config().extend_finetunes
    assert settings.request() == load_settings(None, {"finetune_lrs": "1e-3"}).request()
    assert "extend" not in settings.command()
    assert not MapSettings().engine_config().extend_finetunes


@pytest.mark.slow
def test_a_map_is_extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command of the shorter map is then one of another sweep."""
    from lrscope.cli import main

    monkeypatch.chdir(tmp_path)
    text = (
        "lrscope map --width 8 --train-size 64 --test-size 64 --lrs 1e-3:1:6 --seeds 1 --batch-size 16 --epochs 8 "
        "--finetune-lrs 1e-3 --path batched --chunk 6 --no-compile --jobs 1 --out out --json --finetune-epochs"
    )

    def call(*more: str) -> int:
        monkeypatch.setattr(sys, "argv", [*text.split(), *more])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    assert call("1") == 0
    assert call("2") == 2
    assert "--extend-finetunes" in capsys.readouterr().err
    write = storage.Store.write_experiment

    def ends_before_the_request(store: storage.Store, value: Any) -> None:
        if "request" in value:
            raise Killed
        write(store, value)

    with only_fine_tuning():
        with patch.object(storage.Store, "write_experiment", ends_before_the_request), pytest.raises(Killed):
            call("2", "--extend-finetunes")
        assert call("1") == 2, "the longer map is there by now"
        assert call("2") == 0, "shown as it is"
    assert open_result("out")["finetune"].sizes["epoch"] == 2
    assert call("1") == 2
