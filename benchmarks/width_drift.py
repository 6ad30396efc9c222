"""How far do the best learning rate and the border 1|2 move with width, depth and horizon: on the sphere, and with AdamW?

A run trains at a constant learning rate and lowers it linearly to zero over the last fifth. Training curves of the constant
part give the border 1|2, by the rules of `lrscope map`. The test loss at the end gives the best learning rate: the lowest
point of a parabola through the best of the grid and its neighbours, for each seed. A drift is the largest over the smallest
value along an axis, seeds averaged; its interval covers all ways to draw the seeds with replacement.

The claim (Hyperball: Wen et al. 2026, arXiv 2606.16899): the best learning rate moves less on the sphere than with AdamW.
Fixed before any run: of two intervals of drifts that do not overlap the lower one moves less; overlapping ones, or fewer than
three seeds, decide nothing.
A best learning rate at an end of the grid, or a border off it, is unknown, and so is a drift that needs it.

    python benchmarks/width_drift.py                                     # all: days on two cores
    python benchmarks/width_drift.py --tasks digits --axes width --scales 1 2 4 --seeds 3
    python benchmarks/width_drift.py --smoke                             # one minute: shows that it works, means nothing

Runs are kept in --root, one file each, and are not trained again. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import lrscope
from lrscope.mapping import borders, votes
from lrscope.tasks.data import load

WINDOWS = 32  # of the part with a constant learning rate
CONSTANT = 0.8  # share of the steps
OTHERS = 1e-3  # learning rate of weights that are on no sphere
RANDOM = 20  # networks that have learned nothing, for what a loss is worth
GRIDS = {"adamw": (1e-5, 0.3), "hyperball": (1e-4, 1.0), "sphere-sgd": (1e-5, 1.0)}
DEPTH = {"digits": 2, "fashion-mnist": 2, "texts": 2}
STEPS = {"digits": 1000, "fashion-mnist": 2000, "texts": 2000}
WIDTH = {"digits": 8, "fashion-mnist": 8, "texts": 32}
OPTIMIZERS = {"digits": tuple(GRIDS), "fashion-mnist": tuple(GRIDS), "texts": ("adamw", "hyperball")}


@dataclass(frozen=True)
class Run:
    """One training."""

    task: str
    optimizer: str
    width: int
    depth: int
    steps: int
    lr: float
    seed: int
    batch: int = 64

    def file(self, root: Path) -> Path:
        """Where its curve is kept."""
        place = root / self.task / self.optimizer / f"width{self.width}-depth{self.depth}-steps{self.steps}"
        return place / f"lr{self.lr:.4g}-seed{self.seed}-batch{self.batch}.json"


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
def examples(task: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test pairs. Texts are inputs and next words; padding is -100, which the loss leaves out."""
    if task == "texts":
        data = load("fortunes")
        shifted = [(x[:, :-1], x[:, 1:].masked_fill(x[:, 1:] == 0, -100)) for x in (data.train_x, data.test_x)]
        return (*shifted[0], *shifted[1])
    data = load(task, train_size=1024) if task == "digits" else load(task, train_size=8192, test_size=2048, pool=2)
    return data.train_x, data.train_y, data.test_x, data.test_y


def network(run: Run) -> nn.Module:
    """Its network at the start, from the run's seed."""
    x, y, *_ = examples(run.task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        if run.task == "texts":
            return Language(int(x.max()) + 1, x.shape[1], run.width, run.depth)
        return ConvNet(x.shape[1], int(y.max()) + 1, run.width, run.depth)


# -- training -----------------------------------------------------------------------------------------------------------


@cache
def symmetries(task: str, depth: int) -> lrscope.Symmetries:
    """Those of the narrowest network: they do not depend on the width."""
    run = Run(task, "", WIDTH[task], depth, 0, 0.0, 0)
    return lrscope.find_symmetries(network(run), examples(task)[0][:16])


def optimizers(model: nn.Module, run: Run) -> list[torch.optim.Optimizer]:
    """The optimizers of a run; what is on no sphere has a learning rate that is not scanned."""
    if run.optimizer == "adamw":
        return [torch.optim.AdamW(model.parameters(), run.lr, weight_decay=0.1)]
    if run.optimizer == "sphere-sgd":
        *spheres, rest = lrscope.sphere_groups(model, symmetries(run.task, run.depth))
        return [
            lrscope.SphereSGD(spheres, run.lr, momentum=0.9),
            torch.optim.AdamW(rest["params"], OTHERS, weight_decay=0),
        ]
    hidden = [p for name, p in model.named_parameters() if p.dim() > 1 and name.startswith(("convs", "blocks"))]
    there = {id(p) for p in hidden}
    rest = {"params": [p for p in model.parameters() if id(p) not in there], "lr": OTHERS, "sphere": None}
    return [lrscope.OnSphere(torch.optim.AdamW([{"params": hidden}, rest], run.lr, weight_decay=0), hyperball=True)]


def trained(run: Run) -> dict[str, Any]:
    """Curves of loss and accuracy over the constant part [WINDOWS], and the test loss at the end; NaN after an overflow."""
    model, (x, y, *_) = network(run), examples(run.task)
    chosen = optimizers(model, run)
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, lambda step: lowered(step, run.steps)) for one in chosen]
    seen: list[tuple[float, float]] = []
    for index in batches(len(x), run):
        logits, labels = model(x[index]), y[index].flatten()
        loss = functional.cross_entropy(logits, labels)
        seen.append((loss.item(), (logits.argmax(1) == labels)[labels >= 0].float().mean().item()))
        if not math.isfinite(seen[-1][0]):
            break
        model.zero_grad()
        loss.backward()
        for one in (*chosen, *schedules):
            one.step()
    steps = int(CONSTANT * run.steps)
    curve = np.full((steps, 2), np.nan)
    curve[: len(seen)] = seen[:steps]
    loss_W, accuracy_W = (np.array([part.mean() for part in np.array_split(c, WINDOWS)]).tolist() for c in curve.T)
    return {"run": asdict(run), "loss": loss_W, "accuracy": accuracy_W, "test_loss": tested(model, run.task)}


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
def tested(model: nn.Module, task: str) -> float:
    """The test loss, with batch norms in eval mode."""
    *_, x, y = examples(task)
    model.eval()
    pairs = zip(x.split(256), y.split(256), strict=True)
    parts = [(functional.cross_entropy(model(a), b.flatten()).item(), len(a)) for a, b in pairs]
    return sum(loss * n for loss, n in parts) / len(x)


@cache
def guessing(task: str, width: int, depth: int, units: int) -> votes.Guessing:
    """What networks get that have learned nothing, for as many units."""
    x, y, *_ = examples(task)
    index = torch.arange(min(256, len(x)))
    labels = y[index].flatten()
    losses, accuracies = [], []
    for seed in range(RANDOM):
        with torch.no_grad():
            logits = network(Run(task, "", width, depth, 0, 0.0, 10_000 + seed))(x[index])
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
        part = file.with_suffix(".part")
        part.write_text(json.dumps(trained(run)))
        part.rename(file)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


# -- what is found --------------------------------------------------------------------------------------------------------


def best_lr(lrs: Sequence[float], test_L: Sequence[float]) -> float:
    """Where the test loss of one seed is lowest; NaN at an end of the grid."""
    losses = np.where(np.isfinite(test_L), test_L, np.inf)
    k = int(losses.argmin())
    if k in (0, len(lrs) - 1):
        return math.nan
    cell = math.log(lrs[k + 1] / lrs[k])
    left, right = losses[k - 1] - losses[k], losses[k + 1] - losses[k]
    shift = 0.5 * (left - right) / (left + right) if math.isfinite(left + right) and left + right > 0 else 0.0
    return lrs[k] * math.exp(cell * shift)


def border(lrs: Sequence[float], votes_LU: np.ndarray[Any, Any]) -> float:
    """The border 1|2 of the runs' votes; NaN off the grid."""
    first, _ = borders.split(borders.tally(votes_LU))
    return borders.middle(np.asarray(lrs), first) if 0 < first < len(lrs) else math.nan


def drift(values_SU: np.ndarray[Any, Any], of: Callable[[np.ndarray[Any, Any]], float]) -> tuple[float, float, float]:
    """Largest over smallest of `of(values of a scale [U])` along the scales: as seen, and the ends of what redrawn seeds give.

    NaN where a scale has none; the ends are those of the 95% of redrawings in the middle.
    """
    units = values_SU.shape[1]
    drawn = [list(index) for index in product(range(units), repeat=units)]
    found = [_spread([of(scale[index]) for scale in values_SU]) for index in [list(range(units)), *drawn]]
    low, high = np.quantile(found[1:], [0.025, 0.975], method="inverted_cdf")
    return found[0], float(low), float(high)


def _spread(values: Sequence[float]) -> float:
    return max(values) / min(values) if all(map(math.isfinite, values)) else math.nan


def geometric(values: np.ndarray[Any, Any]) -> float:
    """The geometric mean."""
    return float(np.exp(np.log(values).mean()))


def scale_of(runs: list[list[dict[str, Any]]]) -> tuple[list[float], np.ndarray[Any, Any]]:
    """Best learning rates [U] and votes [U, L] of the runs [L][U] at one scale."""
    lrs = [row[0]["run"]["lr"] for row in runs]
    run, units = runs[0][0]["run"], len(runs[0])
    loss, accuracy = (np.array([[one[name] for one in row] for row in runs]) for name in ("loss", "accuracy"))
    known = guessing(run["task"], run["width"], run["depth"], units)
    ballot = votes.vote(loss, accuracy, known, divergence_exists=False)
    return [best_lr(lrs, [row[u]["test_loss"] for row in runs]) for u in range(units)], ballot.votes.T


def compared(drifts: dict[str, tuple[float, float, float]], seeds: int) -> str:
    """Which of the others move less than AdamW, by the criterion at the head of this file."""
    base = drifts.get("adamw")
    words = []
    for name, (_, low, high) in drifts.items():
        if base is not None and name != "adamw":
            known = seeds >= 3 and all(map(math.isfinite, (low, high, *base)))
            word = (
                "undetermined"
                if not known
                else "less"
                if high < base[1]
                else "more"
                if low > base[2]
                else "undetermined"
            )
            words.append(f"{name} moves {word}" if word != "undetermined" else f"{name}: undetermined")
    return ", ".join(words)


# -- the table ------------------------------------------------------------------------------------------------------------


def main(words: Sequence[str] | None = None) -> None:
    """Train what is missing, print the tables and the JSON object."""
    given = arguments(words)
    found = {
        f"{task}/{axis}/{what}": value
        for task, axis in product(given.tasks, given.axes)
        for what, value in table(task, axis, given).items()
    }
    print(json.dumps({"name": "width_drift", "unit": "largest over smallest", "smoke": given.smoke, "drifts": found}))


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="*", choices=STEPS, default=["fashion-mnist", "texts"])
    parser.add_argument("--axes", nargs="*", choices=("width", "depth", "steps"), default=["width", "depth", "steps"])
    parser.add_argument("--scales", nargs="*", type=int, default=[1, 2, 4, 8, 16], help="factors along each axis")
    parser.add_argument("--optimizers", nargs="*", choices=GRIDS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="at scale 1; default: the task's own")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--per-decade", type=float, default=6, help="learning rates of the grid")
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark-width-drift"))
    parser.add_argument("--smoke", action="store_true", help="digits, two widths, a few learning rates and steps")
    given = parser.parse_args(words)
    if given.smoke:
        given.tasks, given.axes, given.scales, given.seeds = ["digits"], ["width"], [1, 2], 2
        given.steps, given.per_decade, given.batch = 40, 0.9, 16
    return given


def table(task: str, axis: str, given: argparse.Namespace) -> dict[str, list[float | None]]:
    """Print what is found along one axis; the drifts by optimizer and quantity."""
    print(f"\n{task}, {axis} x {given.scales}: geometric mean of {given.seeds} seeds\n")
    print("| optimizer | quantity | " + " | ".join(f"x{s}" for s in given.scales) + " | drift | interval |")
    print("|---|---|" + "---|" * (len(given.scales) + 2))
    found: dict[str, dict[str, tuple[float, float, float]]] = {"best": {}, "border 1|2": {}}
    for name in given.optimizers or OPTIMIZERS[task]:
        lrs = grid(*GRIDS[name], given.per_decade)
        scales = [scale_of(runs_of(task, name, axis, scale, lrs, given)) for scale in given.scales]
        best_SU, votes_SUL = np.array([b for b, _ in scales]), np.array([v for _, v in scales])
        rules = {
            "best": (best_SU, geometric),
            "border 1|2": (votes_SUL, lambda votes_UL, lrs=lrs: border(lrs, votes_UL.T)),
        }
        for what, (values, of) in rules.items():
            found[what][name] = drift(values, of)
            row([name, what, *(of(v) for v in values)], found[what][name])
    for what, drifts in found.items():
        print(f"\n{what}: {compared(drifts, given.seeds) or 'nothing to compare'}")
    return {f"{name}/{what}": [known(x) for x in d] for what, of in found.items() for name, d in of.items()}


def runs_of(
    task: str, name: str, axis: str, scale: int, lrs: Sequence[float], given: argparse.Namespace
) -> list[list[dict[str, Any]]]:
    """The runs [L][U] at one scale."""
    base = {"width": WIDTH[task], "depth": DEPTH[task], "steps": given.steps or STEPS[task]}
    sizes = base | {axis: base[axis] * scale}
    return [
        [kept(Run(task, name, lr=lr, seed=seed, batch=given.batch, **sizes), given.root) for seed in range(given.seeds)]
        for lr in lrs
    ]


def grid(low: float, high: float, per_decade: float) -> list[float]:
    """Learning rates, the same cells at every scale."""
    count = round(math.log10(high / low) * per_decade) + 1
    return [float(f"{lr:.4g}") for lr in lrscope.log_grid(low, high, max(count, 3))]


def known(value: float) -> float | None:
    """For JSON."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def row(values: Sequence[str | float], found: tuple[float, float, float]) -> None:
    """Print a row; what is not known is a question mark."""
    words = [v if isinstance(v, str) else f"{v:.2e}" if math.isfinite(v) else "?" for v in values]
    low, high = found[1:]
    interval = f"{low:.2f} to {high:.2f}" if math.isfinite(low + high) else "?"
    print(f"| {' | '.join(words)} | {found[0]:.2f} | {interval} |".replace("nan", "?"), flush=True)


if __name__ == "__main__":
    main()
