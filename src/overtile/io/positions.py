"""Windows of an array that lies in a file byte by byte, read and written where they lie.

Nothing is mapped into memory: mapped pages count as memory of the process until the system takes
them back, which a limit on memory may not wait for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.io.windows import Window, size_of

SMALLEST_READ = 4096
"""Bytes that a file system reads at once at least: rows up to this long are read whole and cut in
memory. Colours behind each other (y x c) would otherwise be read a pixel at a time."""


def read(
    file: FileIO, offset: int, shape: tuple[int, ...], kind: np.dtype[Any], window: Window
) -> NDArray[Any]:
    """A window of the array of this shape and type that begins at an offset of a file.

    Raises
    ------
    EOFError
        The file ends before it.
    """
    wide = _widened(shape, kind.itemsize, window)
    array = np.empty(size_of(wide), kind)
    for left in _runs(file, offset, shape, array, wide):
        while left:
            count = file.readinto(left)
            if not count:
                raise EOFError(f"the file ends at byte {file.tell()}, before its last pixel")
            left = left[count:]
    inside = [slice(w.start - v.start, w.stop - v.start) for w, v in zip(window, wide, strict=True)]
    return array[tuple(inside)]


def write(
    file: FileIO, offset: int, shape: tuple[int, ...], array: NDArray[Any], window: Window
) -> None:
    """Write a C-contiguous array into a window of the one that begins at an offset of a file."""
    for left in _runs(file, offset, shape, array, window):
        while left:
            left = left[file.write(left) :]


def _widened(shape: tuple[int, ...], itemsize: int, window: Window) -> Window:
    """The window with its last axes whole, as far as these are short."""
    return tuple(
        slice(0, size) if math.prod(shape[axis:]) * itemsize <= SMALLEST_READ else part
        for axis, (size, part) in enumerate(zip(shape, window, strict=True))
    )


def _runs(
    file: FileIO, offset: int, shape: tuple[int, ...], array: NDArray[Any], window: Window
) -> Iterator[memoryview]:
    """The bytes of a window's runs in memory, the file being each time where the run begins."""
    length, starts = _places(shape, window)
    step = length * array.itemsize
    content = array.reshape(-1).view(np.uint8).data
    for number, start in enumerate(starts if step else []):
        file.seek(offset + int(start) * array.itemsize)
        yield content[number * step : (number + 1) * step]


def _places(shape: tuple[int, ...], window: Window) -> tuple[int, NDArray[np.int64]]:
    """How many pixels of a window follow each other in the file, and where each run begins."""
    sizes = size_of(window)
    inner = len(shape) - 1
    while inner > 0 and sizes[inner] == shape[inner]:
        inner -= 1
    starts = np.zeros((), np.int64)
    for axis, part in enumerate(window):
        stop = part.stop if axis < inner else part.start + 1
        places = np.arange(part.start, stop, dtype=np.int64) * math.prod(shape[axis + 1 :])
        starts = np.add.outer(starts, places)
    return math.prod(sizes[inner:]), starts.reshape(-1)
