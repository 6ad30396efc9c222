"""The two-layer network of learning_order at finite width: its gradient, eq. 3.1 to 3.4, and the limit of infinite width."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lrscope.dynamics.descend import descend
from lrscope.dynamics.objective import Differentiated, Objective
from lrscope.errors import LrscopeError
from lrscope.studies.learning_order.distribution import BOTH, P_ONLY, Examples, sample
from lrscope.studies.learning_order.finite_width import Decoupled, Training, finite_width
from lrscope.studies.learning_order.quantities import QUANTITIES
from lrscope.studies.learning_order.runs import Run, large_then_small, small
from lrscope.studies.learning_order.two_layers import TwoLayers, Widths
from lrscope.tasks.streams import generator

F64 = torch.float64
RATES = {"r": 0.5, "weight_decay": 4e-3, "large_lr": 5.0, "small_lr": 1.0}
RUNS = [Run(**RATES, anneal_below=0), Run(**RATES | {"r": 0.2, "weight_decay": 0.01}, anneal_below=math.inf)]
WIDTHS = Widths(first=6, second=9)


def drawn(n: int = 30, d: int = 7, seeds: tuple[int, ...] = (0, 1), **words: object) -> Examples:
    return sample(n, d, p=0.2, q=0.3, seeds=seeds, dtype=F64, **words)  # type: ignore[arg-type]


def literal_loss(model: TwoLayers, points: Tensor, runs: list[Run]) -> Tensor:
    """Sec. 2, row by row and example by example, from x1 and x2: losses [S R]."""
    examples, found = model.examples, []
    for row, point in enumerate(points):
        s, run = divmod(row, len(runs))
        a = model.initial[row] if runs[run].frozen else point
        rows = {"W": (0, 6, 7, model.u_first[s, 0]), "V": (42, 9, 2, model.u_second[s, 0])}
        second = examples.second(runs[run].r)[s]
        total = torch.zeros((), dtype=F64)
        for i, y in enumerate(examples.labels[s]):
            f = torch.zeros((), dtype=F64)
            for (begin, m, d, u), x in zip(rows.values(), (examples.first[s, i], second[i]), strict=True):
                u_x = point[begin : begin + m * d].view(m, d) @ x
                active = (a[begin : begin + m * d].view(m, d) @ x >= 0).to(F64)
                f = f + u @ (active * u_x)
            total = total + torch.log1p(torch.exp(-y * f)) / len(examples.labels[s])
        found.append(total + runs[run].weight_decay / 2 * point.square().sum())
    return torch.stack(found)


def test_the_gradient_is_that_of_autograd() -> None:
    """Of free and of frozen runs beside each other."""
    runs = [*RUNS, replace(RUNS[1], frozen=True)]
    model = TwoLayers(drawn(), runs, WIDTHS, 1.0)
    assert isinstance(model, Objective)
    assert model.size == 6 * 7 + 9 * 2
    points = torch.randn(6, model.size, generator=generator("tests", "two layers"), dtype=F64)
    gradient, loss = model.gradient(points, 0)
    expected, expected_loss = Differentiated(lambda p: literal_loss(model, p, runs), model.size).gradient(points, 0)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-14, atol=0)
    same = replace(runs[2], frozen=False)
    assert not torch.equal(TwoLayers(drawn(), [*RUNS, same], WIDTHS, 1.0).gradient(points, 0)[0][2], gradient[2])


def test_a_run_depends_on_its_own_row_and_the_second_layer_on_its_seed() -> None:
    both, one = (TwoLayers(drawn(seeds=seeds), RUNS, WIDTHS, 0.3) for seeds in ((0, 1), (1,)))
    assert torch.equal(both.u_first[1], one.u_first[0])
    torch.testing.assert_close(both.u_second[0].abs(), torch.full((1, 9), 1 / 3, dtype=F64))
    start = both.initial
    assert torch.equal(start[2:], one.initial)
    torch.testing.assert_close(both.gradient(start, 0)[0][2:], one.gradient(start[2:], 0)[0], rtol=0, atol=1e-15)


def test_signal_and_noise_add_up_to_the_weights_of_eq_3_1() -> None:
    """And the noise part is the sum of eq. 3.4, W's signal from M_2 that of eq. 5.1."""
    tau, model = 0.3, TwoLayers(drawn(), RUNS, WIDTHS, 0.3)
    lr = torch.tensor([run.large_lr for run in RUNS] * 2, dtype=F64)[:, None]
    xi_std = tau * torch.tensor([run.gradient_noise for run in RUNS] * 2, dtype=F64)[:, None]
    objective, u = Decoupled(model, xi_std), model.initial
    noise, from_m2, steps = u.clone(), torch.zeros(4, 42, dtype=F64), 25
    start = torch.cat([torch.zeros_like(u), u, from_m2], 1)
    decay = torch.tensor([run.weight_decay for run in RUNS] * 2, dtype=F64)[:, None]
    noise = (1 - lr * decay) ** steps * noise
    for t in range(steps):
        xi = objective._drawn(t) * xi_std
        noise = noise - lr * (1 - lr * decay) ** (steps - 1 - t) * xi
        of_m2 = restricted(model).parts(u)[0][:, :42]
        from_m2 = (1 - lr * decay) * from_m2 - lr * of_m2
        u = u - lr * (model.gradient(u, t)[0] + xi)
    found = objective.parts(descend(objective, start, lr[:, 0], steps).weights)
    torch.testing.assert_close(found.signal + found.noise, u, rtol=0, atol=1e-13)
    torch.testing.assert_close(found.noise, noise, rtol=0, atol=1e-13)
    torch.testing.assert_close(found.signal_m2, from_m2, rtol=0, atol=1e-13)
    assert float((found.signal_m2 - found.signal[:, :42]).abs().max()) > 1e-3, "not all of the signal is from M_2"


def restricted(model: TwoLayers) -> TwoLayers:
    """The same model where examples with P alone pull W by nothing: their x1 is left in the outputs, not in the gradient."""

    class FromM2(TwoLayers):
        def _of_w(self, gates: Tensor, pulled: Tensor) -> Tensor:
            chosen = (self.examples.kind != P_ONLY)[:, None].to(pulled)
            return super()._of_w(gates, pulled * chosen)

    return FromM2(model.examples, RUNS, model.widths, model.start_std)


@pytest.mark.slow
def test_the_noise_stays_where_it_began_to_machine_precision() -> None:
    """Eq. 3.3 and 3.4: the variance of the noise part, as the sum of its terms' variances, over ten times 1 / (lr lambda)."""
    for run in (RUNS[0], Run(**RATES | {"weight_decay": 1e-4, "large_lr": 0.7, "small_lr": 0.1}, anneal_below=0)):
        keep = 1 - run.large_lr * run.weight_decay
        steps = np.arange(int(10 / (run.large_lr * run.weight_decay)))
        terms = run.large_lr**2 * run.gradient_noise**2 * keep ** (2 * steps)
        variance = keep ** (2 * (steps + 1)) + np.cumsum(terms)
        np.testing.assert_allclose(variance, 1, rtol=0, atol=1e-11)
    for name, level in (("noise_std", 1.0), ("noise_kept", (1 - 5 * 4e-3) ** 40)):
        curves = finite_width(
            drawn(), RUNS[:1], drawn(), widths=Widths(first=1, second=40_000), start_std=0.1, until=200, every=20
        )
        assert curves[name][0] == pytest.approx(1, abs=4 / 80_000**0.5)
        np.testing.assert_allclose(curves[name][-1], level, atol=4 / 80_000**0.5)


@pytest.mark.slow
def test_both_algorithms_by_their_thresholds() -> None:
    runs = [large_then_small(eps=0.3, q=0.3, **RATES), small(**RATES)]
    words = {"widths": Widths(first=300, second=3000), "start_std": 0.1, "until": 120}
    curves = finite_width(drawn(), runs, drawn(60, purpose="test"), **words)
    assert set(QUANTITIES) <= set(curves)
    crossed = np.maximum.accumulate(curves["loss"][..., 0] < 0.3 + 0.3 * math.log(2), 0)
    assert not crossed[1].any()
    assert crossed[-1].all()
    np.testing.assert_array_equal(curves["annealed"][1:, :, 0], crossed[:-1])
    assert (curves["annealed"][..., 1] == 1).all()
    lr = np.where(curves["annealed"][1:] == 1, 1.0, 5.0)
    np.testing.assert_allclose(np.diff(curves["time"], axis=0), lr)
    assert curves["time"][-1].min() == pytest.approx(120)
    below = finite_width(drawn(), runs, drawn(purpose="test"), **words, stop_below=0.5)["loss"]
    assert (below.min(0) < 0.5).all()
    assert not (below[:-1].min(0) < 0.5).all()


def test_a_run_stays_annealed() -> None:
    """Where noise and decay are so strong that the loss comes back above its threshold."""
    run = Run(r=0.5, weight_decay=0.15, large_lr=5, small_lr=4, anneal_below=0.8)
    words = {"widths": Widths(first=10, second=30), "start_std": 1.0}
    curves = finite_width(drawn(), [run], drawn(), until=100, **words)
    above = curves["loss"] > 0.8
    assert (above & (curves["annealed"] == 1)).any()
    assert (np.diff(curves["annealed"], axis=0) >= 0).all()


def test_errors_are_counted_on_the_test_examples() -> None:
    test = drawn(50, purpose="test")
    model = TwoLayers(test, RUNS[:1], Widths(first=40, second=50), 1.0)
    r, g = model.outputs(model.initial)
    wrong = test.labels * (r + g @ test.on_sides.transpose(1, 2))[:, 0] < 0
    words = {"widths": Widths(first=40, second=50), "start_std": 1.0, "until": 1}
    curves = finite_width(drawn(), RUNS[:1], test, **words)
    for name, kind in (("error_p", P_ONLY), ("error_both", BOTH)):
        expected = [float(wrong[s][test.kind[s] == kind].double().mean()) for s in range(2)]
        assert curves[name][0, :, 0].tolist() == pytest.approx(expected)


def test_the_error_of_the_signal_part_has_no_output_of_the_noise_in_it() -> None:
    test = drawn(2000, d=60, purpose="test")
    model = TwoLayers(drawn(d=60), RUNS[:1], Widths(first=40, second=50), 1.0)
    training = Training(model, RUNS[:1], test)
    assert training.measure()["error_p_signal"].tolist() == [[0.5], [0.5]], "there is no signal yet"
    training.go_on(20)
    signal, noise = training.points[:, : model.size], training.points[:, model.size : 2 * model.size]
    part, whole = (model.layers(weights)[0][:, 0].transpose(1, 2) for weights in (signal, signal + noise))
    r = ((test.first @ part * (test.first @ whole >= 0)) @ model.u_first[:, 0, :, None])[..., 0]
    expected = [float((test.labels * r < 0)[s][test.kind[s] == P_ONLY].double().mean()) for s in range(2)]
    found = training.measure()
    assert min(expected) > 0.01, "there are errors to count"
    assert found["error_p_signal"][:, 0].tolist() == pytest.approx(expected)
    assert found["error_p_signal"].tolist() != found["error_p"].tolist()


def test_what_does_not_fit_is_refused() -> None:
    words = {"widths": WIDTHS, "start_std": 0.1, "until": 1}
    with pytest.raises(LrscopeError, match=r"activation_noise: .* there is none"):
        finite_width(drawn(), [replace(RUNS[0], activation_noise=0.5)], drawn(), **words)
    with pytest.raises(LrscopeError, match="do not fit 2 in 7"):
        finite_width(drawn(), RUNS, drawn(d=8), **words)
    with pytest.raises(LrscopeError, match="runs: there are none"):
        finite_width(drawn(), [], drawn(), **words)
