"""Losses, accuracies and gradients of R runs' weights: all that needs no optimizer.

R runs, B batch, N examples, K batches, P parameters, E example groups. All state goes in and out as tensors; nothing here knows
about phases, files or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import MappingProxyType

import torch
from torch import Tensor

from lrscope.engine.backends import Backend
from lrscope.engine.example_groups import ExampleGroups
from lrscope.engine.memory_order import planes
from lrscope.engine.net import Net
from lrscope.engine.noise import LEVEL, NOISE, of_batch
from lrscope.engine.step import Named
from lrscope.tasks.losses import Loss, correct
from lrscope.tasks.metrics import Metric, values
from lrscope.tasks.noise import Keyed
from lrscope.tasks.norms import population_norms

NO_METRICS: Mapping[str, Metric] = MappingProxyType({})
WEIGHTS = "flat weights"  # their name among named tensors; attributes of modules have no spaces


class Evaluation:
    """A net under one loss.

    Args:
        backend: how many runs are computed at once, and by what.
        metrics: the task's own, by name.
        autocast: compute the network in bfloat16.
    """

    def __init__(
        self,
        net: Net,
        loss: Loss,
        classification: bool,
        backend: Backend,
        *,
        metrics: Mapping[str, Metric] = NO_METRICS,
        autocast: bool = False,
    ) -> None:
        self.net = net
        self.loss = loss
        self.classification = classification
        self.backend = backend
        self.own = metrics
        self.autocast = autocast
        self._norms = population_norms(net.module)

    def output(self, tensors: Named, x: Tensor) -> Tensor:
        """The network's output for examples x [B, ...], with the tensors of one run by name.

        In train mode what it draws comes from the run's seed, and noise before layers has the run's level, if they are among
        them.
        """
        seed, level = tensors.get(NOISE), tensors.get(LEVEL)
        tensors = {name: value for name, value in tensors.items() if name not in (NOISE, LEVEL)}
        with ExitStack() as drawing:
            if seed is not None and self.net.module.training:
                drawing.enter_context(Keyed(seed))
            if level is not None and self.net.module.training and self.net.added is not None:
                drawing.enter_context(self.net.added.at(level))
            return self._output(tensors, x)

    def _output(self, tensors: Named, x: Tensor) -> Tensor:
        x = self.backend.arranged(x) if self.net.takes_channels_last else planes(x)
        if self.autocast:
            with torch.autocast(x.device.type, dtype=torch.bfloat16):
                return self.net.output(tensors, x).float()
        return self.net.output(tensors, x)

    def loss_of_run(self, trained: Named, others: Named, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy [] of one run on a mini-batch x [B, ...], y [B]."""
        output = self.output({**trained, **others}, x)
        accuracy = correct(output, y).mean() if self.classification else output.new_zeros(())
        return self.loss(output, y).mean(), accuracy

    def gradients(self, weights_RP: Tensor, frozen: Named, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient [R, P], mean loss [R] and accuracy [R] of mini-batches x [R, B, ...], y [R, B], in train mode."""
        views = self.net.views(weights_RP)
        gradient, loss_R, accuracy_R = self.backend.gradients(self.loss_of_run, views, frozen, x, y)
        return self.net.flatten(gradient), loss_R, accuracy_R

    def populations(self, weights_RP: Tensor, frozen: Named, batches: Tensor) -> Named:
        """Population statistics of every batch norm, averaged over training batches [K, B, ...]: by buffer name [R, C]."""
        if not self._norms:
            return {}
        self.net.module.train()
        for norm in self._norms.values():
            norm.collecting = True
        try:
            whole = None
            if NOISE not in frozen:  # which differs from batch to batch
                flat = batches.flatten(0, 1)
                whole = self._own_sums("populations", self._collect, frozen, weights_RP, flat, block=batches.shape[1])
            if whole is not None:
                return {name: (value / len(batches)).to(weights_RP.dtype) for name, value in whole.items()}
            total: Named = {}
            with torch.no_grad():
                for number, x in enumerate(batches):
                    found = self._over_runs(self._collect, weights_RP, of_batch(frozen, number), x)
                    total = {k: v + total[k] for k, v in found.items()} if total else found
        finally:
            for norm in self._norms.values():
                norm.collecting = False
                norm.collected = []
        return {name: value / len(batches) for name, value in total.items()}

    def _collect(self, tensors: Named, x: Tensor) -> Named:
        for norm in self._norms.values():
            norm.collected = []
        self.output(tensors, x)
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
            output = self.output(tensors, x)
            right = correct(output, y).sum() if self.classification else output.new_zeros(())
            return {"loss": self.loss(output, y).sum(), "right": right}

        found = self._eval_sums("metrics", sums, weights_RP, {**frozen, **populations}, x, y)
        loss = found["loss"]
        return loss / len(x), torch.where(torch.isnan(loss), loss, found["right"] / len(x))

    def own_metrics(self, weights_RP: Tensor, frozen: Named, populations: Named, x: Tensor, y: Tensor) -> Tensor:
        """Means of the task's M own metrics on examples x [N, ...], y [N] in eval mode, float64 [R, M]; NaN where the loss is."""

        def sums(tensors: Named, x: Tensor, y: Tensor) -> Named:
            output = self.output(tensors, x)
            return {"own": values(self.own, output, y).sum(0), "loss": self.loss(output, y).sum()}

        found = self._eval_sums("own metrics", sums, weights_RP, {**frozen, **populations}, x, y)
        loss_R1 = found["loss"][:, None]
        return torch.where(torch.isnan(loss_R1), loss_R1, found["own"] / len(x))

    def group_metrics(self, weights_RP: Tensor, frozen: Named, populations: Named, groups: ExampleGroups) -> Tensor:
        """Mean loss, accuracy and accuracy under the true labels of E example groups in eval mode, float64 [R, E, 3]."""

        def sums(tensors: Named, x: Tensor, y: Tensor, true_y: Tensor, member: Tensor) -> Named:
            output = self.output(tensors, x)
            rows = [self.loss(output, y)]
            rows += [correct(output, labels) for labels in (y, true_y)] if self.classification else []
            return {str(i): torch.where(member > 0, row[:, None], 0.0).sum(0) for i, row in enumerate(rows)}

        given = (groups.x, groups.y, groups.true_y, groups.member)
        found = self._eval_sums("groups", sums, weights_RP, {**frozen, **populations}, *given)
        loss = found["0"]
        right = [torch.where(torch.isnan(loss), loss, found.get(name, loss)) for name in ("1", "2")]
        return torch.stack([loss, *right], 2) / groups.sizes[:, None]

    def train_mode_metrics(self, weights_RP: Tensor, frozen: Named, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss [R] and accuracy [R] over training batches x [K, B, ...], y [K, B] with batch statistics."""
        self.net.module.train()

        def means(tensors: Named, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return self.loss_of_run({}, tensors, x, y)

        loss = torch.zeros(len(weights_RP), dtype=torch.float64, device=weights_RP.device)
        accuracy = torch.zeros_like(loss)
        with torch.no_grad():
            for number, (xb, yb) in enumerate(zip(x, y, strict=True)):
                losses, accuracies = self._over_runs(means, weights_RP, of_batch(frozen, number), xb, yb)
                loss += losses
                accuracy += accuracies
        return loss / len(x), accuracy / len(x)

    def fixed_pass(self, weights_RP: Tensor, frozen: Named, x: Tensor, y: Tensor) -> Tensor:
        """Means over training batches x [K, B, ...], y [K, B] at fixed weights, train mode: [R, 3] loss, accuracy,
        gradient norm - the papers' separate pass (three_regimes, Sec. 4)."""
        self.net.module.train()
        total = torch.zeros(len(weights_RP), 3, dtype=torch.float64, device=weights_RP.device)
        for number, (xb, yb) in enumerate(zip(x, y, strict=True)):
            shape = (len(weights_RP), *xb.shape)
            gradient, loss, accuracy = self.gradients(
                weights_RP, of_batch(frozen, number), xb.expand(shape), yb.expand(len(weights_RP), *yb.shape)
            )
            norm = gradient.square().sum(1).sqrt()
            total += torch.stack([loss, torch.where(torch.isnan(loss), loss, accuracy.to(loss.dtype)), norm], 1)
        return total / len(x)

    def _eval_sums(
        self, name: str, sums: Callable[..., Named], weights_RP: Tensor, others: Named, *examples: Tensor
    ) -> Named:
        """What `sums` of one run returns for a slab of examples [N, ...], over all of them in eval mode: float64 [R, ...]."""
        self.net.module.eval()
        whole = self._own_sums(name, sums, others, weights_RP, *examples)
        if whole is not None:
            return whole
        slab = self.backend.slab(weights_RP.device)
        total: Named = {}
        with torch.no_grad():
            for start in range(0, len(examples[0]), slab):
                part = (t[start : start + slab] for t in examples)
                found = self._over_runs(sums, weights_RP, others, *part)
                total = {key: value.to(torch.float64) + total.get(key, 0.0) for key, value in found.items()}
        return total

    def _own_sums(
        self,
        name: str,
        function: Callable[..., Named],
        others: Named,
        weights_RP: Tensor,
        *examples: Tensor,
        block: int | None = None,
    ) -> Named | None:
        """Sums over examples of function(tensors of one run, *block) in the backend's own way (`Backend.sums`)."""

        def of_flat(given: Named, *block: Tensor) -> Named:
            views = self.net.views(given[WEIGHTS][None])
            rest = {key: value for key, value in given.items() if key != WEIGHTS}
            return function({**rest, **{key: view[0] for key, view in views.items()}}, *block)

        return self.backend.sums(name, of_flat, {WEIGHTS: weights_RP, **others}, *examples, block=block)

    def _over_runs(self, function: Callable[..., object], weights_RP: Tensor, others: Named, *x: Tensor):  # type: ignore[no-untyped-def]
        """function(tensors of one run, *x) of every run; x is shared by the runs."""
        return self.backend.over_runs(function, {**self.net.views(weights_RP), **others}, *x)
