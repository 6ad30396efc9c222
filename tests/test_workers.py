"""Processes: one or several, killed, dying, failing, compiling - the arrays are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import xarray as xr

from lrscope.engine import choose
from lrscope.engine.dispatch import Interrupted
from lrscope.engine.progress import Silent
from lrscope.engine.sweep import sweep
from lrscope.engine.tick import Tick
from lrscope.errors import LrscopeError
from lrscope.results import open_result
from lrscope.tasks.losses import cross_entropy
from lrscope.tasks.task import Task
from tiny_tasks import BASE, BATCHED, KILLABLE, LONG, SHORT, compiler_needed, mlp_task, same_bytes, small_task, train

# The library and these tests, for a fresh interpreter.
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}


@pytest.mark.slow
def test_one_process_or_two() -> None:
    one, two = (train(mlp_task(), BASE, replace(BATCHED, chunk=1, jobs=jobs)) for jobs in (1, 2))
    assert same_bytes(one, two) == []


# -- killed --------------------------------------------------------------------------------------------------------

SCRIPT = """
    import sys
    from dataclasses import replace
    from pathlib import Path
    import torch
    from tiny_tasks import KILLABLE, LONG, mlp_task, train
    torch.set_num_threads(1)
    train(mlp_task(), LONG, replace(KILLABLE, jobs=2), Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def never_killed() -> xr.DataTree:
    return train(mlp_task(), LONG, replace(KILLABLE, checkpoint_seconds=1e6))


@pytest.mark.slow
def test_killed_and_run_again(tmp_path: Path, never_killed: xr.DataTree) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(out)]
    with open(tmp_path / "said", "w") as said, subprocess.Popen(command, env=ENVIRONMENT, stderr=said) as process:
        deadline = time.monotonic() + 60
        while not any(out.glob("chunks/0*")):
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait(30)
    assert not (out / "results.zarr").exists(), "killed too late to prove anything"
    # At once, while workers of the killed process may still be on their way out.
    assert same_bytes(train(mlp_task(), LONG, KILLABLE, out), never_killed) == []
    assert not list(out.glob("chunks/*.writing")), "no half-written file is left behind"
    assert not list(out.glob("chunks/*checkpoint*"))


class Impatient(Silent):
    """Asks the program to stop, as Ctrl-C or a batch system does, at the first sign of progress."""

    def __init__(self, number: int) -> None:
        self.numbers = [number]

    def tick(self, tick: Tick) -> None:
        if self.numbers:  # a second signal would not wait for checkpoints
            os.kill(os.getpid(), self.numbers.pop())


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_run_again(jobs: int, number: int, tmp_path: Path, never_killed: xr.DataTree) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted):
        sweep(mlp_task(), config=LONG, engine=replace(KILLABLE, jobs=jobs), out=tmp_path, progress=Impatient(number))
    assert signal.getsignal(number) is before
    unfinished = list(tmp_path.glob("chunks/*checkpoint*"))
    assert len(unfinished) <= jobs
    assert len(unfinished) == 1 or jobs == 2, "the chunk in work is kept; two workers may just have been between two"
    assert len(list(tmp_path.glob("chunks/*"))) < 5, "interrupted too late to prove anything"
    assert same_bytes(train(mlp_task(), LONG, replace(KILLABLE, jobs=3 - jobs), tmp_path), never_killed) == []


# -- workers that die or fail --------------------------------------------------------------------------------------


def task_with(on_training: Callable[[], None]) -> Task:
    """The MLP task; `on_training` is called at every training step of a worker."""
    parent, data = os.getpid(), mlp_task().data(0)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if os.getpid() != parent and output.requires_grad:
            on_training()
        return cross_entropy(output, target)

    examples = (data.train_x, data.train_y), (data.test_x, data.test_y)
    return Task(mlp_task().drawing.make, *examples, loss=loss, classification=True)


TWO_WORKERS = replace(BATCHED, chunk=1, jobs=2)


@pytest.mark.slow
def test_a_worker_that_dies_once_is_replaced(tmp_path: Path) -> None:
    def die_once() -> None:
        try:
            (tmp_path / "died").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    assert same_bytes(train(task_with(die_once), SHORT, TWO_WORKERS), train(mlp_task(), SHORT, TWO_WORKERS)) == []
    assert (tmp_path / "died").exists()


def test_a_worker_that_dies_twice_ends_the_sweep_with_advice() -> None:
    with pytest.raises(
        LrscopeError, match=r"died twice \(exit code -9, .*\) in chunk 0000\d, which is a single run: use fewer --jobs"
    ):
        train(task_with(lambda: os.kill(os.getpid(), signal.SIGKILL)), SHORT, TWO_WORKERS)


def test_errors_in_a_worker_reach_the_caller() -> None:
    def refuse() -> None:
        raise LrscopeError("loss: refused")

    def stumble() -> None:
        raise ZeroDivisionError("a bug of the user's")

    with pytest.raises(LrscopeError, match="loss: refused"):
        train(task_with(refuse), SHORT, TWO_WORKERS)
    with pytest.raises(RuntimeError, match=r"(?s)failed in a worker:.*ZeroDivisionError: a bug of the user's"):
        train(task_with(stumble), SHORT, TWO_WORKERS)


# -- compiled ------------------------------------------------------------------------------------------------------

# The shapes of test_plans.py's compiled case, so that TorchInductor finds it in its cache.
CONFIG = replace(SHORT, steps=8, precision="float64")
COMPILED = """
    import sys
    from dataclasses import replace
    from pathlib import Path
    import torch._inductor.config
    from test_workers import CONFIG
    from tiny_tasks import BATCHED, small_task, train
    torch.set_num_threads(1)
    with torch._inductor.config.patch({"cpp.simdlen": 1}):
        train(small_task(), CONFIG, replace(BATCHED, compile=True, jobs=2), Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_where_workers_cannot_train_one_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "autograd_survives_fork", lambda: False)
    with pytest.warns(UserWarning, match=r"no processes can be forked: training in this one"):
        alone = train(mlp_task(), SHORT, TWO_WORKERS)
    assert same_bytes(alone, train(mlp_task(), SHORT, replace(TWO_WORKERS, jobs=1))) == []


@pytest.mark.slow
@compiler_needed
def test_workers_train_what_their_parent_compiled(tmp_path: Path) -> None:
    """In a fresh interpreter: whether forked workers can train depends on what came first, compiler or autograd."""
    command = [sys.executable, "-c", textwrap.dedent(COMPILED), str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result: xr.DataTree = open_result(tmp_path)
    assert (result["pretrain/status"] == 0).all()
    plain = train(small_task(), CONFIG)
    assert abs(result["pretrain/train_loss"] / plain["pretrain/train_loss"] - 1).max() < 1e-9
