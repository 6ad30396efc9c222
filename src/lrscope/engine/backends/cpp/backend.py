"""Generated C++ as a backend: training steps and what can be generated of evaluation; everything else by vmap."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import Tensor

from lrscope.engine.backends.cpp.steps import FusedSteps, FusedSums
from lrscope.engine.backends.cpp.values import NotFusible
from lrscope.engine.backends.protocol import Trained
from lrscope.engine.backends.vmap import Vmap
from lrscope.engine.step import Named, StepInputs, StepState

EVALUATION = ("populations", "metrics", "groups")  # what can be generated beside the steps


class Generated(Vmap):
    """Training steps generated from the step of one run.

    Args:
        wanted: the functions of evaluation that are generated as well, of `EVALUATION`. None: those that can be are, and
            `refused` says why others are not.
    """

    generates = True

    def __init__(self, wanted: Collection[str] | None = None) -> None:
        super().__init__()
        self._wanted = wanted
        self._steps: FusedSteps | None = None
        self._sums: dict[str, FusedSums] = {}

    @property
    def made(self) -> tuple[str, ...]:
        """Functions of evaluation that have been generated so far."""
        return tuple(name for name in EVALUATION if name in self._sums and name not in self.refused)

    def steps(self, program: Trained, state: StepState, inputs: StepInputs) -> StepState:
        """See `Backend`; the arguments of the first call serve as examples."""
        if self._steps is None:
            self._steps = FusedSteps(program.one_run().step, *_of_one_run(state, inputs))
        return self._steps(state, inputs)

    def sums(
        self, name: str, function: Callable[..., Named], tensors: Named, *examples: Tensor, block: int | None = None
    ) -> Named | None:
        """Sums by generated code; None if there is none for the function.

        Raises:
            NotFusible: the plan says that it is generated, and it cannot be.
        """
        if name not in EVALUATION or name in self.refused or not (self._wanted is None or name in self._wanted):
            return None
        try:
            sums = self._sums.setdefault(name, FusedSums(function))
            return sums(tensors, *examples, block=block)
        except NotFusible as reason:
            if self._wanted is not None:
                raise NotFusible(str(reason), name) from reason
            self.refused[name] = str(reason)
            return None


def _of_one_run(state: StepState, inputs: StepInputs) -> tuple[StepState, StepInputs]:
    """The state and the first step's inputs of the first run."""
    frozen, x, y, lr_KR, rho_R, order, *drawn = inputs
    assert order is not None
    first, drawn = order[0, 0], [None if value_KR is None else value_KR[0, :1] for value_KR in drawn]
    remembered = {name: value[:1] for name, value in state.optimizer.items()}
    one = StepState(state.weights[:1], remembered, state.squares[:1], state.sums[:1])
    kept = {name: value[:1] for name, value in frozen.items()}
    return one, StepInputs(kept, x[first][None], y[first][None], lr_KR[0, :1], rho_R[:1], None, *drawn)
