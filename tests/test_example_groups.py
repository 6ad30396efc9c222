"""Metrics of example groups: any partition of training or test examples, first of all clean and corrupted labels."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
import xarray as xr

from lrscope.config import SweepConfig
from lrscope.engine import assemble as layout
from lrscope.engine import example_groups
from lrscope.engine.chunk import Stopped
from lrscope.engine.example_groups import BLOCK, EXAMPLES, ExampleGroups
from lrscope.engine.plan import Plan
from lrscope.errors import LrscopeError
from lrscope.export import export_result
from lrscope.mapping import regimes
from lrscope.reporting import report
from lrscope.results import open_result, save_result
from lrscope.tasks.builtin import named_task
from lrscope.tasks.data import load
from lrscope.tasks.data.subsets import subset
from lrscope.tasks.groups import with_classes
from lrscope.tasks.models import MLP
from lrscope.tasks.streams import generator
from lrscope.tasks.task import Task
from test_engine import PHASES, SPHERE, disagreements
from tiny_tasks import (
    ALL_RUNS,
    BASE,
    BATCHED,
    CLASSES,
    ONE_RUN,
    SHORT,
    compiler_needed,
    computed,
    context_of,
    examples,
    grouped_task,
    mlp_task,
    noisy_task,
    same_bytes,
    task_of,
    train,
)
from trees import arrays, dims_of, without

METRICS = ("loss", "accuracy", "true_accuracy")
OURS = {f"{node}/example_group_{metric}" for node in ("pretrain", "finetune") for metric in METRICS}
TESTED = {f"{node}/test_group_{metric}" for node in ("pretrain", "finetune") for metric in METRICS[:2]}
FUSED = Plan("batched", 4, True, "", 0.0, 32, True)


def split_task(groups: Any, **options: Any) -> Task:
    """The MLP's task with a partition of its 48 training examples."""
    return task_of(partial(MLP, (5, 8, 6, CLASSES)), (5,), name="mlp batch", train_groups=groups, **options)


def task_with_test_groups(*, train: bool = True, norm: str = "layer", **options: Any) -> Task:
    """The same with a partition of its 20 test examples too."""
    groups = {"train_groups": torch.arange(48) % 2} if train else {}
    groups |= {"test_groups": torch.arange(20) // 8, "test_group_names": ("a", "b", "c")}
    return task_of(partial(MLP, (5, 8, 6, CLASSES), norm=norm), (5,), name="mlp batch", **groups, **options)


# -- what is logged ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("plan", [ALL_RUNS, ONE_RUN], ids=lambda p: p.path)
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_metrics_agree_with_the_naive_twin(norm: str, plan: Plan, tmp_path: Path) -> None:
    """Pre-training and fine-tuning, another noise for each data seed, to rtol 1e-9."""
    config = replace(SPHERE, lrs=(1e-2,), data_seeds=2, **PHASES)
    assert disagreements(grouped_task(norm=norm), config, plan, tmp_path / "a") == []
    assert set(arrays(computed(grouped_task(norm=norm), config, plan, tmp_path / "b"))) >= OURS


@pytest.mark.slow
@pytest.mark.parametrize("train", [True, False], ids=["both", "test alone"])
def test_groups_of_test_examples_agree_with_the_naive_twin(train: bool, tmp_path: Path) -> None:
    config = replace(SPHERE, lrs=(1e-2,), **PHASES)
    assert disagreements(task_with_test_groups(train=train, norm="batch"), config, ALL_RUNS, tmp_path / "a") == []
    found = set(arrays(computed(task_with_test_groups(train=train), config, ALL_RUNS, tmp_path / "b")))
    assert found >= TESTED
    assert bool(found & OURS) == train


@pytest.mark.slow
@compiler_needed
def test_generated_evaluation_agrees(tmp_path: Path) -> None:
    config = replace(SPHERE, steps=12)
    fused, eager = (
        computed(grouped_task(norm="layer"), config, plan, tmp_path / str(plan.fused)) for plan in (FUSED, ALL_RUNS)
    )
    for name in ("example_group_loss", "example_group_accuracy", "example_group_true_accuracy"):
        np.testing.assert_allclose(fused["pretrain"][name], eager["pretrain"][name], rtol=1e-9)


@compiler_needed
def test_the_generator_takes_groups(tmp_path: Path) -> None:
    """It knows groups, and falls back on nothing."""
    context = context_of(grouped_task(norm="layer"), SPHERE, tmp_path)
    program, material = context.program("batched", True, True), context.material(0)
    weights, frozen = material.initial_weights([1, 2])
    material.window_metrics(program, weights, frozen)
    assert program.backend.made == ("metrics", "groups")
    assert program.backend.refused == {}


@pytest.mark.slow
def test_groups_are_means_over_their_examples_alone() -> None:
    """One group of all examples has the training set's metrics; singletons average to it."""
    config = replace(BASE, steps=6, average=(), finetune_lrs=(), finetune_steps=None)
    whole = train(split_task([0] * 48), config)
    each = train(split_task(range(48)), config)
    assert whole["example_group"].values.tolist() == ["0"]
    for name in ("pretrain/example_group_loss", "pretrain/example_group_accuracy"):
        np.testing.assert_allclose(each[name].mean("example_group"), whole[name][..., 0], rtol=1e-6)
    assert set(np.unique(each["pretrain/example_group_accuracy"])) == {0.0, 1.0}


@pytest.mark.slow
def test_groups_of_test_examples_are_means_over_these() -> None:
    """One group of all test examples has the test metrics, its parts in their sizes too; training groups stay what they are."""
    config = replace(BASE, steps=6, average=(), finetune_lrs=(), finetune_steps=None)
    found = train(task_with_test_groups(), config)
    assert found["test_group"].values.tolist() == ["a", "b", "c"]
    sizes = xr.DataArray([8, 8, 4], dims="test_group")
    for name in ("loss", "accuracy"):
        parts = (found[f"pretrain/test_group_{name}"] * sizes).sum("test_group") / 20
        np.testing.assert_allclose(parts, found[f"pretrain/test_{name}"], rtol=1e-5)
    ours = torch.arange(48) % 2
    alone = train(
        task_of(partial(MLP, (5, 8, 6, CLASSES), norm="layer"), (5,), name="mlp batch", train_groups=ours), config
    )
    for name in ("loss", "accuracy"):
        name = f"pretrain/example_group_{name}"
        np.testing.assert_allclose(found[name], alone[name], rtol=1e-6)


def test_without_test_groups_the_evaluated_examples_are_those_of_earlier_versions() -> None:
    """To the bit: the results of earlier sweeps stay what they are."""
    for task in (grouped_task(), grouped_task(true_labels=False), split_task(torch.arange(48) // 10)):
        data = task.data(1)
        assert data.train_groups is not None
        found = ExampleGroups.of(data, 1, lambda t: t, torch.float32)
        assert found is not None
        assert found.of_training == len(found.sizes) == len(data.train_group_names)
        streams = [generator("example group", e, 1) for e in range(len(found.sizes))]
        where = [(data.train_groups == e).nonzero()[:, 0] for e in range(len(found.sizes))]
        index = torch.cat([at[subset(len(at), EXAMPLES, stream)] for at, stream in zip(where, streams, strict=True)])
        rest = torch.zeros(-len(index) % BLOCK, dtype=torch.int64)
        true_y = data.train_y if data.clean_train_y is None else data.clean_train_y
        for made, given in ((found.x, data.train_x), (found.y, data.train_y), (found.true_y, true_y)):
            assert torch.equal(made, given[torch.cat([index, rest])])
        assert torch.equal(found.member[: len(index)].argmax(1), data.train_groups[index])
        assert int(found.member.sum()) == len(index)


def test_test_examples_of_a_group_are_the_same_for_all_data_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the test set is; the training examples are each data seed's own."""
    monkeypatch.setattr(example_groups, "EXAMPLES", 5)
    data = task_with_test_groups().data(0)
    one, other = (ExampleGroups.of(data, data_seed, lambda t: t, torch.float32) for data_seed in (0, 1))
    assert one is not None
    assert other is not None
    assert one.sizes.tolist() == [5, 5, 5, 5, 4]
    assert not torch.equal(one.x[:10], other.x[:10])
    assert torch.equal(one.x[10:24], other.x[10:24])
    assert torch.equal(one.y[10:24], other.y[10:24])


@pytest.mark.slow
def test_true_labels_are_those_before_noise() -> None:
    """No corrupted example can be right under both kinds of labels; clean ones have but one."""
    result = train(grouped_task(), replace(SPHERE, steps=40))
    clean, corrupted = (result.sel(example_group=name) for name in ("clean", "corrupted"))
    np.testing.assert_array_equal(
        clean["pretrain/example_group_accuracy"], clean["pretrain/example_group_true_accuracy"]
    )
    both = corrupted["pretrain/example_group_accuracy"] + corrupted["pretrain/example_group_true_accuracy"]
    assert (both <= 1 + 1e-12).all()
    assert (corrupted["pretrain/example_group_true_accuracy"] > 0).any()
    assert "pretrain/example_group_true_accuracy" not in arrays(
        train(grouped_task(true_labels=False), replace(SPHERE, steps=6))
    )


@pytest.mark.slow
def test_an_empty_group_is_nan_and_regression_has_no_accuracy() -> None:
    groups = torch.arange(48) % 2
    result = train(split_task(groups, train_group_names=("even", "odd", "none")), replace(SPHERE, steps=6))
    assert np.isnan(result["pretrain/example_group_loss"].sel(example_group="none")).all()
    assert np.isfinite(result["pretrain/example_group_loss"].sel(example_group=["even", "odd"])).all()
    x = examples(48, (5,))[0]
    task = Task(partial(MLP, (5, 8, 1)), (x, x[:, 0]), (x[:20], x[:20, 0]), loss="mse", train_groups=groups)
    result = train(task, replace(SPHERE, steps=6))
    assert np.isfinite(result["pretrain/example_group_loss"]).all()
    assert "pretrain/example_group_accuracy" not in arrays(result)


@pytest.mark.slow
def test_a_run_that_ends_early_has_nan_from_there_and_changes_no_other() -> None:
    config = replace(SPHERE, space="whole", lrs=(1e-2, 1e30), steps=12, precision="float32")
    result = train(grouped_task(norm="layer"), config)
    assert result["pretrain/status"].values[:, 0, 0].tolist() == [0, 1]
    assert np.isnan(result["pretrain/example_group_loss"][1]).all()
    assert np.isnan(result["pretrain/example_group_accuracy"][1]).all()
    alone = train(grouped_task(norm="layer"), replace(config, lrs=(1e-2,)))
    np.testing.assert_allclose(
        alone["pretrain/example_group_loss"][0], result["pretrain/example_group_loss"][0], rtol=1e-5
    )


def test_large_groups_are_sampled_and_filled_up() -> None:
    """At most so many a group, drawn by the data seed, every example in its own group; the rest counts for nobody."""
    count = EXAMPLES + 300
    y = torch.zeros(count, dtype=torch.int64)
    groups = (torch.arange(count) >= count - 70).long()
    data = Task(
        partial(MLP, (1, 4, 2)),
        (torch.arange(count).float()[:, None], y),
        (torch.zeros(2, 1), y[:2] + 1),
        train_groups=groups,
    ).data(0)
    found, again, other = (ExampleGroups.of(data, seed, lambda t: t, torch.float32) for seed in (0, 0, 1))
    assert found is not None
    assert again is not None
    assert other is not None
    assert found.sizes.tolist() == [EXAMPLES, 70]
    assert len(found.x) % BLOCK == 0
    members = found.member.sum(1)
    assert members.tolist() == [1.0] * (EXAMPLES + 70) + [0.0] * (len(found.x) - EXAMPLES - 70)
    index = found.x[members > 0, 0].long()
    assert len(index.unique()) == len(index)
    assert torch.equal(found.member[members > 0].argmax(1), groups[index])
    assert torch.equal(found.x, again.x)
    assert not torch.equal(found.x, other.x)


# -- what does not change --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_partition_changes_nothing_else() -> None:
    """Every array that a task without groups has is the same to the byte."""
    plain, split = train(mlp_task(), BASE), train(split_task(torch.arange(48) % 3), BASE)
    added = {"example_group", *(name for name in OURS if "true" not in name)}
    assert set(arrays(split, coordinates=True)) - set(arrays(plain, coordinates=True)) == added
    assert "example_group" not in plain.dims
    assert same_bytes(without(split, *added), plain) == []
    assert json.loads(plain.attrs["task"]).keys() == json.loads(split.attrs["task"]).keys() - {"example_groups"}


@pytest.mark.slow
def test_groups_of_test_examples_change_nothing_else() -> None:
    """But the last bits of the groups of training examples, which are evaluated in the same pass."""
    plain, split = train(mlp_task(), BASE), train(task_with_test_groups(train=False, norm="batch"), BASE)
    assert set(arrays(split, coordinates=True)) - set(arrays(plain, coordinates=True)) == {"test_group", *TESTED}
    assert same_bytes(without(split, "test_group", *TESTED), plain) == []
    assert json.loads(split.attrs["task"])["test_groups"] == {"a": 8, "b": 8, "c": 4}


@pytest.mark.slow
def test_stopped_and_resumed_is_the_same_to_the_byte(tmp_path: Path) -> None:
    """A checkpoint after every step, and another process's context after every stop."""
    config, plan = replace(BASE, average=()), Plan("batched", 2, False, "", 0.0)
    engine = replace(BATCHED, checkpoint_seconds=0.0)
    context = context_of(grouped_task(), config, tmp_path / "stopped", engine)
    context.store.create()
    stops = 0
    for unit in context.units(plan):
        while not context.store.is_done(unit):
            try:
                context.run_unit(plan, unit, lambda _: None, iter([False] * 5 + [True]).__next__)
            except Stopped:
                stops += 1
                context = context_of(grouped_task(), config, tmp_path / "stopped", engine)
    assert stops >= 4
    assert same_bytes(layout.assemble(context, plan), computed(grouped_task(), config, plan, tmp_path / "whole")) == []


@pytest.mark.slow
def test_slabs_of_runs_give_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group axis is written once, runs one seed after the other."""
    config = replace(BASE, average=(), seeds=3)
    whole = train(grouped_task(), config, out=tmp_path / "whole")
    monkeypatch.setattr(layout, "SLAB_BYTES", 1)
    parts = train(grouped_task(), config, out=tmp_path / "parts")
    assert same_bytes(parts, whole) == []
    assert parts["example_group"].values.tolist() == ["clean", "corrupted"]


@pytest.mark.slow
def test_an_adaptive_sweep_keeps_them(tmp_path: Path) -> None:
    lrs = tuple(float(f"{10 ** (-4 + i / 2):.3g}") for i in range(8))
    config = SweepConfig(lrs=lrs, seeds=1, epochs=10, batch_size=16, random_points=2, adaptive=True)
    result = train(grouped_task(), config, out=tmp_path)
    trained = (result["pretrain/status"] == 0).values
    assert 0 < trained.sum() < trained.size, "some runs are left out"
    assert np.isfinite(result["pretrain/example_group_loss"].values[trained]).all()
    assert np.isnan(result["pretrain/example_group_loss"].values[~trained]).all()


# -- results, pages, files -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pages_and_files_take_them(tmp_path: Path) -> None:
    config = replace(BASE, lrs=tuple(10 ** (-3 + i / 2) for i in range(6)), finetune_lrs=(1e-3,), steps=24)
    result = train(grouped_task(), config, out=tmp_path / "out")
    regimes(result)
    report(result, tmp_path / "page.html")
    assert "corrupted" in (tmp_path / "page.html").read_text()
    export_result(result, "csv", None, tmp_path)
    export_result(result, "netcdf", None, tmp_path)
    with xr.open_datatree(tmp_path / "result.nc") as copy:
        assert copy["example_group"].values.tolist() == ["clean", "corrupted"]
        np.testing.assert_array_equal(copy["pretrain/example_group_loss"], result["pretrain/example_group_loss"])


@pytest.mark.slow
@pytest.mark.parametrize("lost", sorted(TESTED))
def test_a_result_without_a_variable_of_test_groups_is_refused(lost: str, tmp_path: Path) -> None:
    result = train(task_with_test_groups(train=False), replace(BASE, steps=6))
    assert result[lost].dims[-1] == "test_group"
    with pytest.raises(LrscopeError, match=f"variable '{lost}' is missing"):
        save_result(without(result, lost), tmp_path)
    save_result(result, tmp_path)
    assert same_bytes(open_result(tmp_path), result) == []


@pytest.mark.slow
@pytest.mark.parametrize("lost", sorted(OURS))
def test_a_result_without_one_of_them_is_refused(lost: str, tmp_path: Path) -> None:
    result = train(grouped_task(), replace(BASE, steps=6))
    assert result[lost].dims == dims_of(lost)
    with pytest.raises(LrscopeError, match=f"variable '{lost}' is missing"):
        save_result(without(result, lost), tmp_path)
    save_result(result, tmp_path)
    assert same_bytes(open_result(tmp_path), result) == []


# -- partitions ----------------------------------------------------------------------------------------------------------


def test_label_noise_makes_clean_and_corrupted() -> None:
    """Corrupted is a label that differs from the true one; a redrawn label that came out as it was is clean."""
    data = load("digits", data_seed=3, train_size=500, label_noise=0.4)
    assert data.train_groups is not None
    assert data.clean_train_y is not None
    assert data.train_group_names == ("clean", "corrupted")
    assert torch.equal(data.train_groups == 1, data.train_y != data.clean_train_y)
    assert 140 < int(data.train_groups.sum()) < 200, "about nine tenths of the 200 redrawn ones"
    assert load("digits", label_noise=0.0).train_groups is None
    task = named_task("digits", "mlp", train_size=100, label_noise=0.4)
    assert task.data(1).train_group_names == ("clean", "corrupted")
    assert set(task.summary()["example_groups"]) == {"clean", "corrupted"}
    assert task.summary()["true_labels"] is True


def test_classes_are_groups_of_training_and_of_test_examples() -> None:
    """Of training examples by their labels before noise."""
    options: dict[str, Any] = {"train_size": 200, "test_size": 50, "label_noise": 0.4}
    data = named_task("digits", "mlp", groups="classes", **options).data(1)
    assert data.train_group_names == data.test_group_names == tuple("0123456789")
    assert torch.equal(data.train_groups, data.clean_train_y)
    assert not torch.equal(data.train_groups, data.train_y)
    assert torch.equal(data.test_groups, data.test_y)
    plain = named_task("digits", "mlp", **options).data(1)
    assert plain.train_group_names == ("clean", "corrupted")
    assert plain.test_groups is None
    assert torch.equal(plain.train_x, data.train_x)
    task = named_task("digits", "mlp", groups="classes", **options)
    assert sum(task.summary()["test_groups"].values()) == 50
    with pytest.raises(LrscopeError, match=r"groups: .digits. is unknown: .*classes"):
        named_task("digits", "mlp", groups="digits", **options)


def test_data_without_classes_has_no_groups_of_them() -> None:
    x = examples(48, (5,))[0]
    data = Task(partial(MLP, (5, 8, 1)), (x, x[:, 0]), (x[:20], x[:20, 0]), loss="mse").data(0)
    with pytest.raises(LrscopeError, match=r"groups: .* has no classes"):
        with_classes(data)
    many = replace(data, classes=101, train_y=torch.arange(48), test_y=torch.arange(20))
    with pytest.raises(LrscopeError, match="over 100"):
        with_classes(many)


def test_the_partition_is_part_of_the_tasks_identity() -> None:
    groups = torch.arange(48) % 2
    tasks = [
        mlp_task(),
        split_task(groups),
        split_task(1 - groups),
        split_task(groups, train_group_names=("a", "b")),
        noisy_task(0.5),
        grouped_task(),
        grouped_task(true_labels=False),
        split_task(None, test_groups=torch.arange(20) % 2),
        split_task(None, test_groups=torch.arange(20) % 2, test_group_names=("a", "b")),
        split_task(None, test_groups=(torch.arange(20) + 1) % 2),
        split_task(groups, test_groups=torch.arange(20) % 2),
    ]
    assert len({task.fingerprint([0]) for task in tasks}) == len(tasks)
    assert split_task(groups).fingerprint([0]) == split_task(groups.tolist()).fingerprint([0])
    plain = split_task(groups).fingerprint([0])
    for given in (
        groups.bool(),
        groups.numpy(),
        groups.tolist(),
        pandas.Series(groups.numpy(), index=range(48, 0, -1)),
    ):
        assert split_task(given).fingerprint([0]) == plain


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "length": ([0, 1], {}, r"train_groups: its shape is \(2,\), but there are 48 training examples"),
    "shape": (torch.zeros(48, 1).long(), {}, r"train_groups: its shape is \(48, 1\)"),
    "negative": ([-1] + [0] * 47, {}, "train_groups: it holds -1: number the groups from 0"),
    "not whole": (torch.zeros(48), {}, r"train_groups: its type is torch\.float32"),
    "words": (["a"] * 48, {}, "train_groups: its values hold words, such as 'a': number them first"),
    "too many": (torch.arange(48) * 10, {}, "over 100 groups: join some"),
    "a name too few": ([0, 1] * 24, {"train_group_names": ["a"]}, "1 names, but train_groups holds 1"),
    "one name twice": ([0, 1] * 24, {"train_group_names": ["a", "a"]}, "are not different words"),
    "names in one word": (
        [0, 1] * 24,
        {"train_group_names": "ab"},
        "'ab' is not a list of names: pass one for each group",
    ),
    "no names": ([0, 1] * 24, {"train_group_names": 2}, "2 is not a list of names"),
    "dict": ({"a": 0}, {}, r"train_groups: its values are a dict \(a\)"),
    "sparse": (torch.ones(48).to_sparse(), {}, "train_groups: its values are a sparse_coo tensor"),
    "names alone": (None, {"train_group_names": ["a"]}, "given without train_groups"),
    "test names alone": (None, {"test_group_names": ["a"]}, "test_group_names: given without test_groups"),
    "test length": (None, {"test_groups": [0, 1]}, r"test_groups: its shape is \(2,\), but there are 20 test examples"),
    "test negative": (None, {"test_groups": [-1] * 20}, "test_groups: it holds -1: number the groups from 0"),
    "test names": (None, {"test_groups": [0, 1] * 10, "test_group_names": ["a"]}, "1 names, but test_groups holds 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_partition_that_does_not_fit_is_refused(case: str) -> None:
    groups, options, message = WRONG[case]
    with pytest.raises(LrscopeError, match=message):
        split_task(groups, **options)


def test_every_data_seeds_partition_is_checked() -> None:
    one = split_task(torch.arange(48) % 2)

    def shorter(data_seed: int) -> Any:
        return replace(one.data(0), train_groups=torch.zeros(48 - data_seed, dtype=torch.int64))

    with pytest.raises(LrscopeError, match=r"data seed 1: train_groups: its shape is \(47,\)"):
        Task.from_data("t", one.drawing.make, shorter).data(1)

    def renamed(data_seed: int) -> Any:
        return replace(one.data(0), train_group_names=(f"a{data_seed}", "b"))

    with pytest.raises(LrscopeError, match=r"data seed 1: train_group_names: .* use the same groups"):
        Task.from_data("t", one.drawing.make, renamed).data(1)

    def grown(data_seed: int) -> Any:
        return replace(one.data(0), test_groups=torch.zeros(20 + data_seed, dtype=torch.int64), test_group_names=("a",))

    with pytest.raises(LrscopeError, match=r"data seed 1: test_groups: its shape is \(21,\)"):
        Task.from_data("t", one.drawing.make, grown).data(1)

    def sometimes(data_seed: int) -> Any:
        groups = {"test_groups": torch.zeros(20, dtype=torch.int64), "test_group_names": ("a",)}
        return replace(one.data(0), **(groups if data_seed else {}))

    with pytest.raises(LrscopeError, match=r"data seed 1: test_group_names: \['a'\], but \[\] for data seed 0"):
        Task.from_data("t", one.drawing.make, sometimes).data(1)


def test_label_noise_and_the_squared_error_train_together() -> None:
    """Labels before the noise become rows as the others do; the groups of the noise have both."""
    task = named_task("digits", "mlp", loss="mse", label_noise=0.3, train_size=64, test_size=32)
    found = train(task, replace(SHORT, space="whole", lrs=(0.01,), batch_size=16, steps=4))
    assert np.isfinite(found["pretrain/example_group_loss"]).all()
