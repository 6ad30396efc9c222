"""The runs of width_drift.py: what is trained, by which optimizer, and where its curves are kept.

ConvNets on Fashion-MNIST (8,192 images, pooled to 14 x 14) or digits, and Transformers that predict the next word of Debian's
fortunes. A run trains at a constant learning rate and lowers it linearly to zero over the last fifth.

adamw         AdamW, weight decay 0.1, one learning rate for all weights
adamw-hidden  AdamW without decay; only the hidden matrices have the scanned learning rate, all other weights 1e-3
hyperball     the same, with each hidden matrix on its sphere: Wen et al. 2026, arXiv 2606.16899
sphere-sgd    lrscope.SphereSGD on all scale-invariant weights, momentum 0.9; all other weights AdamW at 1e-3
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import lrscope
from lrscope.mapping import votes
from lrscope.tasks.data import load

WINDOWS = 32  # of the part with a constant learning rate
CONSTANT = 0.8  # share of the steps
OTHERS = 1e-3  # learning rate of weights that are on no sphere
RANDOM = 20  # networks that have learned nothing, for what a loss is worth
DECAY = 0.1  # of AdamW
OPTIMIZERS = ("adamw", "adamw-hidden", "hyperball", "sphere-sgd")
HIDDEN = ("convs", "blocks")  # Hyperball's authors leave embedding and readout off the spheres
RECIPE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]  # runs of another recipe are trained anew


@dataclass(frozen=True)
class Run:
    """One training."""

    data: str
    optimizer: str
    width: int
    depth: int
    steps: int
    lr: float
    seed: int
    batch: int = 64

    def file(self, root: Path) -> Path:
        """Where its curve is kept."""
        place = f"width{self.width}-depth{self.depth}-steps{self.steps}-batch{self.batch}"
        return root / f"{self.data}-{RECIPE}" / self.optimizer / place / f"lr{self.lr:.4g}-seed{self.seed}.json"


# -- networks and data --------------------------------------------------------------------------------------------------


class ConvNet(nn.Module):
    """Two stages of `depth` convolutions with batch norm, each with a pooling behind it, and a mean over the image."""

    def __init__(self, channels: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [channels, *[width] * depth, *[2 * width] * depth]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in sizes[1:])
        self.readout = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [B, classes]."""
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = functional.relu(norm(conv(x)))
            x = functional.max_pool2d(x, 2) if 2 * (i + 1) % len(self.convs) == 0 else x
        out: Tensor = self.readout(x.mean((2, 3)))
        return out


class Block(nn.Module):
    """Attention with heads of 16 and a layer of four times the width, norms before both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 16
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] to the same shape."""
        q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, 16)).permute(2, 0, 3, 1, 4)
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        out: Tensor = x + self.outer(functional.gelu(self.inner(self.norms[1](x))))
        return out


class Language(nn.Module):
    """A Transformer that predicts the next word."""

    def __init__(self, vocabulary: int, length: int, width: int, depth: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Words [B, T] to logits [B * T, vocabulary]."""
        h = self.words(x) + self.places.weight[: x.shape[1]]
        out: Tensor = self.readout(self.norm(self.blocks(h))).flatten(0, 1)
        return out


@cache
def examples(data: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test pairs. Texts are inputs and next words; padding is -100, which the loss leaves out."""
    if data == "texts":
        found = load("fortunes")
        shifted = [(x[:, :-1], x[:, 1:].masked_fill(x[:, 1:] == 0, -100)) for x in (found.train_x, found.test_x)]
        return (*shifted[0], *shifted[1])
    sizes = {"train_size": 1024} if data == "digits" else {"train_size": 8192, "test_size": 2048, "pool": 2}
    found = load(data, **sizes)
    return found.train_x, found.train_y, found.test_x, found.test_y


def network(run: Run) -> nn.Module:
    """Its network at the start, from the run's seed."""
    x, y, *_ = examples(run.data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        if run.data == "texts":
            return Language(int(x.max()) + 1, x.shape[1], run.width, run.depth)
        return ConvNet(x.shape[1], int(y.max()) + 1, run.width, run.depth)


# -- training -----------------------------------------------------------------------------------------------------------


@cache
def symmetries(data: str, depth: int) -> lrscope.Symmetries:
    """Those of a narrow network: they do not depend on the width."""
    return lrscope.find_symmetries(network(Run(data, "", 16, depth, 0, 0.0, 0)), examples(data)[0][:16])


def optimizers(model: nn.Module, run: Run) -> list[torch.optim.Optimizer]:
    """The optimizers of a run, as the head of this file lists them."""
    if run.optimizer == "adamw":
        return [torch.optim.AdamW(model.parameters(), run.lr, weight_decay=DECAY)]
    if run.optimizer == "sphere-sgd":
        *spheres, rest = lrscope.sphere_groups(model, symmetries(run.data, run.depth))
        return [
            lrscope.SphereSGD(spheres, run.lr, momentum=0.9),
            torch.optim.AdamW(rest["params"], OTHERS, weight_decay=0),
        ]
    hidden = [p for name, p in model.named_parameters() if p.dim() > 1 and name.startswith(HIDDEN)]
    there = {id(p) for p in hidden}
    rest = {"params": [p for p in model.parameters() if id(p) not in there], "lr": OTHERS, "sphere": None}
    adam = torch.optim.AdamW([{"params": hidden}, rest], run.lr, weight_decay=0)
    return [adam if run.optimizer == "adamw-hidden" else lrscope.OnSphere(adam, hyperball=True)]


def training(model: nn.Module, run: Run) -> Iterator[tuple[float, float]]:
    """Train the model, a step at a time: loss and accuracy of each batch, before the step."""
    x, y, *_ = examples(run.data)
    chosen = optimizers(model, run)
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, lambda step: lowered(step, run.steps)) for one in chosen]
    for index in batches(len(x), run):
        logits, labels = model(x[index]), y[index].flatten()
        loss = functional.cross_entropy(logits, labels)
        model.zero_grad()
        loss.backward()
        for one in (*chosen, *schedules):
            one.step()
        yield loss.item(), (logits.argmax(1) == labels)[labels >= 0].float().mean().item()


def trained(run: Run) -> dict[str, Any]:
    """Curves of loss and accuracy over the constant part [WINDOWS], and the test loss at the end; NaN after an overflow."""
    model, begun = network(run), time.process_time()
    seen: list[tuple[float, float]] = []
    for pair in training(model, run):
        seen.append(pair)
        if not math.isfinite(pair[0]):
            break
    steps = int(CONSTANT * run.steps)
    curve = np.full((steps, 2), np.nan)
    curve[: len(seen)] = seen[:steps]
    loss_W, accuracy_W = (np.array([part.mean() for part in np.array_split(c, WINDOWS)]).tolist() for c in curve.T)
    test_loss = tested(model, run.data) if math.isfinite(seen[-1][0]) else math.nan
    seconds = time.process_time() - begun
    return {"run": asdict(run), "loss": loss_W, "accuracy": accuracy_W, "test_loss": test_loss, "seconds": seconds}


def predicted(run: Run, steps: int = 3) -> float:
    """Seconds of processor time that a run will take, from a few of its steps."""
    going = training(network(run), run)
    list(islice(going, 1))
    begun = time.process_time()
    list(islice(going, steps))
    return (time.process_time() - begun) / steps * run.steps


def lowered(step: int, steps: int) -> float:
    """The factor of the learning rate."""
    return min(1.0, (steps - step) / (steps - int(CONSTANT * steps)))


def batches(count: int, run: Run) -> Iterator[Tensor]:
    """Indices of the steps' examples: each epoch in an order of its own."""
    source, order = torch.Generator().manual_seed(run.seed + 1000), torch.zeros(0, dtype=torch.int64)
    for _ in range(run.steps):
        if len(order) < run.batch:
            order = torch.randperm(count, generator=source)
        yield order[: run.batch]
        order = order[run.batch :]


@torch.no_grad()
def tested(model: nn.Module, data: str) -> float:
    """The test loss, with batch norms in eval mode."""
    *_, x, y = examples(data)
    model.eval()
    pairs = zip(x.split(256), y.split(256), strict=True)
    parts = [(functional.cross_entropy(model(a), b.flatten()).item(), len(a)) for a, b in pairs]
    return sum(loss * n for loss, n in parts) / len(x)


@cache
def guessing(data: str, width: int, depth: int, units: int) -> votes.Guessing:
    """What networks get that have learned nothing, for as many units."""
    x, y, *_ = examples(data)
    index = torch.arange(min(256, len(x)))
    labels = y[index].flatten()
    losses, accuracies = [], []
    for seed in range(RANDOM):
        with torch.no_grad():
            logits = network(Run(data, "", width, depth, 0, 0.0, 10_000 + seed))(x[index])
        losses.append(functional.cross_entropy(logits, labels).item())
        accuracies.append((logits.argmax(1) == labels)[labels >= 0].float().mean().item())
    share = torch.bincount(y[y >= 0].flatten()).double() / (y >= 0).sum()
    constant = float(-(share * share.clamp(min=1e-30).log()).sum())
    return votes.Guessing(np.tile(losses, (units, 1)), np.tile(accuracies, (units, 1)), constant, float(share.max()))


def kept(run: Run, root: Path) -> dict[str, Any]:
    """A run's curves, trained if they are not there; a file is whole or not there."""
    file = run.file(root)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(trained(run)))
        part.rename(file)
    found: dict[str, Any] = json.loads(file.read_text())
    return found
