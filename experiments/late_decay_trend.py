"""Is a later decay better at equal training loss (LD1), and more so the later both decays are? Falls of the test loss.

    OMP_NUM_THREADS=1 python experiments/late_decay_trend.py [--draws 6]

LD1 asks this of one pair of decays, at T = 160 and 2 T; here there are three. The sweep is the study's at laptop scale, of other
draws. All sub-paths of a draw leave one main path: three at 2 T, as long as the study's, and three at T that train on until
they have caught up. These have 1.5 times as many epochs as the sums of learning rates ask for, in the study twice as many: its
six draws had caught up after 1.1 to 1.3 times.

Prints falls in thousandths of a decade of test loss, with 95% intervals over draws: at equal training loss as LD1 reads it, and
at equal steps, both sub-paths of the study's length. Each draw's own least-squares line gives the slope per doubling of T. LD1's
rules for what is left out hold. What would say what was written before the run, in docs/late_decay_theory.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import xarray as xr
from learning_order_trend import line, words

import lrscope
from lrscope.config import Branch
from lrscope.schema import segment
from lrscope.studies.late_decay import STUDY
from lrscope.studies.late_decay.claims_network import LEFT_OUT
from lrscope.studies.late_decay.effects_network import COOLDOWN, LONG, SubPaths, fall_at_the_end_of
from lrscope.studies.types import StudySweep
from lrscope.studies.verdicts import Undetermined

ROOT = Path("runs/late_decay_trend")
# T. At 80 epochs 97.9% of the images were fitted in the evidence, so that 40 to 80 would be left out.
TIMES = (64, 100, 160)
MORE = 1.5
FIRST_SEED, DRAWS = 8000, 6  # no study has them, nor another experiment


def main() -> None:
    """Train all draws; print the table and, in the last line, each draw's values."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=DRAWS)
    begun, results = time.perf_counter(), []
    for draw in range(FIRST_SEED, FIRST_SEED + parser.parse_args().draws):
        results.append(train(draw))
        print(
            f"draw {draw}: {time.perf_counter() - begun:.0f} s, {time.process_time():.0f} of processor time", flush=True
        )
    found = {"at equal training loss": at_equal_loss(results), "at equal steps": at_equal_steps(results)}
    print("\n".join(table(found)))
    print(json.dumps({name: values.tolist() for name, values in found.items()}))


def train(draw: int) -> xr.DataTree:
    """The sub-paths of one draw."""
    wanted = paired(next(sweep for sweep in STUDY.scales["laptop"].sweeps if sweep.name == "equal_loss"), draw)
    task = lrscope.named_task(**wanted.arguments)
    return lrscope.sweep(task, config=wanted.config, out=ROOT / str(draw), jobs=1, progress=False)


def paired(sweep: StudySweep, draw: int) -> StudySweep:
    """The study's sweep with a pair of sub-paths for each of `TIMES`, of one draw."""
    late, early = sweep.config.branches
    branches = (
        replace(late, at=tuple(2.0 * at for at in TIMES)),
        *(_until_it_has_caught_up(early, late, at) for at in TIMES),
    )
    seeds = {"first_seed": draw, "first_data_seed": draw, "data_seeds": 1}
    return replace(sweep, config=replace(sweep.config, epochs=2 * max(TIMES), branches=branches, **seeds))


def _until_it_has_caught_up(early: Branch, late: Branch, at: float) -> Branch:
    (factor,) = early.factors
    return replace(early, name=_name(at), at=(at,), epochs=(late.epochs or 0) + MORE * at / factor)


def _name(at: float) -> str:
    return f"{LONG}_{at:g}"


def at_equal_loss(results: Sequence[xr.DataTree]) -> np.ndarray:
    """LD1's fall for each of `TIMES` [T, U], in thousandths of a decade; a row of NaN where LD1 would be undetermined."""
    later = joined([SubPaths.of(result, COOLDOWN) for result in results])
    found = np.full((len(TIMES), len(results)), np.nan)
    for k, at in enumerate(TIMES):
        try:
            found[k] = 1000 * fall_at_the_end_of(only(later, k), joined([SubPaths.of(r, _name(at)) for r in results]))
        except Undetermined as reason:
            print(f"{at:g} to {2 * at:g} left out: {reason}")
        lost = int(np.isnan(found[k]).sum())
        print(
            f"{at:g} to {2 * at:g}: {later.fitted[k].mean():.1%} fitted after the later, {lost} of {len(results)} draws lost"
        )
        found[k] = np.nan if lost > LEFT_OUT * len(results) else found[k]
    return found


def at_equal_steps(results: Sequence[xr.DataTree]) -> np.ndarray:
    """The same where both sub-paths are as long as that of 2 T [T, U]: the early one is read between its logged moments."""
    later = joined([SubPaths.of(result, COOLDOWN) for result in results])
    length = float(segment(results[0], COOLDOWN)["epoch"].values[-1])
    early = np.array([[_test_loss_after(length, result, _name(at)) for result in results] for at in TIMES])
    return 1000 * np.log10(early / later.test)


def _test_loss_after(length: float, result: xr.DataTree, branch: str) -> float:
    epochs = segment(result, branch)["epoch"].values
    return float(np.interp(length, epochs, SubPaths.of(result, branch).test_on_way[0, 0]))


def joined(paths: Sequence[SubPaths]) -> SubPaths:
    """Draws of one branch, trained one by one, as one."""
    columns = {
        f.name: np.concatenate([getattr(p, f.name) for p in paths], 1) for f in fields(SubPaths) if f.name != "at"
    }
    return SubPaths(at=paths[0].at, **columns)


def only(paths: SubPaths, k: int) -> SubPaths:
    """The sub-paths that leave at time k."""
    return SubPaths(*(getattr(paths, f.name)[k : k + 1] for f in fields(SubPaths)))


def table(found: dict[str, np.ndarray]) -> list[str]:
    """A row for each reading: its interval for each pair, of the mean over pairs and of the slope per doubling."""
    pairs = " | ".join(f"{at:g} to {2 * at:g}" for at in TIMES)
    lines = [
        f"| thousandths of a decade | {pairs} | mean of the pairs | per doubling of T |",
        "|---" * (len(TIMES) + 3) + "|",
    ]
    for name, values in found.items():
        lines.append(f"| {name} | {' | '.join(map(words, (*values, *over_pairs(values))))} |")
    return lines


def over_pairs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each draw's mean over pairs [T, U], and its slope per doubling of T. Pairs that are left out do not count, nor do draws
    that say nothing of another one; NaN with fewer than three pairs."""
    kept = ~np.isnan(values).all(1)
    draws = ~np.isnan(values[kept]).any(0)
    if kept.sum() < 3:
        return (np.full(values.shape[1], np.nan),) * 2
    slope, _ = line(np.array(TIMES), values[:, draws])
    return values[:, draws].mean(0), slope


if __name__ == "__main__":
    main()
