"""Running a model in float64 although its code says float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

SHORTER = (torch.float32, torch.float16, torch.bfloat16)


class InFloat64(TorchFunctionMode):
    """Inside, shorter floating types that the code names (`x.float()`, `dtype=torch.float32`, `torch.zeros(3)`) are float64.

    Nothing global changes: PyTorch's default type stays as it is.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func` with float64 in the place of shorter types, and lengthen what it returns all the same."""
        args, kwargs = tree_map(_longer_type, (args, dict(kwargs or {})))
        if func in (Tensor.float, Tensor.half, Tensor.bfloat16):
            func = Tensor.double
        return tree_map(_longer, func(*args, **kwargs))


def _longer_type(value: Any) -> Any:
    return torch.float64 if isinstance(value, torch.dtype) and value in SHORTER else value


def _longer(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.dtype in SHORTER else value
