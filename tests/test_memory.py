"""Memory: what a plan needs is known beforehand; where it runs out, the plan goes on with smaller chunks and says so."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import pytest
import torch
import xarray as xr
from torch import nn

from lrscope.cli import main
from lrscope.engine import choose, evaluation_time, memory_limits, memory_need
from lrscope.engine import context as context_module
from lrscope.engine.assemble import part_of
from lrscope.engine.checked import RANDOM
from lrscope.engine.context import Context
from lrscope.engine.dispatch import Interrupted, out_of_memory
from lrscope.engine.material import Material, normal_rows
from lrscope.engine.plan import Plan, chunks
from lrscope.engine.program import Program
from lrscope.engine.state import run_axis
from lrscope.engine.sweep import dry_run, sweep
from lrscope.engine.sweep_folder import CHECKPOINT
from lrscope.engine.tick import Tick
from lrscope.errors import LrscopeError
from lrscope.tasks.streams import generator
from test_cli import in_process
from test_workers import ENVIRONMENT
from tiny_tasks import BASE, BATCHED, SHORT, computed, context_of, mlp_task, same_bytes, task_of, train
from trees import arrays

CONFIG = replace(BASE, seeds=3, precision="float64", lrs=(1e-3, 2e-3))  # 6 runs
OF_SIX = replace(BATCHED, chunk=6, checkpoint_seconds=0.0)
OF_FOUR = replace(BATCHED, chunk=4, checkpoint_seconds=0.0)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def python_runs_out() -> None:
    raise MemoryError


def torch_runs_out() -> None:
    torch.empty(2**50)


def numpy_runs_out() -> None:
    np.empty(2**50)


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], list[tuple[str, int]]]:
    """Memory that holds so many runs: a larger chunk fails in its second window, wherever it began."""

    def set_up(most: int, fail: Callable[[], None]) -> list[tuple[str, int]]:
        begun: list[tuple[str, int]] = []
        whole = Context.run_unit

        def run_unit(self: Context, plan: Plan, name: str, tick: Any, stopping: Any) -> None:
            sizes = {c.name: len(c.runs) for c in chunks(self.config, plan)}
            begun.append((name, sizes.get(name, 0)))
            windows = iter(range(1))

            def ticking(value: Tick) -> None:
                tick(value)
                if sizes[name] > most and next(windows, None) is None:
                    fail()

            whole(self, plan, name, ticking, stopping)

        monkeypatch.setattr(Context, "run_unit", run_unit)
        return begun

    return set_up


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    return computed(mlp_task(), CONFIG, Plan("batched", 6, False, "", 0.0), tmp_path_factory.mktemp("roomy"))


def close(a: xr.DataTree, b: xr.DataTree) -> bool:
    return all(np.allclose(a[n], b[n], rtol=1e-9, atol=1e-13, equal_nan=True) for n in arrays(a) if n != "seconds")


def replans(result: xr.DataTree) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.attrs["plan"])["replans"]
    return found


# -- it runs out ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*go on as halves")
@pytest.mark.parametrize(
    ("fail", "jobs"),
    [(torch_runs_out, 1), (numpy_runs_out, 1), (python_runs_out, 2), (killed, 2)],  # a killed single process stays dead
)
def test_the_sweep_goes_on_with_smaller_chunks(
    fail: Callable[[], None], jobs: int, tmp_path: Path, scarce: Any, roomy: xr.DataTree
) -> None:
    begun = scarce(2, fail)
    result = train(mlp_task(), CONFIG, replace(OF_SIX, jobs=jobs), tmp_path)
    assert close(result, roomy)
    assert (result["pretrain/status"] == 0).all()
    assert (result["seconds"] > 0).all()
    said = replans(result)
    assert [(r["unit"], r["runs"], r["into"]) for r in sorted(said, key=lambda r: str(r["unit"]))] == [
        ("00000", 6, ["00000a", "00000b"]),
        ("00000a", 3, ["00000aa", "00000ab"]),
        ("00000b", 3, ["00000ba", "00000bb"]),
    ]
    assert all(("out of memory" if fail is killed else "memory ran out") in r["reason"] for r in said)
    assert (said[0]["phase"], said[0]["step"]) > (0, 0), "from the last checkpoint, not from the start"
    assert json.loads((tmp_path / "plan.json").read_text())["replans"] == said
    assert not list(tmp_path.glob("chunks/*checkpoint*"))
    if jobs == 1:
        assert begun[0][0].startswith(RANDOM)
        assert [name for name, _ in begun[1:4]] == ["00000", "00000a", "00000aa"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*go on as halves")
def test_finished_chunks_stay_and_pending_ones_shrink_with_the_failing_one(tmp_path: Path, scarce: Any) -> None:
    engine = replace(OF_FOUR, chunk=2)
    with pytest.raises(Interrupted):  # the first chunk is finished while memory lasts
        sweep(mlp_task(), config=CONFIG, engine=engine, out=tmp_path, progress=StopAfter(tmp_path))
    finished = tmp_path / "chunks" / "00000.done.safetensors"
    stamp = finished.stat().st_mtime_ns
    begun = scarce(1, python_runs_out)
    result = train(mlp_task(), CONFIG, engine, tmp_path)
    assert finished.stat().st_mtime_ns == stamp
    assert [r["unit"] for r in replans(result)] == ["00001", "00002"]
    assert [name for name, size in begun if size == 2] == ["00001"], "nobody waits for the next one to fail as well"


class StopAfter:
    """Stops the sweep when its first chunk is finished."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, runs: int, run_steps: int, done: int) -> None:
        """Nothing."""

    def tick(self, tick: Tick) -> None:
        if list(self.folder.glob("chunks/0*.done*")):
            self.folder = self.folder / "no more"
            os.kill(os.getpid(), signal.SIGTERM)

    def end(self) -> None:
        """Nothing."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*go on as halves")
@pytest.mark.parametrize("fail", [python_runs_out, killed])
def test_a_single_run_that_is_too_large_ends_with_advice(fail: Callable[[], None], scarce: Any) -> None:
    scarce(0, fail)
    with pytest.raises(LrscopeError, match=r"memory: .* in chunk 0+[ab]*, which is a single run: use fewer --jobs"):
        train(mlp_task(), replace(CONFIG, seeds=1), replace(OF_SIX, jobs=2 if fail is killed else 1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*go on as halves")
def test_a_re_plan_is_followed_by_whoever_continues(tmp_path: Path, scarce: Any, monkeypatch: Any) -> None:
    """Stopped after it, killed in the middle of it: the same bytes as without."""
    scarce(3, python_runs_out)
    whole = train(mlp_task(), CONFIG, OF_SIX, tmp_path / "whole")
    with pytest.raises(Interrupted):
        sweep(mlp_task(), config=CONFIG, engine=OF_SIX, out=tmp_path / "out", progress=StopAtHalf(tmp_path / "out"))
    assert list((tmp_path / "out" / "chunks").glob("00000a" + CHECKPOINT))
    monkeypatch.undo()
    again = train(mlp_task(), CONFIG, OF_SIX, tmp_path / "out")
    assert replans(again) == replans(whole)
    assert same_bytes(again, whole) == []


class StopAtHalf(StopAfter):
    """Stops the sweep in the first half of a chunk."""

    def tick(self, tick: Tick) -> None:
        if tick.run_steps and list(self.folder.glob("chunks/00000a*")):
            self.folder = self.folder / "no more"
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_a_kill_between_the_steps_of_a_re_plan_leaves_one_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The halves' checkpoints are there, the plan is not: the old plan goes on from the old checkpoint."""
    from lrscope.engine.sweep_folder import Store

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    engine = replace(OF_SIX, jobs=1)
    whole = train(mlp_task(), CONFIG, engine, tmp_path / "whole")
    with pytest.raises(Interrupted):
        sweep(mlp_task(), config=CONFIG, engine=engine, out=tmp_path / "out", progress=StopAtTick(3))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_plan", die)
        with pytest.raises(Killed):
            train(mlp_task(), CONFIG, replace(engine, chunk=3), tmp_path / "out")
    assert len(list(tmp_path.glob("out/chunks/*checkpoint*"))) == 3
    again = train(mlp_task(), CONFIG, engine, tmp_path / "out")
    assert replans(again) == []
    assert same_bytes(again, whole) == []
    assert not list(tmp_path.glob("out/chunks/*checkpoint*"))


class StopAtTick(StopAfter):
    """Stops the sweep at the n-th logged window."""

    def __init__(self, count: int) -> None:
        self.left = count

    def tick(self, tick: Tick) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_a_smaller_chunk_asked_for_later_is_a_recorded_re_plan(tmp_path: Path, roomy: xr.DataTree) -> None:
    """Whoever was killed for memory as a single process gets on by asking for less."""
    with pytest.raises(Interrupted):
        sweep(mlp_task(), config=CONFIG, engine=OF_SIX, out=tmp_path, progress=StopAtTick(4))
    result = train(mlp_task(), CONFIG, replace(OF_SIX, chunk=2), tmp_path)
    assert [r["runs"] for r in replans(result)] == [6, 3, 3]
    assert (replans(result)[0]["phase"], replans(result)[0]["step"]) > (0, 0)
    assert close(result, roomy)


@pytest.mark.parametrize("phase_windows", [1, 2, 3, 4])
def test_a_checkpoint_is_split_by_runs_in_every_phase(phase_windows: int, tmp_path: Path) -> None:
    """Every tensor of the state has a run axis where `part_of` cuts it."""
    config = replace(CONFIG, space="whole", momentum=0.9)
    context = context_of(mlp_task(), config, tmp_path, OF_SIX)
    context.store.create()
    plan = Plan("batched", 6, False, "", 0.0)
    ticks = iter(range(phase_windows))

    class Enough(Exception):
        pass

    def tick(_: Tick) -> None:
        if next(ticks, None) is None:
            raise Enough

    with pytest.raises(Enough):
        context.run_unit(plan, "00000", tick, lambda: False)
    saved = context.store.load("00000" + CHECKPOINT)
    assert saved is not None
    first, second = part_of(saved[0], slice(0, 4)), part_of(saved[0], slice(4, None))
    assert all(value.dim() > 0 for value in saved[0].values())
    for name, value in saved[0].items():
        axis = run_axis(name)
        assert value.shape[axis] == 6, name
        assert torch.equal(torch.cat([first[name], second[name]], axis), value), name


def test_what_counts_as_lack_of_memory() -> None:
    for fail in (python_runs_out, torch_runs_out, numpy_runs_out):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            fail()
        assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not out_of_memory(RuntimeError("shapes do not match"))
    assert not out_of_memory(LrscopeError("memory: too little"))


PLANNED = (
    *("map", "--data", "digits", "--train-size", "64", "--test-size", "64", "--batch-size", "16", "--width", "8"),
    *("--lrs", "1e-3:1:8", "--seeds", "1", "--steps", "20", "--jobs", "1", "--no-compile", "--dry-run"),
)


@pytest.mark.parametrize("fail", [torch_runs_out, numpy_runs_out, python_runs_out])
@pytest.mark.parametrize(
    ("where", "name", "path", "words"),
    [
        (evaluation_time, "_seconds", "batched", r"as evaluation was timed \(.+\): use a smaller --chunk"),
        (choose, "_timed", "single", r"in the first steps \(.+\): use a smaller --chunk"),
        (choose, "_timed", "batched", r"in the first steps \(.+\): use a smaller --chunk"),
        (Material, "initial_weights", "auto", r"in a first step of one run \(.+\): use a smaller --batch-size"),
        (Context, "build", "auto", r"\(.+\): close other programs"),
    ],
)
def test_a_plan_for_which_memory_runs_out_is_refused_in_one_sentence(
    where: Any, name: str, path: str, words: str, fail: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, lambda *given, **named: fail())
    code, out, err = in_process(*PLANNED, "--path", path)
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"lrscope: memory: it ran out {words}.*\n", err)


def test_only_lack_of_memory_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*given: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(evaluation_time, "_seconds", breaks)
    with pytest.raises(RuntimeError, match="a bug"), patch.object(sys, "argv", ["lrscope", *PLANNED]):
        main()


# -- how much there is ---------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """A machine with so many GiB, of which so many are free."""

    def set_up(total: float, free: float) -> None:
        for module in (memory_limits, choose):
            monkeypatch.setattr(module, "machine_memory", lambda _: (int(total * 2**30), int(free * 2**30)))
        # Of this process only the workers count, so that a test does not depend on those before it.
        monkeypatch.setattr(context_module, "resident", lambda _: 0)
        monkeypatch.setattr(memory_need, "LOADED", dict.fromkeys(memory_need.LOADED, 0))
        monkeypatch.setattr(memory_need, "WORKER", 300_000_000)

    return set_up


@pytest.mark.slow
def test_a_plan_that_cannot_fit_is_refused_before_any_work(machine: Any, tmp_path: Path) -> None:
    machine(0.5, 0.5)
    with pytest.raises(
        LrscopeError, match=r"memory: 2 processes with 6 runs each will need about 0\.6 GiB, there are 0\.5"
    ):
        train(mlp_task(), CONFIG, replace(OF_SIX, jobs=2), tmp_path)
    assert not (tmp_path / "plan.json").exists()
    assert not list((tmp_path / "chunks").iterdir())
    with pytest.raises(LrscopeError, match="use a smaller --chunk or fewer --jobs"):
        dry_run(mlp_task(), config=CONFIG, engine=replace(OF_SIX, jobs=2))
    train(mlp_task(), CONFIG, replace(OF_SIX, jobs=1), tmp_path)  # one process fits


def test_a_tight_plan_is_a_warning(machine: Any) -> None:
    machine(8, 0.1)
    with pytest.warns(UserWarning, match=r"memory: 1 processes with 6 runs each .*, 0\.1 are free: if memory runs out"):
        train(mlp_task(), replace(CONFIG, steps=2, finetune_lrs=(), finetune_steps=None, average=()), OF_SIX)


def test_only_chunks_that_fit_are_tried(machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(mlp_task(), replace(CONFIG, seeds=40), tmp_path, replace(BATCHED, path="auto", chunk=None))
    monkeypatch.setattr(choose, "memory", lambda _, plan, jobs: plan.chunk * jobs * 2**20)
    tried: list[int] = []
    timed = choose._timed

    def trying(context: Context, plan: Plan, seconds: float | None = None) -> Plan:
        tried.append(plan.chunk)
        return timed(context, plan, 0.0)

    monkeypatch.setattr(choose, "_timed", trying)
    machine(50 / 1024, 50 / 1024)
    choose.choose_plan(context, 1)
    assert tried[0] == 1
    assert 1 < max(tried) <= 50, "80 runs would fit one chunk otherwise"


# -- control groups and limits -------------------------------------------------------------------------------------

V2, V1 = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
PAIR = tuple[str, str]


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A made-up /sys/fs/cgroup: limits and usage by folder, and what /proc/self/cgroup says."""

    def set_up(membership: str, files: dict[str, tuple[PAIR, str, str]]) -> None:
        (tmp_path / "membership").write_text(membership)
        for folder, (names, limit, usage) in files.items():
            (tmp_path / "fs" / folder).mkdir(parents=True, exist_ok=True)
            for name, text in zip(names, (limit, usage), strict=True):
                (tmp_path / "fs" / folder / name).write_text(text + "\n")
        monkeypatch.setattr(memory_limits, "CGROUPS", tmp_path / "fs")
        monkeypatch.setattr(memory_limits, "MEMBERSHIP", tmp_path / "membership")
        monkeypatch.setattr(memory_limits, "_own_limits", lambda: iter(()))

    return set_up


CPU = torch.device("cpu")
M = 10**6


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (
            "0::/a/b/c\n",
            {"a/b/c": (V2, "max", "1"), "a/b": (V2, str(4 * M), "1000"), "a": (V2, str(9 * M), "5")},
            4 * M,
        ),
        ("0::/a/b\n", {"a/b": (V2, str(5 * M), "0"), "a": (V2, str(3 * M), "0")}, 3 * M),
        ("0::/a/b\n", {"": (V2, str(2 * M), "0"), "a": (V2, "max", "0")}, 2 * M),
        ("0::/../../outside\n", {"": (V2, str(6 * M), "0")}, 6 * M),
        ("4:memory:/x/y\n2:cpu:/z\n", {"memory/x/y": (V1, str(7 * M), "0"), "memory": (V1, str(2**63), "0")}, 7 * M),
        ("9:cpu,memory:/x\n0::/a\n", {"memory/x": (V1, str(8 * M), "0"), "a": (V2, str(5 * M), "0")}, 5 * M),
        ("", {"memory": (V1, str(3 * M), "0")}, 3 * M),
        ("rubbish\n0::\n::::\n", {"": (V2, str(3 * M), "rubbish")}, 3 * M),
    ],
)
def test_the_tightest_control_group_counts(membership: str, files: Any, expected: int, groups: Any) -> None:
    groups(membership, files)
    known = memory_limits.machine_memory(CPU)
    assert known is not None
    assert known[0] == expected


def test_what_is_free_is_counted_in_every_group(groups: Any) -> None:
    groups("0::/a/b\n", {"a/b": (V2, str(5 * M), str(M)), "a": (V2, str(6 * M), str(4 * M))})
    assert memory_limits.machine_memory(CPU) == (5 * M, 2 * M)


def test_without_limits_the_machine_counts(groups: Any) -> None:
    groups("0::/a\n", {"a": (V2, "max", "1000")})
    known = memory_limits.machine_memory(CPU)
    assert known is not None
    assert known[0] >= known[1] > 2**20


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_limits_of_the_process_count(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    pages = [int(n) for n in Path("/proc/self/statm").read_text().split()]
    used = pages[0 if kind == "RLIMIT_AS" else 5] * resource.getpagesize()

    def rlimit(process: psutil.Process, which: int) -> tuple[int, int]:
        assert process.pid == os.getpid()
        return (used + 50 * M, -1) if which == getattr(resource, kind) else (resource.RLIM_INFINITY, -1)

    monkeypatch.setattr(psutil.Process, "rlimit", rlimit)
    known = memory_limits.machine_memory(CPU)
    assert known is not None
    assert 0 < known[1] <= 60 * M
    assert known[0] < 60 * M + memory_need.resident(CPU)


def test_what_this_process_has_is_what_the_system_says() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert abs(memory_need.resident(CPU) - pages * os.sysconf("SC_PAGE_SIZE")) < 64 * M
    assert memory_need.resident(torch.device("cuda")) == memory_need.PROGRAM


def test_nobody_says_how_much_memory_there_is(groups: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> None:
        raise FileNotFoundError("/proc/meminfo")

    groups("", {})
    monkeypatch.setattr(psutil, "virtual_memory", unknown)
    assert memory_limits.machine_memory(CPU) is None


# -- random points -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "size"), [(16, 37), (5, 16), (3, 4), (1, 5), (7, 1000), (16, 1), (2, 17)])
@pytest.mark.parametrize("group", [1, 2, 5, 16])
def test_normal_numbers_are_the_same_in_groups(count: int, size: int, group: int) -> None:
    whole = torch.randn(count, size, generator=generator("tests", "rows"))
    parts = list(normal_rows(generator("tests", "rows"), count, size, group))
    assert max(map(len, parts)) <= group
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("space", ["sphere", "whole"])
@pytest.mark.parametrize("path", ["batched", "single"])
def test_random_points_are_the_same_in_groups(space: str, path: str, tmp_path: Path) -> None:
    config = replace(CONFIG, space=space, random_points=5, seeds=2, precision="float32")
    context = context_of(mlp_task(), config, tmp_path)
    program, material = context.program(path, False), context.material(0)
    whole = material.random_points(program)
    for group in (1, 2, 3):
        some = material.random_points(program, group)
        for name, value in whole.items():
            torch.testing.assert_close(some[name], value, rtol=0.0 if path == "single" else 1e-5, atol=0.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*random points are evaluated")
def test_random_points_that_are_too_large_go_on_in_smaller_groups(
    tmp_path: Path, roomy: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, random_points=5)
    whole = train(mlp_task(), config, OF_SIX, tmp_path / "whole")
    evaluated = Program.train_mode_metrics

    def scarce(self: Program, weights: torch.Tensor, *args: Any) -> Any:
        if len(weights) > 2:
            raise MemoryError
        return evaluated(self, weights, *args)

    monkeypatch.setattr(Program, "train_mode_metrics", scarce)
    result = train(mlp_task(), config, OF_SIX, tmp_path / "out")
    assert close(result, whole)
    assert [(r["unit"], r["runs"], r["points"]) for r in replans(result)] == [
        ("random-00000", 5, 3),
        ("random-00000", 3, 2),
    ]
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["points"] == 2


@pytest.mark.slow
def test_a_single_random_point_that_is_too_large_ends_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Material, "random_points", scarce)
    with warnings.catch_warnings(action="ignore"), pytest.raises(LrscopeError, match=r"memory: .* random-00000"):
        train(mlp_task(), SHORT, OF_SIX)


def test_fewer_random_points_at_a_time_where_memory_is_short(machine: Any, tmp_path: Path) -> None:
    config = replace(CONFIG, random_points=64, seeds=1)
    context = context_of(mlp_task(), config, tmp_path, OF_SIX)
    plan = Plan("batched", 2, False, "", 0.0)
    whole, least = (memory_need.memory(context, replace(plan, points=p), 1) for p in (0, 1))
    assert whole > least
    assert memory_need.smaller_points(context, plan, 1, whole) == 0
    points = memory_need.smaller_points(context, plan, 1, (whole + least) // 2)
    assert 1 <= points <= 32
    assert memory_need.memory(context, replace(plan, points=points), 1) <= (whole + least) // 2
    machine(((whole + least) / 2 - context.resident) / 2**30 + 1, 0)
    assert memory_need.smaller_points(context, plan, 1, 0) >= 1, "halved as long as that helps, not for ever"


# -- the prediction against what is used ---------------------------------------------------------------------------

MEASURED = """
    import json, resource, sys
    from functools import partial
    import torch
    from lrscope.config import EngineConfig, SweepConfig
    from lrscope.engine.sweep import dry_run, sweep
    from lrscope.tasks.models import MLP
    from tiny_tasks import task_of
    torch.set_num_threads(1)
    widths, options, engine = json.loads(sys.argv[1])
    task = task_of(partial(MLP, (*widths, 3)), (widths[0],), train=64)
    config = SweepConfig.from_dict({"lrs": [1e-3, 2e-3], "seeds": 2, "steps": 2, "batch_size": 32, **options})
    engine = EngineConfig(device="cpu", jobs=1, **engine)
    said = dry_run(task, config=config, engine=engine)["bytes"]
    sweep(task, config=config, engine=engine, out=sys.argv[2], progress=False)
    print(json.dumps([said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""
TUNED = {"finetune_lrs": [1e-4], "finetune_steps": 1, "average": [2], "average_every": 1}
ALL = {"path": "batched", "chunk": 4, "compile": False}
ESTIMATED = {
    "momentum, fine-tunes, averages": ([64, 1024, 1024, 1024], {**TUNED, "space": "whole", "momentum": 0.9}, ALL),
    "kept weights": ([64, 1024, 1024, 1024], {**TUNED, "snapshot_epochs": [0.5, 1], "keep_weights": True}, ALL),
    "a single run and its random points": ([64, 2048, 2048], {"seeds": 1}, {"path": "single", "compile": False}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ESTIMATED)
def test_the_prediction_is_near_what_is_used(kind: str, tmp_path: Path) -> None:
    """benchmarks/memory.py measures more kinds."""
    command = [sys.executable, "-c", textwrap.dedent(MEASURED), json.dumps(ESTIMATED[kind]), str(tmp_path / "out")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    predicted, measured = json.loads(done.stdout.splitlines()[-1])
    assert 1 / 1.5 < measured / predicted < 1.5, (measured, predicted)
    assert measured > 1.2e9, "large enough for more than Python and PyTorch themselves"


def test_activations_are_those_that_are_saved(tmp_path: Path) -> None:
    """Also of functions that are no modules: what counts is what the backward pass is kept for."""

    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.layer(x)
            for _ in range(10):
                y = (y * y).tanh()
            return y[:, :3]

    config = replace(BASE, space="whole", batch_size=16)
    passes = context_of(task_of(Squared, (5,)), config, tmp_path).passes
    assert 10 * 7 * 4 <= passes.step <= 15 * 7 * 4
    assert passes.evaluation <= 6 * 7 * 4
