"""What two CPU cores train in two hours; ours, all of it."""

from __future__ import annotations

from typing import Any

from lrscope.grids import log_grid
from lrscope.studies.three_regimes.sweeps import declared, epoch_groups
from lrscope.studies.types import Scale

# Of the fourth evidence, before which nobody had looked at runs with these seeds. Criteria were settled with those from 0 on; six were changed after evidence with those
# from 1000 on had been seen, and three after that with those from 2000 on.
FIRST_SEED = 3000


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
    five_draws = {"seeds": 1, "data_seeds": 5}  # where test error decides: seeds on one draw share what it does
    cheap = {"batch_size": 64, "seeds": 5, "steps": 3200, "log_points": 80}
    more = {**cheap, "seeds": 8}  # where intervals were wide
    diverging = {**images, "model": "convnet", "pool": 1, "train_size": 256, "test_size": 200}
    early = tuple(k / 4 for k in range(1, 12))  # Fig. 16: the first three epochs finely
    first_steps = (0.25, 0.5, 0.75, 1.25, 1.5, 1.75)  # Fig. 17, 18: after a change of the ELR; at no even time
    halves = tuple(k + 0.5 for k in range(62))
    # Few images and many steps: with augmentation trajectories pass the peak of sharpness at losses of 0.2 to 0.4, where 512 images
    # or a ConvNet do not get in these minutes. The climb to the peak takes the first few dozen epochs.
    fewer = {"data": "fashion-mnist", "pool": 4, "model": "mlp", "width": 128, "train_size": 256, "test_size": 10_000}
    conventional = {
        # Steps below 0.2 decades, so that a regime 2 of no width contradicts; from more than a decade below the border on.
        "lrs": log_grid(5e-4, 1.5, 19),
        "seeds": 1,
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
    slow = (6e-4, 1.3e-3, 2.7e-3)  # of regime 1; with half of the lowest, convergence takes twice as long
    grid = log_grid(1e-4, 3, 24)
    wide_grid = log_grid(1e-4, 30, 29)  # narrow nets diverge from ELR 1 on
    # With label noise regime 1 ends at 3.6e-3 and regime 2 at 0.08: a pilot's, seeds 0 to 2.
    fine = log_grid(3e-4, 1, 36)
    first, second = (tuple(fine[k] for k in places) for places in ((5, 7, 9), (13, 17, 21)))  # of regimes 1 and 2
    settling = {**more, "steps": 9600, "log_points": 300}
    # The peak of sharpness along training is plain in wide networks only (Fig. 13): 2% high with 64 units, 20% with 256 (seed 0).
    around, wide = log_grid(2e-3, 8e-2, 16), {"seeds": 1, "data_seeds": 4, "log_points": 200}
    sweeps = (
        declared(
            "convnet",
            {**convnet, "test_size": 1000},
            lrs=elrs,
            log_epochs=early,
            snapshot_epochs=(3, 6, 18, *epoch_groups((36, 48, 60, 72), 0.25, 2)),
            **{**sphere, "seeds": 5, "log_points": 30},
        ),
        declared(
            "converged",
            # As many images as it can learn: on 4,000 it ends at a loss of 0.1 after 200 epochs (a pilot's, seed 0).
            {**convnet, "test_size": 5000},
            lrs=(8e-4, 1.2e-3, 1.7e-3, 2.4e-3),
            **{**short, "epochs": 240, "seeds": 1, "data_seeds": 4, "log_points": 30},
        ),
        declared(
            "long",
            convnet,
            lrs=slow,
            **{**sphere, **five_draws, "epochs": 252, "log_points": 60},
        ),
        # A run in regime 3 forgets where it was within a step.
        *(
            declared(
                name,
                {**diverging, "width": width},
                lrs=(1e-1,),
                **{**short, "seeds": 8, "steps": 32, "log_points": 2},
            )
            for name, width in (("walk_8", 8), ("walk_16", 16), ("wide", 32))
        ),
        declared(
            "resnet",
            {**images, "model": "resnet18", "width": 4, "train_size": 512},
            lrs=(6e-4, *log_grid(2e-3, 8e-2, 10), 3e-1),
            **{**short, "steps": 1280},
        ),
        declared("mlp", digits, lrs=grid, **more),
        declared("mlp_own", digits, lrs=grid, same_init=False, **more),
        declared(
            "tune",
            convnet,
            lrs=(4.6e-3, 1.3e-2),
            # Of three evenly spaced rates the middle one tells nothing of a slope. With 180 epochs the slowest came no lower than
            # others began in two seeds of four.
            finetune_lrs=(slow[0], slow[-1]),
            finetune_epochs=270,
            **{**sphere, **five_draws, "log_points": 54},
        ),
        declared(
            "tune_first",
            {**convnet, "test_size": 500},
            lrs=(3.2e-4,),
            finetune_lrs=(3.2e-4, 6.4e-4, 2.7e-3),
            finetune_epochs=64,
            finetune_log_epochs=first_steps,
            keep_weights=True,
            **{**sphere, "epochs": 160, "seeds": 5, "log_points": 64},
        ),
        declared(
            "tune_lower",
            {**convnet, "test_size": 500},
            lrs=(9.3e-4, 2.7e-3),
            finetune_lrs=(9.3e-4, 2.7e-3),
            finetune_epochs=120,
            finetune_log_epochs=first_steps,
            keep_weights=True,
            **{**sphere, "epochs": 30, "seeds": 4, "log_points": 60},
        ),
        declared(
            "tune_within",
            {**convnet, "test_size": 500},
            lrs=(6.6e-3, 1.3e-2),
            finetune_lrs=(6.6e-3, 1.3e-2),
            finetune_epochs=56,
            **{**sphere, "seeds": 7, "log_points": 28},
        ),
        declared(
            "tune_noise",
            noisy,
            lrs=(fine[0], *second),
            finetune_lrs=(*first, *second),
            finetune_steps=6400,
            keep_weights=True,
            **{**more, "steps": 4800, "log_points": 200},
        ),
        declared(
            "tune_noise_lower",
            noisy,
            lrs=(first[0], first[2]),
            finetune_lrs=(first[0], first[2]),
            finetune_steps=8000,
            finetune_log_epochs=first_steps,
            keep_weights=True,
            **{**more, "steps": 1600, "log_points": 200},
        ),
        declared(
            "noisy",
            noisy,
            lrs=fine,
            log_epochs=early,
            snapshot_epochs=epoch_groups((300, 400, 500, 600), 0.25, 10),
            **settling,
        ),
        declared("noise0", {**digits, "width": 256}, lrs=around, log_epochs=early, **{**cheap, **wide}),
        declared("noise20", {**noisy, "width": 256}, lrs=around, log_epochs=early, **{**cheap, **wide}),
        declared("width_small", {**digits, "width": 16}, lrs=wide_grid, **cheap),
        declared("width_usual", digits, lrs=wide_grid, **cheap),
        # Both its borders lie between 1e-2 and 1e-1.
        declared("width_large", {**digits, "width": 256}, lrs=wide_grid[4:22], **cheap),
        declared("augmented", digits, lrs=wide_grid, augment=True, **cheap),
        # Up to just below lr x weight decay = 2, where the decay alone makes weights grow; dense enough in time that jumps show.
        declared(
            "whole",
            digits,
            lrs=log_grid(1e-2, 1.9e3, 28),
            space="whole",
            scale_invariant=True,
            weight_decay=1e-3,
            **{**cheap, "steps": 16_000, "log_points": 400},
        ),
        declared("constant", fewer, **conventional),
        declared("cosine", fewer, schedule="cosine", **conventional),
        declared(
            "transformer",
            # Small batches and many steps, so that trajectories come past the peak. A third of the texts would be learned by heart at all
            # LRs up to 0.06 in 3,000 steps, and beyond 0.13 networks die (a pilot's, seed 0): no equilibrium would be left.
            {"data": "fortunes", "model": "transformer"},
            lrs=log_grid(1e-2, 1.4, 12),  # steps below 0.2 decades, as above
            space="whole",
            momentum=0.9,
            weight_decay=1e-3,
            batch_size=16,
            seeds=1,
            data_seeds=3,
            steps=12_000,
            log_epochs=halves,  # with whole epochs 125 moments: dense enough for a peak to show
        ),
    )
    about = (
        "Fashion-MNIST pooled to 14 x 14 (1,024 images; ConvNet k = 8, ResNet-18 k = 4 on 512), digits (MLP 64-64-64-10), "
        "256 images at 7 x 7 (a conventional MLP), Debian's fortunes (Transformer); 3 to 8 seeds. Up to two hours on two CPU cores."
    )
    return Scale(sweeps=sweeps, measurements=measurements, about=about, first_seed=FIRST_SEED)
