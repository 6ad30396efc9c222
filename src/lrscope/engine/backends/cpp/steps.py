"""Training steps and evaluation sums of many runs as generated C++: each run works with its weights in the L1 cache.

R runs, K steps a call, B batch, P parameters, G groups, N examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lrscope.engine.backends.cpp.library import Library
from lrscope.engine.backends.cpp.values import Input
from lrscope.engine.step import Named, Step, StepInputs, StepState

BLOCKS = (16, 64)  # ours, examples evaluated together: their activations fit the L1 cache


class FusedSteps:
    """K steps of all runs in one call.

    Args:
        step: one step of a batch of runs [R, ...] ; traced with R = 1.
        state, inputs: those of a single run's step.

    Raises:
        NotFusible: see `Library`.
    """

    def __init__(self, step: Step, state: StepState, inputs: StepInputs) -> None:
        names, remembered, read = tuple(inputs.frozen), tuple(state.optimizer), _read(inputs)
        named = state.named()

        def flat(*given: Tensor) -> tuple[Tensor, ...]:
            before, others = given[: len(named)], given[len(named) :]
            state = StepState.of(dict(zip(named, before, strict=True)), remembered)
            of_run = dict(zip(names, others[len(read) :], strict=True))
            new = step(state, StepInputs(of_run, **dict(zip(read, others, strict=False))))
            return tuple(new.named().values())

        found = [Input(n, t, "run", apart=n == "sums") for n, t in named.items()]
        found += [
            Input(n, t, "run" if n == "rho" else "run and step", gathered=n in ("x", "y")) for n, t in read.items()
        ]
        moved = flat(*named.values(), *read.values(), *inputs.frozen.values())[0]
        telling = _telling(inputs.lr, state.weights, moved)
        found = [replace(one, trial=telling) if one.name == "lr" else one for one in found]
        self._library = Library(flat, [*found, *_of_runs("frozen", inputs.frozen)], tuple(named))

    def __call__(self, state: StepState, inputs: StepInputs) -> StepState:
        """The state after the K steps of `inputs`, whose examples their order names."""
        assert inputs.order is not None
        new = {name: t.clone(memory_format=torch.contiguous_format) for name, t in state.named().items()}
        given = [t.contiguous() for t in (*_read(inputs).values(), *inputs.frozen.values(), inputs.order)]
        steps, runs = inputs.lr.shape
        self._library(steps, runs, [*new.values(), *given])
        return StepState.of(new, tuple(state.optimizer))


class FusedSums:
    """Sums over examples of what a function of one run returns for a block of them.

    Args:
        function: (tensors of one run by name, *blocks) -> named tensors; traced once for each size of block.

    Raises:
        NotFusible: see `Library`; by the call.
    """

    def __init__(self, function: Callable[..., Named]) -> None:
        self._function = function
        self._libraries: dict[tuple[object, ...], tuple[Library, dict[str, torch.Size]]] = {}

    def __call__(self, tensors: Named, *examples: Tensor, block: int | None = None) -> Named:
        """Float64 sums [R, ...] over examples [N, ...], in blocks of `block` (None: of a size that fits)."""
        count, runs = len(examples[0]), len(next(iter(tensors.values())))
        size = block or _block(count)
        total: Named = {}
        for start, stop in ((0, count // size * size), (count // size * size, count)):
            if stop == start:
                continue
            part = [t[start:stop].contiguous() for t in examples]
            length = min(size, stop - start)
            library, shapes = self._library(tensors, part, length)
            sums = {name: torch.zeros(runs, *shape, dtype=torch.float64) for name, shape in shapes.items()}
            given = [t.contiguous() for t in tensors.values()]
            library((stop - start) // length, runs, [*sums.values(), *given, *part])
            total = {name: value + total[name] for name, value in sums.items()} if total else sums
        return total

    def _library(
        self, tensors: Named, examples: Sequence[Tensor], length: int
    ) -> tuple[Library, dict[str, torch.Size]]:
        names = tuple(tensors)
        key = (names, length, *((tuple(t.shape[1:]), t.dtype) for t in (*tensors.values(), *examples)))
        if key not in self._libraries:

            def of_one(*given: Tensor) -> Named:
                one = {name: t[0] for name, t in zip(names, given[: len(names)], strict=True)}
                return self._function(one, *given[len(names) :])

            def flat(*given: Tensor) -> Sequence[Tensor]:
                return tuple(of_one(*given).values())

            one = {name: value[:1].contiguous() for name, value in tensors.items()}
            inputs = _of_runs("tensor", one)
            inputs += [Input(f"block{i}", t[:length], "step") for i, t in enumerate(examples)]
            with torch.no_grad():
                shapes = {name: t.shape for name, t in of_one(*(i.example for i in inputs)).items()}
            self._libraries[key] = Library(flat, inputs, [None] * len(shapes)), shapes
        return self._libraries[key]


def _read(inputs: StepInputs) -> Named:
    """What a step reads besides its frozen tensors and their order, by name."""
    names = ("x", "y", "lr", "rho", "noise", "level")
    return {name: value for name in names if (value := getattr(inputs, name)) is not None}


def _telling(lr: Tensor, weights: Tensor, moved: Tensor) -> Tensor:
    """The learning rate whose step moves the weights by a tenth, so that rounding does not hide a wrong gradient."""
    far = (moved - weights).norm() / weights.norm()
    factor = 0.1 / far if far.isfinite() and far > 0 else torch.ones_like(far)
    return torch.where(lr * factor > 0, lr * factor, torch.full_like(lr, 0.1))


def _of_runs(word: str, named: Named) -> list[Input]:
    return [Input(f"{word}{i}", value, "run") for i, value in enumerate(named.values())]


def _block(count: int) -> int:
    """A block size that divides the number of examples, if one of a fitting size does."""
    low, high = BLOCKS
    return next((size for size in range(min(high, count), low - 1, -1) if count % size == 0), min(count, high // 2))
