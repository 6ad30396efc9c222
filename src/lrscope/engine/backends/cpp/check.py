"""The self-test of a generated function: two runs, two steps, against PyTorch, before anything is trained with it.

R runs, K steps, B batch.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrscope.engine.backends.cpp.values import Input

RUNS, STEPS = 2, 2
LIMIT = 60.0  # ours, seconds: the test takes milliseconds
UNLOADABLE = 3  # exit status of a child that could not load the library
# Ours. A right function keeps half of the digits: its sums of up to 10^5 numbers (LARGEST_MATRIX) in another order lose
# two of float32's seven, batch norm's division two more. Wrong code - a sum in the wrong order of a layer norm, a wrong
# index, a missing term - keeps none. Errors of small numbers come from large ones beside them: these shares of the
# largest count as well.
BESIDE, APART = 0.1, 1e-3
NEAR, FAR = 2.0, 0.03  # times PyTorch's own distance; of what changed at all
FLOOR = 16  # roundings that a result has had though it hardly changed
Function = Callable[..., Sequence[Tensor]]


class Unloadable(OSError):
    """The system cannot load the library."""


@dataclass(frozen=True)
class Trial:
    """Arguments of a library's call, and what its first tensors must hold afterwards."""

    given: list[Tensor]
    expected: dict[int, Tensor]  # by position in `given`
    names: dict[int, str]
    apart: frozenset[int]
    epsilon: float  # of the coarsest type that it computes in
    exact: Callable[[], dict[int, Tensor]]  # what PyTorch makes of them in float64, asked for where results differ

    def fault(self, found: Sequence[Tensor]) -> str | None:
        """What is wrong with these results, in words, or None. A network with kinks may lose more digits than half, whoever
        computes it: then ours must be as near to float64's results as PyTorch's are."""
        fault, exact = self._fault(found), {}
        if fault is not None:
            with contextlib.suppress(Exception):  # not every function takes float64
                exact = self.exact()
        return None if exact and all(self._is_as_near(found, exact, at) for at in self.expected) else fault

    def _is_as_near(self, found: Sequence[Tensor], exact: dict[int, Tensor], at: int) -> bool:
        ours, theirs = ((one.double() - exact[at].double()).norm() for one in (found[at], self.expected[at]))
        change = (self.expected[at].double() - self.given[at].double()).norm()
        return bool(ours <= NEAR * theirs) and bool(ours <= FAR * change)

    def _fault(self, found: Sequence[Tensor]) -> str | None:
        for position, expected in self.expected.items():
            begun = self.given[position].to(torch.float64)
            change, ours = expected.to(torch.float64) - begun, found[position].to(torch.float64) - begun
            share = APART if position in self.apart else BESIDE
            finite = change[change.isfinite()].abs()
            size = torch.maximum(begun.abs(), expected.to(torch.float64).abs())
            largest = float(finite.max()) if len(finite) else 0.0
            allowed = self.epsilon**0.5 * (change.abs() + share * largest) + FLOOR * self.epsilon * size
            right = torch.where(
                change.isfinite(), (ours - change).abs() <= allowed, change.isfinite() == ours.isfinite()
            )
            if not bool(right.all()):
                worst = (ours - change).abs()[~right].nan_to_num(torch.inf).max()
                return f"{self.names[position]} differ by {float(worst):.2g} from PyTorch's, of {largest:.2g}"
        return None


def trial(function: Function, inputs: Sequence[Input], results: Sequence[str | None], turn: int) -> Trial:
    """Arguments like the examples, but different for each run and step, and what PyTorch makes of them.

    Args:
        function, inputs, results: as a `Library` has them.
        turn: another number gives other arguments.
    """
    values = {i.name: [[_value(i, r, k, turn) for k in range(STEPS)] for r in range(RUNS)] for i in inputs}
    state, sums = _computed(function, inputs, results, values)
    given = [torch.zeros_like(torch.stack(rows)) for rows in sums.values()]
    names = {at: f"results {number}" for at, number in enumerate(sums)}
    replaced: dict[int, str] = {}
    for i in inputs:
        if i.name in results and i.place == "run":
            replaced[len(given)] = i.name
        given.append(_laid_out(i, values[i.name]))
    shapes = {i.name: i.example.shape for i in inputs}

    def expected(state: Sequence[dict[str, Tensor]], sums: dict[int, list[Tensor]]) -> dict[int, Tensor]:
        of_state = {at: torch.stack([one[n].reshape(shapes[n]) for one in state]) for at, n in replaced.items()}
        return {at: torch.stack(rows) for at, rows in enumerate(sums.values())} | of_state

    def exact() -> dict[int, Tensor]:
        wide = {name: [[_wide(x) for x in row] for row in rows] for name, rows in values.items()}
        return expected(*_computed(function, inputs, results, wide))

    if any(i.gathered for i in inputs):
        batch = next(i.example.shape[1] for i in inputs if i.gathered)
        given.append(torch.stack([torch.stack([_index(batch, r, k) for r in range(RUNS)]) for k in range(STEPS)]))
    types = [i.example.dtype for i in inputs if i.example.is_floating_point()]
    epsilon = max((torch.finfo(t).eps for t in types), default=torch.finfo(torch.float64).eps)
    apart = frozenset(at for at, name in replaced.items() if next(i.apart for i in inputs if i.name == name))
    return Trial(given, expected(state, sums), names | replaced, apart, epsilon, exact)


def _computed(
    function: Function,
    inputs: Sequence[Input],
    results: Sequence[str | None],
    values: dict[str, list[list[Tensor]]],
) -> tuple[list[dict[str, Tensor]], dict[int, list[Tensor]]]:
    """What the function makes of these values [R][K]: by run the results that replace inputs, by number the sums of others."""
    state: list[dict[str, Tensor]] = [{} for _ in range(RUNS)]
    sums: dict[int, list[Tensor]] = {}
    with torch.no_grad():
        for r in range(RUNS):
            for k in range(STEPS):
                args = [state[r].get(i.name, _rows(i, values[i.name][r][k], r, k)) for i in inputs]
                for number, (name, value) in enumerate(zip(results, function(*args), strict=True)):
                    if name is not None:
                        state[r][name] = value
                        continue
                    rows = sums.setdefault(number, [])
                    if len(rows) == r:
                        rows.append(torch.zeros(value.shape, dtype=torch.float64))
                    rows[r] += value
    return state, sums


def _wide(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def _value(given: Input, r: int, k: int, turn: int) -> Tensor:
    """The example with every number changed by up to a quarter, as its place allows it to differ."""
    example = given.example if given.trial is None else given.trial
    if given.place == "run and step" and not given.gathered and not example.is_floating_point():
        return example + (1 + r + 2 * k + 4 * turn)  # seeds
    if given.place == "all" or not example.is_floating_point():
        return example
    r, k = (0 if given.place == "step" or given.gathered else r), (0 if given.place == "run" or given.gathered else k)
    wave = torch.arange(example.numel(), dtype=torch.float64).mul(1.3 + r + 0.37 * k).add(turn + r).cos()
    wave = wave.view(example.shape).to(example.dtype)
    size = example.abs().mean() if example.any() else 1.0
    return (example * (1 + 0.25 * wave) + 0.01 * size * (1.5 + wave)).contiguous()


def _index(batch: int, r: int, k: int) -> Tensor:
    return torch.arange(batch).roll(r + k)


def _rows(given: Input, value: Tensor, r: int, k: int) -> Tensor:
    """What run r is given at step k."""
    return value[:, _index(value.shape[1], r, k)] if given.gathered else value


def _laid_out(given: Input, values: list[list[Tensor]]) -> Tensor:
    """The array that a library reads, contiguous."""
    if given.gathered:
        return values[0][0][0].contiguous().clone()
    if given.place == "run":
        return torch.stack([value[0] for value in values])
    if given.place == "step":
        return torch.stack(values[0])
    if given.place == "all":
        return values[0][0].contiguous().clone()
    return torch.stack([torch.stack([values[r][k] for r in range(RUNS)]) for k in range(STEPS)])


# -- carrying it out ---------------------------------------------------------------------------------------------------


def load(path: Path) -> Any:
    """The library's function.

    Raises:
        Unloadable: the system cannot load it.
    """
    try:
        call = ctypes.CDLL(str(path)).call
    except (OSError, AttributeError) as error:
        raise Unloadable(None, f"it cannot be loaded: {error}") from error
    call.restype = None
    return call


def call_with(call: Any, steps: int, runs: int, tensors: Sequence[Tensor]) -> None:
    """Call a library's function: contiguous tensors, the results' first."""
    call(ctypes.c_int64(steps), ctypes.c_int64(runs), *(ctypes.c_void_p(t.data_ptr()) for t in tensors))


def tested_here(path: Path, trials: Callable[[int], Trial]) -> str | None:
    """What is wrong with the library, or None. Two different trials, of which one must succeed: an accuracy may flip where
    two outputs nearly tie, but not in both."""
    call = load(path)
    return _tested(trials, lambda tensors: call_with(call, STEPS, RUNS, tensors))


def tested_apart(path: Path, trials: Callable[[int], Trial]) -> str | None:
    """The same in a process of its own, which a library that crashes or never returns takes with it."""
    if not sys.platform.startswith("linux"):
        return tested_here(path, trials)
    reason = ""

    def in_child(tensors: Sequence[Tensor]) -> None:
        nonlocal reason
        reason = _called_in_child(path, tensors)

    return _tested(trials, in_child, lambda: reason)


def _tested(
    trials: Callable[[int], Trial], work: Callable[[Sequence[Tensor]], None], failed: Callable[[], str] = lambda: ""
) -> str | None:
    fault: str | None = None
    for turn in range(2):
        one = trials(turn)
        found = [t.clone() for t in one.given]
        work(found)
        fault = failed() or one.fault(found)
        if fault is None:
            return None
    return fault


def _called_in_child(path: Path, tensors: Sequence[Tensor]) -> str:
    """Call the library in a forked process; its results are copied into `tensors`. Returns what went wrong, or ''."""
    sizes = [t.numel() * t.element_size() for t in tensors]
    with mmap.mmap(-1, max(1, sum(sizes))) as shared:
        child = os.fork()
        if child == 0:
            _be_the_child(path, tensors, shared)
        status = _waited_for(child)
        if status is None:
            return f"it did not return within {LIMIT:g} s"
        if os.WIFSIGNALED(status):
            return f"it dies with {signal.Signals(os.WTERMSIG(status)).name}"
        if os.WEXITSTATUS(status) == UNLOADABLE:
            raise Unloadable(None, "the system cannot load it")
        if os.WEXITSTATUS(status):
            return f"it ends with status {os.WEXITSTATUS(status)}"
        begin = 0
        for tensor, size in zip(tensors, sizes, strict=True):
            data = bytearray(shared[begin : begin + size])
            tensor.copy_(torch.frombuffer(data, dtype=tensor.dtype).view(tensor.shape) if size else tensor)
            begin += size
    return ""


def _be_the_child(path: Path, tensors: Sequence[Tensor], shared: mmap.mmap) -> None:
    """Load, call, leave the results and end, without a word and whatever happens."""
    status = 1
    try:
        faulthandler.disable()
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))  # the parent decides
        _no_core_dump()
        call_with(load(path), STEPS, RUNS, tensors)
        for tensor in tensors:
            shared.write(bytes(ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())))
        status = 0
    except Unloadable:
        status = UNLOADABLE
    finally:
        os._exit(status)


def _no_core_dump() -> None:
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _waited_for(child: int) -> int | None:
    """The child's wait status; None if it had to be killed."""
    deadline = time.monotonic() + LIMIT
    done = 0
    try:
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status
            time.sleep(0.001)
        return None
    finally:
        if not done:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
