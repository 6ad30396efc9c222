"""The convolution of this package's networks on small images. B batch, C channels, H x W pixels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Conv3x3(nn.Conv2d):
    """A convolution with a 3x3 kernel and padding 1.

    An image of one pixel meets only the middle of the kernel, so it is multiplied with that: the same numbers but for rounding,
    and gradients of 0 elsewhere as before. PyTorch's own backward pass took 40% of a step of late_decay's small network there.
    """

    def __init__(self, inside: int, outside: int, stride: int = 1, *, bias: bool = True) -> None:
        super().__init__(inside, outside, 3, stride=stride, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to [B, channels, H / stride, W / stride], rounded up."""
        if x.shape[-2:] != (1, 1):
            return super().forward(x)
        return functional.linear(x.flatten(1), self.weight[:, :, 1, 1], self.bias)[..., None, None]
