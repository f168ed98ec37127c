"""The U-Net (Ronneberger, Fischer and Brox 2015, arXiv:1505.04597), in two and three dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from overtile.errors import SizeError
from overtile.geometry import unet_fields
from overtile.networks.blocks import POOLING, DoubleConvolution, convolution, up_convolution
from overtile.settings import UNetSettings, from_dict


class UNet(nn.Module):
    """A contracting path, an expanding path, and skips by concatenation between them.

    Parameters
    ----------
    settings
        A `UNetSettings`; or leave it out and give its values by name, the others being the
        paper's: ``UNet(channels=3, padding="same")``.

    Attributes
    ----------
    settings
        As given.
    fields
        For each axis: which input sizes fit, what comes out, and how far the network sees.

    Notes
    -----
    Where the paper is silent: drop-out, "at the end of the contracting path", acts once, on what
    the bottom's two convolutions give; a norm stands between convolution and ReLU.

    Examples
    --------
    >>> network = UNet(depth=1, base_channels=2)
    >>> tuple(network(torch.zeros(1, 1, 20, 22)).shape)
    (1, 2, 4, 6)
    """

    def __init__(self, settings: UNetSettings | None = None, **values: Any) -> None:
        super().__init__()
        if settings is None or values:
            known = settings.model_dump() if settings else {}
            settings = from_dict(UNetSettings, known | values, "UNet")
        self.settings = settings
        self.fields = unet_fields(settings)
        channels = [settings.base_channels * 2**level for level in range(settings.depth + 1)]
        self.down = nn.ModuleList(
            DoubleConvolution(settings, before, after)
            for before, after in zip([settings.channels, *channels], channels, strict=False)
        )
        self.pool = POOLING[settings.dimensions](2)
        self.dropout = nn.Dropout(settings.dropout)
        self.up = nn.ModuleList(up_convolution(settings, count) for count in channels[:0:-1])
        self.merge = nn.ModuleList(
            DoubleConvolution(settings, count, count // 2) for count in channels[:0:-1]
        )
        self.head = convolution(settings, settings.base_channels, settings.classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (b classes *out) of images (b channels *space).

        Raises
        ------
        SizeError
            The network has no output for this size, or another number of axes or channels.
        """
        if not torch.compiler.is_exporting():  # a traced size has no value to check
            self._check(image)
        skips = []
        features = self.down[0](image)
        for block in list(self.down)[1:]:
            skips.append(features)
            features = block(self.pool(features))
        features = self.dropout(features)
        for up, merge in zip(self.up, self.merge, strict=True):
            raised = up(features)
            skip = centre(skips.pop(), raised.shape[2:])
            features = merge(torch.cat([skip, raised], dim=1))
        logits: Tensor = self.head(features)
        return logits

    def _check(self, image: Tensor) -> None:
        axes, channels = self.settings.dimensions + 2, self.settings.channels
        if image.ndim != axes or image.shape[1] != channels:
            raise SizeError(
                f"The network takes a batch of {channels}-channel images with {axes - 2} spatial "
                f"axes, (b, {channels}, *space), not an array of shape {tuple(image.shape)}."
            )
        for size, field in zip(image.shape[2:], self.fields, strict=True):
            field.out(int(size))


def centre(features: Tensor, sizes: torch.Size) -> Tensor:
    """The middle of features (b c *space), of these sizes: the crop of "copy and crop".

    In a valid network the difference is even on every level, so that the middle is exact; with
    same padding there is none, and nothing is copied.
    """
    for axis, size in enumerate(sizes, start=2):
        features = features.narrow(axis, (features.shape[axis] - size) // 2, size)
    return features
