"""The command line: the whole way from options to report, and one clear sentence with exit code 2 for each misuse."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from lrscope.mapping.types import Recommendation
from lrscope.results import open_result
from tiny_tasks import same_bytes

TINY = """
data = "digits"
train_size = 64
test_size = 64
lrs = "1e-3:1:8"
seeds = 2
batch_size = 16
epochs = 10
finetune_lrs = [1e-3]
finetune_epochs = 2
width = 8
path = "batched"
chunk = 8
compile = false
"""
PROGRAM = (
    *(sys.executable, "-W", "ignore", "-c"),
    "import sys; from lrscope.cli import main; sys.argv[0] = 'lrscope'; main()",
)


@dataclass
class Done:
    """What a command line left behind."""

    returncode: int
    stdout: str
    stderr: str


def run(*words: str, cwd: Path) -> Done:
    """Run the command line in this process: one of its own would import PyTorch first, which takes seconds."""
    from lrscope.cli import main

    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        patch.object(sys, "argv", ["lrscope", *words]),
        patch.dict(os.environ, COLUMNS="200"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(action="ignore"),
        pytest.raises(SystemExit) as stopped,
    ):
        main()
    assert isinstance(stopped.value.code, int)
    return Done(stopped.value.code, out.getvalue(), err.getvalue())


def run_alone(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own."""
    env = {**os.environ, "COLUMNS": "200"}
    return subprocess.run([*PROGRAM, *words], cwd=cwd, capture_output=True, text=True, timeout=240, env=env)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny.toml and its finished map in out."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.toml").write_text(TINY)
    done = run("map", "tiny.toml", "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "border 1|2" in done.stdout
    assert "start:" in done.stdout
    assert "report: out/report.html" in done.stdout
    assert (folder / "out" / "report.html").stat().st_size > 1000
    return folder


@pytest.mark.slow
def test_a_second_map_shows_the_finished_one_without_training_or_torch(mapped: Path) -> None:
    before = (mapped / "out" / "results.zarr").stat().st_mtime_ns
    again = run_alone("map", "tiny.toml", "--out", "out", cwd=mapped)
    assert again.returncode == 0, again.stderr
    assert "training" not in again.stderr
    assert (mapped / "out" / "results.zarr").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_map_whose_result_is_damaged_is_put_together_anew(mapped: Path, tmp_path: Path) -> None:
    shutil.copytree(mapped, tmp_path, dirs_exist_ok=True)
    victim = next(
        p for p in (tmp_path / "out" / "results.zarr" / "pretrain" / "test_loss" / "c").rglob("*") if p.is_file()
    )
    victim.write_bytes(victim.read_bytes()[:-1])
    assert "is damaged (pretrain/test_loss): run the same lrscope map" in run("show", "out", cwd=tmp_path).stderr
    again = run("map", "tiny.toml", "--out", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert run("show", "out", cwd=tmp_path).stdout == run("show", "out", cwd=mapped).stdout


@pytest.mark.slow
def test_show_json_has_the_promised_keys(mapped: Path) -> None:
    shown = run("show", "out", "--json", cwd=mapped)
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert set(found) >= {"borders", "labels", "recommended", "runs", "status", "seconds"}
    assert set(found["borders"]) == {"1|2", "2A|2B", "2|3"}
    for border in found["borders"].values():
        assert set(border) >= {"lr", "low", "high", "reason"}
        if border["lr"] is None:
            assert border["low"] is border["high"] is None
            assert border["reason"]
        else:
            assert border["low"] <= border["lr"] <= border["high"]
    assert any(border["lr"] is not None for border in found["borders"].values()), "the grid reaches at least one border"
    assert len(found["labels"]) == 8
    assert set(found["labels"][0]) >= {"lr", "regime", "flags"}
    assert set(found["recommended"]) == {field.name for field in fields(Recommendation)}
    assert found["runs"] == 16
    assert found["status"] == {"finished": 16, "non-finite": 0, "stopped": 0, "failed": 0, "not trained": 0}


@pytest.mark.slow
def test_the_recorded_command_repeats_the_numbers(mapped: Path) -> None:
    import shlex

    command = shlex.split(json.loads(run("show", "out", "--json", cwd=mapped).stdout)["command"])
    assert command[:2] == ["lrscope", "map"]
    words = [w if w != "out" else "again" for w in command[1:]]
    done = run(*words, cwd=mapped)
    assert done.returncode == 0, done.stderr
    one, two = open_result(mapped / "out"), open_result(mapped / "again")
    assert same_bytes(one, two) == []


@pytest.mark.slow
def test_export_csv_and_netcdf(mapped: Path) -> None:
    import csv

    done = run("export", "out", "--format", "csv", "--out", "runs.csv", cwd=mapped)
    assert done.returncode == 0, done.stderr
    with open(mapped / "runs.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 * 2  # a run and its fine-tune
    result = open_result(mapped / "out")
    first = next(
        r for r in rows if r["finetune_lr"] == "" and float(r["lr"]) == float(result["lr"][3]) and r["seed"] == "1"
    )
    assert float(first["train_loss"]) == float(result["pretrain/train_loss"].isel(lr=3, seed=1, data_seed=0, epoch=-1))
    done = run("export", "out", "--format", "netcdf", "--out", "all.nc", cwd=mapped)
    assert done.returncode == 0, done.stderr
    import xarray as xr

    with xr.open_datatree(mapped / "all.nc") as opened:
        np.testing.assert_array_equal(opened["pretrain/train_loss"].values, result["pretrain/train_loss"].values)


@pytest.mark.slow
def test_report_writes_page_and_figures(mapped: Path) -> None:
    done = run("report", "out", "--out", "page.html", "--figures", "figs", "--format", "png,svg", cwd=mapped)
    assert done.returncode == 0, done.stderr
    assert (mapped / "page.html").stat().st_size > 1000
    assert {p.suffix for p in (mapped / "figs").iterdir()} == {".png", ".svg"}
    assert run("report", "out", "--format", "gif", "--out", "not.html", cwd=mapped).returncode == 2
    assert not (mapped / "not.html").exists()


@pytest.mark.slow
def test_a_result_may_be_named_by_its_arrays(mapped: Path, tmp_path: Path) -> None:
    """What is written goes beside them: among them it would spoil their checksums."""
    folder = shutil.copytree(mapped / "out", tmp_path / "out")
    (folder / "report.html").unlink()
    for words in (["report"], ["export"], ["export", "--format", "netcdf"], ["show"]):
        done = run(words[0], str(folder / "results.zarr"), *words[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert {"report.html", "result.csv", "result.nc"} <= {p.name for p in folder.iterdir()}


def test_dry_run_writes_nothing_and_predicts(mapped: Path) -> None:
    done = run("map", "tiny.toml", "--out", "never", "--dry-run", "--json", cwd=mapped)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["runs"] == 16
    assert plan["run_steps"] == 16 * (10 * 4 + 2 * 4)
    assert plan["seconds"] > 0
    assert plan["bytes"] > 0
    assert not (mapped / "never").exists()
    assert "predicted" in run("map", "tiny.toml", "--out", "never", "--dry-run", cwd=mapped).stdout


def test_options_override_the_file_and_steps_replace_epochs(mapped: Path) -> None:
    done = run("map", "tiny.toml", "--steps", "6", "--lrs", "1e-2,1e-1,1,2,3,4", "--dry-run", "--json", cwd=mapped)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["runs"] == 12
    assert plan["steps_per_run"] == 6 + 8


@pytest.mark.slow
def test_kill_in_the_middle_then_the_same_command_ends_with_the_same_numbers(mapped: Path) -> None:
    words = ["map", "tiny.toml", "--out", "killed", "--epochs", "60"]
    process = subprocess.Popen(
        [*PROGRAM, *words],
        cwd=mapped,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "% of run-steps" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert not (mapped / "killed" / "results.zarr").exists()
    half = run("show", "killed", cwd=mapped)
    assert half.returncode == 2
    assert "half written" in half.stderr
    assert run(*words, cwd=mapped).returncode == 0
    assert run("map", "tiny.toml", "--out", "whole", "--epochs", "60", cwd=mapped).returncode == 0
    one, two = open_result(mapped / "killed"), open_result(mapped / "whole")
    assert same_bytes(one, two) == []


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(mapped: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "map", "tiny.toml", "--out", "stopped", "--epochs", "400"],
        cwd=mapped,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "% of run-steps" in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 130
    assert "To go on: lrscope map" in rest
    assert list((mapped / "stopped" / "chunks").glob("*.checkpoint.safetensors"))


MISUSES: list[tuple[list[str], str]] = [
    (["map", "--data", "digts"], "digits"),
    (["map", "--model", "mpl"], "mlp"),
    (["map", "--lrs", ""], "lrs: the grid is empty"),
    (["map", "--lrs", "-1,1,2,3,4,5"], "not a positive finite learning rate"),
    (["map", "--lrs", "1,3,2,4,5,6"], "increasing order"),
    (["map", "--lrs", "1e-3:1:5"], "too few for a map"),
    (["map", "--lrs", "1e-3:x:5"], "cannot read"),
    (["map", "--lrs", "1:1e-3:8"], "0 < low < high"),
    (["map", "--train-size", "5000"], "5000"),
    (["map", "--label-noise", "1.0"], "label_noise"),
    (["map", "--label-noise", "-0.1"], "label_noise"),
    (["map", "--data", "cifar10"], "lrscope data fetch cifar10"),
    (["map", "--device", "cuda"], "no CUDA device"),
    (["map", "--device", "gpu"], "choose auto, cpu, cuda or mps"),
    (["map", "--space", "cube"], "sphere or whole"),
    (["map", "--weight-decay", "0.9"], "space whole"),
    (["map", "--optimizer", "adam", "--momentum", "0.9"], "an option of sgd"),
    (["map", "--schedule", "cosin"], "cosine"),
    (["map", "--precision", "fp16"], "precision"),
    (["map", "--epochs", "3", "--steps", "4"], "exactly one"),
    (["map", "--finetune-steps", "10"], "finetune_lrs"),
    (["map", "--average", "5,2"], "average"),
    (["map", "--average", "x"], "average"),
    (["map", "--batch-size", "4000"], "batch_size"),
    (["map", "--augment", "--data", "ticks"], "augment"),
    (["map", "--randaugment", "2,14", "--data", "ticks"], "randaugment"),
    (["map", "--randaugment", "2"], "write 2,14"),
    (["map", "--randaugment", "two"], "write 2,14"),
    (["map", "--path", "double"], "path"),
    (["map", "--jobs", "0"], "jobs"),
    (["map", "--model", "convnet", "--data", "ticks"], "needs images"),
    (["map", "nowhere.toml"], "nowhere.toml does not exist"),
    (["show", "nowhere"], "does not exist"),
    (["data", "fetch", "cifr10"], "cifar10"),
]


@pytest.mark.parametrize(("words", "message"), MISUSES, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_misuse_is_one_sentence_and_exit_code_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrscope.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRSCOPE_DATA", str(tmp_path / "data"))
    if words[0] == "map" and "--device" in words and "cuda" in words:
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["lrscope", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert stopped.value.code == 2, said.err
    assert message in said.err
    assert said.err.startswith("lrscope: ")
    assert "Traceback" not in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("runs/*/results.zarr"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrz = '1:2:3'", "did you mean 'lrs'"),
        ("seeds = 'three'", "seeds: 'three' is not a whole number: use one from 1 to 10,000"),
        ("seeds = 2.5", "seeds: 2.5 is not a whole number"),
        ("lrs = ", "cannot be read"),
    ],
)
def test_a_wrong_config_file_is_named(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrscope.cli import main

    (tmp_path / "bad.toml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["lrscope", "map", str(tmp_path / "bad.toml")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_fashion_mnist_that_is_not_there_names_both_ways_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrscope.errors import LrscopeError
    from lrscope.tasks.data import idx, load

    monkeypatch.setattr(idx, "DEBIAN", {"fashion-mnist": tmp_path / "nothing"}, raising=False)
    monkeypatch.setattr(idx, "DEBIAN_FOLDER", tmp_path / "nothing", raising=False)
    with pytest.raises(LrscopeError) as refused:
        load("mnist", root=tmp_path)
    assert "lrscope data fetch mnist" in str(refused.value)
    del capsys


def test_data_list_names_every_data_set(tmp_path: Path) -> None:
    done = run("data", "list", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {row["name"] for row in json.loads(done.stdout)}
    images = {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn"}
    assert names == {*images, "ticks", "ag-news", "fortunes"}
    assert "digits" in run("data", "list", cwd=tmp_path).stdout


@pytest.mark.slow
def test_help_is_quick_and_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from lrscope.cli import app; import typer.testing as t; r = t.CliRunner().invoke(app, ['--help']); "
        "assert r.exit_code == 0, r.output; assert 'torch' not in sys.modules; assert 'xarray' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    started = time.perf_counter()
    assert run_alone("--help", cwd=tmp_path).returncode == 0
    print(f"lrscope --help took {time.perf_counter() - started:.2f} s")


def test_another_map_in_the_same_folder_is_refused_and_nothing_is_lost(mapped: Path) -> None:
    done = run("map", "tiny.toml", "--out", "out", "--epochs", "12", cwd=mapped)
    assert done.returncode == 2
    assert "holds another sweep" in done.stderr
    assert "epochs" in done.stderr
    assert open_result(mapped / "out")["pretrain"].sizes["epoch"] == 10


def test_show_refuses_a_newer_schema(mapped: Path) -> None:
    target = mapped / "newer"
    shutil.copytree(mapped / "out", target)
    meta = target / "results.zarr" / "zarr.json"
    content: dict[str, Any] = json.loads(meta.read_text())
    content["attributes"]["schema_version"] = 99
    meta.write_text(json.dumps(content))
    done = run("show", "newer", cwd=mapped)
    assert done.returncode == 2
    assert "newer" in done.stderr
    assert "update lrscope" in done.stderr


def in_process(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line, run where this process is."""
    done = run(*words, cwd=Path.cwd())
    return done.returncode, done.stdout, done.stderr


def test_a_plan_needs_no_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LRSCOPE_DATA", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    words = ["map", "--data", "cifar10", "--width", "2", "--train-size", "64", "--test-size", "8", "--path", "single"]
    code, out, err = in_process(*words, "--no-compile", "--batch-size", "16", "--dry-run")
    assert code == 0, err
    assert "the data is not here: noise of the same shape was timed" in out
    assert "nothing was written" in out
    assert not list(tmp_path.iterdir())
    code, _, err = in_process(*words, "--train-size", "50001", "--dry-run")
    assert code == 2
    assert "train_size: 50001 does not fit data set 'cifar10': choose a whole number from 1 to 50,000" in err


def test_the_list_of_data_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = in_process("data", "list")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    for name in ("digits", "fashion-mnist", "fortunes"):
        assert f"\n{name} " in "\n" + out
    assert "lrscope data fetch cifar10" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["map", "--dampening", "1"], "--dampening: there is no such option of lrscope map: momentum has no dampening"),
        (
            ["map", "--grad-clip", "1"],
            "--grad-clip: there is no such option of lrscope map: did you mean '--clip-norm'",
        ),
        (["map", "--learning-rate", "1"], "did you mean '--lrs'?"),
        (["map", "--sead", "1"], "did you mean '--seeds'"),
        (["map", "--seeds"], "requires an argument"),
        (["map", "one.toml", "two.toml"], "unexpected extra argument"),
        (["shoe"], "Did you mean 'show'?"),
        (["show"], "Missing argument 'result'"),
        (["map", "--epochs", "1e400"], "epochs: inf is outside (0, 1e+08]"),
        (["map", "--steps", "9" * 23], "steps: 99999999999999999999999 is too large: use 100,000,000 or less"),
        (["map", "--width", "1000000", "--model", "mlp"], "makes a model of 1e+12 parameters"),
        (["map", "--batch-size", "0"], "batch_size: 0 is too small"),
        (["map", "--model", ""], "model: '' is empty"),
        (["map", "--out", ""], "out: '' is empty"),
        (["map", "--radius", "inf"], "radius: inf is outside"),
        (["map", "--space", "whole", "--weight-decay", "nan"], "weight_decay: nan is outside"),
        (["map", "--average-every", "5"], "average_every: 5 is given without average"),
        (["map", "--seeds", "100000000"], "seeds: 100000000 is too large: use 10,000 or less"),
        (["map", "--lrs", "1e-3:1:100000000"], "has more than 10,000 points"),
        (["map", "--randaugment", "100000000,5"], "randaugment: '100000000,5' is not N,M with N from 1 to 100"),
        (["map", "--out", "~no-such-user/runs"], "out: the home folder of '~no-such-user/runs' is not known"),
    ],
    ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "",
)
def test_a_line_that_makes_no_sense_is_one_sentence(
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = in_process(*words)
    assert (code, out) == (2, "")
    assert err.startswith("lrscope: ")
    assert len(err.splitlines()) == 1
    assert message in err
    assert not list(tmp_path.iterdir())


def test_a_recorded_command_repeats_and_tells_nothing_of_the_machine() -> None:
    import shlex

    from lrscope.config.settings import load_settings

    asked = {"out": "s3://key:secret@bucket/runs?token=1", "weight_decay": "1.23456789e-4", "space": "whole"}
    settings = load_settings(None, asked)
    words = shlex.split(settings.command(shared=True))
    assert words[words.index("--out") + 1] == "s3://bucket/runs"
    assert float(words[words.index("--weight-decay") + 1]) == 1.23456789e-4
    for given, kept in [
        ("/home/somebody/runs/x", "x"),
        ("~/runs/x", "x"),
        ("runs/x", "runs/x"),
        ("file:///srv/x", "x"),
    ]:
        settings = load_settings(None, {"out": given})
        assert settings.command(shared=True).endswith(f"--out {kept}")
        assert shlex.split(settings.command())[-1] == given
