"""Training steps handed to TorchInductor: traced once per shape, several steps a call, no guards between calls.

`torch.compile` would do the same, but checks at every call whether anything changed - 130 us for networks whose whole step
takes 300 us. Here the shapes are the key, and nothing else can change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lrscope.engine.step import StepInputs, StepState

Steps = Callable[[StepState, StepInputs], StepState]


class NotCompiled(Exception):
    """TorchInductor cannot compile the steps on this machine; it fails in many ways on foreign toolchains."""


class CompiledSteps:
    """K steps of all runs, their examples gathered, compiled for the shapes that they meet."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._ready: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(self, state: StepState, inputs: StepInputs) -> StepState:
        """Run the compiled steps; the first call with new shapes compiles.

        Raises:
            NotCompiled: that fails.
        """
        names, (frozen, x, y, lr, rho, _) = tuple(inputs.frozen), inputs
        given = [t.contiguous() for t in (*state, x, y, lr, rho, *frozen.values())]
        key = (names, *((t.shape, t.dtype) for t in given))
        with torch.no_grad():
            if key not in self._ready:
                self._ready[key] = self._compile(names, given)
            return StepState(*self._ready[key](*given))

    def _compile(self, names: tuple[str, ...], given: list[Tensor]) -> Callable[..., Any]:
        import torch._inductor
        import torch._inductor.config
        from torch.fx.experimental.proxy_tensor import make_fx

        def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
            x, y, lr, rho = tensors[4:8]
            frozen = dict(zip(names, tensors[8:], strict=True))
            return tuple(self._steps(StepState(*tensors[:4]), StepInputs(frozen, x, y, lr, rho)))

        graph = make_fx(flat)(*given)
        # One thread: TorchInductor's pool of compiling processes does not survive the fork of our workers.
        with torch._inductor.config.patch(compile_threads=1):
            try:
                compiled: Callable[..., Any] = torch._inductor.compile(graph, list[Any](given))
            except Exception as error:
                raise NotCompiled(type(error).__name__) from error
        return compiled
