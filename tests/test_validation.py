"""A validation set chooses, so that the test set only reports: its size, where it comes from, that nothing trains on it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

import lrscope
from fake_results import fake_result
from lrscope.config import SweepConfig
from lrscope.config.settings import MapSettings, load_settings
from lrscope.engine import assemble as layout
from lrscope.engine.choose import memory
from lrscope.engine.chunk import Stopped
from lrscope.engine.plan import Plan
from lrscope.engine.sweep import sweep
from lrscope.errors import AnotherSweep, LrscopeError
from lrscope.export import export_result
from lrscope.mapping import regimes
from lrscope.results import open_result, save_result
from lrscope.studies import registry
from lrscope.studies.planning import made_up
from lrscope.tasks.builtin import named_task
from lrscope.tasks.data import load, ticks
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.formats import Request, Spec
from lrscope.tasks.data.held_out import draw, hold_out
from lrscope.tasks.data.images import draw_split
from lrscope.tasks.data.text import text_data
from lrscope.tasks.models import MLP
from lrscope.tasks.task import Task
from lrscope.tasks.validation import HELD_OUT, NONE, UNUSED, checked_size, count, parse_size
from lrscope.validation import validate
from tiny_tasks import (
    ALL_RUNS,
    BASE,
    BATCHED,
    CLASSES,
    ONE_RUN,
    SINGLE,
    Dropping,
    compiler_needed,
    computed,
    context_of,
    examples,
    same_bytes,
    task_of,
    train,
)
from trees import arrays, changed, dims_of, without

FUSED = Plan("batched", 4, True, "", 0.0, 32, True)
PLANS = [ALL_RUNS, ONE_RUN, pytest.param(FUSED, marks=compiler_needed)]
NAMES = {
    f"{node}/validation_{metric}" for node in ("pretrain", "finetune", "average") for metric in ("loss", "accuracy")
}
TEST = examples(20, (5,), key="test")


def plan_name(plan: Plan) -> str:
    return "generated" if plan.fused else plan.path


def task(*, norm: str = "layer", **options: Any) -> Task:
    """The MLP's task: 48 training examples, those held out among them."""
    return task_of(partial(MLP, (5, 8, 6, CLASSES), norm=norm), (5,), name="mlp", **options)


def remaining(whole: Task, data_seed: int = 0) -> Task:
    """The task of training on what a validation set leaves, as if nothing else had ever been there."""
    data = whole.data(data_seed)
    return Task(whole.drawing.make, (data.train_x, data.train_y), TEST, name=whole.name, validation=0)


# -- how large -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "train", "unused", "expected"),
    [
        (None, 4_999, 0, (0, False)),
        (None, 5_000, 0, (500, False)),
        (None, 50_000, 0, (5_000, False)),
        (None, 1_024, 0, (0, False)),
        (None, 1_024, 499, (0, False)),
        (None, 1_024, 500, (500, True)),
        (None, 1_024, 900, (900, True)),
        (None, 4_000, 56_000, (1_000, True)),
        (None, 20_000, 40_000, (2_000, True)),
        (None, 49_900, 100, (4_990, False)),
        (0, 50_000, 10_000, (0, False)),
        (0.1, 1_000, 0, (100, False)),
        (0.1, 1_000, 100, (100, True)),
        (0.1, 1_000, 99, (100, False)),
        (0.15, 10, 0, (2, False)),
        (300, 1_000, 0, (300, False)),
        (300, 200, 300, (300, True)),
    ],
)
def test_the_rule(size: Any, train: int, unused: int, expected: tuple[int, bool]) -> None:
    assert count(size, train, unused) == expected


SIZES = st.none() | st.floats(0.001, 0.999) | st.integers(0, 3000)


@given(size=SIZES, train=st.integers(1, 9000), unused=st.integers(0, 3000))
def test_something_is_always_left_to_train_on(size: Any, train: int, unused: int) -> None:
    try:
        number, from_unused = count(size, train, unused)
    except LrscopeError:
        return
    assert number <= unused if from_unused else number < train


@pytest.mark.parametrize(
    ("text", "size"), [(None, None), ("0", 0), ("0.0", 0), ("0.1", 0.1), ("1e-2", 0.01), ("1000", 1000), ("1", 1)]
)
def test_sizes_are_read(text: str | None, size: Any) -> None:
    found = parse_size(text)
    assert found == size
    assert type(found) is type(size)


def test_numpys_numbers_are_numbers() -> None:
    numbers = np.int64(3), np.float32(0.5), np.float64(0.0), np.array(3), torch.tensor(0.5)
    assert [type(checked_size(n)) for n in numbers] == [int, float, int, int, float]
    assert len(task(validation=torch.tensor(8)).data(0).validation_y) == 8


WRONG = {
    "true": (True, "validation: True is no size: pass a fraction such as 0.1"),
    "text": ("a tenth", "validation: cannot read 'a tenth': pass a fraction"),
    "negative": (-1, "validation: -1 is negative"),
    "a negative fraction": (-0.5, "validation: -0.5 is neither a fraction below 1 nor a whole number"),
    "one as a fraction": (1.0, "validation: 1 is neither"),
    "nan": (math.nan, "validation: nan is neither"),
    "infinite": (math.inf, "validation: inf is neither"),
    "complex": (1j, "validation: 1j is no size"),
    "everything": (48, "validation: 48 would hold out 48 of 48 training examples and leave none to train on"),
    "nearly everything": (0.999, "validation: 0.999 would hold out 48 of 48"),
    "nothing": (0.001, "validation: 0.001 of 48 training examples is less than one: use a larger fraction"),
    "a function": (len, "validation: builtin_function_or_method is not readable"),
    "a number too few": ((TEST[0], TEST[1][:-1]), "validation: 20 inputs but 19 labels"),
    "features": (examples(20, (4,)), r"validation: its inputs have shape \(4,\), those of training \(5,\): make them alike"),
    "words": ((TEST[0].long(), TEST[1]), r"validation: its inputs are torch.int64, those of training torch.float32"),
    "no examples": ((TEST[0][:0], TEST[1][:0]), "validation: the data set is empty"),
    "not finite": ((TEST[0] / 0, TEST[1]), "data: 20 of the validation inputs hold NaN or infinity"),
    "negative labels": ((TEST[0], TEST[1] - 1), "data: the validation labels hold -1"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_a_validation_set_is_refused(case: str) -> None:
    value, message = WRONG[case]
    with pytest.raises(LrscopeError, match=message) as refused:
        task(validation=value)
    assert len(str(refused.value).splitlines()) == 1


def test_too_little_for_a_batch_says_what_took_the_rest() -> None:
    with pytest.raises(
        LrscopeError, match="batch_size: 8 is more than the 5 training examples that are left beside 43 for validation"
    ):
        train(task(validation=0.9), BASE)


def test_classes_that_only_validation_has_count() -> None:
    own = task(validation=(TEST[0], TEST[1] * 0 + CLASSES - 1))
    assert own.data(0).classes == CLASSES
    with pytest.raises(LrscopeError, match=f"labels go up to {CLASSES}"):
        task(validation=(TEST[0], TEST[1] * 0 + CLASSES))


# -- which ---------------------------------------------------------------------------------------------------------


def rows(x: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(row.flatten().tolist()) for row in x}


@given(st.integers(1, 60), st.integers(0, 40), st.integers(0, 50), st.integers(0, 3))
def test_drawn_examples_are_distinct_and_ascending(train: int, unused: int, size: int, data_seed: int) -> None:
    order = torch.randperm(train + unused, generator=torch.Generator().manual_seed(train))
    try:
        drawn = draw(order, train, size, data_seed)
    except LrscopeError:
        return
    both = torch.cat([drawn.train, drawn.validation])
    assert len(both.unique()) == len(both)
    assert all(bool((part[1:] > part[:-1]).all()) for part in (drawn.train, drawn.validation))
    taken = set(order[:train].tolist())
    assert set(drawn.train.tolist()) <= taken
    if drawn.source == UNUSED:
        assert set(drawn.train.tolist()) == taken
    else:
        assert set(both.tolist()) == taken
        assert (drawn.source == HELD_OUT) == (size > 0)


def test_held_out_examples_are_a_part_of_their_own_for_each_data_seed() -> None:
    whole, held = task(validation=0).data(0), task(validation=12)
    parts = [held.data(data_seed) for data_seed in range(3)]
    for data in parts:
        assert (len(data.train_x), len(data.validation_x)) == (36, 12)
        assert rows(data.train_x) | rows(data.validation_x) == rows(whole.train_x)
        assert not rows(data.train_x) & rows(data.validation_x)
        assert torch.equal(data.test_x, whole.test_x)
    assert len({tuple(sorted(rows(data.validation_x))) for data in parts}) == 3
    assert held.data(1) is held.data(1)
    assert held.varies_with_data_seed
    assert not task(validation=0).varies_with_data_seed


def test_groups_go_with_their_examples() -> None:
    data = task(validation=0.25, train_groups=torch.arange(48)).data(0)
    whole = task(validation=0).data(0)
    assert torch.equal(whole.train_x[data.train_groups], data.train_x)
    assert len(data.train_groups) == 36
    noisy = replace(whole, clean_train_y=whole.train_y + 10)
    assert torch.equal(hold_out(noisy, 12, 0).clean_train_y, hold_out(noisy, 12, 0).train_y + 10)


def test_examples_of_ones_own_in_any_form() -> None:
    for own in (TEST, list(TEST), TensorDataset(*TEST)):
        data = task(validation=own).data(0)
        assert torch.equal(data.validation_x, TEST[0])
        assert torch.equal(data.validation_y, TEST[1])
        assert len(data.train_x) == 48
    assert task(validation=TEST).summary()["validation"] == {"size": 20, "source": "given"}


def test_automatic_for_ones_own_data() -> None:
    x, y = examples(5_000, (5,))
    held = Task(partial(MLP, (5, 4, CLASSES)), (x, y), TEST)
    assert held.summary()["validation"] == {"size": 500, "source": "held out of the training data"}
    assert held.summary()["train_size"] == 4_500
    fewer = Task(partial(MLP, (5, 4, CLASSES)), (x[1:], y[1:]), TEST)
    assert fewer.summary()["validation"] == {"size": 0, "source": "none"}
    assert fewer.data(0).train_x is not None
    assert len(fewer.data(0).train_x) == 4_999


def test_data_seeds_have_one_all_or_none() -> None:
    def data(data_seed: int) -> DataSet:
        return task(validation=12 if data_seed else 0).data(data_seed)

    with pytest.raises(
        LrscopeError, match="data seed 1: validation: this data seed has validation examples, data seed 0"
    ):
        Task.from_data("mixed", partial(MLP, (5, 4, CLASSES)), data).data(1)

    def halves(data_seed: int) -> DataSet:
        return replace(task(validation=12).data(0), validation_y=None)

    with pytest.raises(LrscopeError, match="validation: inputs without labels"):
        Task.from_data("half", partial(MLP, (5, 4, CLASSES)), halves)


# -- data sets by name ---------------------------------------------------------------------------------------------


def test_digits_take_unused_images() -> None:
    plain = load("digits", train_size=256, test_size=128)
    data = load("digits", train_size=256, test_size=128, validation=None)
    assert torch.equal(data.train_x, plain.train_x)
    assert torch.equal(data.test_x, plain.test_x)
    assert len(data.validation_x) == 1_000
    assert data.validation_source == UNUSED
    assert plain.validation_source == NONE
    assert len(rows(data.validation_x) & (rows(data.train_x) | rows(data.test_x))) <= 3  # a few images occur twice
    other = load("digits", train_size=256, test_size=128, validation=None, data_seed=1)
    assert not torch.equal(data.validation_x, other.validation_x)


def test_the_demo_has_none() -> None:
    assert load("digits", validation=None).validation_x is None
    assert torch.equal(load("digits", validation=None).train_x, load("digits").train_x)


def test_held_out_digits_are_pooled_and_clean() -> None:
    """Label noise is drawn for what is trained on; validation labels are the true ones."""
    pure = load("digits", validation=0.25, pool=2)
    noisy = load("digits", validation=0.25, pool=2, label_noise=0.4)
    assert noisy.validation_x.shape == (256, 1, 4, 4)
    assert torch.equal(noisy.validation_x, pure.validation_x)
    assert torch.equal(noisy.validation_y, pure.validation_y)
    assert len(noisy.train_y) == len(noisy.clean_train_y) == len(noisy.train_groups) == 768
    assert torch.equal(noisy.clean_train_y, pure.train_y)
    assert (noisy.train_y != noisy.clean_train_y).sum() > 200


def made_spec(**fields: Any) -> Spec:
    """A row of the table whose family is never asked."""
    family: Any = None
    return Spec(name="made", description="", obtain="", family=family, **fields)


def split(size: Any, train: int | None = None) -> DataSet:
    """`draw_split` of 30 images whose only pixel is their number."""
    pixels = torch.arange(30, dtype=torch.uint8).view(30, 1, 1, 1)
    spec = made_spec(classes=30, shape=(1, 1, 1), train=30, test=30, mean=(0.0,), std=(1.0,))
    request = Request(data_seed=0, train_size=train, test_size=None, root=Path(), validation=size)
    return draw_split(spec, request, (pixels, torch.arange(30)), (pixels, torch.arange(30)))


def test_a_split_loses_training_examples_only_where_none_are_unused() -> None:
    plain = split(0, 20)
    unused, held = split(10, 20), split(11, 20)
    assert torch.equal(unused.train_y, plain.train_y)
    assert sorted([*unused.train_y.tolist(), *unused.validation_y.tolist()]) == list(range(30))
    assert sorted([*held.train_y.tolist(), *held.validation_y.tolist()]) == plain.train_y.tolist()
    assert torch.equal(held.validation_x.flatten() * 255, held.validation_y.float())
    assert len(split(0.1).validation_y) == 3


def test_words_are_those_of_the_training_texts_alone() -> None:
    texts = [f"common word{i}" for i in range(10)]
    spec = made_spec(classes=2, shape=(3,), train=10, test=2, vocabulary=100)
    drawn = draw(torch.arange(10), 10, 4, 0)

    def read(index: torch.Tensor) -> tuple[list[str], torch.Tensor]:
        return [texts[i] for i in index.tolist()], index % 2

    data = text_data(spec, drawn, read, (["word0 common"], torch.tensor([0])))
    alone = text_data(
        spec, draw(torch.arange(6), 6, 0, 0), lambda i: read(drawn.train[i]), (["word0"], torch.tensor([0]))
    )
    assert torch.equal(data.train_x, alone.train_x)
    assert data.validation_x.tolist() == [[2, 1, 0]] * 4, "the common word, then one that training does not know"
    assert torch.equal(data.validation_y, drawn.validation % 2)


def test_ticks_are_generated() -> None:
    data, plain = load("ticks", train_size=64, test_size=10, validation=100), load("ticks", train_size=64, test_size=10)
    assert torch.equal(data.train_x, plain.train_x)
    assert (len(data.validation_x), data.validation_source) == (100, UNUSED)
    points = data.validation_x.view(100, ticks.FEATURES, 2)
    assert (ticks.tick_labels(points) == data.validation_y[:, None]).all()
    assert not rows(data.validation_x) & (rows(data.train_x) | rows(data.test_x))
    assert load("ticks", validation=None).validation_x is None
    large = load("ticks", train_size=6_000, test_size=10, validation=None)
    assert (len(large.train_x), len(large.validation_x)) == (6_000, 600)


def test_plans_without_the_data_have_as_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LRSCOPE_DATA", str(tmp_path))
    held, unused = made_up("svhn", validation=None), made_up("svhn", validation=None, train_size=2_000)
    assert (len(held.train_x), len(held.validation_x), held.validation_source) == (65_932, 7_325, HELD_OUT)
    assert (len(unused.train_x), len(unused.validation_x), unused.validation_source) == (2_000, 1_000, UNUSED)
    assert made_up("svhn").validation_x is None


def test_a_named_task_has_one() -> None:
    one = named_task("digits", "mlp", width=4, train_size=256, test_size=128)
    assert one.summary()["validation"] == {"size": 1_000, "source": "unused training examples"}
    for size in (0.25, "0.25", 16, 16.0, np.int64(16), "16", torch.tensor(16)):
        found = named_task("digits", "mlp", width=4, train_size=64, test_size=64, validation=size)  # type: ignore[arg-type]
        assert found.summary()["validation"]["size"] == 16
    for wrong in ("ten", True, 1.0, math.nan, [3], ""):
        with pytest.raises(
            LrscopeError, match=r"validation: .*: pass a fraction such as 0\.1, a whole number of examples, or 0"
        ):
            named_task("digits", "mlp", width=4, train_size=64, test_size=64, validation=wrong)  # type: ignore[arg-type]


def test_it_is_no_option_of_sweep() -> None:
    with pytest.raises(LrscopeError, match=r"validation: .* belongs to the task: lrscope\.Task\(\.\.\., validation="):
        lrscope.sweep(task(validation=0), lrs=[0.1], validation=0.1)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", registry.names())
def test_studies_train_as_the_papers_do(name: str) -> None:
    for scale in registry.study(name).scales.values():
        for declared in scale.sweeps:
            assert declared.arguments == {**declared.task, "validation": 0}, "the papers have no validation set"


# -- unseen ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS, ids=plan_name)
def test_training_is_that_on_the_remaining_examples(plan: Plan, tmp_path: Path) -> None:
    """To the byte, in every plan: gradients, population statistics, averages, random points."""
    held = task(norm="batch", validation=12)
    ours = computed(held, BASE, plan, tmp_path / "held")
    alone = computed(remaining(held), BASE, plan, tmp_path / "alone")
    assert set(arrays(ours)) - set(arrays(alone)) == NAMES
    assert same_bytes(without(ours, *NAMES), alone) == []


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS, ids=plan_name)
def test_poisoned_validation_labels_change_no_byte_of_training(plan: Plan, tmp_path: Path) -> None:
    whole, held = task(validation=0).data(0), task(validation=12)
    poison = whole.train_y.clone()
    poison[[i for i, x in enumerate(whole.train_x) if tuple(x.tolist()) in rows(held.data(0).validation_x)]] = 0
    poisoned = Task(held.drawing.make, (whole.train_x, poison), TEST, validation=12)
    assert not torch.equal(held.data(0).validation_y, poisoned.data(0).validation_y)
    ours, theirs = (computed(t, BASE, plan, tmp_path / str(i)) for i, t in enumerate((held, poisoned)))
    assert set(same_bytes(ours, theirs)) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS, ids=plan_name)
def test_it_is_evaluated_as_a_test_set_is(plan: Plan, tmp_path: Path) -> None:
    """The metrics are, to the byte, the test metrics of a task whose test set these examples are."""
    x, y = examples(30, (5,), key="validation")
    ours = computed(task(norm="batch", validation=(x, y)), BASE, plan, tmp_path / "ours")
    tested = Task(task(norm="batch").drawing.make, examples(48, (5,)), (x, y), name="mlp")
    theirs = computed(tested, BASE, plan, tmp_path / "theirs")
    for metric in ("loss", "accuracy"):
        pairs = {
            f"pretrain/validation_{metric}": theirs[f"pretrain/test_{metric}"][..., -1],
            f"finetune/validation_{metric}": theirs[f"finetune/test_{metric}"][..., -1],
            f"average/validation_{metric}": theirs[f"average/test_{metric}"],
        }
        for name, expected in pairs.items():
            assert ours[name].values.tobytes() == expected.values.tobytes(), name
            assert ours[name].dims == dims_of(name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this model draws noise")
def test_dropout_draws_as_without_a_validation_set(tmp_path: Path) -> None:
    """Population statistics of a net with noise draw; they come after everything else."""
    make = partial(task_of, partial(Dropping, norm=torch.nn.BatchNorm1d), (5,))
    config = replace(BASE, space="whole", seeds=1)
    ours, plain = (train(make(validation=v), config, SINGLE, tmp_path / str(i)) for i, v in enumerate((TEST, 0)))
    assert same_bytes(without(ours, *NAMES), plain) == []


@pytest.mark.slow
def test_data_seeds_train_on_their_own_remainders(tmp_path: Path) -> None:
    held, config = task(validation=12), replace(BASE, seeds=1, data_seeds=2)
    result = computed(held, config, ALL_RUNS, tmp_path / "held")
    for data_seed in range(2):
        alone = computed(remaining(held, data_seed), config, ALL_RUNS, tmp_path / str(data_seed))
        ours = without(result, *NAMES).sel(data_seed=[data_seed])
        assert same_bytes(ours, alone.sel(data_seed=[data_seed])) == []


def test_label_noise_leaves_validation_clean_and_training_as_without(tmp_path: Path) -> None:
    options: dict[str, Any] = {"width": 4, "train_size": 64, "test_size": 64, "label_noise": 0.4}
    ours, plain = (
        computed(named_task("digits", "mlp", **options, validation=size), BASE, ALL_RUNS, tmp_path / str(size))
        for size in (100, 0)
    )
    assert same_bytes(without(ours, *NAMES), plain) == []
    assert "pretrain/example_group_true_accuracy" in arrays(ours)


# -- whatever happens --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_stopped_and_resumed_is_the_same_to_the_byte(tmp_path: Path) -> None:
    """A checkpoint after every step, and another process's context after every stop."""
    plan, engine = Plan("batched", 2, False, "", 0.0), replace(BATCHED, checkpoint_seconds=0.0)
    context = context_of(task(validation=12), BASE, tmp_path / "stopped", engine)
    context.store.create()
    stops = 0
    for unit in context.units(plan):
        while not context.store.is_done(unit):
            try:
                context.run_unit(plan, unit, lambda _: None, iter([False] * 5 + [True]).__next__)
            except Stopped:
                stops += 1
                context = context_of(task(validation=12), BASE, tmp_path / "stopped", engine)
    assert stops >= 4
    whole = computed(task(validation=12), BASE, plan, tmp_path / "whole")
    assert same_bytes(layout.assemble(context, plan), whole) == []


@pytest.mark.slow
def test_slabs_of_runs_give_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(BASE, seeds=3)
    whole = train(task(validation=12), config, out=tmp_path / "whole")
    monkeypatch.setattr(layout, "SLAB_BYTES", 1)
    assert same_bytes(train(task(validation=12), config, out=tmp_path / "parts"), whole) == []


@pytest.mark.slow
def test_an_adaptive_sweep_keeps_them(tmp_path: Path) -> None:
    lrs = tuple(float(f"{10 ** (-4 + i / 2):.3g}") for i in range(8))
    tuned: dict[str, Any] = {"finetune_lrs": (1e-3,), "finetune_epochs": 2}
    config = SweepConfig(lrs=lrs, seeds=1, epochs=10, batch_size=12, random_points=2, adaptive=True, **tuned)
    result = train(task(validation=12), config, out=tmp_path)
    for node in ("pretrain", "finetune"):
        trained = (result[f"{node}/status"] == 0).values
        assert 0 < trained.sum() < trained.size
        np.testing.assert_array_equal(np.isfinite(result[f"{node}/validation_loss"].values), trained)


@pytest.mark.slow
def test_a_run_that_dies_has_none_and_changes_no_other() -> None:
    config = replace(BASE, space="whole", lrs=(1e-2, 1e30))
    result = train(task(validation=12), config)
    assert (result["pretrain/status"].values[1] == 1).all()
    for name in NAMES:
        assert np.isnan(result[name].values[1]).all(), name
        assert np.isfinite(result[name].values[0]).all(), name


class Forgiving(MLP):
    """Makes zeros of what is not finite, so that only the run's status tells that it has ended."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nan_to_num(super().forward(x), posinf=math.inf, neginf=-math.inf)


@pytest.mark.slow
def test_it_is_nan_even_where_the_model_hides_it() -> None:
    held = task_of(partial(Forgiving, (5, 8, 6, CLASSES), norm="layer"), (5,), validation=12)
    result = train(held, replace(BASE, space="whole", lrs=(1e-2, 1e30), average=()))
    assert np.isnan(result["pretrain/test_loss"].values[1, ..., -1]).all()
    for name in (f"{node}/validation_{metric}" for node in ("pretrain", "finetune") for metric in ("loss", "accuracy")):
        assert np.isnan(result[name].values[1]).all(), name


@pytest.mark.slow
def test_regression_has_no_accuracy() -> None:
    x = examples(48, (5,))[0]
    held = Task(partial(MLP, (5, 8, 1)), (x, x[:, 0]), (x[:20], x[:20, 0]), loss="mse", validation=12)
    result = train(held, replace(BASE, steps=6))
    assert {n for n in arrays(result) if "validation" in n} == {n for n in NAMES if n.endswith("loss")}
    assert np.isfinite(result["pretrain/validation_loss"]).all()


def test_memory_counts_them(tmp_path: Path) -> None:
    """What the process has already is known; the copy in another precision is to come."""
    many, precise = examples(100_000, (5,)), replace(BASE, precision="float64")
    needed = []
    for own in (0, many):
        context = context_of(task(validation=own), precise, tmp_path)
        needed.append(memory(context, ALL_RUNS, 1) - context.resident)
    assert needed[1] - needed[0] >= many[0].numel() * 8


# -- results -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_result_without_one_of_them_is_refused(tmp_path: Path) -> None:
    result = train(task(validation=12), replace(BASE, steps=6))
    assert json.loads(result.attrs["task"])["validation"] == {"size": 12, "source": "held out of the training data"}
    for lost in NAMES:
        with pytest.raises(LrscopeError, match=f"variable '{lost}' is missing"):
            validate(without(result, lost))
    save_result(result, tmp_path)
    assert same_bytes(open_result(tmp_path), result) == []


@pytest.mark.slow
def test_results_of_earlier_versions_open(tmp_path: Path) -> None:
    old = train(task(validation=0), replace(BASE, steps=6))
    assert not [n for n in arrays(old) if "validation" in n]
    about = json.loads(old.attrs["task"])
    assert about.pop("validation") == {"size": 0, "source": "none"}
    save_result(changed(old, task=json.dumps(about)), tmp_path)
    assert same_bytes(open_result(tmp_path), old) == []


def test_made_up_results_have_them_too() -> None:
    assert set(arrays(fake_result(validation=1000))) - set(arrays(fake_result())) == NAMES
    regimes(fake_result(validation=1000))


@pytest.mark.slow
def test_files_take_them(tmp_path: Path) -> None:
    result = train(task(validation=12), replace(BASE, steps=6))
    path = export_result(result, "csv", None, tmp_path)
    head, first, tuned = Path(str(path)).read_text().splitlines()[:3]
    at = head.split(",").index("validation_accuracy")
    assert float(first.split(",")[at]) == float(result["pretrain/validation_accuracy"][0, 0, 0])
    assert float(tuned.split(",")[at]) == float(result["finetune/validation_accuracy"][0, 0, 0, 0])
    export_result(result, "netcdf", None, tmp_path)
    with xr.open_datatree(tmp_path / "result.nc") as copy:
        np.testing.assert_array_equal(copy["pretrain/validation_loss"], result["pretrain/validation_loss"])


# -- identity and options ----------------------------------------------------------------------------------------------


def test_it_is_part_of_the_tasks_identity() -> None:
    other = (TEST[0], (TEST[1] + 1) % CLASSES)
    tasks = [task(validation=v) for v in (0, 11, 12, TEST, other)]
    tasks.append(remaining(task(validation=12)))
    assert len({t.fingerprint([0]) for t in tasks}) == len(tasks)
    assert task(validation=None).fingerprint([0]) == task(validation=0).fingerprint([0])
    assert task(validation=0.25).fingerprint([0, 1]) == task(validation=12).fingerprint([0, 1])


def test_another_validation_set_is_another_sweep_and_said_so(tmp_path: Path) -> None:
    train(task(validation=0), BASE, out=tmp_path)
    with pytest.raises(AnotherSweep, match=r"it differs in train_size, validation"):
        train(task(validation=12), BASE, out=tmp_path)
    with pytest.raises(AnotherSweep, match=r"it differs in the model or its data"):
        sweep(task(norm="batch", validation=0), config=BASE, engine=BATCHED, out=tmp_path, progress=False)


def test_options_and_files_say_it(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text("validation = 0.10\n")
    settings = load_settings(tmp_path / "map.toml", {})
    assert settings.task_options()["validation"] == 0.1
    assert settings.request()["validation"] == "0.1"
    assert "--validation 0.1" in settings.command()
    assert load_settings(None, {"validation": "1000"}).task_options()["validation"] == 1000
    none = load_settings(tmp_path / "map.toml", {"validation": "0"})
    assert none.task_options()["validation"] == 0
    assert none.request()["validation"] == "0"
    assert "validation" not in MapSettings().filled().request(), "maps of earlier versions are known again"
    assert load_settings(None, {}).task_options()["validation"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ten", "validation: cannot read 'ten': pass a fraction such as 0.1"),
        ("-1", "validation: -1 is negative"),
        ("1.5", "validation: 1.5 is neither a fraction"),
        ("nan", "validation: nan is neither"),
        ("", "validation: '' is empty"),
    ],
)
def test_options_that_say_nothing_are_refused_without_torch(text: str, message: str) -> None:
    with pytest.raises(LrscopeError, match=message):
        load_settings(None, {"validation": text})
