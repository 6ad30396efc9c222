"""Somebody else's result or unfinished folder: the right numbers or one sentence; no traceback, no hang, no flood of memory,
and finished chunks survive.

`LRSCOPE_FUZZ=20` draws twenty times as many examples.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numcodecs.zstd import Zstd

from lrscope.engine.adaptive_rounds import restore_parts
from lrscope.engine.chunk import Stopped
from lrscope.engine.context import Context
from lrscope.engine.identity import identity_of
from lrscope.engine.plan import Plan
from lrscope.engine.sweep_folder import CHECKPOINT, DONE, Store
from lrscope.errors import LrscopeError
from lrscope.export import export_result
from lrscope.grids import log_grid
from lrscope.mapping import regimes
from lrscope.reporting import report
from lrscope.results import open_result, save_result
from lrscope.storage.checksums import seal
from lrscope.storage.plain_zarr import unpacked_size
from lrscope.storage.records import SUM, json_checksum
from lrscope.validation import validate
from tampering import files, peak_bytes, spoil, within
from tiny_tasks import BATCHED, SHORT, mlp_task, same_bytes, train
from trees import changed

MORE = int(os.environ.get("LRSCOPE_FUZZ", "1"))
CONFIG = replace(SHORT, lrs=(1e-3, 1e-2, 0.1), seeds=1, steps=6)
ENGINE = replace(BATCHED, chunk=1)
ROOM = 400 << 20  # bytes that nothing here may need beyond what it began with
TASK = mlp_task()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, xr.DataTree]:
    folder = tmp_path_factory.mktemp("finished")
    return folder, train(TASK, CONFIG, ENGINE, folder)


@pytest.fixture(scope="module")
def unfinished(finished: tuple[Path, xr.DataTree], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of three chunks are done, and the last one has a checkpoint."""
    folder = tmp_path_factory.mktemp("unfinished") / "copy"
    shutil.copytree(finished[0], folder)
    shutil.rmtree(folder / "results.zarr")
    (folder / "chunks" / ("00002" + DONE)).unlink()
    context = Context.build(TASK, CONFIG, ENGINE, Store(folder))
    context.identity = identity_of(TASK, CONFIG)["hash"]
    plan = Plan.from_dict(Store(folder).plan())
    with pytest.raises(Stopped):
        context.run_unit(plan, "00002", lambda _: None, iter([False] * 4 + [True]).__next__)
    assert (folder / "chunks" / ("00002" + CHECKPOINT)).exists()
    return folder


@contextlib.contextmanager
def copied(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        yield Path(shutil.copytree(folder, Path(place) / "copy"))


def one_sentence(error: LrscopeError) -> None:
    words = str(error)
    assert len(words.splitlines()) == 1, words
    assert len(words) < 1000


def used(folder: Path, *, draw: bool) -> xr.DataTree | None:
    """What a user does with a result; None if it is refused in a sentence."""
    try:
        with within(60):
            result = open_result(folder)
            found = regimes(result)
            str(found)
            export_result(result, "csv", folder.parent / "a.csv", folder.parent)
            if draw:
                report(result, folder.parent / "a.html", regime_map=found)
            return result
    except LrscopeError as error:
        one_sentence(error)
        return None


FUZZ = settings(
    max_examples=40 * MORE,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes, and what was done is said anyway
)


@pytest.mark.slow
@FUZZ
@given(data=st.data())
def test_a_tampered_result_is_opened_right_or_refused_in_a_sentence(
    finished: tuple[Path, xr.DataTree], data: st.DataObject
) -> None:
    before = peak_bytes()
    with copied(finished[0]) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shutil.rmtree(folder / "chunks")
        done = [spoil(folder, data) for _ in range(data.draw(st.integers(1, 2)))]
        result = used(folder, draw=data.draw(st.sampled_from([False, False, False, True])))
        if result is not None and not any("spoil_json results.zarr" in words for words in done):
            assert same_bytes(result, finished[1]) == [], done
    assert peak_bytes() - before < ROOM, done


@pytest.mark.slow
@settings(FUZZ, max_examples=25 * MORE)
@given(data=st.data())
def test_a_tampered_unfinished_folder_is_continued_right_or_refused_in_a_sentence(
    finished: tuple[Path, xr.DataTree], unfinished: Path, data: st.DataObject
) -> None:
    before = peak_bytes()
    with copied(unfinished) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        good = {p.name: p.read_bytes() for p in files(folder / "chunks")}
        done = spoil(folder, data)
        spoilt = {p.name: p.read_bytes() for p in files(folder / "chunks")}
        try:
            with within(60):
                result = train(TASK, CONFIG, ENGINE, folder)
        except LrscopeError as error:
            one_sentence(error)
        else:
            # These two write a fitting checksum as well: a number that was changed with it looks like one that was trained.
            self_consistent = "spoil_tensors" in done or "spoil_json" in done
            assert self_consistent or same_bytes(result, finished[1]) == [], done
        if folder.joinpath("chunks").is_dir():
            kept = {p.read_bytes() for p in files(folder / "chunks")}
            whole = {n: content for n, content in spoilt.items() if n.endswith(DONE) and content == good.get(n)}
            assert [n for n, content in whole.items() if content not in kept] == [], done
    assert peak_bytes() - before < ROOM, done


# -- bombs ---------------------------------------------------------------------------------------------------------


def remade(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change an array's metadata and seal the result again, as a stranger could."""
    path = folder / "results.zarr" / name / "zarr.json"
    meta = json.loads(path.read_bytes())
    change(meta)
    path.write_text(json.dumps(meta))
    seal(folder / "results.zarr")


def larger(meta: dict[str, Any], dim: str, size: int) -> None:
    """An array claims another size along a dimension, all of it one chunk."""
    if dim in (meta.get("dimension_names") or ()):
        at = meta["dimension_names"].index(dim)
        meta["shape"][at] = meta["chunk_grid"]["configuration"]["chunk_shape"][at] = size


@pytest.fixture
def folder(finished: tuple[Path, xr.DataTree], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path / "copy"))


def stored(folder: Path) -> list[str]:
    """Paths of all arrays of all nodes."""
    zarr = folder / "results.zarr"
    metas = [p for p in sorted(zarr.rglob("*/zarr.json")) if json.loads(p.read_bytes())["node_type"] == "array"]
    return [p.parent.relative_to(zarr).as_posix() for p in metas]


def refused(folder: Path, words: str) -> None:
    before = peak_bytes()
    with within(60), pytest.raises(LrscopeError, match=words) as caught:
        open_result(folder)
    one_sentence(caught.value)
    assert peak_bytes() - before < ROOM


@pytest.mark.slow
def test_ten_million_claimed_seeds_are_refused_before_anything_is_allocated(folder: Path) -> None:
    seeds = np.arange(10**7)
    for name in stored(folder):
        remade(folder, name, lambda meta: larger(meta, "seed", len(seeds)))
        meta = json.loads((folder / "results.zarr" / name / "zarr.json").read_bytes())
        for chunk in (folder / "results.zarr" / name / "c").rglob("*"):
            if chunk.is_file() and "seed" in meta["dimension_names"]:
                chunk.unlink()
    (folder / "results.zarr" / "seed" / "c").mkdir(exist_ok=True)
    (folder / "results.zarr" / "seed" / "c" / "0").write_bytes(Zstd().encode(seeds))
    seal(folder / "results.zarr")
    refused(folder, r"claims .* GB of numbers in .* MB of files")


def test_a_file_that_unpacks_to_more_than_its_place_is_refused(folder: Path) -> None:
    chunk = next(p for p in (folder / "results.zarr" / "pretrain" / "test_loss" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(Zstd().encode(np.zeros(10**8)))
    seal(folder / "results.zarr")
    refused(folder, r"holds 'pretrain/test_loss', which is no array of lrscope")


def test_texts_that_claim_to_be_many_are_refused(folder: Path) -> None:
    result = open_result(folder)
    names = np.array(["a" * (k % 5) for k in range(result.sizes["group"])], dtype=object)
    shutil.rmtree(folder / "results.zarr")
    save_result(changed(result, {"group": ("group", names)}), folder)
    meta = json.loads((folder / "results.zarr" / "group" / "zarr.json").read_bytes())
    assert meta["data_type"] == "string", "else the case says nothing"
    chunk = folder / "results.zarr" / "group" / "c" / "0"
    raw = bytearray(Zstd().decode(chunk.read_bytes()))
    raw[:4] = (1 << 31).to_bytes(4, "little")
    chunk.write_bytes(Zstd().encode(bytes(raw)))
    seal(folder / "results.zarr")
    refused(folder, r"holds 'group', which is no array of lrscope")


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 70_000, 3_000_000])
def test_the_size_in_a_frame_is_read_as_zstandard_wrote_it(size: int) -> None:
    for content in (bytes(size), np.random.default_rng(0).bytes(size)):
        assert unpacked_size(Zstd().encode(content)) == size


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("pretrain/test_loss", {"shape": [10**9] * 5}, "no array of lrscope"),
        ("pretrain/test_loss", {"shape": "large"}, "no array of lrscope"),
        ("pretrain/test_loss", {"shape": [10**400] * 4}, "no array of lrscope"),
        ("pretrain/test_loss", {"data_type": "complex128"}, "no array of lrscope"),
        ("pretrain/test_loss", {"node_type": "group"}, "no array of lrscope"),
        ("pretrain", {"node_type": "array"}, "no array of lrscope"),
        ("group", {"data_type": {"name": "fixed_length_utf32", "configuration": {"length_bytes": 10**12}}}, "no array"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(name: str, change: dict[str, Any], words: str, folder: Path) -> None:
    remade(folder, name, lambda meta: meta.update(change))
    refused(folder, words)


@pytest.mark.parametrize("codecs", [["sharding_indexed"], ["bytes", "gzip"], ["bytes", "blosc"], ["pickle"]])
def test_codecs_whose_sizes_are_not_told_are_refused(codecs: list[str], folder: Path) -> None:
    remade(
        folder,
        "pretrain/test_loss",
        lambda meta: meta.update(codecs=[{"name": c, "configuration": {}} for c in codecs]),
    )
    refused(folder, "asks for the codec")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["", "random_train_loss", "pretrain", "pretrain/test_loss"])
def test_deep_metadata_is_refused(place: str, folder: Path) -> None:
    (folder / "results.zarr" / place / "zarr.json").write_text('{"a":' * 50_000 + "1" + "}" * 50_000)
    refused(folder, "is damaged")


@pytest.mark.slow
@pytest.mark.parametrize(
    "depth", [1300, 3000]
)  # beyond what functions may call each other; beyond what a path may have
def test_folders_in_folders_are_refused(depth: int, folder: Path) -> None:
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder / "results.zarr")
        for _ in range(depth):
            os.mkdir("a")
            os.chdir("a")
        os.fchdir(before)
        refused(folder, "is damaged|cannot read")
    finally:
        os.fchdir(before)
        os.close(before)
        subprocess.run(["rm", "-rf", str(folder)], check=True)  # pytest cannot


# -- values ----------------------------------------------------------------------------------------------------------


def deep() -> str:
    return json.dumps({"kind": "classification", "a": json.loads("[" * 60 + "]" * 60)})


ATTRIBUTES: list[tuple[str, Any, str]] = [
    ("schema_version", "1", "schema_version"),
    ("schema_version", 0, "schema_version"),
    ("schema_version", 3.0, "newer than"),
    ("schema_version", float("inf"), "newer than"),
    ("schema_version", float("nan"), "not a number of a version"),
    ("schema_version", 10**400, "newer than"),
    ("seconds", 10**400, "no duration"),
    ("title", 5, "'title' is no text"),
    ("title", "x" * (2 << 20), "'title' is no text of at most"),
    ("space", "cube", "neither 'sphere' nor 'whole'"),
    ("scale_invariant", 2, "not 0 or 1"),
    ("scale_invariant", "yes", "not 0 or 1"),
    ("seconds", float("nan"), "no duration"),
    ("seconds", -1.0, "no duration"),
    ("seconds", "long", "no duration"),
    ("task", "{", "'task' is no JSON"),
    ("task", "[]", "no JSON object"),
    ("task", "[" * 100_000, "'task' is no JSON"),
    ("task", deep(), "at most 32 levels"),
    ("task", json.dumps({"kind": "magic"}), "names the kind 'magic'"),
    ("task", json.dumps({"kind": "classification", "constant_loss": "low"}), "constant loss"),
    ("plan", json.dumps({"trained_share": 7}), "trained share"),
    ("plan", json.dumps({"trained_share": 10**400}), "trained share"),
    ("config", 3, "not a text with JSON"),
]


@pytest.mark.parametrize(("name", "value", "words"), ATTRIBUTES)
def test_attributes_of_wrong_types_and_values_are_refused(
    name: str, value: Any, words: str, finished: tuple[Path, xr.DataTree]
) -> None:
    with pytest.raises(LrscopeError, match=words) as caught:
        validate(changed(finished[1], **{name: value}))
    one_sentence(caught.value)


def one(result: xr.DataTree, name: str, value: Any) -> xr.DataTree:
    """The result with one value of a variable or coordinate changed."""
    values = result[name].values.copy()
    if np.asarray(value).dtype.kind not in "iub":
        values = values.astype(np.asarray(value).dtype if isinstance(value, (str, complex)) else float)
    values.flat[-1] = value
    return changed(result, {name: (result[name].dims, values)})


BROKEN_VALUES: list[tuple[str, Any, str]] = [
    ("lr", np.nan, "not finite"),
    ("lr", np.inf, "not finite"),
    ("lr", -1.0, "too small"),
    ("lr", 1e-9, "not increasing"),
    ("pretrain/epoch", np.nan, "not finite"),
    ("pretrain/epoch", -3.0, "too small"),
    ("seed", -1, "too small"),
    ("seed", 0.5, "fractions"),
    ("pretrain/step", np.nan, "not finite"),
    ("random_point", 0, "holds a number twice"),
    ("pretrain/status", 9, "unknown status 9"),
    ("pretrain/status", -1, "unknown status -1"),
    ("pretrain/status", np.nan, "unknown status nan"),
    ("pretrain/nonfinite_step", -7, "below -1"),
    ("pretrain/test_accuracy", 1.5, "outside 0 to 1"),
    ("pretrain/train_accuracy", -0.5, "outside 0 to 1"),
    ("pretrain/test_loss", 1j, "instead of numbers"),
    ("lr", "a", "instead of numbers"),
]


@pytest.mark.parametrize(("name", "value", "words"), BROKEN_VALUES)
def test_values_that_cannot_be_are_refused(
    name: str, value: Any, words: str, finished: tuple[Path, xr.DataTree]
) -> None:
    with pytest.raises(LrscopeError, match=words) as caught:
        validate(one(finished[1], name, value))
    one_sentence(caught.value)


@pytest.mark.parametrize("dim", ["lr", "seed", "data_seed", "epoch", "group", "random_point"])
def test_empty_axes_are_refused(dim: str, finished: tuple[Path, xr.DataTree]) -> None:
    with pytest.raises(LrscopeError, match=f"dimension '(pretrain/|){dim}' is empty"):
        validate(finished[1].isel({dim: slice(0, 0)}))


def test_escape_codes_reach_neither_terminal_nor_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrscope.cli import main

    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe"
    path = folder / "results.zarr" / "zarr.json"
    meta = json.loads(path.read_bytes())
    task = json.loads(meta["attributes"]["task"])
    meta["attributes"].update(title=evil, command=evil, machine=evil, task=json.dumps({**task, "name": evil, evil: 1}))
    path.write_text(json.dumps(meta))
    seal(folder / "results.zarr")
    for words in (["show", str(folder)], ["report", str(folder), "--out", str(tmp_path / "a.html")]):
        monkeypatch.setattr(sys, "argv", ["lrscope", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code in (0, None)
    said = capsys.readouterr()
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not set(said.out + said.err) & set("\x1b\x07\x9b\u202e")
    assert "owned" in said.out
    for part in (
        "\x1b]0;owned",
        "\x1b[2J",
        "\x9b31m",
        "\u202egnp",
        "\\u001b]",
        "\\u202egnp",
    ):  # Plotly's own code has such codes
        assert part not in page
    assert "owned" in page


# -- what a stranger says of a sweep -----------------------------------------------------------------------------------


def said(folder: Path, name: str, change: dict[str, Any]) -> None:
    """Change a JSON file of the sweep, and its checksum with it."""
    meta = {key: value for key, value in json.loads((folder / name).read_bytes()).items() if key != SUM} | change
    (folder / name).write_text(json.dumps({**meta, SUM: json_checksum(meta)}))


CUT = {"unit": "00002", "into": ["a", "b"], "runs": 1, "phase": 0, "step": 0, "reason": "a single run, cut in two"}
PLANS: list[dict[str, Any]] = [{"points": "x"}, {"points": -1}, {"run_step_seconds": 10**400}, {"replans": [CUT]}]


@pytest.mark.parametrize("change", PLANS, ids=lambda change: next(iter(change)))
def test_a_plan_that_cannot_be_followed_is_refused(change: dict[str, Any], unfinished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(unfinished, tmp_path / "copy"))
    said(folder, "plan.json", change)
    with pytest.raises(LrscopeError, match="no plan of lrscope") as caught:
        train(TASK, CONFIG, ENGINE, folder)
    one_sentence(caught.value)


EXPERIMENTS: list[dict[str, Any]] = [{"hash": 5}, {"config": [1]}, {"task_summary": 5}, {"created": 5}, {"command": 5}]
EXPERIMENTS += [{"extends": [1]}, {"extends": {"hashes": 5}}]


@pytest.mark.parametrize("change", EXPERIMENTS, ids=str)
def test_an_experiment_of_wrong_types_counts_as_damaged(
    change: dict[str, Any], unfinished: Path, finished: tuple[Path, xr.DataTree], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(unfinished, tmp_path / "copy"))
    said(folder, "experiment.json", change)
    foreign = (folder / "experiment.json").read_bytes()
    with pytest.warns(UserWarning, match="experiment.json is damaged"):
        assert same_bytes(train(TASK, CONFIG, ENGINE, folder), finished[1]) == []
    assert (folder / "experiment.json.damaged-1").read_bytes() == foreign
    said(folder, "experiment.json", change)
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(LrscopeError, match="holds another sweep"):
        train(TASK, replace(CONFIG, steps=7), ENGINE, folder)


@pytest.mark.parametrize("rounds", [5, [5], [{"pretrain": [[0, 99]], "tune": []}], [{"tune": []}]], ids=str)
def test_rounds_that_no_sweep_decides_are_refused(rounds: Any, tmp_path: Path) -> None:
    context = Context.build(
        TASK, replace(CONFIG, lrs=log_grid(1e-3, 1, 8), steps=60, adaptive=True), ENGINE, Store(tmp_path)
    )
    context.store.write_json("rounds.json", {"rounds": rounds})
    with pytest.raises(LrscopeError, match="names no rounds of this sweep") as caught:
        restore_parts(context, Plan("batched", 8, False, "", 0.0))
    one_sentence(caught.value)


# -- units of a stranger ---------------------------------------------------------------------------------------------

FOREIGN: dict[str, Callable[[dict[str, torch.Tensor], dict[str, Any]], object]] = {
    "another identity": lambda tensors, meta: meta.update(identity="0" * 64),
    "another plan": lambda tensors, meta: meta["plan"].update(chunk=7),
    "other runs": lambda tensors, meta: meta.update(runs=[[0, 5.0]]),
    "no time": lambda tensors, meta: meta.update(seconds="long"),
    "no meta": lambda tensors, meta: meta.clear(),
    "another type": lambda tensors, meta: tensors.update(pretrain_weights=tensors["pretrain_weights"].double()),
    "whole numbers": lambda tensors, meta: tensors.update(
        {"pretrain.0.train_loss": tensors["pretrain.0.train_loss"].nan_to_num().long()}
    ),
    "another shape": lambda tensors, meta: tensors.update(
        {"pretrain.0.train_loss": tensors["pretrain.0.train_loss"][:-1]}
    ),
    "a tensor less": lambda tensors, meta: tensors.pop("pretrain.0.fixed_train_loss"),
    "steps that are none": lambda tensors, meta: tensors.update({"pretrain.0.finite_steps": -torch.ones(1).double()}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_chunk_that_is_not_of_this_sweep_is_kept_aside_and_computed_again(
    kind: str, unfinished: Path, finished: tuple[Path, xr.DataTree], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(unfinished, tmp_path / "copy"))
    store, name = Store(folder), "00001" + DONE
    saved = store.load(name)
    assert saved is not None
    tensors, meta = saved
    FOREIGN[kind](tensors, meta)
    store.save(name, tensors, meta)
    foreign = (store.chunks / name).read_bytes()
    with pytest.warns(UserWarning, match=rf"{name} is not of this sweep .* kept as {name}\.foreign-1"):
        result = train(TASK, CONFIG, ENGINE, folder)
    assert same_bytes(result, finished[1]) == []
    assert (store.chunks / f"{name}.foreign-1").read_bytes() == foreign


CURSORS: list[Any] = [None, [], {}, {"phase": 9, "step": 0, "window": 0}, {"phase": 0, "step": -1, "window": 0}]
CURSORS += [{"phase": 0, "step": 99, "window": 0}, {"phase": 0, "step": 1.5, "window": 0}]


@pytest.mark.parametrize("cursor", CURSORS, ids=str)
def test_a_checkpoint_at_no_place_is_kept_aside(
    cursor: Any, unfinished: Path, finished: tuple[Path, xr.DataTree], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(unfinished, tmp_path / "copy"))
    store, name = Store(folder), "00002" + CHECKPOINT
    saved = store.load(name)
    assert saved is not None
    store.save(name, saved[0], {**saved[1], "cursor": cursor})
    with pytest.warns(UserWarning, match=rf"{name} is not of this sweep"):
        result = train(TASK, CONFIG, ENGINE, folder)
    assert same_bytes(result, finished[1]) == []


def test_a_good_checkpoint_is_gone_on_from(
    unfinished: Path, finished: tuple[Path, xr.DataTree], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(unfinished, tmp_path / "copy"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same_bytes(train(TASK, CONFIG, ENGINE, folder), finished[1]) == []
    assert sorted(p.name for p in (folder / "chunks").iterdir()) == [
        *(f"0000{k}{DONE}" for k in range(3)),
        f"random-00000{DONE}",
    ]
