"""A result written in parts is the result written at once, and only a part of it is in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr

from lrscope.engine import assemble as laying_out
from lrscope.engine.assemble import slabs
from lrscope.errors import LrscopeError
from lrscope.results import open_result, save_result
from lrscope.storage import zarr_parts
from tiny_tasks import BASE, BATCHED, context_of, mlp_task, probed_task, same_bytes, train

CONFIG = replace(BASE, seeds=5, data_seeds=2)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 3_000, 6_000])
@pytest.mark.parametrize("chunk", [3, 64])
def test_parts_make_the_whole(limit: int, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 3 runs lie across slabs of one seed."""
    engine = replace(BATCHED, chunk=chunk)
    whole = train(probed_task(), CONFIG, engine, tmp_path / "whole")
    monkeypatch.setattr(laying_out, "SLAB_BYTES", limit)
    count = len(slabs(context_of(probed_task(), CONFIG, tmp_path / "count")))
    assert count > 1
    parts = train(probed_task(), CONFIG, engine, tmp_path / "parts")
    assert same_bytes(whole, parts) == []
    assert all(parts.attrs[k] == v for k, v in whole.attrs.items() if k not in ("seconds", "created", "plan"))
    assert set(parts.attrs) == set(whole.attrs)
    assert parts.attrs["seconds"] == pytest.approx(float(parts["seconds"].sum()))


def test_slabs_hold_every_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(mlp_task(), CONFIG, tmp_path)
    assert len(slabs(context)) == 1
    for limit in (1, 3_000, 6_000):
        monkeypatch.setattr(laying_out, "SLAB_BYTES", limit)
        held = [(d, s) for slab in slabs(context) for d in range(2) for s in range(5) if slab.holds(d, s)]
        assert held == [(d, s) for d in range(2) for s in range(5)]


@pytest.mark.slow
def test_a_part_that_fails_leaves_the_old_result(tmp_path: Path) -> None:
    result = train(mlp_task(), replace(BASE, seeds=1), BATCHED, tmp_path)

    def parts() -> object:
        yield result
        raise LrscopeError("no more")

    with pytest.raises(LrscopeError, match="no more"):
        save_result(parts(), tmp_path)  # type: ignore[arg-type]
    xr.testing.assert_identical(open_result(tmp_path), result)


@pytest.mark.slow
def test_a_large_result_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("results", "validation"):
        monkeypatch.setattr(f"lrscope.{module}.LARGEST_LOADED", 100)
    result = train(mlp_task(), replace(BASE, seeds=1), BATCHED, tmp_path)
    assert not result["pretrain/train_loss"].variable._in_memory
    assert float(result["pretrain/train_loss"][0, 0, 0, 0]) > 0
    assert train(mlp_task(), replace(BASE, seeds=1)).load()["pretrain/train_loss"].variable._in_memory


@pytest.mark.slow
def test_what_is_made_in_memory_is_what_zarr_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small result is made into files in memory first, a large one is not."""
    result = train(mlp_task(), replace(BASE, seeds=1))
    small = contents(save_result(result, tmp_path / "small"))
    monkeypatch.setattr(zarr_parts, "IN_MEMORY", result.nbytes - 1)
    monkeypatch.setattr(zarr_parts, "MemoryStore", None)
    assert contents(save_result(result, tmp_path / "large")) == small
    monkeypatch.setattr(zarr_parts, "IN_MEMORY", result.nbytes)
    with pytest.raises(TypeError, match="NoneType"):
        save_result(result, tmp_path / "memory")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
