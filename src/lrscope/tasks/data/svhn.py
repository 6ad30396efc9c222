"""SVHN, cropped digits (Netzer et al. 2011), read by torchvision, which checks each file against its MD5 sum."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.files import damaged, download, missing, refetch
from lrscope.tasks.data.formats import Request, Spec
from lrscope.tasks.data.images import draw_split

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}  # the 'extra' split is left out


class Svhn:
    """Two MATLAB files, each lying in root itself (torchvision's layout). Label 0 is the digit 0."""

    def available(self, root: Path) -> bool:
        return all((root / file).is_file() for file in FILES.values())

    def fetch(self, spec: Spec, root: Path) -> str:
        from torchvision.datasets import SVHN

        for split, file in FILES.items():
            download(spec.name, root, partial(SVHN, str(root), split, download=True), file)
        return f"{spec.name} is in {root}"

    def load(self, spec: Spec, request: Request) -> DataSet:
        if not self.available(request.root):
            raise missing(spec.name, request.root, request.root)
        train, test = (self.read(spec, split, request.root) for split in FILES)
        return draw_split(spec, request, train, test)

    def read(self, spec: Spec, split: str, root: Path) -> tuple[Tensor, Tensor]:
        """Pixels [N, 3, 32, 32] uint8 and labels [N] int64."""
        from torchvision.datasets import SVHN

        try:
            data: Any = SVHN(str(root), split, download=False)
        except RuntimeError as error:
            why = "its MD5 sum is not the official one"
            raise damaged(root / FILES[split], why, refetch(spec.name, root)) from error
        return torch.from_numpy(data.data), torch.from_numpy(data.labels)
