"""How many examples each data set has, known without importing PyTorch: the command line counts run-steps from it."""

from __future__ import annotations

TRAIN_TEST = {
    "digits": (1024, 773),  # ours: a power of two, which leaves 773 of 1,797 for testing
    "mnist": (60_000, 10_000),
    "fashion-mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "svhn": (73_257, 26_032),
    "ticks": (512, 2_000),  # feature_learning, App. A
    "ag-news": (120_000, 7_600),
    "fortunes": (3_072, 1_024),  # ours: which leaves over 1,024 of 4,225 for testing
}
