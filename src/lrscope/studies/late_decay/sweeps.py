"""What is trained and simulated, at each scale.

`paper` has the numbers of the paper's public code: network, images, loss, optimizer, main path. The paper's text is not known to us
beyond a summary; what neither states is marked "ours". So is all of `laptop` and `smoke`, but for the kind of network, the
losses, momentum, weight decay, batch size and large learning rate.

What was fixed before the first judged run: the model's N, d, label noise, rates and steps after pilots with seeds 0 to 199
(docs/late_decay_theory.md), and its thresholds. Judged seeds begin at 10000; those of the evidence before were 4000, 6000 and 9000 and
on. A setting changes only before evidence, or with a dated note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lrscope.config import Branch, SweepConfig
from lrscope.studies.late_decay.effects_network import LONG
from lrscope.studies.late_decay.effects_schedules import BRANCH, LATE_DECAY
from lrscope.studies.late_decay.measurements import measurements
from lrscope.studies.late_decay.sweeps_transfer import transfers
from lrscope.studies.types import Scale, StudySweep

ABOUT = {
    "mse": "A main path at a large learning rate and sub-paths that decay from it, squared error on one-hot labels.",
    "cross_entropy": "The same with cross-entropy and a smaller large rate.",
    "equal_loss": "Two sub-paths of the squared error: one that decays late, and one that decays early and trains until it fits as well.",
    "schedules": "Schedules of one length, from the same initialisations with the same batches, squared error.",
}
FIRST_SEED = 10_000  # of the laptop evidence: nobody has looked at runs with these seeds, of this study or another
LARGE = 0.1
MORE = 2.0  # ours: the catching up of LD1's early sub-path, over what the sums of learning rates ask for
UNKEPT: dict[str, Any] = {"keep_weights": False, "snapshot_epochs": ()}
SGD: dict[str, Any] = {"space": "whole", "momentum": 0.9, "weight_decay": 1e-4}
NOISY: dict[str, Any] = {"label_noise": 1.0, "start_norm": 1.5, "start_of": "predictor"}
MODEL: dict[str, Any] = {
    "gamma": [0.0, 1.0, 2.0, 3.0, 4.0],
    "lr": [5e-3],
    **NOISY,
    "steps": 20_000,
    "small_steps": 10_000,
}
SUCCESS: dict[str, Any] = {"gamma": [5.0, 6.0], "lr": [1.5e-3], **NOISY, "steps": 400_000, "small_steps": 40_000}
SPEED: dict[str, Any] = {"gamma": [0.5, 1.0, 2.0, 4.0], "lr": [5e-3], "label_noise": 1.0, "steps": 6000}
COURSES = ("constant", "step:0.1@0.1", LATE_DECAY, "1-sqrt", "linear", "cosine", "exponential:0.01", "cyclic:0.01@4")
ON_MODEL: dict[str, Any] = {"gamma": [0.0, 2.0], "lr": [5e-3], **NOISY, "steps": 20_000}
ON_DIAGONAL: dict[str, Any] = {"lr": 5e-3, "steps": 20_000, "label_noise": 1.0, "schedules": list(COURSES)}
QUIET: dict[str, Any] = {**MODEL, "gamma": [0.0, 1.0, 2.0, 4.0], "lr": [5e-3, 1e-2], "label_noise": 0.0}
FEW: dict[str, Any] = {**MODEL, "gamma": [3.0, 4.0], "examples": 4}
EVEN = 40  # further times with the large rate, of which each tenth has four: LD5 reads medians over them
PLANE = {"gammas": [0.0, 2.0], "examples": 20, "dimension": 40}


def _sweeps(
    task: dict[str, Any],
    shared: dict[str, Any],
    *,
    lr: float = LARGE,
    cross_lr: float,
    times: Sequence[float],
    factor: float,
    cooldown: float,
    equal_at: float,
    equal_draws: int,
    cross_until: float,
    fewer: int,
    course: float,
    course_draws: int,
    elsewhere: dict[str, Any],
) -> tuple[StudySweep, ...]:
    """Sub-paths of one length for each loss, cross-entropy with `fewer` draws and times until `cross_until`; then schedules of
    `course` epochs.

    The first course is constant: it is the path that the others leave at its beginning. `equal_at`: when the early one of the two
    sub-paths leaves that are compared at one training loss, with `equal_draws` draws; the other leaves at twice that. `elsewhere`: arguments of `transfers`.
    """
    sub_paths = Branch(name="cooldown", at=tuple(map(float, times)), factors=(factor,), epochs=cooldown)
    courses = Branch(name=BRANCH, at=(0.0,), schedules=COURSES[1:], epochs=course)
    short = {
        "epochs": course,
        "data_seeds": course_draws,
        **UNKEPT,
        "log_points": 40,  # means of training losses over a fortieth of the length
    }
    changes: dict[str, dict[str, Any]] = {
        "mse": {"branches": (sub_paths,)},
        "cross_entropy": {**_until(sub_paths, cross_until), "data_seeds": fewer, "lrs": (cross_lr,)},
        "equal_loss": {**_equal_loss(sub_paths, equal_at), "data_seeds": equal_draws, "log_points": 120},
        "schedules": {"branches": (courses,), **short},
    }
    found = [
        StudySweep(
            name=name,
            about=ABOUT[name],
            task={**task, "loss": "cross_entropy" if name == "cross_entropy" else "mse"},
            config=SweepConfig(**{"lrs": (lr,), **SGD, **shared, **own}),
        )
        for name, own in changes.items()
    ]
    return (*found, *transfers(found[0], **elsewhere))


def _until(sub_paths: Branch, last: float) -> dict[str, Any]:
    """The first of the sub-paths, and a main path that ends with the last of them."""
    return {
        "epochs": last,
        "branches": (replace(sub_paths, at=tuple(at for at in sub_paths.at if at <= last)),),
        **UNKEPT,
    }


def _equal_loss(sub_paths: Branch, at: float) -> dict[str, Any]:
    """A sub-path that leaves at twice a time, and one that leaves at that time and goes on until it has caught up."""
    (factor,) = sub_paths.factors
    late = replace(sub_paths, at=(2 * at,))
    early = replace(sub_paths, name=LONG, at=(at,), epochs=(late.epochs or 0) + MORE * at / factor)
    return {"epochs": 2 * at, "branches": (late, early), **UNKEPT}


def smoke() -> Scale:
    """Everything, small; the numbers mean nothing."""
    task = {"data": "digits", "model": "vgg11", "width": 4, "train_size": 200, "test_size": 200}
    shared = {
        "batch_size": 50,
        "epochs": 8,
        "data_seeds": 3,
        "seeds": 1,
        "log_points": 8,
        "keep_weights": True,
        "snapshot_epochs": (1, 2, 4, 6, 8),
    }
    return Scale(
        sweeps=_sweeps(
            task,
            shared,
            lr=0.03,
            cross_lr=0.03,
            times=[1, 2, 4, 8],
            factor=0.1,
            cooldown=4,
            equal_at=1,
            equal_draws=3,
            cross_until=4,
            fewer=3,
            course=8,
            course_draws=3,
            elsewhere={"network": {"width": 2}, "images": {"pool": 2}, "until": 8},
        ),
        measurements=measurements(
            model={"setting": {**MODEL, "steps": 400, "small_steps": 100}, "seeds": 4, "times": 20, "even": EVEN},
            quiet={"setting": {**QUIET, "steps": 400, "small_steps": 100}, "seeds": 4, "times": 20},
            few={"setting": {**FEW, "steps": 400, "small_steps": 100}, "seeds": 4, "times": 20, "even": EVEN},
            success={"setting": {**SUCCESS, "steps": 400, "small_steps": 100}, "seeds": 4, "times": 20, "even": EVEN},
            speed={"setting": {**SPEED, "steps": 300}, "starts": [1.0, 1.5, 2.0], "seeds": 3, "times": 20},
            planes={"sweep": "mse", "grid": [9, 7], "margin": 0.5},
            landscape={**PLANE, "points": 21},
            courses={"setting": {**ON_MODEL, "steps": 300}, "schedules": list(COURSES), "seeds": 3},
            diagonal={**ON_DIAGONAL, "steps": 300, "seeds": 3},
        ),
        about="Digits and few steps; a minute; the numbers mean nothing.",
    )


def laptop() -> Scale:
    """Fashion-MNIST at half its size and a narrow network; the model with hundreds of data sets.

    Images are few and the main path long, so that most sub-paths fit their training images. Looked at with seed 0: 95% are fitted
    after 80 epochs, 97.5% after 60 more at a tenth of the rate; with 2,000 images fewer, for as many steps.
    """
    task = {
        "data": "fashion-mnist",
        "pool": 2,
        "model": "vgg11",
        "width": 8,
        "train_size": 1000,
        "test_size": 2000,
    }
    shared = {
        "batch_size": 125,
        "epochs": 1280,
        "data_seeds": 8,  # a sign test over draws can then be won by all of them; 10 before the fourth evidence
        "seeds": 1,
        "log_points": 32,  # evaluating 2,000 test images takes as long as three steps
        "keep_weights": True,  # for planes through main path and sub-paths
        "snapshot_epochs": (40, *range(80, 1281, 80)),
    }
    return Scale(
        sweeps=_sweeps(
            task,
            shared,
            cross_lr=0.03,
            times=[80, 160, 320, 640, 1280],
            factor=0.1,
            cooldown=120,
            equal_at=80,  # 160 before the fourth evidence: it would take 50 draws to decide there, and twice the time for each
            equal_draws=3,
            cross_until=320,
            fewer=3,
            course=160,
            course_draws=3,
            elsewhere={
                "network": {"width": 4, "pool": 4},  # at 14x14 it would take 9 minutes alone
                "images": {"data": "digits", "pool": 1, "test_size": 797},
                "until": 320,
            },
        ),
        measurements=measurements(
            model={"setting": MODEL, "seeds": 400, "times": 60, "even": EVEN, "jobs": 2},
            quiet={"setting": QUIET, "seeds": 50, "times": 60},
            few={"setting": FEW, "seeds": 200, "times": 60, "even": EVEN},
            success={"setting": SUCCESS, "seeds": 1000, "times": 60, "even": EVEN, "jobs": 2},
            speed={"setting": SPEED, "starts": [1.0, 1.25, 1.5, 2.0], "seeds": 50, "times": 100},
            planes={"sweep": "mse", "grid": [41, 15], "margin": 0.5, "jobs": 2},
            landscape={**PLANE, "points": 101},
            courses={"setting": ON_MODEL, "schedules": list(COURSES), "seeds": 100},
            diagonal={**ON_DIAGONAL, "seeds": 100},
        ),
        about="1,000 images of Fashion-MNIST at 14x14 and that network with a quarter of the channels, 8 draws of images (3 for cross-entropy, for "
        "schedules and at equal training loss); the model with 400 data sets (1,000 for gamma 5 and 6). About 40 minutes on two CPU cores.",
        first_seed=FIRST_SEED,
    )


def paper() -> Scale:
    """CIFAR-10 with the public code's numbers, and draws of the images, because claims are judged over them.

    There sub-paths leave every 10 epochs from 200 to 1000; here earlier and later ones too, further apart. Their rate ("much smaller")
    and length ("to convergence") are ours.
    """
    task = {"data": "cifar10", "model": "vgg11", "width": 32, "train_size": 5000}
    shared = {
        "batch_size": 125,
        "epochs": 3000,
        "data_seeds": 3,
        "seeds": 1,
        "keep_weights": True,
        "snapshot_epochs": (25, *range(50, 3001, 50)),
    }
    return Scale(
        sweeps=_sweeps(
            task,
            shared,
            cross_lr=0.03,
            times=[25, 50, 100, 200, 400, 800, 1600],
            factor=0.1,
            cooldown=500,
            equal_at=200,
            equal_draws=3,
            cross_until=1600,
            fewer=3,
            course=1000,
            course_draws=3,
            elsewhere={"network": {"width": 32}, "images": {"data": "svhn"}, "until": 1600},
        ),
        measurements=measurements(
            model={"setting": MODEL, "seeds": 2000, "times": 60, "even": EVEN},
            quiet={"setting": QUIET, "seeds": 200, "times": 60},
            few={"setting": FEW, "seeds": 2000, "times": 60, "even": EVEN},
            success={"setting": SUCCESS, "seeds": 2000, "times": 60, "even": EVEN},
            speed={"setting": SPEED, "starts": [1.0, 1.25, 1.5, 2.0, 3.0], "seeds": 200, "times": 100},
            planes={"sweep": "mse", "grid": [42, 31], "margin": 0.5},
            landscape={**PLANE, "points": 301},
            courses={"setting": ON_MODEL, "schedules": list(COURSES), "seeds": 1000},
            diagonal={**ON_DIAGONAL, "seeds": 1000},
        ),
        about="5,000 images of CIFAR-10 and the paper's network, 3,000 epochs of main path, 3 draws of images; the model with 2,000 data sets.",
    )
