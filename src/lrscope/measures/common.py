"""What measures of weights share: the loss as a function of the flat weights, and leaving everything as it was found.

P parameters, K batches, B batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

from torch import Tensor

from lrscope.engine.material import Material
from lrscope.engine.memory_order import channels_last, planes
from lrscope.engine.net import Net
from lrscope.engine.program import Program
from lrscope.engine.step import Named
from lrscope.errors import LrscopeError
from lrscope.tasks.random_state import seeded
from lrscope.tasks.streams import stream_seed
from lrscope.trained import State, Trained


@contextmanager
def undisturbed(net: Net, purpose: str) -> Iterator[None]:
    """Inside, the net may be switched to train or eval mode and may draw noise; afterwards all is as before.

    A net with dropout draws from the global generators: they are seeded by `purpose`, so a measure repeats itself.
    """
    modes = [(module, module.training) for module in net.module.modules()]
    try:
        with seeded(stream_seed("measure", purpose)) if net.stochastic else nullcontext():
            yield
    finally:
        for module, training in modes:
            module.training = training


def evaluation(
    trained: Trained, state: State, data_seed: int | None, *, path: Literal["single", "batched"] = "single"
) -> tuple[Program, Material]:
    """The program and the examples of a data seed (None: the sweep's first) in the state's precision."""
    check_state(trained, state)
    dtype = state.weights.dtype
    return trained.program(dtype, path=path), trained.material(data_seed, dtype)


def check_state(trained: Trained, state: State) -> None:
    """Refuse a state of another net."""
    shape, size = tuple(state.weights.shape), trained.net.size
    if len(shape) != 2 or shape[1] != size:
        raise LrscopeError(
            f"state: its weights have shape {shape}, but the net has {size} parameters: pass a state of this sweep"
        )
    if set(state.frozen) != set(trained.net.frozen):
        known = ", ".join(trained.net.frozen) or "none"
        raise LrscopeError(f"state: its frozen tensors are not those of the net ({known}): pass a state of this sweep")


def one_run(weights_1P: Tensor) -> Tensor:
    """The flat weights [P] of one run given as [1, P].

    Raises:
        LrscopeError: more than one run, or none.
    """
    if weights_1P.dim() != 2 or len(weights_1P) != 1:
        raise LrscopeError(
            f"weights: shape {tuple(weights_1P.shape)} is not that of one run: pass [1, parameters], one run at a time"
        )
    return weights_1P[0]


def outputs(program: Program, flat_P: Tensor, frozen: Named, x: Tensor) -> Tensor:
    """Outputs [B, ...] on x [B, ...] at flat weights [P], differentiable in them; in the module's present mode."""
    tensors = {name: view[0] for name, view in program.net.views(flat_P[None]).items()}
    given = {**tensors, **{name: f[0] for name, f in frozen.items()}}
    x = channels_last(x) if program.net.takes_channels_last else planes(x)
    return program.net.output(given, x)
