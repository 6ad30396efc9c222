"""Training one chunk through all its phases, resumable at any step.

R runs, U streams of batches that they share, K steps, B batch, P parameters, G groups of weights, E groups of examples,
M metrics, W logging windows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lrscope.config import SweepConfig
from lrscope.config.branches import FINETUNE, PRETRAIN
from lrscope.dynamics.schedules import factors
from lrscope.dynamics.statistics import (
    AVERAGE,
    END,
    INTERVAL,
    STEP,
    AverageFacts,
    EndFacts,
    IntervalFacts,
    computed,
    in_own_memory,
    packed_size,
    unpacked,
)
from lrscope.engine.batch_order import BatchOrder
from lrscope.engine.branching import forget, keep_losses, keep_moment, last_use, state_for
from lrscope.engine.material import Material
from lrscope.engine.noise import levels, seeds, with_noise
from lrscope.engine.plan import Chunk
from lrscope.engine.program import Program
from lrscope.engine.segments import AT_END, BRANCH, Phase
from lrscope.engine.state import AVERAGED, BRANCHED, LOG, PRETRAINED
from lrscope.engine.step import Named, StepInputs, StepState
from lrscope.engine.tick import Tick
from lrscope.tasks.augment import DRAWS
from lrscope.tasks.keyed_random import folded
from lrscope.tasks.random_state import seed_all
from lrscope.tasks.streams import stream_seed


class Stopped(Exception):
    """Training was asked to stop; its checkpoint is on disk."""


class ChunkTrainer:
    """Trains a chunk; `tensors` and `cursor` are its whole state."""

    def __init__(
        self,
        program: Program,
        material: Material,
        config: SweepConfig,
        phases: tuple[Phase, ...],
        chunk: Chunk,
        unroll: int = 1,
    ) -> None:
        self.program = program
        # Steps per call. TorchInductor's calls must begin at the same steps after a kill: its divides every window.
        self.unroll = unroll
        self.material = material
        self.config = config
        self.phases = phases
        self._last_use = last_use(phases)
        self.chunk = chunk
        self.device = material.device
        self.cursor: dict[str, Any] = {"phase": 0, "step": 0, "window": 0}
        self.tensors: dict[str, Tensor] = {}
        self._noise_streams: dict[tuple[str, str], Tensor] = {}
        weights, self.frozen = material.initial_weights([stream_seed("init", *self._key(*run)) for run in chunk.runs])
        self.rho_R = weights.square().sum(1).sqrt()
        fresh = program.optimizer.init(weights)
        self._remembered = tuple(fresh)
        self._start_phase(weights, fresh)
        keep_moment(self.tensors, phases, 0, 0, self._state_names)
        self.pretrain_lr = torch.tensor([lr for _, lr in chunk.runs], dtype=torch.float64, device=self.device)

    def warm(self) -> None:
        """Compile by running a few steps and discarding the result, in this process; where code is generated, that of
        evaluation too, on the first run.

        Raises:
            NotFusible: what the program says is generated cannot be.
        """
        state = dict(self.tensors)
        self.advance(min(self.unroll, self.phases[0].windows[0]))
        self.tensors, self.cursor = state, {**self.cursor, "step": 0}
        if self.program.backend.generates:
            weights, frozen = state["weights"][:1], {name: f[:1] for name, f in self.frozen.items()}
            self.material.window_metrics(self.program, weights, frozen)
            self.material.feature_accuracy(self.program, weights, frozen)
            if self.config.average:
                self.material.train_metrics(self.program, weights, frozen)

    def advance(self, steps: int) -> None:
        """Train `steps` steps of the first phase without its logging: for timing and compiling. Where the phase would end before
        that, it begins again."""
        phase = self.phases[0]
        if self.cursor["step"] + steps > phase.steps:
            self.cursor["step"] = 0
        self._train_steps(phase, *self._first, self.cursor["step"] + steps, lambda now: None, lambda: False)

    def start_from(self, pretrained: Named) -> None:
        """Begin with the chunk's first phase, after a pre-training that ended at these weights [R, P] and optimizer state,
        named as in `results`."""
        self.cursor["phase"] = self.chunk.first
        self.tensors.update(pretrained)
        self._start_follower(self.chunk.first)

    # -- state -------------------------------------------------------------------------------------------------------

    def load(self, tensors: dict[str, Tensor], cursor: dict[str, Any]) -> None:
        """Go on from a checkpoint. Kernels may round differently where memory is aligned differently, so every tensor
        moves to memory of its own, as an unbroken run's has it."""
        unused = {PRETRAINED + name: torch.zeros_like(self.tensors[name]) for name in self._remembered}
        self.tensors = {
            name: torch.empty_like(value, device=self.device).copy_(value) for name, value in tensors.items()
        }
        self.cursor = dict(cursor)
        if "weights" not in self.tensors:  # of a shorter sweep: what came before its fine-tunes
            self.tensors = {**unused, **self.tensors}
            self._start_follower(cursor["phase"])

    @property
    def _state_names(self) -> tuple[str, ...]:
        """The tensors from which a phase begins."""
        return ("weights", *self._remembered)

    def _key(self, seed: int, lr: float) -> tuple[str | int, ...]:
        """What names a run's streams: its learning rate only if it has an initialisation and batch order of its own."""
        return self.chunk.data_seed, seed, *(() if self.config.same_init else (repr(lr),))

    @cached_property
    def _first(self) -> tuple[BatchOrder, Tensor, Tensor]:
        return self._drawn(self.phases[0])

    def _drawn(self, phase: Phase) -> tuple[BatchOrder, Tensor, Tensor]:
        """A phase's batches, learning rates [R] and their factors at every step."""
        return self._order(phase), self._lr(phase), self._factors(phase)

    def _order(self, phase: Phase) -> BatchOrder:
        keys = [(phase.stream, *self._key(*run)) for run in self.chunk.runs]
        m = self.material
        return m.order(keys)

    def _start_phase(self, weights_RP: Tensor, optimizer: Named) -> None:
        net = self.program.net
        self.tensors["weights"] = weights_RP
        self.tensors.update(optimizer)
        self.tensors["squares"] = self.material.squares(weights_RP)
        self.tensors["sums"] = torch.zeros(
            len(weights_RP), packed_size(len(net.groups)), dtype=torch.float64, device=self.device
        )

    # -- training ----------------------------------------------------------------------------------------------------

    def run(
        self,
        tick: Callable[[Tick], None],
        checkpoint: Callable[[bool], None],
        stopping: Callable[[], bool],
    ) -> None:
        """Train to the end. Calls `tick` at every window, `checkpoint(now)` where the state may be saved.

        Raises:
            Stopped: `stopping()` turned true; the checkpoint has been written.
        """
        while self.cursor["phase"] < len(self.phases):
            phase = self.phases[self.cursor["phase"]]
            order, lr_R, scale = self._drawn(phase)
            while self.cursor["window"] < len(phase.windows):
                begun = self.cursor["step"]
                end = phase.windows[self.cursor["window"]]
                self._train_steps(phase, order, lr_R, scale, end, checkpoint, stopping)
                self._log_interval(phase, lr_R * scale[end - 1])
                self.cursor["window"] += 1
                tick(self._tick(phase, end - begun))
                checkpoint(False)
            self._finish_phase(phase)
            self.cursor = {"phase": self.cursor["phase"] + 1, "step": 0, "window": 0}

    def _train_steps(
        self,
        phase: Phase,
        order: BatchOrder,
        lr_R: Tensor,
        scale: Tensor,
        end: int,
        checkpoint: Callable[[bool], None],
        stopping: Callable[[], bool],
    ) -> None:
        while self.cursor["step"] < end:
            if stopping():
                checkpoint(True)
                raise Stopped
            step = self.cursor["step"]
            call = min(self.unroll, end - step)
            x, y, index = self._batches(order, phase.offset + step, call)
            self._seed_noise("noise", phase, phase.offset + step)
            noise = self._noise("noise", phase, step, call)
            state = StepState.of(self.tensors, self._remembered)
            lr_KR = (scale[step : step + call, None] * lr_R).to(state.weights.dtype)
            level = levels(self.config, self.phases, phase, step, call, self.rho_R)
            inputs = StepInputs(self.frozen, x, y, lr_KR, self.rho_R, index, noise, level)
            self.tensors.update(self.program.steps(state, inputs).named())
            self.cursor["step"] = step + call

    def _batches(self, order: BatchOrder, step: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The mini-batches of `count` steps: examples x [N, ...], y [N, ...] and indices into them [K, R, B]."""
        index_KRB, draws = order.at(step, count)
        x, y = self.material.train_x, self.material.train_y
        if draws is None:
            return x, y, index_KRB
        # Augmentation makes new examples: once for all runs that see the same ones.
        index_KUB, draws = index_KRB[:, order.first], draws[:, order.first]
        flat = index_KUB.reshape(-1)
        x = self.material.augmentation(x.index_select(0, flat), draws.reshape(-1, DRAWS))
        made_KUB = torch.arange(len(flat), device=flat.device).view(index_KUB.shape)
        return x, y.index_select(0, flat), made_KUB[:, order.rows]

    def _seed_noise(self, purpose: str, phase: Phase, step: int) -> None:
        """Where the network draws from the global generators, seed them from the run and the step (chunks of one run then)."""
        if self.program.net.noise == "global":
            stream = phase.kind if phase.is_averaged else phase.stream
            seed_all(stream_seed(purpose, stream, *self._key(*self.chunk.runs[0]), step))

    def _noise(self, purpose: str, phase: Phase, step: int, count: int) -> Tensor | None:
        """Seeds [K, R] of what the network draws in `count` steps of a segment; None where it draws nothing from them. A segment
        that continues its parent's batches continues its noise."""
        if not self.program.net.keyed:
            return None
        stream = purpose, phase.stream
        if stream not in self._noise_streams:
            self._noise_streams[stream] = seeds([(*stream, *self._key(*run)) for run in self.chunk.runs], self.device)
        steps = torch.arange(count, device=self.device) + phase.offset + step
        return folded(self._noise_streams[stream], steps[:, None])

    def _frozen(self, purpose: str, phase: Phase) -> Named:
        """The frozen tensors for evaluation after the present step: it has passes in train mode too."""
        at = phase, self.cursor["step"], 1
        given = self._noise(purpose, *at), levels(self.config, self.phases, *at, self.rho_R)
        return with_noise(self.frozen, *(None if value_KR is None else value_KR[0] for value_KR in given))

    def _lr(self, phase: Phase) -> Tensor:
        """Optimizer's learning rates [R], float64: on the sphere lr = ELR rho^2 (`Optimizer.radius_power`)."""
        lr_R = phase.factor * (self.pretrain_lr if phase.lr is None else torch.full_like(self.pretrain_lr, phase.lr))
        if self.config.space != "sphere":
            return lr_R
        return lr_R * self.rho_R.to(torch.float64) ** self.program.optimizer.radius_power

    def _factors(self, phase: Phase) -> Tensor:
        return factors(phase.schedule, phase.steps, phase.warmup).to(self.device)

    # -- logging -----------------------------------------------------------------------------------------------------

    def _log_interval(self, phase: Phase, lr_R: Tensor) -> None:
        """Append this logging interval's statistics to the segment's; reset the sums."""
        state = self.tensors
        number, before = self.cursor["window"], (0, *phase.windows)[self.cursor["window"]]
        steps = self.cursor["step"] - before
        if phase.is_averaged:
            self._log_average(number, self._frozen("log noise", phase))
        else:
            dead_R = state["sums"][:, 0] < steps
            for name, value in self._interval_statistics(phase, steps, lr_R).items():
                value[dead_R] = torch.nan
                self._append(LOG + name, value)
        if self.cursor["step"] in phase.snapshots:
            self._append("snapshots", state["weights"])
        self._count_finite(steps)
        state["sums"] = torch.zeros_like(state["sums"])
        keep_losses(state, self.phases, self.cursor["phase"], self.cursor["step"], self._state_names)
        keep_moment(state, self.phases, self.cursor["phase"], self.cursor["step"], self._state_names)

    def _interval_statistics(self, phase: Phase, steps: int, lr_R: Tensor) -> Named:
        means = unpacked(self.tensors["sums"] / steps, len(self.program.net.groups))
        frozen = self._frozen("log noise", phase)
        test, examples_REM = self.material.window_metrics(self.program, self.tensors["weights"], frozen)
        own_RM = self.material.own_metrics(self.program, self.tensors["weights"], frozen)
        features_RF = self.material.logged_features(self.program, self.tensors["weights"], frozen)
        facts = IntervalFacts(test, self.tensors["squares"].to(torch.float64), lr_R, examples_REM, own_RM, features_RF)
        of_steps = {s.name: in_own_memory(means[s.name]) for s in STEP if phase.kind in s.segments}
        return {**of_steps, **computed(facts, INTERVAL, phase.kind)}

    def _count_finite(self, steps: int) -> None:
        state = self.tensors
        before = state.get("finite_steps", torch.zeros_like(state["sums"][:, 0]))
        alive = before == self.cursor["step"] - steps
        state["finite_steps"] = before + torch.where(alive, state["sums"][:, 0], 0.0)

    def _append(self, name: str, value: Tensor) -> None:
        old = self.tensors.get(name)
        self.tensors[name] = value[None] if old is None else torch.cat([old, value[None]])

    def _log_average(self, window: int, frozen: Named) -> None:
        """Add the checkpoint to the running sum; evaluate the average where its size is asked for."""
        state, n = self.tensors, window + 2
        start = state[PRETRAINED + "weights"].to(torch.float64)
        state[AVERAGED + "sum"] = state.get(AVERAGED + "sum", start) + state["weights"]
        if n in self.config.average:
            weights = (state[AVERAGED + "sum"] / n).to(state["weights"].dtype)
            if self.config.keep_weights:
                self._append(AVERAGED + "weights", weights)
            facts = AverageFacts(
                self.material.train_metrics(self.program, weights, frozen),
                self.material.test_metrics(self.program, weights, frozen),
                self.material.feature_accuracy(self.program, weights, frozen),
                self.material.validation_metrics(self.program, weights, frozen),
                self.material.own_metrics(self.program, weights, frozen),
                self.material.own_metrics(self.program, weights, frozen, validation=True),
            )
            for name, value in computed(facts, AVERAGE, "average").items():
                self._append(AVERAGED + name, value)

    def _tick(self, phase: Phase, steps: int) -> Tick:
        name = LOG + "train_loss"
        if name not in self.tensors:
            return Tick(steps * len(self.chunk.runs))
        losses = self.tensors[name][-1]
        losses = losses[torch.isfinite(losses)]
        if not len(losses):
            return Tick(steps * len(self.chunk.runs))
        return Tick(steps * len(self.chunk.runs), float(losses.min()), float(losses.max()))

    def _finish_phase(self, phase: Phase) -> None:
        """Turn the phase's logs into its results `KIND.NUMBER.*` and set the state for the next phase."""
        state, number = self.tensors, self.cursor["phase"]
        prefix = f"{phase.kind}.{number}."
        self._seed_noise("end noise", phase, phase.offset + phase.steps)
        steps_R = state.pop("finite_steps")
        state[prefix + "finite_steps"] = steps_R
        if phase.is_averaged:
            state.pop(AVERAGED + "sum")
        growing = AVERAGED if phase.is_averaged else LOG
        for name in [name for name in state if name.startswith(growing)]:
            state[prefix + name.removeprefix(growing)] = state.pop(name)
        if "snapshots" in state:
            state[prefix + "snapshots"] = state.pop("snapshots")
        if BRANCHED in state:
            state[prefix + BRANCHED] = state.pop(BRANCHED)
        if not phase.is_averaged:
            self._finish_trained(phase, prefix, steps_R)
        if phase.kind == PRETRAIN:
            state.update({PRETRAINED + name: state[name] for name in self._state_names})
        keep_moment(state, self.phases, number, AT_END, self._state_names)
        forget(state, self._last_use, number)
        if number + 1 < len(self.phases):
            self._start_follower(number + 1)

    def _finish_trained(self, phase: Phase, prefix: str, steps_R: Tensor) -> None:
        """The statistics of a segment's end, and which runs came there."""
        state = self.tensors
        if self.config.keep_weights and phase.kind in (FINETUNE, BRANCH):
            state[prefix + "weights"] = state["weights"]
        frozen = self._frozen("end noise", phase)
        fixed = self.material.fixed_pass(self.program, state["weights"], frozen)
        # An overflow in the very last update shows in no training step any more.
        lost_R = ~(torch.isfinite(fixed[:, [0, 2]]).all(1) & torch.isfinite(state["weights"]).all(1))
        state[prefix + "finite_steps"] = torch.where(lost_R, steps_R.clamp(max=phase.steps - 1), steps_R)
        features = self.material.feature_accuracy(self.program, state["weights"], frozen)
        validation = self.material.validation_metrics(self.program, state["weights"], frozen)
        if validation is not None:  # last: its population statistics may draw noise
            validation[steps_R < phase.steps] = torch.nan
        own_RM = self.material.own_metrics(self.program, state["weights"], frozen, validation=True)
        if own_RM is not None:
            own_RM[steps_R < phase.steps] = torch.nan
        norm_R = state["squares"].to(torch.float64).sum(1).sqrt()
        found = computed(EndFacts(fixed, norm_R, features, validation, own_RM), END, phase.kind)
        state.update({prefix + name: value for name, value in found.items()})

    def _start_follower(self, number: int) -> None:
        """Set the state for a phase after pre-training, where it leaves its parent. Averaging goes on with the optimizer's
        state (momentum, Adam's moments), fine-tuning starts afresh."""
        found = state_for(self.tensors, self.phases, number, self._state_names)
        weights = found.pop("weights")
        self.tensors.update({name: found.pop(name) for name in (BRANCHED,) if name in found})
        self._start_phase(weights, self.program.optimizer.init(weights) if self.phases[number].fresh else found)
        keep_moment(self.tensors, self.phases, number, 0, self._state_names)

    def results(self) -> dict[str, Tensor]:
        """What the finished chunk leaves on disk: all phases' logs and the pre-trained weights [R, P]; the optimizer's
        state too where later chunks go on from there."""
        kept = {name: value for name, value in self.tensors.items() if "." in name}
        names = self._state_names if self.chunk.stop is not None else ("weights",)
        return {**kept, **{PRETRAINED + name: self.tensors[PRETRAINED + name] for name in names}}
