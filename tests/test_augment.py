"""RandAugment: torchvision's, by seeds of the runs' own streams. Crops and flips are compared with a literal twin in
test_engine.py."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from lrscope.config import SweepConfig
from lrscope.config.identity import differing as differing_fields
from lrscope.config.identity import digest, hash_of
from lrscope.config.settings import load_settings
from lrscope.engine.assemble import assemble
from lrscope.engine.batch_order import BatchOrder
from lrscope.engine.chunk import Stopped
from lrscope.engine.plan import Plan, cut
from lrscope.errors import LrscopeError
from lrscope.tasks.augment import Augmentation, RandAugment, crop_flip, draw, padding
from lrscope.tasks.data import load
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.table import ROWS
from lrscope.tasks.models import MLP, ConvNet
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from test_plans import differing
from tiny_tasks import ALL_RUNS, BASE, BATCHED, ONE_RUN, computed, context_of, same_bytes

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
BLACK = (-torch.tensor(MEAN) / torch.tensor(STD))[:, None, None]
PIXELS = torch.randint(0, 256, (48, 3, 8, 8), generator=generator("tests", "pixels"), dtype=torch.uint8)
LABELS = (PIXELS[:, 0].float().mean((1, 2)) > 127).long()


def as_data(pixels: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD, **options: Any) -> DataSet:
    m, s = (torch.tensor(v)[:, None, None] for v in (mean, std))
    x = (pixels.float() / 255 - m) / s
    options = {"normalisation": (mean, std), **options}
    return DataSet(
        name="colours", train_x=x, train_y=LABELS, test_x=x[:9], test_y=LABELS[:9], classes=2, loss="cross_entropy",
        **options,
    )  # fmt: skip


def by_hand(image: Tensor, seed: int, operations: int, magnitude: int) -> Tensor:
    """One uint8 image [C, H, W] through torchvision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        out: Tensor = v2.RandAugment(operations, magnitude)(image)
    return out


@pytest.mark.parametrize(("operations", "magnitude"), [(2, 14), (1, 30), (3, 0)])
def test_it_is_torchvision_s_on_the_pixels(operations: int, magnitude: int) -> None:
    data = as_data(PIXELS)
    seeds = list(range(100, 148))
    found = RandAugment(data, operations, magnitude)(data.train_x, seeds)
    pixels = torch.stack(
        [by_hand(image, seed, operations, magnitude) for image, seed in zip(PIXELS, seeds, strict=True)]
    )
    torch.testing.assert_close(found, as_data(pixels).train_x, rtol=1e-6, atol=1e-6)
    assert (pixels != PIXELS).flatten(1).any(1).float().mean() > (0.5 if magnitude else 0.1), (
        "else the comparison says little"
    )
    assert found.dtype == torch.float32


def test_images_of_one_channel_and_without_normalisation() -> None:
    grey = PIXELS[:, :1].repeat(1, 1, 1, 1)
    data = replace(as_data(grey, (0.0,), (1.0,)), normalisation=None)
    found = RandAugment(data, 2, 14)(data.train_x, range(48))
    pixels = torch.stack([by_hand(image, seed, 2, 14) for seed, image in enumerate(grey)])
    torch.testing.assert_close(found, pixels.float() / 255, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["digits"])
def test_built_in_images_know_their_normalisation(name: str) -> None:
    row = next(r for r in ROWS if r.name == name)
    data = load(name, train_size=64, pool=2)
    assert data.normalisation == (row.mean, row.std)
    RandAugment(data, 2, 14)


def test_random_state_stays() -> None:
    data, before = as_data(PIXELS), torch.get_rng_state()
    RandAugment(data, 2, 14)(data.train_x, range(48))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("side", "frame"), [(8, 1), (14, 2), (28, 4), (32, 4), (3, 1)])
def test_the_frame_is_an_eighth_of_the_side(side: int, frame: int) -> None:
    assert padding(side, 32) == (frame, 4)


def test_shifts_fill_the_frame_evenly_and_leave_the_other_draws_alone() -> None:
    draws = draw(4500, generator("tests", "draws"), (1, 4))
    for column, count in ((0, 3), (1, 9)):
        found = draws[:, column].bincount()
        assert len(found) == count
        expected = 4500 / count
        assert float(((found - expected) ** 2 / expected).sum()) < 30  # chi square, far beyond its 99.9% for 8 degrees
    assert torch.equal(draws[:, 2:], draw(4500, generator("tests", "draws"), (0, 0))[:, 2:])


@pytest.mark.parametrize("known", [True, False])
def test_crops_come_from_a_black_frame(known: bool) -> None:
    """A black image stays black wherever it is cropped from; a white one gets black edges, whatever its normalisation."""
    data = as_data(torch.zeros_like(PIXELS))
    if not known:
        data = replace(as_data(torch.zeros_like(PIXELS), (0.0,) * 3, (1.0,) * 3), normalisation=None)
    augmentation = Augmentation(data, crops=True, randaugment=None)
    draws = draw(48, generator("tests", "black"), augmentation.frame)
    torch.testing.assert_close(augmentation(data.train_x, draws), data.train_x)
    white = augmentation(torch.full_like(data.train_x, 3.0), draws)
    edges = (draws[:, :2] != 1).sum(1)  # 1 is the middle of a frame of one pixel
    assert ((white != 3.0).flatten(1).any(1) == (edges > 0)).all()
    framed = white[edges > 0]
    black = data.train_x[0, :, 0, 0]
    assert torch.equal(torch.where(framed == 3.0, black[:, None, None], framed), black[:, None, None].expand_as(framed))


def test_images_whose_black_is_not_known_are_refused() -> None:
    data = replace(as_data(PIXELS), normalisation=None)
    with pytest.raises(LrscopeError, match=r"augment: .* what is black .* down to -2: pass Task\(normalisation="):
        Augmentation(data, crops=True, randaugment=None)


def test_a_sweep_that_was_augmented_by_the_earlier_rule_is_another_one() -> None:
    """Its folder must not go on with other images."""
    plain, augmented = replace(CONFIG, augment=False, randaugment=None), replace(CONFIG, augment=True, randaugment=None)
    by_value = {**differing_fields(augmented), "augment": True}
    assert hash_of("t", augmented) not in (digest(["t", by_value]), hash_of("t", plain))
    assert "augment" not in differing_fields(plain)


def test_randaugment_comes_before_the_crop() -> None:
    data, draws = as_data(PIXELS), draw(48, generator("tests", "both"), (1, 1))
    both = Augmentation(data, crops=True, randaugment=(2, 14))(data.train_x, draws)
    assert torch.equal(both, crop_flip(RandAugment(data, 2, 14)(data.train_x, draws[:, 3].tolist()), draws, BLACK))
    alone = Augmentation(data, crops=False, randaugment=(2, 14))(data.train_x, draws)
    assert torch.equal(alone, RandAugment(data, 2, 14)(data.train_x, draws[:, 3].tolist()))
    assert not Augmentation(data, crops=False, randaugment=None)


# -- in a sweep ----------------------------------------------------------------------------------------------------

CONFIG = replace(BASE, precision="float64", randaugment=(2, 14), augment=True, average=(2,))


def colour_task() -> Task:
    return Task.from_data("colours", partial(ConvNet, 3, 2, 2, blocks=2), lambda data_seed: as_data(PIXELS))


@pytest.mark.parametrize("same_init", [True, False])
def test_batches_are_those_of_the_streams(same_init: bool, tmp_path: Path) -> None:
    """Every run's images by hand: order, RandAugment by the stream's seed, crop, flip."""
    config = replace(CONFIG, same_init=same_init)
    context = context_of(colour_task(), config, tmp_path)
    (chunk,) = cut(config, 64)
    trainer = context.trainer(ALL_RUNS, chunk)
    x, y, index = trainer._batches(trainer._order(context.phases[0]), 5, 3)  # steps 5 to 7, of two epochs
    data, seen = as_data(PIXELS), set()
    for r, (seed, lr) in enumerate(chunk.runs):
        key = ("pretrain", 0, seed, *(() if same_init else (repr(lr),)))
        for k, step in enumerate((5, 6, 7)):
            epoch, number = divmod(step, 6)
            rows = torch.randperm(48, generator=generator("order", *key, epoch))[number * 8 : number * 8 + 8]
            draws = draw(48, generator("augment", *key, epoch), (1, 1))[number * 8 : number * 8 + 8]
            pixels = torch.stack([by_hand(PIXELS[i], int(d[3]), 2, 14) for i, d in zip(rows, draws, strict=True)])
            by_hands = crop_flip(as_data(pixels).train_x, draws, BLACK).double()
            torch.testing.assert_close(x[index[k, r]], by_hands, rtol=1e-6, atol=1e-6)
            assert torch.equal(y[index[k, r]], data.train_y[rows])
            seen.add(tuple(draws[:, 3].tolist()))
    assert len(seen) == len(x) // 8, "each batch is made once"
    assert len(seen) == 3 * (2 if same_init else 4)


@pytest.mark.slow
@pytest.mark.parametrize("plan", [ONE_RUN, replace(ALL_RUNS, chunk=3, unroll=2)], ids=["single", "chunks of 3"])
def test_plans_agree(plan: Plan, tmp_path: Path) -> None:
    one, other = (computed(colour_task(), CONFIG, p, tmp_path / n) for p, n in ((ALL_RUNS, "a"), (plan, "b")))
    assert differing(one, other) == []
    without = computed(colour_task(), replace(CONFIG, randaugment=None), ALL_RUNS, tmp_path / "c")
    assert "pretrain/train_loss" in differing(one, without)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 9, 14])
def test_stopped_and_resumed_is_the_same_to_the_byte(stop: int, tmp_path: Path) -> None:
    straight = computed(colour_task(), CONFIG, ALL_RUNS, tmp_path / "straight")
    context = context_of(colour_task(), CONFIG, tmp_path / "stopped", replace(BATCHED, checkpoint_seconds=0.0))
    context.store.create()
    for unit in context.units(ALL_RUNS):
        if not unit.startswith("random"):
            with pytest.raises(Stopped):
                context.run_unit(ALL_RUNS, unit, lambda _: None, iter([False] * stop + [True]).__next__)
        context.run_unit(ALL_RUNS, unit, lambda _: None, lambda: False)
    assert same_bytes(assemble(context, ALL_RUNS), straight) == []


def test_any_step_can_be_asked_for() -> None:
    order = BatchOrder(
        [("pretrain", 0, 0)], 48, 8, torch.device("cpu"), Augmentation(as_data(PIXELS), crops=True, randaugment=None)
    )
    late = order.at(13)[1]
    order.at(2)
    again = order.at(13)[1]
    assert late is not None
    assert again is not None
    assert torch.equal(late, again)


# -- what it cannot take -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (replace(as_data(PIXELS), normalisation=None), r"images reach from .* and no normalisation is known"),
        (replace(as_data(PIXELS), normalisation=(MEAN, (0.5, 0.5, 0.5))), "after its normalisation is undone"),
        (replace(as_data(PIXELS), train_x=torch.rand(48, 2, 8, 8)), r"1 or 3 channels as floats, .* \(2, 8, 8\)"),
        (replace(as_data(PIXELS), train_x=torch.rand(48, 64)), r"1 or 3 channels as floats, .* \(64,\)"),
        (replace(as_data(PIXELS), train_x=PIXELS), "as floats, .* torch.uint8"),
    ],
)
def test_data_that_are_no_pixels(data: DataSet, message: str) -> None:
    with pytest.raises(LrscopeError, match=f"randaugment: .*{message}"):
        Augmentation(data, crops=False, randaugment=(2, 14))


def test_a_sweep_refuses_them_before_training(tmp_path: Path) -> None:
    x = torch.randn(48, 1, 8, 8, generator=generator("tests", "far"))
    task = Task(partial(MLP, (64, 4, 2)), (x, LABELS), (x, LABELS), name="far")
    with pytest.raises(LrscopeError, match="randaugment: it needs pixels in"):
        context_of(task, replace(CONFIG, augment=False), tmp_path)
    with pytest.raises(LrscopeError, match="augment: crops come from a black frame"):
        context_of(task, CONFIG, tmp_path)


def test_option_reaches_the_sweep(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("randaugment = [2, 14]\naugment = true\n")
    settings = load_settings(file, {})
    assert settings.sweep_config().randaugment == (2, 14)
    assert "--randaugment 2,14" in settings.command()
    config = SweepConfig.from_dict(settings.sweep_config().to_dict())
    assert config == settings.sweep_config()
    assert "randaugment" not in load_settings(None, {}).request()
