"""What is trained, at each scale. Names are the same at all scales; only sizes differ.

`paper` follows App. C and the public code (PROTOCOLS): 1000 epochs, batch 128, the grid {1, 2, 5} x 10^-k. What neither
states is marked "ours".
"""

from __future__ import annotations

from typing import Any

from lrscope.config import SweepConfig
from lrscope.grids import log_grid
from lrscope.studies.types import Scale, StudySweep

ABOUT = {
    "convnet": "SI ConvNet on the sphere: the paper's main experiment.",
    "converged": "The ConvNet at ELRs of regime 1, on a larger training set and until it has converged.",
    "long": "The ConvNet at ELRs of regime 1, trained for as long as with fine-tuning from regime 2.",
    "wide": "A ConvNet four times as wide, on images of full size, in regime 3, to see what its loss consists of.",
    "resnet": "SI ResNet-18 on the sphere.",
    "mlp": "SI MLP on the sphere, same initialisation and batches at every ELR.",
    "mlp_own": "A network with an own initialisation and batch order at every ELR.",
    "tune": "The ConvNet fine-tuned from ELRs of regime 2 with those of regime 1, until it has converged.",
    "tune_first": "The ConvNet fine-tuned inside regime 1 with larger ELRs, after longer training: barriers grow with convergence.",
    "tune_lower": "The ConvNet fine-tuned inside regime 1 with a smaller ELR, early and for long, so that its loss falls.",
    "tune_within": "The ConvNet fine-tuned inside regime 2 only, for longer and with more seeds: its levels scatter.",
    "tune_noise": "The network of `noise20` fine-tuned from ELRs of regimes 1 and 2 with others of both.",
    "tune_noise_lower": "The same fine-tuned inside regime 1 with a smaller ELR, early and for long.",
    "noisy": "The MLP with 20% of the training labels redrawn: its regime 2 is more than a decade wide.",
    "noise0": "A wide MLP around the border 1|2, with its first epochs logged finely.",
    "noise20": "The same with 20% of the training labels redrawn.",
    "width_small": "A narrow network.",
    "width_usual": "The usual network, to compare widths and augmentation with.",
    "width_large": "A wide network.",
    "augmented": "The usual network with random crops and flips.",
    "whole": "An SI network in the whole parameter space with weight decay, up to where lr x weight decay is near 1.",
    "constant": "Conventional training: all weights, momentum, weight decay, augmentation, constant LR.",
    "cosine": "The same with a cosine schedule.",
    "transformer": "A one-layer text Transformer, trained conventionally.",
}
# Of the laptop evidence: nobody has looked at runs with these seeds. Criteria were settled with those from 0 on.
FIRST_SEED = 1000


def _sweep(name: str, task: dict[str, Any], **options: Any) -> StudySweep:
    return StudySweep(name=name, about=ABOUT[name], task=task, config=SweepConfig(**options))


def _groups(starts: tuple[float, ...], *after: float) -> tuple[float, ...]:
    """Epochs, and others so many after each but the last: the same distances between checkpoints from several first ones."""
    return (*(start + more for start in starts[:-1] for more in (0, *after)), starts[-1])


def laptop(measurements: tuple[Any, ...]) -> Scale:
    """Fashion-MNIST pooled to 14 x 14 (1,024 images) for the ConvNet, digits for the MLP; ours, all of it."""
    images = {"data": "fashion-mnist", "pool": 2, "train_size": 1024, "test_size": 2000}
    convnet = {**images, "model": "convnet", "width": 8}
    digits = {"data": "digits", "model": "mlp"}
    noisy = {**digits, "label_noise": 0.2}
    # Batches of 32: the paper's fraction of the training set is smaller still, and smaller batches widen regime 2. Evaluation
    # on test data costs as much as 40 training steps, so that it is logged rarely.
    short = {"batch_size": 32, "seeds": 3, "log_points": 20}
    sphere = {**short, "epochs": 72, "log_points": 12}
    cheap = {"batch_size": 64, "seeds": 5, "steps": 3200, "log_points": 80}
    early = tuple(k / 4 for k in range(1, 12))  # Fig. 16: the first three epochs finely
    # Few images and many steps: with augmentation trajectories pass the peak of sharpness at losses of 0.2 to 0.4, where 512 images
    # or a ConvNet do not get in these minutes. The climb to the peak takes the first few dozen epochs.
    fewer = {"data": "fashion-mnist", "pool": 4, "model": "mlp", "width": 128, "train_size": 256, "test_size": 10_000}
    conventional = {
        "lrs": log_grid(2e-3, 1.5, 16),  # steps below 0.2 decades, so that a regime 2 of no width contradicts
        "seeds": 2,
        "data_seeds": 5,
        "space": "whole",
        "steps": 24_000,
        "batch_size": 32,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "augment": True,
        "log_points": 60,
        "log_epochs": (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24),
    }
    # Evenly spaced in regime 1, and three times as densely in regime 2 up to where runs begin to jump.
    elrs = (4e-5, 1.15e-4, 3.2e-4, 9.3e-4, 2.7e-3, 3.5e-3, 4.6e-3, 6.6e-3, 1.3e-2, 2.2e-2, 4.7e-2, 1e-1)
    grid = log_grid(1e-4, 3, 24)
    wide_grid = log_grid(1e-4, 30, 29)  # narrow nets diverge from ELR 1 on
    # With label noise regime 1 ends at 3.6e-3 and regime 2 at 0.08: a pilot's, seeds 0 to 2.
    fine = log_grid(3e-4, 1, 36)
    first, second = (tuple(fine[k] for k in places) for places in ((5, 7, 9), (13, 17, 21)))  # of regimes 1 and 2
    settling = {**cheap, "steps": 9600, "log_points": 300}
    # The peak of sharpness along training is plain in wide networks only (Fig. 13): 2% high with 64 units, 20% with 256 (seed 0).
    around, wide = log_grid(2e-3, 8e-2, 16), {"seeds": 4, "log_points": 200}
    sweeps = (
        _sweep(
            "convnet",
            {**convnet, "test_size": 1000},
            lrs=elrs,
            log_epochs=early,
            snapshot_epochs=(3, 6, 18, *_groups((36, 48, 60, 72), 0.25, 2)),
            **{**sphere, "seeds": 5, "log_points": 36},
        ),
        _sweep(
            "converged",
            {**convnet, "train_size": 4000, "test_size": 10_000},
            lrs=(5e-4, 9e-4, 1.5e-3, 2.2e-3),
            **{**short, "batch_size": 64, "epochs": 200, "seeds": 1, "data_seeds": 4, "log_points": 40},
        ),
        _sweep(
            "long",
            convnet,
            lrs=(3.2e-4, 9.3e-4, 2.7e-3),
            **{**sphere, "epochs": 280, "seeds": 4, "log_points": 80},
        ),
        # A run in regime 3 forgets where it was within a step.
        _sweep(
            "wide",
            {**convnet, "pool": 1, "width": 32, "train_size": 256, "test_size": 200},
            lrs=(1e-1,),
            **{**short, "seeds": 5, "steps": 32, "log_points": 2},
        ),
        _sweep(
            "resnet",
            {**images, "model": "resnet18", "width": 4, "train_size": 512},
            lrs=(6e-4, *log_grid(2e-3, 8e-2, 10), 3e-1),
            **{**short, "steps": 1280},
        ),
        _sweep("mlp", digits, lrs=grid, **cheap),
        _sweep("mlp_own", digits, lrs=grid, same_init=False, **cheap),
        _sweep(
            "tune",
            convnet,
            lrs=(4.6e-3, 1.3e-2),
            finetune_lrs=(3.2e-4, 9.3e-4, 2.7e-3),
            finetune_epochs=250,
            **{**sphere, "seeds": 4, "log_points": 80},
        ),
        _sweep(
            "tune_first",
            {**convnet, "test_size": 500},
            lrs=(3.2e-4,),
            finetune_lrs=(3.2e-4, 6.4e-4, 2.7e-3),
            finetune_epochs=64,
            keep_weights=True,
            **{**sphere, "epochs": 160, "seeds": 5, "log_points": 64},
        ),
        _sweep(
            "tune_lower",
            {**convnet, "test_size": 500},
            lrs=(9.3e-4, 2.7e-3),
            finetune_lrs=(9.3e-4, 2.7e-3),
            finetune_epochs=120,
            keep_weights=True,
            **{**sphere, "epochs": 30, "seeds": 4, "log_points": 60},
        ),
        _sweep(
            "tune_within",
            {**convnet, "test_size": 500},
            lrs=(6.6e-3, 1.3e-2),
            finetune_lrs=(6.6e-3, 1.3e-2),
            finetune_epochs=56,
            **{**sphere, "seeds": 6, "log_points": 28},
        ),
        _sweep(
            "tune_noise",
            noisy,
            lrs=(fine[0], *second),
            finetune_lrs=(*first, *second),
            finetune_steps=6400,
            keep_weights=True,
            **{**cheap, "steps": 4800, "log_points": 200},
        ),
        _sweep(
            "tune_noise_lower",
            noisy,
            lrs=(first[0], first[2]),
            finetune_lrs=(first[0], first[2]),
            finetune_steps=8000,
            keep_weights=True,
            **{**cheap, "steps": 1600, "log_points": 200},
        ),
        _sweep(
            "noisy",
            noisy,
            lrs=fine,
            log_epochs=early,
            snapshot_epochs=_groups((300, 400, 500, 600), 0.25, 10),
            **settling,
        ),
        _sweep("noise0", {**digits, "width": 256}, lrs=around, log_epochs=early, **{**cheap, **wide}),
        _sweep("noise20", {**noisy, "width": 256}, lrs=around, log_epochs=early, **{**cheap, **wide}),
        _sweep("width_small", {**digits, "width": 16}, lrs=wide_grid, **cheap),
        _sweep("width_usual", digits, lrs=wide_grid, **cheap),
        _sweep("width_large", {**digits, "width": 256}, lrs=wide_grid, **cheap),
        _sweep("augmented", digits, lrs=wide_grid, augment=True, **cheap),
        # Up to just below lr x weight decay = 2, where the decay alone makes weights grow; dense enough in time that jumps show.
        _sweep(
            "whole",
            digits,
            lrs=log_grid(1e-2, 1.9e3, 28),
            space="whole",
            scale_invariant=True,
            weight_decay=1e-3,
            **{**cheap, "steps": 16_000, "log_points": 400},
        ),
        _sweep("constant", fewer, **conventional),
        _sweep("cosine", fewer, schedule="cosine", **conventional),
        _sweep(
            "transformer",
            {"data": "fortunes", "model": "transformer"},
            lrs=log_grid(2e-2, 1, 12),
            space="whole",
            momentum=0.9,
            weight_decay=1e-3,
            **{**short, "seeds": 1, "data_seeds": 5, "steps": 2000},
        ),
    )
    about = (
        "Fashion-MNIST pooled to 14 x 14 (1,024 images, 4,000 until convergence; ConvNet k = 8, ResNet-18 k = 4 on 512), digits (MLP 64-64-64-10), "
        "256 images at 7 x 7 (a conventional MLP), Debian's fortunes (Transformer); 3 to 10 seeds. Up to two hours on two CPU cores."
    )
    return Scale(sweeps=sweeps, measurements=measurements, about=about, first_seed=FIRST_SEED)


def smoke(measurements: tuple[Any, ...]) -> Scale:
    """Everything in small, an MLP on digits instead of every network: shows that it runs, says nothing."""
    digits = {"data": "digits", "model": "mlp", "train_size": 512, "test_size": 200}
    shared = {"batch_size": 32, "seeds": 3, "steps": 256, "log_points": 16}
    elrs = (5e-4, 2e-3, 4e-3, 8e-3, 2e-2, 3.2e-2, 4.5e-2, 6.4e-2, 1.0)
    whole = {
        **shared,
        "space": "whole",
        "momentum": 0.9,
        "weight_decay": 1e-3,
        "lrs": (1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0),
    }
    sweeps = (
        _sweep("convnet", digits, lrs=elrs, snapshot_epochs=(3, 8, 10, 16), **shared),
        _sweep("converged", digits, lrs=elrs[:4], **{**shared, "seeds": 1, "data_seeds": 3}),
        _sweep("long", digits, lrs=(2e-3, 4e-3), **shared),
        _sweep("wide", {**digits, "width": 64}, lrs=elrs[-1:], **shared),
        _sweep("resnet", {**digits, "width": 32}, lrs=elrs, **shared),
        _sweep("mlp", digits, lrs=elrs, **shared),
        _sweep("mlp_own", digits, lrs=elrs, same_init=False, **shared),
        _sweep(
            "tune",
            digits,
            lrs=(3.2e-2, 6.4e-2),
            finetune_lrs=(2e-3, 4e-3),
            finetune_steps=80,
            **shared,
        ),
        _sweep(
            "tune_first",
            digits,
            lrs=(5e-4, 2e-3),
            finetune_lrs=(5e-4, 1e-3, 4.2e-3),
            finetune_steps=80,
            keep_weights=True,
            **shared,
        ),
        _sweep(
            "tune_lower",
            digits,
            lrs=(2e-3, 4e-3),
            finetune_lrs=(2e-3, 4e-3),
            finetune_steps=80,
            keep_weights=True,
            **shared,
        ),
        _sweep(
            "tune_within",
            digits,
            lrs=(3.2e-2, 6.4e-2),
            finetune_lrs=(3.2e-2, 6.4e-2),
            finetune_steps=80,
            **shared,
        ),
        _sweep(
            "tune_noise",
            {**digits, "label_noise": 0.2},
            lrs=(5e-4, 2e-2, 3.2e-2),
            finetune_lrs=(5e-4, 2e-3, 2e-2, 3.2e-2),
            finetune_steps=80,
            keep_weights=True,
            **shared,
        ),
        _sweep(
            "tune_noise_lower",
            {**digits, "label_noise": 0.2},
            lrs=(5e-4, 2e-3),
            finetune_lrs=(5e-4, 2e-3),
            finetune_steps=80,
            keep_weights=True,
            **shared,
        ),
        _sweep("noisy", {**digits, "label_noise": 0.2}, lrs=elrs, snapshot_epochs=(8, 10, 16), **shared),
        _sweep("noise0", digits, lrs=elrs[1:7], log_epochs=(0.25, 0.5), **shared),
        _sweep("noise20", {**digits, "label_noise": 0.2}, lrs=elrs[1:7], log_epochs=(0.25, 0.5), **shared),
        _sweep("width_small", {**digits, "width": 8}, lrs=elrs, **shared),
        _sweep("width_usual", {**digits, "width": 24}, lrs=elrs, **shared),
        _sweep("width_large", {**digits, "width": 64}, lrs=elrs, **shared),
        _sweep("augmented", {**digits, "width": 24}, lrs=elrs, augment=True, **shared),
        _sweep("whole", digits, scale_invariant=True, **{**whole, "momentum": 0.0}),
        _sweep("constant", digits, **whole),
        _sweep("cosine", digits, schedule="cosine", **whole),
        _sweep("transformer", digits, **whole),
    )
    return Scale(
        sweeps=sweeps,
        measurements=measurements,
        about="A small MLP on digits for everything; seconds; the numbers mean nothing.",
    )


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
    apart = _groups((500, 650, 800, 950), 0.25, 10)
    lrs = tuple(m * 10.0**-k for k in range(4, -1, -1) for m in (1, 2, 5))
    conventional = {"space": "whole", "momentum": 0.9, "augment": True, "batch_size": 128, "seeds": 1, "lrs": lrs}
    sweeps = (
        _sweep("convnet", convnet, lrs=elrs, snapshot_epochs=(10, 50, 100, 200, *apart), **long),
        # Three seeds, each with its own part of the training set (ours): the paper has one.
        _sweep("converged", {**convnet, "train_size": 40_000}, lrs=first, **{**long, "data_seeds": 3}),
        _sweep("long", convnet, lrs=first, **{**long, "epochs": 3000}),
        _sweep("resnet", {**cifar, "model": "resnet18", "width": 32}, lrs=elrs, **long),
        _sweep("mlp", {"data": "mnist", "model": "mlp"}, lrs=elrs, **long),
        _sweep("mlp_own", convnet, lrs=elrs, same_init=False, **{**long, "seeds": 3}),
        _sweep("tune", convnet, lrs=second, finetune_lrs=first, finetune_epochs=2000, **long),  # Fig. 5, 23
        _sweep("tune_first", convnet, finetune_epochs=1000, **inside, **long),
        _sweep("tune_lower", convnet, finetune_epochs=1000, **inside, **long),
        _sweep("tune_within", convnet, lrs=second, finetune_lrs=second, finetune_epochs=2000, **long),
        _sweep(
            "tune_noise",
            noisy,
            lrs=(*first, *second),
            finetune_lrs=(*first, *second),
            finetune_epochs=2000,
            keep_weights=True,
            **long,
        ),
        _sweep("tune_noise_lower", noisy, finetune_epochs=1000, **inside, **long),
        _sweep("noisy", noisy, lrs=(*first, *second, 5e-2, 2e-1), snapshot_epochs=apart, **long),
        _sweep("noise0", convnet, lrs=elrs, log_epochs=(0.25, 0.5, 0.75), **long),
        _sweep("noise20", noisy, lrs=elrs, log_epochs=(0.25, 0.5, 0.75), **long),
        _sweep("width_small", {**convnet, "width": 8}, lrs=elrs, **long),
        _sweep("width_usual", convnet, lrs=elrs, **long),
        _sweep("width_large", {**convnet, "width": 64}, lrs=elrs, **long),
        _sweep("augmented", convnet, lrs=elrs, augment=True, **long),
        _sweep(
            "whole",
            convnet,
            # Up to lr x weight decay = 1 (ours): on small networks the third regime begins there.
            lrs=(*(m * 10.0**-k for k in range(2, -4, -1) for m in (1, 2, 5)), 1e4),
            space="whole",
            scale_invariant=True,
            weight_decay=1e-4,
            **long,
        ),
        _sweep(
            "constant",
            {**cifar, "model": "resnet18", "width": 64},
            weight_decay=5e-4,
            epochs=1000,
            log_points=1000,
            **conventional,
        ),
        _sweep(
            "cosine",
            {**cifar, "model": "resnet18", "width": 64},
            weight_decay=5e-4,
            epochs=200,
            schedule="cosine",
            **conventional,
        ),
        _sweep(
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
