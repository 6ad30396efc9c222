"""Products of a mean loss's Hessian with vectors, and its largest eigenvalues.

Double backward with the first backward's graph kept: a product then costs 1.6 gradients (timed by hand on the ConvNet of
docs/measures.md, as all figures here). curvlinops' `HessianLinearOperator` takes these nets too and agrees to float32
rounding, but it builds forward and backward anew under vmap for each product, which took 3 times as long, and it comes
with seven other packages.

P parameters, K batches, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from lrscope.tasks.random_state import kept
from lrscope.tasks.streams import generator
from lrscope.terminal import warn

GRAPH_BYTES = 1 << 30  # ours: what a laptop can spare; batches beyond it build their graph for every product
BASIS = 12  # ours: enough Lanczos vectors for one eigenvalue that stands out; ARPACK restarts otherwise
LossOf = Callable[[Tensor, Tensor, Tensor], Tensor]


class _Attention(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes whether one of the fast attention kernels is called inside."""

    called = False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func` as it is."""
        self.called |= "scaled_dot_product" in str(func)
        return func(*args, **(kwargs or {}))


class Products:
    """v [P] to H v [P], with H the Hessian at `flat` [P] of the mean of loss(flat, x[k], y[k]) over k."""

    def __init__(self, loss: LossOf, flat: Tensor, x: Tensor, y: Tensor, *, graph_bytes: int = GRAPH_BYTES) -> None:
        self.loss = loss
        self.flat = flat.detach()
        self.examples = list(zip(x, y, strict=True))
        self.plain_attention = bool(self.examples) and self._uses_attention()
        if self.plain_attention:
            warn(
                "PyTorch's fast attention kernels have no second derivative: curvature is measured with its plain (math) "
                "kernel, which agrees with them to rounding",
            )
        self.saved = 0
        self.kept: list[tuple[Tensor, Tensor]] = []
        for examples in self.examples:
            if self.saved + self.saved // max(1, len(self.kept)) > graph_bytes:
                break
            self.kept.append(self._graph(*examples))

    def _uses_attention(self) -> bool:
        """Does the loss call a fast attention kernel? Asked of the first batch."""
        watch = _Attention()  # type: ignore[no-untyped-call]
        with torch.no_grad(), kept(), watch:
            self.loss(self.flat, *self.examples[0])
        return watch.called

    def _graph(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [P] and the gradient in them [P], which can be differentiated again."""
        seen: set[int] = set()

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                self.saved += storage.nbytes()
            return tensor

        kernels = sdpa_kernel(SDPBackend.MATH) if self.plain_attention else nullcontext()
        with torch.enable_grad(), saved_tensors_hooks(count, lambda tensor: tensor), kernels:
            free = self.flat.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.loss(free, x, y), free, create_graph=True)
        return free, gradient

    def __call__(self, vector: Tensor) -> Tensor:
        """H v [P] in float64; `vector` [P] is taken in the weights' precision."""
        vector = vector.to(self.flat)
        total = torch.zeros(len(self.flat), dtype=torch.float64, device=self.flat.device)
        for k, examples in enumerate(self.examples):
            free, gradient = self.kept[k] if k < len(self.kept) else self._graph(*examples)
            total += torch.autograd.grad(gradient, free, vector, retain_graph=k < len(self.kept))[0]
        return total / len(self.examples)


def top_eigenvalues(
    product: Callable[[Tensor], Tensor], size: int, *, top: int, tolerance: float, normal: Tensor | None
) -> np.ndarray:
    """The `top` largest eigenvalues, descending, of the symmetric operator v [P] to product(v) [P].

    normal: a unit vector [P], float64; the operator is then restricted to what is orthogonal to it.

    Returns NaN where the products are not finite or the iteration does not converge.
    """
    normal = None if normal is None else normal.cpu()

    def tangent(v: Tensor) -> Tensor:
        return v if normal is None else v - normal * (normal @ v)

    def multiply(v: np.ndarray) -> np.ndarray:
        found: np.ndarray = tangent(product(tangent(torch.from_numpy(v.reshape(-1).copy()))).cpu()).numpy()
        return found

    start = tangent(torch.randn(size, dtype=torch.float64, generator=generator("lanczos start"))).numpy()
    if not np.isfinite(start).all() or not np.isfinite(multiply(start)).all():
        return np.full(top, np.nan)
    operator = LinearOperator((size, size), matvec=multiply, dtype=np.float64)
    basis = min(size, max(2 * top + 1, BASIS))
    try:
        values = eigsh(operator, top, which="LA", v0=start, ncv=basis, tol=tolerance, return_eigenvectors=False)
    except ArpackNoConvergence as stopped:
        values = stopped.eigenvalues
    except ArpackError:
        values = np.empty(0)
    values = np.sort(values)[::-1]
    return np.concatenate([values, np.full(top - len(values), np.nan)])
