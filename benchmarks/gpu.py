"""What the engine does on a GPU: right to rounding, to the byte after a stop, fast, within its memory, without waiting.

    python benchmarks/gpu.py [--device cuda] [--seconds 3]

Needs torch, NumPy and this package, and is meant to take less than four minutes on a GPU. The device is an argument: on
`cpu` everything is checked but memory and waiting, which only a GPU can tell. Prints one table; the last line is one JSON
object. The exit code is 1 if a check fails. Speed is reported, not judged.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from common import trainer_of
from torch import Tensor, nn
from torch.nn import functional

import lrscope
from lrscope.engine.chunk import ChunkTrainer, Stopped
from lrscope.engine.context import Context
from lrscope.engine.plan import Plan
from lrscope.engine.sweep_folder import Store
from lrscope.tasks.models import MLP, ConvNet

AGREE = 1e-9  # relative, of float64 after 50 steps where training is not chaotic (docs/architecture.md)
SIZES = (16, 64, 256)  # runs in a batch
UNASKED = "only a GPU tells"


@dataclass(frozen=True)
class Row:
    """A line of the table; `passed` is None where there is nothing to judge."""

    check: str
    found: str
    passed: bool | None = None


@dataclass(frozen=True)
class Case:
    """A task on made-up examples and the steps it is trained with."""

    name: str
    model: Callable[[], nn.Module]
    shape: tuple[int, ...]
    outputs: int
    batch: int

    def examples(self, count: int) -> tuple[Tensor, Tensor]:
        """Inputs [N, ...] and class numbers [N]; the arithmetic does not look at them."""
        stream = torch.Generator().manual_seed(0)
        x = torch.randn(count, *self.shape, generator=stream)
        return x, torch.randint(0, self.outputs, (count,), generator=stream)

    def task(self) -> lrscope.Task:
        """Eight batches to train on, one to test on."""
        return lrscope.Task(self.model, self.examples(8 * self.batch), self.examples(self.batch), name=self.name)


TICKS = Case("ticks: MLP 32-32-32-2, batch 16", partial(MLP, (32, 32, 32, 2), norm="layer"), (32,), 2, 16)
CONVNET = Case("ConvNet k = 8, batch 128", partial(ConvNet, 3, 10, 8), (3, 32, 32), 10, 128)
SMALL = Case("ConvNet k = 4, batch 32", partial(ConvNet, 3, 4, 4), (3, 8, 8), 4, 32)


def context_of(case: Case, device: str, runs: int, steps: int = 50, precision: str = "float32") -> Context:
    """A sweep of so many runs on the sphere, at learning rates where training is not chaotic."""
    config = lrscope.SweepConfig(
        lrs=(1e-4, 1e-3),
        seeds=max(1, runs // 2),
        steps=steps,
        batch_size=case.batch,
        precision=precision,
        finetune_lrs=(1e-4,),
        finetune_steps=8,
        average=(2,),
        average_every=4,
    )
    engine = lrscope.EngineConfig(device=device, jobs=1)
    return Context.build(case.task(), config, engine, Store(Path("unused")))


def batched(runs: int) -> Plan:
    """The plan of one batch."""
    return Plan("batched", runs, False, "", 0.0)


def trained(trainer: ChunkTrainer, stop_after: int | None = None) -> ChunkTrainer:
    """The trainer at its end, or where it was stopped after so many looks at whether it should."""
    looks = iter(range(stop_after)) if stop_after is not None else None
    with contextlib.suppress(Stopped):
        trainer.run(lambda tick: None, lambda now: None, lambda: looks is not None and next(looks, None) is None)
    return trainer


def agreement(device: str) -> Iterable[Row]:
    """Float64 on the device against float64 on this machine's CPU, run by run."""
    for case in (TICKS, SMALL):
        found = [
            trained(trainer_of(context_of(case, where, 4, precision="float64"), batched(4))).results()
            for where in (device, "cpu")
        ]
        ours, theirs = ({name: value.cpu().double() for name, value in side.items()} for side in found)
        worst = max(float((ours[n] - theirs[n]).norm() / theirs[n].norm().clamp(min=1e-300)) for n in theirs)
        yield Row(f"float64 agrees with the CPU, {case.name}", f"to {worst:.1e}", worst < AGREE)


def resume(device: str) -> Iterable[Row]:
    """Stopped in the middle of every phase and continued by another trainer, against an unbroken run."""
    for case in (TICKS, SMALL):
        context = context_of(case, device, 4, steps=16)
        whole = trained(trainer_of(context, batched(4))).results()
        moments = (1, 13, 18, 22)
        equal = 0
        for moment in moments:
            stopped, goes_on = trained(trainer_of(context, batched(4)), moment), trainer_of(context, batched(4))
            goes_on.load({name: value.cpu() for name, value in stopped.tensors.items()}, stopped.cursor)
            broken = trained(goes_on).results()
            equal += all(same_bytes(value, broken[name]) for name, value in whole.items())
        found = f"{equal} of {len(moments)} stops"
        yield Row(f"continued to the byte, {case.name}", found, equal == len(moments))


def same_bytes(one: Tensor, other: Tensor) -> bool:
    """Are two tensors equal to the last bit?"""
    return one.cpu().numpy().tobytes() == other.cpu().numpy().tobytes()


def speed(device: str, seconds: float) -> Iterable[Row]:
    """Microseconds a run-step: a plain loop over single runs, ours one at a time, ours in batches."""
    for case in (TICKS, CONVNET):
        naive = naive_seconds(case, device, seconds)
        context = context_of(case, device, max(SIZES), steps=100_000)
        plans = [Plan("single", 1, False, "", 0.0), *map(batched, SIZES)]
        ours = {plan.chunk: seconds_of(context, plan, seconds) / plan.chunk for plan in plans}
        words = ", ".join(f"{chunk} at once {t * 1e6:.3g} us" for chunk, t in ours.items())
        yield Row(
            f"a run-step of {case.name}",
            f"plain loop {naive * 1e6:.3g} us, {words}: {naive / min(ours.values()):.3g} times as fast",
        )


def naive_seconds(case: Case, device: str, seconds: float) -> float:
    """Seconds a step of one run as the papers' code trains it: eager, without logging."""
    with torch.random.fork_rng(devices=[]):
        model = case.model().to(device)
    for parameter in model.readout.parameters():
        parameter.requires_grad_(False)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=1e-3)
    x, y = (t.to(device) for t in case.examples(case.batch))

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        with torch.no_grad():
            norm = torch.sqrt(torch.stack([p.square().sum() for p in weights]).sum())
            for p in weights:
                p.div_(norm)

    return timed(step, device, seconds)


def seconds_of(context: Context, plan: Plan, seconds: float) -> float:
    """Seconds a step of the plan's first batch."""
    trainer = trainer_of(context, plan)
    return timed(lambda: trainer.advance(4), str(context.device), seconds) / 4


def timed(call: Callable[[], object], device: str, seconds: float) -> float:
    """Mean seconds of a call once it is warm; the device has finished its work at both ends."""
    call()
    wait(device)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        call()
        count += 1
        if count % 16 == 0:
            wait(device)  # otherwise a queue of calls grows beyond the time
    wait(device)
    return (time.perf_counter() - begun) / count


def wait(device: str) -> None:
    """Until the device has finished."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def memory(device: str) -> Row:
    """Peak of allocated memory over a few steps: grows no faster than the number of runs in a batch."""
    if not device.startswith("cuda"):
        return Row("memory is bounded by the batch", UNASKED)
    peaks = {}
    for runs in SIZES:
        context = context_of(CONVNET, device, runs, steps=100_000)
        trainer = trainer_of(context, batched(runs))
        torch.cuda.reset_peak_memory_stats()
        trainer.advance(8)
        peaks[runs] = torch.cuda.max_memory_allocated()
    words = ", ".join(f"{runs} runs {peak / 2**20:.0f} MiB" for runs, peak in peaks.items())
    first, last = SIZES[0], SIZES[-1]
    return Row("memory is bounded by the batch", words, peaks[last] <= 1.1 * peaks[first] * last / first)


def waiting(device: str) -> Row:
    """How often three steps within an epoch wait for the GPU."""
    if not device.startswith("cuda"):
        return Row("steps do not wait for the GPU", UNASKED)
    trainer = trainer_of(context_of(TICKS, device, 64, steps=100_000), batched(64))
    trainer.advance(4)  # an epoch's order is drawn on the CPU and sent once
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        trainer.advance(3)
    torch.cuda.set_sync_debug_mode("default")
    count = sum("synchroniz" in str(warning.message) for warning in seen)
    return Row("steps do not wait for the GPU", f"{count} waits in 3 steps", count == 0)


def rows(device: str, seconds: float) -> Iterable[Row]:
    """All checks, one after the other."""
    yield from agreement(device)
    yield from resume(device)
    yield memory(device)
    yield waiting(device)
    yield from speed(device, seconds)


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each timing")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("--device: this machine has no CUDA that PyTorch sees: use --device cpu")
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU, one thread"
    print(f"{name}, torch {torch.__version__}\n\n| check | found | |\n|---|---|---|")
    found = []
    for row in rows(options.device, options.seconds):
        found.append(row)
        print(
            f"| {row.check} | {row.found} | {'' if row.passed is None else 'yes' if row.passed else '**no**'} |",
            flush=True,
        )
    failed = [row.check for row in found if row.passed is False]
    print(json.dumps({"name": "gpu", "device": name, "failed": failed, **{row.check: row.found for row in found}}))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
