"""SphereSGD: SGD on spheres, with the effective learning rate as its learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from lrscope.errors import LrscopeError, shown
from lrscope.optim.changes import add, check_any, fill_loaded
from lrscope.optim.param_groups import check_step, is_held, keep_norms, radius_of
from lrscope.optim.spheres import MATRIX, scaled_to, spread


class SphereSGD(Optimizer):
    """SGD whose weights keep their norm: each step moves by lr x radius^2 x gradient, then rescales (three_regimes, eq. 2).

    Of scale-invariant weights `lr` is the effective learning rate, the same at every radius: what `lrscope map` shows on the
    sphere. Of weights on no sphere it is the learning rate of SGD. Norms stay within `spheres.tolerance` of their radius
    (float32: 1e-6, bfloat16: 0.8%), and where all gradients are zero or None no bit changes.

    Args:
        params: as any optimizer of PyTorch takes them: tensors, named tensors, or param groups, which may have values of their
            own for everything below. `lrscope.sphere_groups` makes param groups of a model's scale-invariant weights.
        lr: the effective learning rate, a number or a tensor with one.
        momentum: of a heavy ball, as in `torch.optim.SGD` without dampening.
        nesterov: let momentum look one step ahead.
        maximize: go up instead of down.
        weight_decay: added to the gradient; only where there is no sphere.
        sphere: what keeps its norm: each `matrix` (tensors with two axes or more; others are on no sphere), each `row` of each
            matrix, the whole `group`, or None for nothing.
        radius: a norm to which weights are rescaled at once; None keeps the norms that they have when they are added.
        hyperball: give every update the length lr x radius (Hyperball: Wen et al. 2026, arXiv 2606.16899).

    Raises:
        LrscopeError: options or weights that cannot be used, in one sentence.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        weight_decay: float = 0.0,
        sphere: str | None = MATRIX,
        radius: float | Tensor | None = None,
        hyperball: bool = False,
    ) -> None:
        own = {"sphere": sphere, "radius": radius, "hyperball": hyperball}
        rule = {"momentum": momentum, "nesterov": nesterov, "maximize": maximize, "weight_decay": weight_decay}
        super().__init__(params, {"lr": lr, **rule, **own})
        check_any(self.param_groups)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in every optimizer; a param group that is refused is not added."""
        add(self, param_group, super().add_param_group, self.defaults)
        try:
            _check_rule(self.param_groups[-1])
        except LrscopeError:
            self.param_groups.pop()
            raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As in every optimizer; the radii are in the param groups."""
        if "defaults" not in state:  # it comes from load_state_dict
            fill_loaded(state["param_groups"], self.param_groups)
        super().__setstate__(state)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; a closure is evaluated once, before it, and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        check_step(self.param_groups)
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def project(self) -> None:
        """Bring the weights back to their spheres, after something else than `step` changed them."""
        for group in self.param_groups:
            keep_norms(group)

    def _step_group(self, group: dict[str, Any]) -> None:
        velocities: list[Tensor] = []
        self._init_group(group, velocities)
        rest = iter(velocities)
        tensors, directions = [], []
        for p in group["params"]:
            direction = None if p.grad is None else _direction(p, group, next(rest, None))
            if is_held(group, p):
                tensors.append(p)
                directions.append(direction)
            elif direction is not None:
                p.sub_(direction * group["lr"])
        if any(direction is not None for direction in directions):
            _move(
                group,
                tensors,
                [torch.zeros_like(p) if d is None else d for p, d in zip(tensors, directions, strict=True)],
            )
            keep_norms(group)

    def _init_group(self, group: dict[str, Any], velocities: list[Tensor]) -> None:
        """Append the velocities of weights with a gradient. torch.compile knows this method's name and lets it make state."""
        for p in group["params"]:
            if p.grad is not None and group["momentum"]:
                if self.state[p].get("momentum_buffer") is None:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                velocities.append(self.state[p]["momentum_buffer"])


def _direction(p: Tensor, group: dict[str, Any], velocity: Tensor | None) -> Tensor:
    """The gradient or, with momentum, the velocity."""
    assert p.grad is not None
    gradient = -p.grad if group["maximize"] else p.grad
    if group["weight_decay"]:
        gradient = gradient.add(p, alpha=group["weight_decay"])
    if velocity is None:
        return gradient
    velocity.mul_(group["momentum"]).add_(gradient)
    return gradient.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity


def _move(group: dict[str, Any], tensors: list[Tensor], directions: list[Tensor]) -> None:
    """Move weights on spheres by lr x radius^2 x direction or, with `hyperball`, by a length of lr x radius."""
    radius_S = radius_of(group, tensors)
    factor_S = scaled_to(radius_S, directions, group["sphere"]) if group["hyperball"] else radius_S.square()
    factors = spread(factor_S * group["lr"], tensors, group["sphere"])
    for tensor, direction, factor in zip(tensors, directions, factors, strict=True):
        tensor.sub_(direction * factor)


def _check_rule(group: dict[str, Any]) -> None:
    """Raise `LrscopeError` for options that the update cannot use."""
    for name in ("lr", "momentum", "weight_decay"):
        value = group[name]
        number = isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1)
        if isinstance(value, bool) or not number or not 0 <= float(value) < float("inf"):
            raise LrscopeError(f"{name}: {shown(value)} is not a finite number of 0 or more: pass one")
    if group["nesterov"] and not group["momentum"]:
        raise LrscopeError("nesterov: True needs momentum: pass momentum=0.9, or leave nesterov out")
