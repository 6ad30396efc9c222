"""Does the large learning rate come to lead after the anneal (LO1) with more training images? Differences against their number.

    OMP_NUM_THREADS=1 python experiments/learning_order_trend.py

Trains LO1's sweep of the second evidence with other numbers of images and other seeds. All else is its own: rates, schedules,
network, test images. Epochs are kept, not steps: with the steps of 1,000 images 4,000 would be seen 15 times, and a pilot had not
fitted them after 30. Steps then grow with the images, so there are 1,000 images with the steps of 4,000, too. Images of a draw
are nested: the larger set contains the smaller one. Images with patches: learning_order_patched.py.

Prints large minus small rate in points, with 95% intervals over draws. Each draw's own least-squares line gives the slope per
doubling and the value at 50,000 images, the paper's number. What follows the anneal is left out at a size whose worse rate may be
unfinished (LO1's rule). What would say what was written before the run, in docs/learning_order_theory.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

import lrscope
from lrscope.studies.learning_order import STUDY
from lrscope.studies.learning_order.effects_images import Arm, anneals
from lrscope.studies.types import StudySweep
from lrscope.studies.verdicts import Undetermined, interval

Effects = dict[str, np.ndarray]  # points, one for each draw [U]; NaN where runs may be unfinished
ROOT = Path("runs/trend")
PAPER = 50_000
SIZES = (250, 500, 1000, 2000, 4000)
BASE, LONGER, TOP = 1000, 4, 4000  # the control has BASE images and the steps of TOP
SECOND = {
    "batch_size": 32,
    "log_points": 20,
}  # what the second evidence had, beside 1,000 images, 60 and 140 epochs, noise 0.4
FIRST_SEED, DRAWS = 5000, 4  # no study has them: theirs begin at 1000, 2000, 3000 and 4000


def main() -> None:
    """Train all sizes and the control; print the table and, in the last line, each draw's values."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    begun = time.perf_counter()
    found = {size: plain(size) for size in SIZES}
    print("\n".join(table(found)), flush=True)
    control = plain(BASE, LONGER)
    print("\n".join(owed(found[BASE], control, found[TOP])))
    told = {str(size): one for size, one in found.items()} | {"control": control}
    print(f"{time.perf_counter() - begun:.0f} s")
    print(json.dumps({key: {name: draws.tolist() for name, draws in one.items()} for key, one in told.items()}))


def plain(size: int, longer: int = 1) -> Effects:
    """LO1's differences."""
    result = train("plain", size, longer)
    small, large = Arm.of(result, "small rate", 0), Arm.of(result, "large rate", 1)
    first, second, *_ = anneals(result)

    def over(of: Callable[[Arm], np.ndarray]) -> np.ndarray:
        return 100 * (of(large) - of(small))

    before = {"before the first anneal": over(lambda arm: arm.clean.mean(0, first))}
    after = {
        "at the end": over(lambda arm: arm.end),
        "best": over(lambda arm: arm.clean.values.max(1)),
        "first to second anneal": over(lambda arm: arm.clean.mean(first, second)),
    }
    return before | compared(small, large, after)


def train(name: str, size: int, longer: int = 1) -> xr.DataTree:
    """A sweep of the second evidence with so many images, on the seeds of this script."""
    wanted = resized(second_evidence(name), size, longer)
    begun, task = time.perf_counter(), lrscope.named_task(**wanted.arguments)
    result = lrscope.sweep(task, config=wanted.config, out=ROOT / f"{name}_{size}_{longer}", jobs=1, progress=False)
    print(f"{name}, {size:,} images, epochs x {longer}: {time.perf_counter() - begun:.0f} s", flush=True)
    return result


def second_evidence(name: str) -> StudySweep:
    """A sweep of the laptop scale with the settings that it had when this script was run."""
    sweep = next(sweep for sweep in STUDY.scales["laptop"].sweeps if sweep.name == name)
    noise = {"activation_noise": 0.4} if sweep.config.activation_noise else {}
    config = replace(sweep.config, epochs=60 if name == "plain" else 140, **SECOND, **noise)
    return replace(sweep, task={**sweep.task, "train_size": BASE}, config=config)


def resized(sweep: StudySweep, size: int, longer: int = 1) -> StudySweep:
    """The same sweep with so many training images and so many times the epochs, of this script's draws."""
    seeds = {"first_seed": FIRST_SEED, "first_data_seed": FIRST_SEED, "data_seeds": DRAWS}
    config = replace(sweep.config, epochs=longer * sweep.config.epochs, **seeds)
    return replace(sweep, task={**sweep.task, "train_size": size}, config=config)


def compared(small: Arm, large: Arm, effects: Effects) -> Effects:
    """What follows the anneal, NaN where it would compare runs that may be unfinished; prints how both rates ended."""
    ends = (
        f"{arm.name} {arm.end.mean():.1%} (of training images {arm.images.end.mean():.1%})" for arm in (small, large)
    )
    print(f"  at the end {', '.join(ends)}", flush=True)
    try:
        large.require_finished(small)
    except Undetermined as reason:
        print(f"  left out: {reason}", flush=True)
        return {name: np.full_like(draws, np.nan) for name, draws in effects.items()}
    return effects


def table(found: Mapping[int, Effects]) -> list[str]:
    """A row for each difference: its interval at each size, slope per doubling, and its line's value at the paper's number."""
    lines = [f"| points | {' | '.join(f'{size:,}' for size in found)} | per doubling | at {PAPER:,} |"]
    lines += ["|---" * (len(found) + 3) + "|"]
    for name in next(iter(found.values())):
        values = np.stack([effects[name] for effects in found.values()])
        cells = [words(draws) for draws in (*values, *line(np.array(list(found)), values))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def line(sizes: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each draw's least-squares line through values [S, U] over log2 of sizes [S]: slope per doubling, value at PAPER, both [U].
    Sizes with a NaN are left out; NaN where fewer than three are left."""
    known = np.isfinite(values).all(1)
    if known.sum() < 3:
        return (np.full(values.shape[1], np.nan),) * 2
    slope, start = np.polyfit(np.log2(sizes[known]), values[known], 1)
    return slope, start + slope * np.log2(PAPER)


def owed(base: Effects, control: Effects, top: Effects) -> list[str]:
    """What the change from BASE to TOP images owes to more steps, and what to more images at as many steps."""
    pairs = {"steps alone": (control, base), "images alone": (top, control)}
    return [f"{of}, {name}: {words(end[name] - start[name])}" for of, (end, start) in pairs.items() for name in base]


def words(draws: np.ndarray) -> str:
    """Mean and 95% interval."""
    mean, low, high, _ = interval(draws)
    return f"{mean:+.1f} [{low:.1f}, {high:.1f}]" if np.isfinite(mean) else "-"


if __name__ == "__main__":
    main()
