"""Independent pieces of a simulation side by side in forked processes, one thread each. Without fork: one after the other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

import torch

from lrscope.engine.dispatch import can_fork, single_threaded

CPU = torch.device("cpu")


def in_processes(work: Callable[[Any], Any], pieces: Sequence[Any], jobs: int) -> list[Any]:
    """What `work` returns of each piece, in their order; with one job, or one piece, computed here.

    An error of a piece is raised here, and ends the others.
    """
    alone = multiprocessing.current_process().daemon or not can_fork()
    if jobs == 1 or len(pieces) == 1 or alone:
        return [work(piece) for piece in pieces]
    with multiprocessing.get_context("fork").Pool(min(jobs, len(pieces))) as pool:
        return pool.map(_Alone(work), pieces, chunksize=1)


class _Alone:
    """Work with one thread: a forked process has none of its parent's others."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.work = work

    def __call__(self, piece: Any) -> Any:
        with single_threaded(CPU):
            return self.work(piece)
