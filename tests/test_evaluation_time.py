"""What evaluation adds to a predicted time: its passes are counted as a chunk makes them, at planted costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lrscope.config import Branch, SweepConfig
from lrscope.engine import evaluation_time
from lrscope.engine.evaluation import Evaluation
from lrscope.engine.evaluation_time import Prices, evaluation_seconds, of_chunk, timed_prices
from lrscope.engine.plan import chunk_at
from lrscope.engine.sweep import dry_run
from lrscope.tasks.task import Task
from test_metrics import error, task
from tiny_tasks import ALL_RUNS, BASE, BATCHED, SHORT, context_of, grouped_task, mlp_task, probed_task

PLANTED = Prices(example=1.0, population=1e5, gradient=1e10)
LOGGED = replace(BASE, log_points=4, lrs=(1e-3,))
DECAY = Branch(name="decay", at=(1, 2), factors=(0.1,), steps=3)
CASES: dict[str, tuple[Callable[[], Task], SweepConfig]] = {
    "averages and fine-tunes": (mlp_task, LOGGED),
    "without batch norm": (lambda: mlp_task("layer"), LOGGED),
    "branches": (mlp_task, replace(LOGGED, average=(), branches=(DECAY,))),
    "feature sets along training": (probed_task, replace(LOGGED, log_features=True)),
    "feature sets at the end": (probed_task, LOGGED),
    "example groups": (grouped_task, LOGGED),
    "validation and own metrics": (lambda: task({"error": error}), replace(LOGGED, space="whole")),
}


def planted(monkeypatch: pytest.MonkeyPatch, *, norms: bool) -> list[float]:
    """Costs of every pass that is made from now on."""
    spent: list[float] = []
    prices = {
        "metrics": lambda given: len(given[3]) * PLANTED.example,
        "own_metrics": lambda given: len(given[3]) * PLANTED.example,
        "group_metrics": lambda given: len(given[3].x) * PLANTED.example,
        "populations": lambda given: len(given[2]) * PLANTED.population * norms,
        "fixed_pass": lambda given: len(given[2]) * PLANTED.gradient,
    }
    for name, price in prices.items():
        before = getattr(Evaluation, name)

        def passed(self: Any, *given: Any, price: Any = price, before: Any = before) -> Any:
            spent.append(price(given))
            return before(self, *given)

        monkeypatch.setattr(Evaluation, name, passed)
    return spent


@pytest.mark.parametrize("case", CASES)
def test_passes_are_counted_as_a_chunk_makes_them(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, config = CASES[case]
    context = context_of(make(), config, tmp_path)
    trainer = context.trainer(ALL_RUNS, chunk_at(config, ALL_RUNS.chunk, 0))
    spent = planted(monkeypatch, norms=bool(context.net.norms))
    trainer.run(lambda tick: None, lambda now: None, lambda: False)
    assert sum(spent) > 0
    assert of_chunk(context, PLANTED) == sum(spent)


def test_a_prediction_is_made_of_training_and_evaluation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two draws of two seeds at two rates, in four chunks of two runs on one process; two random points for each seed."""
    config, engine = replace(SHORT, data_seeds=2), replace(BATCHED, chunk=2)
    monkeypatch.setattr(evaluation_time, "timed_prices", lambda context, plan: Prices(1.0, 0.0, 0.0))
    said = dry_run(mlp_task(), config=config, engine=engine)
    windows = len(context_of(mlp_task(), config, tmp_path).phases[0].windows)
    assert said["evaluation_seconds"] == 4 * windows * 20 + 2 * (2 * 2 / 2) * 48
    training = said["plan"]["run_step_seconds"] * said["run_steps"]
    assert said["seconds"] - said["evaluation_seconds"] == pytest.approx(training)


@pytest.mark.parametrize("make", [mlp_task, lambda: mlp_task("layer")])
def test_prices_are_measured(make: Callable[[], Task], tmp_path: Path) -> None:
    plan = replace(ALL_RUNS, run_step_seconds=2.0)
    context = context_of(make(), LOGGED, tmp_path)
    found = timed_prices(context, plan)
    assert 0 < found.example < 1
    assert (found.population > 0) == bool(context.net.norms)
    assert found.gradient == 4.0
    assert evaluation_seconds(context, plan, 1) > 2 * found.gradient
    assert not torch.is_inference_mode_enabled()
