"""A sweep's folder survives what happens to folders: damage, two users at once, no room, no permission."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrscope.engine.sweep_folder import CHECKPOINT, DONE, Store
from lrscope.errors import LrscopeError
from lrscope.results import open_result
from tiny_tasks import BASE, BATCHED, SHORT, conv_task, mlp_task, same_bytes, train

CHUNKS_OF_2 = replace(BATCHED, chunk=2)
TENSORS = {
    "weights": torch.linspace(-1, 1, 6).view(2, 3),
    "steps": torch.tensor([3.0, 4.0], dtype=torch.float64),
    "empty": torch.zeros(0, 4),
    "number": torch.tensor(2.5),
}
META = {"seconds": 0.25, "cursor": {"phase": 1}}
NAME = "00000" + DONE


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create()
    whole = torch.arange(12.0).view(3, 4)
    tensors = {**TENSORS, "view": whole[:, 1:3], "same": whole}  # views of one memory, not contiguous
    store.save(NAME, tensors, META)
    loaded = store.load(NAME)
    assert loaded is not None
    assert loaded[1] == META
    assert loaded[0].keys() == tensors.keys()
    for name, value in tensors.items():
        assert loaded[0][name].dtype == value.dtype
        assert torch.equal(loaded[0][name], value)
    assert store.load("00001" + DONE) is None


# -- damage --------------------------------------------------------------------------------------------------------


def torn(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "torn": torn,
    "bit flipped": flipped,
    "empty": lambda data: b"",
    "header only": lambda data: data[:8],
    "longer": lambda data: data + b"more",
}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, xr.DataTree]:
    """A finished sweep in chunks of two runs, and its result; tests work on copies."""
    folder = tmp_path_factory.mktemp("once")
    return folder, train(mlp_task(), SHORT, CHUNKS_OF_2, folder)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_named_removed_and_computed_again(
    damage: str, once: tuple[Path, xr.DataTree], tmp_path: Path
) -> None:
    task, whole = mlp_task(), once[1]
    shutil.copytree(once[0], tmp_path, dirs_exist_ok=True)
    victim = tmp_path / "chunks" / ("00001" + DONE)
    other = tmp_path / "chunks" / ("00000" + DONE)
    victim.write_bytes(DAMAGE[damage](victim.read_bytes()))
    before = other.stat().st_mtime_ns
    remove(tmp_path / "results.zarr")
    with pytest.warns(UserWarning, match=f"{victim.name} is damaged; it is computed again") as caught:
        again = train(task, SHORT, CHUNKS_OF_2, tmp_path)
    assert len([w for w in caught if "damaged" in str(w.message)]) == 1
    assert same_bytes(again, whole) == []
    assert other.stat().st_mtime_ns == before, "what was whole is not computed again"


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.none() | st.floats(0, 1))
def test_no_flipped_bit_and_no_cut_goes_unnoticed(position: float, bit: int, cut: float | None, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create()
    store.save(NAME, TENSORS, META)
    path = store.chunks / NAME
    data = bytearray(path.read_bytes())
    if cut is None:
        data[int(position * len(data))] ^= 1 << bit
    else:
        del data[int(cut * (len(data) - 1)) :]
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = store.load(NAME)
    if loaded is None:
        assert not path.exists()
        return
    assert loaded[1] == META, "what was not noticed had no meaning (white space of the header)"
    assert all(torch.equal(loaded[0][name], value) for name, value in TENSORS.items())


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_its_steps_only(tmp_path: Path) -> None:
    whole = train(mlp_task(), SHORT, CHUNKS_OF_2, tmp_path)
    remove(tmp_path / "results.zarr")
    (tmp_path / "chunks" / ("00001" + DONE)).unlink()
    (tmp_path / "chunks" / ("00001" + CHECKPOINT)).write_bytes(b"torn")
    with pytest.warns(UserWarning, match=f"00001{CHECKPOINT} is damaged; it is computed again"):
        assert same_bytes(train(mlp_task(), SHORT, CHUNKS_OF_2, tmp_path), whole) == []


CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "torn": torn,
    "empty": lambda data: b"",
    "no object": lambda data: b"[]",
    "no text": lambda data: b"\xff\xfe",
    "a digit changed": lambda data: data.replace(b": 2,", b": 3,"),
}


@pytest.mark.parametrize("name", ["experiment.json", "plan.json"])
@pytest.mark.parametrize("damage", CONTENTS)
def test_damaged_json_is_named_and_made_anew_from_the_chunks(
    name: str, damage: str, once: tuple[Path, xr.DataTree], tmp_path: Path
) -> None:
    whole = once[1]
    shutil.copytree(once[0], tmp_path, dirs_exist_ok=True)
    remove(tmp_path / "results.zarr")
    path = tmp_path / name
    good, stamps = json.loads(path.read_text()), done_stamps(tmp_path)
    data = CONTENTS[damage](path.read_bytes())
    assert data != path.read_bytes()
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=f"{name} is damaged; it is made anew from what the chunks know"):
        again = train(mlp_task(), SHORT, replace(BATCHED, chunk=4), tmp_path)
    assert same_bytes(again, whole) == []
    assert again.attrs["plan"] == whole.attrs["plan"], "the plan is that of the chunks, not a new one"
    assert done_stamps(tmp_path) == stamps, "what was whole is not computed again"
    assert (tmp_path / f"{name}.damaged-1").read_bytes() == data, "nothing is overwritten"
    made = json.loads(path.read_text())
    assert all(made[key] == good[key] for key in good if key not in ("created", "sha256"))


def done_stamps(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (folder / "chunks").iterdir()}


@pytest.mark.slow
def test_a_length_written_as_a_whole_number_or_with_a_point_is_one_sweep(tmp_path: Path) -> None:
    config = replace(SHORT, steps=None, epochs=1, log_epochs=(1,), random_points=1)
    whole = train(mlp_task(), config, out=tmp_path)
    remove(tmp_path / "results.zarr")
    stamps = done_stamps(tmp_path)
    again = train(mlp_task(), replace(config, epochs=1.0, log_epochs=(1.0,)), out=tmp_path)
    assert again.attrs["config_hash"] == whole.attrs["config_hash"]
    assert done_stamps(tmp_path) == stamps
    with pytest.raises(LrscopeError, match="it differs in epochs"):
        train(mlp_task(), replace(config, epochs=1.5), out=tmp_path)


@pytest.mark.slow
def test_chunks_of_another_sweep_are_refused_though_experiment_json_is_damaged(tmp_path: Path) -> None:
    train(mlp_task(), SHORT, out=tmp_path)
    (tmp_path / "experiment.json").write_text("{")
    with (
        pytest.warns(UserWarning, match=r"experiment.json is damaged"),
        pytest.raises(LrscopeError, match="holds another sweep"),
    ):
        train(mlp_task("layer"), SHORT, out=tmp_path)
    remove(tmp_path / "chunks")
    with (
        pytest.warns(UserWarning, match=r"experiment.json is damaged"),
        pytest.raises(LrscopeError, match="holds the result of another sweep"),
    ):
        train(mlp_task("layer"), SHORT, out=tmp_path)


# -- folders that are not ours, not whole, or too new --------------------------------------------------------------


def test_folders_that_are_no_result(tmp_path: Path) -> None:
    with pytest.raises(LrscopeError, match=r"result folder .*nowhere does not exist"):
        open_result(tmp_path / "nowhere")
    with pytest.raises(LrscopeError, match="is no result folder of lrscope"):
        open_result(tmp_path)


def test_a_half_written_result_says_how_to_go_on(tmp_path: Path) -> None:
    train(mlp_task(), SHORT, CHUNKS_OF_2, tmp_path)
    remove(tmp_path / "results.zarr")
    with pytest.raises(LrscopeError, match=r"is half written \(2 chunks finished\): run the same lrscope map command"):
        open_result(tmp_path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    train(mlp_task(), SHORT, out=tmp_path)
    path = tmp_path / "results.zarr" / "zarr.json"
    meta = json.loads(path.read_text())
    meta["attributes"]["schema_version"] = 99
    path.write_text(json.dumps(meta))
    for attempt in (lambda: open_result(tmp_path), lambda: train(mlp_task(), SHORT, out=tmp_path)):
        with pytest.raises(LrscopeError, match=r"schema_version 99 is newer than .*: update lrscope"):
            attempt()


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "chunks").mkdir()
    stale = [tmp_path / "chunks" / f"{NAME}.123.writing", tmp_path / "plan.json.123.writing"]
    for path in stale:
        path.write_text("half")
    train(mlp_task(), SHORT, out=tmp_path)
    assert not any(path.exists() for path in stale)


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(LrscopeError, match=r"holds other files \(thesis.tex\) and no lrscope result: choose an empty"):
        train(mlp_task(), SHORT, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 4}, "steps"),
        ({"seeds": 3, "lrs": (1e-3,)}, "lrs, seeds"),
        (None, "the model or its data, or lrscope's version"),
    ],
)
def test_another_sweep_in_the_folder_is_refused(change: dict[str, object] | None, words: str, tmp_path: Path) -> None:
    whole = train(mlp_task(), SHORT, out=tmp_path)
    task = mlp_task("layer") if change is None else mlp_task()
    with pytest.raises(LrscopeError, match=rf"holds another sweep \(it differs in {words}\): choose another --out"):
        train(task, replace(SHORT, **(change or {})), out=tmp_path)
    assert same_bytes(open_result(tmp_path), whole) == []


def test_a_finished_sweep_is_opened_not_trained(tmp_path: Path) -> None:
    whole = train(mlp_task(), SHORT, out=tmp_path)
    remove(tmp_path / "chunks")
    assert same_bytes(train(mlp_task(), SHORT, replace(BATCHED, chunk=1), out=tmp_path), whole) == []
    assert not (tmp_path / "chunks").exists()


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    for out in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(LrscopeError, match=r"out is not a folder|deeper is not a folder"):
            train(mlp_task(), SHORT, out=out)


@pytest.mark.slow
def test_nothing_written_is_pickled(tmp_path: Path) -> None:
    train(mlp_task(), BASE, CHUNKS_OF_2, tmp_path)
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "lock"]
    assert len(files) > 10
    for path in files:
        data = path.read_bytes()
        inside_zarr = "results.zarr" in path.parts
        assert inside_zarr or path.suffix in (".json", ".safetensors"), path
        assert not (data.startswith(b"\x80") and data.endswith(b".")), f"{path} looks like a pickle"
        assert data[:2] != b"PK", f"{path} looks like torch.save"


# -- two at once ---------------------------------------------------------------------------------------------------

HOLD = """
    import sys, time
    from pathlib import Path
    from lrscope.engine.sweep_folder import Store
    lock = Store(Path(sys.argv[1])).lock()
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path / "out")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.slow
def test_a_folder_in_use_names_the_process_and_is_free_when_it_dies(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(LrscopeError, match=f"is in use by process {holder.pid} on .*: wait for it to end, stop it"):
        train(mlp_task(), SHORT, out=tmp_path / "out")
    holder.kill()
    holder.wait()
    assert (train(mlp_task(), SHORT, out=tmp_path / "out")["pretrain/status"] == 0).all()


def test_workers_of_a_killed_process_are_waited_for(tmp_path: Path) -> None:
    """They hold the lock that they inherited until they notice."""
    Store(tmp_path).lock().release()
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    (tmp_path / "owner.json").write_text(json.dumps({"pid": dead.pid, "host": socket.gethostname()}))
    held = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    worker = threading.Timer(0.3, os.close, [held])
    worker.start()
    Store(tmp_path).lock().release()
    worker.join()


# -- no room -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int | str], Path]]:
    """Mounts a disk of so many KiB, or gives the mounted one that size, or another option."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(change: int | str) -> Path:
        nonlocal mounted
        option = f"size={change}k" if isinstance(change, int) else change
        words = f"remount,{option}" if mounted else option
        try:
            subprocess.run(["mount", "-t", "tmpfs", "-o", words, "tmpfs", folder], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a small disk needs root and mount ({error})")
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", folder], check=True)


def used_kib(folder: Path) -> int:
    return sum(-(-p.stat().st_size // 4096) * 4 for p in folder.rglob("*") if p.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_costs_nothing_but_the_rest(
    jobs: int, tmp_path: Path, small_disk: Callable[[int | str], Path]
) -> None:
    task, engine = conv_task(), replace(BATCHED, chunk=1, jobs=jobs)
    whole = train(task, SHORT, engine, tmp_path / "roomy")
    out = small_disk(used_kib(tmp_path / "roomy" / "chunks") - 4) / "out"
    with pytest.raises(LrscopeError, match=r"no space left on the device .* make room and run the same command again"):
        train(task, SHORT, engine, out)
    left = sorted(p.name for p in out.glob("chunks/*"))
    assert left, "finished chunks are there"
    assert all(name.endswith(DONE) for name in left), left
    stamps = {name: (out / "chunks" / name).stat().st_mtime_ns for name in left}
    small_disk(4096)
    again = train(task, SHORT, engine, out)
    assert same_bytes(again, whole) == []
    assert {name: (out / "chunks" / name).stat().st_mtime_ns for name in left} == stamps


@pytest.mark.slow
def test_a_disk_that_fills_up_while_the_result_is_written(
    tmp_path: Path, small_disk: Callable[[int | str], Path]
) -> None:
    whole: xr.DataTree = train(mlp_task(), SHORT, BATCHED, tmp_path / "roomy")
    out = small_disk(used_kib(tmp_path / "roomy") - used_kib(tmp_path / "roomy" / "results.zarr") + 40) / "out"
    with pytest.raises(LrscopeError, match="no space left"):
        train(mlp_task(), SHORT, BATCHED, out)
    with pytest.raises(LrscopeError, match="is half written"):
        open_result(out)
    small_disk(4096)
    assert same_bytes(train(mlp_task(), SHORT, BATCHED, out), whole) == []
    assert not list(out.rglob("*.writing"))


@pytest.mark.slow
def test_a_read_only_folder(small_disk: Callable[[int | str], Path]) -> None:
    out = small_disk(1024) / "out"
    whole = train(mlp_task(), SHORT, BATCHED, out)
    small_disk("ro")
    assert same_bytes(open_result(out), whole) == []
    assert same_bytes(train(mlp_task(), SHORT, BATCHED, out), whole) == [], "a finished sweep is opened, not locked"
    with pytest.raises(LrscopeError, match="cannot write to"):
        train(mlp_task(), replace(SHORT, steps=4), BATCHED, out)
    with pytest.raises(LrscopeError, match=r"cannot write to .*: choose another --out or change its permissions"):
        train(mlp_task(), SHORT, BATCHED, out.parent / "new")
