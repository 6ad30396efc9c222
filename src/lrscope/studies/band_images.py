"""The picture of Fourier bands (feature_learning, Fig. 4 and 7): what is left of an image, and its masked spectrum.

N images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrscope.charts import Chart, Image, Panel
from lrscope.checked import checked
from lrscope.errors import LrscopeError
from lrscope.tasks.bands import Bands, decompose, mask, paper_bands, per_channel

DRAWN_CHANNELS = (1, 3)  # grey, or red, green and blue
FAINTEST = 1e-6  # ours: amplitudes below this fraction of the largest are rounding and drawn alike

Floats = NDArray[np.float64]


@checked
def band_chart(images: Tensor, mean: Sequence[float], std: Sequence[float], bands: Bands | None = None) -> Chart:
    """Two rows for each image: itself and what its groups of bands leave of it; below, their spectra.

    Args:
        images: [N, C, H, W], C of 1 or 3, normalised: (pixels - mean) / std with pixels in [0, 1].
        mean, std: that normalisation, per channel (`DataSet.normalisation`).
        bands: groups of bands by name; None: `paper_bands`.

    The image itself and groups with band 0 are drawn as they are; the others are scaled to 0-1 in each channel.
    Spectra are log |Y[k, l]| summed over channels, frequency 0 in the middle, on the scale of the image's whole spectrum;
    grey where a group leaves nothing (App. A, Fig. 7).

    Raises:
        LrscopeError: images of another shape, no images, or bands that make no sense.
    """
    if images.dim() != 4 or images.shape[1] not in DRAWN_CHANNELS or not len(images):
        raise LrscopeError(
            f"images: their shape is {tuple(images.shape)}: pass [images, 1 or 3 channels, height, width]"
        )
    height, width = images.shape[-2:]
    chosen = paper_bands(height, width) if bands is None else bands
    whole_images = images.detach().cpu().double()
    m, s = per_channel(whole_images, mean, std)
    pixels = whole_images * s + m
    parts = decompose(pixels, chosen)
    panels: list[Panel] = []
    for i, image in enumerate(pixels):
        rows = {"image": (image, torch.ones(height, width, dtype=torch.bool), False)}
        rows |= {
            name: (parts[name][i], mask(height, width, first, last), first > 0)
            for name, (first, last) in chosen.items()
        }
        panels += [
            Panel(title=_named(name, chosen), layers=[_picture(p, scale)]) for name, (p, _, scale) in rows.items()
        ]
        whole = spectrum(image)
        ends = float(whole.min()), float(whole.max())
        for name, (_, shown_bands, _) in rows.items():
            shown = np.where(np.fft.fftshift(shown_bands.numpy()), whole, np.nan)
            title = f"spectrum, {name}" if name in chosen else "spectrum"
            picture = Image(values=shown, low=ends[0], high=ends[1], viridis=True)
            panels.append(Panel(title=title, layers=[picture]))
    return Chart(panels=panels, columns=1 + len(chosen))


def spectrum(image: Tensor) -> Floats:
    """log |Y[k, l]| of an image [C, H, W] summed over channels, [H, W] with frequency 0 in the middle."""
    size = torch.fft.fftshift(torch.fft.fft2(image.double()), dim=(-2, -1)).abs()
    least = max(FAINTEST * float(size.max()), torch.finfo(torch.float64).tiny)
    found: Floats = size.clamp(min=least).log().sum(0).numpy()
    return found


def _named(name: str, bands: Bands) -> str:
    if name not in bands:
        return name
    first, last = bands[name]
    return f"{name} {first}-{last}" if last > first else f"{name} {first}"


def _picture(part: Tensor, scale: bool) -> Image:
    """An image [C, H, W] as it is, or each channel scaled to 0-1."""
    if scale:
        low, high = part.amin((-2, -1), keepdim=True), part.amax((-2, -1), keepdim=True)
        part = (part - low) / (high - low).clamp(min=1e-12)
    values = part.permute(1, 2, 0).numpy()
    return Image(values=values if values.shape[2] == 3 else values[..., 0], low=0.0, high=1.0)
