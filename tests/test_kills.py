"""`kill -9` at any moment costs nothing but time: the sweep goes on and its arrays are the same to the byte."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import xarray as xr

import kill_points
from lrscope.results import open_result
from tiny_tasks import same_bytes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    """Children are forked from a process that has everything imported and no thread running."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["kill_server"])
        child = context.Process(target=os.getpid)  # starts the server
        child.start()
        child.join()
    return context


def live(server: ForkServerContext, folder: Path, last: int | None = None, jobs: int = 1, tear: bool = False) -> int:
    """A child's exit code; it kills itself at operation `last`."""
    child = server.Process(target=kill_points.sweep_until, args=(str(folder), last, jobs, tear))
    child.start()
    child.join(120)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode is not None, "it hangs"
    return child.exitcode


@pytest.fixture(scope="module")
def undisturbed(server: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.DataTree, list[str]]:
    """The result and the operations on the way to it."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    assert live(server, folder) == 0
    return open_result(folder), json.loads(Path(f"{folder}.operations").read_text())


def drawn_moments() -> list[tuple[str, float, bool]]:
    """(stage, how far into its operations, is the file in hand torn), the same list every time."""
    rng = random.Random(25)
    training = [("training", (i + rng.random()) / 13, i % 2 == 1) for i in range(13)]
    result = [("result", (i + rng.random()) / 6, i % 2 == 1) for i in range(6)]
    return [*training, *result, ("result", 1.0, False), *[("two processes", rng.random(), False) for _ in range(5)]]


MOMENTS = drawn_moments()


def test_there_are_25_moments_and_they_reach_every_kind_of_file(undisturbed: tuple[xr.DataTree, list[str]]) -> None:
    _, operations = undisturbed
    assert len(MOMENTS) == 25
    killed_at = [operations[number_of(stage, far, operations)] for stage, far, _ in MOMENTS if stage != "two processes"]
    assert killed_at[-1] == "os.rename results.zarr.writing", "the very last one"
    for words in ("checkpoint.safetensors", "done.safetensors", "results.zarr.writing/"):
        assert any(words in operation for operation in killed_at), (words, killed_at)
    for name in ("experiment.json", "plan.json"):
        assert any(name in operation for operation in operations), "files that the moments may hit"


def number_of(stage: str, far: float, operations: list[str]) -> int:
    """The operation before which the process dies."""
    begins = next(i for i, operation in enumerate(operations) if "results.zarr" in operation)
    first, last = (2, begins - 1) if stage == "training" else (begins, len(operations) - 1)  # 0, 1: the folder itself
    return first + round(far * (last - first))


@pytest.mark.parametrize(("stage", "far", "tear"), MOMENTS)
def test_killed_at_a_random_moment_it_goes_on_to_the_same_bytes(
    stage: str,
    far: float,
    tear: bool,
    server: ForkServerContext,
    undisturbed: tuple[xr.DataTree, list[str]],
    tmp_path: Path,
) -> None:
    result, operations = undisturbed
    out = tmp_path / "out"
    if stage == "two processes":
        kill_from_outside(server, out, 0.4 * far)
    else:
        assert live(server, out, number_of(stage, far, operations), tear=tear) == -signal.SIGKILL
        assert not (out / "results.zarr").exists()
    assert live(server, out) == 0
    assert same_bytes(open_result(out), result) == []
    left = sorted(
        p.relative_to(out).as_posix() for p in out.rglob("*") if p.suffix == ".writing" or "checkpoint" in p.name
    )
    assert left == []


def kill_from_outside(server: ForkServerContext, out: Path, seconds: float) -> None:
    """Kill the parent of two workers so many seconds after the first of them was at work. They hold its lock until they
    notice, so whoever goes on at once waits for them."""
    child = server.Process(target=kill_points.sweep_until, args=(str(out), None, 2))
    child.start()
    deadline = time.monotonic() + 60
    while not any(out.glob("chunks/*")) and child.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(seconds)
    child.kill()
    child.join(30)


def test_killed_again_and_again_it_still_arrives(
    server: ForkServerContext, undisturbed: tuple[xr.DataTree, list[str]], tmp_path: Path
) -> None:
    """Every life gets a little further; the operations are counted from each life's beginning."""
    rng, deaths = random.Random(7), 0
    while live(server, tmp_path / "out", rng.randrange(6, 22), tear=rng.random() < 0.5) != 0:
        deaths += 1
        assert deaths < 40, "it does not get on"
        if deaths == 6:
            break
    assert deaths == 6
    assert live(server, tmp_path / "out") == 0
    assert same_bytes(open_result(tmp_path / "out"), undisturbed[0]) == []
