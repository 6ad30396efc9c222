"""How sharp is the landscape where a run stands? Gradient norms, Fisher trace, Hessian eigenvalues (docs/measures.md).

All of them in train mode, batch norms with the statistics of the mini-batch: the function that was trained. An SI net's
measures are *effective* (three_regimes, Sec. 3.1): taken at weights of total norm 1. With F(c theta) = F(theta) the
gradient is rho times, what is quadratic in it rho^2 times that at total norm rho. Nets that are not SI have no such
norm; their measures are plain ones, and differ between weights that compute the same function.

P parameters, K batches, B batch, C outputs, D draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lrscope.checked import Count, Positive, Seed, checked
from lrscope.engine.program import Program
from lrscope.engine.step import Named
from lrscope.errors import LrscopeError
from lrscope.measures.common import evaluation, one_run, outputs, undisturbed
from lrscope.measures.curvature import Products, top_eigenvalues
from lrscope.tasks.losses import Loss, binary_cross_entropy, cross_entropy, mean_squared_error
from lrscope.tasks.streams import generator
from lrscope.trained import State, Trained

MEASURES = ("grad_norm", "grad_trace", "fisher_trace", "hessian")
DRAWS = 2  # ours: with all batches of a study of 4,000 examples a standard error of a few percent (docs/measures.md)
HESSIAN_BATCHES = 16  # ours: top-1 within 10 s and a few percent of all batches' (docs/measures.md)
TOLERANCE = 1e-3  # ours: far below what the choice of batches changes


@checked
def of(
    trained: Trained,
    state: State,
    *,
    data_seed: Seed | None = None,
    measures: Sequence[str] = MEASURES,
    batches: Count | None = None,
    fisher_batches: Count | None = None,
    fisher_draws: Count | None = DRAWS,
    hessian_batches: Count | None = HESSIAN_BATCHES,
    hessian_top: Count = 1,
) -> dict[str, float]:
    """The asked measures of a stored state.

    Args:
        measures: some of `grad_norm` (eq. 28), `grad_trace` (eq. 29), `fisher_trace`, `hessian`.
        batches, fisher_batches, hessian_batches: over how many training batches, spread evenly; None is all.
        fisher_draws: see `fisher_trace`.
        hessian_top: how many of the largest Hessian eigenvalues.

    Returns:
        `effective` (1.0 for an SI net, whose values are effective ones, else 0.0) and of what was asked `grad_norm`,
        `grad_trace`, `fisher_trace` with its standard error `fisher_trace_error`, `hessian_1` ... from the largest down.
        All NaN where the weights or a gradient are not finite.

    Raises:
        LrscopeError: an unknown measure; a Fisher trace under a loss that is no likelihood.
    """
    unknown = [m for m in measures if m not in MEASURES]
    if unknown:
        raise LrscopeError(f"measures: {unknown[0]!r} is unknown: choose some of {', '.join(MEASURES)}")
    program, material = evaluation(trained, state, data_seed)
    found = {"effective": float(program.net.scale_invariant)}
    if "grad_norm" in measures or "grad_trace" in measures:
        norms = gradient_norms(program, state.weights, state.frozen, *material.batches(batches))
        both = {"grad_norm": float(norms.mean()), "grad_trace": float(norms.square().mean())}
        found |= {name: value for name, value in both.items() if name in measures}
    if "fisher_trace" in measures:
        trace, error = fisher_trace(
            program, state.weights, state.frozen, *material.batches(fisher_batches), draws=fisher_draws
        )
        found |= {"fisher_trace": trace, "fisher_trace_error": error}
    if "hessian" in measures:
        values = hessian_eigenvalues(
            program, state.weights, state.frozen, *material.batches(hessian_batches), top=hessian_top
        )
        found |= {f"hessian_{i + 1}": float(value) for i, value in enumerate(values)}
    return found


def radius(program: Program, weights_1P: Tensor) -> float:
    """rho, by which gradients become effective: the total weight norm of an SI net, 1 for any other."""
    return float(one_run(weights_1P).double().norm()) if program.net.scale_invariant else 1.0


@checked
def gradient_norms(program: Program, weights_1P: Tensor, frozen: Named, x: Tensor, y: Tensor) -> Tensor:
    """Effective norms [K], float64, of the gradients of the mini-batches x [K, B, ...], y [K, B].

    Their mean is three_regimes, eq. 28, the mean of their squares eq. 29: the trace of the uncentred covariance matrix of
    stochastic gradients. Both depend on B: with small batches noise adds to the full gradient. Unit: nat (per unit
    sphere) for SI nets, else nat per weight.
    """
    one_run(weights_1P)
    rho = radius(program, weights_1P)
    norms = torch.zeros(len(x), dtype=torch.float64)
    with undisturbed(program.net, "gradient norms"):
        program.net.module.train()
        for k, (xb, yb) in enumerate(zip(x, y, strict=True)):
            gradient, _, _ = program.gradients(weights_1P, frozen, xb[None], yb[None])
            norms[k] = rho * gradient.double().norm()
    return norms


@checked
def fisher_trace(
    program: Program,
    weights_1P: Tensor,
    frozen: Named,
    x: Tensor,
    y: Tensor,
    *,
    draws: Count | None = DRAWS,
) -> tuple[float, float]:
    """Effective trace of the Fisher information matrix on batches x [K, B, ...], y [K, B]: (estimate, standard error).

    tr F = E_x E_{c ~ p(c|x)} |grad log p(c|x)|^2, labels from the model, not from the data (three_regimes, App. B). In train
    mode a batch X predicts its labels together, p(c|X) = prod_i p(c_i|X), each factor depending on the whole batch through
    the norms; scores of different examples are uncorrelated, so tr F is the mean over i of E |grad log p(c_i|X)|^2. A net
    without batch norm has the usual Fisher matrix, example by example.

    Sampled labels would be a bad estimate where training ended: the trace of a net that is sure of its answers comes from
    classes that are hardly ever drawn. So classes are summed exactly: with S S^T = diag(p) - p p^T per example and J the
    Jacobian of the batch's outputs, B tr F = |J^T S|_F^2, estimated without bias by |J^T S r|^2 with random signs r
    (Hutchinson), one backward pass a draw.

    Args:
        draws: sign vectors r for every batch, from a stream of their own; None computes B C products a batch instead of
            drawing, without error.

    Returns:
        The trace and its standard error over batches (the batches' own differences included; NaN for a single batch). Unit:
        nat^2 for SI nets, else nat^2 per weight^2.

    Raises:
        LrscopeError: the loss is the user's own function, of which no likelihood is known.
    """
    flat = one_run(weights_1P)
    factor = _factor(program)
    net, rho = program.net, radius(program, weights_1P)
    signs = generator("fisher signs")
    traces = torch.zeros(len(x), dtype=torch.float64)
    with undisturbed(net, "fisher trace"), torch.enable_grad():
        net.module.train()
        for k, xb in enumerate(x):
            free = flat.detach().clone().requires_grad_()
            out = outputs(program, free, frozen, xb)
            out = out.reshape(len(xb), -1)
            fixed = out.detach()
            if draws is None:
                vectors = torch.eye(out.numel(), dtype=torch.float64).view(-1, *out.shape)
            else:
                vectors = torch.randint(0, 2, (draws, *out.shape), generator=signs, dtype=torch.float64) * 2 - 1
            squares = 0.0
            for vector in vectors.to(out):
                (product,) = torch.autograd.grad(out, free, factor(fixed, vector), retain_graph=True)
                squares += float(product.double().square().sum())
            traces[k] = rho**2 * squares / (len(xb) * (1 if draws is None else draws))
    return float(traces.mean()), float(traces.std() / math.sqrt(len(traces))) if len(traces) > 1 else math.nan


def _factor(program: Program) -> Callable[[Tensor, Tensor], Tensor]:
    """(outputs [B, C], r [B, C]) to S r [B, C] with S S^T the Fisher matrix of an example's outputs, by loss."""

    def softmax(out: Tensor, r: Tensor) -> Tensor:
        p = torch.softmax(out, 1)
        root = p.sqrt()
        return root * r - p * (root * r).sum(1, keepdim=True)

    def sigmoid(out: Tensor, r: Tensor) -> Tensor:
        p = torch.sigmoid(out)
        return (p * (1 - p)).sqrt() * r

    def gaussian(out: Tensor, r: Tensor) -> Tensor:  # the loss is -log p of a Gaussian with variance C / 2
        return r * math.sqrt(2 / out.shape[1])

    known: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
        cross_entropy: softmax,
        binary_cross_entropy: sigmoid,
        mean_squared_error: gaussian,
    }
    found = known.get(program.loss)
    if found is None:
        raise LrscopeError(
            "measures: 'fisher_trace' needs a loss that is a likelihood, and this one is a function of your own: leave it out, "
            "or train with cross_entropy, binary_cross_entropy or mse"
        )
    return found


@checked
def hessian_eigenvalues(
    program: Program,
    weights_1P: Tensor,
    frozen: Named,
    x: Tensor,
    y: Tensor,
    *,
    top: Count = 1,
    tolerance: Positive = TOLERANCE,
) -> np.ndarray:
    """The `top` largest effective Hessian eigenvalues, descending, of the mean loss over x [K, B, ...], y [K, B].

    For an SI net F, H(theta / rho) = rho^2 H(theta), and differentiating <theta, grad F> = 0 gives H theta = -grad F: the
    weights' own direction has curvature 0 but mixes with the others wherever the gradient is not 0. The eigenvalues are
    those of rho^2 P H P with P the projection orthogonal to theta: the second derivatives along great circles of the
    unit sphere (its Riemannian Hessian, because the radial derivative is 0). At stationary points, and by Cauchy's
    interlacing never far from them, they are those of rho^2 H. A net that is not SI has the plain H.

    Lanczos iteration (ARPACK) from a fixed start to the relative `tolerance`; NaN for what did not converge. Unit: nat for
    SI nets, else nat per weight^2.

    Raises:
        LrscopeError: `top` is below 1 or not below the number of parameters.
    """
    flat = one_run(weights_1P)
    if not 1 <= top < len(flat):
        raise LrscopeError(
            f"hessian_top: {top} eigenvalues of {len(flat)} parameters: choose 1 or more, but fewer than all"
        )
    net = program.net
    with undisturbed(net, "hessian"), torch.enable_grad():
        net.module.train()

        def loss(free: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
            return program.loss(outputs(program, free, frozen, xb), yb).mean()

        products = Products(loss, flat, x, y)
        normal = flat.double() / flat.double().norm() if net.scale_invariant else None
        values = top_eigenvalues(products, len(flat), top=top, tolerance=tolerance, normal=normal)
    return radius(program, weights_1P) ** 2 * values
