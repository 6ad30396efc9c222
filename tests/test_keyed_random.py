"""Random numbers from (seed, draw, place) against theory, and against the bits that a GPU must give too."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.func import vmap

from lrscope.tasks.keyed_random import KeyedStream, folded
from lrscope.tasks.streams import stream_seed

SIZE = torch.Size((1 << 17,))
KEYS = 24
LEAST_P = 1e-5  # of a fixed seed's test: a failure is a fault of the numbers, not of chance


def seed_of(number: int) -> Tensor:
    return torch.tensor(stream_seed("test", number))


def masks(of: Callable[[int], Tensor]) -> Tensor:
    """Centred masks [KEYS, N] in float64, drawn with probability 0.3 from the streams of these seeds."""
    return torch.stack([KeyedStream(of(k)).kept(SIZE, 0.3) for k in range(KEYS)]).double() - 0.3


def fits(z: Tensor) -> bool:
    """Are these standard normal? Their sum of squares against chi-square, on both sides, and the largest."""
    total = float(z.square().sum())
    p = min(stats.chi2.sf(total, z.numel()), stats.chi2.cdf(total, z.numel()))
    return p > LEAST_P and float(z.abs().max()) < 5.5


def correlated(a: Tensor, b: Tensor) -> Tensor:
    """Correlations [KEYS] of two centred masks [KEYS, N], in standard errors."""
    return (a * b).mean(1) * math.sqrt(a.shape[1]) / 0.21


@pytest.mark.parametrize("probability", [0.5, 0.9, 0.03])
def test_a_mask_keeps_the_share_that_is_asked_for(probability: float) -> None:
    kept = torch.stack([KeyedStream(seed_of(k)).kept(SIZE, probability) for k in range(KEYS)]).double()
    assert fits((kept.mean(1) - probability) * math.sqrt(SIZE[0] / probability / (1 - probability)))
    # Blocks of 64 places keep a binomial number each: no clumps, no evenness.
    counts = np.bincount(kept.view(-1, 64).sum(1).int().numpy(), minlength=65)
    expected = stats.binom.pmf(np.arange(65), 64, probability) * counts.sum()
    common = expected > 10
    assert (
        stats.chisquare(counts[common], expected[common] * counts[common].sum() / expected[common].sum()).pvalue
        > LEAST_P
    )


def test_all_or_nothing_is_kept() -> None:
    stream = KeyedStream(seed_of(0))
    assert stream.kept(SIZE, 1.0).all()
    assert not stream.kept(SIZE, 0.0).any()


@pytest.mark.parametrize("lag", [1, 2, 3, 8, 32, 64, 100, 1024])
def test_places_are_independent(lag: int) -> None:
    found = masks(seed_of)
    assert fits(correlated(found[:, lag:], found[:, :-lag]))


@pytest.mark.parametrize("further", [1, 2, 7])
def test_draws_of_a_pass_are_independent(further: int) -> None:
    def later(number: int) -> Tensor:
        stream = KeyedStream(seed_of(number))
        stream.drawn = further
        return stream.kept(SIZE, 0.3)

    assert fits(correlated(masks(seed_of), torch.stack([later(k) for k in range(KEYS)]).double() - 0.3))


@pytest.mark.parametrize("further", [1, 2, 1000])
def test_steps_are_independent(further: int) -> None:
    first, second = (masks(lambda k, step=step: folded(seed_of(0), step + k)) for step in (5, 5 + further))
    overlap = further < KEYS  # of the same steps, of which nothing is asked
    assert fits(correlated(first, second))
    assert torch.equal(first[further:], second[:-further]) if overlap else True


def test_runs_are_independent() -> None:
    found = masks(seed_of)
    pairs = torch.combinations(torch.arange(KEYS))
    assert fits(correlated(found[pairs[:, 0]], found[pairs[:, 1]]))


def test_every_high_byte_is_as_likely_as_any_other() -> None:
    """The upper 24 bits, which probabilities and numbers use."""
    drawn = torch.cat([KeyedStream(seed_of(k)).bits(SIZE) for k in range(KEYS)])
    for shift in (8, 16, 24):
        counts = np.bincount(((drawn >> shift) & 0xFF).numpy(), minlength=256)
        assert stats.chisquare(counts).pvalue > LEAST_P, shift


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_and_normal_numbers_have_their_distributions(dtype: torch.dtype) -> None:
    stream = KeyedStream(seed_of(3))
    uniform, normal = stream.uniform(SIZE, dtype), stream.normal(SIZE, dtype)
    assert uniform.dtype == normal.dtype == dtype
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert stats.kstest(uniform.numpy(), "uniform").pvalue > LEAST_P
    assert stats.kstest(normal.numpy(), "norm").pvalue > LEAST_P
    assert bool(torch.isfinite(normal).all())
    assert float(normal.abs().max()) > 4


def test_a_run_draws_the_same_bits_alone_and_in_a_batch() -> None:
    def drawn(seed: Tensor) -> Tensor:
        stream = KeyedStream(seed)
        return torch.stack([stream.bits(torch.Size((7, 5))), stream.bits(torch.Size((7, 5)))])

    seeds = torch.stack([seed_of(k) for k in range(5)])
    assert torch.equal(vmap(drawn)(seeds), torch.stack([drawn(seed) for seed in seeds]))
    steps = torch.arange(3)[:, None]
    assert torch.equal(folded(seeds, steps)[2], folded(seeds, 2))


def test_the_bits_are_those_of_every_version_and_device() -> None:
    """Other bits are another sweep: count up `lrscope.tasks.task.NOISE_RULE` with them."""

    def words(seed: int, draw: int, count: int) -> list[int]:
        """The same rule in Python's whole numbers."""
        found = []
        for place in range(count):
            word = (place * 0x9E3779B9 + (seed & 0xFFFFFFFF) + draw * 0x85EBCA77) & 0xFFFFFFFF
            word = ((word ^ word >> 16) * 0x7FEB352D) & 0xFFFFFFFF
            word ^= ((seed >> 32) + draw * 0xC2B2AE3D) & 0xFFFFFFFF
            word = ((word ^ word >> 15) * 0x846CA68B) & 0xFFFFFFFF
            found.append(word - (1 << 32) if word >> 31 else word)
        return found

    for number in range(4):
        stream, seed = KeyedStream(seed_of(number)), int(seed_of(number))
        for draw in range(3):
            assert stream.bits(torch.Size((40,))).tolist() == words(seed, draw, 40)
    assert words(1234567890123456789, 1, 3) == [-782422503, -1735843047, -1359379711]
    # splitmix64's first output for the seed 0 is that of its authors' program.
    assert int(folded(torch.tensor(0), 1)) & (2**64 - 1) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_uniform_numbers_stay_below_one_in_every_type(dtype: torch.dtype) -> None:
    """Rounding to the eight digits of bfloat16 would make one of 512 numbers 1."""
    found = KeyedStream(torch.tensor(5)).uniform(torch.Size([200_000]), dtype)
    assert found.dtype == dtype
    assert 0 <= float(found.min()) < float(found.max()) < 1
    assert abs(float(found.double().mean()) - (1 - float(found.double().unique().diff().min())) / 2) < 5e-3
