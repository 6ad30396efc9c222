"""Early answers: how much of the grid `--adaptive` trains, and how far its map is from the whole grid's.

Trains a task's whole grid and the adaptive sweep with the same settings and compares the maps: distance of each border
and of the ends of 2A in grid steps, trained learning rates whose label differs, trained runs whose vote differs.

    python benchmarks/adaptive.py                                    # digits, as in demo.toml: a few minutes
    python benchmarks/adaptive.py --task ticks --data-seeds 2 --seeds 3
    python benchmarks/adaptive.py --task ticks --full runs/ticks     # replayed from a finished whole grid, trains nothing
    python benchmarks/adaptive.py --task fashion-mnist --full runs/fashion-mnist --train

The last line is one JSON object; `ratio` is the share of the whole grid's run-steps (ours / baseline).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import lrscope
from lrscope.config.settings import MapSettings, load_settings
from lrscope.mapping.gather import gather
from lrscope.mapping.replay import replay, run_steps
from lrscope.schema import NOT_TRAINED

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = {
    "digits": ROOT / "demo.toml",
    "ticks": ROOT / "experiments" / "ticks.toml",
    "fashion-mnist": ROOT / "experiments" / "fashion-mnist.toml",
}


def main() -> None:
    """Parse, train or replay, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", choices=CONFIGS, default="digits")
    parser.add_argument("--lrs", help="another grid than the experiment's, LOW:HIGH:COUNT")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--data-seeds", type=int)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--full", type=Path, help="a finished whole grid instead of training one")
    parser.add_argument("--train", action="store_true", help="with --full: train the adaptive sweep, do not replay it")
    arguments = parser.parse_args()
    names = ("lrs", "seeds", "data_seeds", "jobs")
    settings = load_settings(CONFIGS[arguments.task], {n: getattr(arguments, n) for n in names})
    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.full is None:
            full = trained(settings, Path(folder) / "full", False, spent)
        else:
            full = lrscope.open_result(arguments.full)
        if arguments.full is not None and not arguments.train:
            ours, rounds = replay(full)
            print(f"replayed {len(rounds)} rounds")
        else:
            ours = trained(settings, Path(folder) / "adaptive", True, spent)
            same_settings(full, ours)
    done, whole = run_steps(ours)
    found = {
        "name": f"adaptive {arguments.task}",
        "ratio": done / whole,
        "ours": done,
        "baseline": whole,
        "unit": "run-steps",
        "grid": full.sizes["lr"],
        "runs": int(full["pretrain/status"].size),
        **compare(full, ours),
        **{f"seconds_{name}": round(value, 1) for name, value in spent.items()},
    }
    print(json.dumps(found))


def trained(settings: MapSettings, out: Path, adaptive: bool, spent: dict[str, float]) -> xr.DataTree:
    """Train (or continue) the sweep of these settings."""
    from dataclasses import replace

    task = lrscope.named_task(**settings.task_options())
    config = replace(settings.sweep_config(), adaptive=adaptive)
    begun = time.perf_counter()
    result = lrscope.sweep(task, config=config, engine=settings.engine_config(), out=out)
    spent["adaptive" if adaptive else "whole"] = time.perf_counter() - begun
    return result


def same_settings(full: xr.DataTree, ours: xr.DataTree) -> None:
    """Two maps can be compared if they differ in nothing but the search."""
    one, other = (json.loads(r.attrs["config"]) for r in (full, ours))
    differing = [k for k in one if k != "adaptive" and one[k] != other[k]]
    if differing:
        raise SystemExit(f"--full holds a sweep with other settings ({', '.join(differing)}): give the same ones")


def compare(full: xr.DataTree, ours: xr.DataTree) -> dict[str, Any]:
    """Distances between the maps of the whole grid and of the partly trained one, also printed as a table."""
    theirs, mine = lrscope.regimes(full), lrscope.regimes(ours)
    whole, part = gather(full), gather(ours)
    trained_L = part.trained_LU.any(axis=1)
    print(f"{'learning rate':>13}  whole grid  adaptive  runs trained  fine-tuned")
    for k, lr in enumerate(whole.lrs):
        print(
            f"{lr:13.4g}  {theirs.labels[k].regime:<10}  {mine.labels[k].regime:<8}  {part.trained_LU[k].sum():12}"
            f"  {part.tuned_LU[k].sum():10}"
        )
    away = {name: steps(whole.lrs, border.lr, mine.borders[name].lr) for name, border in theirs.borders.items()}
    ends = [range_of([x.regime for x in found.labels], "2A") for found in (theirs, mine)]
    differing = [k for k in np.flatnonzero(trained_L) if theirs.labels[k].regime != mine.labels[k].regime]
    votes = int((part.trained_LU & (whole.votes_LU != part.votes_LU)).sum())
    assert (ours["pretrain/status"] == NOT_TRAINED).sum() == (~part.trained_LU).sum()
    both = None if None in ends else max(abs(a - b) for a, b in zip(*ends, strict=True))  # type: ignore[arg-type]
    return {
        "border_steps": away,
        "steps_2A": 0 if ends[0] == ends[1] else both,
        "labels_trained": int(trained_L.sum()),
        "labels_differ": len(differing),
        "votes_trained": int(part.trained_LU.sum()),
        "votes_differ": votes,
    }


def steps(lrs: Any, one: float | None, other: float | None) -> float | None:
    """Distance of two borders in grid steps: 0 if neither is there, null if only one is."""
    if one is None or other is None:
        return 0 if one is other else None
    return abs(int(np.searchsorted(lrs, one)) - int(np.searchsorted(lrs, other)))


def range_of(labels: list[str], regime: str) -> tuple[int, int] | None:
    """First and last position of a regime."""
    at = [k for k, label in enumerate(labels) if label == regime]
    return (at[0], at[-1]) if at else None


if __name__ == "__main__":
    main()
