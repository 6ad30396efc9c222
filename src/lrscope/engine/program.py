"""The functions that train and evaluate R runs at once, batched (vmap) or one at a time.

R runs, B batch, P parameters, G groups, F features of one example. All state goes in and out as tensors; nothing here
knows about phases, files or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from lrscope.dynamics.update import adam_step, group_squares, sphere_step, whole_step
from lrscope.engine.compiled import CompiledSteps, Steps
from lrscope.engine.example_groups import ExampleGroups
from lrscope.engine.fused.steps import FusedSteps, FusedSums
from lrscope.engine.fused.values import NotFusible
from lrscope.engine.net import Net, channels_last
from lrscope.engine.step import Named, StepInputs, StepState
from lrscope.tasks.losses import Loss, hits
from lrscope.tasks.norms import population_norms

SLAB = 512  # ours: examples evaluated at a time
SLAB_OF_MANY = 64  # ours: with many runs at once on a CPU; 26 small ConvNets then stay in the cache
EVALUATION = ("populations", "metrics", "groups")  # what can be generated beside the steps
WEIGHTS = "flat weights"  # their name among named tensors; attributes of modules have no spaces


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """What the optimizer's arithmetic needs to know."""

    space: str
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    autocast: bool = False


class Program:
    """Training step and evaluation of a net under one loss.

    Args:
        path: `batched` maps over the leading run axis with vmap; `single` takes chunks of one run without it.
        compiled: hand the training steps to a compiler, as many a call as `steps` is given: TorchInductor, or with
            `fused` our own generator for small dense networks (`engine/fused`).
        generated: with `fused`, the functions of evaluation that are generated as well, of `EVALUATION`. None: those that
            can be are, and `refused` says why others are not.
    """

    def __init__(
        self,
        net: Net,
        loss: Loss,
        classification: bool,
        spec: StepSpec,
        *,
        path: str,
        compiled: bool = False,
        fused: bool = False,
        generated: Collection[str] | None = None,
    ) -> None:
        self.net = net
        self.loss = loss
        self.classification = classification
        self.spec = spec
        self.path = path
        self.fused = fused
        self._fused_steps: FusedSteps | None = None
        self.generated = generated
        self.refused: dict[str, str] = {}
        self._sums: dict[str, FusedSums] = {}
        self._norms = population_norms(net.module)
        self._batched_gradient = vmap(grad_and_value(self._loss_of_run, has_aux=True))
        self._run: Steps = CompiledSteps(self._unrolled) if compiled and not fused else self._unrolled

    # -- training ------------------------------------------------------------------------------------------------

    def steps(self, state: StepState, inputs: StepInputs) -> StepState:
        """K training steps of all runs (`step`) on the examples that the inputs' order names.

        Raises:
            NotFusible: a `fused` program cannot be generated for this net.
        """
        self.net.module.train()
        if not self.fused:
            return self._run(state, inputs.gathered())
        if self._fused_steps is None:
            self._fused_steps = self._generated(state, inputs)
        return self._fused_steps(state, inputs)

    @property
    def made(self) -> tuple[str, ...]:
        """Functions of evaluation that have been generated so far."""
        return tuple(name for name in EVALUATION if name in self._sums and name not in self.refused)

    def _alone(self) -> Program:
        """The program of a run by itself, which is traced."""
        return Program(self.net, self.loss, self.classification, self.spec, path="single")

    def _generated(self, state: StepState, inputs: StepInputs) -> FusedSteps:
        """The generated steps; the arguments of `steps` serve as examples."""
        if self.spec.optimizer == "adam":
            raise NotFusible("the optimizer adam")
        frozen, x, y, lr_KR, rho_R, order = inputs
        assert order is not None
        first = order[0, 0]
        one = StepState(*(t[:1] if t.dim() else t for t in state))
        kept = {name: value[:1] for name, value in frozen.items()}
        return FusedSteps(
            self._alone().step, one, StepInputs(kept, x[first][None], y[first][None], lr_KR[0, :1], rho_R[:1])
        )

    def _unrolled(self, state: StepState, inputs: StepInputs) -> StepState:
        for x, y, lr_R in zip(inputs.x, inputs.y, inputs.lr, strict=True):
            state = self.step(state, inputs._replace(x=x, y=y, lr=lr_R))
        return state

    def gradients(self, weights_RP: Tensor, frozen: Named, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient [R, P], mean loss [R] and accuracy [R] of mini-batches x [R, B, ...], y [R, B], in train mode."""
        views = self.net.views(weights_RP)
        if self.path == "single":
            return self._single_gradient(views, frozen, x[0], y[0])
        gradient, (loss_R, accuracy_R) = self._batched_gradient(views, frozen, x, y)
        return self.net.flatten(gradient), loss_R, accuracy_R

    def _loss_of_run(self, params: Named, frozen: Named, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        output = self._output({**params, **frozen}, x)
        accuracy = hits(output, y).mean() if self.classification else output.new_zeros(())
        return self.loss(output, y).mean(), accuracy

    def _output(self, tensors: Named, x: Tensor) -> Tensor:
        if self.path == "single":
            x = channels_last(x)
        if self.spec.autocast:
            with torch.autocast(x.device.type, dtype=torch.bfloat16):
                output: Tensor = functional_call(self.net.module, tensors, (x,))
            return output.float()
        plain: Tensor = functional_call(self.net.module, tensors, (x,))
        return plain

    def _single_gradient(self, views: Named, frozen: Named, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad():
            params = {name: v[0].detach().requires_grad_() for name, v in views.items()}
            loss, accuracy = self._loss_of_run(params, {name: f[0] for name, f in frozen.items()}, x, y)
            gradient = torch.autograd.grad(loss, list(params.values()), allow_unused=True, materialize_grads=True)
        named = {name: g[None] for name, g in zip(params, gradient, strict=True)}
        return self.net.flatten(named), loss.detach()[None], accuracy.detach()[None]

    def step(self, state: StepState, inputs: StepInputs) -> StepState:
        """One step of all runs.

        `sums` [R, 5 + 2G] in float64: finite steps, loss, accuracy, gradient norm, effective gradient norm |g| |theta|,
        then per group |g_i| |theta_i| and the effective step size lr |g_i| / |theta_i| (three_regimes, Sec. 3.1).
        A run whose loss or gradient is not finite ends there: its weights become NaN.
        """
        weights_RP, velocity_RP, squares_RG, sums = state
        lr_R = inputs.lr
        gradient_RP, loss_R, accuracy_R = self.gradients(weights_RP, inputs.frozen, inputs.x, inputs.y)
        gradient_squares_RG = group_squares(gradient_RP, self.net.segments)
        total_R = gradient_squares_RG.sum(1)
        finite_R = torch.isfinite(loss_R) & torch.isfinite(total_R)
        lr_R = torch.where(finite_R, lr_R, torch.nan)
        if self.spec.space == "sphere":
            weights_RP, new_squares_RG = sphere_step(weights_RP, gradient_RP, lr_R, inputs.rho, self.net.segments)
        elif self.spec.optimizer == "adam":
            weights_RP, velocity_RP, new_squares_RG = adam_step(
                weights_RP, velocity_RP, gradient_RP, lr_R, self.spec.weight_decay, self.net.segments
            )
        else:
            weights_RP, velocity_RP, new_squares_RG = whole_step(
                weights_RP,
                velocity_RP,
                gradient_RP,
                lr_R,
                self.spec.momentum,
                self.spec.weight_decay,
                self.net.segments,
            )
        effective_R = (total_R * squares_RG.sum(1)).sqrt()
        effective_RG = (gradient_squares_RG * squares_RG).sqrt()
        steps_RG = (gradient_squares_RG / squares_RG).sqrt() * lr_R[:, None]
        row = torch.stack(
            [finite_R.to(loss_R.dtype), loss_R, accuracy_R.to(loss_R.dtype), total_R.sqrt(), effective_R], 1
        )
        sums = sums + torch.cat([row, effective_RG, steps_RG], 1).to(torch.float64)
        return StepState(weights_RP, velocity_RP, new_squares_RG, sums)

    # -- evaluation ----------------------------------------------------------------------------------------------

    def populations(self, weights_RP: Tensor, frozen: Named, batches: Tensor) -> Named:
        """Population statistics of every batch norm, averaged over training batches [K, B, ...]: by buffer name [R, C]."""
        if not self._norms:
            return {}
        self.net.module.train()
        for norm in self._norms.values():
            norm.collecting = True
        try:
            whole = self._fused_sums(
                "populations", self._collect, {**frozen}, weights_RP, batches.flatten(0, 1), block=batches.shape[1]
            )
            if whole is not None:
                return {name: (value / len(batches)).to(weights_RP.dtype) for name, value in whole.items()}
            total: Named = {}
            with torch.no_grad():
                for x in batches:
                    found = self._over_runs(self._collect, weights_RP, frozen, {}, x)
                    total = {k: v + total[k] for k, v in found.items()} if total else found
        finally:
            for norm in self._norms.values():
                norm.collecting = False
                norm.collected = []
        return {name: value / len(batches) for name, value in total.items()}

    def _collect(self, tensors: Named, x: Tensor) -> Named:
        for norm in self._norms.values():
            norm.collected = []
        self._output(tensors, x)
        found: Named = {}
        for name, norm in self._norms.items():
            statistics = norm.statistics()
            if statistics is None:  # a norm that this forward pass did not reach
                continue
            prefix = name + "." if name else ""
            found[prefix + "population_mean"], found[prefix + "population_var"] = statistics
        return found

    def metrics(
        self, weights_RP: Tensor, frozen: Named, populations: Named, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean loss [R] and accuracy [R] on examples x [N, ...], y [N] in eval mode, float64."""

        def sums(tensors: Named, x: Tensor, y: Tensor) -> Named:
            output = self._output(tensors, x)
            right = hits(output, y).sum() if self.classification else output.new_zeros(())
            return {"loss": self.loss(output, y).sum(), "right": right}

        found = self._eval_sums("metrics", sums, weights_RP, frozen, populations, x, y)
        loss = found["loss"]
        return loss / len(x), torch.where(torch.isnan(loss), loss, found["right"] / len(x))

    def group_metrics(self, weights_RP: Tensor, frozen: Named, populations: Named, groups: ExampleGroups) -> Tensor:
        """Mean loss, accuracy and accuracy under the true labels of E example groups in eval mode, float64 [R, E, 3]."""

        def sums(tensors: Named, x: Tensor, y: Tensor, true_y: Tensor, member: Tensor) -> Named:
            output = self._output(tensors, x)
            rows = [self.loss(output, y)]
            rows += [hits(output, labels) for labels in (y, true_y)] if self.classification else []
            return {str(i): torch.where(member > 0, row[:, None], 0.0).sum(0) for i, row in enumerate(rows)}

        given = (groups.x, groups.y, groups.true_y, groups.member)
        found = self._eval_sums("groups", sums, weights_RP, frozen, populations, *given)
        loss = found["0"]
        right = [torch.where(torch.isnan(loss), loss, found.get(name, loss)) for name in ("1", "2")]
        return torch.stack([loss, *right], 2) / groups.sizes[:, None]

    def _eval_sums(
        self,
        name: str,
        sums: Callable[..., Named],
        weights_RP: Tensor,
        frozen: Named,
        populations: Named,
        *examples: Tensor,
    ) -> Named:
        """What `sums` of one run returns for a slab of examples [N, ...], over all of them in eval mode: float64 [R, ...]."""
        self.net.module.eval()
        whole = self._fused_sums(name, sums, {**frozen, **populations}, weights_RP, *examples)
        if whole is not None:
            return whole
        cached = self.path == "batched" and weights_RP.device.type == "cpu"
        slab = SLAB_OF_MANY if cached else SLAB
        total: Named = {}
        with torch.no_grad():
            for start in range(0, len(examples[0]), slab):
                part = (t[start : start + slab] for t in examples)
                found = self._over_runs(sums, weights_RP, frozen, populations, *part)
                total = {key: value.to(torch.float64) + total.get(key, 0.0) for key, value in found.items()}
        return total

    def train_mode_metrics(self, weights_RP: Tensor, frozen: Named, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss [R] and accuracy [R] over training batches x [K, B, ...], y [K, B] with batch statistics."""
        self.net.module.train()

        def means(tensors: Named, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return self._loss_of_run({}, tensors, x, y)

        loss = torch.zeros(len(weights_RP), dtype=torch.float64, device=weights_RP.device)
        accuracy = torch.zeros_like(loss)
        with torch.no_grad():
            for xb, yb in zip(x, y, strict=True):
                losses, accuracies = self._over_runs(means, weights_RP, frozen, {}, xb, yb)
                loss += losses
                accuracy += accuracies
        return loss / len(x), accuracy / len(x)

    def fixed_pass(self, weights_RP: Tensor, frozen: Named, x: Tensor, y: Tensor) -> Tensor:
        """Means over training batches x [K, B, ...], y [K, B] at fixed weights, train mode: [R, 3] loss, accuracy,
        gradient norm - the papers' separate pass (three_regimes, Sec. 4)."""
        self.net.module.train()
        total = torch.zeros(len(weights_RP), 3, dtype=torch.float64, device=weights_RP.device)
        for xb, yb in zip(x, y, strict=True):
            shape = (len(weights_RP), *xb.shape)
            gradient, loss, accuracy = self.gradients(
                weights_RP, frozen, xb.expand(shape), yb.expand(len(weights_RP), *yb.shape)
            )
            norm = gradient.square().sum(1).sqrt()
            total += torch.stack([loss, torch.where(torch.isnan(loss), loss, accuracy.to(loss.dtype)), norm], 1)
        return total / len(x)

    def _fused_sums(
        self,
        name: str,
        f: Callable[..., Named],
        tensors: Named,
        weights_RP: Tensor,
        *examples: Tensor,
        block: int | None = None,
    ) -> Named | None:
        """Sums over examples of f(tensors of one run, *block) by generated code; None if this program has none for f.

        Raises:
            NotFusible: the plan says that f is generated, and it cannot be.
        """
        if not self.fused or name in self.refused or not (self.generated is None or name in self.generated):
            return None

        def of_flat(given: Named, *block: Tensor) -> Named:
            views = self.net.views(given[WEIGHTS][None])
            others = {key: value for key, value in given.items() if key != WEIGHTS}
            return f({**others, **{key: view[0] for key, view in views.items()}}, *block)

        try:
            sums = self._sums.setdefault(name, FusedSums(of_flat))
            return sums({WEIGHTS: weights_RP, **tensors}, *examples, block=block)
        except NotFusible as reason:
            if self.generated is not None:
                raise NotFusible(str(reason), name) from reason
            self.refused[name] = str(reason)
            return None

    def _over_runs(self, f: Callable[..., object], weights_RP: Tensor, frozen: Named, extra: Named, *x: Tensor):  # type: ignore[no-untyped-def]
        """Call f(tensors of one run, *x) for every run; x is shared by the runs."""
        stacked = {**self.net.views(weights_RP), **frozen, **extra}
        if self.path == "single":
            result = f({name: value[0] for name, value in stacked.items()}, *x)
            return torch.utils._pytree.tree_map(lambda t: t[None], result)
        return vmap(f, in_dims=(0, *(None for _ in x)))(stacked, *x)
