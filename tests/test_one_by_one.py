"""Models that train one run at a time: control flow that vmap cannot take, and noise that is not drawn for many runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lrscope.engine.memory_order import channels_last, planes, takes_channels_last
from lrscope.errors import LrscopeError
from lrscope.tasks.augment import crop_flip
from lrscope.tasks.models import MLP
from tiny_tasks import (
    BASE,
    BATCHED,
    CLASSES,
    ONE_RUN,
    SHORT,
    SINGLE,
    Shuffling,
    context_of,
    drawn,
    examples,
    same_bytes,
    task_of,
    train,
)


class Choosy(nn.Module):
    """Control flow that depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.net = MLP((5, 8, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return 2 * out if out.sum() > 0 else out


def recorded(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, [str(w.message) for w in caught if "Zarr" not in str(w.message)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "message"), [(Choosy, "cannot be batched over runs"), (Shuffling, "draws noise in training")]
)
def test_models_that_cannot_be_batched_train_one_by_one_with_one_warning(model: Any, message: str) -> None:
    auto = replace(BATCHED, path="auto", chunk=None)
    result, said = recorded(lambda: train(task_of(model, (5,)), SHORT, auto))
    assert len(said) == 1, said
    assert message in said[0]
    assert '"path": "single"' in result.attrs["plan"]
    assert (result["pretrain/status"] == 0).all()


@pytest.mark.parametrize("model", [Choosy, Shuffling])
@pytest.mark.parametrize("chunk", [None, 4])
def test_asking_for_batches_of_such_models_is_refused(model: Any, chunk: int | None) -> None:
    with pytest.raises(LrscopeError, match=r"path: batched .* use path single"):
        train(task_of(model, (5,)), SHORT, replace(BATCHED, chunk=chunk))


@pytest.mark.slow
def test_such_noise_repeats_and_leaves_the_global_generator_alone() -> None:
    """The fixture of conftest.py watches the generator; the second call draws from another state of it."""
    task = task_of(Shuffling, (5,))
    first, _ = recorded(lambda: train(task, BASE, SINGLE))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        second, _ = recorded(lambda: train(task, BASE, SINGLE))
    assert same_bytes(first, second) == []
    dry = replace(BASE, lrs=BASE.lrs[:1], seeds=1)
    assert same_bytes(recorded(lambda: train(task, dry, SINGLE))[0], first.isel(lr=[0], seed=[0])) == []


def test_a_model_whose_buffers_training_changes_is_refused() -> None:
    def model() -> nn.Module:
        return nn.Sequential(
            nn.Conv1d(1, 4, 3), nn.InstanceNorm1d(4, track_running_stats=True), nn.Flatten(), nn.Linear(12, CLASSES)
        )

    with pytest.raises(LrscopeError, match=r"training changes its buffers 1\.running_mean, 1\.running_var"):
        train(task_of(model, (1, 5)), SHORT)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_go_through_convolutions_channels_last(channels: int) -> None:
    """Of one channel too, whose memory looks the same in both layouts: what a convolution makes of them is in this one."""
    x, _ = examples(4, (channels, 6, 6))
    found = channels_last(x)
    assert torch.equal(found, x)
    made = drawn(partial(nn.Conv2d, channels, 8, 3))(found)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert not made.is_contiguous()


@pytest.mark.parametrize(
    ("layer", "taken"),
    [
        (partial(nn.Conv2d, 4, 8, 1, stride=2), False),
        (partial(nn.Conv2d, 12, 8, 1, stride=(1, 2)), False),
        (partial(nn.Conv2d, 16, 8, 1, stride=2, groups=4), False),
        (partial(nn.Conv2d, 16, 8, 1, stride=2), True),
        (partial(nn.Conv2d, 4, 8, 1), True),
        (partial(nn.Conv2d, 4, 8, 3, stride=2), True),
    ],
)
def test_strided_convolutions_of_single_pixels_keep_their_layout(layer: Any, taken: bool) -> None:
    """PyTorch's kernel for them writes outside its memory on some processors where channels do not fill a register."""
    seen = []

    class Net(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.is_contiguous())
            return super().forward(x)

    made = drawn(layer)
    assert takes_channels_last(nn.Sequential(made)) == taken

    def net() -> Net:
        return Net(layer(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(made.out_channels, CLASSES))

    train(task_of(net, (made.in_channels, 6, 6)), replace(SHORT, space="whole"), SINGLE)
    assert seen[-1] != taken


@pytest.mark.parametrize("channels", [1, 3])
def test_planes_are_in_the_plain_order_whatever_came_before(channels: int) -> None:
    """A single channel's strides may say either order, and a whole network follows them."""
    x, _ = examples(4, (channels, 6, 6))
    convolution = drawn(partial(nn.Conv2d, channels, 8, 3))
    assert not convolution(channels_last(x)).is_contiguous()
    found = planes(channels_last(x))
    assert torch.equal(found, x)
    assert convolution(found).is_contiguous()
    assert planes(x).data_ptr() == x.data_ptr(), "no copy of what is in order"


def test_a_network_that_must_have_the_plain_order_gets_it_from_any_images(tmp_path: Path) -> None:
    """Crops of one channel come with the strides of the other order. PyTorch's backward pass then overran its memory."""
    seen = []

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.shortcut = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 1, stride=2)
            self.last = nn.Linear(8, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            seen.append(x.is_contiguous())
            out: Tensor = self.last(self.shortcut(x).mean((2, 3)))
            return out

    context = context_of(task_of(Net, (1, 8, 8)), replace(SHORT, space="whole"), tmp_path)
    trainer = context.trainer(ONE_RUN, context.chunks(ONE_RUN)[0])
    x, program = trainer.material.train_x[:4], trainer.program
    crops = crop_flip(x, torch.zeros(4, 4, dtype=torch.int64), torch.zeros(1, 1, 1))
    assert not drawn(partial(nn.Conv2d, 1, 4, 3))(crops).is_contiguous()
    program.gradients(trainer.tensors["weights"], trainer.frozen, crops[None], trainer.material.train_y[None, :4])
    assert seen[-1]


@pytest.mark.parametrize("shape", [(4, 7), (4, 3, 7), (4, 1, 2, 3, 4)])
def test_what_is_no_image_keeps_its_layout(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape)
    assert channels_last(x) is x
    assert planes(x) is x
