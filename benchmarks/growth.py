"""Time, memory and disk against the number of runs, of steps, and the width: whole sweeps of an MLP on digits, each in a
fresh process with two workers.

    python benchmarks/growth.py [--most 10000] [--plot docs/growth.png]

The last line is one JSON object; `ours` is the peak memory of all processes at the most runs, `baseline` at a hundredth as
many: a ratio near 1 says that the sweep's size does not reach memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from common import last_line

LRS = 20
# One sweep: its arguments come as JSON, its figures go out so. The result is left on disk, where the user would open it.
SWEEP = """
import json, resource, sys, time
from pathlib import Path
import torch
import lrscope
from lrscope.tasks.builtin import named_task

given = json.loads(sys.argv[1])
config = lrscope.SweepConfig(
    lrs=lrscope.log_grid(1e-4, 1.0, given["lrs"]), seeds=given["seeds"], steps=given["steps"], batch_size=32, log_points=10,
    random_points=2,
)
task = named_task("digits", "mlp", width=given["width"], train_size=512, test_size=256, validation=0)
engine = lrscope.EngineConfig(device="cpu", jobs=2, path="batched", chunk=50, compile=True)
begun = time.perf_counter()
lrscope.sweep(task, config=config, engine=engine, out=given["out"], progress=False)
seconds = time.perf_counter() - begun
size = sum(p.stat().st_size for p in Path(given["out"]).rglob("*") if p.is_file())
print(json.dumps({"seconds": seconds, "parent": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                  "worker": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, "disk": size / 2**20}))
"""


def measured(*, runs: int = 100, steps: int = 160, width: int = 32) -> dict[str, float]:
    """Seconds, peak MiB of parent and worker, MiB on disk of one sweep."""
    lrs = min(runs, LRS)
    with tempfile.TemporaryDirectory() as out:
        given = {"lrs": lrs, "seeds": runs // lrs, "steps": steps, "width": width, "out": str(Path(out) / "result")}
        done = subprocess.run(
            [sys.executable, "-c", SWEEP, json.dumps(given)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(name: str, values: list[int]) -> list[dict[str, float]]:
    """Measure and print one table."""
    print(f"\n{name:>8s}  seconds  ms per run  parent MiB  worker MiB  disk MiB")
    rows = []
    for value in values:
        row = measured(**{name: value})
        runs = value if name == "runs" else 100
        print(
            f"{value:8d} {row['seconds']:8.1f} {row['seconds'] / runs * 1e3:11.1f} {row['parent']:11.0f} "
            f"{row['worker']:11.0f} {row['disk']:9.1f}",
            flush=True,
        )
        rows.append({name: value, **row})
    return rows


def draw(tables: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Time and memory against each axis."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    handles: list[Line2D] = []
    for axes, (name, rows) in zip(figure.subplots(1, 3), tables.items(), strict=True):
        x, other = [row[name] for row in rows], axes.twinx()
        handles = axes.plot(x, [row["seconds"] for row in rows], "o-", color="#0072b2", label="seconds (left)")
        handles += other.plot(x, [row["parent"] for row in rows], "s--", color="#d55e00", label="MiB, parent (right)")
        handles += other.plot(x, [row["worker"] for row in rows], "^--", color="#009e73", label="MiB, worker (right)")
        axes.set(xscale="log", xlabel=name)
        for scale in (axes, other):
            scale.set_ylim(0)
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--most", type=int, default=10_000, help="runs of the largest sweep")
    parser.add_argument("--plot", type=Path, help="also draw the tables into this PNG")
    options = parser.parse_args()
    runs = [n for n in (10, 100, 1000, 3000, 10_000) if n <= options.most]
    tables = {
        "runs": table("runs", runs),
        "steps": table("steps", [40, 160, 640, 2560]),
        "width": table("width", [8, 16, 32, 64, 128]),
    }
    if options.plot is not None:
        draw(tables, options.plot)
    peak = {int(row["runs"]): row["parent"] + 2 * row["worker"] for row in tables["runs"]}
    last_line("growth", peak[runs[-1]], peak[runs[1]], "MiB, all processes")


if __name__ == "__main__":
    main()
