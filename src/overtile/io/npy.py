"""Arrays of numpy in files (.npy), read and written by position.

The format (NEP 1): a header with type, order and shape, then the pixels as they lie in memory. A
file of any size is created at once, without content (sparse where the file system can), and then
filled part by part.
"""

from __future__ import annotations

import math
import os
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from overtile.errors import DataError, FormatError
from overtile.image import Image, Sliceable, axes_by_shape, pixel_type
from overtile.io import positions
from overtile.io.damage import check_length, decoding
from overtile.io.output import Manner, writing
from overtile.io.windows import Reordered, part_for, resolve


def open_npy(path: Path, as_label: bool) -> Image:  # noqa: ARG001 - one contract for all formats
    """The array of a .npy, its axes named by its shape as `as_image` does; nothing is read yet.

    Unlike there, no channel is left out: whether it is an opaque alpha would take reading it all.

    Raises
    ------
    FormatError
        The file is damaged or truncated, holds no numbers, or its shape does not name its axes.
    """
    data, fortran = _read_header(path)
    if data.dtype.kind not in "uif" or 0 in data.shape:
        raise FormatError(
            f"{path} holds an array of shape {data.shape} and type {data.dtype}: expected integers,"
            " floats or truth values, and at least one."
        )
    return named(path, data, fortran)


def named(path: Path, data: Sliceable, fortran: bool, by_window: bool = True) -> Image:
    """The image of an array in C's order, its axes named by its shape.

    An array in Fortran's order is one in C's order with its axes reversed.
    """
    shape = data.shape[::-1] if fortran else data.shape
    try:
        letters = axes_by_shape(shape)
    except DataError as error:
        raise FormatError(f"{path}: {error}") from error
    ordered = Reordered(data, letters[::-1] if fortran else letters)
    return Image(ordered, ordered.axes, by_window=by_window)


def create_npy(
    path: Path,
    like: Image,
    block: tuple[int, ...],  # noqa: ARG001 - one contract for all formats: any part may be written
    manner: Manner,  # noqa: ARG001 - and it holds nothing beside the pixels
) -> NpyFile:
    """A new .npy of the shape and type of an image, full of zeros that take no room yet."""
    shape, kind = tuple(like.data.shape), pixel_type(np.dtype(like.data.dtype), "<")
    header = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    with writing(path), path.open("xb") as file:
        npy.write_array_header_1_0(file, header)
        offset = file.tell()
        file.truncate(offset + int(np.prod(shape, dtype=np.int64)) * kind.itemsize)
    return NpyFile(path, offset, shape, kind)


def reopen_npy(path: Path) -> NpyFile:
    """The .npy that `create_npy` made, to be written on; raises as `open_npy`."""
    return _read_header(path)[0]


class NpyFile:
    """An array in a file, in C order, that is read and written by slicing.

    The file is open only while it is read or written: any number of threads and processes may do
    so at once, as long as what they write is disjoint.

    Attributes
    ----------
    shape, dtype
        Of the array. Truth values become 0 and 1.
    """

    def __init__(
        self, path: Path, offset: int, shape: tuple[int, ...], kind: np.dtype[Any]
    ) -> None:
        self._path, self._offset = path, offset
        self._kind = np.dtype(np.uint8) if kind.kind == "b" else kind
        self.shape = shape
        self.dtype = self._kind.newbyteorder("=")

    def __getitem__(self, key: Any) -> NDArray[Any]:
        window, rest = resolve(key, self.shape)
        with decoding(self._path), FileIO(self._path) as file:
            part = positions.read(file, self._offset, self.shape, self._kind, window)
        return np.asarray(part[rest], self.dtype)

    def __setitem__(self, key: Any, part: Any) -> None:
        window, array = part_for(key, part, self.shape, self._kind)
        with writing(self._path), FileIO(self._path, "r+") as file:
            positions.write(file, self._offset, self.shape, array, window)

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        with writing(self._path), FileIO(self._path, "r+") as file:
            os.fsync(file.fileno())


def read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type; the pixels begin behind."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, kind = read(file)
    return shape, fortran, kind


def _read_header(path: Path) -> tuple[NpyFile, bool]:
    """The array as it lies in the file, in C order, and whether numpy counts its axes backwards."""
    with decoding(path):
        with path.open("rb") as file:
            shape, fortran, kind = read_header(file)
            offset = file.tell()
        if min(shape, default=0) < 0:
            raise ValueError(f"the shape {shape} is negative")
        check_length(path, offset + math.prod(shape) * kind.itemsize)
    return NpyFile(path, offset, shape[::-1] if fortran else shape, kind), fortran
