"""Texts, models and losses of (model, batch) that several test files train, and the loop by hand that trains the same runs.

N examples in training, padded to LONGEST words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from lrscope.tasks.batches.module import BLOCK
from lrscope.tasks.streams import generator, stream_seed
from lrscope.tasks.task import Task
from lrscope.trained import Trained
from tiny_tasks import ALL_RUNS, ONE_RUN, SHORT

N, TESTED, LONGEST, WORDS = 32, 72, 6, 11
SWEEP = replace(SHORT, batch_size=8, steps=10, space="whole", lrs=(0.1, 0.5), precision="float64", random_points=1)
PLANS = {"batched": ALL_RUNS, "single": ONE_RUN}


def texts(count: int, key: str) -> dict[str, Tensor]:
    """Words [count, LONGEST] padded with 0, their numbers, a weight for each text, a label."""
    draws = generator("tests", "batches", key)
    lengths = torch.randint(2, LONGEST + 1, (count,), generator=draws)
    words = torch.randint(1, WORDS, (count, LONGEST), generator=draws)
    words[torch.arange(LONGEST) >= lengths[:, None]] = 0
    weight = torch.rand(count, generator=draws)
    return {"words": words, "lengths": lengths, "weight": weight, "label": (words[:, 0] > WORDS // 2).long()}


TRAIN, TEST = texts(N, "train"), texts(TESTED, "test")


class Bag(nn.Module):
    """Several inputs: the mean of the words' vectors, and the weight beside it."""

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        self.embed, self.out, self.share = nn.Embedding(WORDS, 4), nn.Linear(5, 2), share

    def forward(self, words: Tensor, weight: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        mean = (self.embed(words) * (words > 0)[..., None]).sum(1) / lengths[:, None]
        mean = functional.dropout(mean, self.share, self.training)
        return {"logits": self.out(torch.cat([mean, weight[:, None]], 1))}


class Lstm(nn.Module):
    """Reads padded words; the last word's state says the label."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.out = nn.Embedding(WORDS, 3), nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, words: Tensor, weight: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(words), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return {"logits": self.out(self.lstm(packed)[1][0][-1])}


def mean_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    label = batch.pop("label")  # as many a loop does
    return functional.cross_entropy(model(**batch)["logits"], label)


def loss_each(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    label = batch.pop("label")
    return functional.cross_entropy(model(**batch)["logits"], label, reduction="none")


def by_words(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """A mean over words, which is none over examples."""
    share = batch["lengths"] / batch["lengths"].sum()
    return (loss_each(model, dict(batch)) * share).sum()


def error(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    label = batch.pop("label")
    return (model(**batch)["logits"].argmax(1) != label).float()


def task(model: Callable[[], nn.Module] = Bag, loss: Any = mean_loss, **options: Any) -> Task:
    return Task(model, **{"train": TRAIN, "test": TEST, "loss": loss, **options})


# -- a loop written by hand ---------------------------------------------------------------------------------------------


def rows(data: dict[str, Tensor], numbers: Tensor) -> dict[str, Tensor]:
    return {name: t[numbers].double() if t.is_floating_point() else t[numbers] for name, t in data.items()}


def by_hand(
    make: Callable[[], nn.Module], loss: Any, lr: float, seed: int, batch: Any = rows
) -> tuple[Any, Any, Tensor]:
    """Losses of all steps, test loss and weights of one run of SWEEP by plain SGD."""
    torch.manual_seed(stream_seed("init", 0, seed))
    model, losses = make().double().train(), []
    for step in range(SWEEP.steps or 0):
        epoch, place = divmod(step, N // 8)
        order = torch.randperm(N, generator=generator("order", "pretrain", 0, seed, epoch))
        value = loss(model, batch(TRAIN, order[place * 8 : place * 8 + 8])).mean()
        gradients = torch.autograd.grad(value, list(model.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(model.parameters(), gradients, strict=True):
                weight -= lr * gradient
        losses.append(value.item())
    with torch.no_grad():
        blocks = [loss(model.eval(), batch(TEST, n)).mean() * len(n) for n in torch.arange(TESTED).split(BLOCK)]
    return losses, sum(blocks).item() / TESTED, nn.utils.parameters_to_vector(model.parameters())  # type: ignore[union-attr]


def check_by_hand(
    found: Any, made: Task, make: Callable[[], nn.Module], loss: Any, folder: Path | None, batch: Any = rows
) -> None:
    for lr in SWEEP.lrs:
        for seed in range(SWEEP.seeds):
            with torch.random.fork_rng(devices=[]):
                losses, test_loss, weights = by_hand(make, loss, lr, seed, batch)
            run = found["pretrain"].ds.sel(lr=lr, seed=seed, data_seed=0)
            steps = np.diff([0, *run["step"].values])
            means = [np.mean(part) for part in np.split(np.array(losses), np.cumsum(steps)[:-1])]
            np.testing.assert_allclose(run["train_loss"], means, rtol=1e-9)
            np.testing.assert_allclose(run["test_loss"][-1], test_loss, rtol=1e-9)
            own = Trained.open(folder, made).state(lr=lr, seed=seed).weights[0]
            torch.testing.assert_close(own, weights.detach(), rtol=1e-9, atol=1e-12)


class Rows(Dataset[Any]):
    def __init__(self, make: Callable[[int], Any], count: int = N) -> None:
        self.make, self.count = make, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def as_dict(index: int) -> dict[str, Any]:
    return {name: tensor[index] for name, tensor in TRAIN.items()}
