"""Branches of the training tree: they go on exactly where their parents were, and what cannot branch is refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from torch import Tensor, nn

from lrscope.config import Branch, EngineConfig, SweepConfig
from lrscope.config.identity import hash_of
from lrscope.config.settings import load_settings
from lrscope.engine.branching import held, most_held
from lrscope.engine.memory_need import memory
from lrscope.engine.plan import Plan
from lrscope.engine.segments import phases
from lrscope.errors import LrscopeError
from lrscope.export import export_result
from lrscope.results import open_result
from lrscope.tasks.models import MLP
from lrscope.trained import Trained
from tiny_tasks import (
    ALL_RUNS,
    BATCHED,
    CLASSES,
    ONE_RUN,
    SINGLE,
    Dropping,
    computed,
    context_of,
    mlp_task,
    same_bytes,
    stopped_and_resumed,
    task_of,
    train,
)

TASK = partial(mlp_task, "layer")
BASE = SweepConfig(
    lrs=(1e-2, 1e-1),
    seeds=2,
    epochs=4,
    batch_size=12,
    space="whole",
    momentum=0.9,
    random_points=2,
    precision="float64",
    keep_weights=True,
)
SPHERE = replace(BASE, space="sphere", lrs=(1e-3, 1e-2))
FOUR_EPOCHS = 4  # steps each


def branching(*branches: Branch | Mapping[str, Any] | str, base: SweepConfig = BASE, **options: Any) -> SweepConfig:
    """The base with these branches."""
    return replace(base, branches=branches, **options)


def of(config: SweepConfig, folder: Path, plan: Plan = ALL_RUNS) -> xr.DataTree:
    """The sweep's result."""
    return computed(TASK(), config, plan, folder)


# -- a branch is its parent, gone on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [ALL_RUNS, ONE_RUN], ids=["batched", "single"])
@pytest.mark.parametrize(
    "base",
    [BASE, SPHERE, replace(BASE, momentum=0.0, optimizer="adamw", weight_decay=0.01)],
    ids=["momentum", "sphere", "adamw"],
)
def test_a_branch_with_nothing_changed_is_the_rest_of_its_parent_to_the_byte(
    base: SweepConfig, plan: Plan, tmp_path: Path
) -> None:
    found = of(branching(Branch(name="on", at=(0, 1, 3), until=4), base=base), tmp_path, plan)
    parent, branch = found["pretrain"], found["on"]
    assert branch["on_at"].values.tolist() == [0, 1, 3]
    for name in ("train_loss", "test_loss", "grad_norm", "group_norm"):
        for i, left in enumerate((0, 1, 3)):
            rest = parent[name].isel(epoch=slice(left, None)).values
            gone_on = branch[name].isel(on_at=i, epoch=slice(None, FOUR_EPOCHS - left)).values
            assert rest.tobytes() == gone_on.tobytes(), (name, left)
    for i in range(3):
        assert branch["fixed_train_loss"].isel(on_at=i).values.tobytes() == parent["fixed_train_loss"].values.tobytes()


def test_a_branch_may_leave_within_an_epoch_however_sparse_the_log_is(tmp_path: Path) -> None:
    """Its parent is logged there too; all points of the branch share the times of the longest one."""
    config = branching(Branch(name="on", at=(0.5, 2.25), until=4), base=replace(BASE, log_points=2))
    found = of(config, tmp_path)
    assert found["pretrain"]["step"].values.tolist() == [2, 8, 9, 16]
    assert set(found["on"]["step"].values) == {8, 14, 7}
    for i in range(2):
        end = found["on"]["fixed_train_loss"].isel(on_at=i).values
        assert end.tobytes() == found["pretrain"]["fixed_train_loss"].values.tobytes()


class Shaken(nn.Module):
    """Noise that only NumPy's global generator knows, so that runs train one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = MLP((5, 6, CLASSES), norm="layer")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x * (1 + 0.1 * np.random.rand()) if self.training else x)
        return out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model", "engine"), [(Dropping, BATCHED), (Shaken, SINGLE)], ids=["dropout", "global"])
def test_noise_goes_on_too(model: Any, engine: EngineConfig) -> None:
    found = train(task_of(model, (5,)), branching(Branch(name="on", at=(1, 3), until=4)), engine)
    for i, left in enumerate((1, 3)):
        rest = found["pretrain"]["train_loss"].isel(epoch=slice(left, None)).values
        assert found["on"]["train_loss"].isel(on_at=i, epoch=slice(None, 4 - left)).values.tobytes() == rest.tobytes()
        end = found["on"]["fixed_train_loss"].isel(on_at=i).values
        assert end.tobytes() == found["pretrain"]["fixed_train_loss"].values.tobytes()


def test_points_that_end_earlier_are_nan_behind_their_end(tmp_path: Path) -> None:
    found = of(branching(Branch(name="on", at=(1, 3), until=4)), tmp_path)["on"]
    assert found["epoch"].values.tolist() == [1, 2, 3]
    assert np.isfinite(found["train_loss"].isel(on_at=0).values).all()
    last = found["train_loss"].isel(on_at=1)
    assert np.isfinite(last.sel(epoch=1).values).all()
    assert np.isnan(last.sel(epoch=[2, 3]).values).all()
    assert (found["status"].values == 0).all()


@pytest.mark.parametrize("base", [BASE, SPHERE], ids=["whole", "sphere"])
def test_a_decay_is_a_step_schedule_to_the_byte(base: SweepConfig, tmp_path: Path) -> None:
    branch = of(branching(Branch(name="decay", at=(2,), factors=(0.1,), until=4), base=base), tmp_path / "a")["decay"]
    whole = of(replace(base, schedule="step:0.1@0.5"), tmp_path / "b")["pretrain"]
    rest = whole["test_loss"].isel(epoch=slice(2, None)).values
    assert branch["test_loss"].isel(decay_at=0, decay_factor=0).values.tobytes() == rest.tobytes()


@pytest.mark.slow
def test_a_schedule_of_a_branch_is_that_of_pretraining(tmp_path: Path) -> None:
    """From the very beginning, pre-training with a schedule and a branch with it are one thing."""
    shapes = ("linear", "1-sqrt", "wsd:0.5,linear")
    branch = of(branching(Branch(name="down", at=(0,), schedules=shapes, until=4)), tmp_path / "a")["down"]
    for shape in shapes:
        whole = of(replace(BASE, schedule=shape), tmp_path / shape)["pretrain"]
        here = branch["test_loss"].sel(down_schedule=shape).isel(down_at=0).values
        assert here.tobytes() == whole["test_loss"].values.tobytes()


def test_a_fresh_optimizer_has_forgotten_and_sees_batches_of_its_own(tmp_path: Path) -> None:
    config = branching(
        Branch(name="kept", at=(2,), epochs=2), Branch(name="fresh", at=(2,), epochs=2, optimizer="fresh")
    )
    found = of(config, tmp_path)
    kept, fresh = (found[name]["train_loss"].values for name in ("kept", "fresh"))
    assert kept.shape == fresh.shape
    assert not np.isclose(kept, fresh, rtol=1e-6).any()


def test_learning_rates_of_a_branch_replace_the_parents(tmp_path: Path) -> None:
    config = branching(Branch(name="set", at=(0,), lrs=(1e-2, 1e-1), until=4))
    found = of(config, tmp_path)
    pretrain, branch = found["pretrain"]["test_loss"], found["set"]["test_loss"].isel(set_at=0)
    for lr in BASE.lrs:
        for run in BASE.lrs:  # all start at one initialisation
            assert branch.sel(lr=run, set_lr=lr).values.tobytes() == pretrain.sel(lr=lr).values.tobytes()


# -- the tree ------------------------------------------------------------------------------------------------------------


def test_branches_of_branches_have_all_axes_above_them(tmp_path: Path) -> None:
    config = branching(
        Branch(name="decay", at=(1, 3), factors=(0.1,), epochs=2),
        Branch(name="last", parent="decay", at=(1, 2), epochs=1),
    )
    found = of(config, tmp_path)
    assert found["last"]["train_loss"].dims == (
        "lr", "decay_at", "decay_factor", "last_at", "data_seed", "seed", "epoch"
    )  # fmt: skip
    decayed, last = found["decay"]["train_loss"], found["last"]["train_loss"]
    assert last.sel(last_at=1).isel(epoch=0).values.tobytes() == decayed.isel(epoch=1).values.tobytes()
    assert found["last"].attrs["parent"] == "decay"


def test_until_counts_from_the_start_of_pretraining_along_the_whole_way(tmp_path: Path) -> None:
    config = branching(Branch(name="first", at=(1,), until=3), Branch(name="second", parent="first", at=(1,), until=4))
    found = of(config, tmp_path)
    assert found["second"]["epoch"].values.tolist() == [1, 2]
    rest = found["pretrain"]["train_loss"].isel(epoch=slice(2, None)).values
    assert found["second"]["train_loss"].isel(first_at=0, second_at=0).values.tobytes() == rest.tobytes()


def test_fine_tunes_branch_too(tmp_path: Path) -> None:
    base = replace(BASE, finetune_lrs=(1e-3, 1e-2), finetune_epochs=2, average=(2,))
    found = of(branching(Branch(name="more", parent="finetune", at=(1,), until=6), base=base), tmp_path)
    rest = found["finetune"]["train_loss"].isel(epoch=1).values
    assert found["more"]["train_loss"].isel(more_at=0, epoch=0).values.tobytes() == rest.tobytes()
    alone = of(base, tmp_path / "alone")
    for name in ("average", "finetune"):
        assert same_bytes(found[name], alone[name]) == []


def test_a_branch_changes_nothing_before_it(tmp_path: Path) -> None:
    config = branching(
        Branch(name="decay", at=(1, 2), factors=(0.1,), epochs=1), Branch(name="low", at_loss=(0.9,), epochs=1)
    )
    assert same_bytes(of(config, tmp_path / "a")["pretrain"], of(BASE, tmp_path / "b")["pretrain"]) == []


# -- where the loss is low enough ----------------------------------------------------------------------------------------


def test_each_run_leaves_where_its_own_loss_is_low_enough(tmp_path: Path) -> None:
    first = of(BASE, tmp_path / "first")["pretrain"]["train_loss"].isel(data_seed=0)  # [lr, seed, epoch]
    late = np.sort(first.isel(epoch=slice(1, None)).values.ravel())
    wanted = float(late[len(late) // 2])  # exactly what one run logs
    config = branching(Branch(name="low", at_loss=(-1.0, wanted), epochs=1))
    found = of(config, tmp_path / "a")
    low = found["low"].isel(data_seed=0)
    assert (low["branch_step"].sel(low_loss=-1.0).values == -1).all()
    assert (low["status"].sel(low_loss=-1.0).values == 2).all()
    assert np.isnan(low["train_loss"].sel(low_loss=-1.0).values).all()
    seen = set()
    for lr in BASE.lrs:
        for seed in range(2):
            losses = first.sel(lr=lr, seed=seed).values
            at = next((i + 1 for i, loss in enumerate(losses) if loss <= wanted), None)
            seen.add(at)
            here = low.sel(lr=lr, seed=seed, low_loss=wanted)
            assert int(here["branch_step"]) == (-1 if at is None else 4 * at)
            assert int(here["status"]) == (2 if at is None else 0)
    assert len(seen) > 1, "all runs left at the same time: the test shows nothing"


def test_a_run_that_leaves_at_a_loss_is_the_same_alone(tmp_path: Path) -> None:
    config = branching(Branch(name="low", at_loss=(0.8,), epochs=2))
    together, alone = of(config, tmp_path / "a"), of(config, tmp_path / "b", ONE_RUN)
    assert (together["low"]["branch_step"].values == alone["low"]["branch_step"].values).all()
    np.testing.assert_allclose(together["low"]["train_loss"].values, alone["low"]["train_loss"].values, rtol=1e-9)


def test_a_run_that_overflowed_before_has_no_branch_and_harms_no_other(tmp_path: Path) -> None:
    base = replace(BASE, lrs=(1e-2, 1e30), precision="float32", momentum=0.0)
    found = of(branching(Branch(name="decay", at=(3,), factors=(0.1,), epochs=1), base=base), tmp_path / "a")
    assert (found["decay"]["status"].sel(lr=1e30).values == 2).all()
    assert (found["decay"]["branch_step"].sel(lr=1e30).values == -1).all()
    assert np.isnan(found["decay"]["train_loss"].sel(lr=1e30).values).all()
    assert (found["decay"]["status"].sel(lr=1e-2).values == 0).all()


# -- stopping, adaptive sweeps, weights ----------------------------------------------------------------------------------

EVERYTHING = branching(
    Branch(name="decay", at=(0, 1, 4), factors=(0.5,), epochs=1),
    Branch(name="low", at_loss=(0.9,), steps=3, optimizer="fresh"),
    Branch(name="last", parent="decay", epochs=1),
    Branch(name="more", parent="finetune", epochs=1),
    base=replace(BASE, finetune_lrs=(1e-3,), finetune_epochs=1, average=(2,)),
)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 3, 6, 13, 17, 20, 22, 27, 31, 36, 41, 44])
def test_a_stopped_tree_goes_on_to_the_same_bytes(stop: int, tmp_path: Path, whole_tree: xr.DataTree) -> None:
    resumed = stopped_and_resumed(TASK, EVERYTHING, ALL_RUNS, tmp_path, stop)
    assert {"pretrain", "average", "finetune", "decay", "low", "last", "more"} == set(whole_tree.children)
    assert same_bytes(resumed, whole_tree) == []


@pytest.fixture(scope="module")
def whole_tree(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    return of(EVERYTHING, tmp_path_factory.mktemp("whole"))


@pytest.mark.slow
def test_an_adaptive_sweep_trains_the_branches_of_what_it_pretrains(tmp_path: Path) -> None:
    lrs = tuple(float(lr) for lr in np.logspace(-4, 1, 24))
    base = replace(SPHERE, lrs=lrs, seeds=3, epochs=12, finetune_lrs=(1e-3,), finetune_epochs=1)
    config = branching(Branch(name="decay", at=(6,), factors=(0.1,), epochs=1), base=base)
    adaptive, whole = train(TASK(), replace(config, adaptive=True)), train(TASK(), config)
    trained = adaptive["pretrain"]["status"].values != 4
    assert 0 < trained.sum() < trained.size
    at = adaptive["decay"]["status"].isel(decay_at=0, decay_factor=0)
    assert ((at.values != 4) == trained).all()
    ours, all_ = (r["decay"]["train_loss"].isel(decay_at=0, decay_factor=0, epoch=0).values for r in (adaptive, whole))
    np.testing.assert_allclose(ours[trained], all_[trained], rtol=1e-6)


@pytest.mark.slow
def test_longer_fine_tunes_keep_the_branches_of_pretraining(tmp_path: Path) -> None:
    base = replace(BASE, finetune_lrs=(1e-3,), finetune_epochs=1)
    tree = Branch(name="decay", at=(2,), factors=(0.1,), epochs=1), Branch(name="more", parent="finetune", epochs=1)
    train(TASK(), branching(*tree, base=base), out=tmp_path / "a")
    longer = branching(*tree, base=replace(base, finetune_epochs=2))
    extended, whole = (
        train(TASK(), longer, replace(BATCHED, extend_finetunes=True), tmp_path / "a"),
        train(TASK(), longer),
    )
    assert same_bytes(extended, whole) == []


@pytest.mark.slow
def test_weights_of_branches_are_kept_and_found(tmp_path: Path) -> None:
    config = branching(
        Branch(name="on", at=(1, 2), until=4), Branch(name="down", at=(1,), factors=(0.1, 0.5), epochs=1)
    )
    train(TASK(), replace(config, average=(2,), finetune_lrs=(1e-3,), finetune_epochs=1), out=tmp_path)
    kept = Trained.open(tmp_path, TASK())
    states = [kept.state(lr=1e-2, seed=1, **moment) for moment in ({}, {"n_average": 2}, {"finetune_lr": 1e-3})]
    assert all(not one.weights.equal(two.weights) for one, two in combinations(states, 2))
    run = {"lr": 1e-2, "seed": 1}
    assert kept.state(**run, branch="on", point={"on_at": 2}).weights.equal(kept.state(**run).weights)
    assert not kept.state(**run, branch="down", point={"down_factor": 0.1}).weights.equal(kept.state(**run).weights)
    for branch, point, what in [
        ("off", {}, "no branch"),
        ("on", {"on_at": 3}, "on_at: 3"),
        ("on", {}, "on_at: not named"),
        ("on", {"at": 1}, "has no axis"),
    ]:
        with pytest.raises(LrscopeError, match=what):
            kept.state(**run, branch=branch, point=point)


def test_a_chunk_holds_a_state_only_as_long_as_a_branch_needs_it(tmp_path: Path) -> None:
    config = branching(*(Branch(name=f"b{i}", at=(i,), epochs=1) for i in range(1, 4)))
    found = phases(config, 4)
    assert [len(held(found, number, len(phase.windows))) for number, phase in enumerate(found)] == [3, 2, 1, 0]
    assert most_held(found) == 3
    context = context_of(TASK(), config, tmp_path)
    one_time = branching(*(Branch(name=f"b{i}", at=(1,), epochs=1) for i in range(1, 4)))
    assert most_held(phases(one_time, 4)) == 1
    assert memory(context, ALL_RUNS, 1) > memory(context_of(TASK(), one_time, tmp_path), ALL_RUNS, 1)
    trainer = context.trainer(ALL_RUNS, context.chunks(ALL_RUNS)[0])
    trainer.run(lambda _: None, lambda _: None, lambda: False)
    assert not [name for name in trainer.tensors if name.startswith("kept:")]


# -- how branches are written --------------------------------------------------------------------------------------------

WRITTEN = [
    Branch(name="decay", at=(1, 2.5), factors=(0.1,), until=4, schedules=("linear", "step:0.2@0.3,0.6")),
    Branch(name="low", parent="decay", at_loss=(0.5,), steps=3, optimizer="fresh", lrs=(1e-3,)),
]


def test_branches_are_read_alike_from_objects_tables_and_text() -> None:
    config = branching(*WRITTEN)
    text = "; ".join(map(str, WRITTEN))
    assert text.startswith("decay at=1,2.5 factors=0.1")
    assert replace(BASE, branches=text).branches == config.branches
    assert branching(*(branch.asked() for branch in WRITTEN)).branches == config.branches
    assert SweepConfig.from_dict(config.to_dict()) == config


def test_a_config_file_has_tables_of_branches_and_a_command_repeats_them(tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_text(
        'data = "digits"\nsteps = 100\n[[branches]]\nname = "decay"\nat = [1, 2]\nfactors = [0.1]\nepochs = 1\n'
    )
    settings = load_settings(file, {})
    assert settings.sweep_config().branches == (Branch(name="decay", at=(1, 2), factors=(0.1,), epochs=1),)
    assert "--branches 'decay at=1,2 factors=0.1 epochs=1'" in settings.command()
    assert load_settings(None, {"branches": str(settings.branches), "steps": "100"}).request() == settings.request()


def test_a_sweep_without_branches_has_the_hash_that_it_had_and_defaults_of_branches_change_none() -> None:
    assert hash_of("t", branching()) == hash_of("t", BASE)
    short, long = Branch(name="a", epochs=1), Branch(name="a", epochs=1, parent="pretrain", optimizer="kept")
    assert hash_of("t", branching(short)) == hash_of("t", branching(long)) != hash_of("t", BASE)


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        ("decay at=1", "say how long it is"),
        ("decay epochs=1 steps=3", "in one of epochs, steps and until"),
        ("decay at=2,1 epochs=1", "at.*increasing"),
        ("decay at=1 at_loss=0.5 epochs=1", "both at and at_loss"),
        ("decay lrs=0.1 factors=0.5 epochs=1", "both lrs and factors"),
        ("decay factors=0 epochs=1", "factors: 0 is outside"),
        ("decay schedules=linea epochs=1", "linear"),
        ("decay optimizer=new epochs=1", "optimizer.*kept or fresh"),
        ("decay epoch=1", "'epoch' is no option of a branch.*epochs"),
        ("decay epochs", "cannot read 'epochs'"),
        ("decay epochs=1 epochs=2", "says epochs twice"),
        ("Decay epochs=1", "no name for a branch"),
        ("finetune epochs=1", "no name for a branch"),
        ("random epochs=1", "no name for a branch"),
        ("a epochs=1; a epochs=2", "two of the name a"),
        ("a parent=b epochs=1; b epochs=1", "parent 'b' is none of pretrain"),
        ("a parent=average epochs=1", "averages are not trained on"),
        ("a parent=finetune epochs=1", "no fine-tunes to leave"),
        ("a at_loss=0.5 until=4", "until counts from the start"),
        ("a at_loss=0.5 epochs=1; b parent=a until=4", "until counts from the start"),
        ([3], "3 is no branch"),
        (3, "are no branches"),
        ([{"epochs": 1}], "has no name"),
    ],
)
def test_branches_that_make_no_tree_are_refused(branches: Any, said: str) -> None:
    with pytest.raises(LrscopeError, match=f"(?s)^branches.*{said}"):
        replace(BASE, branches=branches)


def test_a_branch_of_a_branch_that_no_run_came_to_was_stopped_too(tmp_path: Path) -> None:
    config = branching(
        Branch(name="never", at_loss=(-5.0,), epochs=1), Branch(name="child", parent="never", at=(0, 1), epochs=1)
    )
    found = of(config, tmp_path)["child"]
    assert (found["status"].values == 2).all()
    assert (found["branch_step"].values == -1).all()
    assert (found["nonfinite_step"].values == -1).all()


@pytest.mark.slow
def test_nodes_are_opened_parents_first_whatever_their_names(tmp_path: Path) -> None:
    config = branching(
        Branch(name="zz", at=(1,), epochs=1),
        Branch(name="aa", parent="zz", epochs=1),
        Branch(name="a", parent="aa", epochs=1),
    )
    train(TASK(), config, out=tmp_path)
    assert list(open_result(tmp_path).children) == ["pretrain", "zz", "aa", "a"]


@pytest.mark.slow
def test_functions_among_the_schedules_are_saved_by_name(tmp_path: Path) -> None:
    def half(step: int, steps: int) -> float:
        return 0.5

    config = branching(Branch(name="down", at=(2,), schedules=(half, "linear"), epochs=1))
    train(TASK(), config, out=tmp_path)
    names = open_result(tmp_path)["down"]["down_schedule"].values.tolist()
    assert names[0].startswith("function:half:")
    assert names[1:] == ["linear"]
    assert all(type(name) is str for name in names)
    kept = Trained.open(tmp_path, TASK())
    there = [
        kept.state(
            lr=np.float32(1e-2), seed=0, branch="down", point={"down_schedule": s, "down_at": np.array(2.0)}
        ).weights
        for s in (half, names[0], "linear")
    ]
    assert there[0].equal(there[1])
    assert not there[0].equal(there[2])


def test_a_table_has_the_last_value_of_every_point(tmp_path: Path) -> None:
    found = train(TASK(), branching(Branch(name="on", at=(1, 3), until=4)), out=tmp_path)
    path = export_result(found, "csv", tmp_path / "a.csv", tmp_path)
    rows = list(csv.DictReader(io.StringIO(Path(path).read_text())))
    losses = {(row["on_at"], row["lr"], row["seed"]): float(row["train_loss"]) for row in rows}
    assert len(losses) == 3 * 4
    for lr, seed in product(("0.01", "0.1"), "01"):
        assert losses["1.0", lr, seed] == losses["3.0", lr, seed] == losses["", lr, seed]


@pytest.mark.slow
def test_a_run_that_never_left_has_no_weights(tmp_path: Path) -> None:
    train(TASK(), branching(Branch(name="low", at_loss=(-1.0,), epochs=1)), out=tmp_path)
    with pytest.raises(LrscopeError, match=r"seed 1 never came to where low begins"):
        Trained.open(tmp_path, TASK()).state(lr=1e-2, seed=1, branch="low")


def test_states_are_counted_until_they_are_dropped(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    chain = [Branch(name=n, parent=p, at=(1,), epochs=2) for n, p in zip(names, ["pretrain", *names], strict=False)]
    config = branching(*chain)
    context = context_of(TASK(), config, tmp_path)
    trainer, most = context.trainer(ALL_RUNS, context.chunks(ALL_RUNS)[0]), 0

    def count(_: object) -> None:
        nonlocal most
        prefixes = {name[: name.rindex(":")] for name in trainer.tensors if name.startswith("kept:")}
        most = max(most, len(prefixes))

    trainer.run(count, lambda _: None, lambda: False)
    assert most == most_held(context.phases) == 2


@pytest.mark.parametrize(
    "name", ["seed", "lr", "data_seed", "group", "seconds", "random_point", "random_train_loss", "epoch", "step"]
)
def test_names_of_the_result_are_refused(name: str) -> None:
    with pytest.raises(LrscopeError, match=f"branches: '{name}' is a name of something else in the result"):
        Branch(name=name, epochs=1)


@pytest.mark.parametrize("name", ["train", "test", "fixed_train", "validation"])
def test_axes_with_the_names_of_variables_are_refused(name: str) -> None:
    with pytest.raises(LrscopeError, match=f"branches: {name}: its axis would be called {name}_loss, as a variable is"):
        Branch(name=name, at_loss=(0.5,), epochs=1)
    assert Branch(name=name, at=(1,), epochs=1).axes


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        ("a at=1,1.05 epochs=1", "a: at: 1 epochs are 4 steps of 4 an epoch, as another time is"),
        ("a at=0.05,1 epochs=1", "a: at: 0.05 epochs are 0 steps"),
        ("a at=5 epochs=1", "5 comes after the end of training at epoch 4"),
        ("a at=4 until=4", "until 4 is over when it begins, at epoch 4"),
        ("a epochs=1e8", "are more than 100,000,000"),
        ("a at=0:1 epochs=1", "at"),
        (
            f"a lrs=1e-5:1:3000 schedules={'|'.join(f'step:0.{i}@0.5' for i in range(1, 6))} epochs=1",
            "more than 10,000",
        ),
    ],
)
def test_branches_that_training_does_not_have_are_refused_before_it(branches: str, said: str) -> None:
    with pytest.raises(LrscopeError, match=said):
        phases(replace(BASE, branches=branches), 4)
