"""How much memory there is, and whether a plan fits into it before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from lrscope.errors import LrscopeError
from lrscope.terminal import warn

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
FILES = {  # limit and usage, in version 2 and version 1
    "": ("memory.max", "memory.current"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
}
GIB = 2**30


def machine_memory(device: torch.device) -> tuple[int, int] | None:
    """Bytes that a program here may ever have, and those that are free now; None where nobody says.

    On a CPU the smallest of the machine's, those of the control groups around this process, and the limits of the process
    itself (`ulimit`); on a CUDA device the device's.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total, free
    known = [pair for pair in (_physical(), *_cgroups(), *_own_limits()) if pair is not None]
    if not known:
        return None
    return min(total for total, _ in known), max(0, min(free for _, free in known))


def _physical() -> tuple[int, int] | None:
    try:
        machine = psutil.virtual_memory()
    except (OSError, RuntimeError):  # such as no /proc
        return None
    return machine.total, machine.available


def _cgroups() -> Iterator[tuple[int, int] | None]:
    """What each control group that this process is in may still have, from its own up to the outermost that is seen: any
    of them may be the tightest.

    /proc/self/cgroup has a line "hierarchy:controllers:path" for each hierarchy; version 2's has no controllers. A container
    may see its own group as the root, whatever the path says.
    """
    try:
        lines = [line.split(":", 2) for line in MEMBERSHIP.read_text().splitlines()]
    except OSError:
        lines = []
    groups = [("", "/"), ("memory", "/")]
    groups += [("", path) for number, _, path in (x for x in lines if len(x) == 3) if number == "0"]
    groups += [("memory", path) for _, kinds, path in (x for x in lines if len(x) == 3) if "memory" in kinds.split(",")]
    for kind, path in dict.fromkeys(groups):
        limit, usage = FILES[kind]
        parts = [p for p in path.split("/") if p not in ("", ".", "..")]
        for depth in range(len(parts), -1, -1):
            folder = CGROUPS.joinpath(kind, *parts[:depth])
            yield _cgroup(folder / limit, folder / usage)


def _cgroup(limit: Path, usage: Path) -> tuple[int, int] | None:
    try:
        total = int(limit.read_text())
    except (OSError, ValueError):  # "max": no limit
        return None
    try:
        used = int(usage.read_text())
    except (OSError, ValueError):
        used = 0
    return total, max(0, total - used)


def _own_limits() -> Iterator[tuple[int, int]]:
    """Limits on data (ulimit -d) and address space (ulimit -v). Reserved addresses, of which PyTorch has many more than it
    uses, count for the second: what is left of it is what memory can still grow by."""
    process = psutil.Process()
    if not hasattr(process, "rlimit"):  # other systems have no such limits, or do not say what counts
        return
    try:
        size = process.memory_info()
    except psutil.Error:
        return
    for kind, used in ((psutil.RLIMIT_AS, size.vms), (psutil.RLIMIT_DATA, size.data)):
        limit, _ = process.rlimit(kind)
        if limit != psutil.RLIM_INFINITY:
            left = max(0, limit - used)
            yield size.rss + left, left


def check_memory(need: int, present: int, device: torch.device, *, chunk: int, jobs: int) -> None:
    """Refuse a plan that cannot fit; warn of one that will be tight.

    Args:
        need: predicted bytes of the whole program.
        present: those of them that it has already.
        device: where it trains.
        chunk: runs that train together.
        jobs: processes.

    Raises:
        LrscopeError: `need` bytes are more than a program here may ever have.
    """
    known = machine_memory(device)
    if known is None:
        return
    total, free = known
    words = f"memory: {jobs} processes with {chunk} runs each will need about {need / GIB:.1f} GiB"
    if need > total:
        smaller = (
            "a smaller --chunk or fewer --jobs"
            if chunk * jobs > 1
            else "a smaller --batch-size or --width, or a larger machine"
        )
        raise LrscopeError(f"{words}, there are {total / GIB:.1f}: use {smaller}")
    if need - present > free:
        warn(
            f"{words}, {(present + free) / GIB:.1f} are free: if memory runs out, lrscope continues with smaller chunks; "
            "a smaller --chunk or fewer --jobs need less",
        )
