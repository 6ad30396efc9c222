"""What the measures of stored weights cost and how exact they are, on a study's ConvNet: the table of docs/measures.md.

A sweep of the SI ConvNet (k = 8, 5,832 weights) on 4,000 Fashion-MNIST images of 14 x 14 is trained, then every measure is
taken at the end of one run, on one thread. CPU seconds, so that other work on the machine does not count.

    python benchmarks/measures.py [--epochs 10] [--lr 1e-3]

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

import lrscope
from lrscope.measures import equilibrium, geometry, sharpness, walks
from lrscope.tasks.builtin import named_task
from lrscope.trained import Trained


def timed(measure: Callable[[], Any]) -> tuple[Any, float]:
    """The measure's answer and its CPU seconds."""
    begun = time.process_time()
    return measure(), time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--lr", type=float, default=1e-3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = named_task("fashion-mnist", "convnet", width=8, train_size=4000, test_size=2000, pool=2, validation=0)
    with tempfile.TemporaryDirectory() as folder:
        lrscope.sweep(
            task,
            lrs=[options.lr],
            seeds=1,
            epochs=options.epochs,
            batch_size=64,
            device="cpu",
            jobs=1,
            path="single",
            compile=False,
            out=folder,
            progress=False,
        )
        trained = Trained.open(folder, task)
        state, start = trained.state(lr=options.lr, seed=0), trained.state(lr=options.lr, seed=0, epoch=0)

        def of(**arguments: Any) -> Callable[[], dict[str, float]]:
            return lambda: sharpness.of(trained, state, **arguments)

        rows: dict[str, Callable[[], Any]] = {
            "grad_norm, grad_trace": of(measures=["grad_norm", "grad_trace"]),
            "fisher_trace, 2 draws": of(measures=["fisher_trace"]),
            "fisher_trace, 16 draws": of(measures=["fisher_trace"], fisher_draws=16),
            "hessian, 8 batches": of(measures=["hessian"], hessian_batches=8),
            "hessian, 16 batches": of(measures=["hessian"]),
            "hessian, all batches": of(measures=["hessian"], hessian_batches=None),
            "hessian, 16 batches, top 5": of(measures=["hessian"], hessian_top=5),
            "line of 11 points, train only": lambda: geometry.between(trained, start, state, test=False),
            "line of 11 points": lambda: geometry.between(trained, start, state),
            "100 steps of training, 5 passes": lambda: walks.training(
                trained, state, elr=options.lr, steps=100, every=25
            ),
            "100 steps of a walk, 5 passes": lambda: walks.random_walk(
                trained, state, elr=options.lr, steps=100, every=25
            ),
            "identities over 50 steps": lambda: equilibrium.identities(trained, state, elr=options.lr, steps=50),
        }
        rows["grad_norm, grad_trace"]()  # the first call of each kernel is slow
        seconds, answers = {}, {}
        for name, measure in rows.items():
            answers[name], seconds[name] = timed(measure)
            shown = answers[name] if isinstance(answers[name], dict) else ""
            print(f"{name:34} {seconds[name]:7.2f} s  {shown}")
        spread = [
            sharpness.hessian_eigenvalues(
                trained.program(), state.weights, state.frozen, *_part(trained.material().batches(), k, 4)
            )[0]
            for k in range(4)
        ]
        whole = answers["hessian, all batches"]["hessian_1"]
        print(
            f"hessian_1 of four disjoint quarters of the batches: {[round(float(s), 2) for s in spread]}, all {whole:.2f}"
        )
        print(
            json.dumps(
                {
                    "seconds": {name: round(value, 3) for name, value in seconds.items()},
                    "answers": {name: answer for name, answer in answers.items() if isinstance(answer, dict)},
                    "hessian_quarters": [float(s) for s in spread],
                    "quarters_spread": statistics.stdev(float(s) for s in spread) / whole,
                }
            )
        )


def _part(batches: tuple[torch.Tensor, torch.Tensor], k: int, parts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every `parts`-th batch, beginning with number k."""
    x, y = batches
    return x[k::parts], y[k::parts]


if __name__ == "__main__":
    main()
