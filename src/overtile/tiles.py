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

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from overtile.errors import SettingsError
from overtile.geometry import Field, Fields, per_axis

Border = Literal["mirror", "own"]
Span = tuple[int, int]


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

    read: tuple[Span, ...]
    crop: tuple[slice, ...]
    write: tuple[slice, ...]

    @property
    def read_shape(self) -> tuple[int, ...]:
        """What enters the network, in pixels per axis."""
        return tuple(stop - start for start, stop in self.read)

    @property
    def place(self) -> str:
        """Where it writes, for people: "y 0-1024, x 512-1024"."""
        axes = "zyx"[-len(self.write) :]
        return ", ".join(f"{a} {w.start}-{w.stop}" for a, w in zip(axes, self.write, strict=True))


def cut(
    shape: Sequence[int],
    fields: Fields,
    tile_px: int | Sequence[int] | None,
    border: Border = "mirror",
    within: Sequence[slice] | None = None,
) -> list[Tile]:
    """The tiles of an image, in C order.

    Parameters
    ----------
    shape
        The image's size along its spatial axes, in pixels.
    fields
        The network's, one for each axis.
    tile_px
        The largest side of what one tile writes, at least the largest grid; tiles are evened out so
        that all are about equally large. Or the side along each axis, multiples of its grid, which
        are kept as they are. None makes one tile: the whole-image result itself.
    border
        ``mirror``: the image goes on mirrored on every side. ``own`` (same padding): tiles are
        clipped at the image, where the network's own padding acts as it does on the whole image.
    within
        Only the tiles of this part of the image, which begins on the grids; by default of all.

    Raises
    ------
    SettingsError
        A tile smaller than the grid.
    """
    if isinstance(tile_px, int):
        check_tile(tile_px, fields)
    if tile_px is None or isinstance(tile_px, int):
        along = zip(shape, fields, strict=True)
        steps = tuple(even_step(size, tile_px, field.grid) for size, field in along)
    else:
        steps = tuple(tile_px)
    spans = [(0, size) for size in shape]
    if within is not None:
        spans = [(part.start, part.stop) for part in within]
    axes = [
        [
            _place(start, min(start + step, stop), size, step, field, border)
            for start in range(begin, stop, step)
        ]
        for size, step, field, (begin, stop) in zip(shape, steps, fields, spans, strict=True)
    ]
    return [Tile(*zip(*parts, strict=True)) for parts in product(*axes)]


def check_tile(tile_px: int, fields: Fields) -> None:
    """Refuse a tile that is smaller than the network's grid.

    Raises
    ------
    SettingsError
        It is; the message names the smallest that would do.
    """
    least = max(field.grid for field in fields)
    if tile_px < least:
        raise SettingsError(
            f"A tile of {tile_px} px is smaller than the network's grid of "
            f"{per_axis(field.grid for field in fields)} px: use at least {least}."
        )


def even_step(size: int, most: int | None, unit: int) -> int:
    """The side of equally large tiles along an axis: a multiple of the unit, not above `most`."""
    cells = -(-size // unit)
    count = 1 if most is None else -(-cells // (most // unit))
    return -(-cells // count) * unit


def read_lengths(size: int, step: int, field: Field, border: Border) -> list[int]:
    """What the tiles of a step read along one axis, in pixels."""
    parts = (
        _place(start, min(start + step, size), size, step, field, border)[0]
        for start in range(0, size, step)
    )
    return [stop - start for start, stop in parts]


def _place(
    start: int, stop: int, size: int, step: int, field: Field, border: Border
) -> tuple[Span, slice, slice]:
    """What a tile that writes from start to stop reads and crops along one axis."""
    lead, end = field.lead, -(-size // field.grid) * field.grid
    if border == "mirror":
        # Every tile reads the same size, so that every tile is the same computation.
        begin = start - lead
        until = begin + field.good_size(lead + step + field.margin)
    else:
        begin, until = max(start - lead, 0), min(start + step + lead, end)
    origin = begin + (field.margin if field.padding == "valid" else 0)
    return (begin, until), slice(start - origin, stop - origin), slice(start, stop)
