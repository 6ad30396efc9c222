"""Which weights may be rescaled without changing a network's outputs? Tried in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lrscope.errors import LrscopeError
from lrscope.tasks.norms import is_norm
from lrscope.tasks.outputs import as_weights
from lrscope.tasks.random_state import seeded

TOLERANCE = 1e-7  # ours: float64 rounding of a deep net is below 1e-10, a missing norm shows at 1e-2
FEW, FEW_IMAGES = 16, 8  # ours: examples for a first look; a batch norm over fewer values invents symmetries
CLEARLY = 1e-3  # ours: a change that no rounding makes
GOLDEN = 0.6180339887  # its multiples modulo 1 are all different
SHOWN = 6  # ours: names in a message


class Rescaling:
    """A float64 copy of a model, tried by rescaling the weights of its modules (owners: module -> its trainable weights)."""

    def __init__(self, model: nn.Module, x: Tensor, owners: dict[str, list[str]]) -> None:
        self.model = _float64_probe(model)
        self.x = x.to(torch.float64) if x.is_floating_point() else x
        self.few = self.x[: FEW if x.dim() < 3 else FEW_IMAGES]
        parameters = dict(self.model.named_parameters())
        self.weights = {module: [parameters[n] for n in names] for module, names in owners.items()}
        self.owners = owners
        self._known: tuple[Tensor, Tensor] | None = None  # examples and the outputs on them

    def find_alone(self) -> dict[str, bool]:
        """Which modules are SI by themselves?

        Raises:
            LrscopeError: together they are not.
        """
        suspects = self._slopes(self.few)
        first = self._change(self.few, dict.fromkeys(self.weights, 3.0)) if any(suspects.values()) else 0.0
        if first > CLEARLY:
            self._refuse(suspects)
        if not self._change(self.x, dict.fromkeys(self.weights, 3.0)) < TOLERANCE:  # NaN included
            self._refuse(suspects)
        kept = [module for module, suspect in suspects.items() if not suspect]
        factors = {module: 2 + (i * GOLDEN) % 1 for i, module in enumerate(kept)}  # all different: none undoes another
        if self._change(self.x, factors) < TOLERANCE:
            return {module: not suspect for module, suspect in suspects.items()}
        return {module: self._change(self.x, {module: 3.0}) < TOLERANCE for module in self.weights}

    @torch.enable_grad()
    def _slopes(self, x: Tensor) -> dict[str, bool]:
        """Does the output move to first order when a module is rescaled? <theta, d<v, f>/d theta> for a random v, against
        what rounding leaves: one backward pass for all modules. A sure no to scale invariance; a yes has to be verified."""
        output = output_of(self.model, x)
        self._known = x, output.detach()
        cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        everything = [p for weights in self.weights.values() for p in weights]
        found = iter(
            torch.autograd.grad((output * cotangent).sum(), everything, materialize_grads=True)
            if output.requires_grad
            else [torch.zeros_like(p) for p in everything]
        )
        suspects = {}
        for module, weights in self.weights.items():
            pairs = [(p.detach(), next(found)) for p in weights]
            slope = sum(float((p * g).sum()) for p, g in pairs)
            size = sum(float(p.norm() * g.norm()) for p, g in pairs)
            suspects[module] = abs(slope) > TOLERANCE * size
        return suspects

    @torch.no_grad()
    def _change(self, x: Tensor, factors: dict[str, float]) -> float:
        """Relative change of the outputs when modules are multiplied by their factors (restored afterwards)."""
        reference = self._reference(x)
        saved = [(p, p.clone()) for module in factors for p in self.weights[module]]
        for module, factor in factors.items():
            for p in self.weights[module]:
                p.mul_(factor)
        change = (output_of(self.model, x) - reference).norm() / reference.norm()
        for p, old in saved:
            p.copy_(old)
        return float(change)

    def _reference(self, x: Tensor) -> Tensor:
        """Outputs on x as it is."""
        if self._known is None or self._known[0] is not x:
            self._known = x, output_of(self.model, x)
        return self._known[1]

    def _refuse(self, suspects: dict[str, bool]) -> None:
        guilty = [n for m, suspect in suspects.items() if suspect for n in ([m] if m else self.owners[m])]
        if not guilty:
            raise LrscopeError(
                "model: it cannot be made scale-invariant: outputs change when all its weights are rescaled, though no "
                "layer's does alone to first order: use space whole (--space whole)"
            )
        raise LrscopeError(
            f"model: it cannot be made scale-invariant: outputs change when {listed(guilty)} is rescaled, so no norm "
            "layer undoes it: put a norm after it, or use space whole (--space whole)"
        )


def _float64_probe(model: nn.Module) -> nn.Module:
    """A float64 copy with the norms' eps near zero and weights moved off special initial values."""
    probe = copy.deepcopy(model).double().train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in probe.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.1 * noise * (parameter.std(correction=0) + 0.01))
    for module in probe.modules():
        if is_norm(module) and isinstance(getattr(module, "eps", None), float):
            setattr(module, "eps", 1e-30)  # noqa: B010 - a norm of unknown type
    return probe


def output_of(model: nn.Module, x: Tensor) -> Tensor:
    """The model's output on x; dropout, if any, draws the same every time and leaves the global generators as they were."""
    with seeded(0):
        output: Tensor = model(as_weights(x, model))
    return output


def listed(names: Iterable[str]) -> str:
    """The first names of many."""
    all_names = list(names)
    more = f" and {len(all_names) - SHOWN} more" if len(all_names) > SHOWN else ""
    return ", ".join(all_names[:SHOWN]) + more
