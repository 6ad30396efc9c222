"""Where and how a sweep runs: nothing here changes a number but by rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lrscope.config.sweep import HUGE, MOST_RUNS, Yes
from lrscope.errors import LrscopeError
from lrscope.readers import Number, Whole, Word, read_fields


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Where and how a sweep runs: in local processes or on Ray (`on`). `path`, `chunk` and `compile` fix the plan; None and
    auto let the engine time them."""

    device: Annotated[str, Word(words="auto, cpu, cuda or mps")] = "auto"
    """Where tensors live. Auto prefers a GPU.

    Panel: Where and how it runs
    """
    jobs: Annotated[int | None, Whole(1, 10_000)] = None
    """Processes that train at a time.

    Default: one per core
    """
    path: Annotated[str, Word(("auto", "batched", "single"))] = "auto"
    """How runs are trained. Auto times both ways."""
    chunk: Annotated[int | None, Whole(1, MOST_RUNS)] = None
    """Runs that are trained together.

    Default: timed
    """
    compile: Yes | None = None
    """Compile the training steps, as C++ or by torch.compile.

    Default: where it pays
    """
    checkpoint_seconds: Annotated[float, Number(0, HUGE)] = 15.0
    """Seconds between checkpoints of unfinished runs.

    Origin: ours: what a kill may cost
    """
    on: Annotated[str, Word(("local", "ray"))] = "local"
    """Where processes run. Ray's may run on many machines."""
    extend_finetunes: Yes = False
    """The folder holds this sweep with shorter fine-tunes: keep its pre-training and fine-tune anew, longer.

    Panel: Longer fine-tunes
    """

    def __post_init__(self) -> None:
        read_fields(self)
        if self.path == "single" and self.chunk not in (None, 1):
            raise LrscopeError(f"chunk: {self.chunk} does not go with path single: leave it out, or use path batched")
