"""Sweeps of a study that share the cores: the same numbers, no core idle, and all of them end as one would."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lrscope.config import EngineConfig
from lrscope.engine.dispatch import Interrupted, Slots, run_processes, sharing
from lrscope.errors import LrscopeError
from lrscope.storage.files import read_json
from lrscope.studies.reproduction import TIMINGS, Reproduction
from lrscope.studies.side_by_side import shared_jobs, side_by_side
from tiny_study import STUDY, SWEEP
from tiny_tasks import same_bytes

ENGINE = EngineConfig(device="cpu", jobs=2, path="batched", chunk=2, compile=False)
SWEEPS = tuple(replace(SWEEP, name=f"sphere{i}", config=replace(SWEEP.config, steps=i + 2)) for i in range(3))
SEVERAL = replace(STUDY, scales={"smoke": replace(STUDY.scales["smoke"], sweeps=(SWEEP, *SWEEPS))})
NAMES = [sweep.name for sweep in SWEEPS]


def quiet(*_: object) -> None:
    """Nothing."""


def call(work: Any, names: list[str], jobs: int = 2) -> None:
    side_by_side(work, names, jobs, begun=quiet, ended=quiet)


def study(root: Path, jobs: int, **options: Any) -> Reproduction:
    return Reproduction(SEVERAL, "smoke", root, engine=replace(ENGINE, jobs=jobs), **{"quiet": True, **options})


def test_numbers_are_those_of_one_sweep_after_the_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, two = study(tmp_path / "one", 1), study(tmp_path / "two", 2, quiet=False)
    one.prepare(NAMES)
    two.prepare(NAMES)
    for name in NAMES:
        assert same_bytes(one.result(name), two.result(name)) == []
    assert set(read_json(two.folder / TIMINGS)) == set(NAMES)
    said = capfd.readouterr().err
    for i, name in enumerate(NAMES):
        assert f"[{i + 1}/3] sweep {name}: A small net" in said
        assert f"{name}: training 6 runs" in said
        assert f"    {name}: done in " in said
    assert "3 parts there" in said
    two.prepare(NAMES)
    assert said.count("[1/3]") == 1
    assert "there from before" in capfd.readouterr().err


def test_what_is_there_is_not_trained_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study(tmp_path, 2).prepare(NAMES[:1])
    study(tmp_path, 2, quiet=False).prepare(NAMES)
    said = capfd.readouterr().err
    assert f"{NAMES[0]}: training" not in said
    assert f"{NAMES[1]}: training" in said


def test_a_stop_before_anything_is_trained_is_no_fault() -> None:
    """A compiler that a signal ends raises KeyboardInterrupt."""

    def work(name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        call(work, ["one", "two"])


def test_threads_of_the_parent_are_not_waited_for() -> None:
    """OpenMP's threads do not survive a fork, and a sweep that was continued once waited for them without end."""
    script = """
        import torch
        from lrscope.studies.side_by_side import side_by_side
        def work(name):
            torch.rand(2_000_000).max()
        torch.set_num_threads(2)
        work("here")
        side_by_side(work, ["a", "b"], 2, begun=lambda *_: None, ended=lambda *_: None)
        print("ended", torch.get_num_threads())
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "ended 2\n", ended.stderr


class Clock:
    """When units of work begin and end, over processes: how many run at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self.now, self.most, self.done = (context.Value("i", 0) for _ in range(3))
        self.together = context.Value("i", 0)  # times at which units of two sweeps ran at once
        self.of = context.Array("i", 2)

    def units(self, sweep: int, seconds: float) -> Any:
        def work(unit: str, tick: Any, stopping: Any) -> None:
            with self.now.get_lock():
                self.now.value += 1
                self.of[sweep] += 1
                self.most.value = max(self.most.value, self.now.value)
                self.together.value += self.of[0] > 0 and self.of[1] > 0
            time.sleep(seconds)
            with self.now.get_lock():
                self.now.value -= 1
                self.of[sweep] -= 1
                self.done.value += 1

        return work


def test_an_idle_core_goes_to_the_next_sweep_and_no_more_work_than_cores() -> None:
    clock = Clock()

    def work(name: str) -> None:
        units = [f"{name}{i}" for i in range(3)]
        run_processes(units, clock.units("ab".index(name), 0.6), quiet, lambda *_: None, 2)

    call(work, ["a", "b"])
    assert clock.done.value == 6
    assert clock.most.value == 2
    assert clock.together.value > 0


def test_turns_are_given_back_where_a_worker_fails() -> None:
    slots = Slots(1)

    def fail(unit: str, tick: Any, stopping: Any) -> None:
        raise LrscopeError("no")

    with sharing(slots), pytest.raises(LrscopeError, match="no"):
        run_processes(["a", "b"], fail, quiet, lambda *_: None, 2)
    assert slots.idle()
    assert slots.begun == 1


def waits(folder: Path) -> Any:
    """Work that ends when it is told to stop, as a sweep does, and says so in a file."""

    def unit(name: str, tick: Any, stopping: Any) -> None:
        (folder / f"{name} begun").touch()
        deadline = time.monotonic() + 60
        while not stopping() and time.monotonic() < deadline:
            time.sleep(0.02)
        (folder / f"{name} stopped").touch()

    return lambda name: run_processes([name], unit, quiet, lambda *_: None, 2)


def until(there: Path) -> None:
    deadline = time.monotonic() + 30
    while not there.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


ENDS = {
    "refused": (lambda: _raise(LrscopeError("grid: it is empty")), LrscopeError, "^grid: it is empty$"),
    "a fault of ours": (
        lambda: _raise(ZeroDivisionError("here")),
        RuntimeError,
        "sweep b failed(?s:.*)ZeroDivisionError",
    ),
    "died": (lambda: os._exit(9), LrscopeError, r"sweep b: its process died \(exit code 9, .* --jobs"),
    "stopped from outside": (lambda: os.kill(os.getpid(), signal.SIGTERM), Interrupted, None),
}


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("how", ENDS)
def test_one_that_ends_badly_stops_the_others(how: str, tmp_path: Path) -> None:
    end, kind, words = ENDS[how]
    wait = waits(tmp_path)

    def work(name: str) -> None:
        if name == "a":
            wait(name)
        until(tmp_path / "a begun")
        end()

    with pytest.raises(kind, match=words):
        call(work, ["a", "b", "c"])
    assert (tmp_path / "a stopped").exists(), "it had time for a checkpoint"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_of_them(number: int, tmp_path: Path) -> None:
    def send() -> None:
        until(tmp_path / "b begun")
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Interrupted):
        call(waits(tmp_path), ["a", "b", "c"])
    sender.join()
    assert signal.getsignal(number) is before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a begun", "a stopped", "b begun", "b stopped"]


KILLED = """
    import sys
    from pathlib import Path
    from test_side_by_side import call, waits
    call(waits(Path(sys.argv[1])), ["a", "b"])
"""


def test_none_outlives_a_program_that_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], env=environment) as process:
        until(tmp_path / "b begun")
        process.kill()
    until(tmp_path / "a stopped")
    until(tmp_path / "b stopped")


def test_who_does_not_share() -> None:
    assert shared_jobs(EngineConfig(jobs=3)) == 3
    assert shared_jobs(EngineConfig()) == len(os.sched_getaffinity(0))
    assert shared_jobs(EngineConfig(jobs=1)) == 1
    assert shared_jobs(EngineConfig(on="ray", jobs=3)) == 1
