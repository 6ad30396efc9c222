"""Who computes the units of work: this process, or several local processes."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any

import torch

from lrscope.engine.chunk import Stopped
from lrscope.engine.tick import Tick
from lrscope.errors import LrscopeError, first_line

STOPPING = (signal.SIGINT, signal.SIGTERM)
WAIT = 0.1  # ours, seconds between two looks for a turn
Work = Callable[[str, Callable[[Tick], None], Callable[[], bool]], None]
# (unit, pending units, reason) to what is then left to do; None where the unit cannot be made smaller.
Split = Callable[[str, Sequence[str], str], list[str] | None]


class Interrupted(Exception):
    """The user asked to stop; checkpoints are on disk."""


class StopFlag:
    """Turns true on the first SIGINT or SIGTERM while installed. The second one raises KeyboardInterrupt, but not in a process
    that works beside others: it may hear of one signal twice, from a batch system and from its parent."""

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
        if self.set and not _shared:
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


def out_of_memory(error: BaseException) -> bool:
    """Is this how Python, NumPy or PyTorch (CPU or GPU) says that memory ran out?"""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@contextlib.contextmanager
def needing_memory(when: str, remedy: str) -> Iterator[None]:
    """Says in one sentence that memory ran out: when, and what to use.

    Raises:
        LrscopeError: it did.
    """
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise LrscopeError(f"memory: it ran out {when} ({first_line(error)}): use {remedy}") from error


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


class Slots:
    """Turns of processes that work for several sweeps at once: at most `count` units are computed at a time."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("fork")
        self._free = context.Semaphore(count)
        self._begun = context.Value("q", 0)

    def take(self) -> bool:
        """Take a turn, if there is one."""
        if not self._free.acquire(block=False):
            return False
        with self._begun:
            self._begun.value += 1
        return True

    def give(self) -> None:
        """Give a turn back."""
        self._free.release()

    def idle(self) -> bool:
        """Is there a turn that nobody has?"""
        if not self._free.acquire(block=False):
            return False
        self._free.release()
        return True

    @property
    def begun(self) -> int:
        """Turns that have been taken so far."""
        return int(self._begun.value)


_shared: list[Slots] = []  # of this process: empty where it works for one sweep alone


@contextlib.contextmanager
def sharing(slots: Slots) -> Iterator[None]:
    """Inside, units are computed in turn with those of other processes that share these slots."""
    _shared.append(slots)
    try:
        yield
    finally:
        _shared.pop()


def run_here(units: Iterable[str], work: Work, tick: Callable[[Tick], None], split: Split) -> None:
    """Compute the units one after the other in this process. Where memory runs out the unit goes on in smaller ones."""
    pending = list(units)
    with StopFlag() as stopping:
        while pending:
            unit = pending.pop(0)
            lacking = ""
            try:
                work(unit, tick, stopping)
            except Stopped:
                raise Interrupted from None
            except Exception as error:
                if not out_of_memory(error):
                    raise
                lacking = first_line(error)
            if lacking:  # the traceback no longer references the unit's tensors
                gc.collect()
                pending = _smaller(unit, pending, split, f"memory ran out ({lacking})")
            if stopping():
                raise Interrupted


def _smaller(unit: str, pending: Sequence[str], split: Split, reason: str) -> list[str]:
    """What is left to do after a re-plan, or the error that ends the sweep where there is nothing to make smaller."""
    left = split(unit, pending, f"{reason} in chunk {unit}")
    if left is None:
        raise LrscopeError(
            f"memory: {reason} in chunk {unit}, which is a single run: use fewer --jobs, a smaller --batch-size or a machine "
            "with more memory; finished chunks are kept"
        )
    return left


def run_processes(units: Iterable[str], work: Work, tick: Callable[[Tick], None], split: Split, jobs: int) -> None:
    """Compute the units in `jobs` forked processes.

    A worker that dies is replaced once per unit, as a stray kill deserves; a unit that loses a second one, or that says
    itself that memory ran out, goes on in smaller ones.
    """
    context = multiprocessing.get_context("fork")
    pending, deaths = list(units), dict[str, int]()
    workers: dict[Connection, tuple[ForkProcess, str]] = {}
    slots = _shared[-1] if _shared else Slots(jobs)

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
                while pending and len(workers) < jobs and not stopping() and slots.take():
                    start(pending.pop(0))
                if not workers:
                    time.sleep(WAIT)  # for a turn
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
                    slots.give()
                    if kind == "error":
                        raise LrscopeError(value)
                    if kind == "bug":
                        raise RuntimeError(f"unit {unit} failed in a worker:\n{value}")
                    if stopping():
                        continue
                    if kind == "memory":
                        pending = _smaller(unit, pending, split, f"memory ran out ({value})")
                    elif kind == "died":
                        deaths[unit] = deaths.get(unit, 0) + 1
                        if deaths[unit] > 1:
                            died = f"a worker died twice (exit code {process.exitcode}, -9 usually means out of memory)"
                            pending = _smaller(unit, pending, split, died)
                        else:
                            pending.insert(0, unit)
        if stopping():
            raise Interrupted
    finally:
        for process, _ in workers.values():
            process.kill()
            process.join()
            slots.give()


def _serve(unit: str, work: Work, connection: Connection) -> None:
    """A worker's life: one unit."""
    stop = StopFlag()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches us through the parent
    signal.signal(signal.SIGTERM, lambda *_: setattr(stop, "set", True))
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
    except Exception as error:
        if out_of_memory(error):
            connection.send(("memory", first_line(error)))
        else:
            connection.send(("bug", traceback.format_exc()))
    finally:
        connection.close()
        os._exit(0)
