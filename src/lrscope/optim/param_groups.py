"""A param group's spheres: what it says about them (`sphere`, `radius`, `hyperball`), read and checked when it is added.

These keys are in the param group itself, so that `state_dict` keeps them: a resumed run goes on with the same radii.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lrscope.errors import LrscopeError, shown
from lrscope.optim.spheres import GROUP, KINDS, ROW, norms, project

KEYS = ("sphere", "radius", "hyperball")
OFF = 'leave it off the sphere, in a param group with "sphere": None'


def is_held(group: Mapping[str, Any], tensor: Tensor) -> bool:
    """Does a tensor of a param group lie on a sphere? All of a `group` do, else those with two axes or more."""
    return group["sphere"] is not None and (group["sphere"] == GROUP or tensor.dim() > 1)


def held(group: Mapping[str, Any]) -> list[Tensor]:
    """The tensors of a param group that lie on spheres."""
    return [p for p in group["params"] if is_held(group, p)]


def count(tensors: Sequence[Tensor], kind: str) -> int:
    """How many spheres they lie on."""
    return 1 if kind == GROUP else sum(len(t) for t in tensors) if kind == ROW else len(tensors)


def radius_of(group: dict[str, Any], tensors: Sequence[Tensor]) -> Tensor:
    """The radii [S] where the tensors are now: a model may move to another device after its optimizer was made."""
    radius: Tensor = group["radius"]
    if radius.device != tensors[0].device:
        radius = group["radius"] = radius.to(tensors[0].device)
    return radius


@torch.no_grad()
def keep_norms(group: dict[str, Any]) -> None:
    """Bring the weights of a param group back to their spheres."""
    tensors = held(group)
    if tensors:
        project(tensors, group["sphere"], radius_of(group, tensors))


@torch.no_grad()
def settle(group: dict[str, Any], index: int, defaults: Mapping[str, Any]) -> None:
    """Read the keys of a new param group, fill in the defaults, and measure the radii; a radius that is given is taken up.

    Raises:
        LrscopeError: weights or options that no sphere can have.
    """
    for key in KEYS:
        group.setdefault(key, defaults[key])
    check_words(group, index)
    tensors = held(group)
    if not tensors:
        group["radius"] = torch.zeros(0)
        return
    check_tensors(group, index, tensors)
    check_decay(group, index)
    given = group["radius"]
    now_S = norms(tensors, group["sphere"])
    _check_norms(group, index, tensors, now_S)
    group["radius"] = now_S if given is None else _read_radius(given, now_S, index)
    project(tensors, group["sphere"], group["radius"])


def check_words(group: Mapping[str, Any], index: int) -> None:
    """Raise `LrscopeError` for options that are none, or that do not go together."""
    sphere = group["sphere"]
    if sphere is not None and sphere not in KINDS:
        raise LrscopeError(
            f"sphere: {shown(sphere)} of param group {index} is unknown: use 'group' for all its tensors together, 'matrix', "
            "'row', or None for no sphere"
        )
    if not isinstance(group["hyperball"], bool):
        raise LrscopeError(f"hyperball: {shown(group['hyperball'])} of param group {index} is neither True nor False")
    if group.get("differentiable"):
        raise LrscopeError(
            "differentiable: True cannot be used on a sphere, where weights change in place after the step: leave it out"
        )


def check_tensors(group: Mapping[str, Any], index: int, tensors: Sequence[Tensor]) -> None:
    """Raise `LrscopeError` for tensors that cannot be kept on a sphere."""
    for tensor in tensors:
        wrong = _wrong(tensor)
        if wrong:
            raise LrscopeError(f"params: {name_of(group, index, tensor)} {wrong}")
    for what, found in (("devices", {t.device for t in tensors}), ("types", {t.dtype for t in tensors})):
        if len(found) > 1:
            listed = " and ".join(sorted(map(str, found)))
            raise LrscopeError(
                f"params: the weights on spheres of param group {index} are of several {what} ({listed}): make a param group "
                "for each"
            )


def _wrong(tensor: Tensor) -> str:
    """Why a tensor cannot be on a sphere, and what to do; empty if it can."""
    if not tensor.requires_grad:
        return f"is frozen (requires_grad is False), so no step moves it: {OFF}"
    if not tensor.is_floating_point():
        return f"holds {tensor.dtype} instead of real floats: {OFF}"
    sharded = getattr(tensor, "device_mesh", None) is not None or type(tensor).__name__ == "FlatParameter"
    if tensor.is_meta or sharded:
        return (
            "is not here as a whole (a meta tensor, or sharded by FSDP), so its norm is not known: use "
            f"DistributedDataParallel, or {OFF}"
        )
    return ""


def check_decay(group: Mapping[str, Any], index: int) -> None:
    """Raise `LrscopeError` for weight decay where something lies on a sphere."""
    if group.get("weight_decay") and held(group):
        raise LrscopeError(
            f"weight_decay: {shown(group['weight_decay'])} of param group {index} cannot shrink weights whose norm is kept, it "
            'would only lengthen their steps: pass weight_decay=0, and give it to groups with "sphere": None alone'
        )


def _check_norms(group: Mapping[str, Any], index: int, tensors: Sequence[Tensor], now_S: Tensor) -> None:
    """Raise `LrscopeError` for weights that are zero or not finite: they have no direction."""
    if bool((torch.isfinite(now_S) & (now_S > 0)).all()):
        return
    kind = group["sphere"]
    for tensor in tensors:
        own = norms([tensor], kind)
        if not torch.isfinite(own).all():
            raise LrscopeError(
                f"params: {name_of(group, index, tensor)} holds NaN, infinity or numbers too large to be squared: initialise it "
                "anew"
            )
        if kind != GROUP and not own.all():
            zeros = "has rows of zeros" if kind == ROW else "is all zeros"
            raise LrscopeError(
                f"params: {name_of(group, index, tensor)} {zeros}, without a direction to keep a norm along: initialise it, or "
                + OFF
            )
    raise LrscopeError(f"params: all weights of param group {index} are zero and have no direction: {OFF}")


def _read_radius(given: Any, now_S: Tensor, index: int) -> Tensor:
    """Radii [S] from one number for all, or from as many as there are spheres."""
    try:
        radius = torch.as_tensor(given, dtype=now_S.dtype, device=now_S.device).detach()
        radius_S = radius.expand(len(now_S)).clone()
        right = bool((torch.isfinite(radius_S) & (radius_S > 0)).all())
    except (TypeError, ValueError, RuntimeError):
        right = False
    if not right:
        raise LrscopeError(
            f"radius: {shown(given)} of param group {index} is neither a number above 0 nor {len(now_S)} of them: leave it out "
            "for the norms that the weights have"
        )
    return radius_S


def check_step(groups: Iterable[Mapping[str, Any]]) -> None:
    """Raise `LrscopeError`, before a step, for gradients, weights or options that changed into what cannot be on a sphere."""
    for index, group in enumerate(groups):
        check_decay(group, index)
        for tensor in held(group):
            if tensor.grad is not None and tensor.grad.layout != torch.strided:
                raise LrscopeError(
                    f"params: {name_of(group, index, tensor)} has a sparse gradient, but its norm depends on all its weights: "
                    f"make the embedding with sparse=False, or {OFF}"
                )
            if not tensor.requires_grad and group["sphere"] == GROUP:
                raise LrscopeError(
                    f"params: {name_of(group, index, tensor)} was frozen, but keeping its group's norm would rescale it: "
                    "make the optimizer anew without it"
                )


def name_of(group: Mapping[str, Any], index: int, tensor: Tensor) -> str:
    """A weight in a message: its name where the optimizer was given names, else its place."""
    place = next(i for i, p in enumerate(group["params"]) if p is tensor)
    names = group.get("param_names")
    if names:
        return f"weight {names[place]!r}"
    return f"weight {place} of param group {index}, of shape {tuple(tensor.shape)},"
