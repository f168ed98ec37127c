"""The pixels that a shape covers: those whose centre lies inside.

The pixel in row i and column j spans x from j to j + 1 and y from i to i + 1, so its centre lies at
(j + 1/2, i + 1/2). A centre is inside of rings when a ray from it crosses them an odd number of
times (even-odd), so that a ring inside another is a hole, and a self-intersecting ring has a
meaning too. A centre exactly on an edge belongs to the side to the right of it and below: shapes
that share an edge neither overlap nor leave a gap. (Libraries differ at just these pixels, and none
in the core takes holes.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError

Points = NDArray[np.float64]
"""x and y of the corners (n 2), in pixels or in the coordinates of a map."""

FEWEST_CORNERS = 3


@dataclass(frozen=True)
class Patch:
    """A part of a plane: `mask` (y x), with its first row and column."""

    mask: NDArray[np.bool_]
    row: int
    column: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the mask lies in the plane."""
        height, width = self.mask.shape
        return slice(self.row, self.row + height), slice(self.column, self.column + width)


class Part(Protocol):
    """A piece of a shape."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The least and the greatest x and y: (x, y, x, y)."""

    def cover(self, height: int, width: int) -> Patch:
        """The pixels of a plane of this size that it covers."""


@dataclass(frozen=True, eq=False)
class Rings:
    """Closed lines, even-odd; the first corner need not be repeated at the end."""

    rings: tuple[Points, ...]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """As `Part` says."""
        corners = np.concatenate(self.rings)
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def moved(self, move: Callable[[Points], Points]) -> Rings:
        """With every corner moved."""
        return Rings(tuple(move(ring) for ring in self.rings))

    def cover(self, height: int, width: int) -> Patch:
        """As `Part` says."""
        top, bottom, left, right = _limits(self.box, height, width)
        starts = np.concatenate(self.rings)
        ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in self.rings])
        # From top to bottom, so that an edge that two shapes share is crossed at the same x.
        down = (starts[:, 1] <= ends[:, 1])[:, None]
        upper, lower = np.where(down, starts, ends), np.where(down, ends, starts)
        first = np.ceil(upper[:, 1] - 0.5).clip(top, bottom).astype(np.int64)
        count = np.ceil(lower[:, 1] - 0.5).clip(top, bottom).astype(np.int64) - first
        edge = np.repeat(np.arange(len(first)), count)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        x, y = upper[edge].T
        run, fall = (lower - upper)[edge].T
        crossed = x + (row + 0.5 - y) * (run / fall)
        column = np.ceil(crossed - 0.5).clip(left, right).astype(np.int64)
        size = bottom - top, right - left + 1
        flips = np.bincount((row - top) * size[1] + column - left, minlength=size[0] * size[1])
        inside = np.bitwise_xor.accumulate((flips & 1).astype(np.uint8).reshape(size), axis=1)
        return Patch(inside[:, :-1].astype(bool), top, left)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse along the axes."""

    x: float
    y: float
    radius_x: float
    radius_y: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """As `Part` says."""
        return (
            self.x - self.radius_x,
            self.y - self.radius_y,
            self.x + self.radius_x,
            self.y + self.radius_y,
        )

    def cover(self, height: int, width: int) -> Patch:
        """As `Part` says."""
        top, bottom, left, right = _limits(self.box, height, width)
        y = (np.arange(top, bottom)[:, None] + 0.5 - self.y) / self.radius_y
        x = (np.arange(left, right) + 0.5 - self.x) / self.radius_x
        return Patch(x**2 + y**2 < 1, top, left)


@dataclass(frozen=True, eq=False)
class Runs:
    """A mask as COCO packs it: lengths of runs outside, inside, outside, ..., down the columns.

    Attributes
    ----------
    counts
        The lengths, in pixels.
    height, width
        Of the mask.
    """

    counts: NDArray[np.int64]
    height: int
    width: int

    @property
    def box(self) -> tuple[float, float, float, float]:
        """As `Part` says."""
        return 0.0, 0.0, float(self.width), float(self.height)

    def cover(self, height: int, width: int) -> Patch:
        """As `Part` says.

        Raises
        ------
        DataError
            The mask has another size, or its runs do not fill it.
        """
        if (self.height, self.width) != (height, width):
            raise DataError(
                f"A mask in runs has {self.height} x {self.width} pixels, and its image "
                f"{height} x {width}: expected equal sizes (height x width)."
            )
        if (self.counts < 0).any() or self.counts.sum() != height * width:
            raise DataError(
                f"A mask in runs counts {self.counts.sum()} pixels of {height} x {width}: "
                f"expected lengths from 0 that add up to {height * width}. It is damaged."
            )
        inside = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        return Patch(inside.reshape(width, height).T, 0, 0)


def _limits(
    box: tuple[float, float, float, float], height: int, width: int
) -> tuple[int, int, int, int]:
    """The rows and columns, as (start, stop, start, stop), of a box as far as it is in a plane."""
    left, top, right, bottom = np.array(box)
    rows = np.clip([np.floor(top), np.ceil(bottom)], 0, height).astype(int)
    columns = np.clip([np.floor(left), np.ceil(right)], 0, width).astype(int)
    return int(rows[0]), int(rows[1]), int(columns[0]), int(columns[1])


def polygon(rings: Sequence[Points]) -> Rings | None:
    """Rings with an area; None where the first has none, which is a point or a line."""
    whole = [ring for ring in rings if len(ring) >= FEWEST_CORNERS]
    return Rings(tuple(whole)) if whole and len(rings[0]) >= FEWEST_CORNERS else None
