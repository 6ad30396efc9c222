"""Clocks, signals, bad labels, the last update, memory's alignment: what else must not reach the numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lrscope.engine.chunk import Stopped
from lrscope.engine.dispatch import Interrupted
from lrscope.engine.plan import cut
from lrscope.engine.progress import Silent
from lrscope.engine.sweep import sweep
from lrscope.engine.sweep_folder import CHECKPOINT
from lrscope.errors import LrscopeError
from lrscope.schema import STATUS, STATUS_REMEDY
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.task import Task
from tiny_tasks import (
    ALL_RUNS,
    BASE,
    BATCHED,
    CLASSES,
    SHORT,
    computed,
    context_of,
    examples,
    mlp_task,
    same_bytes,
    task_of,
    train,
)

# -- the clock -----------------------------------------------------------------------------------------------------


class StopOnce(Silent):
    """Asks the program to stop at the third logged window."""

    left = 3

    def tick(self, tick: object) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("years", [-30, 30])
def test_a_clock_that_was_set_changes_nothing(years: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = replace(BATCHED, chunk=2, checkpoint_seconds=0.0)
    whole = train(mlp_task(), BASE, engine, tmp_path / "whole")
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        sweep(mlp_task(), config=BASE, engine=engine, out=out, progress=StopOnce())
    assert list(out.glob("chunks/*checkpoint*")), "stopped too late to prove anything"
    now, shift = time.time, years * 3.15e7
    for path in out.rglob("*"):
        os.utime(path, (now() - shift, now() - shift))  # files from the other side of now, either way
    calls = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: now() + shift - 1e3 * next(calls))  # and it runs backwards
    assert same_bytes(train(mlp_task(), BASE, engine, out), whole) == []


# -- signals -------------------------------------------------------------------------------------------------------

SCRIPT = """
    import sys, time
    from dataclasses import replace
    from pathlib import Path
    import torch
    from lrscope.engine.dispatch import Interrupted
    from lrscope.engine.program import Program
    from tiny_tasks import KILLABLE, LONG, mlp_task, train
    torch.set_num_threads(1)
    slow, out = sys.argv[3] == "slow", Path(sys.argv[1])
    if slow:  # a step that takes its time, so that a second signal comes while the first waits for it
        run = Program.steps
        def steps(self, *args):
            if (out / "plan.json").exists():
                (out.parent / "step").touch()
                time.sleep(3)
            return run(self, *args)
        Program.steps = steps
    try:
        train(mlp_task(), replace(LONG, steps=2000), replace(KILLABLE, jobs=int(sys.argv[2])), Path(sys.argv[1]))
    except Interrupted:
        sys.exit(7)
    except KeyboardInterrupt:
        sys.exit(8)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}


def wait_for(pattern: str, folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not any(folder.glob(pattern)):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes_in(session: int) -> list[int]:
    """Living processes of a session, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("patience", ["first", "second"])
def test_ctrl_c_reaches_all_processes_and_leaves_none(jobs: int, patience: str, tmp_path: Path) -> None:
    """As a terminal does it: the signal goes to the whole group. The first one ends with checkpoints; with steps that take
    seconds a second one ends it at once."""
    out, slow = tmp_path / "out", patience == "second"
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(out), str(jobs), "slow" if slow else "quick"]
    with subprocess.Popen(command, env=ENVIRONMENT, text=True, start_new_session=True) as process:
        wait_for("step" if slow else f"out/chunks/0*{CHECKPOINT}", tmp_path, process)
        before = {p.name for p in out.glob("chunks/*.safetensors")}
        os.killpg(process.pid, signal.SIGINT)
        if slow:
            time.sleep(0.3)
            assert process.poll() is None, "the first one waits for the step's end"
            os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == (8 if slow else 7)
        deadline = time.monotonic() + 30
        while processes_in(process.pid):
            assert time.monotonic() < deadline, "a worker is left behind"
            time.sleep(0.05)
    left = {p.name for p in out.glob("chunks/*.safetensors")}
    assert before <= left, "what was on disk stays there"
    if not slow:
        assert 1 <= len([name for name in left if name.endswith(CHECKPOINT)]) <= jobs, "the second may not have begun"


# -- labels and losses ---------------------------------------------------------------------------------------------


def test_bad_labels_of_one_data_seed_are_refused_by_its_name_before_any_work(tmp_path: Path) -> None:
    def data(data_seed: int) -> DataSet:
        (x, y), test = examples(48, (5,)), examples(20, (5,), key="test")
        if data_seed == 1:
            y = torch.where(torch.arange(48) == 7, 5, y)
        return DataSet(
            name="bad", train_x=x, train_y=y, test_x=test[0], test_y=test[1], classes=CLASSES, loss="cross_entropy"
        )

    task = Task.from_data("bad", mlp_task().drawing.make, data)
    with pytest.raises(LrscopeError, match=r"data seed 1: data: the train labels hold 5, but there are 3 classes"):
        train(task, replace(SHORT, data_seeds=2), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_targets_that_turn_out_bad_end_their_own_runs_only(tmp_path: Path) -> None:
    """NaN targets that passed the door: the data seed that has them ends, the others are the same to the bit."""
    found = []
    for spoil in (False, True):
        generator = torch.Generator().manual_seed(3)
        x, y = torch.randn(48, 5, generator=generator), torch.randn(48, 1, generator=generator)
        spoilt = y.clone()

        def data(data_seed: int, x: torch.Tensor = x, y: torch.Tensor = y, spoilt: torch.Tensor = spoilt) -> DataSet:
            target = spoilt if data_seed == 1 else y
            return DataSet(name="r", train_x=x, train_y=target, test_x=x, test_y=y, classes=0, loss="mse")

        task = Task.from_data("r", lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 1)), data)
        context = context_of(task, replace(SHORT, space="whole", data_seeds=2), tmp_path / str(spoil))
        context.task.data(1)
        if spoil:
            spoilt[::4] = torch.nan
        config = replace(SHORT, space="whole", data_seeds=2)
        found.append(computed(task, config, ALL_RUNS, tmp_path / f"{spoil} computed"))
    clean, bad = found
    assert same_bytes(clean.isel(data_seed=[0]), bad.isel(data_seed=[0])) == []
    assert (clean["pretrain/status"] == 0).all()
    assert (bad["pretrain/status"].sel(data_seed=1) == 1).all()


def test_an_infinite_loss_in_one_run_changes_no_other_by_a_bit(tmp_path: Path) -> None:
    """The same chunk with and without a loss that is infinite where outputs are large."""
    config = replace(BASE, space="whole", scale_invariant=False, lrs=(1e-3, 1e-2, 30.0), momentum=0.9)
    found = []
    for limit in (torch.inf, 40.0):

        def loss(output: torch.Tensor, target: torch.Tensor, limit: float = limit) -> torch.Tensor:
            plain = nn.functional.cross_entropy(output, target, reduction="none")
            return torch.where(output.abs().amax(-1) > limit, torch.inf, plain)

        plain = mlp_task("layer")
        data = plain.data(0)
        pairs = (data.train_x, data.train_y), (data.test_x, data.test_y)
        task = Task(plain.drawing.make, *pairs, loss=loss, classification=True)
        found.append(computed(task, config, ALL_RUNS, tmp_path / str(limit)))
    finite, infinite = found
    assert (finite["pretrain/status"].isel(lr=[0, 1]) == 0).all()
    assert (infinite["pretrain/status"].isel(lr=2) == 1).all()
    keep = {"lr": [0, 1]}
    assert same_bytes(finite.isel(keep), infinite.isel(keep)) == []


def test_every_status_says_what_to_do() -> None:
    assert set(STATUS.values()) == set(STATUS_REMEDY)
    assert all(len(words.split()) > 2 for words in STATUS_REMEDY.values())


@pytest.mark.parametrize("lr", [1e30, 3e38])
def test_an_overflow_in_the_last_update_is_non_finite(lr: float, tmp_path: Path) -> None:
    """No training step sees it any more."""
    config = replace(SHORT, space="whole", lrs=(1e-3, lr), steps=1, finetune_lrs=(1e-3,), finetune_steps=2)
    result = computed(mlp_task("none"), config, ALL_RUNS, tmp_path)
    assert np.isnan(result["pretrain/test_loss"].isel(lr=1)).all(), "else the case says nothing"
    assert (result["pretrain/status"].sel(lr=1e-3) == 0).all()
    assert (result["pretrain/status"].isel(lr=1) == 1).all()
    assert (result["pretrain/nonfinite_step"].isel(lr=1) == 0).all()
    assert (result["finetune/status"].isel(lr=1) == 2).all(), "stopped: its pre-training did not finish"


# -- at the door, and in memory ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_batch_norm_over_a_single_number_is_refused_in_a_sentence(tmp_path: Path) -> None:
    config = replace(SHORT, batch_size=1, space="whole")
    with pytest.raises(LrscopeError, match=r"batch_size: 1 leaves the model's batch norm a single number per channel"):
        train(mlp_task(), config, out=tmp_path)

    def convolution() -> nn.Module:  # many numbers per channel even so
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, CLASSES))

    assert (train(task_of(convolution, (1, 8, 8)), config)["pretrain/status"] == 0).all()


def test_a_resumed_chunk_lies_in_memory_of_its_own(tmp_path: Path) -> None:
    """Kernels may round differently where memory is aligned differently: loaded tensors get the alignment of new ones."""
    context = context_of(mlp_task(), BASE, tmp_path)
    context.store.create()
    unit = context.units(ALL_RUNS)[-1]
    with pytest.raises(Stopped):
        context.run_unit(ALL_RUNS, unit, lambda _: None, iter([False] * 7 + [True]).__next__)
    saved = context.store.load(unit + CHECKPOINT)
    assert saved is not None
    odd = {}
    for name, value in saved[0].items():  # as an unlucky file would give them: four bytes off
        room = torch.empty(value.numel() + 1, dtype=value.dtype)
        odd[name] = room[1:].view(value.shape).copy_(value)
    trainer = context.trainer(ALL_RUNS, cut(BASE, 64)[0])
    trainer.load(odd, saved[1]["cursor"])
    for name, value in trainer.tensors.items():
        assert torch.equal(value, saved[0][name]), name
        assert value.data_ptr() % 64 == 0, name
    assert any(value.data_ptr() % 64 for value in odd.values())
