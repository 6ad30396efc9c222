"""Units of work on Ray: workers on this machine or on a cluster compute them and leave the results in the store.

The driver holds the names of a bounded number of units in flight and nothing of what they computed. Workers that die
are replaced, and their units begin again from the checkpoints in the store. Progress and the wish to stop go over one
small actor, the board.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import random
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

import torch

from lrscope.engine.chunk import Stopped
from lrscope.engine.dispatch import STOPPING, Interrupted, StopFlag, Work, out_of_memory
from lrscope.engine.ray_board import Board
from lrscope.engine.tick import Tick
from lrscope.errors import LrscopeError, first_line

RETRIES = 3  # ours: an unlucky unit on machines that are taken away; a fourth death has its cause in the unit
AHEAD = 2  # ours: units in flight per slot, so that a worker never waits for the driver
LOOPBACK = "127.0.0.1"
ANSWER = 10.0  # ours, seconds for a cluster's first sign of life: a network across the world needs one
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(
    [0, 0, 0, 4, 0, 0, 0, 0, 0]
)  # and no settings (RFC 9113, Sec. 3.4)
SETTINGS = b"\x04"  # the type of a server's first frame
TALK = 0.5  # ours, seconds between a worker's words with the board ...
CALLS = 500  # ... and more seconds between them where many workers would call it more often a second
LOOK = 0.05  # ours, seconds between a worker's looks whether the board has answered

Job = Callable[[], Work]  # called once in every worker; what it returns computes units


# -- the cluster -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def cluster(jobs: int | None, device: str) -> Iterator[int]:
    """Yields the number of units that are computed at a time: `jobs`, or one per CPU core or GPU of the cluster.

    A running connection or the cluster at RAY_ADDRESS is used and left running; else one is started on this machine,
    reachable from it alone, and ended.

    Raises:
        LrscopeError: Ray is missing, the cluster does not answer or lacks the device.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    try:
        if ours:
            with _random_state_kept():
                _connect(ray, jobs)
            _restore(handlers)  # and put its own in their place
        yield _slots(ray, jobs, device)
    finally:
        if ours and ray.is_initialized():
            with _random_state_kept():
                ray.shutdown()
            _restore(handlers)


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise LrscopeError("on: ray is not installed: pip install 'lrscope[ray]', or use --on local") from None
    return ray


def _connect(ray: Any, jobs: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            _expect_answer(address)
            ray.init(address=address, **quiet)
            return
        with _loopback():
            ray.init(address="local", num_cpus=jobs, include_dashboard=False, _node_ip_address=LOOPBACK, **quiet)
    except Exception as error:  # Ray raises many types, plain Exception among them, for a start that failed
        where = f"the cluster at RAY_ADDRESS={address} does not answer" if address else "no cluster could be started"
        raise LrscopeError(f"on: {where} ({first_line(error)}): see ray status, or use --on local") from error
    if any(node["NodeManagerAddress"] != LOOPBACK for node in ray.nodes()):
        ray.shutdown()
        raise LrscopeError(
            f"on: Ray {ray.__version__} opens ports to the network where only {LOOPBACK} was asked for: start a cluster as "
            "you want it (ray start --head) and name it in RAY_ADDRESS"
        )


def _expect_answer(address: str) -> None:
    """Ask the server at HOST:PORT, or ray://HOST:PORT, for a sign of life. Ray itself waits minutes for one that is not there,
    and ends the whole program for one that never speaks.

    Raises:
        OSError: nothing that speaks HTTP/2, as Ray's servers do (gRPC), answered within `ANSWER` seconds.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if "://" in address.removeprefix("ray://") or not port.isdigit():  # local, auto, or another's scheme
        return
    with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER) as line:
        if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
            return
        line.sendall(PREFACE)
        heard = b""
        while len(heard) < 4 and (more := line.recv(9)):
            heard += more
    if heard[3:4] != SETTINGS:
        raise ConnectionError("what answers is no Ray")


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Ray on Linux takes 127.0.0.1 for "this machine's address in the network" and listens there, unless it is switched
    to single machines as it is by default on macOS and Windows."""
    from ray._private import ray_constants

    switches = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    before = {name: os.environ.get(name) for name in switches}
    many = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    os.environ.update(switches)  # for the processes that Ray starts
    ray_constants.ENABLE_RAY_CLUSTER = False  # for this one, which has read them already
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = many
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _there(ray: Any, device: str) -> int:
    """CPU cores or GPUs of the cluster."""
    return int(ray.cluster_resources().get("GPU" if device == "cuda" else "CPU", 0))


def _slots(ray: Any, jobs: int | None, device: str) -> int:
    there = _there(ray, device)
    if there == 0:
        kind = "GPU" if device == "cuda" else "CPU"
        raise LrscopeError(f"on: the Ray cluster has no {kind}: add nodes that have one, or choose another --device")
    return jobs or there


def _share(ray: Any, slots: int, device: str) -> dict[str, float]:
    """What one unit takes of a node: a core; on GPUs a whole one, or the share that lets `slots` units work at a time."""
    if device != "cuda":
        return {"num_cpus": 1}
    there = _there(ray, device)
    return {"num_cpus": 0, "num_gpus": 1 if slots <= there else math.floor(100 * there / slots) / 100}


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """Ray draws ports from Python's global generator."""
    drawn = random.getstate()
    try:
        yield
    finally:
        random.setstate(drawn)


def _restore(handlers: dict[Any, Any]) -> None:
    with contextlib.suppress(ValueError):  # only the main thread may
        for number, handler in handlers.items():
            signal.signal(number, handler)


# -- the driver --------------------------------------------------------------------------------------------------------


def run_on_ray(
    units: Iterable[str],
    job: Job,
    tick: Callable[[Tick], None],
    done: Callable[[str], None],
    slots: int,
    device: str = "cpu",
) -> None:
    """Compute the units on the connected cluster, `slots` at a time.

    Raises:
        LrscopeError: a unit's own, or a unit whose workers died more than `RETRIES` times, or a job that cannot be sent.
        Interrupted: SIGINT or SIGTERM; checkpoints are in the store.
    """
    ray = _ray()
    share = _share(ray, slots, device)
    most = AHEAD * slots if slots >= _there(ray, device) else slots  # Ray's resources allow as many units as there are
    board = ray.remote(num_cpus=0, max_restarts=-1)(Board).remote()
    try:
        sent = [
            ray.put(job),
            board,
            max(TALK, slots / CALLS),
        ]  # in a list: Ray passes on the references, not what they stand for
    except (TypeError, AttributeError, ValueError) as error:
        raise LrscopeError(
            f"task: it cannot be sent to Ray's workers ({first_line(error.__cause__ or error)}): build it from functions, "
            "classes and tensors, without open files, locks or connections, or use --on local"
        ) from error
    compute = ray.remote(max_retries=0, **share)(_unit)
    waiting, again = iter(units), list[str]()
    deaths: dict[str, int] = {}
    flying: dict[Future[Any], tuple[str, Any]] = {}
    landed: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    heard: Future[Any] = board.collect.remote(False).future()
    last = time.monotonic()

    def start() -> bool:
        unit = again.pop() if again else next(waiting, None)
        if unit is None:
            return False
        ref = compute.remote(sent, unit)
        future = ref.future()
        flying[future] = unit, ref
        future.add_done_callback(landed.put)
        return True

    try:
        with StopFlag() as stopping:
            while True:
                while not stopping() and len(flying) < most and start():
                    pass
                if not flying:
                    break
                with contextlib.suppress(queue.Empty):
                    unit, _ = flying.pop(future := landed.get(timeout=TALK))
                    if _landed(unit, future, deaths, tick):
                        done(unit)
                    elif not stopping():
                        again.append(unit)
                if heard.done() and time.monotonic() - last > TALK:
                    if heard.exception() is None and heard.result().run_steps:
                        tick(heard.result())
                    heard, last = board.collect.remote(stopping()).future(), time.monotonic()
            for rest in _last_words(ray, board, heard):
                tick(rest)
            if stopping():
                raise Interrupted
    finally:
        for _, ref in flying.values():
            with contextlib.suppress(Exception):
                ray.cancel(ref, force=True)
        ray.kill(board)


def _last_words(ray: Any, board: Any, heard: Future[Any]) -> Iterator[Tick]:
    """What workers told the board and nobody has looked at yet: `heard`, which is on its way, and the rest."""
    for answer in (heard, board.collect.remote(False).future()):
        with contextlib.suppress(ray.exceptions.RayError, TimeoutError):  # progress only
            if (news := answer.result(timeout=5)).run_steps:
                yield news


def _landed(unit: str, future: Future[Any], deaths: dict[str, int], tick: Callable[[Tick], None]) -> bool:
    """Is the unit done? False: stopped, or its worker died."""
    from ray.exceptions import RayError, RaySystemError, RayTaskError

    try:
        kind, value = future.result()
    except RayTaskError as error:  # before the worker reached our code
        if isinstance(error.cause, RayError) and not isinstance(error.cause, RaySystemError):
            return _died(unit, error.cause, deaths)
        raise LrscopeError(
            f"on: a Ray worker cannot begin ({first_line(error.cause or error)}): install lrscope and the modules "
            "of your task on every node"
        ) from error
    except RayError as error:
        return _died(unit, error, deaths)
    if kind == "error":
        raise LrscopeError(value)
    if kind == "bug":
        raise RuntimeError(f"unit {unit} failed in a worker:\n{value}")
    if value.run_steps:
        tick(value)
    return bool(kind == "done")


def _died(unit: str, error: Exception, deaths: dict[str, int]) -> bool:
    """Count it; False as long as another worker may try."""
    deaths[unit] = deaths.get(unit, 0) + 1
    if deaths[unit] > RETRIES:
        raise LrscopeError(
            f"on: Ray's workers died {deaths[unit]} times on chunk {unit} ({type(error).__name__}, usually out of "
            "memory): use fewer --jobs or a smaller --chunk; finished chunks are kept"
        ) from error
    return False


# -- the workers -------------------------------------------------------------------------------------------------------


class _Line:
    """A worker's line to the board. Never waits for it, and works on without it."""

    def __init__(self, board: Any, pause: float) -> None:
        self.board, self.pause = board, pause
        self.unsent = Tick(0)
        self.asked: Any = None
        self.told = False
        self.talked = self.looked = time.monotonic()

    def tick(self, tick: Tick) -> None:
        low, high = tick.loss_low, tick.loss_high
        if math.isnan(low):
            low, high = self.unsent.loss_low, self.unsent.loss_high
        self.unsent = Tick(self.unsent.run_steps + tick.run_steps, low, high)

    def stopping(self) -> bool:
        ray = _ray()
        now = time.monotonic()
        if self.asked is not None and now - self.looked > LOOK:
            self.looked = now
            if ray.wait([self.asked], timeout=0)[0]:
                with contextlib.suppress(ray.exceptions.RayError):
                    self.told = ray.get(self.asked)
                self.asked = None
        elif self.asked is None and now - self.talked > self.pause:
            self.talked = now
            self.asked, self.unsent = self.board.tick.remote(self.unsent), Tick(0)
        return self.told

    def rest(self) -> Tick:
        """What has not been told yet; what has been told has arrived."""
        if self.asked is not None:
            _ray().wait([self.asked], timeout=5)
        rest, self.unsent = self.unsent, Tick(0)
        return rest


_held: dict[Any, tuple[Work, _Line]] = {}  # by what was sent; a worker process serves one sweep at a time


def _unit(sent: list[Any], unit: str) -> tuple[str, Any]:
    """Compute one unit in a worker: ("done" or "stopped", progress), ("error", sentence) or ("bug", traceback)."""
    ray = _ray()
    torch.set_num_threads(1)  # as everywhere: the same arithmetic whatever the number of cores
    try:
        key = sent[0].hex()
        if key not in _held:
            _held.clear()
            _held[key] = ray.get(sent[0])(), _Line(*sent[1:])
        work, line = _held[key]
        try:
            work(unit, line.tick, line.stopping)
        except Stopped:
            return "stopped", line.rest()
        return "done", line.rest()
    except LrscopeError as error:
        return "error", str(error)
    except ray.exceptions.RayError:
        raise
    except Exception as error:
        if out_of_memory(error):
            return "error", (
                f"memory: it ran out in chunk {unit} on a Ray worker ({first_line(error)}): run it again with a smaller "
                "--chunk, to which what is unfinished is cut, or fewer --jobs; finished chunks are kept"
            )
        return "bug", traceback.format_exc()
