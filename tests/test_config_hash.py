"""A sweep is known by what it asks for beyond the defaults; folders of earlier versions, which stated them, are known too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import pytest

from lrscope.config import SweepConfig
from lrscope.config.identity import ALWAYS_STATED, differing, hash_of, hashes
from lrscope.engine import identity
from lrscope.engine.chunk import ChunkTrainer
from lrscope.errors import LrscopeError
from lrscope.readers import Whole
from lrscope.results import RESULTS_FOLDER, open_result
from lrscope.trained import Trained
from tiny_tasks import BASE, BATCHED, mlp_task, same_bytes, train

CONFIG = replace(BASE, steps=6)
IN_CHUNKS = replace(BATCHED, chunk=2)
PLAIN: dict[str, Any] = {"lrs": (1e-3, 1e-2), "steps": 10}
# The defaults that every hash means. One that changed would give an old sweep's name to another sweep.
DEFAULTS: dict[str, Any] = {
    "seeds": 3,
    "data_seeds": 1,
    "space": "sphere",
    "scale_invariant": None,
    "radius": None,
    "epochs": None,
    "steps": None,
    "batch_size": 128,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "finetune_lrs": (),
    "finetune_epochs": None,
    "finetune_steps": None,
    "average": (),
    "average_every": None,
    "same_init": True,
    "augment": False,
    "precision": "float32",
    "log_points": 200,
    "adaptive": False,
    "random_points": 16,
    "log_epochs": (),
    "finetune_log_epochs": (),
    "snapshot_epochs": (),
    "keep_weights": False,
    "randaugment": None,
    "optimizer": "sgd",
    "first_seed": 0,
    "first_data_seed": 0,
}


@dataclass(frozen=True, kw_only=True)
class Later(SweepConfig):
    """A sweep of a later version."""

    warm_up: Annotated[int, Whole(0, 1_000)] = 5
    """Steps of a warm-up."""


def test_a_hash_is_over_what_differs_from_the_defaults() -> None:
    assert differing(SweepConfig(**PLAIN)) == PLAIN
    assert differing(SweepConfig(**PLAIN, seeds=3, momentum=0, average=[])) == PLAIN
    assert differing(SweepConfig(**PLAIN, seeds=4)) == {**PLAIN, "seeds": 4}
    plain, other = hashes("x", SweepConfig(**PLAIN)), hashes("x", SweepConfig(**PLAIN, seeds=4))
    assert len({*plain, *other, *hashes("y", SweepConfig(**PLAIN))}) == 6
    tuned = {**PLAIN, "finetune_lrs": (1e-3,), "finetune_epochs": 2.0}
    assert differing(SweepConfig(**tuned, finetune_log_epochs=())) == tuned
    assert differing(SweepConfig(**tuned, finetune_log_epochs=(0.5,))) == {**tuned, "finetune_log_epochs": (0.5,)}


def test_a_field_that_is_added_changes_no_hash() -> None:
    assert hashes("x", Later(**PLAIN)) == hashes("x", SweepConfig(**PLAIN))
    assert len({*hashes("x", Later(**PLAIN, warm_up=6)), *hashes("x", SweepConfig(**PLAIN))}) == 4


def test_defaults_that_hashes_mean_stay() -> None:
    now = {f.name: f.default for f in fields(SweepConfig) if f.default is not MISSING}
    changed = {name: now.get(name) for name, value in DEFAULTS.items() if now.get(name) != value}
    assert changed == {}, "a default is part of what every hash means: add another field or another word instead"


@pytest.mark.parametrize(
    ("options", "stated"),  # by version 0.1.0 before the rule, of the task "fingerprint"
    [
        ({}, "c1149c7006e50648"),
        (
            {
                "space": "whole",
                "optimizer": "adam",
                "weight_decay": 0.1,
                "finetune_lrs": [1e-3],
                "finetune_epochs": 2,
                "keep_weights": True,
                "log_epochs": [0.5],
                "randaugment": "2,14",
            },
            "853be6f092df3e79",
        ),
    ],
)
def test_hashes_of_earlier_versions_are_known(options: dict[str, Any], stated: str) -> None:
    config = SweepConfig(**PLAIN, **options)
    ours, earlier = hashes("fingerprint", config)
    assert earlier == stated != ours
    assert hash_of("fingerprint", config) == hash_of("fingerprint", config, [None, "another"]) == ours
    assert hash_of("fingerprint", config, ["another", stated]) == stated
    assert set(fields_before()) == ALWAYS_STATED


def fields_before() -> list[str]:
    later = {
        "log_epochs",
        "finetune_log_epochs",
        "snapshot_epochs",
        "keep_weights",
        "optimizer",
        "randaugment",
        "first_seed",
        "first_data_seed",
    }
    return ["lrs", *(name for name in DEFAULTS if name not in later)]


# -- folders of earlier versions -------------------------------------------------------------------------------------


@contextmanager
def by_the_earlier_rule() -> Iterator[None]:
    """Sweeps are known as earlier versions knew them."""
    with patch.object(identity, "hash_of", lambda fingerprint, config, stated=(): hashes(fingerprint, config)[1]):
        yield


@contextmanager
def nothing_trained(*phases: str) -> Iterator[None]:
    """Refuses training steps, those of these phases excepted."""
    whole = ChunkTrainer._train_steps

    def checked(self: ChunkTrainer, phase: Any, *rest: Any) -> None:
        assert phase.kind in phases, f"{phase.kind} is trained again"
        whole(self, phase, *rest)

    with patch.object(ChunkTrainer, "_train_steps", checked):
        yield


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier") / "out"
    with by_the_earlier_rule():
        train(mlp_task(), CONFIG, IN_CHUNKS, folder)
    fingerprint = mlp_task().fingerprint(range(1))
    assert json.loads((folder / "experiment.json").read_text())["hash"] == hashes(fingerprint, CONFIG)[1]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["", "experiment.json", "experiment.json and chunks", "experiment.json and result"])
@pytest.mark.filterwarnings("ignore:.*damaged.*")
def test_a_finished_sweep_is_opened_and_its_units_are_accepted(damage: str, earlier: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(earlier, folder)
    if "experiment" in damage:
        (folder / "experiment.json").write_text("{")
    if "chunks" in damage:
        shutil.rmtree(folder / "chunks")
    if "result" in damage:
        shutil.rmtree(folder / RESULTS_FOLDER)
    with nothing_trained():
        result = train(mlp_task(), CONFIG, IN_CHUNKS, folder)
    assert same_bytes(result, open_result(earlier)) == []
    assert result.attrs["config_hash"] == open_result(earlier).attrs["config_hash"]
    assert not [path.name for path in folder.rglob("*") if "foreign" in path.name]


@pytest.mark.slow
def test_an_unfinished_sweep_goes_on_as_it_was_begun(earlier: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(earlier, folder)
    shutil.rmtree(folder / RESULTS_FOLDER)
    first, *rest = sorted((folder / "chunks").glob("0*"))
    first.unlink()
    kept = {path: path.read_bytes() for path in rest}
    result = train(mlp_task(), CONFIG, IN_CHUNKS, folder)
    assert same_bytes(result, open_result(earlier)) == []
    assert {path: path.read_bytes() for path in rest} == kept
    assert result.attrs["config_hash"] == open_result(earlier).attrs["config_hash"]
    assert Trained.open(folder, mlp_task()).config == CONFIG


@pytest.mark.slow
def test_its_fine_tunes_are_extended(earlier: Path, tmp_path: Path) -> None:
    folder, longer = tmp_path / "out", replace(CONFIG, finetune_steps=14)
    shutil.copytree(earlier, folder)
    with nothing_trained("finetune"):
        extended = train(mlp_task(), longer, replace(IN_CHUNKS, extend_finetunes=True), folder)
    assert same_bytes(extended, train(mlp_task(), longer, IN_CHUNKS, tmp_path / "whole")) == []
    assert extended.attrs["config_hash"] == hashes(mlp_task().fingerprint(range(1)), longer)[0]


def test_another_sweep_in_its_folder_is_refused(earlier: Path) -> None:
    with pytest.raises(LrscopeError, match=r"holds another sweep \(it differs in seeds"):
        train(mlp_task(), replace(CONFIG, seeds=CONFIG.seeds + 1), IN_CHUNKS, earlier)
    with pytest.raises(LrscopeError, match="holds the result of another task"):
        Trained.open(earlier, mlp_task("layer"))
    with pytest.raises(LrscopeError, match="holds another sweep"):
        train(mlp_task("layer"), CONFIG, IN_CHUNKS, earlier)
