"""What is trained, at each scale. The ticks are the published ones in `laptop` and `paper`: they need no GPU.

Pre-train at each PLR, fine-tune with each FLR, average checkpoints of training on at the PLR: one sweep does all three.
`paper` follows App. A, F and the public code. What none of them states is marked "ours".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrscope.config import SweepConfig
from lrscope.studies.feature_learning.effects_bands import GROUPS, LOWEST, ONLY, REST
from lrscope.studies.feature_learning.measurements import everywhere
from lrscope.studies.types import Scale, StudySweep

ABOUT = {
    "ticks": "The synthetic example: 16 features, each of which tells the class.",
    "resnet": "SI ResNet-18 on the sphere.",
    "convnet": "SI ConvNet on the sphere.",
    "practical": "Conventional training of a ResNet-18: all weights, momentum, weight decay, augmentation.",
    "resnet100": "SI ResNet-18 on CIFAR-100.",
    "convnet100": "SI ConvNet on CIFAR-100.",
    "practical100": "Conventional training of a ResNet-18 on CIFAR-100.",
    "vit": "A vision transformer trained with Adam.",
    ONLY + LOWEST: "A vision transformer on images of the lowest frequency bands alone: the first two of 32.",
    ONLY + REST: "A vision transformer on images of the other low and mid frequency bands alone.",
    "fine_tuned": "SI ResNet-18 on the sphere, fine-tuned with several learning rates from every part of regimes 1 and 2.",
    "converged": "SI ResNet-18 on the sphere, fine-tuned from regime 2 to a low training loss.",
    **{ONLY + name: f"SI ResNet-18 on images of one group of frequency bands alone: {name}." for name in GROUPS},
}
TICKS_PLRS = (
    3.162e-05, 5.623e-05, 0.0001, 0.0001778, 0.0003162, 0.0005623, 0.001, 0.001778, 0.003162, 0.005623, 0.007499, 0.01,
    0.01334, 0.01778, 0.02371, 0.03162, 0.04217, 0.05623, 0.1, 0.1778, 0.3162, 0.5623, 1.0,
)  # fmt: skip
# Of the laptop evidence: nobody has looked at runs with these seeds, of this study or another. Criteria were settled with those from 0 on;
# what is trained, and how all but FL4 are read, was changed after evidence with those from 1000 on had been seen, and after that with
# those from 2000 on.
FIRST_SEED = 13_000
USEFUL = {name: name for name in GROUPS}  # which of them are useful: for FL5 and FL6
VIT = {"depth": 2, "patch": 7, "dropout": 0.0}  # without dropout, so that runs train together
CONVENTIONAL: dict[str, Any] = {"space": "whole", "momentum": 0.9, "weight_decay": 5e-4, "augment": True}


def _sweep(name: str, task: dict[str, Any], **options: Any) -> StudySweep:
    return StudySweep(name=name, about=ABOUT[name], task=task, config=SweepConfig(**options))


def _alone(task: dict[str, Any], bands: Mapping[str, str], **options: Any) -> tuple[StudySweep, ...]:
    """A sweep for each group of bands, trained and tested on images of that group alone; `bands` by what its name ends with."""
    images = {key: value for key, value in task.items() if key != "features"}
    return tuple(_sweep(ONLY + name, {**images, "only_bands": group}, **options) for name, group in bands.items())


def ticks(seeds: int = 5, data_seeds: int = 10) -> StudySweep:
    """The published grid: 23 PLRs, 11 FLRs, 10 data seeds x 5 training seeds (App. A; the public code has 5 x 10), 40,000 and 20,000
    steps."""
    return _sweep(
        "ticks",
        {"data": "ticks", "model": "mlp"},
        lrs=TICKS_PLRS,
        seeds=seeds,
        data_seeds=data_seeds,
        batch_size=16,
        radius=1.0,
        steps=40_000,
        finetune_lrs=TICKS_PLRS[:11],
        finetune_steps=20_000,
        average=(2, 5, 10, 20, 50),
        average_every=100,
        keep_weights=True,
    )


def laptop() -> Scale:
    """Ticks as published; Fashion-MNIST for networks with convolutions; ours, but for the ticks."""
    images = {"data": "fashion-mnist", "test_size": 5000, "features": "bands/scaled/removed", "train_size": 512}
    # On bands alone networks differ by 8 points and more from each other: 2,500 images, with a standard error of one, are enough, and
    # evaluating 5,000 took two thirds of the time of `resnet`.
    bands = {**images, "test_size": 2500}
    resnet = {**bands, "model": "resnet18", "width": 4}
    shared: dict[str, Any] = {"batch_size": 32, "data_seeds": 6, "seeds": 1}
    short: dict[str, Any] = {**shared, "epochs": 36, "finetune_epochs": 24, "average": (5,), "log_points": 8}
    # Patches of 7 x 7 are 16 tokens; the paper's 4 x 4 would be 49, for four times the work.
    vit = {**images, "model": "vit", "width": 32, "train_size": 1024, "model_options": VIT}
    adam: dict[str, Any] = {**shared, "space": "whole", "optimizer": "adam", "weight_decay": 1e-4, "epochs": 60}
    pooled = {"data": "fashion-mnist", "pool": 2, "test_size": 5000, "model": "resnet18", "width": 4, "train_size": 256}
    before: dict[str, Any] = {
        **shared,
        "data_seeds": 5,
        "epochs": 80,
    }  # pre-training of both sweeps on the pooled images
    sweeps = (
        # As many runs as the paper's 10 x 5. Claims are judged over data sets: 25 of them bound FL1's best of 2 against the best of 1 to
        # about a point, and FL3's open parts ask for 16 to 26, if they scatter as those with seeds from 2000 on.
        ticks(seeds=2, data_seeds=25),
        *_alone(resnet, USEFUL, lrs=(1e-3, 3e-3), epochs=36, log_points=2, **shared),
        # One FLR: bands are measured after it, and each more would cost as much as pre-training. The spread of FLRs is seen in
        # `fine_tuned`.
        # One of four maps showed no regime 1: 36 epochs with 5e-4 are too few to tell.
        _sweep("resnet", resnet, lrs=(1e-3, 2e-3, 3e-3, 5e-3, 8e-3, 1.6e-2, 4e-2), finetune_lrs=(5e-4,), **short),
        _sweep(
            "convnet",
            {**bands, "model": "convnet", "width": 4},
            # Border 1|2 lies between 5e-3 and 1e-2 (seeds from 1000 on), where two of four maps had no rate of 2A.
            lrs=(2e-3, 5e-3, 7e-3, 1e-2, 1.4e-2),
            finetune_lrs=(5e-4,),
            **short,
        ),
        _sweep(
            "practical",
            {**resnet, "test_size": 5000},
            lrs=(4e-3, 1.6e-2, 6e-2, 1.5e-1, 4e-1),
            # No claim reads a higher one; its time goes into draws of the data.
            finetune_lrs=(1e-3,),
            epochs=50,
            finetune_epochs=25,
            average=(5,),
            log_points=8,
            **shared,
            **CONVENTIONAL,
        ),
        _sweep(
            "vit",
            vit,
            lrs=(1e-4, 1e-3, 2e-3, 4e-3, 5.5e-3, 1e-2),
            finetune_lrs=(1e-4, 3e-4),
            finetune_epochs=40,
            average=(5, 10),
            log_points=8,
            keep_weights=True,
            **adam,
        ),
        *_alone(vit, {LOWEST: "1-2", REST: "3-21"}, lrs=(1e-3, 2e-3), log_points=2, **adam),
        _sweep(
            "fine_tuned",
            pooled,
            # Border 1|2 lies between 5e-3 and 8e-3 (seeds from 1000 and from 2000 on): three rates on either side.
            lrs=(2.5e-3, 3.5e-3, 5e-3, 8e-3, 1.2e-2, 1.8e-2),
            # FL1 compares FLRs where the lowest ends below a training loss of 0.05. If the loss goes as 1/(FLR x t), 1e-3 ends at 0.007 to
            # 0.03 after 400 epochs, as 1.5e-3 ended at 0.004 to 0.016 after 480; 5e-4 and 320, planned before, would have at 0.02 to 0.07.
            finetune_lrs=(1e-3, 2.2e-3, 5e-3),
            finetune_epochs=400,
            log_points=12,
            **before,
        ),
        _sweep(
            "converged",
            pooled,
            # FL8 compares fine-tunes from regime 2 alone; that they come from there the map of `fine_tuned` says, whose pre-training this is.
            lrs=(8e-3, 1.2e-2, 1.8e-2),
            finetune_lrs=(1.5e-3, 2.7e-3, 5e-3),
            # 480 epochs end in five draws at losses of 0.0040 to 0.0160 (seeds from 2000 on), where 0.01 is asked. If the loss goes as 1/t,
            # 1,200 end at 0.0064 in the worst; not piloted, and in one draw of earlier ones no FLR got below 0.01, which speaks against 1/t.
            finetune_epochs=1200,
            log_points=20,  # every 60 epochs of fine-tuning, as FL8 reads values off between moments
            **before,
        ),
    )
    return Scale(
        sweeps=sweeps,
        measurements=everywhere(resnet, scaled=True),
        about="The published ticks in 25 data sets; Fashion-MNIST (ResNet-18 and ConvNet k = 4 on 512 images, a transformer of two blocks on 1,024; "
        "pooled to 14 x 14 another on 256), 5 or 6 data seeds. Up to two hours on two CPU cores.",
        first_seed=FIRST_SEED,
    )


def smoke() -> Scale:
    """Everything in small: shows that it runs, says nothing."""
    digits = {"data": "digits", "train_size": 256, "test_size": 100, "features": "bands/scaled/removed"}
    shared: dict[str, Any] = {
        "batch_size": 32,
        "seeds": 3,
        "log_points": 8,
        "steps": 160,
        "finetune_steps": 40,
        "average": (2, 5),
    }
    lrs, flrs = (5e-4, 2e-3, 8e-3, 3.2e-2, 6.4e-2, 1.0), (5e-4, 2e-3, 4e-3)
    mlp = {**digits, "model": "mlp", "width": 16}
    plain = {key: value for key, value in mlp.items() if key != "features"}
    vit = {
        **digits,
        "model": "vit",
        "width": 16,
        "model_options": {"depth": 2, "dropout": 0.0},
    }  # so that runs train together
    adam: dict[str, Any] = {
        "space": "whole",
        "optimizer": "adam",
        "weight_decay": 1e-4,
        "batch_size": 32,
        "seeds": 2,
        "steps": 40,
        "log_points": 2,
    }
    whole = {
        **shared,
        **CONVENTIONAL,
        "augment": False,
        "finetune_lrs": (1e-3, 1e-2),
        "lrs": (1e-3, 1e-2, 1e-1, 1.0, 10.0),
    }
    sweeps = (
        _sweep(
            "ticks",
            {"data": "ticks", "model": "mlp"},
            lrs=TICKS_PLRS[::4],
            finetune_lrs=TICKS_PLRS[:11:5],
            seeds=2,
            data_seeds=2,
            batch_size=16,
            radius=1.0,
            steps=640,
            finetune_steps=160,
            average=(2, 5),
            average_every=32,
            log_points=8,
            keep_weights=True,
        ),
        *_alone(mlp, USEFUL, lrs=lrs[1:3], batch_size=32, seeds=3, log_points=2, steps=80),
        _sweep("resnet", mlp, lrs=lrs, finetune_lrs=flrs, **shared),
        _sweep("convnet", mlp, lrs=lrs, finetune_lrs=flrs[:2], **shared),
        _sweep("practical", mlp, **whole),
        _sweep(
            "vit",
            vit,
            lrs=(1e-4, 1e-3, 1e-2),
            finetune_lrs=(1e-4, 3e-4),
            keep_weights=True,
            finetune_steps=16,
            average=(2, 5),
            **adam,
        ),
        *_alone(vit, {LOWEST: "1", REST: "2-6"}, lrs=(1e-3,), **adam),
        _sweep("fine_tuned", plain, lrs=lrs, finetune_lrs=flrs, **shared),
        _sweep("converged", plain, lrs=lrs[1:], finetune_lrs=flrs, **shared),
    )
    return Scale(
        sweeps=sweeps,
        measurements=everywhere(mlp, scaled=True),
        about="Short ticks, a small MLP and a tiny transformer on digits; a minute; the numbers mean nothing.",
    )


def paper() -> Scale:
    """The paper's own numbers, but for the seeds of images: three, because claims are judged over seeds."""
    decades = [m * 10.0**k for k in range(-5, -1) for m in (1, 1.4, 2, 3, 5, 7)]
    plrs = tuple(float(f"{lr:.4g}") for lr in (1e-6, 2e-6, 5e-6, *decades, 0.1, 0.2, 0.5, 1.0, 2.0))
    cifar, cifar100 = ({"data": name, "features": "bands/removed"} for name in ("cifar10", "cifar100"))
    resnet = {**cifar, "model": "resnet18", "width": 32}
    shared: dict[str, Any] = {
        "batch_size": 128,
        "seeds": 3,
        "epochs": 200,
        "finetune_epochs": 200,
        "average": (2, 5, 10, 50, 100),
    }
    sphere = {**shared, "lrs": plrs, "finetune_lrs": (1e-5, 5e-5, 1e-4, 2e-4, 3e-4)}
    lrs = tuple(m * 10.0**k for k in range(-4, 1) for m in (1, 2, 5))
    practical = {**shared, **CONVENTIONAL, "lrs": lrs, "finetune_lrs": (1e-4, 1e-3, 1e-2)}  # the grid: ours
    plain = {**resnet, "features": None}
    vit = {**cifar, "model": "vit"}
    adam: dict[str, Any] = {
        "space": "whole",
        "optimizer": "adam",
        "weight_decay": 1e-4,
        "batch_size": 512,
        "seeds": 3,
        "epochs": 500,
    }
    sweeps = (
        ticks(),
        *_alone(resnet, USEFUL, lrs=(1e-4, 3e-4, 1e-3), batch_size=128, seeds=3, epochs=200),
        _sweep("resnet", resnet, **sphere),
        _sweep("convnet", {**cifar, "model": "convnet", "width": 32}, **sphere),
        _sweep("practical", {**cifar, "model": "resnet18", "width": 64}, **practical),
        _sweep("resnet100", {**cifar100, "model": "resnet18", "width": 32}, **sphere),
        _sweep("convnet100", {**cifar100, "model": "convnet", "width": 128}, **sphere),
        _sweep("practical100", {**cifar100, "model": "resnet18", "width": 64}, **practical),
        _sweep(
            "vit",
            vit,
            lrs=(*(m * 10.0**k for k in range(-5, -2) for m in (1, 2, 5)), 1e-2),
            finetune_lrs=(1e-5, 2e-5, 5e-5, 1e-4),
            finetune_epochs=500,
            average=shared["average"],
            augment=True,
            randaugment=(2, 14),
            keep_weights=True,
            **adam,
        ),
        *_alone(vit, {LOWEST: "1-2", REST: "3-24"}, lrs=(1e-4, 5e-4), **adam),
        _sweep("fine_tuned", plain, **{**sphere, "average": (), "lrs": tuple(lr for lr in plrs if 1e-5 <= lr < 0.1)}),
        # Of regime 2, by the borders that the authors drew: 2e-4 and 7e-2.
        _sweep("converged", plain, **{**sphere, "average": (), "lrs": tuple(lr for lr in plrs if 2e-4 <= lr < 7e-2)}),
    )
    return Scale(
        sweeps=sweeps,
        measurements=everywhere(resnet, scaled=False),
        about="The published ticks; CIFAR-10 and CIFAR-100 with the paper's networks, 200 epochs (500 for the transformer), three seeds for the paper's one.",
    )
