"""WideResNet-16-k: its size, its function written out once more, and that many runs of it train as one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lrscope.config import SweepConfig
from lrscope.dynamics.schedules import factors
from lrscope.errors import LrscopeError
from lrscope.tasks.builtin import named_task
from lrscope.tasks.models import build
from lrscope.tasks.streams import generator
from lrscope.tasks.wideresnet import WideResNet16
from test_plans import differing
from tiny_tasks import ALL_RUNS, ONE_RUN, computed, drawn, task_of


def test_the_papers_has_as_many_weights_as_counted_by_hand() -> None:
    """Zagoruyko & Komodakis 2016, Table 1 with N = 2 and k = 10, for CIFAR-10: 17.1 million."""
    k = 10

    def group(inside: int, outside: int) -> int:
        first = 2 * inside + 9 * inside * outside + 2 * outside + 9 * outside**2 + inside * outside
        return first + 2 * (2 * outside + 9 * outside**2)

    by_hand = 3 * 9 * 16 + group(16, 16 * k) + group(16 * k, 32 * k) + group(32 * k, 64 * k)
    by_hand += 2 * 64 * k + 64 * k * 10 + 10
    assert by_hand == 17_116_634
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        model = build("wideresnet16", data="cifar10", shape=(3, 32, 32), outputs=10, width=None)
    assert sum(p.numel() for p in model.parameters()) == by_hand


def literal(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network layer by layer, with batch statistics."""

    def active(x: Tensor, norm: str) -> Tensor:
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
        scale, shift = (tensors[f"{norm}.{name}"].view(1, -1, 1, 1) for name in ("weight", "bias"))
        return ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)

    x = functional.conv2d(x, tensors["stem.weight"], padding=1)
    for block, stride in enumerate((1, 1, 2, 1, 2, 1)):
        a = active(x, f"blocks.{block}.norm1")
        h = functional.conv2d(a, tensors[f"blocks.{block}.conv1.weight"], stride=stride, padding=1)
        h = functional.conv2d(active(h, f"blocks.{block}.norm2"), tensors[f"blocks.{block}.conv2.weight"], padding=1)
        if block % 2 == 0:
            x = functional.conv2d(a, tensors[f"blocks.{block}.shortcut.weight"], stride=stride)
        x = x + h
    pooled = active(x, "norm").flatten(2).mean(2)
    return pooled @ tensors["readout.weight"].T + tensors["readout.bias"]


def test_its_function_is_the_one_written_out() -> None:
    model = drawn(partial(WideResNet16, 2, 3, 2)).double()
    rng = generator("tests", "wide")
    tensors = {n: p.data.add_(0.1 * torch.randn(p.shape, generator=rng)) for n, p in model.named_parameters()}
    x = torch.randn(4, 2, 8, 8, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(model(x), literal(tensors, x))
    sizes = [tuple(block(x).shape) for x, block in _into(model, x)]
    assert sizes == [(4, c, s, s) for c, s in ((32, 8), (32, 8), (64, 4), (64, 4), (128, 2), (128, 2))]


def _into(model: WideResNet16, x: Tensor) -> list[tuple[Tensor, torch.nn.Module]]:
    """Each block with what comes into it."""
    found, x = [], model.stem(x)
    for block in model.blocks:
        found.append((x, block))
        x = block(x)
    return found


def test_it_starts_as_its_authors_do() -> None:
    model = drawn(partial(WideResNet16, 3, 10, 4))
    for name in ("stem", "blocks.0.conv1", "blocks.4.conv2", "blocks.4.shortcut"):
        weight = model.get_submodule(name).weight
        variance = 2 / (weight[0, 0].numel() * weight.shape[0])
        spread = 5 * variance * (2 / weight.numel()) ** 0.5
        assert weight.var().item() == pytest.approx(variance, abs=spread), name
    assert not model.readout.bias.any()


def test_it_needs_images() -> None:
    with pytest.raises(LrscopeError, match="model: 'wideresnet16' needs images, but data 'ticks'"):
        named_task("ticks", "wideresnet16", train_size=20, test_size=20)


# learning_order's optimizer: SGD with Nesterov momentum, the learning rate times 0.04 in the middle.
CONFIG = SweepConfig(
    lrs=(0.01, 0.1),
    seeds=1,
    steps=4,
    batch_size=8,
    space="whole",
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    schedule="step:0.04@0.5",
    random_points=1,
    precision="float64",
)


@pytest.mark.slow
def test_batched_and_single_agree(tmp_path: Path) -> None:
    task = task_of(partial(WideResNet16, 1, 3, 1), (1, 8, 8), train=16, name="wide")
    batched, single = (computed(task, CONFIG, plan, tmp_path / plan.path) for plan in (ALL_RUNS, ONE_RUN))
    assert differing(batched, single) == []
    assert (batched["pretrain/status"] == 0).all()


@pytest.mark.parametrize(
    ("schedule", "epochs", "factor", "at"),
    [("step:0.04@0.5", 60, 0.04, (30,)), ("step:0.2@0.3,0.6,0.75", 200, 0.2, (60, 120, 150))],
    ids=["Fig. 3", "Fig. 1"],
)
@pytest.mark.parametrize("steps_per_epoch", [1, 7, 62, 390])
def test_the_papers_schedules_step_at_the_first_step_of_their_epochs(
    schedule: str, epochs: int, factor: float, at: tuple[int, ...], steps_per_epoch: int
) -> None:
    """learning_order, Sec. 6 and Fig. 1, whatever the number of steps an epoch."""
    found = factors(schedule, epochs * steps_per_epoch)
    expected = torch.ones(epochs * steps_per_epoch, dtype=torch.float64)
    for epoch in at:
        expected[epoch * steps_per_epoch :] *= factor
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
