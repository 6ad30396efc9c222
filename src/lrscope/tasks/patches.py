"""Patch data over any images (learning_order, Sec. 6 and App. H.2): some images get a patch that tells their class.

N examples, C channels, H x W pixels, K classes, S side of the patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from lrscope.checked import Seed, checked
from lrscope.errors import LrscopeError
from lrscope.tasks.data.dataset import DataSet
from lrscope.tasks.features import MOST
from lrscope.tasks.patch_options import SHOWN, UNPATCHED, Patches, PatchReader
from lrscope.tasks.streams import generator

IMAGE, BOTH, PATCH = GROUPS = ("image only", "image and patch", "patch only")
MIXED = "mixed"
SETS = (MIXED, PATCH)
PAPER_SIDE, PAPER_SIZE = 32, 7  # CIFAR-10: 7 of 32 pixels


@dataclass(frozen=True)
class Patterns:
    """The patterns of a data seed."""

    z: Tensor  # [C, S, S]
    v: Tensor  # [K, C, S, S]

    @classmethod
    def drawn(cls, patches: Patches, channels: int, size: int, classes: int, data_seed: int) -> Patterns:
        """z normal, v uniform, from a stream of their own."""
        rng = generator("patches", data_seed)
        z = patches.scale * torch.randn(channels, size, size, generator=rng)
        v = patches.contrast * (2 * torch.rand(classes, channels, size, size, generator=rng) - 1)
        return cls(z, v)


@checked
def with_patches(data: DataSet, patches: Annotated[Patches, PatchReader()], data_seed: Seed = 0) -> DataSet:
    """The data set with patches over some of its training images, and patched test sets beside its feature sets.

    Which images are patched, the patterns, signs and factors depend on `data_seed` alone and are drawn once (ours), so an
    image is the same in every epoch. Patches are written over normalised images. Test set and validation set stay clean.
    Two feature sets come after those that there are, under the test labels: `mixed`, patched as training images are, and
    `patch only`. The training examples become the groups `image only`, `image and patch` and `patch only`.

    Args:
        data: images [N, C, H, W] with class numbers; without example groups, as label noise makes.
        patches: a `Patches`, a fraction, or text (`parse_patches`).

    Raises:
        LrscopeError: no images, no class numbers, groups, or a patch that is larger than the images.
    """
    size = side(data, patches)
    patterns = Patterns.drawn(patches, data.train_x.shape[1], size, data.classes, data_seed)
    groups = _groups(patches, len(data.train_x), data_seed, "train")
    made = replace(
        data,
        train_x=_patched(data.train_x, data.train_y, groups, patterns, patches, data_seed, "train"),
        train_groups=groups,
        train_group_names=GROUPS,
    )
    return _with_sets(_trained_on(made, data.train_x, patches.train), patterns, patches, data_seed)


def side(data: DataSet, patches: Patches) -> int:
    """The side of a patch in pixels, checked against the data."""
    shape = tuple(data.train_x.shape[1:])
    if len(shape) != 3 or not data.train_x.is_floating_point():
        raise LrscopeError(
            f"patches: they need images [channels, height, width], but the inputs of {data.name!r} have shape {shape}: leave "
            "them out"
        )
    if data.train_y.dim() != 1 or data.train_y.is_floating_point():
        raise LrscopeError(
            f"patches: they tell the class, but the labels of {data.name!r} are no class numbers: leave them out"
        )
    if data.train_groups is not None:
        raise LrscopeError(
            f"patches: the training examples of {data.name!r} are in groups already ({', '.join(data.train_group_names)}), as "
            "label noise makes them: leave out one of both"
        )
    least = min(shape[1:])
    size = patches.size or max(1, round(least * PAPER_SIZE / PAPER_SIDE))
    if size > least:
        raise LrscopeError(f"patches: size {size} is more than the {least} pixels of the images: use a smaller one")
    return size


def _groups(patches: Patches, count: int, data_seed: int, split: str) -> Tensor:
    """The group of each example [N]: exactly the fractions, up to rounding, of a random order."""
    order = torch.randperm(count, generator=generator("patched", split, data_seed))
    patched = round(patches.fraction * count)
    alone = round(patches.only * patched)
    groups = torch.zeros(count, dtype=torch.int64)
    groups[order[:patched]] = GROUPS.index(BOTH)
    groups[order[:alone]] = GROUPS.index(PATCH)
    return groups


def _patched(
    x: Tensor, y: Tensor, groups: Tensor, patterns: Patterns, patches: Patches, data_seed: int, split: str
) -> Tensor:
    """Images [N, C, H, W] of these classes [N] as their groups [N] have them."""
    rng = generator("patch signs", split, data_seed)
    signs = torch.randint(2, (len(x),), generator=rng) * 2 - 1
    factors = patches.spread * torch.rand(len(x), generator=rng)
    alone = groups == GROUPS.index(PATCH)
    scales = torch.where(alone, factors, 1.0) * signs
    written = (patterns.z + scales.view(-1, 1, 1, 1) * patterns.v[y]).to(x.dtype)
    made = torch.where(alone.view(-1, 1, 1, 1), 0.0, x)
    size = patterns.z.shape[-1]
    top, left = ((length - size) // 2 for length in x.shape[-2:])
    has = groups != GROUPS.index(IMAGE)
    made[has, :, top : top + size, left : left + size] = written[has]
    return made


def _trained_on(data: DataSet, images: Tensor, train: str) -> DataSet:
    """Trained on what `Patches.train` says, given the images [N, C, H, W] without patches."""
    assert data.train_groups is not None
    left_out = {UNPATCHED: (BOTH, PATCH), SHOWN: (PATCH,)}.get(train)
    if left_out is None:
        return data
    numbers = torch.tensor([GROUPS.index(group) for group in left_out])
    kept = ~torch.isin(data.train_groups, numbers)
    groups = torch.full((int(kept.sum()),), GROUPS.index(IMAGE))
    return replace(data, train_x=images[kept], train_y=data.train_y[kept], train_groups=groups)


def _with_sets(data: DataSet, patterns: Patterns, patches: Patches, data_seed: int) -> DataSet:
    """With the test sets of `SETS` behind its feature sets."""
    x, y = data.test_x, data.test_y
    alone = torch.full((len(x),), GROUPS.index(PATCH))
    each = {MIXED: _groups(patches, len(x), data_seed, "test"), PATCH: alone}
    made = [_patched(x, y, groups, patterns, patches, data_seed, f"test {name}") for name, groups in each.items()]
    before = _named_sets(data, x.shape)
    names = (*(data.feature_names if before else ()), *SETS)
    return replace(
        data,
        feature_x=torch.stack([*before, *made]),
        feature_y=y.expand(len(names), *y.shape).contiguous(),
        feature_names=names,
    )


def _named_sets(data: DataSet, shape: Sequence[int]) -> list[Tensor]:
    """The feature sets that there are."""
    if data.feature_x is None:
        return []
    if data.feature_x.shape[1:] != shape or not data.feature_names or set(SETS) & set(data.feature_names):
        raise LrscopeError(
            f"patches: the feature sets of {data.name!r} have no names, names of patched sets, or another shape than the test "
            "set: leave them out"
        )
    if len(data.feature_x) + len(SETS) > MOST:
        raise LrscopeError(f"features: with {len(SETS)} patched sets there are more than {MOST}: name fewer")
    return [*data.feature_x]
