"""A sweep in a process of its own that kills itself, as `kill -9` would, at a chosen operation on its folder.

Every operation that Python makes on files passes an audit hook: opening for writing, renaming, removing, making folders. So
the points lie in whatever is written - experiment, plan, checkpoints, finished chunks, Zarr - however it is written.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tiny_tasks import BASE, BATCHED, mlp_task, train

CONFIG = replace(BASE, average=(2,), space="whole", momentum=0.9)
ENGINE = replace(BATCHED, chunk=2, checkpoint_seconds=0.0)  # 2 chunks, a checkpoint at every window
OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")
TASK = mlp_task()


class Points:
    """Counts the operations on a folder; dies before operation number `last`, if that is not None."""

    def __init__(self, folder: Path, last: int | None, *, tear: bool = False) -> None:
        self.folder, self.last, self.tear = str(folder), last, tear
        self.process = os.getpid()
        self.names: list[str] = []
        self._lock = threading.RLock()  # tearing a file is an operation too

    def watch(self) -> None:
        """From now on."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in OPERATIONS or os.getpid() != self.process or not self._is_ours(arguments[0]):
            return
        if event == "open" and not _writes(arguments):
            return
        with self._lock:
            if len(self.names) == self.last:
                if self.tear:
                    _tear(Path(os.fsdecode(arguments[0])))
                os.kill(os.getpid(), signal.SIGKILL)
            self.names.append(f"{event} {os.path.relpath(os.fsdecode(arguments[0]), self.folder)}")

    def _is_ours(self, path: object) -> bool:
        return isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(self.folder)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool(set(mode or "") & set("wax+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))


def _tear(path: Path) -> None:
    """What is about to be renamed has only half of its bytes: the machine lost power before they reached the disk."""
    if path.is_file():
        os.truncate(path, path.stat().st_size // 2)


def sweep_until(folder: str, last: int | None, jobs: int, tear: bool = False) -> None:
    """Train or go on in `folder`; die at operation `last`. Who lives to the end leaves the list of operations."""
    torch.set_num_threads(1)
    points = Points(Path(folder), last, tear=tear)
    points.watch()
    train(TASK, CONFIG, replace(ENGINE, jobs=jobs), Path(folder))
    points.process = 0
    Path(folder + ".operations").write_text(json.dumps(points.names))
