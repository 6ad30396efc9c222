"""Fortunes: sayings, definitions, verses and jokes of Debian's package `fortunes`; the label is the file they are in.

Texts for a machine without a network (ours). A file of the fortune program holds cookies, separated by lines with a percent
sign alone. The four largest files about different things make the four classes; the package's other files are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import torch

from lrscope.errors import LrscopeError
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.files import damaged
from lrscope.tasks.data.formats import Request, Spec
from lrscope.tasks.data.held_out import draw
from lrscope.tasks.data.subsets import checked_size
from lrscope.tasks.data.text import labelled, text_data
from lrscope.tasks.streams import generator

SYSTEM = Path("/usr/share/games/fortunes")  # where Debian's package puts its files
TOPICS = ("computers", "definitions", "people", "songs-poems")  # 1,051, 1,203, 1,251 and 720 cookies in Debian 12
APT = "sudo apt-get install fortunes"
SEPARATOR = re.compile(r"^%$", re.MULTILINE)


class Fortunes:
    """No official split: a permutation by `data_seed` gives the training texts; test texts come from its other end."""

    def available(self, root: Path) -> bool:
        return all((SYSTEM / topic).is_file() for topic in TOPICS)

    def fetch(self, spec: Spec, root: Path) -> str:
        if not self.available(root):
            raise _missing(spec.name)
        return f"{spec.name} is in {SYSTEM}"

    def load(self, spec: Spec, request: Request) -> DataSet:
        if not self.available(request.root):
            raise _missing(spec.name)
        texts, labels = cookies()
        count = len(texts)
        train = checked_size("train_size", request.train_size, min(spec.train, count - 1), count - 1, spec.name)
        left = count - train
        test = checked_size("test_size", request.test_size, min(spec.test, left), left, spec.name)
        order = torch.randperm(count, generator=generator("fortunes split", request.data_seed))
        drawn = draw(order[: count - test], train, request.validation, request.data_seed)
        test_index = order[count - test :].sort().values
        return text_data(spec, drawn, lambda index: labelled(texts, labels, index), labelled(texts, labels, test_index))


def cookies() -> tuple[list[str], torch.Tensor]:
    """All texts of the topics and their labels [N]; a text that occurs twice is left out, whatever its labels."""
    found: list[tuple[str, int]] = []
    for label, topic in enumerate(TOPICS):
        try:
            content = (SYSTEM / topic).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            remedy = f"run `{APT.replace('install', 'install --reinstall')}`"
            raise damaged(SYSTEM / topic, str(error), remedy) from error
        found += [(text.strip(), label) for text in SEPARATOR.split(content) if text.strip()]
    counts = Counter(text for text, _ in found)
    kept = [(text, label) for text, label in found if counts[text] == 1]
    return [text for text, _ in kept], torch.tensor([label for _, label in kept], dtype=torch.int64)


def _missing(name: str) -> LrscopeError:
    return LrscopeError(f"data set {name!r} is not in {SYSTEM}; run `{APT}`")
