"""How far do the best learning rate and the border 1|2 move with width, depth and horizon: on the sphere, and with AdamW?

A run trains at a constant learning rate and lowers it linearly to zero over the last fifth (drift_runs.py says what is
trained). Training curves of the constant part give the border 1|2, by the rules of `lrscope map`. The test loss at the end
gives the best learning rate: for each seed the lowest point of a parabola in log lr through the best of the grid and its
neighbours. Learning rates are powers of 2: every second one of the grid is trained, then the neighbours of each seed's best
and the middle of the border's cell.
A drift is the largest over the smallest value along an axis, seeds averaged (geometric mean); its interval covers all ways to
draw the seeds with replacement.

The claim (Hyperball: Wen et al. 2026, arXiv 2606.16899): the best learning rate moves less on the sphere than with AdamW,
1.4x against 3x on their models. Fixed before any run: of two intervals of drifts that do not overlap the lower one moves less;
overlapping ones, or fewer than three seeds, decide nothing. So it is refuted here where the sphere's interval lies above
AdamW's. With three seeds an interval covers three quarters of true drifts, not 95%, and two optimizers with one true drift are
told apart by chance in up to one case of ten (simulated in the tests).
A best learning rate at an end of the grid ("below", "above"), or a border off it ("none seen"), is unknown, and so is a drift
that needs it. Two columns say how far to trust a drift, and decide nothing: what scatter of the seeds alone would give, and
the factor per doubling with Student's interval over seeds, which noise does not push up.

    python benchmarks/width_drift.py --part width --model convnet    # half an hour on two cores, estimated
    python benchmarks/width_drift.py --dry-run                       # what all of it will take, and nothing is trained
    python benchmarks/width_drift.py --part width --scales 1 2 4 8 16 --width 16 --steps 4000
    python benchmarks/width_drift.py --smoke                         # a minute: shows that it works, means nothing

Runs are kept in --root, one file each. The same command goes on after a kill, and trains nothing twice while drift_runs.py
stays as it is. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drift_runs import OPTIMIZERS, Run, guessing, kept, predicted
from drift_statistics import (
    Drift,
    best_lr,
    border,
    drift,
    geometric,
    moves,
    next_rungs,
    of_noise,
    trend,
    votes_of,
)

from lrscope.engine.dispatch import single_threaded

CPU = torch.device("cpu")
DATA = {"convnet": "fashion-mnist", "transformer": "texts", "digits": "digits"}
SIZES = {  # at scale 1
    "convnet": {"width": 4, "depth": 2, "steps": 400, "batch": 64},
    "transformer": {"width": 16, "depth": 2, "steps": 400, "batch": 16},
    "digits": {"width": 4, "depth": 2, "steps": 400, "batch": 64},
}
PARTS = {"width": "width", "depth": "depth", "horizon": "steps"}
SCALES = {"width": [1, 2, 4, 8], "depth": [1, 2, 4], "horizon": [1, 4]}
POWERS = {"adamw": (-12, -2), "adamw-hidden": (-12, -2), "hyperball": (-10, 0), "sphere-sgd": (-16, 0)}  # of 2
Train = Callable[[Iterable[Run]], list[dict[str, Any]]]


def main(words: Sequence[str] | None = None) -> None:
    """Train what is missing, print the tables and the JSON object."""
    given = arguments(words)
    if given.dry_run:
        with single_threaded(CPU):
            dry_run(given)
        return
    with training(given) as train:
        found = {f"{m}/{p}": table(m, p, given, train) for m in given.model for p in given.part}
    print(json.dumps({"name": "width_drift", "unit": "largest over smallest", "smoke": given.smoke, "drifts": found}))


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--model", nargs="+", choices=SIZES, default=["convnet", "transformer"])
    parser.add_argument("--scales", nargs="+", type=int, help="factors along each part; default: 1 2 4 8, 1 2 4, 1 4")
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=["adamw", "hyperball"])
    parser.add_argument("--seeds", type=int, default=3)
    for size in ("width", "depth", "steps", "batch"):
        parser.add_argument(f"--{size}", type=int, help="at scale 1; default: the model's own")
    parser.add_argument("--powers", nargs=2, type=int, help="ends of the grid as powers of 2; default: the optimizer's")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes, a thread each")
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark-width-drift"))
    parser.add_argument("--dry-run", action="store_true", help="predict the time and train nothing")
    parser.add_argument("--smoke", action="store_true", help="digits, two widths, few learning rates and steps")
    given = parser.parse_args(words)
    if given.smoke:
        given.model, given.part, given.scales, given.seeds = ["digits"], ["width"], [1, 2], 2
        given.steps, given.batch, given.powers = 40, 16, (-7, -5)
    low, high = given.powers or (0, 2)
    if high - low < 2 or min(given.seeds, given.jobs, *(given.scales or [1])) < 1:
        parser.error("--powers: take ends that are 2 or more apart; --seeds, --jobs and --scales: 1 or more")
    return given


@contextmanager
def training(given: argparse.Namespace) -> Iterator[Train]:
    """A function that returns the curves of runs, trained in processes if they are not kept."""
    if given.jobs == 1:
        with single_threaded(CPU):
            yield lambda runs: [kept(run, given.root) for run in runs]
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.jobs, spawn, torch.set_num_threads, (1,)) as pool:
        yield lambda runs: list(pool.map(partial(kept, root=given.root), runs))


# -- the runs of a scale --------------------------------------------------------------------------------------------------


class Cell:
    """All runs of one optimizer at one scale: some learning rates of a grid, all seeds at each.

    Args:
        model: a name of SIZES.
        optimizer: a name of OPTIMIZERS.
        scaled: which size is multiplied, and by what.
        given: the command line's options.
    """

    def __init__(self, model: str, optimizer: str, scaled: tuple[str, int], given: argparse.Namespace) -> None:
        sizes = {name: getattr(given, name) or size for name, size in SIZES[model].items()}
        sizes[scaled[0]] *= scaled[1]
        low, high = given.powers or POWERS[optimizer]
        self.lrs = [2.0**power for power in range(low, high + 1)]
        self.run = partial(Run, DATA[model], optimizer, **sizes)
        self.seeds = range(given.seeds)
        self.curves: dict[int, list[dict[str, Any]]] = {}  # of each learning rate trained, by position

    def search(self, train: Train) -> Cell:
        """Train until each seed's best learning rate has both neighbours, or is an end of the grid, and so has the border."""
        while wanted := next_rungs(*self.tested()) or self.at_border():
            found = iter(train(self.run(lr=self.lrs[k], seed=seed) for k in wanted for seed in self.seeds))
            self.curves |= {k: [next(found) for _ in self.seeds] for k in wanted}
        return self

    def at_border(self) -> list[int]:
        """The position of the learning rate in the middle of the border's cell, if it was left out."""
        middle = border(self.trained, self.votes())
        return [k for k, lr in enumerate(self.lrs) if k not in self.curves and math.isclose(lr, middle)]

    def tested(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Test losses [L, U], and which learning rates have been trained [L]."""
        losses = np.full((len(self.lrs), len(self.seeds)), np.nan)
        for k, row in self.curves.items():
            losses[k] = [one["test_loss"] for one in row]
        return losses, np.isin(range(len(self.lrs)), list(self.curves))

    @property
    def trained(self) -> list[float]:
        """The learning rates that were trained, in increasing order."""
        return [self.lrs[k] for k in sorted(self.curves)]

    def bests(self) -> np.ndarray[Any, Any]:
        """The best learning rate of each seed [U]."""
        losses, there = self.tested()
        return np.array([best_lr(self.trained, column) for column in losses[there].T])

    def votes(self) -> np.ndarray[Any, Any]:
        """The votes [L, U] at learning rates that were trained."""
        run = self.run(lr=0.0, seed=0)
        rows = [self.curves[k] for k in sorted(self.curves)]
        loss, accuracy = (np.array([[one[name] for one in row] for row in rows]) for name in ("loss", "accuracy"))
        return votes_of(loss, accuracy, guessing(run.data, run.width, run.depth, len(self.seeds)))


# -- the table ------------------------------------------------------------------------------------------------------------


def table(model: str, part: str, given: argparse.Namespace, train: Train) -> dict[str, Any]:
    """Print what is found along one part; drifts and trends by quantity and optimizer."""
    scales = given.scales or SCALES[part]
    print(f"\n{model}, {part}, {given.seeds} seeds\n")
    print("| optimizer | quantity | " + " | ".join(f"x{s}" for s in scales), end="")
    print(" | drift | of noise alone | per doubling |\n|---|---|" + "---|" * (len(scales) + 3))
    found: dict[str, dict[str, Drift]] = {"best": {}, "border 1|2": {}}
    for name in given.optimizers:
        cells = [Cell(model, name, (PARTS[part], scale), given).search(train) for scale in scales]
        best_SU = np.stack([cell.bests() for cell in cells])
        found["best"][name] = drift(list(best_SU), [geometric] * len(scales))
        tail = [factor(of_noise(best_SU)), interval(trend(scales, best_SU))]
        row([name, "best", *map(lr_of, best_SU), interval(found["best"][name]), *tail])
        found["border 1|2"][name] = borders_row(name, cells)
    for what, drifts in found.items():
        print(f"\n{what}: {compared(drifts, given.seeds)}")
    return {what: {name: list(map(known, d)) for name, d in drifts.items()} for what, drifts in found.items()}


def borders_row(name: str, cells: Sequence[Cell]) -> Drift:
    """Print the borders of an optimizer's cells; their drift."""
    votes_S, of = [cell.votes() for cell in cells], [partial(border, cell.trained) for cell in cells]
    moved = drift(votes_S, of)
    seen = [f(votes) for f, votes in zip(of, votes_S, strict=True)]
    row(
        [
            name,
            "border 1\\|2",
            *(f"{b:.2g}" if 0 < b < math.inf else "none seen" for b in seen),
            interval(moved),
            "",
            "",
        ]
    )
    return moved


def compared(drifts: dict[str, Drift], seeds: int) -> str:
    """Which of the others move less than AdamW."""
    pairs = {
        name: moves(drifts["adamw"], d, seeds) for name, d in drifts.items() if "adamw" in drifts and name != "adamw"
    }
    words = [f"{n}: {word}" if word == "undetermined" else f"{n} moves {word} than adamw" for n, word in pairs.items()]
    return ", ".join(words) or "nothing to compare"


def lr_of(best_U: np.ndarray[Any, Any]) -> str:
    """A best learning rate and its range over seeds, or on which side of the grid it is."""
    mean = geometric(best_U)
    if math.isfinite(mean) and mean > 0:
        return f"{mean:.2g} ({best_U.min():.2g} to {best_U.max():.2g})"
    return "?" if math.isnan(mean) else f"beyond the grid, {'above' if mean else 'below'}"


def factor(value: float) -> str:
    """A factor, or a question mark."""
    return f"{value:.2f}" if math.isfinite(value) else "?"


def interval(found: Drift) -> str:
    """A factor with its interval, or a question mark."""
    return f"{found.seen:.2f} ({found.low:.2f} to {found.high:.2f})" if math.isfinite(found.seen) else "?"


def row(words: Sequence[str]) -> None:
    """Print a row."""
    print(f"| {' | '.join(words)} |", flush=True)


def known(value: float) -> float | None:
    """For JSON."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


# -- what it will take ------------------------------------------------------------------------------------------------------


def dry_run(given: argparse.Namespace) -> None:
    """Print the predicted time of each cell, runs that are kept left out, and of all together."""
    total = 0.0
    for model in given.model:
        for part in given.part:
            for name in given.optimizers:
                for scale in given.scales or SCALES[part]:
                    cell = Cell(model, name, (PARTS[part], scale), given)
                    total += predict(cell, f"{model}, {part} x{scale}, {name}", given.root)
    print(f"all: {total / given.jobs / 60:.1f} minutes in {given.jobs} processes, where nothing else runs")


def predict(cell: Cell, label: str, root: Path) -> float:
    """Print and return the seconds of processor time that a cell will take: half of its grid and three runs a seed beside it."""
    runs = [cell.run(lr=lr, seed=seed) for lr in cell.lrs[::2] for seed in cell.seeds]
    missing = sum(not run.file(root).exists() for run in runs) + 3 * len(cell.seeds)
    each = predicted(runs[0])
    print(f"{label}: up to {missing} runs of {each:.1f} s", flush=True)
    return missing * each


if __name__ == "__main__":
    main()
