"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), read by torchvision, which checks each file against its MD5 sum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrscope.errors import LrscopeError
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.files import damaged, download, missing, refetch
from lrscope.tasks.data.formats import Request, Spec
from lrscope.tasks.data.images import draw_split


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """The files of the official archive, unpacked."""

    torchvision: str  # name of torchvision's class
    folder: str  # within root
    files: tuple[str, ...]  # within folder; here as well as in torchvision, so that looking for them does not import it

    def available(self, root: Path) -> bool:
        return all((root / self.folder / file).is_file() for file in self.files)

    def fetch(self, spec: Spec, root: Path) -> str:
        from torchvision import datasets

        make = getattr(datasets, self.torchvision)
        download(spec.name, root, lambda: make(str(root), download=True), f"the folder {self.folder}")
        return f"{spec.name} is in {root / self.folder}"

    def load(self, spec: Spec, request: Request) -> DataSet:
        from torchvision import datasets

        if not self.available(request.root):
            raise missing(spec.name, request.root / self.folder, request.root)
        make = getattr(datasets, self.torchvision)
        try:
            train, test = (make(str(request.root), train=part, download=False) for part in (True, False))
        except RuntimeError as error:
            raise self.damage(make, spec, request.root) from error
        return draw_split(spec, request, arrays(train), arrays(test))

    def damage(self, make: Any, spec: Spec, root: Path) -> LrscopeError:
        """Which file failed torchvision's check."""
        from torchvision.datasets.utils import check_integrity

        sums = [*make.train_list, *make.test_list, (make.meta["filename"], make.meta["md5"])]
        paths = [(root / self.folder / file, md5) for file, md5 in sums]
        path = next((path for path, md5 in paths if not check_integrity(path, md5)), root / self.folder)
        return damaged(path, "its MD5 sum is not the official one", refetch(spec.name, root))


def arrays(data: Any) -> tuple[Tensor, Tensor]:
    """Pixels [N, 3, 32, 32] uint8 and labels [N] int64 of a torchvision CIFAR object."""
    return torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets)
