"""An adaptive sweep's chunks: what a round wants trained, cut like a plan's chunks, and where later parts of a run begin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from lrscope.engine.checked import load_chunk
from lrscope.engine.plan import Chunk, Plan
from lrscope.engine.segments import Phase, steps_per_run, trunk, tuned_stop
from lrscope.engine.state import PRETRAINED
from lrscope.engine.step import Named
from lrscope.errors import LrscopeError

if TYPE_CHECKING:
    from lrscope.config import SweepConfig
    from lrscope.engine.context import Context
    from lrscope.mapping.search import Wanted


def cut_round(
    number: int, wanted: Wanted, config: SweepConfig, phases: Sequence[Phase], plan: Plan
) -> tuple[Chunk, ...]:
    """The chunks of round `number`: pre-training with what branches from it, the same up to the lowest FLR, or what comes
    after pre-training.

    Under a plan that TorchInductor compiled every chunk has the plan's size, the last run repeated, because a program is
    compiled for one size; repeated runs are left out of all counts.
    """
    middle, stop = trunk(phases), tuned_stop(phases)
    kinds = (
        (wanted.pretrain - wanted.tune, 0, middle),
        (wanted.pretrain & wanted.tune, 0, stop),
        (wanted.tune - wanted.pretrain, middle, stop),
    )
    chunks: list[Chunk] = []
    for kind, first, last in kinds:
        for draw, data_seed in enumerate(config.draws):
            places = [(k, u % config.seeds) for k, u in kind if u // config.seeds == draw]
            runs = [(config.training_seeds[place], config.lrs[k]) for k, place in places]
            for part in _even(sorted(runs), plan.chunk):
                if plan.compiled and not plan.fused:
                    part += part[-1:] * (plan.chunk - len(part))
                chunks.append(Chunk(f"{number:02d}-{len(chunks):04d}", data_seed, tuple(part), first, last))
    return tuple(chunks)


def _even(runs: list[tuple[int, float]], size: int) -> Iterable[list[tuple[int, float]]]:
    """Stretches of at most `size`, as equal as possible."""
    count = -(-len(runs) // size)
    bounds = [round(i * len(runs) / count) for i in range(count + 1)] if count else []
    return [runs[start:stop] for start, stop in pairwise(bounds)]


def pretrained(context: Context, plan: Plan, chunk: Chunk) -> Named:
    """Weights [R, P] and the optimizer's state [R, ...] at which the chunk's runs ended their pre-training, named as in
    `ChunkTrainer.results`."""
    rows: dict[tuple[int, float], Named] = {}
    for part in context.chunks(plan):
        if part.first or part.data_seed != chunk.data_seed or not set(part.runs) & set(chunk.runs):
            continue
        saved = load_chunk(context, plan, part)
        if saved is None:
            raise LrscopeError(f"chunk {part.name} vanished from {context.store.chunks}: run the same command again")
        ends = {name: value for name, value in saved[0].items() if name.startswith(PRETRAINED)}
        for i, run in enumerate(part.runs):
            rows[run] = {name: value[i] for name, value in ends.items() if value.dim()}
    return {name: torch.stack([rows[run][name] for run in chunk.runs]) for name in rows[chunk.runs[0]]}


def trained_steps(parts: Iterable[Chunk], phases: Sequence[Phase]) -> int:
    """Run-steps of these chunks, repeated runs counted once."""
    return sum(len(set(c.runs)) * steps_per_run(phases[c.first : c.stop]) for c in parts)
