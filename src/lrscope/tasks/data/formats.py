"""The protocol of a family of data sets, one file each: digits, idx, cifar, svhn, ticks, ag_news, fortunes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.validation import Size


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which examples are wanted, and the folder to read them from; sizes of None mean the data set's own, of
    the validation set `validation.count`'s."""

    data_seed: int
    train_size: int | None
    test_size: int | None
    root: Path
    validation: Size = 0


class Family(Protocol):
    """How the arrays of one data set are made, found and fetched. `spec` is its row of the table."""

    def available(self, root: Path) -> bool:
        """Whether `load` would find its files now; reads none of them."""
        ...

    def fetch(self, spec: Spec, root: Path) -> str:
        """Bring the files into `root` where they are not there yet; a sentence saying where they are."""
        ...

    def load(self, spec: Spec, request: Request) -> DataSet:
        """The drawn examples, normalised, without label noise and pooling."""
        ...


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A row of the table of data sets: what is known without reading a file."""

    name: str
    description: str
    obtain: str  # how to get it, for the listing
    classes: int
    shape: tuple[int, ...]  # of one input: (C, H, W), (2 F,) for ticks, or (T,) for texts
    train: int  # examples in the training split; where there is no official split, the default
    test: int
    family: Family
    mean: tuple[float, ...] = ()  # per channel, of pixels scaled to [0, 1]
    std: tuple[float, ...] = ()
    vocabulary: int = 0  # of texts: words known, padding and unknown words included

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

    @property
    def is_text(self) -> bool:
        return self.vocabulary > 0
