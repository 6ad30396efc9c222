"""The table of data sets: names, listing, documentation and tests are made from it.

Where normalisation constants come from:
- digits, Fashion-MNIST: computed from the pixels (all 1,797 digits; Fashion-MNIST's training split), to 4 places;
- MNIST: the training split's, as in PyTorch's MNIST example;
- CIFAR-10, CIFAR-100: three_regimes' and feature_learning's public code, the same for both data sets. Their
  deviations are known to be smaller than the pixels' own (0.2470, 0.2435, 0.2616); the papers' are kept;
- SVHN: the training split's, as in common use.
"""

from __future__ import annotations

from lrscope.errors import LrscopeError, nearest
from lrscope.tasks.builtin_sizes import TRAIN_TEST
from lrscope.tasks.data import ticks
from lrscope.tasks.data.ag_news import AgNews
from lrscope.tasks.data.cifar import Cifar
from lrscope.tasks.data.digits import Digits
from lrscope.tasks.data.formats import Spec
from lrscope.tasks.data.fortunes import Fortunes
from lrscope.tasks.data.idx import Idx
from lrscope.tasks.data.svhn import Svhn

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)

ROWS = (
    Spec(
        name="digits",
        description="handwritten digits, small (UCI, scikit-learn's copy); 1,797 images without an official split",
        obtain="comes with scikit-learn",
        classes=10,
        shape=(1, 8, 8),
        train=TRAIN_TEST["digits"][0],
        test=TRAIN_TEST["digits"][1],
        family=Digits(),
        mean=(0.3053,),
        std=(0.3760,),
    ),
    Spec(
        name="mnist",
        description="handwritten digits (LeCun et al. 1998)",
        obtain="`lrscope data fetch mnist` (12 MB)",
        classes=10,
        shape=(1, 28, 28),
        train=TRAIN_TEST["mnist"][0],
        test=TRAIN_TEST["mnist"][1],
        family=Idx(torchvision="MNIST"),
        mean=(0.1307,),
        std=(0.3081,),
    ),
    Spec(
        name="fashion-mnist",
        description="pictures of clothes (Xiao et al. 2017)",
        obtain="`sudo apt-get install dataset-fashion-mnist` or `lrscope data fetch fashion-mnist` (31 MB)",
        classes=10,
        shape=(1, 28, 28),
        train=TRAIN_TEST["fashion-mnist"][0],
        test=TRAIN_TEST["fashion-mnist"][1],
        family=Idx(torchvision="FashionMNIST", debian="fashion-mnist"),
        mean=(0.2860,),
        std=(0.3530,),
    ),
    Spec(
        name="cifar10",
        description="small photographs, 10 classes (Krizhevsky 2009)",
        obtain="`lrscope data fetch cifar10` (170 MB)",
        classes=10,
        shape=(3, 32, 32),
        train=TRAIN_TEST["cifar10"][0],
        test=TRAIN_TEST["cifar10"][1],
        family=Cifar(
            torchvision="CIFAR10",
            folder="cifar-10-batches-py",
            files=(*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"),
        ),
        mean=CIFAR_MEAN,
        std=CIFAR_STD,
    ),
    Spec(
        name="cifar100",
        description="small photographs, 100 classes (Krizhevsky 2009)",
        obtain="`lrscope data fetch cifar100` (169 MB)",
        classes=100,
        shape=(3, 32, 32),
        train=TRAIN_TEST["cifar100"][0],
        test=TRAIN_TEST["cifar100"][1],
        family=Cifar(torchvision="CIFAR100", folder="cifar-100-python", files=("train", "test", "meta")),
        mean=CIFAR_MEAN,
        std=CIFAR_STD,
    ),
    Spec(
        name="svhn",
        description="house numbers, cropped digits (Netzer et al. 2011)",
        obtain="`lrscope data fetch svhn` (246 MB)",
        classes=10,
        shape=(3, 32, 32),
        train=TRAIN_TEST["svhn"][0],
        test=TRAIN_TEST["svhn"][1],
        family=Svhn(),
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
    ),
    Spec(
        name="ticks",
        description="synthetic: 16 two-dimensional features, each enough to tell the label (feature_learning)",
        obtain="generated from its data_seed",
        classes=2,
        shape=(2 * ticks.FEATURES,),
        train=TRAIN_TEST["ticks"][0],
        test=TRAIN_TEST["ticks"][1],
        family=ticks.Ticks(),
    ),
    Spec(
        name="ag-news",
        description="news in four topics, title and description (Zhang et al. 2015)",
        obtain="`lrscope data fetch ag-news` (31 MB)",
        classes=4,
        shape=(64,),  # ours: words; longer ones lose their end
        train=TRAIN_TEST["ag-news"][0],
        test=TRAIN_TEST["ag-news"][1],
        family=AgNews(),
        vocabulary=4096,  # ours
    ),
    Spec(
        name="fortunes",
        description="short texts in four topics, for use offline; 4,225 in Debian 12, without an official split",
        obtain="`sudo apt-get install fortunes`",
        classes=4,
        shape=(32,),  # ours: half of the texts have 18 words or fewer, a fifth of two topics more than 56
        train=TRAIN_TEST["fortunes"][0],
        test=TRAIN_TEST["fortunes"][1],
        family=Fortunes(),
        vocabulary=2048,  # ours
    ),
)
TABLE = {row.name: row for row in ROWS}


def names() -> tuple[str, ...]:
    """The names of all data sets, in the table's order."""
    return tuple(TABLE)


def spec(name: str) -> Spec:
    """The row of data set `name`."""
    if name not in TABLE:
        raise LrscopeError(f"data set {name!r} is not known; {nearest(name, TABLE)}")
    return TABLE[name]
