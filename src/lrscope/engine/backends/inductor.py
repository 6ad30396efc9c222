"""Training steps handed to TorchInductor: traced once per shape, several steps a call, no guards between calls.

`torch.compile` would do the same, but checks at every call whether anything changed - 130 us for networks whose whole step
takes 300 us. Here the shapes are the key, and nothing else can change.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from lrscope.engine.backends.protocol import Trained
from lrscope.engine.backends.single import Single
from lrscope.engine.backends.vmap import Vmap
from lrscope.engine.step import Step, StepInputs, StepState, unrolled


class NotCompiled(Exception):
    """TorchInductor cannot compile the steps on this machine; it fails in many ways on foreign toolchains."""


class _Inductor:
    """Adds compiled steps to a plain backend, which computes everything else."""

    _compiled: CompiledSteps | None = None

    def steps(self, program: Trained, state: StepState, inputs: StepInputs) -> StepState:
        """See `Backend`."""
        if inputs.noise is not None or inputs.level is not None:
            raise NotCompiled("the network draws noise")
        if self._compiled is None:
            self._compiled = CompiledSteps(program.step)
        return self._compiled(state, inputs.gathered())


class InductorVmap(_Inductor, Vmap):
    """All runs of a chunk at once, their steps compiled."""


class InductorSingle(_Inductor, Single):
    """One run at a time, its steps compiled."""


class CompiledSteps:
    """K steps of all runs, their examples gathered, compiled for the shapes that they meet."""

    def __init__(self, step: Step) -> None:
        self._steps = partial(unrolled, step)
        self._ready: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(self, state: StepState, inputs: StepInputs) -> StepState:
        """Run the compiled steps; the first call with new shapes compiles.

        Raises:
            NotCompiled: that fails.
        """
        leaves, form = tree_flatten((state, inputs[:5]))
        given = [t.contiguous() for t in leaves]
        key = (form, *((t.shape, t.dtype) for t in given))
        with torch.no_grad():
            if key not in self._ready:
                self._ready[key] = self._compile(form, given)
            moved = self._ready[key](*given)
        found: StepState = tree_unflatten(moved, tree_flatten(state)[1])
        return found

    def _compile(self, form: Any, given: list[Tensor]) -> Callable[..., Any]:
        import torch._inductor
        import torch._inductor.config
        from torch.fx.experimental.proxy_tensor import make_fx

        def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
            state, inputs = tree_unflatten(tensors, form)
            return tuple(tree_flatten(self._steps(state, StepInputs(*inputs)))[0])

        graph = make_fx(flat)(*given)
        # One thread: TorchInductor's pool of compiling processes does not survive the fork of our workers.
        with torch._inductor.config.patch(compile_threads=1):
            try:
                compiled: Callable[..., Any] = torch._inductor.compile(graph, list[Any](given))
            except Exception as error:
                raise NotCompiled(type(error).__name__) from error
        return compiled
