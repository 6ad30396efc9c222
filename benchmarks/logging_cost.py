"""What logging costs: training steps with the dynamics (losses, accuracies, gradient norms, group norms, ELR, ESS) against
the same steps without, in one call, for each way of training; and what evaluation on test data adds, beside it.

    python benchmarks/logging_cost.py [--seconds 6]

The last line is one JSON object; `ours` is the largest share of training time that the dynamics take, `baseline` the goal
of 10%.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from common import best_of, context_of, last_line, trainer_of

import lrscope
from lrscope.dynamics.sphere import project
from lrscope.engine.backends import backend
from lrscope.engine.chunk import ChunkTrainer
from lrscope.engine.plan import Plan
from lrscope.engine.program import Program
from lrscope.engine.step import StepInputs, StepState
from lrscope.tasks.builtin import named_task

GOAL = 0.1


class Bare(Program):
    """Steps on the sphere that log nothing."""

    def step(self, state: StepState, inputs: StepInputs) -> StepState:
        """One step without its sums."""
        gradient_RP, _, _ = self.gradients(state.weights, inputs.frozen, inputs.x, inputs.y)
        moved_RP = state.weights - inputs.lr[:, None] * gradient_RP
        weights_RP, squares_RG = project(moved_RP, inputs.rho, self.net.segments)
        return state._replace(weights=weights_RP, squares=squares_RG)


@dataclass(frozen=True)
class Case:
    """A way of training; `steps` are timed together; `window` is the number of steps between two evaluations."""

    name: str
    task: Callable[[], lrscope.Task]
    batch: int
    plan: Plan
    steps: int
    window: int


CASES = (
    Case(
        "ticks, fused", partial(named_task, "ticks", "mlp"), 16, Plan("batched", 46, True, "", 0.0, 32, True), 128, 200
    ),
    Case("ticks, batched", partial(named_task, "ticks", "mlp"), 16, Plan("batched", 46, False, "", 0.0), 8, 200),
    Case(
        "digits, fused", partial(named_task, "digits", "mlp"), 64, Plan("batched", 46, True, "", 0.0, 32, True), 64, 23
    ),
    Case(
        "ConvNet k=8, 28x28, single",
        partial(named_task, "fashion-mnist", "convnet", width=8, train_size=1280, test_size=1280, validation=0),
        128,
        Plan("single", 1, False, "", 0.0),
        5,
        10,
    ),
)


def bare(trainer: ChunkTrainer, plan: Plan) -> ChunkTrainer:
    """The same trainer with steps that log nothing."""
    full = trainer.program
    way = backend(plan.path, compiled=plan.compiled, fused=plan.fused)
    trainer.program = Bare(full.net, full.loss, full.classification, way, optimizer=full.optimizer, space=full.space)
    return trainer


def in_turn(full: ChunkTrainer, empty: ChunkTrainer, steps: int, seconds: float) -> tuple[float, float]:
    """Shortest processor time of `steps` steps of both, call by call in turn, so that slow spells meet both."""
    best, begun = [float("inf")] * 2, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for i, trainer in enumerate((full, empty)):
            started = time.thread_time()
            trainer.advance(steps)
            best[i] = min(best[i], time.thread_time() - started)
    return best[0], best[1]


def main() -> None:
    """Time every case with and without logging, and its evaluation."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="for each timing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    worst = 0.0
    print("case                        step with, without logging    logging  evaluation per window, share of training")
    for case in CASES:
        config = lrscope.SweepConfig(lrs=lrscope.log_grid(1e-4, 1e-1, 23), seeds=2, steps=40_000, batch_size=case.batch)
        context = context_of(case.task(), config)
        full, empty = trainer_of(context, case.plan), bare(trainer_of(context, case.plan), case.plan)
        full.advance(case.steps)
        empty.advance(case.steps)
        logged, plain = (t / case.steps for t in in_turn(full, empty, case.steps, options.seconds))
        evaluate = partial(full.material.test_metrics, full.program, full.tensors["weights"], full.frozen)
        evaluation = best_of(evaluate, options.seconds / 4)
        cost = logged / plain - 1
        worst = max(worst, cost)
        runs = len(full.chunk.runs)
        print(
            f"{case.name:27s} {logged / runs * 1e6:9.2f} {plain / runs * 1e6:9.2f} us {cost:12.1%} "
            f"{evaluation / runs * 1e6:9.0f} us {evaluation / (case.window * logged):12.1%}"
        )
    last_line("logging", worst, GOAL, "share of training time")


if __name__ == "__main__":
    main()
