"""Names of the tensors that make up a chunk's state and its results.

What is trained has its own names (`StepState.named`). Beside it `pretrain_NAME` is a tensor as pre-training left it.
`log_NAME` is a statistic of the segment that is being trained and `average_NAME` one of averaged weights, each with a first
axis that grows. `KIND.NUMBER.NAME` is a statistic of a finished segment.
"""

from __future__ import annotations

from lrscope.dynamics.statistics import INTERVAL, STEP

PRETRAINED = "pretrain_"
LOG = "log_"
AVERAGED = "average_"
LOGGED = (*STEP, *INTERVAL)  # statistics with a value for every logging interval
_GROWING = {statistic.name for statistic in LOGGED} | {"snapshots"}


def run_axis(name: str) -> int:
    """Which axis of a tensor of this name are the runs: 1 behind logging intervals, snapshots or an average's sizes, else 0."""
    segment, _, last = name.rpartition(".")
    if segment.startswith("average") or last.startswith(AVERAGED):
        return 0 if last in ("finite_steps", AVERAGED + "sum") else 1
    return 1 if last.removeprefix(LOG) in _GROWING else 0
