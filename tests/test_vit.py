"""The Vision Transformer: its shapes and sizes, what its layer norms are for, and that it trains, batched and by itself.

B batch, T tokens.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lrscope.config import SweepConfig
from lrscope.engine.trial import try_modes
from lrscope.errors import LrscopeError
from lrscope.tasks.builtin import named_task
from lrscope.tasks.losses import cross_entropy
from lrscope.tasks.models import build
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from lrscope.tasks.vit import VisionAttention, VisionTransformer, cut_into_patches
from test_plans import differing
from tiny_tasks import ALL_RUNS, ONE_RUN, computed, drawn, task_of

CIFAR = (3, 32, 32)
X = torch.randn(5, 1, 8, 8, generator=generator("tests", "vit"))


def tiny(dropout: float = 0.0, depth: int = 2) -> VisionTransformer:
    model = drawn(partial(VisionTransformer, (1, 8, 8), 3, 16, depth=depth, dropout=dropout))
    assert isinstance(model, VisionTransformer)
    return model


def test_the_papers_has_as_many_weights_as_counted_by_hand() -> None:
    """feature_learning, App. F, for CIFAR-10: 64 patches of 48 numbers, width 512, 6 blocks."""
    d = 512
    norm = 2 * d
    attention = 3 * d * d + (d * d + d)
    feed_forward = 2 * (d * d + norm)
    block = norm + attention + norm + feed_forward
    by_hand = (48 * d + d) + d + 65 * d + 6 * block + norm + (10 * d + 10)
    assert by_hand == 9_529_866
    model = drawn(partial(build, "vit", data="cifar10", shape=CIFAR, outputs=10, width=None))
    assert sum(p.numel() for p in model.parameters()) == by_hand
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.1] * 13
    assert {m.heads for m in model.modules() if isinstance(m, VisionAttention)} == {8}


@pytest.mark.parametrize(
    ("shape", "outputs", "width", "options", "tokens", "heads"),
    [
        ((1, 8, 8), 10, 16, {"depth": 1}, 5, 8),
        ((3, 32, 32), 100, 20, {"depth": 1, "patch": 8}, 17, 5),
        ((1, 8, 4), 3, 7, {"depth": 3, "patch": 2, "dropout": 0.0}, 9, 7),
    ],
)
def test_shapes(
    shape: tuple[int, ...], outputs: int, width: int, options: dict[str, float], tokens: int, heads: int
) -> None:
    model = drawn(partial(build, "vit", data="some", shape=shape, outputs=outputs, width=width, **options)).eval()
    assert isinstance(model, VisionTransformer)
    assert model(torch.randn(4, *shape, generator=generator("tests", "shapes"))).shape == (4, outputs)
    assert model.positions.shape == (1, tokens, width)
    assert len(model.blocks) == options["depth"]
    assert {m.heads for m in model.modules() if isinstance(m, VisionAttention)} == {heads}


def test_patches_are_squares_of_the_image_row_by_row() -> None:
    x = torch.arange(2 * 3 * 4 * 8).view(2, 3, 4, 8)
    found = cut_into_patches(x, 2)
    assert found.shape == (2, 8, 12)
    for number, (top, left) in enumerate((i, j) for i in (0, 2) for j in (0, 2, 4, 6)):
        square = x[1, :, top : top + 2, left : left + 2]
        assert torch.equal(found[1, number], square.permute(1, 2, 0).flatten())
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(cut_into_patches(last, 2), found), "single runs hand images over channels last"


def test_attention_is_torch_s() -> None:
    """The same weights in torch.nn.MultiheadAttention."""
    ours = drawn(partial(VisionAttention, 16, 4, 0.0))
    assert isinstance(ours, VisionAttention)
    theirs = drawn(partial(nn.MultiheadAttention, 16, 4, bias=True, batch_first=True))
    assert isinstance(theirs, nn.MultiheadAttention)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.query_key_value.weight)
        theirs.in_proj_bias.zero_()
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    x = torch.randn(3, 5, 16, generator=generator("tests", "attention"))
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])


@pytest.mark.parametrize("name", ["inner", "outer"])
@pytest.mark.parametrize("block", [0, 1])
def test_feed_forward_weights_are_scale_invariant(block: int, name: str) -> None:
    """What the extra layer norms are for; attention is not."""
    model = tiny()
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-30
    expected = model(X)
    with torch.no_grad():
        getattr(model.blocks[block].feed_forward, name).weight.mul_(7.0)
    torch.testing.assert_close(model(X), expected)
    with torch.no_grad():
        model.blocks[block].attention.query_key_value.weight.mul_(7.0)
    assert not torch.allclose(model(X), expected)


def test_every_weight_matters() -> None:
    """Gradients reach the class token, the positions and every layer of every block."""
    model = tiny()
    functional.cross_entropy(model(X), torch.tensor([0, 1, 2, 0, 1])).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-6] == []


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 14, 14), {}, r"patches of 4 x 4 pixels, but data 'mnist' has 14 x 14: use another patch or pool"),
        ((1, 28, 28), {"patch": 5}, "patches of 5 x 5"),
        ((1, 28, 28), {"patch": 0}, "patch: 0 is too small"),
        ((1, 28, 28), {"depth": 0}, "depth: 0 is too small"),
        ((1, 28, 28), {"dropout": 1.0}, r"dropout: 1 is outside \[0, 1\)"),
        ((1, 28, 28), {"heads": 3}, "'heads' is no option of model 'vit', which has patch, depth, dropout"),
        ((32,), {}, "model: 'vit' needs images"),
    ],
)
def test_what_cannot_be_built(shape: tuple[int, ...], options: dict[str, float], message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        build("vit", data="mnist", shape=shape, outputs=10, width=16, **options)


def test_other_models_have_no_options() -> None:
    with pytest.raises(LrscopeError, match="'dropout' is no option of model 'mlp', which has none"):
        build("mlp", data="digits", shape=(1, 8, 8), outputs=10, width=None, dropout=0.1)


# -- trained -------------------------------------------------------------------------------------------------------

CONFIG = SweepConfig(
    lrs=(1e-3, 3e-3),
    seeds=1,
    steps=12,
    batch_size=8,
    space="whole",
    optimizer="adam",
    weight_decay=1e-4,
    random_points=2,
    precision="float64",
    finetune_lrs=(1e-4,),
    finetune_steps=4,
    average=(2,),
    average_every=3,
)


def vit_task(dropout: float = 0.0) -> Task:
    return task_of(partial(VisionTransformer, (1, 8, 8), 3, 16, depth=1, dropout=dropout), (1, 8, 8), name="vit")


@pytest.mark.slow
def test_batched_and_single_agree(tmp_path: Path) -> None:
    """Through every phase, to rtol 1e-9."""
    batched, single = (computed(vit_task(), CONFIG, p, tmp_path / p.path) for p in (ALL_RUNS, ONE_RUN))
    assert differing(batched, single) == []
    assert (batched["pretrain/status"] == 0).all()


def test_with_dropout_runs_train_in_batches(tmp_path: Path) -> None:
    assert not try_modes(tiny(0.0), cross_entropy, X, torch.zeros(len(X), dtype=torch.long))
    assert try_modes(tiny(0.1), cross_entropy, X, torch.zeros(len(X), dtype=torch.long))
    short = replace(
        CONFIG, lrs=(1e-3,), seeds=1, steps=6, finetune_lrs=(), finetune_steps=None, average=(), average_every=None
    )
    batched, single = (computed(vit_task(0.1), short, p, tmp_path / p.path) for p in (ALL_RUNS, ONE_RUN))
    quiet = computed(vit_task(0.0), short, ALL_RUNS, tmp_path / "quiet")
    assert np.isfinite(batched["pretrain/train_loss"]).all()
    assert differing(batched, single) == []
    assert "pretrain/train_loss" in differing(batched, quiet)


@pytest.mark.slow
def test_it_learns_digits(tmp_path: Path) -> None:
    task = named_task("digits", "vit", width=16, train_size=512, model_options={"depth": 1, "dropout": 0.0})
    assert task.name == "digits / vit k=16 depth=1 dropout=0"
    config = replace(
        CONFIG,
        lrs=(3e-3, 1e-2),
        steps=160,
        batch_size=32,
        finetune_lrs=(),
        finetune_steps=None,
        average=(),
        average_every=None,
    )
    result = computed(task, config, ALL_RUNS, tmp_path)
    loss = result["pretrain/train_loss"]
    assert (loss.isel(epoch=-1) < 0.6 * np.log(10)).all(), loss.values
    assert (result["pretrain/test_accuracy"].isel(epoch=-1) > 0.5).all()
