"""When are patches learned (LO2) as they come to stand out less? Accuracies on patches alone, against their contrast.

    OMP_NUM_THREADS=1 python experiments/learning_order_contrast.py

Trains LO2's three sweeps of the second evidence - small rate, large rate, small rate with noise - with fainter patterns and draws
of its own; all else is theirs. The pattern that tells the class is then 0.46 times its contrast as long as the patch behind it:
0.14, 0.10 and 0.07, in the paper 0.046.

Prints accuracies on patches alone in points, with 95% intervals over draws: at the end of each arm, early on and just before the
anneal as LO2 reads them, the small rate's lead over both others just before it, and slopes per halving of the contrast.
What would say what was written before the run, in docs/learning_order_theory.md.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from learning_order_trend import second_evidence, words

import lrscope
from lrscope.studies.learning_order.claims_images import LATE, SOON, SOON_END
from lrscope.studies.learning_order.effects_images import PATCH, Arm, anneals, curves
from lrscope.studies.types import StudySweep

ROOT = Path("runs/contrast")
CONTRASTS = (0.3, 0.21, 0.15)
FIRST_SEED, DRAWS = 5010, 4  # no study has them, nor learning_order_trend.py
ARMS = ("small", "large", "small_noise")


def main() -> None:
    """Train all arms at all contrasts; print the table and, in the last line, each draw's values."""
    begun = time.perf_counter()
    found = {contrast: read({arm: train(arm, contrast) for arm in ARMS}) for contrast in CONTRASTS}
    print("\n".join([*table(found), f"{time.perf_counter() - begun:.0f} s"]))
    print(json.dumps({str(c): {name: draws.tolist() for name, draws in one.items()} for c, one in found.items()}))


def train(arm: str, contrast: float) -> xr.DataTree:
    """A sweep of the second evidence with such patches, on the seeds of this script."""
    wanted = fainter(second_evidence(arm), contrast)
    begun, task = time.perf_counter(), lrscope.named_task(**wanted.arguments)
    result = lrscope.sweep(task, config=wanted.config, out=ROOT / f"{arm}_{contrast}", jobs=1, progress=False)
    print(f"{arm}, contrast {contrast}: {time.perf_counter() - begun:.0f} s", flush=True)
    return result


def fainter(sweep: StudySweep, contrast: float) -> StudySweep:
    """The same sweep with another contrast, of this script's draws."""
    plain, *options = sweep.task["patches"].split(",")
    kept = [option for option in options if not option.startswith("contrast=")]
    seeds = {"first_seed": FIRST_SEED, "first_data_seed": FIRST_SEED, "data_seeds": DRAWS}
    task = {**sweep.task, "patches": ",".join([plain, f"contrast={contrast}", *kept])}
    return replace(sweep, task=task, config=replace(sweep.config, **seeds))


def read(results: dict[str, xr.DataTree]) -> dict[str, np.ndarray]:
    """Points on patches alone, one for each draw [U]."""
    (first,) = anneals(results["large"])
    patches = {arm: curves(result, PATCH) for arm, result in results.items()}
    late = {arm: 100 * one.mean(LATE * first, first) for arm, one in patches.items()}
    clean = {arm: 100 * Arm.of(result, arm).end for arm, result in results.items()}
    return {
        "small rate's lead over the large one just before the anneal": late["small"] - late["large"],
        "small rate's lead over that with noise just before the anneal": late["small"] - late["small_noise"],
        "small rate, early on": 100 * patches["small"].mean(SOON * first, SOON_END * first),
        **{f"{arm}, just before the anneal": points for arm, points in late.items()},
        **{f"{arm}, at the end": 100 * one.end for arm, one in patches.items()},
        "clean images at the end, large minus small": clean["large"] - clean["small"],
    }


def table(found: dict[float, dict[str, np.ndarray]]) -> list[str]:
    """A row for each quantity: its interval at each contrast, and each draw's own least-squares slope per halving."""
    lines = [f"| points | {' | '.join(map(str, found))} | per halving |", "|---" * (len(found) + 2) + "|"]
    halvings = -np.log2(np.array(list(found)))
    for name in next(iter(found.values())):
        values = np.stack([one[name] for one in found.values()])
        slope = np.polyfit(halvings, values, 1)[0]
        lines.append(f"| {name} | {' | '.join(map(words, (*values, slope)))} |")
    return lines


if __name__ == "__main__":
    main()
