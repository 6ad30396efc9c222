"""What is sent to Ray's workers: all that a sweep's unit of work needs, and the checks that a worker can do it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lrscope.config import EngineConfig, SweepConfig
from lrscope.engine.context import Context
from lrscope.engine.dispatch import Work
from lrscope.engine.plan import Chunk, Plan
from lrscope.engine.provenance import code_hash
from lrscope.engine.sweep_folder import Store
from lrscope.engine.tick import Tick
from lrscope.errors import LrscopeError
from lrscope.storage.paths import Remote
from lrscope.tasks.task import Task


@dataclass(frozen=True)
class SweepJob:
    """Calling it, once in each worker, makes what computes units there."""

    task: Task
    config: SweepConfig
    engine: EngineConfig
    plan: Plan
    folder: Path | Remote
    experiment: str
    made_by: tuple[str, str]  # code hash of lrscope, version of PyTorch
    parts: tuple[Chunk, ...] | None = None  # an adaptive sweep's rounds so far

    @classmethod
    def of(cls, context: Context, plan: Plan) -> SweepJob:
        """The job of a sweep whose plan and experiment are in the store."""
        folder = context.store.folder
        return cls(
            context.task,
            context.config,
            replace(context.engine, device=context.device.type),
            plan,
            folder.resolve() if isinstance(folder, Path) else folder,
            str((context.store.experiment() or {}).get("hash")),
            _software(),
            context.parts,
        )

    def __call__(self) -> Work:
        """Lay out the model on this worker.

        Raises:
            LrscopeError: other versions than the driver's, a folder that is not shared, or a plan that cannot be compiled.
        """
        host = socket.gethostname()
        if self.made_by != _software():
            raise LrscopeError(
                f"on: node {host} has another lrscope or PyTorch ({_software()}, here {self.made_by}), and results would "
                "differ: install the same versions on every node"
            )
        store = Store(self.folder)
        if (store.experiment() or {}).get("hash") != self.experiment:
            raise LrscopeError(
                f"out: {self.folder} is not there on node {host}: use a folder that all nodes share, or a URL such as "
                "s3://bucket/prefix that they all reach"
            )
        context = Context.build(self.task, self.config, self.engine, store)
        context.identity, context.parts = self.experiment, self.parts
        _, lost = context.warm(self.plan)  # nothing is inherited here; generated libraries lie in the user's cache
        for name, reason in lost.items():
            raise LrscopeError(
                f"on: node {host} cannot generate {name} as the plan has it ({reason}), and results would differ: install the "
                "same C++ compiler on every node, or choose another --out"
            )

        def work(unit: str, tick: Callable[[Tick], None], stopping: Callable[[], bool]) -> None:
            context.run_unit(self.plan, unit, tick, stopping)

        return work


def _software() -> tuple[str, str]:
    return code_hash(), str(torch.__version__)
