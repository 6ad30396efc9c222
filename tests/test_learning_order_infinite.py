"""Infinite width against a naive twin: sums over all past gradients with the full kernel, step by step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from lrscope.studies.learning_order.distribution import Examples, sample
from lrscope.studies.learning_order.generalization import total_error
from lrscope.studies.learning_order.infinite_width import infinite_width
from lrscope.studies.learning_order.runs import Run

LARGE = Run(r=0.5, weight_decay=4e-3, large_lr=5.0, small_lr=5.0, anneal_below=0)
ANNEALED = Run(r=0.5, weight_decay=4e-3, large_lr=5.0, small_lr=1.0, anneal_below=0.55)
SETTINGS = {"examples": 80, "p": 0.2, "q": 0.3, "seeds": (0,), "dtype": torch.float64}
CHECKED = ("loss", "loss_p_only", "loss_q_only", "loss_m1", "loss_m2", "loss_r_m1", "error_q", "annealed")


def kernel(x: np.ndarray, x2: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """K_rho of the issue's formula, [..., N, M]."""
    gram = x @ x2.T
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(x2, axis=1)
    cosine = np.divide(gram, norms, out=np.zeros_like(gram), where=norms > 0).clip(-1, 1)
    return gram * (math.pi - np.arccos(rho[..., None, None] * cosine)) / (2 * math.pi)


def nearly_orthogonal(x: np.ndarray, x2: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """What is kept of it for x1: weight 1/4, and the diagonal in full."""
    return kernel(x, x2, 0 * rho) + (kernel(x, x2, rho) - kernel(x, x2, 0 * rho)) * np.eye(len(x))


class Twin:
    """One run on one data set; each step is one of eq. 3.1, its activations those of the noise."""

    def __init__(self, examples: Examples, run: Run, first_kernel: Any) -> None:
        self.run, self.first_kernel = run, first_kernel
        self.x1, self.x2 = examples.first[0].numpy(), examples.second(run.r)[0].numpy()
        self.points = np.array([[1, -run.r], [1, 0], [1, run.r]])
        self.y, self.kind = examples.labels[0].numpy(), examples.kind[0].numpy()
        self.logs, self.stds, self.lrs, self.pulls = [0.0], [1.0], [], []

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """What is left of each past gradient, and rho between its activations and those now."""
        logs, stds = np.array(self.logs), np.array(self.stds)
        left = np.array(self.lrs) * np.exp(logs[-1] - logs[1:])
        return left, np.minimum(1, np.exp(logs[-1] - logs[:-1]) * stds[:-1] / stds[-1])

    def outputs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """r and g of the examples, g of the three directions."""
        if not self.pulls:
            return np.zeros_like(self.y), np.zeros_like(self.y), np.zeros(3)
        left, rho = self.weights()
        source = left[:, None] * np.array(self.pulls)
        kernels = (self.first_kernel(self.x1, self.x1, rho), *(kernel(x, self.x2, rho) for x in (self.x2, self.points)))
        r, g, three = (np.einsum("hij,hj->i", k, source) for k in kernels)
        return r, g, three

    def measure(self, annealed: bool) -> dict[str, Any]:
        r, g, three = self.outputs()
        whole, first = np.log1p(np.exp(-self.y * (r + g))), np.log1p(np.exp(-self.y * r))
        return {
            "loss": whole.mean(),
            "loss_p_only": whole[self.kind == 0].mean(),
            "loss_q_only": whole[self.kind == 1].mean(),
            "loss_m1": whole[self.kind != 1].mean(),
            "loss_m2": whole[self.kind != 0].mean(),
            "loss_r_m1": first[self.kind != 1].mean(),
            "g": three,
            "error_q": (three[0] >= 0) / 4 + (three[1] <= 0) / 2 + (three[2] >= 0) / 4 if three.any() else 0.5,
            "annealed": float(annealed),
        }

    def step(self, lr: float) -> None:
        r, g, _ = self.outputs()
        self.pulls.append(self.y / (1 + np.exp(self.y * (r + g))) / len(self.y))
        keep = 1 - lr * self.run.weight_decay
        self.lrs.append(lr)
        self.logs.append(self.logs[-1] + math.log(keep))
        self.stds.append(math.sqrt(keep**2 * self.stds[-1] ** 2 + (lr * self.run.gradient_noise) ** 2))

    def square(self, kernel_of: Any, x: np.ndarray, chosen: np.ndarray) -> float:
        """Squared norm of the signal part that comes from the chosen examples."""
        left, _ = self.weights()
        source = left[:, None] * np.array(self.pulls) * chosen
        logs, stds = np.array(self.logs)[:-1], np.array(self.stds)[:-1]
        total = 0.0
        for s in range(len(source)):
            decay = np.exp(-abs(logs[s] - logs))
            rho = decay * np.where(logs >= logs[s], stds / stds[s], stds[s] / stds)
            rho = np.minimum(1, rho)
            total += float(np.einsum("i,hij,hj->", source[s], kernel_of(x, x, rho), source))
        return total


def trained(examples: Examples, run: Run, first_kernel: Any, until: float) -> tuple[Twin, dict[str, np.ndarray]]:
    """The twin after `until`, measured after every large step's time."""
    twin, annealed, records = Twin(examples, run, first_kernel), False, [{**Twin(examples, run, kernel).measure(False)}]
    for _ in range(round(until / run.large_lr)):
        annealed = annealed or records[-1]["loss"] < run.anneal_below
        lr = run.small_lr if annealed else run.large_lr
        for _ in range(round(run.large_lr / lr)):
            twin.step(lr)
        records.append(twin.measure(annealed))
    return twin, {name: np.stack([r[name] for r in records]) for name in records[0]}


@pytest.mark.slow
@pytest.mark.parametrize(("run", "close"), [(LARGE, 1e-8), (ANNEALED, 6e-3)])
def test_infinite_width_is_the_sum_over_all_past_gradients(run: Run, close: float) -> None:
    """Equal to rounding where a hold is a step; where it is five small ones, to what holding costs (lambda x hold = 0.02)."""
    examples, until = sample(dimension=40, **SETTINGS), 150.0
    twin, expected = trained(examples, run, nearly_orthogonal, until)
    found = infinite_width(examples, [run], until=until, hold=5, block=1)
    assert 0 < expected["annealed"].mean() < 1 or run is LARGE
    for name in CHECKED:
        np.testing.assert_allclose(found[name][:, 0, 0], expected[name], rtol=0, atol=close, err_msg=name)
    np.testing.assert_allclose(found["g"][:, 0, 0], expected["g"], rtol=0, atol=close)
    everything, second = np.ones(80), (twin.kind != 0).astype(float)
    norms = {
        "norm_w": twin.square(nearly_orthogonal, twin.x1, everything),
        "norm_w_m2": twin.square(nearly_orthogonal, twin.x1, second),
        "norm_v": twin.square(kernel, twin.x2, everything),
    }
    for name, square in norms.items():
        assert found[name][-1, 0, 0] == pytest.approx(square**0.5, rel=close), name
    predictor = (np.exp(twin.logs[-1] - np.array(twin.logs[1:])) * twin.lrs) @ np.array(twin.pulls) @ twin.x1 / 4
    assert found["along"][-1, 0, 0] == pytest.approx(predictor[0], rel=close)
    assert found["across"][-1, 0, 0] == pytest.approx(float(np.linalg.norm(predictor[1:])), rel=close)


@pytest.mark.slow
def test_what_nearly_orthogonal_inputs_neglect_falls_with_dimension() -> None:
    gaps = []
    for d in (40, 640):
        examples = sample(dimension=d, **SETTINGS)
        _, expected = trained(examples, LARGE, kernel, 100.0)
        found = infinite_width(examples, [LARGE], until=100, hold=5, block=1)
        gaps.append(float(abs(found["loss_m1"][:, 0, 0] - expected["loss_m1"]).max()))
    assert gaps[1] < gaps[0] / 4
    assert gaps[0] < 0.02


def test_the_total_error_weighs_the_kinds_by_their_shares() -> None:
    assert total_error(0.1, 0.2, 0.4, p=0.2, q=0.3) == pytest.approx(0.2 * 0.1 + 0.3 * 0.2 + 0.5 * 0.4)
    assert total_error([0, 1], [0, 0], [0, 0], p=0.25, q=0.5).tolist() == [0, 0.25]
