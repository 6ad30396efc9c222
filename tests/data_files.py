"""Tiny data sets in the true file formats, and a stand-in for the network that serves them.

Shapes: N examples, C channels, H x W pixels.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Pictures = dict[str, tuple[Bytes, NDArray[np.int64]]]  # split -> pixels [N, C, H, W], labels [N]


def pictures(shape: tuple[int, ...], classes: int, train: int = 40, test: int = 20) -> Pictures:
    """Random pixels; every class below `min(classes, test)` occurs in both splits."""
    rng = np.random.default_rng(7)
    return {
        split: (rng.integers(256, size=(count, *shape), dtype=np.uint8), np.arange(count) * 7 % classes)
        for split, count in (("train", train), ("test", test))
    }


def idx(values: Bytes) -> bytes:
    """The IDX format, written from its description."""
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def idx_files(made: Pictures) -> dict[str, bytes]:
    """File name (without .gz) -> content."""
    files = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        pixels, labels = made[split]
        files[f"{prefix}-images-idx3-ubyte"] = idx(pixels[:, 0])
        files[f"{prefix}-labels-idx1-ubyte"] = idx(labels.astype(np.uint8))
    return files


def write_idx(folder: Path, made: Pictures, *, gz: bool) -> None:
    folder.mkdir(parents=True)
    for name, content in idx_files(made).items():
        (folder / (f"{name}.gz" if gz else name)).write_bytes(gzip.compress(content) if gz else content)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def cifar_files(made: Pictures, *, fine: bool) -> dict[str, bytes]:
    """The official archive's files: a row of 3,072 bytes an image, red then green then blue, each row by row."""

    def batch(pixels: Bytes, labels: NDArray[np.int64]) -> bytes:
        entry = {"data": pixels.reshape(len(pixels), -1), "filenames": [f"{i}.png" for i in range(len(pixels))]}
        if fine:
            entry |= {"fine_labels": labels.tolist(), "coarse_labels": (labels // 5).tolist()}
        else:
            entry |= {"labels": labels.tolist()}
        return pickle.dumps(entry, protocol=2)

    train, test = made["train"], made["test"]
    if fine:
        names = {"fine_label_names": [f"class {i}" for i in range(100)]}
        return {"train": batch(*train), "test": batch(*test), "meta": pickle.dumps(names, protocol=2)}
    parts = zip(np.split(train[0], 5), np.split(train[1], 5), strict=True)
    files = {f"data_batch_{i}": batch(*part) for i, part in enumerate(parts, start=1)}
    names = {"label_names": [f"class {i}" for i in range(10)]}
    return files | {"test_batch": batch(*test), "batches.meta": pickle.dumps(names, protocol=2)}


def archive(folder: str, files: dict[str, bytes]) -> bytes:
    """A .tar.gz with `files` in `folder`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def expect_cifar(monkeypatch: pytest.MonkeyPatch, data_class: type, files: dict[str, bytes], packed: bytes) -> None:
    """Make torchvision expect the MD5 sums of these files instead of the official ones."""
    sums = {name: md5(content) for name, content in files.items()}
    for field in ("train_list", "test_list"):
        official = getattr(data_class, field)
        monkeypatch.setattr(data_class, field, [[name, sums[name]] for name, _ in official])
    meta = data_class.meta  # type: ignore[attr-defined]
    monkeypatch.setattr(data_class, "meta", meta | {"md5": sums[meta["filename"]]})
    monkeypatch.setattr(data_class, "tgz_md5", md5(packed))


def svhn_files(made: Pictures) -> dict[str, bytes]:
    """Two MATLAB files: X [H, W, C, N] and y [N, 1], where 10 stands for the digit 0."""
    files = {}
    for split, (pixels, labels) in made.items():
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        packed = io.BytesIO()
        scipy.io.savemat(packed, {"X": pixels.transpose(2, 3, 1, 0), "y": y})
        files[f"{split}_32x32.mat"] = packed.getvalue()
    return files


def expect_svhn(monkeypatch: pytest.MonkeyPatch, data_class: type, files: dict[str, bytes]) -> None:
    """Make torchvision expect the MD5 sums of these files instead of the official ones."""
    official = data_class.split_list  # type: ignore[attr-defined]
    new = {split: [url, name, md5(files[name])] for split, (url, name, _) in official.items() if name in files}
    monkeypatch.setattr(data_class, "split_list", new)


def serve(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> list[str]:
    """Let `urllib` find `files` (by the last part of a URL) and nothing else; the URLs asked for are collected."""
    asked: list[str] = []

    class Response(io.BytesIO):
        def __init__(self, url: str, content: bytes) -> None:
            super().__init__(content)
            self.url, self.length = url, len(content)

    def urlopen(request: Request) -> Response:
        asked.append(request.full_url)
        name = request.full_url.rsplit("/", 1)[-1]
        if name not in files:
            raise URLError("Name or service not known")
        return Response(request.full_url, files[name])

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return asked
