"""The plan of a sweep: runs cut into chunks, and the path that trains them.

The plan is made once, kept with the results, and followed to the bit by whoever continues the sweep.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from lrscope.config import SweepConfig
from lrscope.engine.segments import Phase
from lrscope.errors import LrscopeError

MOST_SECONDS = 1e9  # ours, of a step: it makes what a stranger's plan predicts a number
NO_PLAN = "plan: what is kept of it is no plan of lrscope, or of a newer one: update lrscope, or choose another --out"


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


def unroll(found: Sequence[Phase], most: int = 4) -> int:
    """Steps that one compiled call takes: the largest divisor of all windows' lengths up to `most` (ours: beyond 4 calls
    cost nothing any more, and compiling takes longer)."""
    common = 0
    for phase in found:
        for begin, end in pairwise((0, *phase.windows)):
            common = math.gcd(common, end - begin)
    return max(k for k in range(1, most + 1) if common % k == 0)


def count_chunks(config: SweepConfig, size: int) -> int:
    """Number of chunks that `cut` makes."""
    return config.data_seeds * -(-config.seeds * len(config.lrs) // size)


def chunk_at(config: SweepConfig, size: int, index: int) -> Chunk:
    """The chunk with number `index` of `cut`, without making the others: workers look theirs up among many."""
    runs = config.seeds * len(config.lrs)
    count = -(-runs // size)
    draw, i = divmod(index, count)
    bounds = range(round(i * runs / count), round((i + 1) * runs / count))
    seeds, lrs = config.training_seeds, config.lrs
    parts = tuple((seeds[r // len(lrs)], lrs[r % len(lrs)]) for r in bounds)
    return Chunk(f"{index:05d}", config.draws[draw], parts)


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
