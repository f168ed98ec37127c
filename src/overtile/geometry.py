"""What a network does to sizes, and how an image goes on beyond its edge.

The whole-image result
----------------------
Tiles are exact when they give what one pass over the whole image gives. That pass depends on the
setting ``border``:

``mirror`` (valid networks always)
    The image is mirrored on every side by the network's margin, rounded up to its grid, and on to
    the next size that the grid allows; one pass; cropped to the image. The edge pixel is not
    repeated, an image smaller than the margin is reflected again, and an axis of size 1 is
    constant. No kept pixel sees the network's own zero padding.
``own`` (same-padded networks)
    The image is mirrored at its far sides only, up to the next size that the grid allows; one
    pass; cropped to the image. Tiles at the image's edge are clipped there, so that the network's
    own padding acts at the image's edge and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from overtile.errors import SizeError


@dataclass(frozen=True)
class Field:
    """What a network does to sizes along one axis, in pixels.

    Same padding allows the multiples of the grid and keeps the size. Valid padding loses the
    margin on both sides, and allows sizes that leave the margin as remainder when divided by the
    grid, or another remainder: then every pooling meets a size that it divides.

    Attributes
    ----------
    padding
        ``valid`` or ``same``.
    grid
        The product of the strides. A read that begins on multiples of it meets the poolings at the
        same phase as the whole image does.
    margin
        What a network sees. With reads that begin on the grid, an output region ``[start, stop)``
        of the image, both ends on the grid, depends on nothing outside
        ``[start - lead, stop + trail)``. With valid padding it is also what the output loses on
        each side, so that the first output pixel of a read lies `margin` behind its start.
    remainder
        What the sizes that fit leave when divided by the grid, where it is another than that of the
        margin (valid) or 0 (same).
    """

    padding: Literal["valid", "same"]
    grid: int
    margin: int
    remainder: int | None = None

    @property
    def lead(self) -> int:
        """The margin rounded up to the grid: how far ahead of a region its read begins."""
        return -(-self.margin // self.grid) * self.grid

    @property
    def trail(self) -> int:
        """The margin rounded up to sizes that fit: how far behind a region its read ends."""
        return self.margin + (self._remainder - self.margin) % self.grid

    @property
    def smallest(self) -> int:
        """The smallest input that has an output."""
        return self.size_for(1)

    def is_valid(self, size: int) -> bool:
        """Whether an input of this size has an output."""
        return size >= self.smallest and (size - self._remainder) % self.grid == 0

    def out(self, size: int) -> int:
        """The size of the output for an input of this size.

        Raises
        ------
        SizeError
            There is none; the message names the nearest sizes that have one.
        """
        if not self.is_valid(size):
            above = self.good_size(size)
            below = above - self.grid if above > self.smallest else above + self.grid
            raise SizeError(
                f"A side of {size} px does not fit the network: expected {self.smallest} px or "
                f"more in steps of {self.grid}. The nearest that fit are {min(above, below)} and "
                f"{max(above, below)} px."
            )
        return size - self._lost

    def good_size(self, at_least: int) -> int:
        """The smallest valid input size that is at least this."""
        return self.size_for(at_least - self._lost)

    def nearest(self, size: int) -> int:
        """The valid input size nearest to this; of two equally near the larger."""
        above = self.good_size(size)
        below = above - self.grid
        return below if self.is_valid(below) and size - below < above - size else above

    def size_for(self, out: int) -> int:
        """The smallest valid input size whose output is at least this."""
        size = max(out, 1) + self._lost
        return size + (self._remainder - size) % self.grid

    @property
    def _remainder(self) -> int:
        return self._lost // 2 if self.remainder is None else self.remainder

    @property
    def _lost(self) -> int:
        return 2 * self.margin if self.padding == "valid" else 0


Fields = tuple[Field, ...]
"""What a network does to sizes: along each spatial axis, (z) y x, all with the same padding."""


def per_axis(sizes: Iterable[int]) -> str:
    """Sizes along the axes, for people: the one that all have, or "4 x 16 x 16"."""
    sizes = list(sizes)
    return " x ".join(map(str, sizes if len(set(sizes)) > 1 else sizes[:1]))


def mirror_indices(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """The source pixel of every coordinate from `start` to `stop` (excluded) along an axis.

    Coordinates below 0 or from `size` on are mirrored without repeating the edge pixel, again and
    again where the axis is shorter than the distance; an axis of size 1 is constant.

    Parameters
    ----------
    start, stop
        In pixels from the image's first; may lie outside of it.
    size
        Of the image along this axis, at least 1.

    Examples
    --------
    >>> mirror_indices(-2, 6, 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    period = max(2 * (size - 1), 1)
    position = np.arange(start, stop, dtype=np.intp) % period
    return np.minimum(position, np.maximum(period - position, 0)) if size > 1 else position * 0
