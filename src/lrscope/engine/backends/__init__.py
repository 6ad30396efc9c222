"""Backends: the ways to compute many runs (`protocol.Backend`), a file each: vmap, single, TorchInductor, generated C++."""

from __future__ import annotations

from collections.abc import Callable, Collection

from lrscope.engine.backends.cpp.backend import Generated
from lrscope.engine.backends.inductor import InductorSingle, InductorVmap
from lrscope.engine.backends.protocol import Backend
from lrscope.engine.backends.single import Single
from lrscope.engine.backends.vmap import Vmap

BACKENDS: dict[str, Callable[[], Backend]] = {
    "vmap": Vmap,
    "single": Single,
    "inductor": InductorVmap,
    "inductor, single": InductorSingle,
    "generated": Generated,
}

__all__ = ["BACKENDS", "Backend", "backend"]


def backend(
    path: str, *, compiled: bool = False, fused: bool = False, wanted: Collection[str] | None = None
) -> Backend:
    """The backend that a plan's `path`, `compiled` and `fused` name.

    Args:
        wanted: with `fused`, the functions of evaluation that are generated as well (`Generated`).
    """
    if fused:
        return Generated(wanted)
    if compiled:
        return InductorVmap() if path == "batched" else InductorSingle()
    return Vmap() if path == "batched" else Single()
