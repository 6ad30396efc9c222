"""The stored weights of a finished sweep, with what is needed to evaluate them: for measures beyond the logged ones.

P parameters. A state is one run, so tensors have a leading axis of length 1.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
import xarray as xr
from torch import Tensor

from lrscope.checked import Seed, checked, checked_fields
from lrscope.config import EngineConfig, SweepConfig
from lrscope.config.branches import FINETUNE, MOST_STEPS
from lrscope.engine.adaptive_rounds import restore_parts
from lrscope.engine.checked import load_chunk
from lrscope.engine.context import Context
from lrscope.engine.extend import is_extended
from lrscope.engine.identity import identity_of
from lrscope.engine.material import Material
from lrscope.engine.net import Net
from lrscope.engine.plan import Chunk, Plan
from lrscope.engine.program import Program
from lrscope.engine.segments import Phase, phase_at, trunk
from lrscope.engine.state import BRANCHED
from lrscope.engine.step import Named
from lrscope.engine.sweep_folder import Store
from lrscope.errors import LrscopeError, shown
from lrscope.results import open_result
from lrscope.storage.paths import Remote, place
from lrscope.tasks.streams import stream_seed
from lrscope.tasks.task import Task
from lrscope.values import as_number

ROUNDING = 1e-3  # ours: 0.0333 stands for 1/30, and for no other learning rate of the grid
LISTED = 30
KEPT_CHUNKS = 4  # ours: chunks in memory, since one asks for the states of a run one after the other


@checked_fields
@dataclass(frozen=True)
class State:
    """Weights [1, P] of one run at one moment and its frozen tensors [1, ...]; of R runs stacked [R, P] and [R, ...]."""

    weights: Tensor
    frozen: Named


@checked
def stack(states: Sequence[State]) -> State:
    """The states of R runs as one: weights [R, P], frozen tensors [R, ...].

    Raises:
        LrscopeError: there are none.
    """
    if not states:
        raise LrscopeError("states: there are none: stack at least one")
    frozen = {name: torch.cat([state.frozen[name] for state in states]) for name in states[0].frozen}
    return State(torch.cat([state.weights for state in states]), frozen)


class Trained:
    """The runs of a result folder: their weights, the net's layout, programs and examples to evaluate them with.

    Attributes:
        result: the sweep's labelled arrays.
        task, config: what was trained.
    """

    def __init__(self, result: xr.DataTree, context: Context, plan: Plan) -> None:
        self.result = result
        self.task = context.task
        self.config = context.config
        self._plan = plan
        self._contexts = {context.dtype: context}
        self._context = context
        self._chunk_of: dict[tuple[int, int, float, bool], Chunk] = {}
        for chunk in context.each_chunk(plan):
            for seed, lr in chunk.runs:
                self._chunk_of[chunk.data_seed, seed, lr, chunk.first > 0] = chunk
        self._load = lru_cache(KEPT_CHUNKS)(self._read)

    @classmethod
    @checked
    def open(cls, folder: str | os.PathLike[str] | Remote, task: Task, *, device: str = "cpu") -> Trained:
        """Open the finished sweep of `task` in `folder`.

        Raises:
            LrscopeError: no finished result there, or one of another task.
        """
        result = open_result(folder)
        store = Store(place(folder))
        experiment, saved = store.experiment() or {}, store.plan()
        if saved is None or "config" not in experiment:
            raise LrscopeError(f"{folder} holds a result without its chunks: run its command again to have the weights")
        config = SweepConfig.from_dict(experiment["config"])
        if is_extended(store, result.attrs["config_hash"]):
            raise LrscopeError(f"{folder}: its fine-tunes are being extended: run that command to its end")
        if identity_of(task, config, [result.attrs["config_hash"]])["hash"] != result.attrs["config_hash"]:
            raise LrscopeError(
                f"{folder} holds the result of another task than {task.name}, or one that an earlier version trained with "
                "other noise or augmentation: pass the task it was trained on, or train it anew in another folder"
            )
        plan = Plan.from_dict(saved)
        context = Context.build(task, config, EngineConfig(device=device), store)
        context.identity = result.attrs["config_hash"]
        if config.adaptive:
            restore_parts(context, plan)
        return cls(result, context, plan)

    @property
    def net(self) -> Net:
        """The layout of the weights."""
        return self._context.net

    @property
    def path(self) -> Literal["single", "batched"]:
        """How the sweep's runs were trained, one at a time or together: what was faster when it was planned."""
        return "single" if self._plan.path == "single" else "batched"

    @checked
    def state(
        self,
        *,
        lr: float,
        seed: Seed,
        data_seed: Seed | None = None,
        finetune_lr: float | None = None,
        n_average: int | None = None,
        epoch: float | None = None,
        branch: str | None = None,
        point: Mapping[str, Any] | None = None,
    ) -> State:
        """Weights at the end of pre-training; at the end of a fine-tuning, of a `branch` at a `point` of its axes, or of an
        average of `n_average` checkpoints (sweeps with `keep_weights`); or after `epoch` epochs of pre-training (one of
        `snapshot_epochs`, or 0: the start).

        `data_seed` is the sweep's first if it is left out. `point` names a value on each axis that has several, such as
        {"decay_at": 10}. A learning rate means the nearest of the sweep if it is within 0.1% of it and not as near to any other.

        Raises:
            LrscopeError: a run or moment that was not kept; the message lists those that were.
        """
        lr = _nearest("lr", lr, self.config.lrs)
        data_seed = self._draw(data_seed)
        frozen = self._initial(data_seed, seed, lr).frozen
        if sum(x is not None for x in (finetune_lr, n_average, epoch, branch)) > 1:
            raise LrscopeError(
                "state: finetune_lr, n_average, epoch and branch name different moments: give one of them"
            )
        if branch is None and point:
            raise LrscopeError("point: it says where on the axes of a branch, and none is named: name one with branch")
        if branch is not None:
            found = phase_at(self._context.phases, branch, point or {})
            later = found >= trunk(self._context.phases)
            weights, left = (
                self._kept(data_seed, seed, lr, f"branch.{found}.{name}", later=later) for name in ("weights", BRANCHED)
            )
            if left.item() < 0:
                raise LrscopeError(
                    f"state: the run with learning rate {lr:g}, data seed {data_seed}, seed {seed} never came to where {branch} "
                    "begins: see branch_step in the result"
                )
            return State(weights, frozen)
        if epoch == 0:
            return self._initial(data_seed, seed, lr)
        if finetune_lr is not None:
            finetune_lr = _nearest("finetune_lr", finetune_lr, self.config.finetune_lrs)
            index = next(i for i, p in enumerate(self._context.phases) if p.kind == FINETUNE and p.lr == finetune_lr)
            return State(self._kept(data_seed, seed, lr, f"finetune.{index}.weights", later=True), frozen)
        if n_average is not None:
            if n_average not in self.config.average:
                raise LrscopeError(
                    f"n_average: {n_average} was not averaged: choose one of {list(self.config.average)}"
                )
            number = next(i for i, p in enumerate(self._context.phases) if p.is_averaged)
            weights = self._kept(data_seed, seed, lr, f"average.{number}.weights", later=True, second=True)
            return State(weights[self.config.average.index(n_average)], frozen)
        if epoch is not None:
            pretrain = self._context.phases[0]
            steps = self._epoch_steps(pretrain, epoch)
            weights = self._kept(data_seed, seed, lr, "pretrain.0.snapshots", second=True)
            return State(weights[pretrain.snapshots.index(steps)], frozen)
        return State(self._kept(data_seed, seed, lr, "pretrain_weights"), frozen)

    @checked
    def program(self, dtype: torch.dtype = torch.float32, *, path: Literal["single", "batched"] = "single") -> Program:
        """Evaluation and gradients, one run at a time or (`path="batched"`) of all runs of a stacked state, in `dtype` (which
        weights and examples must have too)."""
        return self._in(dtype).program(path, False)

    @checked
    def material(self, data_seed: Seed | None = None, dtype: torch.dtype = torch.float32) -> Material:
        """The examples of a data seed on the device; of the sweep's first if it is left out."""
        data_seed = self._draw(data_seed)
        if data_seed not in self.config.draws:
            raise LrscopeError(
                f"data_seed: {data_seed} was not trained: the sweep has those {_span(self.config.draws)}"
            )
        return self._in(dtype).material(data_seed)

    @checked
    def learning_rate(self, lr: float, state: State) -> Tensor:
        """The optimizer's learning rate [1] of a run: on the sphere lr rho^2, where `lr` is the ELR."""
        rate = torch.tensor([lr], dtype=torch.float64)
        return rate * state.weights.double().square().sum(1) if self.config.space == "sphere" else rate

    def _draw(self, data_seed: int | None) -> int:
        return self.config.first_data_seed if data_seed is None else data_seed

    def _in(self, dtype: torch.dtype) -> Context:
        """The sweep's context in another precision."""
        if dtype not in (torch.float32, torch.float64):
            raise LrscopeError(
                f"dtype: {dtype} is not one that weights are evaluated in: use torch.float32 or torch.float64"
            )
        if dtype not in self._contexts:
            config = replace(self.config, precision="float64" if dtype == torch.float64 else "float32")
            base = self._context
            self._contexts[dtype] = Context.build(self.task, config, EngineConfig(device=str(base.device)), base.store)
        return self._contexts[dtype]

    @lru_cache(maxsize=64)  # noqa: B019 - lives as long as the object is used
    def _initial(self, data_seed: int, seed: int, lr: float) -> State:
        key = data_seed, seed, *(() if self.config.same_init else (repr(lr),))
        return State(*self._context.material(data_seed).initial_weights([stream_seed("init", *key)]))

    def _epoch_steps(self, phase: Phase, epoch: float) -> int:
        per_epoch = len(self.task.data(0).train_x) // self.config.batch_size
        steps = round(min(epoch * per_epoch, MOST_STEPS))
        exact = epoch in self.config.snapshot_epochs or abs(epoch * per_epoch - steps) <= ROUNDING
        if steps not in phase.snapshots or not exact:
            known = ", ".join(f"{s / per_epoch:g}" for s in phase.snapshots) or "none"
            raise LrscopeError(
                f"epoch: the weights after epoch {epoch:g} were not kept (kept: {known}): name it in snapshot_epochs and "
                "train again"
            )
        return steps

    def _kept(
        self, data_seed: int, seed: int, lr: float, name: str, *, later: bool = False, second: bool = False
    ) -> Tensor:
        """A run's tensor [1, ...] of its chunk's file, or [S, 1, ...] where runs are the second axis."""
        chunk = self._chunk_of.get((data_seed, seed, lr, True)) if later else None
        chunk = chunk or self._chunk_of.get((data_seed, seed, lr, False))
        if chunk is None:
            raise LrscopeError(
                f"state: no run with learning rate {lr:g}, data seed {data_seed}, seed {seed} was trained (the sweep has "
                f"data seeds {_span(self.config.draws)}, seeds {_span(self.config.training_seeds)}): name one that was"
            )
        tensors = self._load(chunk.name)
        if name not in tensors:
            raise LrscopeError(
                f"state: the sweep in {self._context.store.folder} did not keep these weights: train it with "
                "keep_weights=True, or snapshot_epochs"
            )
        row = chunk.runs.index((seed, lr))
        value = tensors[name]
        return value[:, row : row + 1] if second else value[row : row + 1]

    def _read(self, name: str) -> Mapping[str, Tensor]:
        saved = load_chunk(self._context, self._plan, self._context.chunk(self._plan, name))
        if saved is None:
            raise LrscopeError(
                f"chunk {name} is missing from {self._context.store.chunks}: run the sweep's command again"
            )
        return saved[0]


def _span(seeds: range) -> str:
    return f"from {seeds[0]} to {seeds[-1]}"


def _nearest(field: str, value: Any, known: tuple[float, ...]) -> float:
    """The learning rate of the sweep that `value` is within rounding: the nearest one, told from its neighbours."""
    wanted = as_number(value)
    if wanted is None:
        raise LrscopeError(f"{field}: {shown(value)} is not a number: name a learning rate of the sweep")
    listed = ", ".join(f"{lr:.6g}" for lr in known[:LISTED]) + (", ..." if len(known) > LISTED else "")
    if not known:
        raise LrscopeError(f"{field}: {wanted:g} was not trained, the sweep has none of this kind: leave it out")
    best = min(known, key=lambda lr: abs(lr - wanted))
    others = [abs(lr - best) for lr in known if lr != best]
    if abs(best - wanted) > min(ROUNDING * best, min(others, default=math.inf) / 4):
        raise LrscopeError(
            f"{field}: {wanted:.9g} was not trained; the nearest is {best!r} (the sweep has {listed}): name one"
        )
    return best
