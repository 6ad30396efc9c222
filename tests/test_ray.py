"""Ray on this machine with two workers: the arrays are those of one process, whatever dies or is interrupted."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch
import xarray as xr

from lrscope.engine import on_ray
from lrscope.engine.dispatch import Interrupted, Work
from lrscope.engine.on_ray import AHEAD, cluster, run_on_ray
from lrscope.engine.plan import Plan
from lrscope.engine.progress import Silent
from lrscope.engine.ray_job import SweepJob
from lrscope.engine.sweep import sweep
from lrscope.engine.tick import Tick
from lrscope.errors import LrscopeError
from lrscope.grids import log_grid
from lrscope.storage.paths import Remote, names
from lrscope.tasks.losses import cross_entropy
from lrscope.tasks.task import Task
from tiny_tasks import BASE, BATCHED, SHORT, context_of, mlp_task, same_bytes, train

pytestmark = pytest.mark.slow

HERE = replace(BATCHED, chunk=1)
SWEEP = replace(BASE, steps=60, log_points=12)
ON_RAY = replace(HERE, on="ray", jobs=2)
PLAN = Plan("batched", 1, False, "", 0.0)


@pytest.fixture(scope="module", autouse=True)
def two_workers(s3_endpoint: str) -> Iterator[None]:
    """As `--on ray` starts it where there is none; it knows the S3 endpoint from the environment."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    drawn = random.getstate()
    with cluster(2, "cpu") as slots:
        assert slots == 2
        assert random.getstate() == drawn
        assert {number: signal.getsignal(number) for number in handlers} == handlers
        yield
    assert not ray.is_initialized()
    assert {number: signal.getsignal(number) for number in handlers} == handlers


@pytest.fixture(scope="module")
def whole() -> xr.DataTree:
    return train(mlp_task(), SWEEP, HERE)


def task_with(on_training: Callable[[], None]) -> Task:
    """The MLP task; `on_training` is called at every training step of a worker, which takes 10 ms longer."""
    parent, data = os.getpid(), mlp_task().data(0)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if os.getpid() != parent and output.requires_grad:
            time.sleep(0.01)
            on_training()
        return cross_entropy(output, target)

    examples = (data.train_x, data.train_y), (data.test_x, data.test_y)
    return Task(mlp_task().drawing.make, *examples, loss=loss, classification=True)


def test_the_cluster_is_for_this_machine_alone() -> None:
    (node,) = ray.nodes()
    assert node["NodeManagerAddress"] == "127.0.0.1"
    assert node["Resources"]["CPU"] == 2
    ports = listening(ray._private.worker.global_worker.node.session_name)
    assert len(ports) >= 4, "Ray's control store, its node manager, a worker and this driver"
    assert [port for port in ports if not port.startswith(("0100007F:", "0000000000000000FFFF00000100007F:"))] == []
    assert not ray._private.worker.global_worker.node.webui_url, "no dashboard"


def listening(session: str) -> list[str]:
    """ADDRESS:PORT in hexadecimal of all TCP sockets on which the processes of a Ray session, or this one, listen."""
    sockets: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_text()
            if process.name == str(os.getpid()) or session in words or words.startswith("ray::"):
                sockets.update(os.readlink(fd) for fd in (process / "fd").iterdir())
    rows = [line.split() for t in ("tcp", "tcp6") for line in Path("/proc/net", t).read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]


def test_seeds_begin_anywhere(tmp_path: Path) -> None:
    config = replace(SHORT, first_seed=7, first_data_seed=3, data_seeds=2)
    assert same_bytes(train(mlp_task(), config, ON_RAY, tmp_path), train(mlp_task(), config, HERE)) == []


class Counting(Silent):
    """Adds up the reported steps."""

    steps = begun = 0

    def begin(self, runs: int, run_steps: int, done: int) -> None:
        self.begun = run_steps - done

    def tick(self, tick: Tick) -> None:
        self.steps += tick.run_steps


def test_local_folder(tmp_path: Path, whole: xr.DataTree) -> None:
    progress = Counting()
    found = sweep(mlp_task(), config=SWEEP, engine=ON_RAY, out=tmp_path, progress=progress)
    assert same_bytes(found, whole) == []
    assert progress.steps == progress.begun > 0
    files = {p.name for p in (tmp_path / "chunks").iterdir()}
    assert files == {f"{unit}.done.safetensors" for unit in ("random-00000", "00000", "00001", "00002", "00003")}


def test_object_store(s3: Remote) -> None:
    assert same_bytes(train(mlp_task(), BASE, ON_RAY, str(s3)), train(mlp_task(), BASE, HERE)) == []
    assert names(s3) == {"chunks", "experiment.json", "plan.json", "results.zarr"}


def test_rounds_of_an_adaptive_sweep() -> None:
    config = replace(SWEEP, lrs=log_grid(1e-3, 30, 8), adaptive=True)
    assert (
        same_bytes(
            train(mlp_task(), config, replace(ON_RAY, chunk=4)), train(mlp_task(), config, replace(HERE, chunk=4))
        )
        == []
    )


def test_workers_compile_for_themselves() -> None:
    fused = replace(ON_RAY, chunk=2, compile=True)
    assert same_bytes(train(mlp_task(), SWEEP, fused), train(mlp_task(), SWEEP, replace(fused, on="local"))) == []


def test_chunks_in_halves(tmp_path: Path) -> None:
    """What a local sweep began with large chunks goes on in smaller ones, as asked for."""
    out, stop = tmp_path / "out", Impatient(signal.SIGTERM)
    with pytest.raises(Interrupted):
        sweep(mlp_task(), config=SWEEP, engine=replace(HERE, chunk=4), out=out, progress=stop)
    shutil.copytree(out, tmp_path / "local")
    found = train(mlp_task(), SWEEP, replace(ON_RAY, chunk=2), out)
    assert {"00000a.done.safetensors", "00000b.done.safetensors"} <= names(out / "chunks")
    assert same_bytes(found, train(mlp_task(), SWEEP, replace(HERE, chunk=2), tmp_path / "local")) == []


# -- deaths and failures -----------------------------------------------------------------------------------------------


def test_a_worker_killed_in_a_chunk_is_replaced_and_goes_on_from_the_checkpoint(
    tmp_path: Path, whole: xr.DataTree
) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()

    def count_and_die_once() -> None:
        mine = calls / str(os.getpid())
        with open(mine, "a") as file:
            file.write(".")
        if mine.stat().st_size == 40:
            try:
                (tmp_path / "died").touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(engine: Any) -> tuple[xr.DataTree, int]:
        result = train(task_with(count_and_die_once), SWEEP, engine, tmp_path / engine.on)
        made = sum(p.stat().st_size for p in calls.iterdir())
        for path in calls.iterdir():
            path.unlink()
        return result, made

    (tmp_path / "died").touch()
    steps = counted(replace(HERE, jobs=2))[1]
    (tmp_path / "died").unlink()
    found, made = counted(replace(ON_RAY, checkpoint_seconds=0.0))
    assert (tmp_path / "died").exists()
    assert same_bytes(found, whole) == []
    window = SWEEP.steps // SWEEP.log_points
    assert steps < made <= steps + 2 * window, "what came after the last checkpoint is repeated, and nothing else"


def test_a_unit_that_kills_its_workers_ends_the_sweep_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "RETRIES", 1)
    with pytest.raises(
        LrscopeError,
        match=r"Ray's workers died 2 times on chunk 0000\d \(\w+, usually out of .*fewer --jobs or a small",
    ):
        train(task_with(lambda: os.kill(os.getpid(), signal.SIGKILL)), SHORT, ON_RAY)


def test_errors_in_a_worker_reach_the_caller() -> None:
    def refuse() -> None:
        raise LrscopeError("loss: refused")

    def stumble() -> None:
        raise ZeroDivisionError("a bug of the user's")

    with pytest.raises(LrscopeError, match="loss: refused"):
        train(task_with(refuse), SHORT, ON_RAY)
    with pytest.raises(RuntimeError, match=r"(?s)failed in a worker:.*ZeroDivisionError: a bug of the user's"):
        train(task_with(stumble), SHORT, ON_RAY)


def test_memory_that_runs_out_in_a_worker_is_said_in_a_sentence() -> None:
    def lack() -> None:
        raise MemoryError("no room")

    with pytest.raises(
        LrscopeError, match=r"memory: it ran out in chunk 0000\d on a Ray worker \(no room\): run it again"
    ):
        train(task_with(lack), SHORT, ON_RAY)


def test_a_task_that_cannot_be_sent_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(
        LrscopeError, match=r"task: it cannot be sent to Ray's workers \(.*lock.*: build it from functions"
    ):
        train(task_with(lock.acquire), SHORT, ON_RAY)


def test_a_task_of_modules_that_workers_lack_is_named() -> None:
    with pytest.raises(
        LrscopeError, match=r"a Ray worker cannot begin \(.*No module named 'test_ray'\): install lrscope a"
    ):
        train(task_with(Impatient), SHORT, ON_RAY)


class Impatient(Silent):
    """Asks the program to stop at the first sign of progress."""

    def __init__(self, number: int) -> None:
        self.numbers = [number]

    def tick(self, tick: Tick) -> None:
        if self.numbers:
            os.kill(os.getpid(), self.numbers.pop())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_run_again(number: int, tmp_path: Path, whole: xr.DataTree) -> None:
    with pytest.raises(Interrupted):
        sweep(task_with(lambda: None), config=SWEEP, engine=ON_RAY, out=tmp_path, progress=Impatient(number))
    kept = names(tmp_path / "chunks")
    assert [name for name in kept if "checkpoint" in name], "the chunks in work are kept"
    assert len([name for name in kept if name[0] == "0" and "done" in name]) < 4, "too late to prove anything"
    assert same_bytes(train(task_with(lambda: None), SWEEP, HERE, tmp_path), whole) == []


# -- many units --------------------------------------------------------------------------------------------------------


def test_units_are_asked_for_as_they_are_needed() -> None:
    def job() -> Work:
        return lambda unit, tick, stopping: tick(Tick(1))

    asked, done, steps, ahead = 0, 0, 0, 0

    def units() -> Iterator[str]:
        nonlocal asked, ahead
        for i in range(300):
            asked += 1
            ahead = max(ahead, asked - done)
            yield f"{i:05d}"

    def finished(unit: str) -> None:
        nonlocal done
        done += 1

    def tick(tick: Tick) -> None:
        nonlocal steps
        steps += tick.run_steps

    run_on_ray(units(), job, tick, finished, 2)
    assert asked == done == steps == 300
    assert ahead <= AHEAD * 2 + 1


# -- what a worker and a driver refuse ---------------------------------------------------------------------------------


def test_a_node_without_the_folder_or_with_other_software_says_so(tmp_path: Path) -> None:
    context = context_of(mlp_task(), SHORT, tmp_path / "out")
    context.store.create()
    context.store.write_experiment({"hash": "1"})
    job = SweepJob.of(context, PLAN)
    assert callable(job())
    elsewhere = replace(job, folder=tmp_path / "not mounted here")
    with pytest.raises(
        LrscopeError, match=r"not mounted here is not there on node \S+: use a folder that all nodes sh"
    ):
        elsewhere()
    with pytest.raises(LrscopeError, match=r"node \S+ has another lrscope or PyTorch .*install the same versions"):
        replace(job, made_by=("other", "2.9.0"))()
    with pytest.raises(LrscopeError, match=r"not mounted here is not there on node"):
        run_on_ray(["00000"], elsewhere, lambda _: None, lambda _: None, 2)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("answer", "why"), [(None, "timed out"), (b"HTTP/1.1 200 OK\r\n", "what answers is no Ray")])
def test_an_address_without_a_cluster_is_said_in_time(
    answer: bytes | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself would wait for minutes and then end the whole program."""

    def never(**options: object) -> None:
        raise AssertionError("Ray is not asked")

    monkeypatch.setattr(on_ray, "ANSWER", 0.5)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=never))
    with socket.create_server(("127.0.0.1", 0)) as server:
        if answer is not None:
            threading.Thread(target=lambda: server.accept()[0].sendall(answer), daemon=True).start()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(LrscopeError, match=rf"RAY_ADDRESS=\S+ does not answer \({why}"), cluster(None, "cpu"):
            pass


def test_without_ray_or_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise ConnectionError("Could not read from GCS")

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(on_ray, "_expect_answer", lambda address: None)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=refuse))
    with (
        pytest.raises(LrscopeError, match=r"cluster at RAY_ADDRESS=127.0.0.1:1 does not answer \(Could not read"),
        cluster(None, "cpu"),
    ):
        pass
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        LrscopeError, match=r"on: ray is not installed: pip install 'lrscope\[ray\]', or use --on local"
    ):
        train(mlp_task(), SHORT, ON_RAY)


def test_a_cluster_without_the_device_is_refused() -> None:
    with pytest.raises(LrscopeError, match=r"the Ray cluster has no GPU: add nodes"), cluster(None, "cuda"):
        pass


@pytest.mark.parametrize(
    ("jobs", "share"),
    [(2, {"num_cpus": 0, "num_gpus": 1}), (4, {"num_cpus": 0, "num_gpus": 1}), (6, {"num_cpus": 0, "num_gpus": 0.66})],
)
def test_shares_of_gpus(jobs: int, share: dict[str, float]) -> None:
    four = SimpleNamespace(cluster_resources=lambda: {"CPU": 8.0, "GPU": 4.0})
    assert on_ray._share(four, jobs, "cuda") == share
    assert on_ray._share(four, jobs, "cpu") == {"num_cpus": 1}
