"""Smaller copies of a large image, for viewers: halved in y and x again and again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.image import Sliceable
from overtile.io.windows import resolve, size_of

SMALLEST_PX = 1024
"""The side up to which no smaller copy is needed: a viewer shows so much on one screen."""

ROWS = 512
"""So many rows of the source are in memory at once."""


def count_levels(shape: tuple[int, ...]) -> int:
    """How many smaller copies there are of an image whose last axes are y and x.

    They are halved until both sides fit, but none of them is less than 2 px wide or high: readers
    tell by the sizes what is a copy of what.
    """
    levels = 0
    while max(shape[-2:]) > SMALLEST_PX * 2**levels and min(shape[-2:]) >= 2 ** (levels + 2):
        levels += 1
    return levels


def is_averaged(kind: np.dtype[Any]) -> bool:
    """Whether pixels are averaged: floats are, and of integers, which may be ids, one is taken."""
    return kind.kind == "f"


class Reduced:
    """An image reduced in y and x, its last two axes, computed where it is sliced.

    Parameters
    ----------
    data
        Floats are averaged over squares of `factor` pixels (less at the far sides); of integers
        the first pixel of each square is taken, so that no new value appears.
    factor
        At least 1.
    """

    def __init__(self, data: Sliceable, factor: int) -> None:
        self._data, self._factor = data, factor
        self.dtype = data.dtype
        *leading, height, width = data.shape
        self.shape = (*leading, -(-height // factor), -(-width // factor))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        window, rest = resolve(key, self.shape)
        *leading, rows, columns = window
        result = np.empty(size_of(window), self.dtype)
        step = max(ROWS // self._factor, 1)
        for start in range(rows.start, rows.stop, step):
            some = slice(start, min(start + step, rows.stop))
            source = (*leading, self._enlarged(some, -2), self._enlarged(columns, -1))
            part = self._reduce(np.asarray(self._data[source]))
            result[..., start - rows.start : some.stop - rows.start, :] = part
        return np.asarray(result[rest])

    def _enlarged(self, part: slice, axis: int) -> slice:
        stop = min(part.stop * self._factor, self._data.shape[axis])
        return slice(part.start * self._factor, stop)

    def _reduce(self, array: NDArray[Any]) -> NDArray[Any]:
        factor = self._factor
        if not is_averaged(self.dtype):
            return array[..., ::factor, ::factor]
        for axis in (-2, -1):
            starts = np.arange(0, array.shape[axis], factor)
            counts = np.diff(starts, append=array.shape[axis])
            sums = np.add.reduceat(array, starts, axis, dtype=np.float64)
            array = sums / (counts[:, None] if axis == -2 else counts)
        return array
