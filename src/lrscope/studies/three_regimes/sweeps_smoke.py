"""Everything in seconds: shows that it runs."""

from __future__ import annotations

from typing import Any

from lrscope.studies.three_regimes.sweeps import declared
from lrscope.studies.types import Scale


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
        declared("convnet", digits, lrs=elrs, snapshot_epochs=(3, 8, 10, 16), **shared),
        declared("converged", digits, lrs=elrs[:4], **{**shared, "seeds": 1, "data_seeds": 3}),
        declared("long", digits, lrs=(2e-3, 4e-3), **shared),
        *(
            declared(name, {**digits, "width": width}, lrs=elrs[-1:], **shared)
            for name, width in (("walk_8", 16), ("walk_16", 32), ("wide", 64))
        ),
        declared("resnet", {**digits, "width": 32}, lrs=elrs, **shared),
        declared("mlp", digits, lrs=elrs, **shared),
        declared("mlp_own", digits, lrs=elrs, same_init=False, **shared),
        declared(
            "tune",
            digits,
            lrs=(3.2e-2, 6.4e-2),
            finetune_lrs=(2e-3, 4e-3),
            finetune_steps=80,
            **shared,
        ),
        declared(
            "tune_first",
            digits,
            lrs=(5e-4, 2e-3),
            finetune_lrs=(5e-4, 1e-3, 4.2e-3),
            finetune_steps=80,
            keep_weights=True,
            **shared,
        ),
        declared(
            "tune_lower",
            digits,
            lrs=(2e-3, 4e-3),
            finetune_lrs=(2e-3, 4e-3),
            finetune_steps=80,
            keep_weights=True,
            **shared,
        ),
        declared(
            "tune_within",
            digits,
            lrs=(3.2e-2, 6.4e-2),
            finetune_lrs=(3.2e-2, 6.4e-2),
            finetune_steps=80,
            **shared,
        ),
        declared(
            "tune_noise",
            {**digits, "label_noise": 0.2},
            lrs=(5e-4, 2e-2, 3.2e-2),
            finetune_lrs=(5e-4, 2e-3, 2e-2, 3.2e-2),
            finetune_steps=80,
            keep_weights=True,
            **shared,
        ),
        declared(
            "tune_noise_lower",
            {**digits, "label_noise": 0.2},
            lrs=(5e-4, 2e-3),
            finetune_lrs=(5e-4, 2e-3),
            finetune_steps=80,
            keep_weights=True,
            **shared,
        ),
        declared("noisy", {**digits, "label_noise": 0.2}, lrs=elrs, snapshot_epochs=(8, 10, 16), **shared),
        declared("noise0", digits, lrs=elrs[1:7], log_epochs=(0.25, 0.5), **shared),
        declared("noise20", {**digits, "label_noise": 0.2}, lrs=elrs[1:7], log_epochs=(0.25, 0.5), **shared),
        declared("width_small", {**digits, "width": 8}, lrs=elrs, **shared),
        declared("width_usual", {**digits, "width": 24}, lrs=elrs, **shared),
        declared("width_large", {**digits, "width": 64}, lrs=elrs, **shared),
        declared("augmented", {**digits, "width": 24}, lrs=elrs, augment=True, **shared),
        declared("whole", digits, scale_invariant=True, **{**whole, "momentum": 0.0}),
        declared("constant", digits, **whole),
        declared("cosine", digits, schedule="cosine", **whole),
        declared("transformer", digits, **whole),
    )
    return Scale(
        sweeps=sweeps,
        measurements=measurements,
        about="A small MLP on digits for everything; seconds; the numbers mean nothing.",
    )
