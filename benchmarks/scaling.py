"""What dispatching on Ray costs: 100,000 chunks of 10 ms each, computed by a fake trainer that sleeps and saves a result.

For every number of chunks a fresh driver starts a local cluster with `--slots` workers, warms it up and times the rest.
Ours: chunks a second. Baseline: the ideal, slots / chunk time. `driver_mib` is the driver's peak resident memory,
`driver_cpu_ms` its processor time for a chunk, `overhead_ms` what a chunk costs a slot beyond its 10 ms, saving (with
fsync) included, `listing_s` how long finding out what is done takes afterwards. `ceiling` is the rate with chunks of no
length that save nothing: what the driver can hand out at most.

    python benchmarks/scaling.py [--chunks 1000,10000,100000] [--slots 4] [--ms 10]

The last line is one JSON object; `ratio` is ours / ideal at the largest number of chunks.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lrscope.engine.dispatch import Work
from lrscope.engine.on_ray import cluster, run_on_ray
from lrscope.engine.sweep_folder import DONE, Store
from lrscope.engine.tick import Tick


@dataclass(frozen=True)
class FakeJob:
    """Units that take `seconds` and leave 1 KiB in the store, or nothing."""

    folder: Path
    seconds: float
    saves: bool = True

    def __call__(self) -> Work:
        """In every worker."""
        store = Store(self.folder)
        result = {"numbers": torch.arange(128, dtype=torch.float64)}

        def work(unit: str, tick: Callable[[Tick], None], stopping: Callable[[], bool]) -> None:
            stopping()
            time.sleep(self.seconds)
            if self.saves:
                store.save(unit + DONE, result, {"seconds": self.seconds})
            tick(Tick(1))

        return work


def timed(job: FakeJob, count: int, slots: int) -> float:
    """Seconds for `count` units."""
    steps = 0

    def tick(tick: Tick) -> None:
        nonlocal steps
        steps += tick.run_steps

    begun = time.monotonic()
    run_on_ray((f"{i:05d}" for i in range(count)), job, tick, lambda unit: None, slots)
    assert steps == count, (steps, count)
    return time.monotonic() - begun


def one(count: int, slots: int, seconds: float) -> dict[str, float]:
    """A fresh driver's measurements for one number of chunks."""
    with tempfile.TemporaryDirectory() as folder, cluster(slots, "cpu"):
        store = Store(Path(folder))
        store.create()
        timed(FakeJob(Path(folder), 0.5, saves=False), 2 * slots, slots)  # workers import PyTorch
        worked = time.process_time()
        passed = timed(FakeJob(Path(folder), seconds), count, slots)
        worked = time.process_time() - worked
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begun = time.monotonic()
        done, _ = store.units()
        listing = time.monotonic() - begun
        assert len(done) == count
        free = timed(FakeJob(Path(folder), 0.0, saves=False), min(count, 10_000), slots)
    rate = min(count, 10_000) / free
    return {"seconds": passed, "cpu": worked, "peak": peak, "listing": listing, "ceiling": rate}


def main() -> None:
    """Measure each number of chunks in a process of its own; print them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chunks", default="1000,10000,100000")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--ms", type=float, default=10.0)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.slots, options.ms / 1000)))
        return
    counts = [int(n) for n in options.chunks.split(",")]
    found = {}
    for count in counts:
        command = [sys.executable, __file__, "--one", count, "--slots", options.slots, "--ms", options.ms]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        found[count] = json.loads(done.stdout.splitlines()[-1])
        f = found[count]
        print(f"{count} chunks: {f['seconds']:.1f} s, {count / f['seconds']:.0f}/s, driver's peak {f['peak']:.0f} MiB")
    most = max(counts)
    ideal, ours = options.slots / options.ms * 1000, most / found[most]["seconds"]
    result = {
        "name": "scaling",
        "ratio": round(ours / ideal, 3),
        "ours": round(ours, 1),
        "baseline": round(ideal, 1),
        "unit": "chunks/s",
        "slots": options.slots,
        "driver_mib": {str(n): round(f["peak"]) for n, f in found.items()},
        "driver_cpu_ms": {str(n): round(f["cpu"] / n * 1000, 2) for n, f in found.items()},
        "overhead_ms": {
            str(n): round(options.slots * f["seconds"] / n * 1000 - options.ms, 2) for n, f in found.items()
        },
        "listing_s": {str(n): round(f["listing"], 3) for n, f in found.items()},
        "ceiling": round(max(f["ceiling"] for f in found.values())),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
