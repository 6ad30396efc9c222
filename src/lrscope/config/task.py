"""What a map is trained on: a data set and a model of the tables, as the command line and config files name them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any

from lrscope.readers import Number, Text, Whole, Word, read_fields
from lrscope.tasks.partitions import PARTITIONS
from lrscope.tasks.patch_options import PatchReader
from lrscope.tasks.validation import ADVICE, parse_size

DATA = "digits, mnist, fashion-mnist, cifar10, cifar100, svhn, ticks, ag-news or fortunes"  # a test compares
Size = Annotated[int, Whole(1, 100_000_000)]


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The task of training a model of lrscope on a data set of lrscope; `lrscope.named_task` makes it."""

    data: Annotated[str, Word(words=DATA)] = "digits"
    """The data set; see lrscope data list.

    Panel: Data and model
    """
    model: Annotated[str | None, Word(words="mlp, convnet, resnet18, wideresnet16, vgg11, transformer or vit")] = None
    """The network.

    Default: mlp for digits and ticks, transformer for texts, convnet for other images
    """
    width: Annotated[int | None, Whole(1, 1_000_000)] = None
    """Hidden units (mlp), channels of the first layer (convnet, resnet18, vgg11), widening factor (wideresnet16) or width of the
    model (transformer, vit).

    Default: by model
    """
    train_size: Size | None = None
    """Training examples, drawn at random.

    Default: all; digits 1,024
    """
    test_size: Size | None = None
    """Test examples, drawn at random.

    Default: all
    """
    validation: Annotated[str | None, Text(Word(words=ADVICE.removeprefix("pass ")))] = None
    """Examples to choose by, so that the test set only reports.

    Default: a tenth, where that is at least 500
    """
    label_noise: Annotated[float, Number(0, 1, below=True)] = 0.0
    """Fraction of the training labels that are drawn anew."""
    pool: Annotated[int, Whole(1, 1_000)] = 1
    """Average-pool images by this factor."""
    patches: Annotated[str | None, Text(PatchReader())] = None
    """Fraction of the training images that get a patch which tells their class, and more about the patches.

    Default: none
    """
    features: Annotated[str | None, Word(words="bands, bands/scaled/removed or bands:low=1-6,mid=7-24")] = None
    """Frequencies of images: test sets that show which of them the network uses.

    Default: none
    """

    groups: Annotated[str | None, Word(PARTITIONS)] = None
    """Groups of examples whose accuracy is logged over time, of training and of test examples.

    Default: none; with label noise clean and corrupted
    """

    def __post_init__(self) -> None:
        read_fields(self)

    def arguments(self) -> dict[str, Any]:
        """Arguments of `named_task`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "validation": parse_size(self.validation)}
