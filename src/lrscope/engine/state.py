"""Names of the tensors that make up a chunk's state and its results.

What is trained has its own names (`StepState.named`). Beside it `pretrain_NAME` is a tensor as pre-training left it. A tensor
`kept:NUMBER@STEP:NAME` or `kept:NUMBER<LOSS:NAME` is one where a branch will leave phase NUMBER: after STEP steps (-1: at its
end), or where its training loss was as low as number LOSS of those asked for.

`log_NAME` is a statistic of the segment that is being trained and `average_NAME` one of averaged weights, each with a first
axis that grows. `KIND.NUMBER.NAME` is a statistic of a finished segment.
"""

from __future__ import annotations

from lrscope.dynamics.statistics import INTERVAL, STEP

PRETRAINED = "pretrain_"
KEPT = "kept:"
LOG = "log_"
AVERAGED = "average_"
BRANCHED = "branch_step"  # where each run left its parent, in steps of the parent; -1: it never came there
LOGGED = (*STEP, *INTERVAL)  # statistics with a value for every logging interval
_GROWING = {statistic.name for statistic in LOGGED} | {"snapshots"}


def kept_at(number: int, step: int) -> str:
    """How the names of tensors begin that are kept after `step` steps of a phase (-1: at its end)."""
    return PRETRAINED if (number, step) == (0, -1) else f"{KEPT}{number}@{step}:"


def kept_below(number: int, loss: int) -> str:
    """The same for those kept, run by run, where the phase's training loss reached loss number `loss`."""
    return f"{KEPT}{number}<{loss}:"


def own_name(name: str) -> str:
    """A tensor's name without what says of which segment or moment it is."""
    return name.rpartition(".")[2].rpartition(":")[2].removeprefix(PRETRAINED)


def run_axis(name: str) -> int:
    """Which axis of a tensor of this name are the runs: 1 behind logging intervals, snapshots or an average's sizes, else 0."""
    segment, _, last = name.rpartition(".")
    if segment.startswith("average") or last.startswith(AVERAGED):
        return 0 if last in ("finite_steps", AVERAGED + "sum") else 1
    return 1 if last.removeprefix(LOG) in _GROWING else 0
