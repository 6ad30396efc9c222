"""The network of late_decay, and built-in tasks with the squared error on one-hot labels."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lrscope import LrscopeError, named_task
from lrscope.config import SweepConfig
from lrscope.tasks.conv3x3 import Conv3x3
from lrscope.tasks.models import build
from lrscope.tasks.vgg import VGG11
from tiny_tasks import SINGLE, drawn, train


def test_the_papers_has_the_channels_of_its_public_code() -> None:
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        model = build("vgg11", data="cifar10", shape=(3, 32, 32), outputs=10, width=None)
    sizes = [3, 32, 64, 64, 64, 128, 128, 256, 256]
    by_hand = sum(9 * a * b + b for a, b in pairwise(sizes)) + 256 * 10 + 10
    assert sum(p.numel() for p in model.parameters()) == by_hand
    assert [m.weight.shape[0] for m in model.convs] == sizes[1:]  # type: ignore[union-attr]
    assert not [m for m in model.modules() if "Norm" in type(m).__name__]


def literal(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """VGG-11 as its paper's table A has it, on 32 x 32 pixels: a pool behind convolutions 1, 2, 4, 6 and 8."""
    for i in range(8):
        x = functional.conv2d(x, tensors[f"convs.{i}.weight"], tensors[f"convs.{i}.bias"], padding=1).clamp(min=0)
        if i + 1 in (1, 2, 4, 6, 8):
            x = functional.max_pool2d(x, 2)
    return x.flatten(1) @ tensors["readout.weight"].T + tensors["readout.bias"]


def test_its_function_is_the_one_written_out() -> None:
    model = drawn(lambda: VGG11((3, 32, 32), 5, 2)).double()
    for value in model.parameters():
        value.data += 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=value.dtype)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(model(x), literal(dict(model.state_dict()), x))


@pytest.mark.parametrize(("stride", "bias"), [(1, True), (2, False)])
@pytest.mark.parametrize("side", [1, 2, 3])
def test_its_convolution_is_pytorchs_at_every_size(side: int, stride: int, bias: bool) -> None:
    """Outputs and all gradients, where an image is one pixel and where it is not; batched over runs too."""
    layer = drawn(lambda: Conv3x3(3, 5, stride, bias=bias)).double()
    x = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tensors = [x.requires_grad_(), *layer.parameters()]
    out, expected = layer(x), functional.conv2d(x, layer.weight, layer.bias, stride, padding=1)
    torch.testing.assert_close(out, expected)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, wanted = (torch.autograd.grad((weights * one).sum(), tensors) for one in (out, expected))
    torch.testing.assert_close(found, wanted)
    runs = {name: torch.stack([value, 2 * value]) for name, value in layer.named_parameters()}
    batched = torch.vmap(lambda one: torch.func.functional_call(layer, one, x))(runs)
    torch.testing.assert_close(batched, torch.stack([expected, 2 * expected]))


@pytest.mark.parametrize("side", [4, 8, 14, 28, 32])
def test_small_images_are_halved_while_they_can_be(side: int) -> None:
    model = drawn(lambda: VGG11((1, side, side), 10, 8))
    x = torch.randn(200, 1, side, side, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    model.readout.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        assert (model(x) == torch.zeros(200, 10)).all(), "outputs start at 0"
    assert seen[0].shape == (200, 64)
    assert 0.2 < float(seen[0].square().mean().sqrt()) < 5, "the signal neither fades nor grows"


def test_texts_and_tables_are_refused() -> None:
    with pytest.raises(LrscopeError, match="model: 'vgg11' needs images, but data 'ticks'"):
        named_task("ticks", "vgg11", train_size=20, test_size=20)


# -- squared error -------------------------------------------------------------------------------------------------------

SIZES = {"train_size": 60, "test_size": 40}


def test_labels_become_one_hot_rows() -> None:
    plain, squared = named_task("digits", "mlp", **SIZES), named_task("digits", "mlp", loss="mse", **SIZES)
    data, rows = plain.data(1), squared.data(1)
    assert torch.equal(rows.train_y, functional.one_hot(data.train_y, 10).float())
    assert torch.equal(rows.test_y.argmax(1), data.test_y)
    assert torch.equal(rows.train_x, data.train_x)
    model = squared.new_model(0)
    with torch.no_grad():
        out = model(rows.train_x)
        expected = ((out - rows.train_y) ** 2).mean(1)
        torch.testing.assert_close(squared.loss(out, rows.train_y), expected)
    said = squared.summary()
    assert (said["kind"], said["loss"], said["classes"]) == ("classification", "mse", 10)
    assert said["name"].endswith("mse")
    assert squared.fingerprint([0]) != plain.fingerprint([0])
    assert named_task("digits", "mlp", loss="cross_entropy", **SIZES).fingerprint([0]) == plain.fingerprint([0])


def test_validation_labels_too() -> None:
    data = named_task("digits", "mlp", loss="mse", validation=30, **SIZES).data(0)
    assert data.validation_y is not None
    assert data.validation_y.shape == (30, 10)


def test_two_classes_and_unknown_losses_are_refused() -> None:
    with pytest.raises(LrscopeError, match="loss: 'ticks' has two classes and one output: mse on one-hot labels needs"):
        named_task("ticks", "mlp", loss="mse", train_size=20, test_size=20)
    with pytest.raises(LrscopeError, match="loss: 'hinge' is unknown: choose cross_entropy or mse"):
        named_task("digits", "mlp", loss="hinge", **SIZES)


@pytest.mark.slow
def test_it_trains_by_squared_error() -> None:
    """Outputs start at 0, so the first loss is the mean square of a one-hot row, 1/10; the second one is lower."""
    task = named_task("digits", "vgg11", width=4, loss="mse", train_size=400, test_size=100)
    config = SweepConfig(lrs=(0.003,), space="whole", epochs=2, batch_size=400, seeds=1)
    result = train(task, config, SINGLE)
    losses = result["pretrain/train_loss"].values.ravel()
    assert losses[0] == pytest.approx(0.1, rel=1e-6)
    assert losses[1] < losses[0]
    assert ((result["pretrain/test_accuracy"].values >= 0) & (result["pretrain/test_accuracy"].values <= 1)).all()
