"""The model of learning_order: distribution, kernels, test errors as integrals, and the simulation at infinite width."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lrscope.errors import LrscopeError
from lrscope.studies.learning_order import generalization
from lrscope.studies.learning_order import infinite_width as infinite
from lrscope.studies.learning_order.distribution import BOTH, P_ONLY, Q_ONLY, Examples, sample
from lrscope.studies.learning_order.infinite_width import infinite_width
from lrscope.studies.learning_order.kernels import both_active, curvature
from lrscope.studies.learning_order.quantities import QUANTITIES
from lrscope.studies.learning_order.runs import Run, large_then_small, settled_variance, small
from lrscope.tasks.streams import generator

F64 = torch.float64
RATES = {"r": 0.5, "weight_decay": 1e-3, "large_lr": 1.0, "small_lr": 0.01}


def drawn(n: int = 4000, d: int = 20, seeds: tuple[int, ...] = (0,), **words: object) -> Examples:
    return sample(n, d, p=0.2, q=0.3, seeds=seeds, dtype=F64, **words)  # type: ignore[arg-type]


def test_examples_have_the_distribution_of_section_2() -> None:
    found, n, d = drawn(40_000), 40_000, 20
    label, kind, x = found.labels[0], found.kind[0], found.first[0]
    for value, share in ((P_ONLY, 0.2), (Q_ONLY, 0.3), (BOTH, 0.5)):
        assert abs(float((kind == value).double().mean()) - share) < 4 / n**0.5
    assert abs(float(label.mean())) < 4 / n**0.5
    assert not x[kind == Q_ONLY].any()
    assert not found.scale[0][kind == P_ONLY].any()
    x, y = x[kind != Q_ONLY], label[kind != Q_ONLY]
    margin = y * x[:, 0] * d**0.5
    assert margin.min() >= 1 - 1e-12, "a margin of 1/sqrt(d)"
    assert float(margin.mean()) == pytest.approx(1 + (2 / math.pi) ** 0.5, abs=0.02)
    assert float(((margin - 1) ** 2).mean()) == pytest.approx(1, abs=0.04)
    across = x[:, 1:] * d**0.5
    assert float((across.T @ across / len(x) - torch.eye(d - 1, dtype=F64)).abs().max()) < 5 * (2 / len(x)) ** 0.5
    scale, side, y = (values[0][kind != P_ONLY] for values in (found.scale, found.side, found.labels))
    assert bool(((side == 0) == (y > 0)).all())
    assert set(side[y < 0].tolist()) == {-1, 1}
    assert 0 <= scale.min() < 0.001 < 0.999 < scale.max() <= 1
    second = found.second(0.2)[0][kind != P_ONLY]
    torch.testing.assert_close(second, scale[:, None] * torch.stack([torch.ones_like(y), 0.2 * side], 1))
    assert abs(float(side[y < 0].double().mean())) < 0.03
    assert float(scale.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(scale.square().mean()) == pytest.approx(1 / 3, abs=0.01)


def test_examples_sorted_by_kind_are_the_same() -> None:
    found = drawn(300, 4, seeds=(0, 1))
    ordered = found.by_kind()
    for one, other in zip(found.kind, ordered.kind, strict=True):
        count = {kind: int((one == kind).sum()) for kind in (P_ONLY, BOTH, Q_ONLY)}
        assert other.tolist() == [kind for kind in (P_ONLY, BOTH, Q_ONLY) for _ in range(count[kind])]
    for name in ("scale", "side", "labels", "kind"):
        pairs = [
            sorted(zip(one.first[s].tolist(), getattr(one, name)[s].tolist(), strict=True))
            for one in (found, ordered)
            for s in (0, 1)
        ]
        assert pairs[:2] == pairs[2:], name
    assert ordered.by_kind() is ordered
    assert ordered.seeds == found.seeds


def test_a_seed_names_a_data_set() -> None:
    assert torch.equal(drawn(seeds=(3, 1)).first[1], drawn(seeds=(1,)).first[0])
    assert not torch.equal(drawn().first, drawn(purpose="test").first)
    with pytest.raises(LrscopeError, match="add up to more than 1"):
        sample(5, 5, p=0.6, q=0.6, seeds=[0])


@pytest.mark.parametrize("cosine", [-0.7, 0.0, 0.4, 0.95])
def test_both_active_is_a_probability_of_gaussians(cosine: float) -> None:
    a, n = torch.randn(2, 400_000, generator=generator("tests", "both active"), dtype=F64)
    b = cosine * a + (1 - cosine**2) ** 0.5 * n
    share = float(((a > 0) & (b > 0)).double().mean())
    assert float(both_active(torch.tensor(cosine, dtype=F64))) == pytest.approx(share, abs=0.003)


def test_errors_are_those_of_drawn_examples() -> None:
    d, along, across, g = 20, 0.9, 1.1, np.array([-0.2, 0.4, -0.1])
    test = drawn(200_000, d, purpose="test")
    x, y, kind = test.first[0].numpy(), test.labels[0].numpy(), test.kind[0].numpy()
    w = np.zeros(d)
    w[:2] = along, across
    r, outputs = x @ w, test.on_sides[0].numpy() @ g
    counted = {k: float((y * (r + outputs) < 0)[kind == k].mean()) for k in (P_ONLY, BOTH)}
    assert generalization.error_p(along, across) == pytest.approx(counted[P_ONLY], abs=0.004)
    assert generalization.error_both(along, across, g, d) == pytest.approx(counted[BOTH], abs=0.004)
    loss = float(np.logaddexp(0, -y * r)[kind == P_ONLY].mean())
    assert generalization.loss_p(along, across, d) == pytest.approx(loss, abs=0.004)
    assert generalization.error_p(0, 0) == pytest.approx(0.5)


def test_the_large_rate_keeps_the_noise_where_it_began() -> None:
    """Eq. 3.3, step by step, and the level of a smaller rate."""
    run = Run(**RATES, anneal_below=0)
    level = settled_variance(*(torch.tensor(v, dtype=F64) for v in (0.01, run.large_lr, run.weight_decay)))
    for lr, variance in ((run.large_lr, 1.0), (run.small_lr, float(level))):
        after = (1 - lr * run.weight_decay) ** 2 * variance + lr**2 * run.gradient_noise**2
        assert after == pytest.approx(variance, rel=1e-12)


def test_the_large_rate_bends_g_less_and_anneals_at_its_threshold() -> None:
    examples = drawn(400, 200, seeds=(0, 1))
    curves = infinite_width(examples, [large_then_small(eps=0.35, q=0.3, **RATES), small(**RATES)], until=600, hold=5)
    assert set(QUANTITIES) <= set(curves)
    bent = np.abs(curvature(torch.tensor(curves["g"])).numpy())
    before = curves["annealed"][..., 0] == 0
    assert before[1:].any()
    assert not before.all()
    assert (bent[1:, :, 0] < 0.6 * bent[1:, :, 1])[before[1:]].all()
    crossed = curves["loss"][..., 0] < 0.35 + 0.3 * math.log(2)
    assert (curves["annealed"][1:, :, 0].astype(bool) == np.maximum.accumulate(crossed, 0)[:-1]).all()
    np.testing.assert_allclose(curves["noise_std"][..., 0][before], 1, rtol=1e-12)


def test_gradients_of_old_blocks_are_summed_and_change_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, runs = drawn(200, 100), [large_then_small(eps=0.35, q=0.3, **RATES), small(**RATES)]
    merged = infinite_width(examples, runs, until=800, hold=2, block=4)
    monkeypatch.setattr(infinite, "APART", 10**9)
    apart = infinite_width(examples, runs, until=800, hold=2, block=4)
    for name in ("g", "loss", "along", "error_p", "norm_v"):
        largest = np.abs(apart[name]).max()
        assert 0 < np.abs(merged[name] - apart[name]).max() < 5e-4 * largest, name


@pytest.mark.slow
def test_blocks_and_holds_converge_to_single_steps() -> None:
    examples, runs = drawn(200, 100), [small(**RATES), Run(**RATES, anneal_below=0)]
    exact = infinite_width(examples, runs, until=300, hold=1, block=1)
    gaps = []
    for block in (20, 10):
        coarse = infinite_width(examples, runs, until=300, hold=1, block=block)
        gaps.append(max(abs(coarse[name][-1] - exact[name][-1]).max() for name in ("loss", "along", "g")))
    assert gaps[1] < 0.5 * gaps[0] < 0.01


def test_noise_in_activations_keeps_a_small_rate_from_learning_q() -> None:
    quiet = small(**RATES)
    curves = infinite_width(drawn(400, 200), [quiet, replace(quiet, activation_noise=1.0)], until=200, hold=5)
    bent = np.abs(curvature(torch.tensor(curves["g"])).numpy())[-1, 0]
    assert bent[1] < 0.5 * bent[0]


def test_bad_times_are_refused() -> None:
    for words, sentence in (({"hold": 0.5}, "shorter than a step"), ({"hold": 100}, "too long for g")):
        with pytest.raises(LrscopeError, match=sentence):
            infinite_width(drawn(20, 5), [small(**RATES)], until=10, **words)
