"""The three global random states that a user's code may draw from: PyTorch's, NumPy's and Python's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

NUMPY_SEEDS = 2**32


@contextmanager
def kept() -> Iterator[None]:
    """Inside, PyTorch, NumPy and Python may draw; afterwards all three are as they were before."""
    python, legacy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The same, and inside all three draw as `seed` says."""
    with kept():
        seed_all(seed)
        yield


def seed_all(seed: int) -> None:
    """Seed the three generators; for use inside `kept` or `seeded`."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % NUMPY_SEEDS)


def states() -> tuple[bytes, object, bytes]:
    """What the three generators (PyTorch's on the CPU) are in, to see whether something was drawn."""
    numpy_state = [x.tobytes() if isinstance(x, np.ndarray) else x for x in np.random.get_state(legacy=True)]
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), repr(numpy_state).encode()
