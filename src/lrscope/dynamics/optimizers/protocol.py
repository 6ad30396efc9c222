"""What an optimizer is: an update of R runs at once, with named tensors as its state. R runs, P parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    State = dict[str, Tensor]


@runtime_checkable
class Optimizer(Protocol):
    """A frozen dataclass whose fields are the optimizer's options, named as in `SweepConfig`.

    Every run is updated by itself: row r of all that is returned depends on row r of all that is given. `update` changes
    nothing in place, uses operations that autograd's compilers can trace, and has no step counter of its own: what it counts
    is a tensor of its state.
    """

    radius_power: ClassVar[int]
    """On a sphere of radius rho the learning rate is multiplied by rho to this power, so that it means the same on every
    sphere: 2 where an update is proportional to the gradient, 1 where it does not depend on the gradient's scale."""

    def init(self, weights_RP: Tensor) -> State:
        """The state before the first update: tensors [R, ...] by name; empty if nothing is remembered."""

    def update(self, gradient_RP: Tensor, state: State, weights_RP: Tensor, lr_R: Tensor) -> tuple[Tensor, State]:
        """The weights [R, P] and the state after one update with learning rates [R]."""
