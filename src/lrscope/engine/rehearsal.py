"""Every function that a sweep will run, tried once in its own mode and at its own batch size before anything is planned.

R runs, B batch, N examples.
"""

from __future__ import annotations

import torch

from lrscope.engine.context import Context
from lrscope.engine.dispatch import needing_memory, out_of_memory
from lrscope.engine.noise import with_noise
from lrscope.errors import LrscopeError, first_line
from lrscope.tasks.random_state import seeded
from lrscope.tasks.streams import stream_seed
from lrscope.terminal import warn

RUNS = 2  # as few as make a batch of runs


@needing_memory("in a first step of one run", "a smaller --batch-size")
def rehearse(context: Context) -> None:
    """Try training and evaluation of one run by itself, and say where all seeds would begin alike.

    Raises:
        LrscopeError: a function fails; names it, the batch's shape and what to change.
    """
    if context.task.drawing.constant and context.config.seeds > 1:
        warn(
            f"the model's initial weights do not depend on the seed: the {context.config.seeds} seeds differ in the order of "
            "batches only, and intervals over seeds do not cover the initialisation",
        )
    try:
        _run(context, "single", 1)
    except _Failed as failed:
        error = failed.error
        if out_of_memory(error):
            raise error from None
        raise LrscopeError(f"model: {failed.what} fails ({first_line(error)}): {_remedy(context)}") from error


def rehearse_batched(context: Context) -> None:
    """Try training and evaluation of several runs at once.

    Raises:
        RuntimeError: the model cannot be batched over runs, or memory runs out.
    """
    try:
        _run(context, "batched", RUNS)
    except _Failed as failed:
        if isinstance(failed.error, (RuntimeError, MemoryError)):
            raise failed.error from None
        raise RuntimeError(first_line(failed.error)) from failed.error


class _Failed(Exception):
    """What was tried when an error came."""

    def __init__(self, what: str, error: Exception) -> None:
        super().__init__(what)
        self.what, self.error = what, error


def _remedy(context: Context) -> str:
    precision = context.config.precision
    if precision == "float32":
        return "change the model, or --batch-size"
    return f"change the model, which may name a type of its own, or leave out --precision {precision}"


@seeded(0)  # dropout draws
def _run(context: Context, path: str, runs: int) -> None:
    """Call the functions of a path for `runs` runs; what they return is thrown away."""
    program, material = context.program(path, False), context.material(context.config.first_data_seed)
    weights, frozen = material.initial_weights([stream_seed("init", 0, 0)] * runs)
    if context.net.keyed:
        level = torch.zeros(runs, dtype=context.dtype, device=context.device) if context.net.added else None
        frozen = with_noise(frozen, torch.arange(runs, device=context.device), level)
    x, y = material.batches(1)
    size = len(x[0])
    x_R, y_R = (t[0].expand(runs, *t.shape[1:]) for t in (x, y))
    what = f"a training step on a batch of {size}"
    try:
        context.net.module.train()
        program.gradients(weights, frozen, x_R, y_R)
        what = f"a pass in train mode on a batch of {size}"
        program.train_mode_metrics(weights, frozen, x, y)
        populations = program.populations(weights, frozen, x)
        slab = program.backend.slab(context.device)
        given = len(material.test_x)
        for count in {min(slab, given), given % slab or slab}:
            what = f"evaluation of {min(count, given)} test examples together"
            program.metrics(weights, frozen, populations, material.test_x[:count], material.test_y[:count])
    except LrscopeError:
        raise
    except Exception as error:
        raise _Failed(what, error) from error
    finally:
        context.net.module.train()
