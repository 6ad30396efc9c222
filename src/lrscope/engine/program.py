"""The training step of R runs at once. R runs, K steps, B batch, P parameters, G groups."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lrscope.dynamics.layout import group_squares
from lrscope.dynamics.optimizers import Optimizer
from lrscope.dynamics.sphere import project
from lrscope.dynamics.statistics import StepFacts, packed
from lrscope.engine.backends import Backend
from lrscope.engine.backends.single import Single
from lrscope.engine.evaluation import NO_METRICS, Evaluation
from lrscope.engine.net import Net
from lrscope.engine.noise import with_noise
from lrscope.engine.step import StepInputs, StepState
from lrscope.tasks.losses import Loss
from lrscope.tasks.metrics import Metric

CLIP_EPSILON = 1e-6  # as in torch.nn.utils.clip_grad_norm_


class Program(Evaluation):
    """Training steps and evaluation of a net under one loss.

    Args:
        optimizer: moves the weights.
        space: on the `sphere` they are projected back after every update.
        clip_norm: gradients of a run that are longer are shortened to this norm, as `torch.nn.utils.clip_grad_norm_` does.
    """

    def __init__(
        self,
        net: Net,
        loss: Loss,
        classification: bool,
        backend: Backend,
        *,
        optimizer: Optimizer,
        space: str,
        clip_norm: float | None = None,
        metrics: Mapping[str, Metric] = NO_METRICS,
        autocast: bool = False,
    ) -> None:
        super().__init__(net, loss, classification, backend, metrics=metrics, autocast=autocast)
        self.optimizer = optimizer
        self.space = space
        self.clip_norm = clip_norm

    def on(self, backend: Backend) -> Program:
        """The same program on another backend."""
        return type(self)(
            self.net,
            self.loss,
            self.classification,
            backend,
            optimizer=self.optimizer,
            space=self.space,
            clip_norm=self.clip_norm,
            metrics=self.own,
            autocast=self.autocast,
        )

    def one_run(self) -> Program:
        """The program of a run by itself, plain: to be traced."""
        return self.on(Single())

    def steps(self, state: StepState, inputs: StepInputs) -> StepState:
        """K training steps of all runs (`step`) on the examples that the inputs' order names.

        Raises:
            NotFusible, NotCompiled: the backend can make no code for this net.
        """
        self.net.module.train()
        return self.backend.steps(self, state, inputs)

    def step(self, state: StepState, inputs: StepInputs) -> StepState:
        """One step of all runs.

        `sums` [R, M] get the statistics of a step (`dynamics.statistics.STEP`), the gradient norm that of the whole gradient
        and the effective step size that of the clipped one if there is a `clip_norm`.
        A run whose loss or gradient is not finite ends there: its weights become NaN.
        """
        segments = self.net.segments
        frozen = with_noise(inputs.frozen, inputs.noise, inputs.level)
        gradient_RP, loss_R, accuracy_R = self.gradients(state.weights, frozen, inputs.x, inputs.y)
        gradient_squares_RG = group_squares(gradient_RP, segments)
        total_R = gradient_squares_RG.sum(1)
        finite_R = torch.isfinite(loss_R) & torch.isfinite(total_R)
        lr_R = torch.where(finite_R, inputs.lr, torch.nan)
        if self.clip_norm is not None:
            kept_R = (self.clip_norm / (total_R.sqrt() + CLIP_EPSILON)).clamp(max=1.0)
            gradient_RP = gradient_RP * kept_R[:, None]
            moved_squares_RG = gradient_squares_RG * kept_R.square()[:, None]
        else:
            moved_squares_RG = gradient_squares_RG
        weights_RP, optimizer = self.optimizer.update(gradient_RP, state.optimizer, state.weights, lr_R)
        weights_RP, squares_RG = self._placed(weights_RP, inputs.rho)
        facts = StepFacts(loss_R, accuracy_R, gradient_squares_RG, total_R, moved_squares_RG, state.squares, lr_R)
        return StepState(weights_RP, optimizer, squares_RG, state.sums + packed(finite_R, facts))

    def _placed(self, weights_RP: Tensor, rho_R: Tensor) -> tuple[Tensor, Tensor]:
        """The weights in their space, and their groups' squared norms [R, G]."""
        if self.space == "sphere":
            return project(weights_RP, rho_R, self.net.segments)
        return weights_RP, group_squares(weights_RP, self.net.segments)
