"""The sweeps of the study, the same at every scale, and how a scale declares them."""

from __future__ import annotations

from typing import Any

from lrscope.config import SweepConfig
from lrscope.studies.types import StudySweep

ABOUT = {
    "convnet": "SI ConvNet on the sphere: the paper's main experiment.",
    "converged": "The ConvNet at ELRs of regime 1 until it has converged, with other training images for every seed.",
    "long": "The ConvNet at ELRs of regime 1, trained from initialisation for longer: fine-tuning from regime 2 is held against it.",
    "walk_8": "A ConvNet of width 8 on images of full size in regime 3, for the trend of its loss over widths.",
    "walk_16": "The same of width 16.",
    "wide": "The same of width 32, to see what its loss consists of.",
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


def declared(name: str, task: dict[str, Any], **options: Any) -> StudySweep:
    """The sweep of that name with a task and options of its own."""
    return StudySweep(name=name, about=ABOUT[name], task=task, config=SweepConfig(**options))


def epoch_groups(starts: tuple[float, ...], *after: float) -> tuple[float, ...]:
    """Epochs, and others so many after each but the last: the same distances between checkpoints from several first ones."""
    return (*(start + more for start in starts[:-1] for more in (0, *after)), starts[-1])
