"""Sharpness against dense float64 references, under rescaling, and with what it leaves behind."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lrscope.errors import LrscopeError
from lrscope.measures import sharpness
from lrscope.measures.curvature import Products, top_eigenvalues
from lrscope.tasks.models import MLP
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from measured import OneRun, Place, convnet, mlp, place
from tiny_tasks import drawn, examples

PLACES = {
    "mlp with batch norm": lambda: place(mlp()),
    "mlp with layer norm": lambda: place(mlp("layer")),
    "convnet": lambda: place(convnet(), batch_size=24),
    "batched path": lambda: place(mlp(), path="batched"),
    "not SI": lambda: place(mlp(), space="whole"),
}


@pytest.fixture(scope="module", params=PLACES)
def at(request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param]()


def outputs_of(at: Place, flat: Tensor, x: Tensor) -> Tensor:
    """Written out: parameters by name, the module in train mode."""
    named = {s.name: flat[s.start : s.stop].view(s.shape) for s in at.program.net.slots}
    at.program.net.module.train()
    found: Tensor = functional_call(at.program.net.module, {**named, **{n: f[0] for n, f in at.frozen.items()}}, (x,))
    return found


def loss_of(at: Place, flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs_of(at, flat, x), y)


def rho(at: Place) -> float:
    return float(at.weights.norm()) if at.program.net.scale_invariant else 1.0


def dense_hessian(at: Place) -> Tensor:
    """All second derivatives of the mean loss, times rho^2; an SI net's orthogonal to its weights."""
    x, y = at.batches

    def mean(flat: Tensor) -> Tensor:
        return torch.stack([loss_of(at, flat, xb, yb) for xb, yb in zip(x, y, strict=True)]).mean()

    hessian = torch.autograd.functional.hessian(mean, at.weights[0], vectorize=True)
    if at.program.net.scale_invariant:
        unit = at.weights[0] / at.weights[0].norm()
        projection = torch.eye(len(unit), dtype=torch.float64) - torch.outer(unit, unit)
        hessian = projection @ hessian @ projection
    return rho(at) ** 2 * hessian


def brute_fisher(at: Place) -> float:
    """E_x sum_c p(c|x) |grad log p(c|x)|^2, one example and one class at a time."""
    total, count = 0.0, 0
    for xb in at.batches[0]:
        for i in range(len(xb)):
            for c in range(3):
                flat = at.weights[0].clone().requires_grad_()
                log_p = torch.log_softmax(outputs_of(at, flat, xb)[i], 0)[c]
                (gradient,) = torch.autograd.grad(log_p, flat)
                total += float(log_p.detach().exp() * gradient.square().sum())
            count += 1
    return rho(at) ** 2 * total / count


def test_gradient_norms_are_those_of_the_mini_batches(at: Place) -> None:
    found = sharpness.gradient_norms(at.program, at.weights, at.frozen, *at.batches)
    for k, (xb, yb) in enumerate(zip(*at.batches, strict=True)):
        flat = at.weights[0].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(at, flat, xb, yb), flat)
        assert float(found[k]) == pytest.approx(rho(at) * float(gradient.norm()), rel=1e-10)


@pytest.mark.slow
def test_hessian_eigenvalues_are_those_of_the_dense_matrix(at: Place) -> None:
    dense = torch.linalg.eigvalsh(dense_hessian(at)).numpy()[::-1]
    found = sharpness.hessian_eigenvalues(at.program, at.weights, at.frozen, *at.batches, top=3, tolerance=1e-10)
    assert found == pytest.approx(dense[:3], rel=1e-8)
    assert dense[0] > 1.02 * dense[1]  # eigenvalues that can be mixed up


def test_the_default_tolerance_is_what_it_says(at: Place) -> None:
    exact = sharpness.hessian_eigenvalues(at.program, at.weights, at.frozen, *at.batches, tolerance=1e-10)
    assert sharpness.hessian_eigenvalues(at.program, at.weights, at.frozen, *at.batches) == pytest.approx(
        exact, rel=sharpness.TOLERANCE
    )


def test_exact_fisher_trace_is_the_sum_over_examples_and_classes(at: Place) -> None:
    trace, _ = sharpness.fisher_trace(at.program, at.weights, at.frozen, *at.batches, draws=None)
    assert trace == pytest.approx(brute_fisher(at), rel=1e-10)


def test_drawn_fisher_trace_is_unbiased_and_knows_its_error(at: Place) -> None:
    """Each batch's draws are compared with its own exact trace: 5 standard errors of the mean of 400 draws."""
    x, y = (t[:1] for t in at.batches)
    exact, _ = sharpness.fisher_trace(at.program, at.weights, at.frozen, x, y, draws=None)
    many = x.expand(400, *x.shape[1:]), y.expand(400, *y.shape[1:])
    trace, error = sharpness.fisher_trace(at.program, at.weights, at.frozen, *many, draws=1)
    assert abs(trace - exact) < 5 * error
    assert error < 0.1 * exact


def test_the_fisher_trace_does_not_look_at_the_labels(at: Place) -> None:
    x, y = at.batches
    once = sharpness.fisher_trace(at.program, at.weights, at.frozen, x, y)
    assert sharpness.fisher_trace(at.program, at.weights, at.frozen, x, (y + 1) % 3) == once


@pytest.mark.parametrize("factor", [4.0, 0.3])
def test_effective_measures_do_not_know_the_weight_norm(at: Place, factor: float) -> None:
    if not at.program.net.scale_invariant:
        at = place(mlp())
    one = sharpness.of(OneRun(at), at.state, hessian_top=2)
    other = sharpness.of(OneRun(at.scaled(factor)), at.scaled(factor).state, hessian_top=2)
    assert one.keys() == other.keys() >= {"grad_norm", "grad_trace", "fisher_trace", "hessian_1", "hessian_2"}
    for name, value in one.items():
        # Scaling by 4 is exact in binary, and everything after it: the same bits; eigenvalues are cut off at a tolerance.
        assert other[name] == pytest.approx(value, rel=1e-12 if factor == 4.0 else 1e-8), name


def test_a_net_that_is_not_invariant_gets_plain_measures() -> None:
    at = place(mlp(), space="whole")
    assert sharpness.of(OneRun(at), at.state, measures=["grad_norm"])["effective"] == 0
    assert sharpness.radius(at.program, at.weights) == 1


def test_two_formulas_of_the_paper() -> None:
    at = place(mlp())
    found = sharpness.of(OneRun(at), at.state, measures=["grad_norm", "grad_trace"])
    norms = sharpness.gradient_norms(at.program, at.weights, at.frozen, *at.batches)
    assert set(found) == {"effective", "grad_norm", "grad_trace"}
    assert found["grad_norm"] == float(norms.mean())
    assert found["grad_trace"] == float((norms**2).mean()) > found["grad_norm"] ** 2


def test_the_logged_pass_measures_the_same_gradients() -> None:
    """`fixed_effective_grad_norm` of a result is this measure."""
    at = place(mlp())
    logged = at.material.fixed_pass(at.program, at.weights, at.frozen)[0, 2] * at.weights.norm()
    assert sharpness.of(OneRun(at), at.state, measures=["grad_norm"])["grad_norm"] == pytest.approx(float(logged))


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mse"])
def test_fisher_trace_of_other_likelihoods(loss: str) -> None:
    """Against the definition: the mean over sampled targets of the squared score, for one logit and for two outputs."""
    one = loss == "binary_cross_entropy"
    x, label = examples(48, (4,))
    y = (label > 0).long() if one else torch.stack([x[:, 0], x[:, 1] * x[:, 2]], 1)
    at = place(Task(partial(MLP, (4, 5, 1 if one else 2), norm="layer"), (x, y), (x, y), loss), space="whole")
    exact, _ = sharpness.fisher_trace(at.program, at.weights, at.frozen, *at.batches, draws=None)
    total = 0.0
    xs = at.batches[0].flatten(0, 1)
    for i in range(len(xs)):
        jacobian = torch.autograd.functional.jacobian(lambda w, i=i: outputs_of(at, w, xs[i][None])[0], at.weights[0])
        out = outputs_of(at, at.weights[0], xs[i][None])[0]
        if one:
            p = torch.sigmoid(out[0])
            for target, chance in ((1.0, p), (0.0, 1 - p)):
                total += float(chance * ((target - p) * jacobian[0]).square().sum())
        else:  # loss (f - y)^2 / 2 for two outputs: unit variance each, so the Fisher matrix is J^T J
            total += float(jacobian.square().sum())
    assert exact == pytest.approx(total / len(xs), rel=1e-10)


def test_a_loss_that_is_no_likelihood_is_refused() -> None:
    x, y = examples(48, (4,))
    task = Task(partial(MLP, (4, 5, 3)), (x, y), (x, y), lambda out, y: out.square().mean(1), classification=True)
    at = place(task)
    with pytest.raises(LrscopeError, match=r"fisher_trace.*leave it out"):
        sharpness.of(OneRun(at), at.state)


def test_unusable_arguments_are_refused() -> None:
    at = place(mlp())
    with pytest.raises(LrscopeError, match="measures: 'flatness' is unknown"):
        sharpness.of(OneRun(at), at.state, measures=["flatness"])
    with pytest.raises(LrscopeError, match="hessian_top: 0"):
        sharpness.of(OneRun(at), at.state, hessian_top=0)
    with pytest.raises(LrscopeError, match="one run"):
        sharpness.gradient_norms(at.program, at.weights.repeat(2, 1), at.frozen, *at.batches)


def test_a_run_that_overflowed_has_no_sharpness() -> None:
    at = place(mlp(), space="whole")
    lost = at.scaled(float("nan"))
    found = sharpness.of(OneRun(lost), lost.state)
    assert np.isnan([value for name, value in found.items() if name != "effective"]).all()


def test_products_without_room_for_graphs_are_the_same() -> None:
    at = place(mlp())
    x, y = at.batches
    at.program.net.module.train()

    def loss(flat: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
        return loss_of(at, flat, xb, yb)

    vector = torch.linspace(-1, 1, at.weights.shape[1], dtype=torch.float64)
    kept, fresh = Products(loss, at.weights[0], x, y), Products(loss, at.weights[0], x, y, graph_bytes=1)
    assert len(kept.kept) == len(x)
    assert len(fresh.kept) < len(x)
    assert torch.equal(kept(vector), fresh(vector))
    assert torch.equal(kept(vector), kept(vector))


def test_eigenvalues_that_do_not_exist_are_nan() -> None:
    assert np.isnan(top_eigenvalues(lambda v: v * torch.nan, 30, top=2, tolerance=1e-3, normal=None)).all()
    assert top_eigenvalues(lambda v: v * torch.arange(30.0), 30, top=2, tolerance=1e-9, normal=None) == pytest.approx(
        [29, 28]
    )


def test_the_radial_direction_is_the_only_difference() -> None:
    """H theta = -grad F: along the weights the loss has no curvature, but its Hessian mixes them with the gradient."""
    at = place(mlp())
    x, y = (t[0] for t in at.batches)
    flat = at.weights[0]
    hessian = torch.autograd.functional.hessian(lambda w: loss_of(at, w, x, y), flat)
    gradient = torch.autograd.functional.jacobian(lambda w: loss_of(at, w, x, y), flat)
    assert torch.allclose(hessian @ flat, -gradient, atol=1e-9 * float(gradient.norm()))
    assert float(flat @ hessian @ flat) == pytest.approx(0, abs=1e-9)


class Attends(nn.Module):
    """Attention by PyTorch's own function, whose fast kernels cannot be differentiated twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(1, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.embed(x[..., None])[:, None]
        out: Tensor = self.head(nn.functional.scaled_dot_product_attention(z, z, z).mean((1, 2)))
        return out


def test_attention_is_differentiated_twice_by_its_plain_kernel() -> None:
    model, (x, y) = drawn(Attends), examples(8, (5,))
    named = dict(model.named_parameters())

    def loss(flat: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
        parts = flat.split([p.numel() for p in named.values()])
        given = {n: part.view_as(p) for (n, p), part in zip(named.items(), parts, strict=True)}
        return nn.functional.cross_entropy(functional_call(model, given, (xb,)), yb)

    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    with pytest.warns(UserWarning, match="measured with its plain .math. kernel") as said:
        products = Products(loss, flat, x[None], y[None])
    assert {warning.filename for warning in said} == {__file__}
    vector = torch.randn(len(flat), generator=generator("tests", "vector"))
    step = 1e-2 * vector / vector.norm()
    ends = [torch.autograd.functional.vjp(lambda w: loss(w, x, y), flat + s * step)[1] for s in (1, -1)]
    expected = (ends[0] - ends[1]) / (2 * step.norm()) * vector.norm()
    assert torch.allclose(products(vector).float(), expected, atol=2e-3 * float(expected.norm()))
