"""The paper's own sizes: App. C and its public code. 1000 epochs, batch 128, the grid {1, 2, 5} x 10^-k; what neither states
is marked "ours"."""

from __future__ import annotations

from typing import Any

from lrscope.studies.three_regimes.sweeps import declared, epoch_groups
from lrscope.studies.types import Scale


def paper(measurements: tuple[Any, ...]) -> Scale:
    """The paper's own numbers. One seed, as the paper has; more are a matter of cost."""
    cifar = {"data": "cifar10"}
    convnet = {**cifar, "model": "convnet", "width": 32}
    # three_regimes, Sec. 4: {1, 2, 5} x 10^-k for k = 0 .. 7, finer near the borders (which points: ours).
    coarse = [m * 10.0**-k for k in range(7, -1, -1) for m in (1, 2, 5)]
    elrs = tuple(sorted({*coarse[:-2], 3e-4, 7e-4, 1.4e-3, 3e-3, 7e-3, 1.4e-2, 3e-2, 7e-2}))
    noisy = {**convnet, "label_noise": 0.2}
    # Those of Fig. 3, 5 and 17 to 23: regime 1 up to 5e-4, regime 2 from 1e-3 (which of them with which: ours).
    first, second = (1e-5, 5e-5, 1e-4, 2e-4, 5e-4), (1e-3, 2e-3, 5e-3, 1e-2)
    inside = {"lrs": first[:3], "finetune_lrs": first, "keep_weights": True}
    long = {"epochs": 1000, "batch_size": 128, "seeds": 1, "log_points": 1000}
    apart = epoch_groups((500, 650, 800, 950), 0.25, 10)
    lrs = tuple(m * 10.0**-k for k in range(4, -1, -1) for m in (1, 2, 5))
    conventional = {"space": "whole", "momentum": 0.9, "augment": True, "batch_size": 128, "seeds": 1, "lrs": lrs}
    sweeps = (
        declared("convnet", convnet, lrs=elrs, snapshot_epochs=(10, 50, 100, 200, *apart), **long),
        # Three seeds, each with its own part of the training set (ours): the paper has one.
        declared("converged", {**convnet, "train_size": 40_000}, lrs=first, **{**long, "data_seeds": 3}),
        declared("long", convnet, lrs=first, **{**long, "epochs": 3000}),
        declared("resnet", {**cifar, "model": "resnet18", "width": 32}, lrs=elrs, **long),
        declared("mlp", {"data": "mnist", "model": "mlp"}, lrs=elrs, **long),
        declared("mlp_own", convnet, lrs=elrs, same_init=False, **{**long, "seeds": 3}),
        declared("tune", convnet, lrs=second, finetune_lrs=first, finetune_epochs=2000, **long),  # Fig. 5, 23
        declared("tune_first", convnet, finetune_epochs=1000, **inside, **long),
        declared("tune_lower", convnet, finetune_epochs=1000, **inside, **long),
        declared("tune_within", convnet, lrs=second, finetune_lrs=second, finetune_epochs=2000, **long),
        declared(
            "tune_noise",
            noisy,
            lrs=(*first, *second),
            finetune_lrs=(*first, *second),
            finetune_epochs=2000,
            keep_weights=True,
            **long,
        ),
        declared("tune_noise_lower", noisy, finetune_epochs=1000, **inside, **long),
        declared("noisy", noisy, lrs=(*first, *second, 5e-2, 2e-1), snapshot_epochs=apart, **long),
        declared("noise0", convnet, lrs=elrs, log_epochs=(0.25, 0.5, 0.75), **long),
        declared("noise20", noisy, lrs=elrs, log_epochs=(0.25, 0.5, 0.75), **long),
        declared("width_small", {**convnet, "width": 8}, lrs=elrs, **long),
        declared("width_usual", convnet, lrs=elrs, **long),
        declared("width_large", {**convnet, "width": 64}, lrs=elrs, **long),
        declared("augmented", convnet, lrs=elrs, augment=True, **long),
        declared(
            "whole",
            convnet,
            # Up to lr x weight decay = 1 (ours): on small networks the third regime begins there.
            lrs=(*(m * 10.0**-k for k in range(2, -4, -1) for m in (1, 2, 5)), 1e4),
            space="whole",
            scale_invariant=True,
            weight_decay=1e-4,
            **long,
        ),
        declared(
            "constant",
            {**cifar, "model": "resnet18", "width": 64},
            weight_decay=5e-4,
            epochs=1000,
            log_points=1000,
            **conventional,
        ),
        declared(
            "cosine",
            {**cifar, "model": "resnet18", "width": 64},
            weight_decay=5e-4,
            epochs=200,
            schedule="cosine",
            **conventional,
        ),
        declared(
            "transformer",
            {"data": "ag-news", "model": "transformer"},
            lrs=lrs,
            space="whole",
            momentum=0.9,
            weight_decay=1e-3,
            epochs=100,  # ours: the paper gives none
            batch_size=128,
            seeds=1,
        ),
    )
    return Scale(
        sweeps=sweeps,
        measurements=measurements,
        about="CIFAR-10, MNIST and AG News with the paper's networks, 1000 epochs, one seed as in the paper: parts that need an interval over seeds are undetermined.",
    )
