"""Training steps and evaluation sums of many runs as generated C++: each run works with its weights in the L1 cache.

R runs, K steps a call, B batch, P parameters, G groups, N examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        names, remembered, (frozen, x, y, lr, rho, *_) = tuple(inputs.frozen), tuple(state.optimizer), inputs
        named = state.named()

        def flat(*given: Tensor) -> tuple[Tensor, ...]:
            state = StepState.of(dict(zip(named, given, strict=False)), remembered)
            x, y, lr, rho, *others = given[len(named) :]
            of_run = dict(zip(names, others, strict=True))
            return tuple(step(state, StepInputs(of_run, x, y, lr, rho)).named().values())

        found = [Input(n, t, "run", apart=n == "sums") for n, t in named.items()]
        found += [Input(n, t, "run and step", gathered=True) for n, t in (("x", x), ("y", y))]
        moved = flat(*named.values(), x, y, lr, rho, *frozen.values())[0]
        found += [Input("lr", lr, "run and step", trial=_telling(lr, state.weights, moved)), Input("rho", rho, "run")]
        found += _of_runs("frozen", frozen)
        self._library = Library(flat, found, tuple(named))

    def __call__(self, state: StepState, inputs: StepInputs) -> StepState:
        """The state after the K steps of `inputs`, whose examples their order names."""
        frozen, x, y, lr, rho, order = inputs[:6]
        assert order is not None
        new = {name: t.clone(memory_format=torch.contiguous_format) for name, t in state.named().items()}
        given = [t.contiguous() for t in (x, y, lr, rho, *frozen.values(), order)]
        self._library(lr.shape[0], lr.shape[1], [*new.values(), *given])
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
