"""Nothing but a regular file is ever replaced or read, and what is written is whole or absent."""

from __future__ import annotations

import ast
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from matplotlib.figure import Figure

from fake_results import fake_result
from lrscope.errors import LrscopeError
from lrscope.export import export_result
from lrscope.reporting import report
from lrscope.reporting.files import write_one
from lrscope.reporting.page import write_text
from lrscope.storage.files import MOST_JSON, parse_json, read_json, read_whole, staged, write_whole

SOURCE = Path(__file__).resolve().parent.parent / "src" / "lrscope"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError as error:
        pytest.skip(f"making a device needs root ({error})")


def link(path: Path) -> None:
    (path.parent / "precious").write_text("precious")
    path.symlink_to(path.parent / "precious")


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def circle(path: Path) -> None:
    path.symlink_to(path)


ODD: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "pipe": pipe,
    "socket": unix_socket,
    "device": device,
    "symbolic link": link,
    "symbolic link to nothing": dangling,
    "symbolic link to itself": circle,
}


@pytest.fixture(scope="module")
def result() -> xr.DataTree:
    return fake_result(lrs=8, seeds=1)


WRITERS: dict[str, tuple[str, Callable[[xr.DataTree, Path], Any]]] = {
    "report": ("a.html", lambda result, path: report(result, path)),
    "page": ("a.md", lambda result, path: write_text("text", path)),
    "figure": ("a.png", lambda result, path: write_one(Figure(figsize=(1, 1)), path)),
    "csv": ("a.csv", lambda result, path: export_result(result, "csv", path, path.parent)),
    "netcdf": ("a.nc", lambda result, path: export_result(result, "netcdf", path, path.parent)),
    "bytes": ("a.json", lambda result, path: write_whole(path, b"{}")),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("writer", WRITERS)
def test_no_writer_replaces_what_is_no_file(writer: str, odd: str, result: xr.DataTree, tmp_path: Path) -> None:
    name, write = WRITERS[writer]
    path = tmp_path / name
    ODD[odd](path)
    before = os.lstat(path)
    with pytest.raises(LrscopeError, match=rf"{name} is (a folder|a {odd.split(' to ')[0]})"):
        write(result, path)
    after = os.lstat(path)
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)
    left = {p.name: p.read_text() for p in tmp_path.iterdir() if p.is_file()}
    assert left in ({}, {"precious": "precious", name: "precious"})


@pytest.mark.parametrize("writer", [name for name in WRITERS if name != "report"])
@pytest.mark.parametrize("folder", ["plain", "back\\slash", "späce ünd", "new/deeper"])
def test_writers_make_new_files_and_replace_files(
    writer: str, folder: str, result: xr.DataTree, tmp_path: Path
) -> None:
    name, write = WRITERS[writer]
    path = tmp_path / folder / ("b\\" + name)
    write(result, path)
    first = path.read_bytes()
    path.write_text("old")
    write(result, path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert len(path.read_bytes()) == len(first)


def test_a_file_in_the_way_of_a_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LrscopeError, match=r"cannot write to .*file/deeper \(Not a directory\)"):
        write_whole(tmp_path / "file" / "deeper" / "a", b"")


def test_a_name_as_long_as_a_name_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 127)
    write_whole(path, b"there")
    assert read_whole(path) == b"there"
    with pytest.raises(LrscopeError, match="File name too long"):
        write_whole(tmp_path / ("x" * 256), b"")


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("bad"), Stop()])
def test_after_an_error_the_old_file_is_there_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def write() -> None:
        with staged(path) as staging:
            staging.write_text("half")
            raise error

    with pytest.raises(LrscopeError if isinstance(error, OSError) else type(error)):
        write()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "old"}


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(20)
@pytest.mark.parametrize("odd", ["folder", "pipe", "socket", "device", "symbolic link to itself"])
def test_what_is_no_file_is_not_read(odd: str, tmp_path: Path) -> None:
    ODD[odd](tmp_path / "a")
    with pytest.raises(LrscopeError, match=r"a is a (folder|pipe|socket|device), not a file|Too many levels"):
        read_whole(tmp_path / "a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(LrscopeError):
        read_whole(tmp_path / "b")


def test_what_is_too_long_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "a", "wb") as file:
        file.truncate(MOST_JSON + 1)
    with pytest.raises(LrscopeError, match="it was not made by lrscope"):
        read_json(tmp_path / "a")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "", "\xff", "1" * 10_000, "nul"])
def test_hostile_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text)
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text.encode("latin-1"))


def test_absent_files_are_file_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "a", tmp_path / "file" / "a", tmp_path / "a" / "b"):
        with pytest.raises(FileNotFoundError):
            read_whole(path)


# -- the rule ------------------------------------------------------------------------------------------------------

# These write by themselves, and why: the helper; a socket's and an object store's methods of the same name; a copy into a
# temporary folder; a library's own folder, which is private; data sets' downloads are torchvision's.
EXEMPT = {"files.py", "paths.py", "results.py", "export.py", "terminal.py", "sinks.py"}  # sinks append, line by line


def writing_calls(tree: ast.AST) -> list[str]:
    """Calls that put bytes into a file by its name."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        modes = [a.value for a in node.args[1:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if (
            name in ("write_text", "to_csv", "touch")
            or (name == "to_netcdf" and node.args)  # without a file it returns bytes
            or (name == "open" and any(set(m) & set("wax+") for m in modes))
        ):
            found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.slow
def test_all_files_are_written_by_one_helper() -> None:
    found = {}
    for path in SOURCE.rglob("*.py"):
        if path.name not in EXEMPT and "cpp" not in path.parts:
            calls = writing_calls(ast.parse(path.read_text(encoding="utf-8")))
            own = (
                [c for c in calls if not c.endswith("write_text")] if path.name in ("page.py", "gallery.py") else calls
            )
            if own:
                found[path.name] = own
    assert found == {}


def test_writing_calls_are_found() -> None:
    assert writing_calls(ast.parse("open(p, 'w'); p.write_text(t); d.to_netcdf(p); open(p, 'rb+')")) != []
    assert writing_calls(ast.parse("open(p); open(p, 'rb'); write_whole(p, b); d.to_netcdf(engine='scipy')")) == []
