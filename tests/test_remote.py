"""A sweep on an object store: an S3 endpoint on loopback (moto's server), and fsspec's memory for what needs no server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from lrscope.cli import app
from lrscope.engine.sweep import sweep
from lrscope.engine.sweep_folder import CHECKPOINT, DONE, Store
from lrscope.errors import LrscopeError
from lrscope.results import open_result, save_result
from lrscope.schema import SCHEMA_VERSION
from lrscope.storage import locks
from lrscope.storage.checksums import Damaged
from lrscope.storage.locks import Lease
from lrscope.storage.paths import Remote, names, place
from tiny_tasks import BASE, BATCHED, SHORT, mlp_task, same_bytes, train

CHUNKS_OF_1 = replace(BATCHED, chunk=1)


@pytest.fixture
def memory() -> Remote:
    """A new prefix in this process's memory."""
    return Remote(f"memory://tests/{uuid4().hex}")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that beat and give up in tenths of a second."""
    monkeypatch.setattr(locks, "HEARTBEAT", 0.1)
    monkeypatch.setattr(locks, "PATIENCE", 1.0)


# -- places --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [("runs/a", Path), ("C:\\runs", Path), ("/runs", Path), ("file:///runs", Path), ("s3://b/p", Remote)],
)
def test_urls_and_folders_are_told_apart(text: str, kind: type) -> None:
    assert isinstance(place(text), kind)
    assert isinstance(place(place(text)), kind)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["memory", "s3"])
def test_objects_are_whole_and_listed(where: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(where) / "deep" / "er"
    assert names(folder) == set()
    assert not folder.exists()
    assert (folder / "a").create(b"1")
    assert not (folder / "a").create(b"2"), "there already"
    assert (folder / "a").read_bytes() == b"1"
    (folder / "a").write_bytes(b"3")
    (folder / "b" / "c").write_bytes(b"")
    assert (folder / "a").read_text() == "3"
    assert names(folder) == {"a", "b"}
    assert folder.exists()
    assert folder.files() == {"a": b"3", "b/c": b""}
    folder.write_files({"root": b"r", "d/e": b"4"}, last="root")
    assert folder.files() == {"root": b"r", "d/e": b"4"}
    (folder / "root").unlink()
    (folder / "root").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (folder / "root").read_bytes()


@pytest.mark.slow
def test_of_several_that_create_at_once_one_succeeds(s3: Remote) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda i: (s3 / "one").create(str(i).encode()), range(4)))
    assert made.count(True) == 1
    assert (s3 / "one").read_bytes() == str(made.index(True)).encode()


def test_what_is_missing_or_does_not_answer_is_said_in_a_sentence(s3: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LrscopeError, match=r"gs://bucket needs a package that is missing: pip install gcsfs"):
        open_result("gs://bucket")
    with pytest.raises(LrscopeError, match=r"nosuch://a is no URL that fsspec knows"):
        open_result("nosuch://a")
    with pytest.raises(LrscopeError, match=r"cannot write to s3://no-such-bucket/a/\S+ .*does the bucket exist"):
        train(mlp_task(), SHORT, out="s3://no-such-bucket/a")
    with pytest.raises(LrscopeError, match=r"result folder s3://\S+ does not exist"):
        open_result(s3)

    def lacking(url: str, **options: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lacking)
    with pytest.raises(LrscopeError, match=r"needs a package that is missing: pip install 'lrscope\[s3\]'"):
        open_result(s3)


# -- chunks and results ----------------------------------------------------------------------------------------------

TENSORS = {"weights": torch.linspace(-1, 1, 6).view(2, 3), "empty": torch.zeros(0, 4), "number": torch.tensor(2.5)}


def test_what_is_saved_remotely_is_loaded_and_damage_is_noticed(memory: Remote) -> None:
    store = Store(memory)
    store.create()
    assert store.load("00000" + DONE) is None
    store.save("00000" + DONE, TENSORS, {"seconds": 0.5})
    store.save("00001" + CHECKPOINT, TENSORS, {})
    assert store.units() == ({"00000"}, {"00001"})
    loaded = store.load("00000" + DONE)
    assert loaded is not None
    assert loaded[1] == {"seconds": 0.5}
    assert all(torch.equal(loaded[0][name], value) for name, value in TENSORS.items())
    path = store.chunks / ("00000" + DONE)
    data = path.read_bytes()
    for damaged in (data[:-3], data[:8], b"", data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"memory://\S+/chunks/00000\S+ is damaged; it is computed again"):
            assert store.load("00000" + DONE) is None
        assert not path.exists()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.DataTree, set[str]]:
    """The sweep that the tests repeat, trained into a local folder, and the names of its chunks' files."""
    folder = tmp_path_factory.mktemp("local")
    return train(mlp_task(), BASE, CHUNKS_OF_1, folder), names(folder / "chunks")


@pytest.mark.slow
def test_a_sweep_on_s3_is_the_local_one(s3: Remote, local: tuple[xr.DataTree, set[str]]) -> None:
    there = train(mlp_task(), BASE, replace(CHUNKS_OF_1, jobs=2), str(s3))
    assert same_bytes(there, local[0]) == []
    assert names(s3) == {"chunks", "experiment.json", "plan.json", "results.zarr"}, "the lease is let go"
    assert names(s3 / "chunks") == local[1]
    assert same_bytes(open_result(str(s3)), local[0]) == []


@pytest.mark.slow
def test_what_was_damaged_or_lost_is_computed_again(memory: Remote, local: tuple[xr.DataTree, set[str]]) -> None:
    train(mlp_task(), BASE, CHUNKS_OF_1, str(memory))
    (memory / "results.zarr" / "zarr.json").unlink()
    with pytest.raises(LrscopeError, match=r"is half written \(4 chunks finished\): run the same"):
        open_result(memory)
    (memory / "chunks" / ("00001" + DONE)).write_bytes(b"torn")
    (memory / "chunks" / ("00002" + DONE)).unlink()
    stays = (memory / "chunks" / ("00000" + DONE)).read_bytes()  # with the seconds it took
    with pytest.warns(UserWarning, match=rf"00001{DONE} is damaged; it is computed again"):
        assert same_bytes(train(mlp_task(), BASE, CHUNKS_OF_1, str(memory)), local[0]) == []
    assert (memory / "chunks" / ("00000" + DONE)).read_bytes() == stays
    with pytest.raises(LrscopeError, match=r"holds another sweep \(it differs in steps\)"):
        train(mlp_task(), replace(BASE, steps=4), out=str(memory))


@pytest.mark.slow
def test_a_damaged_result_is_named_and_put_together_anew(memory: Remote, local: tuple[xr.DataTree, set[str]]) -> None:
    train(mlp_task(), BASE, CHUNKS_OF_1, str(memory))
    for name, data in (memory / "results.zarr").files().items():
        if name.startswith("pretrain/test_loss/c/"):
            (memory / "results.zarr" / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(Damaged, match=r"result memory://\S+/results.zarr is damaged \(pretrain/test_loss\)"):
        open_result(memory)
    with pytest.warns(UserWarning, match=r"results.zarr is damaged \(pretrain/test_loss\)"):
        assert same_bytes(train(mlp_task(), BASE, CHUNKS_OF_1, str(memory)), local[0]) == []
    assert same_bytes(open_result(memory), local[0]) == []


@pytest.mark.slow
def test_a_damaged_plan_is_made_anew_from_the_chunks(memory: Remote, local: tuple[xr.DataTree, set[str]]) -> None:
    train(mlp_task(), BASE, CHUNKS_OF_1, str(memory))
    (memory / "results.zarr" / "zarr.json").unlink()
    (memory / "plan.json").write_bytes(b"{}")
    with pytest.warns(UserWarning, match=r"plan.json is damaged; it is made anew from what the chunks know"):
        assert same_bytes(train(mlp_task(), BASE, BATCHED, str(memory)), local[0]) == []
    assert names(memory / "chunks") == local[1]


def test_a_folder_of_something_else_is_left_as_it_is(memory: Remote) -> None:
    (memory / "thesis.tex").write_bytes(b"precious")
    with pytest.raises(LrscopeError, match=r"holds other files \(thesis.tex\) and no lrscope result"):
        train(mlp_task(), SHORT, out=str(memory))
    assert names(memory) == {"thesis.tex"}


@pytest.mark.slow
def test_a_stranger_s_result_writes_nowhere_else(memory: Remote) -> None:
    save_result(train(mlp_task(), SHORT), memory)
    assert open_result(memory / "results.zarr").attrs["schema_version"] == SCHEMA_VERSION
    fsspec.filesystem("memory").store[f"{memory.url.removeprefix('memory:/')}/results.zarr/../../escaped"] = (
        fsspec.filesystem("memory").store[f"{memory.url.removeprefix('memory:/')}/results.zarr/zarr.json"]
    )
    with pytest.raises(LrscopeError, match=r"holds an object named .*it was not made by lrscope"):
        open_result(memory)


@pytest.mark.slow
def test_commands_read_and_write_urls(s3: Remote) -> None:
    out = s3 / "map"
    command = ["map", "--data", "digits", "--train-size", "64", "--lrs", "1e-4:3:6", "--seeds", "1", "--steps", "2"]
    fixed = ["--path", "batched", "--chunk", "6", "--no-compile", "--jobs", "1", "--device", "cpu", "--json"]
    first = CliRunner().invoke(app, [*command, *fixed, "--out", str(out)])
    assert first.exit_code == 0, first.output
    again = CliRunner().invoke(app, [*command, *fixed, "--out", str(out)])
    assert json.loads(again.stdout) == json.loads(first.stdout)
    shown = CliRunner().invoke(app, ["show", str(out), "--json"])
    assert json.loads(shown.stdout)["runs"] == 6
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")
    exported = CliRunner().invoke(app, ["export", str(out)])
    assert exported.stdout.strip() == str(out / "result.csv")
    assert len((out / "result.csv").read_text().splitlines()) == 7
    assert CliRunner().invoke(app, ["report", str(out), "--out", str(out / "again.html")]).exit_code == 0
    assert (out / "again.html").exists()


# -- the lease ---------------------------------------------------------------------------------------------------------


def lease_on(folder: Remote) -> Lease:
    return Lease(folder / "lock", folder)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_live_owner_is_named_however_long_it_holds(memory: Remote) -> None:
    held = lease_on(memory).acquire()
    try:
        begun = time.monotonic()
        while time.monotonic() - begun < 2.5 * locks.PATIENCE:
            with pytest.raises(LrscopeError, match=r"is in use by process \d+ on \S+: wait for it to end, stop it, or"):
                lease_on(memory).acquire()
        held.check()
    finally:
        held.release()
    lease_on(memory).acquire().release()
    assert names(memory / "lock") == set()


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_dead_owner_s_lease_is_taken_over_by_one_only(memory: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = lease_on(memory)
    monkeypatch.setattr(dead, "_live", lambda: None)
    dead.acquire()

    def attempt(_: int) -> Lease | str:
        try:
            return lease_on(memory).acquire()
        except LrscopeError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(attempt, range(4)))
    owners = [f for f in found if isinstance(f, Lease)]
    assert len(owners) == 1, found
    assert all("is in use by process" in f for f in found if isinstance(f, str))
    assert names(memory / "lock") == {"000002.json"}
    owners[0].release()


@pytest.mark.usefixtures("quick")
def test_an_owner_that_slept_finds_out_and_stops(memory: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = lease_on(memory).acquire()
    locks._talking.acquire()  # the thread cannot beat: the process is swapped out, or its network is gone
    try:
        monkeypatch.setattr(locks, "PATIENCE", 0.3)
        other = lease_on(memory).acquire()
    finally:
        locks._talking.release()
    deadline = time.monotonic() + 20
    while sleeper._lost is None and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(LrscopeError, match=r"was taken over by process \d+ on .*everything done here is kept"):
        sleeper.check()
    sleeper.release()
    assert names(memory / "lock") == {"000002.json"}, "what the other holds stays"
    other.check()
    other.release()


def test_the_clock_on_the_wall_plays_no_part(memory: Remote, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    held = lease_on(memory).acquire()
    for wrong in (0.0, 4e9):
        monkeypatch.setattr(time, "time", lambda wrong=wrong: wrong)
        with pytest.raises(LrscopeError, match="is in use by"):
            lease_on(memory).acquire()
    held.release()


HOLD = """
    import sys, time
    from lrscope.storage import locks
    from lrscope.engine.sweep_folder import Store
    from lrscope.storage.paths import place
    locks.HEARTBEAT = 0.1
    lock = Store(place(sys.argv[1])).lock()
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_killed_process_s_sweep_on_s3_is_taken_over(s3: Remote) -> None:
    out = s3 / "killed"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(out)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LrscopeError, match=f"is in use by process {process.pid} on"):
            train(mlp_task(), SHORT, out=str(out))
        process.kill()
    assert (train(mlp_task(), SHORT, out=str(out))["pretrain/status"] == 0).all()


@pytest.mark.usefixtures("quick")
def test_a_sweep_that_lost_its_lease_stops(memory: Remote) -> None:
    class Robbed:
        """Takes the lease away at the first tick."""

        def begin(self, runs: int, run_steps: int, done: int) -> None: ...

        def tick(self, tick: object) -> None:
            (memory / "lock" / "000099.json").write_bytes(b'{"pid": 7, "host": "elsewhere"}')
            time.sleep(3 * locks.HEARTBEAT)

        def end(self) -> None: ...

    with pytest.raises(LrscopeError, match="was taken over by process 7 on elsewhere"):
        sweep(mlp_task(), config=SHORT, engine=CHUNKS_OF_1, out=str(memory), progress=Robbed())


@pytest.mark.slow
def test_chunks_are_opened_once(memory: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among 100,000 chunks, looking at each before and after would be most of the work."""
    reads: list[str] = []
    real: Callable[[Remote], bytes] = Remote.read_bytes

    def counted(self: Remote) -> bytes:
        reads.append(self.name)
        return real(self)

    monkeypatch.setattr(Remote, "read_bytes", counted)
    train(mlp_task(), SHORT, CHUNKS_OF_1, str(memory))
    opened = [name for name in reads if name.endswith(DONE)]
    assert sorted(opened) == sorted(set(opened))
    (memory / "results.zarr" / "zarr.json").unlink()
    reads.clear()
    train(mlp_task(), SHORT, CHUNKS_OF_1, str(memory))
    opened = [name for name in reads if name.endswith(DONE)]
    assert len(opened) == len(set(opened)) == 5
