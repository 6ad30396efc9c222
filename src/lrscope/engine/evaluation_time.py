"""What evaluation adds to the predicted time of a sweep: its passes are counted, and timed on a few examples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lrscope.engine.context import Context
from lrscope.engine.dispatch import needing_memory, single_threaded
from lrscope.engine.material import Material
from lrscope.engine.noise import seeds, with_noise
from lrscope.engine.plan import Plan, chunk_at, count_chunks

BATCHES = 4  # ours: as many test examples are evaluated to be timed; as long as a training step or two
REPEATS = 2  # ours: the first call may compile


@dataclass(frozen=True)
class Prices:
    """Seconds of a chunk's passes, with all of its runs.

    Attributes:
        example: evaluating an example.
        population: taking the statistics of batch norms over a batch; 0 without them.
        gradient: a batch with its gradient.
    """

    example: float
    population: float
    gradient: float


def evaluation_seconds(context: Context, plan: Plan, jobs: int) -> float:
    """Predicted seconds of evaluation and logging of the busiest process, random points included."""
    config, prices = context.config, timed_prices(context, plan)
    chunks = math.ceil(count_chunks(config, plan.chunk) / jobs) * of_chunk(context, prices)
    points = config.seeds * config.random_points / len(chunk_at(config, plan.chunk, 0).runs)
    train = context.material(config.draws[0]).train_size
    return chunks + math.ceil(config.data_seeds / jobs) * points * train * prices.example


def of_chunk(context: Context, prices: Prices) -> float:
    """Seconds that a chunk is evaluated for on its way through all phases."""
    material, config = context.material(context.config.draws[0]), context.config

    def seen(x: Tensor | None) -> float:
        """One pass over these examples, and what it needs before."""
        return 0.0 if x is None else _populations(context, material) * prices.population + len(x) * prices.example

    own = 1 + bool(context.task.metrics)
    features = 0.0 if material.feature_x is None else sum(map(seen, material.feature_x))
    groups = 0.0 if material.groups is None else len(material.groups.x) * prices.example
    test, validation = own * seen(material.test_x), own * seen(material.validation_x)
    interval = test + groups + features * config.log_features
    end = material.train_size // config.batch_size * prices.gradient + features + validation
    average = seen(material.train_x) + test + features + validation
    trained = [phase for phase in context.phases if not phase.is_averaged]
    averages = len(config.average) if len(trained) < len(context.phases) else 0
    return sum(interval * len(phase.windows) + end for phase in trained) + averages * average


def _populations(context: Context, material: Material) -> int:
    """Batches over which the statistics of batch norms are taken before an evaluation."""
    return len(material.population_x) if context.net.norms else 0


@needing_memory("as evaluation was timed", "a smaller --chunk or fewer test examples")
def timed_prices(context: Context, plan: Plan) -> Prices:
    """What passes cost on this machine: measured with a full chunk, a step's gradient as the plan has it."""
    chunk = chunk_at(context.config, plan.chunk, 0)
    with single_threaded(context.device):
        trainer = context.trainer(plan, chunk)
        material, program, weights = trainer.material, trainer.program, trainer.tensors["weights"]
        drawn = seeds([("timed", i) for i in range(len(chunk.runs))], context.device) if context.net.keyed else None
        frozen = with_noise(trainer.frozen, drawn)
        x, y = (t[: BATCHES * context.config.batch_size] for t in (material.test_x, material.test_y))
        batch = material.population_x[:1]
        populations = program.populations(weights, frozen, batch)
        evaluated = _seconds(lambda: program.metrics(weights, frozen, populations, x, y))
        counted = _seconds(lambda: program.populations(weights, frozen, batch)) if context.net.norms else 0.0
    return Prices(evaluated / len(x), counted, plan.run_step_seconds * len(chunk.runs))


def _seconds(call: Callable[[], Any]) -> float:
    """The shortest of a few calls."""
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        call()
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
        found.append(time.perf_counter() - begun)
    return min(found)
