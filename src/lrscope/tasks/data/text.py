"""Texts to numbers: words of lower case, a vocabulary of the training examples, a fixed length.

The choices are ours, made for a small encoder rather than for the best accuracy. A word is a run of letters and digits, with
apostrophes inside. The vocabulary holds the most frequent words of the training examples that were drawn (ties in
alphabetical order), so nothing of the test examples is known. Longer texts are cut, shorter ones padded at their end.

Shapes: N examples, T words.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.data.formats import Spec
from lrscope.tasks.data.held_out import Drawn, arrays

PAD, UNKNOWN = 0, 1  # numbers of what is no word and of words outside the vocabulary
FIRST = 2  # number of the most frequent word
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
Labelled = tuple[Sequence[str], Tensor]  # texts, labels [N] int64


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return WORD.findall(text.lower())


def vocabulary(texts: Iterable[Sequence[str]], size: int) -> dict[str, int]:
    """Numbers from `FIRST` up to `size` - 1 of the most frequent words of texts that have been cut into words."""
    counts = Counter(word for text in texts for word in text)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: FIRST + i for i, word in enumerate(ordered[: size - FIRST])}


def encode(text: Sequence[str], known: dict[str, int], length: int) -> list[int]:
    """`length` numbers for the words of a text; a text without words is one unknown word."""
    found = [known.get(word, UNKNOWN) for word in text[:length]] or [UNKNOWN]
    return found + [PAD] * (length - len(found))


def labelled(texts: Sequence[str], labels: Tensor, index: Tensor) -> Labelled:
    """The texts and labels with these indices."""
    return [texts[i] for i in index.tolist()], labels[index]


def text_data(spec: Spec, drawn: Drawn, read: Callable[[Tensor], Labelled], test: Labelled) -> DataSet:
    """The data set of these texts: inputs [N, T] int64 with T from `spec.shape`. `read` returns texts and labels of the
    training and validation examples that were drawn; the vocabulary is that of the former."""
    length = spec.shape[0]
    known = vocabulary((words(text) for text in read(drawn.train)[0]), spec.vocabulary)

    def encoded(part: Labelled) -> tuple[Tensor, Tensor]:
        return torch.tensor([encode(words(text), known, length) for text in part[0]]), part[1]

    test_x, test_y = encoded(test)
    return DataSet(
        name=spec.name,
        **arrays(drawn, lambda index: encoded(read(index))),
        test_x=test_x,
        test_y=test_y,
        classes=spec.classes,
        loss="cross_entropy",
    )


def unescaped(text: str) -> str:
    """Without what the web left in it: backslashes for line breaks, HTML's names of characters, also halves of them."""
    return html.unescape(text.replace("\\", " ").replace(" #39;", "'").replace("#39;", "'"))
