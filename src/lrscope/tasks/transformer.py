"""A small encoder for texts, with layer norms that make its feed-forward weights scale-invariant.

B batch, T words, D model width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrscope.tasks.data.text import PAD


class FeedForward(nn.Module):
    """Linear, layer norm, ReLU, linear, layer norm (three_regimes: "an extra LayerNorm after each feed-forward linear").

    The linear layers have no bias (ours: the layer norms bring one), so each weight is scale-invariant by itself. Inner
    width 4 D (Vaswani et al. 2017).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        self.inner_norm, self.outer_norm = nn.LayerNorm(4 * width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to the same shape."""
        out: Tensor = self.outer_norm(self.outer(functional.relu(self.inner_norm(self.inner(x)))))
        return out


class Attention(nn.Module):
    """Self-attention with one head, written out: it is mapped over runs, which fused kernels are not."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """[B, T, D] to the same shape; only words that are `present` [B, T] are attended to."""
        scores = self.query(x) @ self.key(x).mT / math.sqrt(x.shape[-1])
        scores = scores.masked_fill(~present[:, None, :], torch.finfo(scores.dtype).min)
        out: Tensor = self.out(scores.softmax(-1) @ self.value(x))
        return out


class Transformer(nn.Module):
    """Encoder with one layer and one head, norms before each part, mean over the words, linear (three_regimes: "encoder only,
    N = 1 layer, d_model 32, 1 head").

    Positions are sinusoidal and embeddings are multiplied by sqrt(D) (Vaswani et al. 2017); embeddings start at N(0, 1 / D),
    so both are of one size. No dropout (ours).
    """

    positions: Tensor

    def __init__(self, vocabulary: int, length: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        self.register_buffer("positions", sinusoids(length, width))
        self.attention_norm, self.attention = nn.LayerNorm(width), Attention(width)
        self.forward_norm, self.feed_forward = nn.LayerNorm(width), FeedForward(width)
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Numbers of words [B, T], padded with 0, to logits [B, classes]."""
        present = x != PAD
        h = self.words(x) * math.sqrt(self.positions.shape[1]) + self.positions
        h = h + self.attention(self.attention_norm(h), present)
        h = h + self.feed_forward(self.forward_norm(h))
        weights = present.to(h.dtype)[..., None]
        mean = (self.norm(h) * weights).sum(1) / weights.sum(1).clamp(min=1)
        out: Tensor = self.readout(mean)
        return out


def sinusoids(length: int, width: int) -> Tensor:
    """[length, width]: sines and cosines of the position over powers of 10,000 (Vaswani et al. 2017, Sec. 3.5)."""
    place = torch.arange(length)[:, None] * 10_000.0 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([place.sin(), place.cos()], 2).flatten(1)[:, :width]
