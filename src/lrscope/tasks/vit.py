"""A Vision Transformer for small images, with layer norms that make its feed-forward weights scale-invariant.

The sizes are those of feature_learning, App. F: patch 4, width 512, depth 6, 8 heads, feed-forward width 512, dropout 0.1. What
they leave open follows the implementation that the paper names, kentaroy47/vision-transformers-cifar10.
B batch, C channels, T tokens, D model width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = 8


class VisionAttention(nn.Module):
    """Self-attention with several heads of width D / heads, written out: it is mapped over runs, which fused kernels are not.

    Queries, keys and values have no bias (reference implementation).
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.drop = _dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to the same shape."""
        batch, tokens, width = x.shape
        split = self.query_key_value(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.transpose(1, 3).unbind(2)  # each [B, heads, T, D / heads]
        shares = (query @ key.mT / math.sqrt(width // self.heads)).softmax(-1)
        mixed = (shares @ value).transpose(1, 2).reshape(batch, tokens, width)
        out: Tensor = self.drop(self.out(mixed))
        return out


class VisionFeedForward(nn.Module):
    """Linear, layer norm, GELU, linear, layer norm (feature_learning, App. F: an extra layer norm after each linear layer).

    The linear layers have no bias (ours: the layer norms bring one), so each weight is scale-invariant by itself.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.inner_norm, self.outer_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = _dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to the same shape."""
        h = self.drop(functional.gelu(self.inner_norm(self.inner(x))))
        out: Tensor = self.drop(self.outer_norm(self.outer(h)))
        return out


class VisionBlock(nn.Module):
    """Attention, then feed-forward, each with a layer norm before it and a shortcut around it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(width), VisionAttention(width, heads, dropout)
        self.forward_norm, self.feed_forward = nn.LayerNorm(width), VisionFeedForward(width, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to the same shape."""
        x = x + self.attention(self.attention_norm(x))
        out: Tensor = x + self.feed_forward(self.forward_norm(x))
        return out


class VisionTransformer(nn.Module):
    """Patches through a linear layer, a class token in front, learned positions, pre-norm blocks, a layer norm and a linear
    layer on the class token.

    Class token and positions start at N(0, 1) (reference implementation). `width` beside 512 scales model and feed-forward
    together; there are 8 heads, or as many below 8 as divide the width (ours). Dropout draws from each run's stream.

    Args:
        shape: of an image, (C, H, W); H and W are multiples of `patch`.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        width: int = 512,
        *,
        patch: int = 4,
        depth: int = 6,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        channels, height, breadth = shape
        self.patch = patch
        tokens = 1 + (height // patch) * (breadth // patch)
        heads = next(n for n in range(HEADS, 0, -1) if width % n == 0)
        self.embedding = nn.Linear(channels * patch**2, width)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, tokens, width))
        self.drop = _dropout(dropout)
        self.blocks = nn.Sequential(*(VisionBlock(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [B, classes]."""
        patches = self.embedding(cut_into_patches(x, self.patch))
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.positions
        out: Tensor = self.readout(self.norm(self.blocks(self.drop(tokens))[:, 0]))
        return out


def cut_into_patches(x: Tensor, patch: int) -> Tensor:
    """Images [B, C, H, W] as rows of square patches [B, H W / patch^2, patch^2 C], row by row."""
    batch, channels, height, width = x.shape
    grid = x.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def _dropout(share: float) -> nn.Module:
    return nn.Dropout(share) if share else nn.Identity()
