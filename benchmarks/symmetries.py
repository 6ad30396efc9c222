"""What `find_symmetries` takes, and finds, on models of torchvision at full width and depth.

Images are small: weights decide what is found, and pixels only what it costs. Beside each model a reduced one of the same
architecture is searched (`reduced_models.py`); tests/test_symmetries_models.py has what it implies. Names with all numbers
left out say which kinds of symmetries there are; `same` means that both models have the same.

    python benchmarks/symmetries.py [--models resnet18 vit_b_16] [--threads 2]

The goal is 60 s on two cores, so 120 s of processor time. The last line is one JSON object; `ours` is the longest processor
time, `baseline` the goal. Peak memory is that of the process so far: for a model's own, ask for it alone.
"""

from __future__ import annotations

import argparse
import re
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from common import last_line
from reduced_models import convnext, efficientnet, mobilenet, swin, vgg, vit
from torch import nn
from torchvision import models

import lrscope
from lrscope.symmetries import Symmetries

GOAL = 120.0  # seconds of processor time
Pattern = tuple[str, frozenset[tuple[str, float]]]


@dataclass(frozen=True)
class Case:
    """A model, the side of its images, and a reduced model of the same architecture; None: the tests have the full one."""

    full: Callable[[], nn.Module]
    size: int
    reduced: Callable[[], nn.Module] | None = None
    reduced_size: int = 32


CASES = {
    "resnet18": Case(models.resnet18, 32),
    "vgg11_bn": Case(models.vgg11_bn, 32, vgg, 64),
    "mobilenet_v3_large": Case(models.mobilenet_v3_large, 64, mobilenet, 64),
    "efficientnet_b0": Case(models.efficientnet_b0, 33, efficientnet, 33),
    "convnext_tiny": Case(models.convnext_tiny, 32, convnext, 64),
    "swin_t": Case(models.swin_t, 32, swin),
    "vit_b_16": Case(lambda: models.vit_b_16(image_size=32), 32, vit, 16),
}


def found_in(make: Callable[[], nn.Module], size: int) -> Symmetries:
    """The symmetries of a model, on four images."""
    torch.manual_seed(0)
    return lrscope.find_symmetries(make(), torch.randn(4, 3, size, size))


def patterns(found: Iterable[lrscope.symmetries.Symmetry]) -> set[Pattern]:
    """The kinds of symmetries and their tensors, without the numbers of layers and slices."""
    return {(one.kind, frozenset((re.sub(r"\d+", "#", n), p) for n, p in one.powers.items())) for one in found}


def agreement(case: Case, found: Symmetries) -> str:
    """Does the reduced model have the same kinds of symmetries?"""
    if case.reduced is None:
        return "-"
    own, other = patterns(found), patterns(found_in(case.reduced, case.reduced_size))
    return "same" if own == other else f"{len(own - other)} more, {len(other - own)} fewer"


def main() -> None:
    """Search every model and say what was found and what it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        "model                weights tensors draws  alone groups pairs none  CPU s wall s  GB  reduced model",
        flush=True,
    )
    seconds = {}
    for name in options.models:
        began, wall = time.process_time(), time.perf_counter()
        found = found_in(CASES[name].full, CASES[name].size)
        seconds[name], wall = time.process_time() - began, time.perf_counter() - wall
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        alone, groups, pairs, none = (
            len(found.of(kind)) for kind in ("scale-invariant", "group", "rescaling", "no effect")
        )
        print(
            f"{name:20s} {found.weights / 1e6:5.1f} M {found.tensors:7d} {found.draws:5d} {alone:6d} {groups:6d}",
            end="",
        )
        print(f" {pairs:5d} {none:4d} {seconds[name]:6.0f} {wall:6.0f} {memory:3.1f}", end="  ", flush=True)
        print(agreement(CASES[name], found), flush=True)
    last_line("symmetries", max(seconds.values()), GOAL, "s of processor time", **seconds)


if __name__ == "__main__":
    main()
