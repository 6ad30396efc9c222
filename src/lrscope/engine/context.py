"""What every worker of a sweep holds: the task, the net, the config, the plan, the folder."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from lrscope.config import EngineConfig, SweepConfig
from lrscope.dynamics.optimizers import OWN, Optimizer, OwnOptimizer, make
from lrscope.dynamics.own_schedule import OwnSchedule
from lrscope.dynamics.schedules import factors
from lrscope.engine.adaptive_chunks import pretrained
from lrscope.engine.backends import backend
from lrscope.engine.backends.cpp.values import NotFusible
from lrscope.engine.backends.inductor import NotCompiled
from lrscope.engine.checked import RANDOM, load_checkpoint
from lrscope.engine.chunk import ChunkTrainer
from lrscope.engine.material import Material
from lrscope.engine.memory_need import Passes, measured, resident
from lrscope.engine.net import Net, build_net, with_activation_noise
from lrscope.engine.plan import Chunk, Plan, chunk_at, count_chunks, cut, divided, each_chunk
from lrscope.engine.program import Program
from lrscope.engine.segments import Phase, phases
from lrscope.engine.step import Named
from lrscope.engine.sweep_folder import CHECKPOINT, DONE, Store
from lrscope.engine.tick import Tick
from lrscope.errors import LrscopeError
from lrscope.tasks.augment import Augmentation
from lrscope.tasks.batches.task import check_sizes
from lrscope.tasks.data.held_out import left_to_train
from lrscope.tasks.losses import placed_loss
from lrscope.tasks.task import Task


def choose_device(name: str) -> torch.device:
    """The torch device of a config's `device`; auto prefers cuda, then mps, then cpu."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise LrscopeError(f"device: {name!r} is unknown: choose auto, cpu, cuda or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise LrscopeError("device: 'cuda' was asked for but PyTorch finds no CUDA device: use --device cpu, or auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise LrscopeError("device: 'mps' was asked for but PyTorch finds no Apple GPU: use --device cpu, or auto")
    return torch.device(name)


@dataclass
class Context:
    """Everything a unit of work needs besides its name."""

    task: Task
    config: SweepConfig
    engine: EngineConfig
    store: Store
    device: torch.device
    dtype: torch.dtype
    net: Net
    phases: tuple[Phase, ...]
    identity: str = ""  # the experiment's hash; every file of a unit carries it
    resident: int = 0  # bytes that this process had when the context was built, with
    loaded: frozenset[str] = frozenset()  # these modules
    parts: tuple[Chunk, ...] | None = None  # an adaptive sweep's chunks so far, instead of the plan's
    _materials: dict[int, Material] = field(default_factory=dict)
    _programs: dict[tuple[object, ...], Program] = field(default_factory=dict)

    @classmethod
    def build(cls, task: Task, config: SweepConfig, engine: EngineConfig, store: Store) -> Context:
        """Resolve device and precision, lay out the net, verify its invariance."""
        device = choose_device(engine.device)
        if config.precision == "float64" and device.type == "mps":
            raise LrscopeError("precision: float64 does not exist on mps: use float32, or device cpu")
        dtype = torch.float64 if config.precision == "float64" else torch.float32
        Augmentation(task.data(0), crops=config.augment, randaugment=config.randaugment)
        _check_features(task, config)
        if task.batches is not None:
            check_sizes(task.batches, config.batch_size)
        net = build_net(task, invariant=config.invariant, device=device, dtype=dtype)
        if config.activation_noise:
            net = with_activation_noise(net, task, config.noise_before)
        examples = len(task.data(0).train_x)
        if examples < config.batch_size:
            raise LrscopeError(
                f"batch_size: {config.batch_size} is more than the {left_to_train(task.data(0))}: use a smaller one"
            )
        _check_batch_of_one(net, task, config, device, dtype)
        found = phases(config, examples // config.batch_size)
        _try_schedules(found)
        return cls(
            task,
            config,
            engine,
            store,
            device,
            dtype,
            net,
            found,
            resident=resident(device),
            loaded=frozenset(sys.modules),
        )

    def material(self, data_seed: int) -> Material:
        """The examples of a data seed; only the latest is kept."""
        if data_seed not in self._materials:
            self._materials = {
                data_seed: Material(self.task, self.net, self.config, data_seed, self.device, self.dtype)
            }
        return self._materials[data_seed]

    @cached_property
    def passes(self) -> Passes:
        """What one run's passes take in memory; measured once."""
        return measured(self)

    def program(
        self, path: str, compiled: bool, fused: bool = False, generated: tuple[str, ...] | None = None
    ) -> Program:
        """The training and evaluation functions for a path; made once."""
        key = path, compiled, fused, generated
        if key not in self._programs:
            self._programs[key] = Program(
                self.net,
                placed_loss(self.task.loss, self.device, self.dtype),
                self.task.classification,
                backend(path, compiled=compiled, fused=fused, wanted=generated),
                optimizer=self.optimizer,
                space=self.config.space,
                clip_norm=self.config.clip_norm,
                metrics={n: placed_loss(metric, self.device, self.dtype) for n, metric in self.task.metrics.items()},
                autocast=self.config.precision == "bf16",
            )
        return self._programs[key]

    @cached_property
    def optimizer(self) -> Optimizer:
        """What moves the weights."""
        if self.config.optimizer == OWN:
            assert self.task.optimizer is not None
            return OwnOptimizer(slots=self.net.slots, factory=self.task.optimizer)
        return make(self.config.optimizer, self.config, self.net.slots)

    @property
    def one_at_a_time(self) -> str:
        """Why runs must be trained one at a time; empty if they need not."""
        if self.net.noise == "global":
            what = "training examples are" if self.task.draws_examples else "network's noise is"
            return f"the {what} drawn run by run"
        if self.config.optimizer == OWN:
            return "the task's own optimizer steps run by run"
        return "" if self.task.batches is None else self.task.batches.source.by_run

    def remembered(self, runs: int) -> Named:
        """The optimizer's state for that many runs, by name: tensors without values, for their shapes and types."""
        return self.optimizer.init(torch.empty(runs, self.net.size, dtype=self.dtype, device="meta"))

    @cached_property
    def traits(self) -> frozenset[str]:
        """What task and network have that not all have, as statistics name it (`Statistic.needs`)."""
        data = self.task.data(0)
        held = {
            "classification": self.task.classification,
            "invariant": self.net.scale_invariant,
            "features": data.feature_x is not None,
            "logged_features": data.feature_x is not None and self.config.log_features,
            "validation": data.validation_x is not None,
            "example_groups": bool(data.train_group_names),
            "test_groups": bool(data.test_group_names),
            "true_labels": data.clean_train_y is not None,
            "metrics": bool(self.task.metrics),
        }
        return frozenset({"always", *(trait for trait, holds in held.items() if holds)})

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Sizes of the dimensions that statistics have beside runs and times."""
        data = self.task.data(0)
        return {
            "group": len(self.net.groups),
            "example_group": len(data.train_group_names),
            "test_group": len(data.test_group_names),
            "feature": 0 if data.feature_x is None else len(data.feature_x),
            "metric": len(self.task.metrics),
        }

    def trainer(self, plan: Plan, chunk: Chunk) -> ChunkTrainer:
        """A trainer at the chunk's start."""
        program = self.program(plan.path, plan.compiled, plan.fused, plan.generated)
        phases = self.phases[: chunk.stop]
        trainer = ChunkTrainer(program, self.material(chunk.data_seed), self.config, phases, chunk, plan.unroll)
        if chunk.first:
            trainer.start_from(pretrained(self, plan, chunk))
        return trainer

    def chunks(self, plan: Plan) -> tuple[Chunk, ...]:
        """The chunks of runs, in their order."""
        found = cut(self.config, plan.chunk) if self.parts is None else self.parts
        return divided(found, plan.replans)

    def each_chunk(self, plan: Plan) -> Iterator[Chunk]:
        """The same, one after the other; of a plain plan without holding them all: there may be 100,000."""
        yield from each_chunk(self.config, plan.chunk) if self._is_plain(plan) else self.chunks(plan)

    def _is_plain(self, plan: Plan) -> bool:
        """Are the chunks numbered as `cut` numbers them: the whole grid, none in halves?"""
        return self.parts is None and not plan.replans

    def chunk(self, plan: Plan, name: str) -> Chunk:
        """The chunk of that name."""
        if self._is_plain(plan):
            return chunk_at(self.config, plan.chunk, int(name))
        return next(c for c in self.chunks(plan) if c.name == name)

    def warm(self, plan: Plan) -> tuple[tuple[str, ...] | None, dict[str, str]]:
        """Compile what the plan needs compiled, so that forked workers inherit it.

        Returns: the functions of evaluation that are generated, and those that should be and cannot, with the reasons.

        Raises:
            LrscopeError: the plan's steps cannot be compiled on this machine.
        """
        lost = dict[str, str]()
        each = itertools.islice(self.each_chunk(plan), 1 if plan.fused else None)  # fused: one program for all sizes
        sizes = {len(c.runs): c for c in each} if plan.compiled else {}
        for chunk in sizes.values():
            while True:
                trainer = self.trainer(plan, chunk)
                try:
                    trainer.warm()
                except (NotFusible, NotCompiled) as error:
                    name = getattr(error, "function", "steps")
                    if name not in (plan.generated or ()):
                        raise self._not_made_here(str(error)) from error
                    lost[name] = str(error)
                    plan = replace(plan, generated=tuple(n for n in plan.generated or () if n != name))
                else:
                    break
            if plan.fused and plan.generated is None:
                plan = replace(plan, generated=trainer.program.backend.made)
        return plan.generated, lost

    def _not_made_here(self, reason: str) -> LrscopeError:
        return LrscopeError(
            f"out: {self.store.folder} was begun with compiled code, which cannot be made here ({reason}): "
            "continue on the machine where it began, or choose another --out"
        )

    def units(self, plan: Plan) -> list[str]:
        """Names of all units of work in their order: random points first, then the chunks."""
        return list(self.each_unit(plan))

    def each_unit(self, plan: Plan) -> Iterator[str]:
        """The same, one after the other."""
        for data_seed in self.config.draws:
            yield f"{RANDOM}{data_seed:05d}"
        if self._is_plain(plan):
            for index in range(count_chunks(self.config, plan.chunk)):
                yield f"{index:05d}"
        else:
            for chunk in self.chunks(plan):
                yield chunk.name

    def run_unit(self, plan: Plan, name: str, tick: Callable[[Tick], None], stopping: Callable[[], bool]) -> None:
        """Compute one unit and leave its arrays in the store.

        Raises:
            Stopped: `stopping()` turned true; a checkpoint has been written.
            LrscopeError: what the plan says is compiled cannot be.
        """
        known: dict[str, Any] = {"identity": self.identity, "plan": plan.to_dict()}
        if name.startswith(RANDOM):
            material = self.material(int(name.removeprefix(RANDOM)))
            self.store.save(name + DONE, material.random_points(self.program(plan.path, False), plan.points), known)
            return
        chunk = self.chunk(plan, name)
        known["runs"] = chunk.runs
        trainer = self.trainer(plan, chunk)
        spent = 0.0
        saved = load_checkpoint(self, plan, chunk)
        if saved is not None:
            tensors, meta = saved
            trainer.load(tensors, meta["cursor"])
            spent = meta["seconds"]
        begun = last = time.monotonic()

        def checkpoint(now: bool) -> None:
            nonlocal last
            if now or time.monotonic() - last > self.engine.checkpoint_seconds:
                last = time.monotonic()
                meta = {**known, "cursor": trainer.cursor, "seconds": spent + last - begun}
                self.store.save(name + CHECKPOINT, trainer.tensors, meta)

        try:
            trainer.run(tick, checkpoint, stopping)
        except (NotFusible, NotCompiled) as error:  # data of another size than those of the first chunk
            raise self._not_made_here(str(error)) from error
        self.store.save(name + DONE, trainer.results(), {**known, "seconds": spent + time.monotonic() - begun})
        self.store.forget_checkpoint(name)


def _try_schedules(found: Iterable[Phase]) -> None:
    """Ask functions of the user's for all their factors, so that what is wrong is said before anything is computed."""
    for phase in found:
        if isinstance(phase.schedule, OwnSchedule):
            factors(phase.schedule, phase.steps, phase.warmup)


def _check_features(task: Task, config: SweepConfig) -> None:
    """Refuse to log accuracy on feature sets that are not there."""
    if config.log_features and task.data(0).feature_x is None:
        raise LrscopeError(
            f"log_features: {task.name} has no feature sets to log accuracy on: name some (features, patches), or leave it out"
        )


def _check_batch_of_one(net: Net, task: Task, config: SweepConfig, device: torch.device, dtype: torch.dtype) -> None:
    """Batch norm cannot train on a single number per channel; say so before training."""
    if config.batch_size > 1 or not net.norms:
        return
    x = task.data(0).train_x[:1]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            net.module.train()(x.to(device, dtype if x.is_floating_point() else None))
    except ValueError as error:
        raise LrscopeError(
            "batch_size: 1 leaves the model's batch norm a single number per channel, which has no variance: use 2 or more"
        ) from error
