"""OnSphere: any optimizer of PyTorch, with weights that are brought back to their spheres after each of its steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from lrscope.errors import LrscopeError, shown
from lrscope.optim.changes import add, fill_loaded, settle_all
from lrscope.optim.hyperball import lengthened
from lrscope.optim.param_groups import check_step, held, keep_norms
from lrscope.optim.sphere_sgd import SphereSGD
from lrscope.optim.spheres import MATRIX

REFUSED = {
    "LBFGS": "it remembers steps between points that the projection moves: use SphereSGD or another optimizer",
    "SparseAdam": "it moves single rows of a matrix whose norm depends on all: use Adam and an embedding with sparse=False",
    "ASGD": "it averages and shrinks weights, and neither stays on a sphere: use SGD",
}


class OnSphere(Optimizer):
    """An optimizer whose weights keep their norm: after each of its steps they are rescaled to the sphere.

    It is an optimizer itself and shares param groups and state with the one that it is given, so schedulers, `state_dict`,
    gradient scalers and trainers use it as they would use that one. The learning rate means what it means there. Norms stay
    within `spheres.tolerance` of their radius (float32: 1e-6, bfloat16: 0.8%), and a step that moves nothing changes no bit.

    With `hyperball` it is the rule of Wen et al. 2026 (arXiv 2606.16899): every update gets the length lr x radius. Only the
    direction of the optimizer's update counts then, so the learning rate is how far weights turn in one step, in radians.

    Args:
        optimizer: one of `torch.optim`, or another that is a `torch.optim.Optimizer` and moves weights in `step`. With
            `hyperball` its updates must not depend on the weights' values.
        sphere: what keeps its norm in param groups that do not say it: each `matrix` (tensors with two axes or more; others
            are on no sphere), each `row` of each matrix, the whole `group`, or None for nothing.
        radius: a norm to which weights are rescaled at once; None keeps the norms that they have now. Param groups may have
            their own.
        hyperball: normalise the updates of weights on spheres. Param groups may have their own.

    Raises:
        LrscopeError: an optimizer, options or weights that cannot be used, in one sentence.
    """

    optimizer: Optimizer
    own_defaults: dict[str, Any]

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        sphere: str | None = MATRIX,
        radius: float | Tensor | None = None,
        hyperball: bool = False,
    ) -> None:
        _check_wrapped(optimizer)
        own = {"sphere": sphere, "radius": radius, "hyperball": hyperball}
        # As an unpickled optimizer begins: hooks are made, groups and state are there already.
        super().__setstate__({"optimizer": optimizer, "own_defaults": own})
        settle_all(self.param_groups, own)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of the optimizer."""
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.optimizer.param_groups = groups

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        """That of the optimizer."""
        return self.optimizer.state

    @state.setter
    def state(self, state: defaultdict[Tensor, Any]) -> None:
        self.optimizer.state = state

    @property
    def defaults(self) -> dict[str, Any]:
        """Those of the optimizer."""
        return self.optimizer.defaults

    @defaults.setter
    def defaults(self, defaults: dict[str, Any]) -> None:
        self.optimizer.defaults = defaults

    def __getstate__(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer, "own_defaults": self.own_defaults}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What `__getstate__` gave, or state and param groups, which `load_state_dict` hands on."""
        if "optimizer" in state:
            super().__setstate__(state)
        else:
            fill_loaded(state["param_groups"], self.param_groups)
            self.optimizer.__setstate__(state)

    def __repr__(self) -> str:
        return f"OnSphere({self.optimizer!r})"

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in every optimizer; a param group that is refused is not added."""
        add(self, param_group, self.optimizer.add_param_group, self.own_defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the optimizer, then the projection. Where updates are normalised a closure is evaluated once."""
        balls = [group for group in self.param_groups if group["hyperball"] and held(group)]
        loss = None
        if balls and closure is not None:
            with torch.enable_grad():
                loss = closure()
            closure = None
        if closure is None:
            check_step(self.param_groups)
            with lengthened(balls):
                self.optimizer.step()
        else:
            loss = self.optimizer.step(_checking(closure, self.param_groups))
        self.project()
        return loss

    def project(self) -> None:
        """Bring the weights back to their spheres, after something else than `step` changed them."""
        for group in self.param_groups:
            keep_norms(group)


def _checking(closure: Callable[[], Any], groups: list[dict[str, Any]]) -> Callable[[], Any]:
    def checking() -> Any:
        loss = closure()
        check_step(groups)
        return loss

    return checking


def _check_wrapped(optimizer: Any) -> None:
    """Raise `LrscopeError` for what is no optimizer, or one that cannot be on a sphere."""
    name = type(optimizer).__name__
    if not isinstance(optimizer, Optimizer):
        raise LrscopeError(
            f"optimizer: {shown(optimizer)} is no torch.optim.Optimizer: pass one, such as torch.optim.AdamW(params, lr=1e-3, "
            "weight_decay=0)"
        )
    if isinstance(optimizer, (OnSphere, SphereSGD)):
        raise LrscopeError(f"optimizer: the weights of this {name} are on spheres already: use it as it is")
    if name in REFUSED:
        raise LrscopeError(f"optimizer: {name} cannot be on a sphere, since {REFUSED[name]}")
