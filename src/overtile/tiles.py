"""The tiles of an image: what is read, what of the output is kept, where it is written.

All coordinates count from the image's first pixel. A read may begin before it or end behind the
last: there the image is mirrored. Along each axis, with lead = margin rounded up to the grid::

            read.start      write.start            write.stop       read.stop
    image  ─────┼────────────────┼──────────────────────┼───────────────┼─────
                │←──── lead ────→│←─ kept and written ─→│←── >= margin ─→

Reads start on the pooling grid (the lead is the margin rounded up to it), so that every pixel meets
the poolings at the same phase in every tile, and reach the network's margin beyond what is written
on both sides, so that no written pixel sees where the tile ends: the result is the whole image's,
whatever the size of the tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

from overtile.errors import SettingsError
from overtile.geometry import Field

Border = Literal["mirror", "own"]


@dataclass(frozen=True)
class Tile:
    """One window through the network.

    Attributes
    ----------
    read
        (start, stop) per axis of what enters the network; beyond the image it is mirrored.
    crop
        What of the network's output is kept, per axis.
    write
        Where that goes in the image, per axis. Writes of different tiles are disjoint and
        together cover the image.
    """

    read: tuple[tuple[int, int], ...]
    crop: tuple[slice, ...]
    write: tuple[slice, ...]


def cut(
    shape: tuple[int, ...], field: Field, tile_px: int | None, border: Border = "mirror"
) -> list[Tile]:
    """The tiles of an image, in C order.

    Parameters
    ----------
    shape
        The image's size along its spatial axes, in pixels.
    field
        The network's.
    tile_px
        The largest side of what one tile writes, at least the grid; tiles are evened out so that
        all are about equally large. None makes one tile: the whole-image result itself.
    border
        ``mirror``: the image goes on mirrored on every side. ``own`` (same padding): tiles are
        clipped at the image, where the network's own padding acts as it does on the whole image.

    Raises
    ------
    SettingsError
        A tile smaller than the grid.
    """
    if tile_px is not None and tile_px < field.grid:
        raise SettingsError(
            f"A tile of {tile_px} px is smaller than the network's grid: use at least {field.grid}."
        )
    axes = [_cut_axis(size, field, tile_px, border) for size in shape]
    return [Tile(*zip(*parts, strict=True)) for parts in product(*axes)]


def _cut_axis(
    size: int, field: Field, tile_px: int | None, border: Border
) -> list[tuple[tuple[int, int], slice, slice]]:
    cells = -(-size // field.grid)
    count = 1 if tile_px is None else -(-cells // (tile_px // field.grid))
    step = -(-cells // count) * field.grid
    lead = field.lead
    end = cells * field.grid
    parts = []
    for start in range(0, size, step):
        stop = min(start + step, size)
        if border == "mirror":
            # Every tile reads the same size, so that every tile is the same computation.
            begin = start - lead
            until = begin + field.good_size(lead + step + field.margin)
        else:
            begin, until = max(start - lead, 0), min(start + step + lead, end)
        origin = begin + (field.margin if field.padding == "valid" else 0)
        crop = slice(start - origin, stop - origin)
        parts.append(((begin, until), crop, slice(start, stop)))
    return parts
