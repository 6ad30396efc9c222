"""Any optimizer of `torch.optim`'s kind, one run at a time: slow, and for every optimizer that has no file here. P parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lrscope.dynamics.layout import Slots
from lrscope.errors import LrscopeError, first_line, shown

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer as TorchOptimizer

    from lrscope.dynamics.optimizers.protocol import State

    Factory = Callable[[list[Tensor], float], TorchOptimizer]

BEGUN = "begun"  # [1]: 1 after the first update; before it the optimizer sets up its state by itself
NUMBERS: dict[str, type] = {"bool": bool, "int": int, "float": float}  # kept beside tensors, by the name of their type
SCHEDULED = "_opt_called"  # the attribute that torch.optim.lr_scheduler sets when its optimizer steps
SMALL = 1e-3  # ours: a learning rate to try the optimizer with


@dataclass(frozen=True, kw_only=True)
class OwnOptimizer:
    """What `factory(parameters, lr)` returns, made anew for every step with the run's tensors, its learning rate and the state
    that the last step left: each parameter's, numbers and tensors of the parameter groups.

    Raises:
        LrscopeError: by `init`, an optimizer that cannot be used so.
    """

    slots: Slots
    factory: Factory

    radius_power: ClassVar[int] = 0

    def init(self, weights_RP: Tensor) -> State:
        """Zeros in the shapes that a first step leaves, found by taking one from weights of 1, which any sphere can hold."""
        import torch

        ones = torch.ones(weights_RP.shape[1], dtype=weights_RP.dtype)
        trial = _Stepper(self.factory, self.slots, ones, SMALL)
        before = trial.attributes()
        trial.take(torch.zeros_like(ones))
        _check_attributes(before, trial.attributes())
        found = {BEGUN: torch.zeros(1, dtype=torch.float64), **trial.state()}
        return {
            name: torch.zeros(len(weights_RP), *value.shape[1:], dtype=value.dtype, device=weights_RP.device)
            for name, value in found.items()
        }

    def update(self, gradient_RP: Tensor, state: State, weights_RP: Tensor, lr_R: Tensor) -> tuple[Tensor, State]:
        """One step of a single run [1, P]; NaN where its learning rate is NaN."""
        import torch

        lr = float(lr_R[0])
        if not math.isfinite(lr):
            return torch.full_like(weights_RP, torch.nan), state
        stepper = _Stepper(self.factory, self.slots, weights_RP[0], lr)
        if bool(state[BEGUN][0]):
            stepper.restore(state)
        stepper.take(gradient_RP[0])
        found = {BEGUN: torch.ones_like(state[BEGUN]), **stepper.state()}
        _check_kept(state, found)
        return stepper.weights()[None], found


def _check_attributes(before: dict[str, float], after: dict[str, float]) -> None:
    """Refuse an optimizer that counts in attributes of its own, which are lost because it is made anew for every step."""
    if SCHEDULED in after:
        raise LrscopeError(
            "optimizer: the task's function attaches a learning-rate scheduler, which would begin anew at every step: leave it "
            "out and use the option schedule"
        )
    for name, value in after.items():
        if before.get(name) != value:
            raise LrscopeError(
                f"optimizer: the task's own changes its attribute {name} when it steps, which no checkpoint holds: let it keep "
                "that in its state or in its parameter groups"
            )


def _check_kept(before: State, after: State) -> None:
    """Refuse an optimizer whose state begins or grows after the first step: the rest would be lost."""
    for name in dict.fromkeys((*after, *before)):
        shapes = [None if name not in state else tuple(state[name].shape) for state in (before, after)]
        if shapes[0] != shapes[1]:
            key = name.partition("_")[2]
            raise LrscopeError(
                f"optimizer: the task's own keeps other tensors or numbers later than after its first step ({shown(key)}): use "
                "one whose state stays the same in names and shapes"
            )


class _Stepper:
    """One step of the user's optimizer on weights [P] that lie in the slots."""

    def __init__(self, factory: Factory, slots: Slots, weights_P: Tensor, lr: float) -> None:
        import torch

        self.slots = slots
        self.params = [weights_P[s.start : s.stop].view(s.shape).detach().clone().requires_grad_() for s in slots]
        try:
            with torch.enable_grad():
                self.optimizer = factory(list(self.params), lr)
        except LrscopeError as error:  # of `SphereSGD` or `OnSphere`
            raise LrscopeError(f"optimizer: the task's function cannot make one of its parameters: {error}") from error
        except Exception as error:  # a user's function fails in any way
            raise LrscopeError(
                f"optimizer: the task's function fails ({type(error).__name__}: {first_line(error)}): it is called with a list "
                "of parameters and a learning rate, as in lambda params, lr: torch.optim.NAdam(params, lr)"
            ) from error
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            raise LrscopeError(
                f"optimizer: the task's function returns {shown(self.optimizer)}, which is no torch.optim.Optimizer: return one"
            )
        held = [id(p) for group in self.optimizer.param_groups for p in group["params"]]
        if sorted(held) != sorted(map(id, self.params)):
            raise LrscopeError(
                f"optimizer: of the {len(self.params)} parameters that the task's function is called with, its optimizer does "
                "not hold each once and no others: pass on all of them"
            )

    def take(self, gradient_P: Tensor) -> None:
        """Step along a gradient [P]."""
        for p, s in zip(self.params, self.slots, strict=True):
            p.grad = gradient_P[s.start : s.stop].view(s.shape).clone()
        try:
            self.optimizer.step()
        except Exception as error:  # as above; optimizers that want a closure fail here
            raise LrscopeError(
                f"optimizer: a step of the task's own fails ({type(error).__name__}: {first_line(error)}): use one that steps "
                "without a closure, on gradients that are there"
            ) from error

    def attributes(self) -> dict[str, float]:
        """The numbers among the optimizer's attributes."""
        return {name: value for name, value in vars(self.optimizer).items() if type(value) in NUMBERS.values()}

    def weights(self) -> Tensor:
        """The weights [P]."""
        import torch

        return torch.cat([p.detach().reshape(-1) for p in self.params])

    def state(self) -> State:
        """What the optimizer remembers, as tensors [1, ...] by name."""
        import torch

        found: State = {}
        for name, value in self._remembered():
            if isinstance(value, torch.Tensor):
                found[name] = value.detach().clone(memory_format=torch.contiguous_format)[None]
            else:
                found[name] = torch.tensor([float(value)], dtype=torch.float64)
        return found

    def _remembered(self) -> Iterator[tuple[str, Any]]:
        import torch

        for i, p in enumerate(self.params):
            for key, value in self.optimizer.state.get(p, {}).items():
                kind = (
                    "state" if isinstance(value, torch.Tensor) and value.is_floating_point() else type(value).__name__
                )
                if value is None:
                    continue
                if kind not in ("state", *NUMBERS) or not (isinstance(key, str) and key.isidentifier()):
                    raise LrscopeError(
                        f"optimizer: the task's own keeps {shown(key)} as {type(value).__name__}, which no checkpoint holds: use "
                        "one whose state consists of floating-point tensors and numbers"
                    )
                yield f"{kind}{i}_{key}", value
        for j, group in enumerate(self.optimizer.param_groups):
            for key in (*_numbers_of(group), *_tensors_of(group)):
                yield f"group{j}_{key}", group[key]

    def restore(self, state: State) -> None:
        """Put back what `state` took out of the optimizer of the step before."""
        # As `load_state_dict`: PyTorch's optimizers count their steps on the CPU, but for these two flags.
        on_device = any(group.get(flag) for group in self.optimizer.param_groups for flag in ("capturable", "fused"))
        for i, p in enumerate(self.params):
            for kind in ("state", *NUMBERS):
                start = f"{kind}{i}_"
                for name in [name for name in state if name.startswith(start)]:
                    value, key = state[name][0], name.removeprefix(start)
                    if key == "step" and not on_device:
                        value = value.cpu()
                    kept: Any = value.clone() if kind == "state" else NUMBERS[kind](float(value))
                    self.optimizer.state[p][key] = kept
        for j, group in enumerate(self.optimizer.param_groups):
            for key in _numbers_of(group):
                if f"group{j}_{key}" in state:
                    group[key] = type(group[key])(float(state[f"group{j}_{key}"][0]))
            for key in _tensors_of(group):
                if f"group{j}_{key}" in state:
                    group[key] = state[f"group{j}_{key}"][0].clone()


def _numbers_of(group: dict[str, Any]) -> list[str]:
    """The numbers of a parameter group that an optimizer may change as it goes; its learning rate comes from outside."""
    return [key for key, value in group.items() if key != "lr" and type(value) in NUMBERS.values()]


def _tensors_of(group: dict[str, Any]) -> list[str]:
    """Its tensors of floats, such as the radii of `SphereSGD`: measured at the first step and kept from then on."""
    import torch

    tensors = {key: value for key, value in group.items() if key != "lr" and isinstance(value, torch.Tensor)}
    return [key for key, value in tensors.items() if value.is_floating_point() and value.numel()]
