"""Early answers: an adaptive sweep trains in rounds, each chosen from the results of those before.

A round is decided from stored results alone and kept in rounds.json before it is trained, so that whoever continues
the sweep goes the same way. This is the one place where the engine asks the mapping what to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from lrscope.engine.adaptive_chunks import cut_round, trained_steps
from lrscope.engine.assemble import assemble
from lrscope.engine.context import Context
from lrscope.engine.plan import Chunk, Plan
from lrscope.engine.segments import Phase, steps_per_run, trunk, tuned_stop
from lrscope.engine.sweep_folder import ROUNDS_FILE
from lrscope.errors import LrscopeError
from lrscope.mapping.replay import wanted_next
from lrscope.mapping.search import Wanted, simulate, start
from lrscope.mapping.votes import RULES


def train_rounds(context: Context, plan: Plan, train: Callable[[Plan], Plan]) -> Plan:
    """Train round after round until the search wants no more; returns the plan in force at the end.

    `train` computes the chunks that are not on disk yet and returns the plan, which it changes where memory runs out.
    """
    check(context)
    rounds = _kept(context)
    context.parts = ()
    number = 0
    while True:
        if number == len(rounds):
            wanted = _next(context, plan) if number else start(len(context.config.lrs), _units(context))
            if not wanted:
                return plan
            rounds.append(wanted)
            context.store.write_json(ROUNDS_FILE, {"rounds": [_written(w) for w in rounds]})
        context.parts += cut_round(number, rounds[number], context.config, context.phases, plan)
        plan = train(plan)
        number += 1


def restore_parts(context: Context, plan: Plan) -> None:
    """Set the chunks of a finished adaptive sweep from its stored rounds."""
    rounds = _kept(context)
    cuts = (cut_round(i, wanted, context.config, context.phases, plan) for i, wanted in enumerate(rounds))
    context.parts = tuple(chunk for part in cuts for chunk in part)


def check(context: Context) -> None:
    """Refuse a sweep whose runs can never be told apart."""
    windows = len(context.phases[0].windows)
    if windows < RULES.least_windows:
        raise LrscopeError(
            f"adaptive: {windows} logged windows a run are too few to tell a regime: train for at least "
            f"{RULES.least_windows} epochs with log_points of at least {RULES.least_windows}, or leave adaptive out"
        )


def share(context: Context) -> float:
    """The share of the whole grid's run-steps that all rounds took."""
    return trained_steps(context.parts or (), context.phases) / whole(context)


def whole(context: Context) -> int:
    """Run-steps of the whole grid."""
    return len(context.config.lrs) * _units(context) * steps_per_run(context.phases)


def forecast(context: Context, plan: Plan, jobs: int) -> dict[str, list[float]]:
    """[least, most] of run-steps and seconds, from playing the search on grids whose borders lie here and there."""
    lrs = len(context.config.lrs)
    steps, seconds = [], []
    for first in sorted({0, lrs // 4, lrs // 2, 3 * lrs // 4, lrs}):
        for width in sorted({0, 2, lrs // 4}):
            for tuned in sorted({0, width // 2, width}):
                second = min(first + width, lrs)
                rounds = simulate(first, min(first + tuned, second), second, lrs, _units(context), _prices(context))
                cut = [cut_round(i, w, context.config, context.phases, plan) for i, w in enumerate(rounds)]
                steps.append(sum(trained_steps(parts, context.phases) for parts in cut))
                seconds.append(sum(_duration(plan, jobs, parts, context.phases) for parts in cut))
    return {"run_steps": [min(steps), max(steps)], "seconds": [min(seconds), max(seconds)]}


def _duration(plan: Plan, jobs: int, parts: Sequence[Chunk], phases: Sequence[Phase]) -> float:
    """A round's predicted seconds: a step of a small chunk is taken to last as long as a full one's."""
    longest = max(steps_per_run(phases[c.first : c.stop]) for c in parts)
    return -(-len(parts) // jobs) * longest * plan.chunk * plan.run_step_seconds


def _prices(context: Context) -> tuple[float, float] | None:
    """What pre-training a run and what its fine-tuning costs, as shares of the grid's run-steps."""
    if not context.config.finetune_lrs:
        return None
    middle = trunk(context.phases)
    later = steps_per_run(context.phases[middle : tuned_stop(context.phases)])
    return steps_per_run(context.phases[:middle]) / whole(context), later / whole(context)


def _units(context: Context) -> int:
    return context.config.data_seeds * context.config.seeds


def _next(context: Context, plan: Plan) -> Wanted:
    result = assemble(context, plan)
    result.attrs = {
        "scale_invariant": int(context.net.scale_invariant),
        "task": json.dumps(context.task.summary()),
        "config": json.dumps(context.config.to_dict()),
        "plan": json.dumps({"trained_share": share(context)}),
    }
    return wanted_next(result)


def _written(wanted: Wanted) -> dict[str, Any]:
    return {"pretrain": sorted(wanted.pretrain), "tune": sorted(wanted.tune)}


def _kept(context: Context) -> list[Wanted]:
    """The rounds that were decided so far.

    Raises:
        LrscopeError: what rounds.json says is nothing that a sweep of this size could have decided.
    """
    grid = {(k, u) for k in range(len(context.config.lrs)) for u in range(_units(context))}
    try:
        rounds = [_read(kept) for kept in (context.store.read_json(ROUNDS_FILE) or {"rounds": []})["rounds"]]
        possible = all((wanted.pretrain | wanted.tune) <= grid for wanted in rounds)
    except (KeyError, TypeError, ValueError):
        possible = False
    if not possible:
        raise LrscopeError(
            f"out: {context.store.folder / ROUNDS_FILE} names no rounds of this sweep: move it away, and the rounds are "
            "decided anew from the chunks, or choose another --out"
        )
    return rounds


def _read(kept: dict[str, Any]) -> Wanted:
    return Wanted(
        pretrain=frozenset((k, u) for k, u in kept["pretrain"]), tune=frozenset((k, u) for k, u in kept["tune"])
    )
