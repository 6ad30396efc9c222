"""Fourier bands: masks as the paper defines them, parts that sum to the image, the rule of normalisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrscope.charts import to_matplotlib
from lrscope.errors import LrscopeError
from lrscope.studies.band_images import band_chart
from lrscope.tasks import bands
from lrscope.tasks.streams import generator


def images(height: int, width: int, channels: int = 2, count: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=generator("tests", "bands", height, width))


@pytest.mark.parametrize("size", [28, 32])
def test_masks_are_the_papers(size: int) -> None:
    """The definition, frequency by frequency, with -N/2 <= k, l <= N/2 - 1."""
    half = size // 2
    for name, (first, last) in bands.paper_bands(size, size).items():
        kept = bands.mask(size, size, first, last)
        for k in range(-half, half):
            for l in range(-half, half):  # noqa: E741
                assert bool(kept[k % size, l % size]) == (first <= abs(k) + abs(l) <= last), (name, k, l)


def test_edges_are_the_papers_at_32_and_the_same_shares_elsewhere() -> None:
    assert bands.paper_bands(32, 32) == {"background": (0, 0), "low": (1, 8), "mid": (9, 24), "high": (25, 32)}
    assert bands.paper_bands(28, 28) == {"background": (0, 0), "low": (1, 7), "mid": (8, 21), "high": (22, 28)}
    assert bands.paper_bands(8, 8) == {"background": (0, 0), "low": (1, 2), "mid": (3, 6), "high": (7, 8)}


@settings(max_examples=30, deadline=None)
@given(height=st.integers(4, 33), width=st.integers(4, 33))
def test_parts_sum_to_the_image_at_any_size(height: int, width: int) -> None:
    whole = images(height, width)
    parts = bands.decompose(whole, bands.paper_bands(height, width))
    torch.testing.assert_close(sum(parts.values()), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(parts["background"], whole.mean((2, 3), keepdim=True).expand_as(whole))


def test_a_wave_lies_in_its_band_alone() -> None:
    x = np.arange(32)
    for k, l in ((3, 2), (0, 8), (9, 0), (12, 12), (15, 15)):  # noqa: E741
        wave = torch.tensor(np.cos(2 * np.pi * (k * x[:, None] + l * x[None, :]) / 32))[None, None]
        parts = bands.decompose(wave, bands.paper_bands(32, 32))
        name = next(n for n, (first, last) in bands.paper_bands(32, 32).items() if first <= k + l <= last)
        for other, part in parts.items():
            torch.testing.assert_close(part, wave if other == name else torch.zeros_like(wave))


def test_channels_are_independent_and_a_mask_of_ones_own_is_taken() -> None:
    both = images(16, 16)
    kept = torch.zeros(16, 16)
    kept[0, 0], kept[1, 0], kept[-1, 0] = 1, 0.5, 0.5
    alone = bands.keep(both[:, :1], kept)
    torch.testing.assert_close(bands.keep(both, kept)[:, :1], alone)
    spectrum = torch.fft.fft2(alone[0, 0].double())
    torch.testing.assert_close(spectrum[1, 0], torch.fft.fft2(both[0, 0].double())[1, 0] / 2, atol=1e-5, rtol=0)


def test_only_the_background_is_normalised() -> None:
    pixels, mean, std = images(16, 16), (0.3, 0.6), (0.2, 0.5)
    m, s = torch.tensor(mean)[None, :, None, None], torch.tensor(std)[None, :, None, None]
    seen = bands.band_sets((pixels - m) / s, mean, std)
    parts = bands.decompose(pixels, bands.paper_bands(16, 16))
    torch.testing.assert_close(seen["background"], (parts["background"] - m) / s, atol=1e-5, rtol=1e-5)
    for name in ("low", "mid", "high"):
        torch.testing.assert_close(seen[name], parts[name], atol=1e-5, rtol=1e-5)
        assert float(seen[name].mean((2, 3)).abs().max()) < 1e-5
    own = bands.band_sets((pixels - m) / s, mean, std, {"below": (0, 3), "above": (4, 16)})
    assert list(own) == ["below", "above"]


@pytest.mark.parametrize(
    ("given_bands", "words"),
    [
        ({"low": (3, 2)}, "'low' goes from 3 to 2"),
        ({"high": (20, 40)}, "have the bands 0 to 16"),
        ({"a": (0, 4), "b": (4, 6)}, "band 4 is in 'a' and in 'b'"),
    ],
)
def test_bands_that_make_no_sense_are_refused(given_bands: dict[str, tuple[int, int]], words: str) -> None:
    with pytest.raises(LrscopeError, match=words):
        bands.decompose(images(16, 16), given_bands)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(LrscopeError, match="pass \\[images, channels"):
        bands.keep(torch.zeros(3, 16, 16), torch.ones(16, 16))
    with pytest.raises(LrscopeError, match="make them alike"):
        bands.keep(images(16, 16), torch.ones(8, 8))
    with pytest.raises(LrscopeError, match="3 values for 2 channels"):
        bands.band_sets(images(16, 16), (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))


# --- the picture of bands ---


def test_the_picture_shows_parts_scaled_and_spectra_masked() -> None:
    mean, std = (0.2, 0.5, 0.4), (0.3, 0.2, 0.1)
    m, s = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    pixels = images(16, 16, channels=3, count=2)
    chart = band_chart((pixels - m) / s, mean, std)
    assert chart.columns == 5
    assert [p.title for p in chart.panels] == 2 * [
        "image", "background 0", "low 1-4", "mid 5-12", "high 13-16",
        "spectrum", "spectrum, background", "spectrum, low", "spectrum, mid", "spectrum, high",
    ]  # fmt: skip
    values = [p.image.values for p in chart.panels if p.image is not None]
    assert len(values) == 20
    np.testing.assert_allclose(values[10], pixels[1].permute(1, 2, 0), atol=1e-6)
    np.testing.assert_allclose(values[11], np.broadcast_to(pixels[1].mean((1, 2)), (16, 16, 3)), atol=1e-6)
    for scaled in values[12:15]:
        np.testing.assert_allclose(scaled.min((0, 1)), 0, atol=1e-12)
        np.testing.assert_allclose(scaled.max((0, 1)), 1, atol=1e-12)
    whole, *parts = values[15:20]
    amplitudes = np.abs(np.fft.fftshift(np.fft.fft2(pixels[1].double().numpy()), axes=(1, 2)))
    np.testing.assert_allclose(whole, np.log(amplitudes).sum(0), atol=1e-5)
    for kept, (first, last) in zip(parts, ((0, 0), (1, 4), (5, 12), (13, 16)), strict=True):
        for i in range(16):
            for j in range(16):
                inside = first <= abs(i - 8) + abs(j - 8) <= last
                assert np.isfinite(kept[i, j]) == inside
                if inside:
                    assert kept[i, j] == whole[i, j]
    assert len([ax for ax in to_matplotlib(chart).axes if ax.get_images()]) == 20


def test_the_picture_takes_grey_images_own_bands_and_blank_ones() -> None:
    grey = images(8, 8, channels=1, count=1)
    chart = band_chart(grey, (0.0,), (1.0,), {"below": (0, 3), "top": (8, 8)})
    assert [p.title for p in chart.panels] == [
        "image",
        "below 0-3",
        "top 8",
        "spectrum",
        "spectrum, below",
        "spectrum, top",
    ]
    blank = band_chart(torch.zeros(1, 1, 8, 8), (0.0,), (1.0,))
    assert all(np.isfinite(p.image.values).any() for p in blank.panels if p.image is not None)
    to_matplotlib(blank)
    for bad in (torch.zeros(1, 2, 8, 8), torch.zeros(8, 8), torch.zeros(0, 1, 8, 8)):
        with pytest.raises(LrscopeError, match=r"pass .images, 1 or 3 channels, height, width"):
            band_chart(bad, (0.0,), (1.0,))
