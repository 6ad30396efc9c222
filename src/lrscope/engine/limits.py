"""How much memory there is, and whether a plan fits into it before anything is trained."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch

from lrscope.errors import LrscopeError

CGROUPS = (  # version 2 inside a container, version 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
GIB = 2**30


def machine_memory(device: torch.device) -> tuple[int, int] | None:
    """Bytes that a program here may ever have, and those that are free now; None where nobody says.

    On a CPU the smaller of the machine's and the control group's; on a CUDA device the device's.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total, free
    known = [pair for pair in (_physical(), *(_cgroup(*paths) for paths in CGROUPS)) if pair is not None]
    if not known:
        return None
    return min(total for total, _ in known), max(0, min(free for _, free in known))


def _physical() -> tuple[int, int] | None:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
        return total, free
    except (OSError, KeyError, ValueError):
        pass
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None
    return total, total


def _cgroup(limit: str, usage: str) -> tuple[int, int] | None:
    try:
        total, used = int(Path(limit).read_text()), int(Path(usage).read_text())
    except (OSError, ValueError):  # "max": no limit
        return None
    return total, total - used


def check_memory(need: int, device: torch.device, *, chunk: int, jobs: int) -> None:
    """Refuse a plan that cannot fit though a smaller one might; warn of one that will be tight.

    Raises:
        LrscopeError: `need` bytes are more than a program here may ever have.
    """
    known = machine_memory(device)
    if known is None:
        return
    total, free = known
    words = f"memory: {jobs} processes with {chunk} runs each will need about {need / GIB:.1f} GiB"
    if need > total and chunk * jobs > 1:
        raise LrscopeError(f"{words}, there are {total / GIB:.1f}: use a smaller --chunk or fewer --jobs")
    if need > free:
        warnings.warn(
            f"{words}, {free / GIB:.1f} are free: should it run out the plan goes on with smaller chunks; "
            "a smaller --chunk or fewer --jobs need less",
            stacklevel=2,
        )
