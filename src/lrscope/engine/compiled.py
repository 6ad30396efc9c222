"""Training steps handed to TorchInductor: traced once per shape, several steps a call, no guards between calls.

`torch.compile` would do the same, but checks at every call whether anything changed - 130 us for networks whose whole step
takes 300 us. Here the shapes are the key, and nothing else can change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = tuple[Tensor, Tensor, Tensor, Tensor]
Steps = Callable[..., State]


class NotCompiled(Exception):
    """TorchInductor cannot compile the steps on this machine; it fails in many ways on foreign toolchains."""


class CompiledSteps:
    """`steps(weights, velocity, squares, sums, frozen, x, y, lr, rho)` compiled for the shapes it meets."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._ready: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(
        self,
        weights: Tensor,
        velocity: Tensor,
        squares: Tensor,
        sums: Tensor,
        frozen: dict[str, Tensor],
        x: Tensor,
        y: Tensor,
        lr: Tensor,
        rho: Tensor,
    ) -> State:
        """Run the compiled steps; the first call with new shapes compiles.

        Raises:
            NotCompiled: that fails.
        """
        names = tuple(frozen)
        inputs = [t.contiguous() for t in (weights, velocity, squares, sums, x, y, lr, rho, *frozen.values())]
        key = (names, *((t.shape, t.dtype) for t in inputs))
        with torch.no_grad():
            if key not in self._ready:
                self._ready[key] = self._compile(names, inputs)
            weights, velocity, squares, sums = self._ready[key](*inputs)
        return weights, velocity, squares, sums

    def _compile(self, names: tuple[str, ...], inputs: list[Tensor]) -> Callable[..., Any]:
        import torch._inductor
        import torch._inductor.config
        from torch.fx.experimental.proxy_tensor import make_fx

        def flat(*tensors: Tensor) -> State:
            weights, velocity, squares, sums, x, y, lr, rho = tensors[:8]
            frozen = dict(zip(names, tensors[8:], strict=True))
            return self._steps(weights, velocity, squares, sums, frozen, x, y, lr, rho)

        graph = make_fx(flat)(*inputs)
        # One thread: TorchInductor's pool of compiling processes does not survive the fork of our workers.
        with torch._inductor.config.patch(compile_threads=1):
            try:
                compiled: Callable[..., Any] = torch._inductor.compile(graph, list[Any](inputs))
            except Exception as error:
                raise NotCompiled(type(error).__name__) from error
        return compiled
