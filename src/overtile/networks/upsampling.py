"""From a map to a larger one: by interpolation, by sub-pixel convolution, by unpooling.

Each is exact in tiles: what an output pixel sees does not depend on the size of the map.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from overtile.networks.blocks import UP_CONVOLUTION, centre, convolution, initialise
from overtile.settings import UNetSettings
from overtile.settings.networks import Stride

UNPOOLING: dict[int, type[nn.Module]] = {2: nn.MaxUnpool2d, 3: nn.MaxUnpool3d}


def up_sampling(settings: UNetSettings, before: int, after: int, stride: Stride) -> nn.Module:
    """What the settings' `up` names, from so many channels to so many."""
    if settings.up == "transposed":
        kind = UP_CONVOLUTION[settings.dimensions]
        made = kind(before, after, stride, stride=stride, bias=settings.up_bias)
        return initialise(made, before, settings.init)  # each value comes from one pixel
    if settings.up == "shuffle":
        return Shuffle(settings, before, after, stride)
    if settings.up == "unpool":
        return Unpool(settings, before, after, stride)
    return Interpolation(settings, before, after, stride)


class Interpolation(nn.Module):
    """Nearest or linear interpolation by a whole factor, then a convolution.

    A linear interpolation holds the outermost values constant. In a valid network, whose maps go on
    beyond what a tile holds, those pixels are cut off.
    """

    def __init__(self, settings: UNetSettings, before: int, after: int, stride: Stride) -> None:
        super().__init__()
        linear = "bilinear" if settings.dimensions == 2 else "trilinear"
        self.mode = "nearest" if settings.up == "nearest" else linear
        self.factors = [float(factor) for factor in stride]
        cut = settings.padding == "valid" and self.mode == linear
        self.held = [factor // 2 if cut else 0 for factor in stride]
        self.conv = convolution(settings, before, after, settings.kernel_size)

    def forward(self, features: Tensor) -> Tensor:
        """Features (b after *out) of features (b before *space)."""
        aligned = None if self.mode == "nearest" else False
        large = F.interpolate(
            features, scale_factor=self.factors, mode=self.mode, align_corners=aligned
        )
        sizes = [size - 2 * held for size, held in zip(large.shape[2:], self.held, strict=True)]
        made: Tensor = self.conv(centre(large, sizes))
        return made


class Shuffle(nn.Module):
    """A convolution to as many channels more as there are pixels, which they then become.

    Shi et al. 2016, arXiv:1609.05158, equation 4, in any dimensions and with a stride per axis.
    """

    def __init__(self, settings: UNetSettings, before: int, after: int, stride: Stride) -> None:
        super().__init__()
        self.stride = stride
        channels = after * math.prod(stride)
        self.conv = convolution(settings, before, channels, settings.kernel_size)

    def forward(self, features: Tensor) -> Tensor:
        """Features (b after *out) of features (b before *space)."""
        return shuffle(self.conv(features), self.stride)


def shuffle(features: Tensor, stride: Stride) -> Tensor:
    """(b c prod(stride) *space) as (b c *larger); in the channels the last axis runs fastest."""
    dimensions = len(stride)
    channels = features.shape[1] // math.prod(stride)
    parts: Tensor = features.unflatten(1, (channels, *stride))  # type: ignore[no-untyped-call]
    # b c (offsets) (space)  ->  b c (size, offset) for each axis
    order = [axis for n in range(dimensions) for axis in (2 + dimensions + n, 2 + n)]
    parts = parts.permute(0, 1, *order)
    for axis in range(2, 2 + dimensions):
        parts = parts.flatten(axis, axis + 1)
    return parts


def unshuffle(features: Tensor, stride: Stride) -> Tensor:
    """(b c *space) as (b c prod(stride) *smaller): the inverse of `shuffle`."""
    dimensions = len(stride)
    parts = features
    for axis in reversed(range(dimensions)):
        parts = parts.unflatten(2 + axis, (-1, stride[axis]))  # type: ignore[no-untyped-call]
    # b c (size, offset) for each axis  ->  b c (offsets) (space)
    order = [3 + 2 * n for n in range(dimensions)] + [2 + 2 * n for n in range(dimensions)]
    return parts.permute(0, 1, *order).flatten(1, 1 + dimensions)


class Unpool(nn.Module):
    """A convolution, then every value where the pooling of this level found the maximum.

    Badrinarayanan et al. 2017, arXiv:1511.00561; zeros lie between. The same number of channels as
    were pooled is needed.
    """

    def __init__(self, settings: UNetSettings, before: int, after: int, stride: Stride) -> None:
        super().__init__()
        self.conv = convolution(settings, before, after, settings.kernel_size)
        self.unpool = UNPOOLING[settings.dimensions](stride)

    def forward(self, features: Tensor, places: Tensor, sizes: torch.Size) -> Tensor:
        """Features (b after *sizes), given the indices that the pooling returned."""
        made: Tensor = self.unpool(self.conv(features), places, output_size=sizes)
        return made
