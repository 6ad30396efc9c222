"""What docs/late_decay_theory.md says of late_decay's model, measured: where runs end, how far steps carry them, successes.

    python experiments/late_decay_model.py [ends] [drift] [success] [--seeds 200]

Prints a table for each part, as Markdown; the numbers of seeds are those of the part `success`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

import numpy as np
import torch

from lrscope.dynamics.descend import descend
from lrscope.studies.late_decay.curves import Setting, late_decay_curves
from lrscope.studies.late_decay.drift import attracts, drift, label_noise_drift
from lrscope.studies.late_decay.invariant import destination
from lrscope.studies.late_decay.norm_power import NormPower, weights_of
from lrscope.studies.late_decay.problems import directions, sample
from lrscope.studies.late_decay.success import success_bound, success_frequency


def row(*cells: object) -> None:
    """A row of a Markdown table."""
    print("| " + " | ".join(f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def ends() -> None:
    """Median distances from the minimum-norm interpolator over 64 seeds after 4,000 steps of one example, without label noise."""
    setting = Setting(gamma=[0, 1, 2, 4], lr=[1e-3, 5e-3, 1e-2, 2e-2], steps=4000)
    found = late_decay_curves(setting, range(64), times=10)
    middle = found["distance"].isel(time=-1).median("seed")
    lost = success_frequency(found)["overflowed"]
    for gamma in setting.gamma:
        counts = [int(count) for count in lost.sel(gamma=gamma)]
        row(gamma, *map(float, middle.sel(gamma=gamma)), counts)


def drifts() -> None:
    """Movement along the manifold, predicted from the steps' lengths and from label noise alone, against measured."""
    gammas, problems = [0.5, 1.0, 2.0, 4.0], sample(20, 40, seeds=range(8))
    for lr, noise in ((1e-3, 0.5), (3e-3, 0.5), (3e-3, 1.0), (5e-3, 0.0), (1e-2, 0.0)):
        model = NormPower(problems, gammas, batch=1, label_noise=[noise])
        begin = weights_of(1.5 * directions(problems)[:, None].expand(-1, len(gammas), -1), model.gamma)
        begin = descend(model, begin.reshape(-1, model.size), lr, 1000).weights
        found, first = drift(model, begin, lr, 4000, windows=4), destination(model, begin)
        flow = label_noise_drift(model, lr, first, [4000.0])[-1] if noise else np.full(first.shape, np.nan)
        for place, gamma in enumerate(gammas):
            sums = [float(np.median(values.sum(0)[:, place])) for values in (found.measured, found.predicted)]
            off = float(np.median(np.abs(found.predicted / found.measured - 1)[..., place]))
            reached = [
                float(np.median(np.log(values[:, place] / first[:, place].numpy())))
                for values in (found.destination[-1], flow)
            ]
            row(lr, noise, gamma, *sums, off, *reached)


def successes(seeds: int) -> None:
    """Frequencies with label noise 1, from predictors of norm 1.5, training on one example a step."""
    cells = (
        (20, 5e-3, 20_000, [0, 0.5, 1, 2, 3, 4, 6]),
        (20, 2e-3, 125_000, [2, 4, 6]),
        (5, 2e-3, 500_000, [0.5, 2, 4, 6]),
    )
    for examples, lr, steps, gammas in cells:
        words = {"label_noise": 1.0, "start_of": "predictor", "steps": steps, "small_steps": steps // 2}
        setting = Setting(examples=examples, gamma=gammas, lr=[lr], **words)
        found = success_frequency(late_decay_curves(setting, range(seeds), times=10, dtype=torch.float32))
        condition = attracts(NormPower(sample(examples, 40, seeds=range(seeds)), [float(g) for g in gammas]))
        for place, gamma in enumerate(gammas):
            one = found.isel(gamma=place, lr=0)
            count = f"{int(one['succeeded'])} of {int(one['counted'])}"
            interval = f"{float(one['low']):.3f} to {float(one['high']):.3f}"
            allowed = float(condition[:, place].double().mean())
            row(
                examples,
                lr,
                steps,
                gamma,
                float(success_bound(gamma)),
                count,
                interval,
                int(one["dead"]),
                int(one["overflowed"]),
                allowed,
            )


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=["ends", "drift", "success"])
    parser.add_argument("--seeds", type=int, default=200)
    options = parser.parse_args(arguments)
    parts = {"ends": ends, "drift": drifts, "success": lambda: successes(options.seeds)}
    for name in options.parts:
        begun = time.process_time()
        parts[name]()
        print(f"{name}: {time.process_time() - begun:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
