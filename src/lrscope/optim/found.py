"""From a model's scale symmetries to the param groups of an optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from torch import Tensor, nn

from lrscope.checked import checked
from lrscope.errors import LrscopeError
from lrscope.optim.spheres import GROUP, MATRIX, ROW
from lrscope.readers import Word
from lrscope.symmetries.types import GROUP as JOINT
from lrscope.symmetries.types import INVARIANT, Symmetries, Symmetry
from lrscope.wrappers import named_parameters

TENSOR, CHANNEL, NETWORK = "tensor", "channel", "network"


@checked
def sphere_groups(
    model: nn.Module, found: Symmetries, *, per: Annotated[str, Word((TENSOR, CHANNEL, NETWORK))] = TENSOR
) -> list[dict[str, Any]]:
    """Param groups for `SphereSGD` or for an optimizer that `OnSphere` is given: scale-invariant weights on spheres, others not.

    Weights that are scale-invariant by themselves are in one param group. Each found group of weights that are so together
    follows with a sphere of its own. The last param group has all others, on no sphere: give it a learning rate and a weight
    decay of its own there. Weights on spheres have weight decay 0. Every param group names its weights (`param_names`).

    Args:
        model: the one in which the symmetries were found, or a wrapper of it (`torch.compile`, DDP).
        found: what `find_symmetries` returns for it in train mode. Rescaling pairs, and groups with powers other than 1, are on
            no sphere: a fixed norm would change what such a network can compute.
        per: what keeps its norm: each `tensor`, each output `channel` where channels are scale-invariant by themselves, or all
            scale-invariant weights of the `network` together, as in the sweeps of lrscope.

    Raises:
        LrscopeError: symmetries of another model, or none that is of use.
    """
    weights = {name: p for name, p in named_parameters(model) if p.requires_grad}
    single, joint = _names(found)
    unknown = [name for name in (*single, *(n for names in joint for n in names)) if name not in weights]
    if unknown:
        raise LrscopeError(
            f"found: weight {unknown[0]!r} is not one that trains in this {type(model).__name__}: pass what "
            "find_symmetries(model, batch) returns for this very model"
        )
    groups = _grouped(weights, single, joint, per)
    if not groups:
        raise LrscopeError(
            f"found: nothing in this {found.model} is scale-invariant, so no norm can be kept without changing what it computes: "
            "OnSphere(optimizer, sphere='matrix') does so all the same"
        )
    there = {name for group in groups for name, _ in group["params"]}
    rest = [(name, p) for name, p in weights.items() if name not in there]
    return [*groups, *([{"params": rest, "sphere": None}] if rest else [])]


def _names(found: Symmetries) -> tuple[dict[str, Symmetry], list[list[str]]]:
    """Weights that are scale-invariant by themselves, and groups of such that are so together; no weight is in two."""
    single = {one.parts[0].tensor: one for one in found.of(INVARIANT) if one.train and one.parts[0].start is None}
    taken, joint = set(single), []
    for one in found.of(JOINT):
        names = [part.tensor for part in one.parts]
        plain = all(part.power == 1 and part.start is None for part in one.parts)
        if one.train and plain and len(set(names)) == len(names) and not taken & set(names):
            taken |= set(names)
            joint.append(names)
    return single, joint


def _grouped(
    weights: Mapping[str, Tensor], single: dict[str, Symmetry], joint: list[list[str]], per: str
) -> list[dict[str, Any]]:
    """Param groups of the weights on spheres."""
    if per == NETWORK:
        return _group([*single, *(name for names in joint for name in names)], weights, GROUP)
    by_row = {name for name, one in single.items() if per == CHANNEL and one.channels and one.parts[0].axis == 0}
    kinds = {name: ROW if name in by_row else MATRIX if weights[name].dim() > 1 else GROUP for name in single}
    return [
        *_group([name for name, kind in kinds.items() if kind == MATRIX], weights, MATRIX),
        *_group([name for name, kind in kinds.items() if kind == ROW], weights, ROW),
        *(group for name, kind in kinds.items() if kind == GROUP for group in _group([name], weights, GROUP)),
        *(group for names in joint for group in _group(names, weights, GROUP)),
    ]


def _group(names: list[str], weights: Mapping[str, Tensor], kind: str) -> list[dict[str, Any]]:
    """One param group, none for no weights."""
    params = [(name, weights[name]) for name in names]
    return [{"params": params, "sphere": kind, "weight_decay": 0.0}] if params else []
