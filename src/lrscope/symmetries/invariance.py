"""Making a network scale-invariant (SI) and verifying it (three_regimes, Sec. 4; after Lobacheva et al. 2021).

Recipe: the norms' affine parameters fixed at 1 and 0, the readout frozen at its random initialisation and rescaled to
Frobenius norm 10. What remains trainable is then SI, jointly and - layer by layer - in groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_weight_norm
from torch.nn.utils.weight_norm import WeightNorm

from lrscope.errors import LrscopeError, listed
from lrscope.symmetries.partition import Partition, partition
from lrscope.tasks.norms import affine_can_go, is_norm, replace_batch_norms
from lrscope.tasks.outputs import as_weights
from lrscope.tasks.random_state import seeded

READOUT_NORM = 10.0  # three_regimes, Sec. 4


@dataclass(frozen=True)
class Split:
    """Which parameters train, and the SI groups among them: trainable name -> group name."""

    groups: dict[str, str]
    frozen: tuple[str, ...]
    scale_invariant: bool


def strip_affine(model: nn.Module) -> None:
    """Fix all norms' affine parameters (in place): at weight 1 and bias 0 by removing them; those of a subclass, which may
    mean something else by them, where they are."""
    for module in model.modules():
        if is_norm(module):
            for name in ("weight", "bias"):
                parameter = module._parameters.get(name)
                if parameter is not None and affine_can_go(module):
                    module._parameters[name] = None
                elif parameter is not None:
                    parameter.requires_grad_(False)


def _has_weights(module: nn.Module) -> bool:
    """Has it, apart from its children, weights that no norm owns? Parametrised weights are the layer's own."""
    own = any(p is not None for p in module._parameters.values()) or parametrize.is_parametrized(module)
    return own and not is_norm(module)


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that a weight can belong to, by name: all but what only makes another one's weights."""
    inner = {m for module in model.modules() if parametrize.is_parametrized(module) for m in _parametrizations(module)}
    return {name: module for name, module in model.named_modules() if module not in inner}


def _parametrizations(module: nn.Module) -> Iterator[nn.Module]:
    found = module.parametrizations
    assert isinstance(found, nn.Module)
    return found.modules()


def find_readout(model: nn.Module, x: Tensor) -> str:
    """Name of the last layer that a forward pass on x calls: a module with weights of its own and none in its children."""
    called: list[str] = []
    layers = _layers(model)
    weighty = {module for module in layers.values() if _has_weights(module)}
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in layers.items()
        if module in weighty and not any(m in weighty for m in module.modules() if m is not module)
    ]
    try:
        with torch.no_grad(), seeded(0):
            model(as_weights(x, model))
    finally:
        for hook in hooks:
            hook.remove()
    if not called:
        raise LrscopeError("model: no layer with weights was called in its forward pass: nothing can be trained")
    return called[-1]


def make_scale_invariant(
    model: nn.Module, x: Tensor, *, readout_norm: float = READOUT_NORM, readout: str | None = None
) -> str:
    """Make `model` SI in place and return the readout's name. `x` [B, ...] is a batch that it takes; `readout` its last
    layer, where that is known already.

    Batch norms must have been swapped before (`replace_batch_norms`). Verify with `split_groups`.

    Raises:
        LrscopeError: no norm at all, a readout that is zero or shares its weights.
    """
    if not any(is_norm(m) for m in model.modules()):
        layers = [n or type(m).__name__ for n, m in _layers(model).items() if _has_weights(m)]
        raise LrscopeError(
            f"model: it has no normalisation layer after {listed(layers)}, so it cannot be made scale-invariant: "
            "add norm layers, or use space whole (--space whole)"
        )
    strip_affine(model)
    readout = find_readout(model, x) if readout is None else readout
    layer = model.get_submodule(readout)
    _settle(layer)
    said = readout or type(layer).__name__
    _refuse_shared(model, layer, said)
    matrices = [p for p in layer.parameters() if p.dim() > 1]
    with torch.no_grad():
        norm = torch.stack([p.norm() for p in matrices]).norm() if matrices else torch.zeros(())
        if not norm > 0:
            _refuse_zero(model, layer, said, x, readout_norm)
        for matrix in matrices:
            matrix.mul_(readout_norm / norm)
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    return readout


def _settle(layer: nn.Module) -> None:
    """Replace weights that are computed from others (weight norm and other parametrisations) by their values (in place): of
    a layer that will be frozen nothing else is needed, and only the weight itself can be scaled."""
    if parametrize.is_parametrized(layer):
        names = layer.parametrizations
        assert isinstance(names, nn.ModuleDict)
        for name in list(names):
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
    for hook in list(layer._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(layer, hook.name)


def _refuse_shared(model: nn.Module, layer: nn.Module, said: str) -> None:
    """Refuse to freeze and scale weights that another layer trains."""
    own = {id(p) for p in layer.parameters()}
    inside = set(layer.modules())
    others = [
        n for n, m in model.named_modules() if m not in inside and any(id(p) in own for p in m._parameters.values())
    ]
    if others:
        raise LrscopeError(
            f"model: its readout {said} shares its weights with {listed(others)}, which would be frozen with it: give it "
            "weights of its own, or use space whole (--space whole)"
        )


def _refuse_zero(model: nn.Module, layer: nn.Module, said: str, x: Tensor, readout_norm: float) -> None:
    """Refuse a readout that cannot be frozen at a norm, unless there is more that has to be changed: weights are tried off
    their initial values, so that zeros hide nothing."""
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    split_groups(model, x)
    raise LrscopeError(
        f"model: its readout {said} is zero at initialisation, so it cannot be frozen there at norm {readout_norm:g}: "
        "initialise it at random (nn.init.xavier_uniform_ on its weight), or use space whole (--space whole)"
    )


def split_groups(model: nn.Module, x: Tensor) -> Split:
    """Divide the trainable parameters into SI groups, the smallest that can be found, and verify each by rescaling.

    Searched in float64 with the norms' eps next to nothing, on x [B, ...] in train mode (`partition`). A parameter without
    effect, such as a bias before a batch norm, is in the group of its layer. A group is called after its first parameter, with
    the number of others where they belong to several layers.

    Raises:
        LrscopeError: outputs change when all trainable weights are rescaled; names the layers that do it, and what is SI.
    """
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    if not names:
        raise LrscopeError("model: nothing is left to train once its readout is frozen: add a hidden layer with a norm")
    found = partition(model, x, lambda probe, batch: probe(as_weights(batch, probe)))
    if found.others:
        _refuse(found, len(names))
    groups = {name: _group_name(group) for group in found.groups for name in group}
    by_layer = {_layer(name): group for name, group in reversed(groups.items())}
    for name in found.without_effect:
        groups[name] = by_layer.setdefault(_layer(name), name)
    frozen = tuple(n for n, p in model.named_parameters() if not p.requires_grad)
    return Split(groups=groups, frozen=frozen, scale_invariant=True)


def _layer(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _group_name(parameters: Sequence[str]) -> str:
    more = len(parameters) - 1
    several = len({_layer(name) for name in parameters}) > 1
    return f"{parameters[0]} and {more} other{'s' if more > 1 else ''}" if several else parameters[0]


def _refuse(found: Partition, count: int) -> None:
    guilty = dict.fromkeys(_layer(name) or name for name in found.others)
    fine = [name for group in found.groups for name in group]
    part = f", only {len(fine)} of its {count} weight tensors can be rescaled ({listed(fine)})" if fine else ""
    raise LrscopeError(
        f"model: it cannot be made scale-invariant{part}: outputs change when {listed(guilty)} is rescaled, so no norm layer "
        "undoes it: put a norm after it, or use space whole (--space whole)"
    )


def prepare(
    model: nn.Module, x: Tensor, *, invariant: bool, readout_norm: float = READOUT_NORM, readout: str | None = None
) -> nn.Module:
    """Swap batch norms and, if asked, make the model SI (in place where possible); returns the model to train. See
    `make_scale_invariant`."""
    model = replace_batch_norms(model)
    if invariant:
        make_scale_invariant(model, x, readout_norm=readout_norm, readout=readout)
    return model


def conventional_split(model: nn.Module) -> Split:
    """All parameters train, each tensor its own group; nothing is claimed to be SI."""
    groups = {name: name for name, p in model.named_parameters() if p.requires_grad}
    if not groups:
        raise LrscopeError("model: it has no trainable parameters: nothing can be trained")
    frozen = tuple(n for n, p in model.named_parameters() if not p.requires_grad)
    return Split(groups=groups, frozen=frozen, scale_invariant=False)
