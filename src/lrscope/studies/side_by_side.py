"""Sweeps of a study side by side, each in a forked process of its own, which share the cores.

A sweep with fewer runs to go than there are cores leaves some of them idle until its last run ends; then the next one begins.
No number depends on it: a sweep plans and trains as it does alone, and waits for its turn before each of its chunks.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, cast

import torch

from lrscope.config import EngineConfig
from lrscope.engine.dispatch import STOPPING, Interrupted, Slots, StopFlag, can_fork, sharing, single_threaded
from lrscope.errors import LrscopeError

CPU = torch.device("cpu")
PR_SET_PDEATHSIG = 1  # prctl(2)
POLL = 0.2  # ours, seconds between two looks at whether a core is idle
Work = Callable[[str], None]


def shared_jobs(engine: EngineConfig) -> int:
    """Processes that sweeps may share; 1 where each is to be trained alone."""
    from lrscope.engine.context import choose_device

    if engine.on != "local" or not can_fork() or multiprocessing.current_process().daemon:
        return 1
    if choose_device(engine.device).type != "cpu":
        return 1
    return engine.jobs or len(os.sched_getaffinity(0))


def side_by_side(
    work: Work, names: Sequence[str], jobs: int, *, begun: Work, ended: Callable[[str, float], None]
) -> None:
    """Call `work` of each name in a forked process; the next one begins when a core is idle.

    Args:
        work: trains a sweep; what it does to this process's memory is lost.
        jobs: chunks that are trained at a time, over all sweeps.
        begun: called here with a name before its process starts.
        ended: called here with a name and seconds after it has ended, for whatever reason.

    Raises:
        LrscopeError: one of the sweeps raised it. The others are stopped, as by SIGTERM.
        Interrupted: stopped by SIGINT or SIGTERM; all have written checkpoints.
    """
    slots, waiting = Slots(jobs), list(names)
    running: dict[Any, tuple[ForkProcess, str, float]] = {}  # by the end of a pipe that hears of its end

    def forward() -> None:
        for process, *_ in running.values():
            if process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)

    with StopFlag(forward) as stopping:
        try:
            before = -1  # chunks that had been begun when the last process was started
            looks = 0  # in a row since then, at which a core was idle
            while running or (waiting and not stopping()):
                looks = looks + 1 if slots.begun > before and slots.idle() else 0
                if waiting and not stopping() and (not running or looks > 1):
                    before, looks, name = slots.begun, 0, waiting.pop(0)
                    begun(name)
                    ours, process = _started(work, name, slots)
                    running[ours] = process, name, time.monotonic()
                for pipe in wait(list(running), timeout=POLL):
                    process, name, start = running.pop(pipe)
                    kind, words = _heard(cast(Connection, pipe))
                    process.join()
                    if process.exitcode == -signal.SIGTERM:  # before its sweep had a handler, so nothing is lost
                        kind = "stopped"
                    ended(name, time.monotonic() - start)
                    if not (kind == "stopped" and stopping()):
                        _check(name, kind, words, process.exitcode)
            if stopping():
                raise Interrupted
        except KeyboardInterrupt:  # the second signal: no more checkpoints but those of workers
            for process, *_ in running.values():
                process.kill()
            raise
        except Exception:
            if not stopping():
                forward()
            raise
        finally:
            for process, *_ in running.values():
                process.join()


def _heard(pipe: Connection) -> tuple[str, str]:
    """A process's last words: of what kind, and what."""
    try:
        kind, words = pipe.recv()
    except EOFError:
        return "died", ""
    finally:
        pipe.close()
    return str(kind), str(words)


def _started(work: Work, name: str, slots: Slots) -> tuple[Connection, ForkProcess]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, name, slots, theirs, os.getpid()))
    held = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until the process is in a group of its own
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    theirs.close()
    return ours, process


def _serve(work: Work, name: str, slots: Slots, connection: Connection, parent: int) -> None:
    """A process's life: one sweep."""
    os.setpgid(0, 0)  # a terminal's Ctrl-C reaches it through the parent
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    said: tuple[str, Any] = "stopped", ""
    try:
        if os.getppid() == parent:
            # One thread: none of the parent's is here, and OpenMP would wait for them.
            with single_threaded(CPU), sharing(slots):
                work(name)
            said = "done", ""
    except (Interrupted, KeyboardInterrupt):  # the latter where a signal came before anything was trained
        pass
    except LrscopeError as error:
        said = "error", str(error)
    except BaseException:
        said = "bug", traceback.format_exc()
    with suppress(BrokenPipeError):  # the parent is gone; checkpoints are on disk
        connection.send(said)
    connection.close()
    os._exit(0)


def _check(name: str, kind: str, words: str, exitcode: int | None) -> None:
    """Raise what a process's last words say."""
    if kind == "error":
        raise LrscopeError(words)
    if kind == "bug":
        raise RuntimeError(f"sweep {name} failed in a process of its own:\n{words}")
    if kind == "died":
        raise LrscopeError(
            f"sweep {name}: its process died (exit code {exitcode}, -9 usually means out of memory): call the command again, "
            "with fewer --jobs if it dies again; what is finished is kept"
        )
    if kind == "stopped":
        raise Interrupted
