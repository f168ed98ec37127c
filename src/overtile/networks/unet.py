"""The U-Net (Ronneberger, Fischer and Brox 2015, arXiv:1505.04597), in two and three dimensions."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from overtile.errors import SizeError
from overtile.geometry import Field
from overtile.networks.blocks import POOLING, Block, centre, convolution, padded
from overtile.networks.network import Network
from overtile.networks.upsampling import shuffle, unshuffle, up_sampling
from overtile.settings import NetworkSettings, UNet3DSettings, UNetSettings


class UNet(Network):
    """U-Net: a contracting path, an expanding path, and skips between them (2015).

    Parameters
    ----------
    settings
        A `UNetSettings`, or its values by name; see `Network`. The defaults are the paper's.

    Notes
    -----
    Where the paper is silent: drop-out, "at the end of the contracting path", acts once, on what
    the bottom's two convolutions give; a norm stands between convolution and activation.

    Examples
    --------
    >>> network = UNet(depth=1, base_channels=2)
    >>> tuple(network(torch.zeros(1, 1, 20, 22)).shape)
    (1, 2, 4, 6)
    """

    Settings: ClassVar[type[NetworkSettings]] = UNetSettings
    settings: UNetSettings

    def __init__(self, settings: UNetSettings | None = None, **values: Any) -> None:
        super().__init__(settings, **values)
        chosen = self.settings
        strides, late = chosen.poolings, chosen.widening == "before-pooling"
        self.together = math.prod(chosen.together)
        skipped = [chosen.base_channels * 2**level for level in range(chosen.depth + 1)]
        if late:
            skipped = [2 * count for count in skipped]
        residual = chosen.block == "residual"
        self.down = nn.ModuleList(
            Block(chosen, before, after, after // 2 if late else None, residual=residual)
            for before, after in zip(
                [chosen.channels * self.together, *skipped], skipped, strict=False
            )
        )
        unpools = chosen.up == "unpool"
        self.pool = nn.ModuleList(
            POOLING[chosen.dimensions](stride, return_indices=unpools) for stride in strides
        )
        self.dropout = nn.Dropout(chosen.dropout)
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(chosen.depth)):
            below, here = skipped[level + 1], skipped[level]
            # Unpooling needs the channels that were pooled, and an addition those of the skip.
            raised = below if late and chosen.skip == "concatenate" and not unpools else here
            joined = raised + here if chosen.skip == "concatenate" else raised
            self.up.append(up_sampling(chosen, below, raised, strides[level]))
            self.merge.append(Block(chosen, joined, here, residual=residual))
        self.head = convolution(chosen, skipped[0], chosen.classes * self.together, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (b classes *out) of images (b channels *space).

        Raises
        ------
        SizeError
            The network has no output for this size, or another number of axes or channels.
        """
        self.check(image)
        skips, places, stem = [], [], self.settings.together
        features = self.down[0](unshuffle(image, stem) if self.together > 1 else image)
        for pool, block in zip(self.pool, list(self.down)[1:], strict=True):
            skips.append(features)
            features = pool(features)
            if self.settings.up == "unpool":
                features, found = features
                places.append(found)
            features = block(features)
        features = self.dropout(features)
        for up, merge in zip(self.up, self.merge, strict=True):
            skip = skips.pop()
            features = up(features, places.pop(), skip.shape[2:]) if places else up(features)
            features = merge(self._join(skip, features))
        logits: Tensor = self.head(features)
        return shuffle(logits, stem) if self.together > 1 else logits

    @torch.no_grad()
    def shift_logits(self, shift: Tensor) -> None:
        """Add a constant (classes) to the logits of each class, at every pixel of the stem."""
        super().shift_logits(shift.repeat_interleave(self.together))

    def _join(self, skip: Tensor, raised: Tensor) -> Tensor:
        """The two maps that meet at a skip, made equally large, as one."""
        if self.settings.meet == "pad":
            raised = padded(raised, skip.shape[2:])
        if self.settings.skip == "none":
            return raised
        skip = centre(skip, raised.shape[2:])
        return (
            torch.cat([skip, raised], dim=1)
            if self.settings.skip == "concatenate"
            else skip + raised
        )

    def check_size(self, size: int, field: Field) -> None:
        """Where maps meet by padding, any size fits that can be pooled so often."""
        if self.settings.meet == "crop":
            super().check_size(size, field)
        elif size < field.grid:
            raise SizeError(
                f"A side of {size} px cannot be pooled {self.settings.depth} times: expected "
                f"{field.grid} px or more."
            )


class UNet3D(UNet):
    """3-D U-Net: channels doubled before pooling, batch norm (Çiçek et al. 2016).

    doi:10.1007/978-3-319-46723-8_49. A `UNet` with other defaults, those of `UNet3DSettings`.

    Examples
    --------
    >>> network = UNet3D(base_channels=1)
    >>> tuple(network(torch.zeros(1, 1, 92, 92, 100)).shape)
    (1, 2, 4, 4, 12)
    """

    Settings: ClassVar[type[NetworkSettings]] = UNet3DSettings
