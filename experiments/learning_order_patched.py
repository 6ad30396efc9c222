"""Do patches come later (LO2), and cost the small rate more (LO3), with more training images? Both against their number.

    OMP_NUM_THREADS=1 python experiments/learning_order_patched.py [--draws 6]

Trains four sweeps of the laptop scale as it is, with other numbers of images and draws of its own: small and large rate with
patches, both on the 84% that show an image without patches. All else is theirs, steps too: epochs halve as images double. More
epochs would let the large rate learn the patches before its anneal. Images of a draw are nested: the larger set contains the
smaller one. Two draws are trained at a time, on two cores, all sizes and arms of theirs before the next two; what is there is not
trained again, so that a call that is stopped can be followed by one with fewer draws.

Prints points, with 95% intervals over draws, at each size; then of each draw's mean over sizes, of its own least-squares slope
per doubling, and of its line's value at 50,000 images, the paper's number. Differences at the end are left out at a size whose
worse rate may be unfinished (LO3's rule, asked of each two draws). What would say what was written before the run, in
docs/learning_order_theory.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from learning_order_trend import PAPER, Effects, line, words

import lrscope
from lrscope.studies.learning_order import STUDY
from lrscope.studies.learning_order.claims_images import LATE, SHORTLY, SOON, SOON_END
from lrscope.studies.learning_order.effects_images import CLEAN, PATCH, Arm, anneals, curves
from lrscope.studies.types import StudySweep
from lrscope.studies.verdicts import Undetermined

ROOT = Path("runs/patched")
SIZES, STEPS_OF = (500, 1000, 2000), 1000  # the laptop scale has the latter
ARMS = ("small", "large", "small_shown", "large_shown")
FIRST_SEED, DRAWS, TOGETHER = 5020, 6, 2  # no study has these draws, nor another experiment


def main() -> None:
    """Train all arms at all sizes; print the table and, in the last line, each draw's values."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=DRAWS)
    firsts = range(FIRST_SEED, FIRST_SEED + parser.parse_args().draws, TOGETHER)
    begun, found = time.perf_counter(), []
    for first in firsts:
        found.append({size: read({arm: train(arm, size, first) for arm in ARMS}) for size in SIZES})
        print(f"draws {first} to {first + TOGETHER - 1}: {time.perf_counter() - begun:.0f} s", flush=True)
    whole = joined(found)
    print("\n".join(table(whole)))
    print(json.dumps({str(size): {name: of.tolist() for name, of in one.items()} for size, one in whole.items()}))


def train(arm: str, size: int, first: int) -> xr.DataTree:
    """A sweep of the laptop scale with so many images, on the draws of this script from `first` on."""
    wanted = resized(next(sweep for sweep in STUDY.scales["laptop"].sweeps if sweep.name == arm), size, first)
    task = lrscope.named_task(**wanted.arguments)
    return lrscope.sweep(task, config=wanted.config, out=ROOT / f"{arm}_{size}_{first}", jobs=TOGETHER, progress=False)


def resized(sweep: StudySweep, size: int, first: int) -> StudySweep:
    """The same sweep with so many training images and as many steps, of the draws from `first` on."""
    config, seeds = sweep.config, {"first_seed": first, "first_data_seed": first, "data_seeds": TOGETHER}
    length = {} if config.epochs is None else {"epochs": config.epochs * STEPS_OF / size}
    return replace(sweep, task={**sweep.task, "train_size": size}, config=replace(config, **length, **seeds))


def joined(found: Sequence[Mapping[int, Effects]]) -> dict[int, Effects]:
    """Draws that were read apart, side by side."""
    return {
        size: {name: np.concatenate([draws[size][name] for draws in found]) for name in found[0][size]}
        for size in SIZES
    }


def read(results: Mapping[str, xr.DataTree]) -> Effects:
    """Points, one for each draw [U]; NaN where runs that are compared may be unfinished."""
    arms = {name: Arm.of(result, name) for name, result in results.items()}
    for arm in arms.values():
        print(f"  {arm.name} at the end: {arm.end.mean():.1%}, of training images {arm.images.end.mean():.1%}")
    (first,), end = anneals(results["large"]), float(curves(results["large"], CLEAN).epochs[-1])
    patches = {name: curves(results[name], PATCH) for name in ("small", "large")}
    late = {name: one.mean(LATE * first, first) for name, one in patches.items()}

    def harm(rate: str) -> np.ndarray:
        return arms[f"{rate}_shown"].minus(arms[rate])

    effects = {
        "patches alone: small rate, early on": lambda: patches["small"].mean(SOON * first, SOON_END * first),
        "large rate, just before the anneal": lambda: late["large"],
        "large rate, rise at the anneal": lambda: patches["large"].mean(first, first + SHORTLY * end) - late["large"],
        "large rate, at the end": lambda: patches["large"].end,
        "small rate's lead just before the anneal": lambda: late["small"] - late["large"],
        "clean images: large minus small rate": lambda: arms["large"].minus(arms["small"]),
        "the same without patches": lambda: arms["large_shown"].minus(arms["small_shown"]),
        "harm to the small rate": lambda: harm("small"),
        "harm to the large rate": lambda: harm("large"),
        "harm to the small rate minus to the large one": lambda: harm("small") - harm("large"),
    }
    return {name: 100 * _or_nan(name, effect, len(arms["large"].end)) for name, effect in effects.items()}


def _or_nan(name: str, effect: Callable[[], np.ndarray], draws: int) -> np.ndarray:
    try:
        return effect()
    except Undetermined as reason:
        print(f"  {name}: left out: {reason}", flush=True)
        return np.full(draws, np.nan)


def table(found: Mapping[int, Effects]) -> list[str]:
    """A row for each quantity."""
    sizes = " | ".join(f"{size:,}" for size in found)
    lines = [f"| points | {sizes} | mean of the sizes | per doubling | at {PAPER:,} |", "|---" * (len(found) + 4) + "|"]
    for name in next(iter(found.values())):
        values = np.stack([one[name] for one in found.values()])
        cells = (*values, values.mean(0), *line(np.array(list(found)), values))
        lines.append(f"| {name} | {' | '.join(map(words, cells))} |")
    return lines


if __name__ == "__main__":
    main()
