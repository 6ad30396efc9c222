"""A damaged result is noticed, named and put together anew; opening a stranger's result runs no code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrscope.errors import LrscopeError
from lrscope.results import open_result
from lrscope.storage.checksums import Damaged, verify
from tiny_tasks import BASE, BATCHED, mlp_task, same_bytes, train


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, xr.DataTree]:
    folder = tmp_path_factory.mktemp("made")
    return folder, train(mlp_task(), BASE, BATCHED, folder)


@pytest.fixture
def folder(made: tuple[Path, xr.DataTree], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(made[0], tmp_path / "copy"))


def files(folder: Path) -> list[Path]:
    return sorted(p for p in (folder / "results.zarr").rglob("*") if p.is_file())


# -- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["chunk flipped", "chunk torn", "chunk missing", "metadata changed", "array missing"])
def test_damage_is_named_and_mended_from_the_chunks(kind: str, folder: Path, made: tuple[Path, xr.DataTree]) -> None:
    array = folder / "results.zarr" / "finetune" / "test_loss"
    chunk = next(p for p in array.rglob("*") if p.is_file() and p.name != "zarr.json")
    if kind == "chunk flipped":
        data = bytearray(chunk.read_bytes())
        data[-1] ^= 1
        chunk.write_bytes(data)
    elif kind == "chunk torn":
        chunk.write_bytes(chunk.read_bytes()[:-3])
    elif kind == "chunk missing":  # Zarr alone would read fill values
        chunk.unlink()
    elif kind == "metadata changed":
        meta = json.loads((array / "zarr.json").read_text())
        meta["attributes"]["units"] = "bit"
        (array / "zarr.json").write_text(json.dumps(meta))
    else:
        shutil.rmtree(array)
    with pytest.raises(
        Damaged, match=r"results.zarr is damaged \(finetune/test_loss\): run the same lrscope map command again"
    ):
        open_result(folder)
    stamps = {p: p.stat().st_mtime_ns for p in (folder / "chunks").iterdir()}
    with pytest.warns(UserWarning, match=r"results.zarr is damaged \(finetune/test_loss\)"):
        mended = train(mlp_task(), BASE, BATCHED, folder)
    assert same_bytes(mended, made[1]) == []
    assert {p: p.stat().st_mtime_ns for p in (folder / "chunks").iterdir()} == stamps, "no chunk is trained again"
    assert same_bytes(open_result(folder), made[1]) == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"attributes": {}}', b'{"attributes": {"checksums": 3}}']
)
def test_a_root_that_says_nothing_is_damage(content: bytes, folder: Path) -> None:
    (folder / "results.zarr" / "zarr.json").write_bytes(content)
    with pytest.raises(Damaged, match=r"is damaged \(metadata\)"):
        open_result(folder)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_and_no_cut_in_any_file_goes_unnoticed(
    made: tuple[Path, xr.DataTree], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(files(made[0])))
    good = path.read_bytes()
    position = data.draw(st.integers(0, len(good) - 1))
    spoilt = bytearray(good)
    if data.draw(st.booleans()):
        spoilt[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del spoilt[position:]
    path.write_bytes(spoilt)
    try:
        with pytest.raises(LrscopeError):
            open_result(made[0])
    finally:
        path.write_bytes(good)
    verify(made[0] / "results.zarr")


@pytest.mark.slow
def test_no_missing_and_no_foreign_file_goes_unnoticed(folder: Path) -> None:
    zarr_folder = folder / "results.zarr"
    for path in files(folder):
        aside = folder / "aside"
        path.rename(aside)
        with pytest.raises(LrscopeError):
            open_result(folder)
        aside.rename(path)
    (zarr_folder / "seed" / "c" / "7").write_bytes(b"more")
    with pytest.raises(Damaged, match=r"\(seed\)"):
        open_result(folder)


def test_checksums_are_no_attribute_of_the_result(made: tuple[Path, xr.DataTree]) -> None:
    assert "checksums" not in made[1].attrs
    assert "checksums" in json.loads((made[0] / "results.zarr" / "zarr.json").read_text())["attributes"]


# -- strangers -----------------------------------------------------------------------------------------------------


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "code ran"
    assert not (tmp_path / "code ran").exists()


def test_pickled_objects_in_the_older_format_are_refused(
    folder: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numcodecs

    # Recent releases refuse to unpickle; older ones that lrscope runs with do not.
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)

    values = np.empty(1, dtype=object)
    values[0] = Bomb(mark)
    shutil.rmtree(folder / "results.zarr" / "finetune" / "test_loss")
    stranger = folder / "results.zarr" / "finetune" / "test_loss"
    stranger.mkdir()
    (stranger / "0").write_bytes(numcodecs.Pickle().encode(values))
    meta = {
        "zarr_format": 2,
        "shape": [1],
        "chunks": [1],
        "dtype": "<f8",
        "compressor": None,
        "fill_value": None,
        "order": "C",
        "filters": [{"id": "pickle", "protocol": 5}],
    }
    (stranger / ".zarray").write_text(json.dumps(meta))
    with pytest.raises(LrscopeError, match=r"\.zarray is not of a kind that lrscope writes"):
        open_result(folder)
    numcodecs.Pickle().decode((stranger / "0").read_bytes())
    assert mark.exists(), "the bomb would have gone off"
    mark.rmdir()


@pytest.mark.parametrize("inside", [False, True])
def test_codecs_by_unknown_names_are_refused_unseen(
    inside: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zarr finds codecs by name among everything that is installed."""
    asked: list[str] = []
    monkeypatch.setattr(zarr.registry, "get_codec_class", lambda key, **_: asked.append(key))
    path = folder / "results.zarr" / "finetune" / "test_loss" / "zarr.json"
    meta = json.loads(path.read_text())
    codec = {"name": "evil.pickle", "configuration": {}}
    sharding = {
        "name": "sharding_indexed",
        "configuration": {"chunk_shape": [1], "codecs": [codec], "index_codecs": []},
    }
    meta["codecs"] = [sharding if inside else codec]
    path.write_text(json.dumps(meta))
    with pytest.raises(
        LrscopeError, match=r"asks for the codec '(evil\.pickle|sharding_indexed)', which lrscope does not use"
    ):
        open_result(folder)
    assert asked == []


def test_links_out_of_the_result_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("private")
    (folder / "results.zarr" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(LrscopeError, match="link is not of a kind that lrscope writes"):
        open_result(folder)


def test_a_result_uses_only_codecs_that_are_known(made: tuple[Path, xr.DataTree]) -> None:
    """Else the next release of Zarr could make results that lrscope refuses: this names it."""
    from lrscope.storage.plain_zarr import CODECS, codec_names

    used = {c for p in files(made[0]) if p.name == "zarr.json" for c in codec_names(json.loads(p.read_text()))}
    assert used
    assert used <= CODECS
