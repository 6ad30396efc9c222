"""The plan of a sweep: phases in steps, runs cut into chunks, and the path that trains them.

The plan is made once, kept with the results, and followed to the bit by whoever continues the sweep.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from lrscope.config import MOST_STEPS, SweepConfig
from lrscope.errors import LrscopeError

MOST_SECONDS = 1e9  # ours, of a step: it makes what a stranger's plan predicts a number
NO_PLAN = "plan: what is kept of it is no plan of lrscope, or of a newer one: update lrscope, or choose another --out"


@dataclass(frozen=True)
class Phase:
    """A stretch of training: `windows` are the step counts at which metrics are logged, the last one is its length."""

    kind: str  # pretrain | average | finetune
    windows: tuple[int, ...]
    finetune_lr: float | None = None
    snapshots: tuple[int, ...] = ()  # step counts, all of them windows, at which weights are kept
    warmup: int = 0  # steps of a linear rise of the learning rate

    @property
    def steps(self) -> int:
        """Length in optimizer steps."""
        return self.windows[-1]


@dataclass(frozen=True)
class Chunk:
    """Runs that train together: one data seed, pairs (seed, lr). They go through the sweep's phases from number `first`
    up to, without it, `stop` (None: to the end)."""

    name: str
    data_seed: int
    runs: tuple[tuple[int, float], ...]
    first: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class Replan:
    """A change of plan, and why: the chunk `unit` of `runs` runs was cut `into` two in phase number `phase` after `step`
    steps; or the functions `without` are not generated any more; or no more than `points` random points are taken at a time."""

    unit: str
    into: tuple[str, ...]
    runs: int
    phase: int
    step: int
    reason: str
    without: tuple[str, ...] = ()
    points: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Replan:
        """From the JSON-ready form."""
        return cls(**{**values, "into": tuple(values["into"]), "without": tuple(values.get("without", ()))})


@dataclass(frozen=True)
class Plan:
    """How a sweep is trained. `chosen` says by which measurements, in words and numbers; `unroll` is the number of
    steps in one call of a compiled program; `fused`: compiled by our own generator, not by TorchInductor, and with the
    steps the functions `generated` (None: a plan older than this record); `points`: random points in memory at a time (0:
    all); `replans` lists what was changed on the way, in
    its order."""

    path: str
    chunk: int
    compiled: bool
    chosen: str
    run_step_seconds: float
    unroll: int = 1
    fused: bool = False
    generated: tuple[str, ...] | None = None
    points: int = 0
    replans: tuple[Replan, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Plan:
        """The inverse of `to_dict`.

        Raises:
            LrscopeError: no plan, or one that cannot be followed.
        """
        try:
            replans = tuple(Replan.from_dict(r) for r in values.get("replans", ()))
            generated = values.get("generated")
            made = None if generated is None else tuple(generated)
            plan = cls(**{**values, "replans": replans, "generated": made})
        except (TypeError, KeyError, AttributeError, ValueError):
            plan = None
        if plan is None or not plan._is_sound():
            raise LrscopeError(NO_PLAN)
        return plan

    def _is_sound(self) -> bool:
        """Has everything its type, and can it be followed?"""
        counts = (self.chunk, self.unroll)
        others = (self.points, *(n for r in self.replans for n in (r.runs, r.phase, r.step, r.points)))
        words = (self.chosen, *(w for r in self.replans for w in (r.unit, *r.into, r.reason, *r.without)))
        return (
            self.path in ("batched", "single")
            and all(type(n) is int and n > 0 for n in counts)
            and all(type(n) is int and n >= 0 for n in others)
            and all(isinstance(w, str) for w in (*words, *(self.generated or ())))
            and isinstance(self.run_step_seconds, (int, float))
            and 0 <= self.run_step_seconds <= MOST_SECONDS
            and all(isinstance(flag, bool) for flag in (self.compiled, self.fused))
        )


def windows(steps: int, steps_per_epoch: int, points: int, also: Iterable[int] = ()) -> tuple[int, ...]:
    """Ends of the logging windows: every epoch, thinned evenly to at most `points`; the last step always; and `also`."""
    epochs = max(1, -(-steps // steps_per_epoch))
    ends = {steps, *also}
    count = min(epochs, points)
    for i in range(1, count):
        ends.add(round(i * epochs / count) * steps_per_epoch)
    return tuple(sorted(e for e in ends if 0 < e <= steps))


def length(epochs: float | None, steps: int | None, steps_per_epoch: int) -> int:
    """A phase's length in steps."""
    return steps if steps is not None else max(1, round((epochs or 0) * steps_per_epoch))


def moments(name: str, epochs: Sequence[float], steps: int, steps_per_epoch: int) -> tuple[int, ...]:
    """Moments given in epochs as steps of a phase of `steps` steps."""
    found = tuple(dict.fromkeys(max(1, round(e * steps_per_epoch)) for e in epochs))
    if found and found[-1] > steps:
        raise LrscopeError(
            f"{name}: {epochs[-1]:g} comes after the end of training at epoch {steps / steps_per_epoch:g}: leave it out, "
            "or train longer"
        )
    return found


def phases(config: SweepConfig, steps_per_epoch: int) -> tuple[Phase, ...]:
    """The phases that every chunk goes through, in order: pretrain, then average, then one fine-tune per FLR."""
    steps = length(config.epochs, config.steps, steps_per_epoch)
    kept = moments("snapshot_epochs", config.snapshot_epochs, steps, steps_per_epoch)
    logged = moments("log_epochs", config.log_epochs, steps, steps_per_epoch)
    ends = windows(steps, steps_per_epoch, config.log_points, (*kept, *logged))
    found = [Phase("pretrain", ends, snapshots=kept, warmup=_warmup(config, steps, steps_per_epoch))]
    if config.average:
        every = config.average_every or steps_per_epoch
        found.append(Phase("average", tuple((n - 1) * every for n in range(2, max(config.average) + 1))))
    for lr in config.finetune_lrs:
        steps = length(config.finetune_epochs, config.finetune_steps, steps_per_epoch)
        found.append(Phase("finetune", windows(steps, steps_per_epoch, config.log_points), lr))
    _check_length(found, steps_per_epoch)
    return tuple(found)


def _warmup(config: SweepConfig, steps: int, steps_per_epoch: int) -> int:
    """Length of the learning rate's rise in steps.

    Raises:
        LrscopeError: it is as long as pre-training.
    """
    if config.warmup_epochs is None and config.warmup_steps is None:
        return 0
    found = length(config.warmup_epochs, config.warmup_steps, steps_per_epoch)
    if found >= steps:
        name = "warmup_epochs" if config.warmup_steps is None else "warmup_steps"
        raise LrscopeError(
            f"{name}: the learning rate rises over {found:,} steps, and pre-training has {steps:,}: use a shorter warm-up"
        )
    return found


def _check_length(found: Sequence[Phase], steps_per_epoch: int) -> None:
    """Refuse a phase of more steps than a schedule can be held in memory for."""
    names = {"pretrain": "epochs", "average": "average_every", "finetune": "finetune_epochs"}
    for phase in found:
        if phase.steps > MOST_STEPS:
            raise LrscopeError(
                f"{names[phase.kind]}: {phase.steps:,} steps ({steps_per_epoch:,} an epoch) are more than {MOST_STEPS:,}: "
                "train for fewer"
            )


def unroll(found: Sequence[Phase], most: int = 4) -> int:
    """Steps that one compiled call takes: the largest divisor of all windows' lengths up to `most` (ours: beyond 4 calls
    cost nothing any more, and compiling takes longer)."""
    common = 0
    for phase in found:
        for begin, end in pairwise((0, *phase.windows)):
            common = math.gcd(common, end - begin)
    return max(k for k in range(1, most + 1) if common % k == 0)


def steps_per_run(found: Sequence[Phase]) -> int:
    """Training steps of one run through all phases."""
    return sum(p.steps for p in found)


def count_chunks(config: SweepConfig, size: int) -> int:
    """Number of chunks that `cut` makes."""
    return config.data_seeds * -(-config.seeds * len(config.lrs) // size)


def chunk_at(config: SweepConfig, size: int, index: int) -> Chunk:
    """The chunk with number `index` of `cut`, without making the others: workers look theirs up among many."""
    runs = config.seeds * len(config.lrs)
    count = -(-runs // size)
    data_seed, i = divmod(index, count)
    bounds = range(round(i * runs / count), round((i + 1) * runs / count))
    return Chunk(
        f"{index:05d}", data_seed, tuple((r // len(config.lrs), config.lrs[r % len(config.lrs)]) for r in bounds)
    )


def cut(config: SweepConfig, size: int) -> tuple[Chunk, ...]:
    """All runs in chunks of at most `size`, as equal as possible, never mixing data seeds; seeds outside, lrs inside."""
    return tuple(each_chunk(config, size))


def each_chunk(config: SweepConfig, size: int) -> Iterator[Chunk]:
    """The chunks of `cut`, one after the other."""
    return (chunk_at(config, size, index) for index in range(count_chunks(config, size)))


def halves(chunk: Chunk) -> tuple[Chunk, Chunk]:
    """A chunk cut in two, the first half the larger one."""
    middle = -(-len(chunk.runs) // 2)
    first = replace(chunk, name=chunk.name + "a", runs=chunk.runs[:middle])
    return first, replace(chunk, name=chunk.name + "b", runs=chunk.runs[middle:])


def divided(found: Sequence[Chunk], replans: Sequence[Replan]) -> tuple[Chunk, ...]:
    """Chunks, those that a re-plan cut in two as their halves.

    Raises:
        LrscopeError: a re-plan cuts a single run in two.
    """
    now = list(found)
    for replan in replans:
        at = next((i for i, chunk in enumerate(now) if chunk.name == replan.unit), None)
        if at is not None:
            if len(now[at].runs) < 2:
                raise LrscopeError(NO_PLAN)
            now[at : at + 1] = halves(now[at])
    return tuple(now)


def chunks(config: SweepConfig, plan: Plan) -> tuple[Chunk, ...]:
    """All chunks of a plan for the whole grid."""
    return divided(cut(config, plan.chunk), plan.replans)
