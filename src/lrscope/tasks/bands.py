"""Fourier bands of images: what is left of a picture if only some of its frequencies are kept (feature_learning, App. A).

N images, C channels, H x W pixels. Band b of an image holds the frequencies (k, l) with |k| + |l| = b, where k runs from
-H/2 to H/2 - 1 (H even) or from -(H - 1)/2 to (H - 1)/2 (H odd), and l likewise with W.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrscope.errors import LrscopeError, shown

BACKGROUND = "background"
PAPER_SIZE = 32  # feature_learning's images
PAPER_EDGES = (0, 8, 24, 32)  # the last band of background, low, mid and high there
Bands = Mapping[str, tuple[int, int]]  # name: first and last band, both kept


def band_numbers(height: int, width: int) -> Tensor:
    """The band |k| + |l| of every frequency [H, W], in the order of `torch.fft.fft2`."""
    k = torch.fft.fftfreq(height, 1 / height).round().abs()
    l = torch.fft.fftfreq(width, 1 / width).round().abs()  # noqa: E741 - the paper's letter
    numbers: Tensor = (k[:, None] + l[None, :]).to(torch.int64)
    return numbers


def highest_band(height: int, width: int) -> int:
    """The largest band that images of this size have."""
    return height // 2 + width // 2


def paper_bands(height: int, width: int) -> dict[str, tuple[int, int]]:
    """Background (0), low, mid and high: the paper's 0 / 1-8 / 9-24 / 25-32 at 32 x 32.

    At other sizes the edges are the same shares of the highest band (ours): a band's frequency in oscillations per image
    means less than its share of what the image can show.
    """
    top = highest_band(height, width)
    last = [round(edge / PAPER_SIZE * top) for edge in PAPER_EDGES]
    names = (BACKGROUND, "low", "mid", "high")
    found = {name: (0 if i == 0 else last[i - 1] + 1, last[i]) for i, name in enumerate(names)}
    check_bands(found, height, width)
    return found


def check_bands(bands: Bands, height: int, width: int) -> None:
    """Refuse bands that are empty, outside the image's, or overlap."""
    top = highest_band(height, width)
    taken: dict[int, str] = {}
    for name, (first, last) in bands.items():
        if not 0 <= first <= last <= top:
            raise LrscopeError(
                f"bands: {name!r} goes from {first} to {last}, but images of {height} x {width} have the bands 0 to {top}: "
                "choose 0 <= first <= last within them"
            )
        for band in range(first, last + 1):
            if band in taken:
                raise LrscopeError(f"bands: band {band} is in {taken[band]!r} and in {name!r}: give it to one of them")
            taken[band] = name


def mask(height: int, width: int, first: int, last: int) -> Tensor:
    """True [H, W] for the frequencies of the bands from `first` to `last`, in the order of `torch.fft.fft2`."""
    numbers = band_numbers(height, width)
    return (numbers >= first) & (numbers <= last)


def keep(images: Tensor, kept: Tensor) -> Tensor:
    """Images [N, C, H, W] with only the frequencies of a mask [H, W] (bool, or weights in [0, 1]); every channel by itself.

    The mask may be any: what it leaves of a real image is real if it treats (k, l) and (-k, -l) alike, otherwise the
    real part is returned.

    Raises:
        LrscopeError: images without four axes, or a mask of another size.
    """
    if images.dim() != 4:
        raise LrscopeError(f"images: their shape is {tuple(images.shape)}: pass [images, channels, height, width]")
    if kept.shape != images.shape[-2:]:
        raise LrscopeError(
            f"mask: its shape is {tuple(kept.shape)}, that of the images {tuple(images.shape[-2:])}: make them alike"
        )
    spectrum = torch.fft.fft2(images.double())
    left: Tensor = torch.fft.ifft2(spectrum * kept.to(spectrum.device)).real.to(images.dtype)
    return left


def decompose(images: Tensor, bands: Bands) -> dict[str, Tensor]:
    """The images [N, C, H, W] of every group of bands. If together they hold all bands, they sum to the images."""
    height, width = images.shape[-2:]
    check_bands(bands, height, width)
    return {name: keep(images, mask(height, width, *ends)) for name, ends in bands.items()}


def band_sets(
    images: Tensor, mean: Sequence[float], std: Sequence[float], bands: Bands | None = None
) -> dict[str, Tensor]:
    """Test images [N, C, H, W] of every group of bands as a network trained on normalised images should see them.

    Args:
        images: normalised as in training, (pixels - mean) / std per channel.
        mean, std: that normalisation.
        bands: groups of bands; None: `paper_bands`.

    Groups without band 0 are fed as they are: their mean is 0 already, and they are not divided by std either. A group
    with band 0 is normalised as in training (feature_learning, App. A).
    """
    height, width = images.shape[-2:]
    chosen = paper_bands(height, width) if bands is None else bands
    check_bands(chosen, height, width)
    return {name: masked_set(images, mean, std, mask(height, width, *ends)) for name, ends in chosen.items()}


def masked_set(
    images: Tensor, mean: Sequence[float], std: Sequence[float], kept: Tensor, *, scaled: bool = False
) -> Tensor:
    """`band_sets` for any mask [H, W], bool or weights: normalised as in training if it keeps any of frequency 0.

    scaled: divide by std without frequency 0 too: the bands then lie on a card of the mean's colour, with the contrast that
        they have in training. Images whose background is far from the mean (Fashion-MNIST's is black) need it, because
        there a band of a fifth of its contrast is not seen at all.
    """
    m, s = per_channel(images, mean, std)
    part = keep(images * s + m, kept)
    if bool(kept[0, 0] != 0):
        return (part - m) / s
    return part / s if scaled else part


def per_channel(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The normalisation of images [N, C, H, W], each [1, C or 1, 1, 1]."""
    m, s = (torch.tensor(v, dtype=images.dtype, device=images.device).view(1, -1, 1, 1) for v in (mean, std))
    if m.shape[1] not in (1, images.shape[1]) or m.shape != s.shape:
        raise LrscopeError(f"mean: {m.shape[1]} values for {images.shape[1]} channels: give one for each, std too")
    return m, s


def as_normalisation(given: Any, shape: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) per channel as a user gives it, for inputs of `shape` [C, H, W]: each a number or one for each channel.

    Raises:
        LrscopeError: something else, or a std that is not positive.
    """
    if len(shape) != 3:
        raise LrscopeError(f"normalisation: the inputs have shape {shape}, which are no images: leave it out")
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise LrscopeError(
            f"normalisation: {shown(given)} is not (mean, std): pass both, each with a number per channel"
        )
    try:
        mean, std = (
            np.asarray(v.detach().cpu() if isinstance(v, Tensor) else v, dtype=float).reshape(-1) for v in given
        )
    except (TypeError, ValueError) as error:
        raise LrscopeError(f"normalisation: {shown(given)} holds no numbers: give a number per channel") from error
    if {len(mean), len(std)} - {1, shape[0]} or len(mean) != len(std):
        raise LrscopeError(
            f"normalisation: {len(mean)} means and {len(std)} stds for {shape[0]} channels: give one of each, or one per channel"
        )
    if not np.isfinite([*mean, *std]).all() or (std <= 0).any():
        raise LrscopeError(f"normalisation: {shown(given)} needs finite means and positive stds: correct them")
    return tuple(mean.tolist()), tuple(std.tolist())
