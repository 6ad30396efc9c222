"""Sweeps whose seeds begin elsewhere than at 0: a run is its seed's, whatever brought it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lrscope.cli import app
from lrscope.config import SweepConfig
from lrscope.config.branches import Branch
from lrscope.config.identity import differing
from lrscope.engine import assemble
from lrscope.engine.adaptive_chunks import cut_round
from lrscope.engine.plan import Plan, cut
from lrscope.engine.segments import phases
from lrscope.engine.sweep import dry_run, sweep
from lrscope.engine.sweep_folder import Store
from lrscope.errors import AnotherSweep, LrscopeError
from lrscope.export import export_result
from lrscope.mapping import regimes
from lrscope.mapping.search import Wanted
from lrscope.measures import sharpness
from lrscope.results import open_result
from lrscope.tasks.task import Task
from lrscope.trained import Trained
from tiny_tasks import (
    BASE,
    BATCHED,
    ONE_RUN,
    SHORT,
    Dropping,
    computed,
    grouped_task,
    mlp_task,
    noisy_task,
    pixel_task,
    same_bytes,
    stopped_and_resumed,
    task_of,
    train,
)

TWO_SEEDS = Plan("batched", 2 * len(BASE.lrs), False, "", 0.0)
TREE = replace(BASE, branches=(Branch(name="decay", at=(1,), factors=(0.1,), until=2),))
FROM_7 = replace(BASE, seeds=3, data_seeds=2, first_seed=7, first_data_seed=3)


def dropping() -> Task:
    return task_of(Dropping, (5,))


@pytest.mark.slow
@pytest.mark.parametrize("plan", [TWO_SEEDS, ONE_RUN], ids=["batched", "single"])
@pytest.mark.parametrize(
    ("task", "config"),
    [
        pytest.param(mlp_task, TREE, id="all phases"),
        pytest.param(grouped_task, SHORT, id="label noise and groups"),
        pytest.param(dropping, SHORT, id="dropout"),
        pytest.param(pixel_task, replace(SHORT, augment=True), id="augmentation"),
        pytest.param(mlp_task, replace(SHORT, same_init=False), id="own initialisations"),
        pytest.param(mlp_task, replace(SHORT, space="whole", scale_invariant=False), id="fresh random points"),
    ],
)
def test_a_run_is_its_seeds_whichever_first_seed_brought_it(
    task: Callable[[], Task], config: SweepConfig, plan: Plan, tmp_path: Path
) -> None:
    whole = computed(task(), replace(config, seeds=4), plan, tmp_path / "whole")
    later = computed(task(), replace(config, seeds=2, first_seed=2), plan, tmp_path / "later")
    assert later.coords["seed"].values.tolist() == [2, 3]
    assert same_bytes(whole.sel(seed=[2, 3]), later) == []
    assert any(name.endswith("train_loss") for name in same_bytes(whole.sel(seed=[0, 1]), later)), "seeds differ"


def test_so_it_is_with_draws_of_the_data(tmp_path: Path) -> None:
    whole = computed(noisy_task(), replace(SHORT, data_seeds=3), TWO_SEEDS, tmp_path / "whole")
    later = computed(noisy_task(), replace(SHORT, data_seeds=2, first_data_seed=1), TWO_SEEDS, tmp_path / "later")
    assert later.coords["data_seed"].values.tolist() == [1, 2]
    assert same_bytes(whole.sel(data_seed=[1, 2]), later) == []
    assert any(name.endswith("train_loss") for name in same_bytes(whole.isel(data_seed=[0, 1]), later))


@pytest.mark.slow
def test_a_stopped_sweep_goes_on(tmp_path: Path) -> None:
    whole = computed(mlp_task(), FROM_7, TWO_SEEDS, tmp_path / "whole")
    again = stopped_and_resumed(mlp_task, FROM_7, TWO_SEEDS, tmp_path / "stopped", 3)
    assert same_bytes(whole, again) == []


@pytest.mark.slow
def test_a_result_in_many_parts_has_the_seeds_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(mlp_task(), FROM_7, out=tmp_path / "whole")
    monkeypatch.setattr(assemble, "SLAB_BYTES", 1)
    parts = train(mlp_task(), FROM_7, out=tmp_path / "parts")
    assert same_bytes(whole, parts) == []
    assert parts.coords["seed"].values.tolist() == [7, 8, 9]
    assert parts.coords["data_seed"].values.tolist() == [3, 4]
    assert regimes(parts).seeds == 6


def test_a_round_of_an_adaptive_sweep_counts_seeds_by_their_place() -> None:
    config = SweepConfig(lrs=tuple(np.geomspace(1e-3, 1, 8)), seeds=2, data_seeds=2, steps=48, adaptive=True)
    wanted = Wanted(pretrain=frozenset({(0, 0), (1, 1), (2, 3)}), tune=frozenset())
    plan = Plan("batched", 3, False, "", 0.0)
    usual, later = (
        cut_round(1, wanted, c, phases(c, 6), plan) for c in (config, replace(config, first_seed=40, first_data_seed=5))
    )
    shifted = [replace(c, data_seed=c.data_seed + 5, runs=tuple((s + 40, lr) for s, lr in c.runs)) for c in usual]
    assert list(later) == shifted


def test_chunks_are_cut_alike() -> None:
    later = replace(BASE, seeds=3, data_seeds=2, first_seed=40, first_data_seed=5)
    for size in (1, 2, 4, 64):
        usual = cut(replace(later, first_seed=0, first_data_seed=0), size)
        shifted = [replace(c, data_seed=c.data_seed + 5, runs=tuple((s + 40, lr) for s, lr in c.runs)) for c in usual]
        assert list(cut(later, size)) == shifted


@pytest.mark.slow
def test_stored_weights_are_known_by_their_seeds(tmp_path: Path) -> None:
    config = replace(SHORT, first_seed=7, first_data_seed=3)
    train(mlp_task(), config, out=tmp_path)
    trained = Trained.open(tmp_path, mlp_task())
    state = trained.state(lr=1e-2, seed=7)
    assert torch.equal(state.weights, trained.state(lr=1e-2, seed=7, data_seed=3).weights), (
        "the first draw, if none is named"
    )
    assert trained.material().data_seed == 3
    assert np.isfinite(sharpness.of(trained, state, measures=("grad_norm",))["grad_norm"])
    with pytest.raises(
        LrscopeError, match=r"seed 0 was trained \(the sweep has data seeds from 3 to 3, seeds from 7 to 8\)"
    ):
        trained.state(lr=1e-2, seed=0)
    with pytest.raises(LrscopeError, match="data_seed: 0 was not trained: the sweep has those from 3 to 3"):
        trained.material(0)


@pytest.mark.slow
def test_zero_is_no_other_sweep_and_seven_is(tmp_path: Path) -> None:
    assert differing(replace(SHORT, first_seed=0, first_data_seed=0)) == differing(SHORT)
    first = train(mlp_task(), SHORT, out=tmp_path)
    assert same_bytes(train(mlp_task(), replace(SHORT, first_seed=0), out=tmp_path), first) == []
    with pytest.raises(AnotherSweep, match=r"it differs in first_seed\)"):
        train(mlp_task(), replace(SHORT, first_seed=7), out=tmp_path)


@pytest.mark.slow
def test_only_what_differs_is_named_in_a_folder_of_an_earlier_version(tmp_path: Path) -> None:
    """It knows nothing of later options, which are as they were."""
    train(mlp_task(), SHORT, out=tmp_path)
    store = Store(tmp_path)
    there = store.experiment()
    assert there is not None
    for later in ("first_seed", "first_data_seed", "muon_momentum", "rmsprop_alpha"):
        del there["config"][later]
    store.write_experiment(there)
    with pytest.raises(AnotherSweep, match=r"it differs in seeds\)"):
        train(mlp_task(), replace(SHORT, seeds=3), out=tmp_path)


@pytest.mark.parametrize("value", [-1, 1.5, "two", None, 2_000_000_000])
@pytest.mark.parametrize("name", ["first_seed", "first_data_seed"])
def test_what_is_no_seed_is_refused(name: str, value: Any) -> None:
    with pytest.raises(LrscopeError, match=rf"^{name}: .*: use "):
        replace(SHORT, **{name: value})


def test_the_name_that_others_use_is_answered() -> None:
    with pytest.raises(LrscopeError, match=r"seed_offset.*first_seed"):
        sweep(mlp_task(), "1e-3:1:6", steps=3, seed_offset=7)  # type: ignore[call-arg]


@pytest.mark.slow
def test_the_command_line_and_config_files_say_it_too(tmp_path: Path) -> None:
    settings = tmp_path / "seeds.toml"
    settings.write_text("first_data_seed = 5\n")
    words = [
        str(settings),
        "--data",
        "digits",
        "--model",
        "mlp",
        "--width",
        "4",
        "--train-size",
        "64",
        "--test-size",
        "32",
    ]
    words += [
        "--lrs",
        "1e-3:1:6",
        "--seeds",
        "2",
        "--steps",
        "12",
        "--batch-size",
        "16",
        "--device",
        "cpu",
        "--jobs",
        "1",
    ]
    words += ["--path", "batched", "--chunk", "12", "--no-compile", "--random-points", "2"]
    words += ["--first-seed", "1000"]
    done = CliRunner().invoke(app, ["map", *words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    result = open_result(tmp_path / "out")
    assert result.coords["seed"].values.tolist() == [1000, 1001]
    assert result.coords["data_seed"].values.tolist() == [5]
    assert "--first-seed 1000" in result.attrs["command"]
    again = CliRunner().invoke(app, ["map", *words, "--out", str(tmp_path / "out"), "--dry-run"])
    assert again.exit_code == 0, again.output


def test_a_dry_run_knows_where_seeds_begin() -> None:
    usual, later = (dry_run(mlp_task(), config=c, engine=BATCHED) for c in (replace(FROM_7, first_seed=0), FROM_7))
    assert [usual[key] for key in ("runs", "run_steps", "chunks")] == [
        later[key] for key in ("runs", "run_steps", "chunks")
    ]


@pytest.mark.slow
def test_tables_have_the_seeds(tmp_path: Path) -> None:
    train(mlp_task(), FROM_7, out=tmp_path / "out")
    export_result(open_result(tmp_path / "out"), "csv", tmp_path / "table.csv", tmp_path)
    with (tmp_path / "table.csv").open() as file:
        found = {(int(row["data_seed"]), int(row["seed"])) for row in csv.DictReader(file)}
    assert found == {(d, s) for d in (3, 4) for s in (7, 8, 9)}
