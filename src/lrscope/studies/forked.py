"""Independent pieces of a measurement side by side in forked processes, one thread each. Without fork: one after the other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from lrscope.engine.dispatch import can_fork, single_threaded

CPU = torch.device("cpu")
Work = Callable[[Any], Any]
_inherited: list[Work] = []  # what a forked process finds here need not be pickled


def in_processes(work: Work, pieces: Sequence[Any], jobs: int) -> list[Any]:
    """What `work` returns of each piece, in their order; with one job, or one piece, computed here.

    An error of a piece is raised here, and ends the others.
    """
    alone = multiprocessing.current_process().daemon or not can_fork()
    if jobs == 1 or len(pieces) < 2 or alone:
        return [work(piece) for piece in pieces]
    _inherited.append(work)
    try:
        with multiprocessing.get_context("fork").Pool(min(jobs, len(pieces))) as pool:
            return pool.map(partial(_with_one_thread, len(_inherited) - 1), pieces, chunksize=1)
    finally:
        _inherited.pop()


def _with_one_thread(number: int, piece: Any) -> Any:
    """A forked process has none of its parent's other threads."""
    with single_threaded(CPU):
        return _inherited[number](piece)
