"""A task's own metrics: logged beside loss and accuracy, evaluated alike, refused where they are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lrscope
from lrscope.errors import LrscopeError
from lrscope.export import export_result
from lrscope.results import open_result
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from lrscope.trained import Trained
from tiny_tasks import ALL_RUNS, BASE, ONE_RUN, computed
from trees import arrays

N, CLASSES = 60, 3


def error(output: Tensor, y: Tensor) -> Tensor:
    return (output.argmax(1) != y).float()


def nats(output: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output, y, reduction="none")


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES))


def task(metrics: Any = None, **options: Any) -> Task:
    draws = generator("tests", "metrics")
    x = torch.randn(2 * N, 5, generator=draws)
    y = torch.randint(0, CLASSES, (2 * N,), generator=draws)
    given = {"validation": (x[:20] + 0.1, y[:20]), **options}
    return Task(model, (x[:N], y[:N]), (x[N:], y[N:]), metrics=metrics, **given)


OWN = {"error": error, "nats": nats}
SWEEP = replace(BASE, batch_size=12, steps=10, space="whole", lrs=(1e-2, 0.3, 1e30), seeds=2)


@pytest.mark.parametrize("plan", [ALL_RUNS, ONE_RUN], ids=lambda p: p.path)
def test_they_are_the_means_that_loss_and_accuracy_are(plan: Any, tmp_path: Path) -> None:
    """Error and cross-entropy as own metrics: what lrscope measures itself, wherever it measures."""
    result = computed(task(OWN), SWEEP, plan, tmp_path)
    for node in ("pretrain", "finetune", "average"):
        for of in ("test", "validation"):
            own = result[f"{node}/{of}_metric"]
            accuracy, loss = result[f"{node}/{of}_accuracy"], result[f"{node}/{of}_loss"]
            assert set(own.dims) == {*loss.dims, "metric"}
            np.testing.assert_allclose(own.sel(metric="error"), 1 - accuracy, atol=1e-6)
            np.testing.assert_allclose(own.sel(metric="nats"), loss, rtol=1e-5)
    assert np.isnan(result["pretrain/test_metric"].sel(lr=1e30, metric="nats").isel(epoch=-1)).all()


def test_without_them_nothing_is_another(tmp_path: Path) -> None:
    plain, own = (computed(task(m), SWEEP, ALL_RUNS, tmp_path / str(bool(m))) for m in (None, OWN))
    assert "metric" not in plain.dims
    for name, array in arrays(plain).items():
        if name != "seconds":
            assert np.array_equal(array, own[name], equal_nan=True), name


class Weighted(nn.Module):
    """A metric with a tensor of its own, as modules of torchmetrics have."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        found: Tensor = output @ self.weights
        return found


@pytest.mark.parametrize("plan", [ALL_RUNS, ONE_RUN], ids=lambda p: p.path)
def test_a_metrics_tensors_are_where_the_runs_are(plan: Any, tmp_path: Path) -> None:
    """In the training precision; the user's own module stays as it was."""
    given = Weighted()
    config = replace(SWEEP, precision="float64", lrs=(1e-2,))
    own = {"weighted": given, "by hand": lambda output, y: output @ given.weights.to(output)}
    found = computed(task(own), config, plan, tmp_path)["pretrain/test_metric"]
    assert (found.sel(metric="weighted") == found.sel(metric="by hand")).all()
    assert given.weights.dtype == torch.float32


@pytest.mark.slow
def test_results_are_kept_opened_and_exported_with_them(tmp_path: Path) -> None:
    options: dict[str, Any] = {"lrs": (1e-2, 0.1), "steps": 10, "batch_size": 12, "seeds": 1, "space": "whole"}
    lrscope.sweep(task(OWN), **options, out=tmp_path, progress=False)
    result = open_result(tmp_path)
    assert list(result["metric"].values) == ["error", "nats"]
    assert result["pretrain/test_metric"].attrs["units"] == "task's own"
    assert '"metrics": ["error", "nats"]' in result.attrs["task"]
    export_result(result, "csv", None, tmp_path)
    assert (tmp_path / "result.csv").read_text().startswith("lr,data_seed,seed")
    with pytest.raises(LrscopeError, match="another task"):
        Trained.open(tmp_path, task({"error": nats, "nats": nats}))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ([error], r"metrics: .* is no mapping: pass functions of \(outputs, labels\) by name"),
        ({"error": 0.5}, "metrics: error is 0.5: pass a function of"),
        ({"": error}, "metrics: '' is no name: use a text"),
        ({1: error}, "metrics: 1 is no name: use a text"),
        ({str(i): error for i in range(65)}, "metrics: there are 65, more than 64: pass fewer"),
        (
            {"mean": lambda o, y: error(o, y).mean()},
            r"metrics: mean returns \(\) for a batch of 4: return one number per",
        ),
        ({"number": lambda o, y: 1.0}, "metrics: number returns float for a batch of 4"),
        ({"broken": lambda o, y: o @ y}, r"metrics: broken fails on outputs \(4, 3\) and labels \(4,\) .RuntimeError"),
    ],
)
def test_what_is_no_metric_is_refused(metrics: Any, message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        task(metrics)
