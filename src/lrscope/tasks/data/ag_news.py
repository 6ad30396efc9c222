"""AG News: titles and first sentences of news in four topics (Zhang, Zhao & LeCun 2015), as CSV.

The format: no header; class (1 World, 2 Sports, 3 Business, 4 Sci/Tech), title, description, each in double quotes.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.files import damaged, download, missing, refetch
from lrscope.tasks.data.formats import Request, Spec
from lrscope.tasks.data.held_out import draw
from lrscope.tasks.data.subsets import checked_size, subset
from lrscope.tasks.data.text import labelled, text_data, unescaped
from lrscope.tasks.streams import generator

FOLDER = "ag-news"
URL = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
# Address and sums are torchtext's.
SUMS = {"train.csv": "b1a00f826fdfbd249f79597b59e1dc12", "test.csv": "d52ea96a97a2d943681189a97654912d"}
COLUMNS = 3


class AgNews:
    """Two CSV files. A download is checked against its MD5 sum; files put there by hand need the format only."""

    def available(self, root: Path) -> bool:
        return all((root / FOLDER / file).is_file() for file in SUMS)

    def fetch(self, spec: Spec, root: Path) -> str:
        from torchvision.datasets.utils import download_url

        for file, md5 in SUMS.items():
            if not (root / FOLDER / file).is_file():
                call = partial(download_url, URL + file, str(root / FOLDER), file, md5)
                download(spec.name, root, call, f"{FOLDER}/{file}")
        return f"{spec.name} is in {root / FOLDER}"

    def load(self, spec: Spec, request: Request) -> DataSet:
        if not self.available(request.root):
            raise missing(spec.name, request.root / FOLDER, request.root)
        remedy = refetch(spec.name, request.root)
        (train, train_y), (test, test_y) = (read(request.root / FOLDER / file, spec.classes, remedy) for file in SUMS)
        size = checked_size("train_size", request.train_size, len(train), len(train), spec.name)
        order = torch.randperm(len(train), generator=generator("training subset", request.data_seed))
        drawn = draw(order, size, request.validation, request.data_seed)
        size = checked_size("test_size", request.test_size, len(test), len(test), spec.name)
        test_index = subset(len(test), size, generator("test subset"))
        return text_data(spec, drawn, lambda index: labelled(train, train_y, index), labelled(test, test_y, test_index))


def read(path: Path, classes: int, remedy: str) -> tuple[list[str], Tensor]:
    """Title and description of each line as one text; labels [N] int64 from 0 on."""
    known = {str(number): number - 1 for number in range(1, classes + 1)}
    texts, labels = [], []
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.reader(file, strict=True), start=1):
                if len(row) != COLUMNS or row[0] not in known:
                    why = f"its record {number} is not class 1 to {classes}, title, description"
                    raise damaged(path, why, remedy)
                labels.append(known[row[0]])
                texts.append(unescaped(f"{row[1]} {row[2]}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise damaged(path, str(error), remedy) from error
    if not texts:
        raise damaged(path, "it is empty", remedy)
    return texts, torch.tensor(labels)
