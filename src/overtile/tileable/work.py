"""What a pixel costs, by the size of the tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from overtile.geometry import Fields
from overtile.tileable.probe import Probe
from overtile.tiles import Border, cut


@dataclass(frozen=True)
class Work:
    """What tiles of one size cost.

    Attributes
    ----------
    tile_px
        The largest side of what a tile writes.
    flop_per_px
        Floating-point operations for each pixel of the image, two for a multiplication with its
        addition.
    overhead
        Relative to one pass over the whole image; 1 where tiles cost nothing more.
    """

    tile_px: int
    flop_per_px: float
    overhead: float


def work_per_pixel(
    network: nn.Module,
    channels: int,
    fields: Fields,
    border: Border,
    shape: tuple[int, ...],
    tiles_px: Iterable[int],
) -> list[Work]:
    """What tiles of several sizes cost on an image; nothing is computed but shapes.

    Parameters
    ----------
    network
        From (b c *space) to (b k *out).
    channels, shape
        Of the image; the shape along its spatial axes.
    fields, border
        As for `overtile.tiles.cut`.
    tiles_px
        The largest sides of what a tile writes.

    Raises
    ------
    SettingsError
        A tile smaller than the grid.
    """
    probe = Probe(network, torch.device("meta"))

    @cache
    def flop(read: tuple[int, ...]) -> int:
        with FlopCounterMode(display=False) as counter:
            probe(probe.image(channels, read))
        return int(counter.get_total_flops())

    def total(tile_px: int | None) -> int:
        tiles = cut(shape, fields, tile_px, border)
        return sum(flop(tuple(stop - start for start, stop in tile.read)) for tile in tiles)

    whole, pixels = total(None), math.prod(shape)
    return [Work(tile_px, total(tile_px) / pixels, total(tile_px) / whole) for tile_px in tiles_px]
