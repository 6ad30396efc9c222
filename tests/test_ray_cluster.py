"""Ray on two nodes (two raylets of one machine): a node that is taken away in the middle of its chunk costs nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from lrscope.engine import on_ray
from lrscope.storage.files import WRITING
from lrscope.storage.paths import names
from lrscope.tasks.losses import cross_entropy
from lrscope.tasks.task import Task
from tiny_tasks import BASE, BATCHED, mlp_task, same_bytes, train

pytestmark = pytest.mark.slow

SWEEP = replace(BASE, steps=60, log_points=12)
ON_RAY = replace(BATCHED, chunk=1, on="ray", jobs=None, checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def nodes(s3_endpoint: str) -> Iterator[Cluster]:
    """Two nodes with a core each, reachable from this machine only."""
    with on_ray._loopback():
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            found.add_node(num_cpus=1)
            yield found
        finally:
            found.shutdown()


def waiting_task(folder: Path) -> Task:
    """The MLP task; every worker notes its node at its first training step, and waits at its 40th until one of them is
    taken away."""
    parent, data = os.getpid(), mlp_task().data(0)
    calls: list[int] = []

    def wait() -> None:  # inside, for workers do not have the modules of the tests
        deadline = time.monotonic() + 120
        while not (folder / "taken").exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if os.getpid() != parent and output.requires_grad:
            calls.append(1)
            if len(calls) == 1:
                (folder / f"{ray.get_runtime_context().get_node_id()}-{os.getpid()}").touch()
            if len(calls) == 40:
                wait()
        return cross_entropy(output, target)

    examples = (data.train_x, data.train_y), (data.test_x, data.test_y)
    return Task(mlp_task().drawing.make, *examples, loss=loss, classification=True)


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def checkpoints(folder: Any) -> list[str]:
    """Whole ones: a node that is taken away in the middle of writing leaves what it had begun."""
    return [name for name in names(folder) if "checkpoint" in name and not name.endswith(WRITING)]


@pytest.mark.changes_random_state  # Ray's Cluster draws ports for a node from it
@pytest.mark.parametrize("where", ["folder", "s3"])
def test_a_node_that_is_taken_away(
    where: str, nodes: Cluster, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    notes = tmp_path / "notes"
    notes.mkdir()
    out = tmp_path / "out" if where == "folder" else request.getfixturevalue("s3")
    if not nodes.worker_nodes:
        nodes.add_node(num_cpus=1)
    (node,) = nodes.worker_nodes

    def take_away() -> None:
        """Without warning, as soon as chunks of both nodes are in work."""
        wait_for(lambda: len(list(notes.iterdir())) == 2)
        wait_for(lambda: len(checkpoints(out / "chunks")) == 2)
        assert node.node_id in {p.name.partition("-")[0] for p in notes.iterdir()}
        nodes.remove_node(node, allow_graceful=False)
        (notes / "taken").touch()

    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(take_away)
        found = train(waiting_task(notes), SWEEP, ON_RAY, out if isinstance(out, Path) else str(out))
        taken.result()
    assert same_bytes(found, train(mlp_task(), SWEEP, replace(BATCHED, chunk=1))) == []
    assert not checkpoints(out / "chunks")
    assert not ray.is_initialized(), "the connection is ours and ended; the cluster is not and runs"
    assert nodes.head_node.remaining_processes_alive()
