"""Chunks of earlier versions, which packed statistics and the optimizer's state into a few arrays: read as if written today.

R runs, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lrscope.engine.state import AVERAGED, LOG, PRETRAINED

SCALARS = ("train_loss", "train_accuracy", "grad_norm", "effective_grad_norm", "test_loss", "test_accuracy", "norm")
GROUPS = ("group_norm", "group_elr", "group_effective_grad_norm", "group_ess")
EXAMPLES = ("example_group_loss", "example_group_accuracy", "example_group_true_accuracy")
FIXED = ("fixed_train_loss", "fixed_train_accuracy", "fixed_grad_norm")
AVERAGE = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
VALIDATION = ("validation_loss", "validation_accuracy")
PACKED = {  # an array of earlier versions -> what its last axis held
    "log_scalars": SCALARS,
    "log_groups": GROUPS,
    "log_examples": EXAMPLES,
    "fixed": FIXED,
    "validation": VALIDATION,
    "average_scalars": AVERAGE,
    "average_validation": VALIDATION,
}
RENAMED = {"features": "feature_accuracy", "average_features": "feature_accuracy", "average_weights": "weights"}


def by_name(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A chunk's tensors with every statistic and each part of the optimizer's state by itself."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        segment, dot, last = name.rpartition(".")
        finished = segment + dot
        start = finished or (AVERAGED if last.startswith(AVERAGED) else LOG)
        if last in PACKED and value.dim() and value.shape[-1] == len(PACKED[last]):
            found |= {start + word: value[..., i].contiguous() for i, word in enumerate(PACKED[last])}
        elif last in RENAMED and (finished or last.startswith(AVERAGED)):
            found[start + RENAMED[last]] = value
        else:
            found[name] = value
    _join_norm(found)
    for start in ("", PRETRAINED):
        _split_moments(found, start)
    return found


def _split_moments(found: dict[str, Tensor], start: str) -> None:
    """The optimizer's state, which was one tensor: Adam's [R, 2 P + 1] both moments and the steps; without momentum a zero."""
    weights, velocity = found.get(start + "weights"), found.get(start + "velocity")
    if weights is None or velocity is None or velocity.shape == weights.shape:
        return
    if not velocity.dim():
        del found[start + "velocity"]
    elif velocity.dim() == 2 and velocity.shape[1] == 2 * weights.shape[1] + 1:
        size = weights.shape[1]
        del found[start + "velocity"]
        found[start + "first_moment"] = velocity[:, :size].contiguous()
        found[start + "second_moment"] = velocity[:, size:-1].contiguous()
        found[start + "steps"] = velocity[:, -1].contiguous()


def _join_norm(found: dict[str, Tensor]) -> None:
    """The effective gradient norm of the separate pass, which was put together from two arrays."""
    for name in [name for name in found if name.endswith(".norm")]:
        segment = name.removesuffix("norm")
        norm = found.pop(name)
        if segment + "fixed_grad_norm" in found:
            found[segment + "fixed_effective_grad_norm"] = found[segment + "fixed_grad_norm"] * norm[-1]
    found.pop(LOG + "norm", None)
