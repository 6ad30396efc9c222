"""The slow, literal twin of the engine: one run, eager, float64, plain PyTorch, from the papers and docs/schema.md.

It shares with the library the task, the names of the random streams and nothing else. Trainable tensors are the groups,
so it takes nets whose layers are each scale-invariant by themselves and whose last layer is called `readout`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from lrscope.config import SweepConfig
from lrscope.tasks.streams import generator, stream_seed
from lrscope.tasks.task import Task

POPULATION_EXAMPLES = 1024
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)


def new_model(task: Task, config: SweepConfig, seed: int) -> nn.Module:
    """three_regimes, Sec. 4: norms without affine, readout frozen at norm 10 - or the net as it is."""
    model = task.new_model(seed)
    if config.invariant:
        for module in model.modules():
            if isinstance(module, NORMS):
                module.weight = module.bias = None
        with torch.no_grad():
            model.readout.weight.mul_(10 / model.readout.weight.norm())
        for parameter in model.readout.parameters():
            parameter.requires_grad_(False)
    model.double()
    if config.radius is not None:
        scale = config.radius / total_norm(trainable(model))
        with torch.no_grad():
            for parameter in trainable(model):
                parameter.mul_(scale)
    return model


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def total_norm(tensors: list[Tensor] | list[nn.Parameter]) -> float:
    return math.sqrt(sum(float(t.detach().square().sum()) for t in tensors))


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainable(model)])


def accuracy(output: Tensor, y: Tensor) -> float:
    return sum(int(row.argmax()) == int(label) for row, label in zip(output, y, strict=True)) / len(y)


def crop_flip(image: Tensor, down: int, right: int, flip: int, black: float) -> Tensor:
    """Random crop from a black frame of an eighth of the side, then a horizontal flip, of one image [C, H, W]."""
    height, width = image.shape[1:]
    frame = round(height / 8)
    cropped = functional.pad(image, (frame,) * 4, value=black)[:, down : down + height, right : right + width]
    return cropped.flip(2) if flip else cropped


@dataclass
class Window:
    """What is summed between two logged values."""

    rows: list[dict[str, list[float]]] = field(default_factory=list)

    def mean(self, name: str) -> list[float]:
        return [float(np.mean(column)) for column in zip(*(row[name] for row in self.rows), strict=True)]


class Naive:
    """One run: a learning rate and a seed. `result` holds its arrays under the schema's names."""

    def __init__(self, task: Task, config: SweepConfig, *, lr: float, seed: int, data_seed: int = 0) -> None:
        self.config, self.lr = config, lr
        data = task.data(data_seed)
        self.x, self.y = data.train_x.double(), data.train_y
        self.test_x, self.test_y = data.test_x.double(), data.test_y
        self.probes = [] if data.feature_x is None else [*zip(data.feature_x.double(), data.feature_y, strict=True)]
        self.groups = (
            [] if data.train_groups is None else [data.train_groups == e for e in range(len(data.train_group_names))]
        )
        self.true_y = data.clean_train_y
        self.test_groups = [data.test_groups == e for e in range(len(data.test_group_names))]
        mean, std = data.normalisation or ((0.0,), (1.0,))
        self.black = -mean[0] / std[0]
        self.epoch = len(self.x) // config.batch_size
        self.key = (data_seed, seed, *(() if config.same_init else (repr(lr),)))
        self.model = new_model(task, config, stream_seed("init", *self.key)).train()
        self.rho = total_norm(trainable(self.model))
        self.result: dict[str, np.ndarray] = {}

    # -- the stream of mini-batches --------------------------------------------------------------------------------

    def batch(self, stream: str, step: int) -> tuple[Tensor, Tensor]:
        epoch, number = divmod(step, self.epoch)
        order = torch.randperm(len(self.x), generator=generator("order", stream, *self.key, epoch))
        part = slice(number * self.config.batch_size, (number + 1) * self.config.batch_size)
        x, y = self.x[order[part]], self.y[order[part]]
        if self.config.augment:
            rng = generator("augment", stream, *self.key, epoch)
            shift = 2 * round(self.x.shape[-1] / 8) + 1
            shifts = torch.cat([torch.randint(0, shift, (len(self.x), 1), generator=rng) for _ in range(2)], 1)[part]
            flips = torch.randint(0, 2, (len(self.x), 1), generator=rng)[part]
            draws = torch.cat([shifts, flips], 1).tolist()
            x = torch.stack([crop_flip(image, *draw, self.black) for image, draw in zip(x, draws, strict=True)])
        return x, y

    def fixed_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for k in range(self.epoch):
            part = slice(k * self.config.batch_size, (k + 1) * self.config.batch_size)
            yield self.x[part], self.y[part]

    # -- training --------------------------------------------------------------------------------------------------

    def gradient(self, x: Tensor, y: Tensor) -> tuple[list[Tensor], float, float]:
        output = self.model(x)
        loss = functional.cross_entropy(output, y)
        found = torch.autograd.grad(loss, trainable(self.model))
        return list(found), loss.item(), accuracy(output, y)

    def step(self, x: Tensor, y: Tensor, lr: float, velocity: list[Tensor]) -> dict[str, list[float]]:
        """One step; what the window's means are made of, taken before the weights move."""
        weights = trainable(self.model)
        gradient, loss, right = self.gradient(x, y)
        g, rho = total_norm(gradient), total_norm(weights)
        row = {"train": [loss, right, g, g * rho]}
        if self.config.invariant:
            g_i, rho_i = [total_norm([t]) for t in gradient], [total_norm([w]) for w in weights]
            row["group_effective_grad_norm"] = [a * b for a, b in zip(g_i, rho_i, strict=True)]
            row["group_ess"] = [(lr / b**2) * (a * b) for a, b in zip(g_i, rho_i, strict=True)]
        with torch.no_grad():
            for i, (w, grad) in enumerate(zip(weights, gradient, strict=True)):
                grad = grad + self.config.weight_decay * w
                if self.config.optimizer == "adam":  # Kingma & Ba 2015, Alg. 1
                    m, v, t = velocity[i]
                    m, v, t = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2, t + 1
                    velocity[i] = torch.stack([m, v, t])
                    w.sub_(lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8))
                    continue
                velocity[i] = self.config.momentum * velocity[i] + grad
                w.sub_(lr * velocity[i])
            if self.config.space == "sphere":
                length = total_norm(weights)
                for w in weights:
                    w.mul_(self.rho / length)
        return row

    def optimizer_lr(self, lr: float) -> float:
        return lr * self.rho**2 if self.config.space == "sphere" else lr

    def stretch(
        self, stream: str, first: int, steps: int, lr: Callable[[int], float], velocity: list[Tensor], prefix: str
    ) -> None:
        """Train `steps` steps and log at the end of every epoch and of the stretch."""
        logs: dict[str, list[object]] = {}
        window = Window()
        for t in range(steps):
            window.rows.append(self.step(*self.batch(stream, first + t), lr(t), velocity))
            if (t + 1) % self.epoch and t + 1 < steps:
                continue
            train = window.mean("train")
            names = ("train_loss", "train_accuracy", "grad_norm", "effective_grad_norm")
            row = dict(zip(names, train, strict=True))
            row["test_loss"], row["test_accuracy"] = self.evaluate(self.model, self.test_x, self.test_y)
            row |= self.example_groups()
            norms = [total_norm([w]) for w in trainable(self.model)]
            if stream == "pretrain":
                row["group_norm"] = norms
            if stream == "pretrain" and self.config.invariant:
                row["elr"], row["group_elr"] = lr(t) / sum(n**2 for n in norms), [lr(t) / n**2 for n in norms]
                for name in ("group_effective_grad_norm", "group_ess"):
                    row[name] = window.mean(name)
            for name, value in row.items():
                logs.setdefault(prefix + name, []).append(value)
            window = Window()
        self.result |= {name: np.array(values) for name, values in logs.items()}
        self.fixed_pass(prefix)

    def fixed_pass(self, prefix: str) -> None:
        rows = []
        for x, y in self.fixed_batches():
            gradient, loss, right = self.gradient(x, y)
            rows.append([loss, right, total_norm(gradient), total_norm(gradient) * total_norm(trainable(self.model))])
        names = ("fixed_train_loss", "fixed_train_accuracy", "fixed_grad_norm", "fixed_effective_grad_norm")
        for name, value in zip(names, np.mean(rows, 0), strict=True):
            self.result[prefix + name] = value
        if self.probes:
            self.result[prefix + "feature_accuracy"] = self.probe_accuracy(self.model)

    def example_groups(self) -> dict[str, list[float]]:
        """Metrics of each group of training examples, under both kinds of labels."""
        pairs = [self.evaluate(self.model, self.x[group], self.y[group]) for group in self.groups]
        found = {} if not pairs else {"loss": [p[0] for p in pairs], "accuracy": [p[1] for p in pairs]}
        if pairs and self.true_y is not None:
            true = [self.evaluate(self.model, self.x[group], self.true_y[group])[1] for group in self.groups]
            found["true_accuracy"] = true
        tested = [self.evaluate(self.model, self.test_x[group], self.test_y[group]) for group in self.test_groups]
        of_test = {
            f"test_group_{name}": list(v)
            for name, v in zip(("loss", "accuracy"), zip(*tested, strict=True), strict=False)
        }
        return {"example_group_" + name: values for name, values in found.items()} | of_test

    def probe_accuracy(self, model: nn.Module) -> np.ndarray:
        return np.array([self.evaluate(model, x, y)[1] for x, y in self.probes])

    def evaluate(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
        """Eval mode, batch norms with PyTorch's own cumulative statistics over training batches in their order."""
        model = copy.deepcopy(model)
        count = max(1, POPULATION_EXAMPLES // self.config.batch_size)
        update_bn([x for x, _ in self.fixed_batches()][:count], model)
        model.eval()
        with torch.no_grad():
            output = model(x)
        return functional.cross_entropy(output, y).item(), accuracy(output, y)

    # -- the phases ------------------------------------------------------------------------------------------------

    def run(self) -> Naive:
        """Pre-train, then average, then fine-tune at every learning rate, each from the pre-trained state."""
        config, steps = self.config, self.config.steps
        assert steps is not None
        eta = self.optimizer_lr(self.lr)
        kind = config.schedule

        def lr(t: int) -> float:
            return eta * ((1 + math.cos(math.pi * t / steps)) / 2 if kind == "cosine" else 1.0)

        velocity = self.at_rest()
        self.stretch("pretrain", 0, steps, lr, velocity, "pretrain/")
        self.weights = flat(self.model)
        trained, moving = copy.deepcopy(self.model), [v.clone() for v in velocity]
        self.average(steps, eta, moving)
        branches: dict[str, list[np.ndarray]] = {}
        whole, self.result = self.result, {}
        for finetune_lr in config.finetune_lrs:
            self.model = copy.deepcopy(trained)
            small = self.optimizer_lr(finetune_lr)
            assert config.finetune_steps is not None
            self.stretch(
                "finetune", 0, config.finetune_steps, lambda t, small=small: small, self.at_rest(), "finetune/"
            )
            for name, value in self.result.items():
                branches.setdefault(name, []).append(value)
        self.result = whole | {name: np.array(values) for name, values in branches.items()}
        return self

    def average(self, done: int, eta: float, velocity: list[Tensor]) -> None:
        """SWA: go on as pre-training ended; average n checkpoints, the first of them the pre-trained weights."""
        if not self.config.average:
            return
        every = self.config.average_every or self.epoch
        checkpoints = [copy.deepcopy(self.model)]
        for t in range((max(self.config.average) - 1) * every):
            self.step(*self.batch("pretrain", done + t), eta, velocity)
            if (t + 1) % every == 0:
                checkpoints.append(copy.deepcopy(self.model))
        rows, features = [], []
        for n in self.config.average:
            mean = copy.deepcopy(checkpoints[0])
            with torch.no_grad():
                for p, *others in zip(*(trainable(m) for m in (mean, *checkpoints[:n])), strict=True):
                    p.copy_(sum(others) / n)
            rows.append([*self.evaluate(mean, self.x, self.y), *self.evaluate(mean, self.test_x, self.test_y)])
            features.append(self.probe_accuracy(mean))
        names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
        if self.probes:
            self.result["average/feature_accuracy"] = np.array(features)
        self.result |= {"average/" + n: np.array(c) for n, c in zip(names, zip(*rows, strict=True), strict=True)}

    def at_rest(self) -> list[Tensor]:
        if self.config.optimizer == "adam":  # two moments and the number of steps
            return [torch.zeros(3, *p.shape, dtype=p.dtype) for p in trainable(self.model)]
        return [torch.zeros_like(p) for p in trainable(self.model)]


def random_points(task: Task, config: SweepConfig, *, seed: int, data_seed: int) -> list[list[float]]:
    """[points, 2]: training loss and accuracy, train mode, at uniform directions with the readout of the seed's runs
    (SI nets) or at fresh initialisations."""
    one, found = Naive(task, config, lr=config.lrs[0], seed=seed, data_seed=data_seed), []
    shape = config.random_points, flat(one.model).numel()
    points = torch.randn(shape, generator=generator("random-point", data_seed, seed)).double()
    for i in range(config.random_points):
        if config.invariant:
            weights, point = trainable(one.model), points[i] * one.rho / points[i].norm()
            with torch.no_grad():
                for w, piece in zip(weights, point.split([w.numel() for w in weights]), strict=True):
                    w.copy_(piece.view_as(w))
        else:
            fresh = stream_seed("random-init", data_seed, seed * config.random_points + i)
            one.model = new_model(task, config, fresh).train()
        found.append(np.mean([one.gradient(x, y)[1:] for x, y in one.fixed_batches()], 0).tolist())
    return found
