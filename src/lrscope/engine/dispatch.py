"""Who computes the units of work: this process, or several local processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any

import torch

from lrscope.engine.chunk import Stopped, Tick
from lrscope.errors import LrscopeError

STOPPING = (signal.SIGINT, signal.SIGTERM)
Work = Callable[[str, Callable[[Tick], None], Callable[[], bool]], None]


class Interrupted(Exception):
    """The user asked to stop; checkpoints are on disk."""


class StopFlag:
    """Turns true on the first SIGINT or SIGTERM while installed; the second one raises KeyboardInterrupt."""

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        self.set = False
        self._on_first = on_first
        self._old: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self.set

    def __enter__(self) -> StopFlag:
        with contextlib.suppress(ValueError):  # only the main thread may install handlers
            for number in STOPPING:
                self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, *_: object) -> None:
        if self.set:
            raise KeyboardInterrupt
        self.set = True
        self._on_first()


@contextlib.contextmanager
def single_threaded(device: torch.device) -> Iterator[None]:
    """On a CPU one thread a process: the same arithmetic whatever the number of processes."""
    if device.type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def can_fork() -> bool:
    """Forked workers inherit the task as it is (closures, notebooks); where there is no fork, one process works."""
    return sys.platform.startswith("linux")


def autograd_survives_fork() -> bool:
    """Can a forked worker run a backward pass? Not if this process has started autograd's threads (see `start_autograd`)."""
    process = multiprocessing.get_context("fork").Process(target=_try_backward, daemon=True)
    process.start()
    process.join()
    return process.exitcode == 0


def start_autograd() -> None:
    """A plain first backward pass. A first one that is traced for the compiler, like one on a GPU, starts autograd's
    threads, and forked workers could not train any more."""
    with torch.enable_grad():
        x = torch.ones(1, requires_grad=True)
        torch.autograd.grad(x * x, x)


def _try_backward() -> None:
    try:
        start_autograd()
    except RuntimeError:
        os._exit(1)
    os._exit(0)


def run_here(units: Iterable[str], work: Work, tick: Callable[[Tick], None], done: Callable[[str], None]) -> None:
    """Compute the units one after the other in this process."""
    with StopFlag() as stopping:
        for unit in units:
            try:
                work(unit, tick, stopping)
            except Stopped:
                raise Interrupted from None
            done(unit)
            if stopping():
                raise Interrupted


def run_processes(
    units: Sequence[str], work: Work, tick: Callable[[Tick], None], done: Callable[[str], None], jobs: int
) -> None:
    """Compute the units in `jobs` forked processes. A worker that dies is replaced once per unit, then the sweep stops."""
    context = multiprocessing.get_context("fork")
    pending, deaths = list(units), dict.fromkeys(units, 0)
    workers: dict[Connection, tuple[ForkProcess, str]] = {}

    def start(unit: str) -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(unit, work, theirs), daemon=True)
        held = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until the worker has handlers of its own
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        theirs.close()
        workers[ours] = process, unit

    def forward() -> None:
        for process, _ in workers.values():
            if process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)

    try:
        with StopFlag(forward) as stopping:
            while workers or (pending and not stopping()):
                while pending and len(workers) < jobs and not stopping():
                    start(pending.pop(0))
                for connection in wait(list(workers), timeout=0.5):
                    assert isinstance(connection, Connection)
                    process, unit = workers[connection]
                    try:
                        kind, value = connection.recv()
                    except EOFError:
                        kind, value = "died", None
                    if kind == "tick":
                        tick(value)
                        continue
                    process.join()
                    connection.close()
                    del workers[connection]
                    if kind == "done":
                        done(unit)
                    elif kind == "error":
                        raise LrscopeError(value)
                    elif kind == "bug":
                        raise RuntimeError(f"unit {unit} failed in a worker:\n{value}")
                    elif kind == "died" and not stopping():
                        deaths[unit] += 1
                        if deaths[unit] > 1:
                            raise LrscopeError(
                                f"jobs: a worker died twice on chunk {unit} (exit code {process.exitcode}, -9 usually means "
                                "out of memory): use fewer --jobs or a smaller --chunk; finished chunks are kept"
                            )
                        pending.insert(0, unit)
        if stopping():
            raise Interrupted
    finally:
        for process, _ in workers.values():
            process.kill()
            process.join()


def _serve(unit: str, work: Work, connection: Connection) -> None:
    """A worker's life: one unit."""
    stop = StopFlag()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches us through the parent
    signal.signal(signal.SIGTERM, stop._handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    torch.set_num_threads(1)
    parent = os.getppid()

    def stopping() -> bool:
        return stop.set or os.getppid() != parent

    try:
        work(unit, lambda t: connection.send(("tick", t)), stopping)
        connection.send(("done", None))
    except Stopped:
        connection.send(("stopped", None))
    except LrscopeError as error:
        connection.send(("error", str(error)))
    except BrokenPipeError:
        pass  # the parent is gone; the checkpoint is on disk
    except Exception:
        connection.send(("bug", traceback.format_exc()))
    finally:
        connection.close()
        os._exit(0)
