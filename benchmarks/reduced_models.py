"""Torchvision's architectures with narrow layers and few blocks: what is found on them is what the full models have.

`benchmarks/symmetries.py` compares both, and tests/test_symmetries_models.py writes down what each implies.
"""

from __future__ import annotations

import torch
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.vgg import make_layers

CONVNEXT = [CNBlockConfig(8, 16, 2), CNBlockConfig(16, 20, 1), CNBlockConfig(20, 28, 2), CNBlockConfig(28, None, 1)]


def vgg() -> nn.Module:
    """VGG-11-BN, for images of 64x64."""
    with torch.device("meta"):
        model = models.VGG(nn.Sequential(), num_classes=10, init_weights=False)
    model.features = make_layers([8, "M", 12, "M", 16, 16, "M", 20, 20, "M", 20, 20, "M"], batch_norm=True)
    for i, (inputs, outputs) in {0: (20 * 49, 24), 3: (24, 28), 6: (28, 10)}.items():
        model.classifier[i] = nn.Linear(inputs, outputs)
    return model


def mobilenet() -> nn.Module:
    """MobileNetV3-small as it is, for images of 64x64."""
    return models.mobilenet_v3_small(num_classes=10)


def efficientnet() -> nn.Module:
    """The stages of B0, with two blocks where it has two or three, three where it has four.

    Images of 33x33 leave 2x2 in the last stage: at 1x1 depthwise weights before a norm have no effect.
    """
    stages = [
        MBConvConfig(1, 3, 1, 16, 8, 1),
        MBConvConfig(6, 3, 2, 8, 16, 2),
        MBConvConfig(6, 5, 2, 16, 24, 2),
        MBConvConfig(6, 3, 2, 24, 32, 2),
        MBConvConfig(6, 5, 1, 32, 40, 2),
        MBConvConfig(6, 5, 2, 40, 48, 3),
        MBConvConfig(6, 3, 1, 48, 56, 1),
    ]
    return models.EfficientNet(stages, dropout=0.2, num_classes=10)


def convnext() -> nn.Module:
    """ConvNeXt with `CONVNEXT` stages, for images of 64x64."""
    return models.ConvNeXt(CONVNEXT, stochastic_depth_prob=0.1, num_classes=5)


def vit() -> nn.Module:
    """A ViT of two layers, for images of 16x16."""
    return models.VisionTransformer(
        image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=48, num_classes=5
    )


def swin() -> nn.Module:
    """A Swin Transformer of two stages, for images of 32x32."""
    return models.SwinTransformer([4, 4], 12, [2, 1], [2, 2], [2, 2], num_classes=5)
