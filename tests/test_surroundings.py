"""A sweep among stray files, odd names, odd kinds of files and odd callers: it trains, or says in a sentence why not."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lrscope.engine import sweep_folder as store_module
from lrscope.engine.choose import default_jobs
from lrscope.engine.sweep_folder import DONE, FILES, FOLDERS
from lrscope.errors import LrscopeError
from lrscope.results import open_result
from lrscope.storage.paths import is_of_this_process, is_stray, place
from tiny_tasks import BATCHED, SHORT, context_of, mlp_task, same_bytes, train

CHUNKS_OF_2 = replace(BATCHED, chunk=2)
STRAYS = (".DS_Store", "._zarr.json", "Thumbs.db", ".nfs0000001", "lost+found", "notes.txt~", ".a.swp", "desktop.ini")


@pytest.mark.parametrize("name", STRAYS)
def test_what_desktops_and_editors_leave_is_stray(name: str) -> None:
    assert is_stray(name)


@pytest.mark.parametrize("name", ["zarr.json", "chunks", "thesis.tex", "plan.json", "00000.done.safetensors", "c", "0"])
def test_what_people_and_lrscope_make_is_not(name: str) -> None:
    assert not is_stray(name)


def test_stray_files_change_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in STRAYS:
        (out / name).write_text("left behind")
    whole = train(mlp_task(), SHORT, CHUNKS_OF_2, out)
    for folder in (out / "results.zarr", out / "results.zarr" / "pretrain" / "train_loss", out / "chunks"):
        for name in STRAYS:
            (folder / name).write_text("left behind")
    assert same_bytes(open_result(out), whole) == []
    assert same_bytes(train(mlp_task(), SHORT, CHUNKS_OF_2, out), whole) == []
    (out / "results.zarr" / "pretrain" / "train_loss" / "more").write_text("not stray")
    with pytest.raises(LrscopeError, match=r"is damaged \(pretrain/train_loss\)"):
        open_result(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", [b"\xff\xfe", b"back\\slash", b"new\nline", "ünï".encode(), b"x" * 255])
def test_folders_of_any_name_are_trained_into_and_gone_on_from(name: bytes, tmp_path: Path) -> None:
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    whole = train(mlp_task(), SHORT, CHUNKS_OF_2, out)
    stamps = {p.name: p.stat().st_mtime_ns for p in (out / "chunks").iterdir()}
    (out / "results.zarr").rename(tmp_path / "aside")
    assert same_bytes(train(mlp_task(), SHORT, CHUNKS_OF_2, out), whole) == []
    assert {p.name: p.stat().st_mtime_ns for p in (out / "chunks").iterdir()} == stamps, "nothing is trained again"


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
@pytest.mark.parametrize("odd", ["pipe", "link", "the reverse"])
def test_odd_things_in_the_folder_are_named_before_training(name: str, odd: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    if odd == "pipe":
        os.mkfifo(out / name)
    elif odd == "link":
        (out / name).symlink_to(tmp_path / "precious")
    elif name in FOLDERS:
        (out / name).write_text("a file")
    else:
        (out / name).mkdir()
    with pytest.raises(LrscopeError, match=r"move it away|holds other files"):
        train(mlp_task(), SHORT, out=out)
    assert (tmp_path / "precious").read_text() == "precious"
    assert [p.name for p in out.iterdir()] == [name]


def test_a_chunk_that_cannot_be_read_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(mlp_task(), SHORT, CHUNKS_OF_2, tmp_path)
    (tmp_path / "results.zarr").rename(tmp_path.parent / "aside")
    good = {p.name: p.read_bytes() for p in (tmp_path / "chunks").iterdir()}

    def refuse(*_: object, **__: object) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store_module, "safe_open", refuse)
    with pytest.raises(LrscopeError, match=rf"cannot read .*{DONE} \(Permission denied\)"):
        train(mlp_task(), SHORT, CHUNKS_OF_2, tmp_path)
    assert {p.name: p.read_bytes() for p in (tmp_path / "chunks").iterdir()} == good


@pytest.mark.slow
def test_memory_is_of_this_process_and_one_process_trains_into_it() -> None:
    out = f"memory://{uuid.uuid4().hex}/x"
    assert is_of_this_process(place(out))
    assert not is_of_this_process(place("s3://memory/x"))
    with pytest.warns(UserWarning, match=r"jobs: 2 processes were asked for and one trains, because memory://"):
        result = train(mlp_task(), SHORT, replace(CHUNKS_OF_2, jobs=2), out)
    assert same_bytes(open_result(out), result) == []


def test_memory_is_refused_to_ray_before_training() -> None:
    with pytest.raises(LrscopeError, match=r"lies in this process's memory, where Ray's workers do not see it"):
        train(mlp_task(), SHORT, replace(CHUNKS_OF_2, on="ray"), f"memory://{uuid.uuid4().hex}/x")


def test_a_daemon_trains_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    with pytest.warns(UserWarning, match=r"which may start none"):
        assert default_jobs(context_of(mlp_task(), SHORT, tmp_path, replace(BATCHED, jobs=4))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_sweep_under_modes_without_gradients(mode: Any) -> None:
    whole = train(mlp_task(), SHORT)
    with mode():
        assert same_bytes(train(mlp_task(), SHORT), whole) == []


@pytest.mark.slow
def test_a_damaged_result_without_its_chunks_is_kept(tmp_path: Path) -> None:
    whole = train(mlp_task(), SHORT, out=tmp_path)
    for path in (tmp_path / "chunks").iterdir():
        path.unlink()
    root = tmp_path / "results.zarr" / "zarr.json"
    root.write_text("{")
    with pytest.warns(UserWarning, match=r"is kept as results\.zarr\.damaged-1"):
        assert same_bytes(train(mlp_task(), SHORT, out=tmp_path), whole) == []
    assert (tmp_path / "results.zarr.damaged-1" / "zarr.json").read_text() == "{"


@pytest.mark.slow  # an interpreter of its own
def test_results_are_written_and_opened_without_asserts(tmp_path: Path) -> None:
    """`python -OO` drops the library's asserts, also those with an effect."""
    code = (
        "import lrscope, torch; x = torch.randn(64, 4); y = (x[:, 0] > 0).long();"
        "t = lrscope.Task(lambda: torch.nn.Linear(4, 2), (x, y), (x, y));"
        "r = lrscope.sweep(t, [0.1], space='whole', steps=4, seeds=1, batch_size=16, out='out', progress=False, jobs=1);"
        "print(float(lrscope.open_result('out')['pretrain/train_loss'][0, 0, 0, -1]) > 0)"
    )
    done = subprocess.run(
        [sys.executable, "-OO", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr[-2000:]
