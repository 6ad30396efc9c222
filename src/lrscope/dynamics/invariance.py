"""Making a network scale-invariant (SI) and verifying it (three_regimes, Sec. 4; after Lobacheva et al. 2021).

Recipe: the norms' affine parameters fixed at 1 and 0, the readout frozen at its random initialisation and rescaled to
Frobenius norm 10. What remains trainable is then SI, jointly and - layer by layer - in groups.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrscope.errors import LrscopeError
from lrscope.tasks.norms import is_norm, replace_batch_norms

READOUT_NORM = 10.0  # three_regimes, Sec. 4
TOLERANCE = 1e-7  # ours: float64 rounding of a deep net is below 1e-10, a missing norm shows at 1e-2


@dataclass(frozen=True)
class Split:
    """Which parameters train, and the SI groups among them: trainable name -> group name."""

    groups: dict[str, str]
    frozen: tuple[str, ...]
    scale_invariant: bool


def strip_affine(model: nn.Module) -> None:
    """Fix all norms' affine parameters at weight 1 and bias 0 by removing them (in place)."""
    for module in model.modules():
        if is_norm(module):
            for name in ("weight", "bias"):
                if module._parameters.get(name) is not None:
                    module._parameters[name] = None


def _has_weights(module: nn.Module) -> bool:
    """Has it, apart from its children, weights that no norm owns?"""
    return not is_norm(module) and any(p is not None for p in module._parameters.values())


def _output(model: nn.Module, x: Tensor) -> Tensor:
    """The model's output on x; dropout, if any, draws the same every time and leaves the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        output: Tensor = model(x)
    return output


def find_readout(model: nn.Module, x: Tensor) -> str:
    """Name of the last layer that a forward pass on x calls: a module with weights of its own and none in its children."""
    called: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in model.named_modules()
        if _has_weights(module) and not any(_has_weights(m) for m in module.modules() if m is not module)
    ]
    try:
        with torch.no_grad():
            _output(model, x)
    finally:
        for hook in hooks:
            hook.remove()
    if not called:
        raise LrscopeError("model: no layer with weights was called in its forward pass: nothing can be trained")
    return called[-1]


def make_scale_invariant(model: nn.Module, x: Tensor, *, readout_norm: float = READOUT_NORM) -> str:
    """Make `model` SI in place and return the readout's name. `x` [B, ...] is a batch that it takes.

    Batch norms must have been swapped before (`replace_batch_norms`). Verify with `split_groups`.
    """
    if not any(is_norm(m) for m in model.modules()):
        layers = [n or type(m).__name__ for n, m in model.named_modules() if _has_weights(m)]
        raise LrscopeError(
            f"model: it has no normalisation layer after {', '.join(layers)}, so it cannot be made scale-invariant: "
            "add norm layers, or use space whole (--space whole)"
        )
    strip_affine(model)
    readout = find_readout(model, x)
    layer = model.get_submodule(readout)
    matrices = [p for p in layer.parameters() if p.dim() > 1]
    with torch.no_grad():
        norm = torch.stack([p.norm() for p in matrices]).norm() if matrices else torch.zeros(())
        if not norm > 0:
            raise LrscopeError(
                f"model: its readout {readout or type(layer).__name__} is zero at initialisation, so it cannot be frozen "
                f"there at norm {readout_norm:g}: initialise it at random, or use space whole (--space whole)"
            )
        for matrix in matrices:
            matrix.mul_(readout_norm / norm)
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    return readout


def split_groups(model: nn.Module, x: Tensor) -> Split:
    """Find the SI groups of the trainable parameters and verify that together they are SI.

    A group is the parameters of one module if they are SI together; what is not SI by itself but SI in the whole
    forms the group "rest". Verified in float64 with the norms' eps at (almost) zero, by rescaling and comparing
    outputs on x [B, ...] in train mode.

    Raises:
        LrscopeError: the outputs change when all trainable weights are rescaled; names the layers that do it.
    """
    probe = _float64_probe(model)
    batch = x.to(torch.float64) if x.is_floating_point() else x
    trainable = {name: p for name, p in probe.named_parameters() if p.requires_grad}
    if not trainable:
        raise LrscopeError("model: nothing is left to train once its readout is frozen: add a hidden layer with a norm")
    owners: dict[str, list[str]] = {}
    for name in trainable:
        owners.setdefault(name.rpartition(".")[0], []).append(name)
    with torch.no_grad():
        reference = _output(probe, batch)
        alone = {
            module: _changed(probe, batch, reference, [trainable[n] for n in names]) < TOLERANCE
            for module, names in owners.items()
        }
        together = _changed(probe, batch, reference, list(trainable.values()))
    if not together < TOLERANCE:  # NaN included
        guilty = [module for module, good in alone.items() if not good]
        raise LrscopeError(
            f"model: it cannot be made scale-invariant: outputs change when {', '.join(guilty)} is rescaled, so no norm "
            "layer undoes it: put a norm after it, or use space whole (--space whole)"
        )
    groups = {n: (names[0] if alone[module] else "rest") for module, names in owners.items() for n in names}
    frozen = tuple(n for n, p in probe.named_parameters() if not p.requires_grad)
    return Split(groups=groups, frozen=frozen, scale_invariant=True)


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


def _changed(model: nn.Module, x: Tensor, reference: Tensor, parameters: list[Tensor], factor: float = 3.0) -> float:
    """Relative change of the outputs when `parameters` are multiplied by `factor` (restored afterwards)."""
    saved = [p.clone() for p in parameters]
    for p in parameters:
        p.mul_(factor)
    change = (_output(model, x) - reference).norm() / reference.norm()
    for p, old in zip(parameters, saved, strict=True):
        p.copy_(old)
    return float(change)


def prepare(model: nn.Module, x: Tensor, *, invariant: bool, readout_norm: float = READOUT_NORM) -> nn.Module:
    """Swap batch norms and, if asked, make the model SI (in place where possible); returns the model to train."""
    model = replace_batch_norms(model)
    if invariant:
        make_scale_invariant(model, x, readout_norm=readout_norm)
    return model


def conventional_split(model: nn.Module) -> Split:
    """All parameters train, each tensor its own group; nothing is claimed to be SI."""
    groups = {name: name for name, p in model.named_parameters() if p.requires_grad}
    if not groups:
        raise LrscopeError("model: it has no trainable parameters: nothing can be trained")
    frozen = tuple(n for n, p in model.named_parameters() if not p.requires_grad)
    return Split(groups=groups, frozen=frozen, scale_invariant=False)
