"""When memory runs out: the plan goes on with smaller chunks from their last checkpoints, and says so.

A re-plan is a recorded change of plan (`Plan.replans`, kept in plan.json and in the result's attribute `plan`): whoever
continues follows it. Chunks that were finished stay as they are. R runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from lrscope.engine.assemble import part_of
from lrscope.engine.checked import RANDOM, load_checkpoint
from lrscope.engine.context import Context
from lrscope.engine.plan import Chunk, Plan, Replan, halves
from lrscope.engine.sweep_folder import CHECKPOINT
from lrscope.terminal import warn


class Replanner:
    """Holds the plan in force and makes it smaller where memory runs out."""

    def __init__(self, context: Context, plan: Plan) -> None:
        self.context = context
        self.plan = plan

    def split(self, unit: str, pending: Sequence[str], reason: str) -> list[str] | None:
        """What is left to do once `unit`, and every pending chunk that is as large, has been cut in two.

        Args:
            unit: the chunk for which there was too little memory.
            pending: units that nobody has begun, in their order.
            reason: kept with the plan.

        Returns: names of units, the halves of `unit` first; None if it cannot be cut (one run, or one random point). A unit
        of random points goes on with half as many at a time.
        """
        if unit.startswith(RANDOM):
            return self._fewer_points(unit, pending, reason)
        found = {c.name: c for c in self.context.chunks(self.plan)}
        if unit not in found or len(found[unit].runs) == 1:
            return None
        size = len(found[unit].runs)
        affected = [unit, *(u for u in pending if u in found and len(found[u].runs) >= size)]
        parts = self._cut([found[u] for u in affected], reason)
        warn(f"{reason}: {len(affected)} chunks of up to {size} runs go on as halves")
        return [part for u in (unit, *pending) for part in parts.get(u, [u])]

    def _fewer_points(self, unit: str, pending: Sequence[str], reason: str) -> list[str] | None:
        now = self.plan.points or self.context.config.random_points
        if now == 1:
            return None
        half = -(-now // 2)
        replans = (*self.plan.replans, Replan(unit, (), now, 0, 0, reason, points=half))
        self.plan = replace(self.plan, points=half, replans=replans)
        self.context.store.write_plan(self.plan.to_dict())
        warn(f"{reason}: random points are evaluated {half} at a time")
        return [unit, *pending]

    def settle(self, generated: tuple[str, ...] | None, lost: Mapping[str, str]) -> None:
        """Put down which functions are generated: of a plan older than that record, or after some could not be any more.

        Args:
            generated: the functions that are.
            lost: those that the plan says are and that cannot be, with the reasons.
        """
        if generated == self.plan.generated:
            return
        replans = list(self.plan.replans)
        for name, reason in lost.items():
            said = f"{name} cannot be generated any more ({reason})"
            replans.append(Replan("", (), 0, 0, 0, said, (name,)))
            warn(f"{said}: PyTorch computes it from here on, which rounds differently; the result's plan says so")
        self.plan = replace(self.plan, generated=generated, replans=tuple(replans))
        self.context.store.write_plan(self.plan.to_dict())

    def shrink(self, todo: Sequence[str], size: int) -> list[str]:
        """Cut unfinished chunks until none has more than `size` runs: what the user asks for where a plan needs too much."""
        units = list(todo)
        while True:
            found = {c.name: c for c in self.context.chunks(self.plan)}
            large = [found[u] for u in units if u in found and len(found[u].runs) > size]
            if not large:
                return units
            parts = self._cut(large, f"chunks of at most {size} runs were asked for")
            units = [part for u in units for part in parts.get(u, [u])]

    def _cut(self, found: Sequence[Chunk], reason: str) -> dict[str, list[str]]:
        """Cut chunks and their checkpoints; names of the halves by chunk.

        The halves' checkpoints come first, then the plan, then the old checkpoints go: a kill in between leaves the old
        plan with its checkpoints, or the new one with its own.
        """
        store, replans = self.context.store, list(self.plan.replans)
        saved = {chunk.name: load_checkpoint(self.context, self.plan, chunk) for chunk in found}
        for chunk in found:
            checkpoint = saved[chunk.name]
            at = checkpoint[1]["cursor"] if checkpoint is not None else {"phase": 0, "step": 0}
            names = tuple(half.name for half in halves(chunk))
            replans.append(Replan(chunk.name, names, len(chunk.runs), at["phase"], at["step"], reason))
        self.plan = replace(self.plan, replans=tuple(replans))
        for chunk in found:
            checkpoint = saved[chunk.name]
            if checkpoint is not None:
                self._save_halves(chunk, *checkpoint)
        store.write_plan(self.plan.to_dict())
        for chunk in found:
            store.forget_checkpoint(chunk.name)
        return {chunk.name: [half.name for half in halves(chunk)] for chunk in found}

    def _save_halves(self, chunk: Chunk, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        first, second = halves(chunk)
        middle = len(first.runs)
        for half, rows in ((first, slice(0, middle)), (second, slice(middle, None))):
            seconds = meta["seconds"] * len(half.runs) / len(chunk.runs)
            known = {**meta, "seconds": seconds, "plan": self.plan.to_dict(), "runs": half.runs}
            self.context.store.save(half.name + CHECKPOINT, part_of(tensors, rows), known)
