"""MNIST and Fashion-MNIST: IDX files, plain or gzipped, from torchvision's downloads or a Debian package.

The IDX format (http://yann.lecun.com/exdb/mnist/): two zero bytes, the type (8: unsigned byte), the number of
dimensions, each dimension as a big-endian 32-bit integer, then the values, last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.files import damaged, download, missing, refetch
from lrscope.tasks.data.formats import Request, Spec
from lrscope.tasks.data.images import draw_split

SYSTEM = Path("/usr/share/datasets")  # where Debian's packages dataset-NAME put their files
STEMS = tuple(f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
UNSIGNED_BYTE = 8


def read_idx(path: Path, remedy: str) -> Tensor:
    """The unsigned bytes of an IDX file (`.gz`: gzipped) in their shape; `remedy` is for the message if damaged."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(path, str(error), remedy) from error
    if len(raw) < 4 or raw[:3] != bytes((0, 0, UNSIGNED_BYTE)):
        raise damaged(path, f"its first bytes are {raw[:4].hex(' ') or 'missing'}, not those of an IDX file", remedy)
    head = 4 + 4 * raw[3]
    if len(raw) < head:
        raise damaged(path, "it ends within its header", remedy)
    shape = struct.unpack(f">{raw[3]}I", raw[4:head])
    values = bytearray(raw[head:])
    if not values or len(values) != math.prod(shape):
        raise damaged(path, f"it holds {len(values)} values where its header says {math.prod(shape)}", remedy)
    return torch.frombuffer(values, dtype=torch.uint8).view(shape)


def find(folder: Path, stem: str) -> Path:
    """The file `stem` in `folder`, plain if there is one, otherwise gzipped (which may not be there either)."""
    plain = folder / stem
    return plain if plain.is_file() else folder / f"{stem}.gz"


@dataclass(frozen=True, kw_only=True)
class Idx:
    """Four files in Debian's folder, if there is one and it is complete, otherwise where torchvision puts them."""

    torchvision: str  # name of torchvision's class and of its folder
    debian: str | None = None  # NAME of the package dataset-NAME

    @property
    def apt(self) -> str:
        """The command that installs the Debian package, if there is one."""
        return f"sudo apt-get install dataset-{self.debian}" if self.debian else ""

    def downloads(self, root: Path) -> Path:
        return root / self.torchvision / "raw"

    def folder(self, root: Path) -> Path | None:
        folders = [SYSTEM / self.debian] if self.debian else []
        folders.append(self.downloads(root))
        return next((folder for folder in folders if all(find(folder, stem).is_file() for stem in STEMS)), None)

    def available(self, root: Path) -> bool:
        return self.folder(root) is not None

    def fetch(self, spec: Spec, root: Path) -> str:
        if not self.available(root):
            from torchvision import datasets

            make = getattr(datasets, self.torchvision)
            files = f"the four files *-ubyte.gz of {self.torchvision}/raw"
            download(spec.name, root, lambda: make(str(root), download=True), files, self.apt)
        self.read(spec, root)  # what is said to be there can be read
        return f"{spec.name} is in {self.folder(root)}"

    def load(self, spec: Spec, request: Request) -> DataSet:
        train_x, train_y, test_x, test_y = self.read(spec, request.root)
        return draw_split(spec, request, (train_x, train_y), (test_x, test_y))

    def read(self, spec: Spec, root: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Training pixels [N, 1, 28, 28] uint8 and labels [N] int64, test pixels and labels."""
        folder = self.folder(root)
        if folder is None:
            raise missing(spec.name, self.downloads(root), root, self.apt)
        packaged = folder != self.downloads(root)
        remedy = f"run `{self.apt.replace('install', 'install --reinstall')}`" if packaged else refetch(spec.name, root)
        arrays: list[Tensor] = []
        for images_stem, labels_stem in (STEMS[:2], STEMS[2:]):
            images_path, labels_path = find(folder, images_stem), find(folder, labels_stem)
            images, labels = read_idx(images_path, remedy), read_idx(labels_path, remedy)
            if images.shape[1:] != spec.shape[1:]:
                sides = " x ".join(map(str, images.shape[1:]))
                raise damaged(images_path, f"its images have {sides} pixels, not 28 x 28", remedy)
            if labels.shape != images.shape[:1]:
                raise damaged(labels_path, f"it holds {labels.numel()} labels for {len(images)} images", remedy)
            if labels.numel() and int(labels.max()) >= spec.classes:
                raise damaged(labels_path, f"it holds label {int(labels.max())} of {spec.classes} classes", remedy)
            arrays += [images.unsqueeze(1), labels.to(torch.int64)]
        return arrays[0], arrays[1], arrays[2], arrays[3]
