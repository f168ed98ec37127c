"""The convolutions of VGG (Simonyan and Zisserman 2015, arXiv:1409.1556)."""

from __future__ import annotations

from torch import nn

from overtile.networks.blocks import initialise

STAGES = {
    "vgg11": ((1,), (2,), (4, 4), (8, 8), (8, 8)),
    "vgg16": ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8)),
}
"""Channels of every convolution, in parts of the first's; a pooling follows each stage.

Configurations A and D of the paper's table 1.
"""


def vgg(name: str, channels: int, base_channels: int, init: str = "he-normal") -> nn.Sequential:
    """The convolutions and poolings of a VGG, numbered as in torchvision's ``features``."""
    layers: list[nn.Module] = []
    before = channels
    for stage in STAGES[name]:
        for multiple in stage:
            made = nn.Conv2d(before, multiple * base_channels, 3, padding=1)
            layers += [initialise(made, 9 * before, init), nn.ReLU(inplace=True)]
            before = multiple * base_channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
