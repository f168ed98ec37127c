"""Arrays of numpy in a ZIP file (.npz).

What `numpy.savez` writes is not compressed, and read by position; what `numpy.savez_compressed`
writes is decoded whole.
"""

from __future__ import annotations

import math
import struct
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.image import Image, Sliceable, pixel_type
from overtile.io.damage import decoding
from overtile.io.limits import check_memory
from overtile.io.members import choose, parts_of
from overtile.io.npy import NpyFile, named, read_header

SUFFIXES = (".npz",)

LARGEST_HEADER = 2**14
"""Bytes of the header of an array: numpy trusts none that is longer than 10,000."""

LOCAL_HEADER = 30
"""Bytes before the name of a member (APPNOTE of PKWARE, 4.3.7); the lengths of its name and of an
extra field are the last four of them."""


@dataclass(frozen=True)
class _Member:
    """An array of the file: its header, and where its pixels begin if they are not compressed."""

    shape: tuple[int, ...]
    fortran: bool
    kind: np.dtype[Any]
    offset: int | None


def member_npz(path: Path, as_label: bool) -> Path:
    """The path of the array that is read of a file, "cells.npz/raw"; raises as `open_npz`."""
    file, inside = parts_of(path, SUFFIXES)
    arrays = {name: (member.shape, member.kind) for name, member in _list(file).items()}
    return file / choose(file, inside, arrays, as_label)


def open_npz(path: Path, as_label: bool) -> Image:
    """An array of a file, named behind it ("cells.npz/raw") where there are several.

    Raises
    ------
    FormatError
        The file is damaged, holds no image, or several without one being named, or the shape of
        the array does not name its axes.
    """
    path = member_npz(path, as_label)
    file, inside = parts_of(path, SUFFIXES)
    member = _list(file)[inside]
    shape = member.shape[::-1] if member.fortran else member.shape
    if member.offset is None:
        remedy = "save it by numpy.savez, without compression: then it is read part by part."
        check_memory(path, shape, member.kind.itemsize, remedy)
        data: Sliceable = _Compressed(file, inside, member, shape)
    else:
        data = NpyFile(file, member.offset, shape, member.kind)
    return named(path, data, member.fortran, by_window=member.offset is not None)


class _Compressed:
    """An array, in C's order, that is decoded whole where it is sliced."""

    def __init__(self, file: Path, name: str, member: _Member, shape: tuple[int, ...]) -> None:
        self._file, self._name, self._fortran = file, name, member.fortran
        self.shape = shape
        kind = member.kind
        self.dtype = pixel_type(kind)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        with decoding(self._file):
            array = _load(self._file, self._name, self._file.stat().st_mtime_ns)
        return np.asarray((array.T if self._fortran else array)[key], self.dtype)


@lru_cache(maxsize=1)
def _load(file: Path, name: str, modified: int) -> NDArray[Any]:  # noqa: ARG001 - a key of the cache
    """An array, kept because the planes of a stack are read one after another."""
    with np.load(file) as arrays:
        return np.asarray(arrays[name])


def _list(file: Path) -> dict[str, _Member]:
    """The arrays of a file, by name."""
    found = {}
    size = file.stat().st_size
    with decoding(file), file.open("rb") as raw, zipfile.ZipFile(raw) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as stream:
                    head = BytesIO(stream.read(LARGEST_HEADER))
                shape, fortran, kind = read_header(head)
                begin, stored = head.tell(), info.compress_type == zipfile.ZIP_STORED
                there = min(info.file_size, size) if stored else info.file_size
                held = (there - begin) // max(kind.itemsize, 1)
                wrong = min(shape, default=0) < 0 or math.prod(shape) > held
                if wrong and kind.kind != "O":  # objects are pickled, to any size
                    raise EOFError(f"{info.filename} has not the shape {shape} that it states")
                raw.seek(info.header_offset)
                names = struct.unpack("<HH", raw.read(LOCAL_HEADER)[-4:])
                begin += info.header_offset + LOCAL_HEADER + sum(names)
                name = info.filename.removesuffix(".npy")
                found[name] = _Member(shape, fortran, kind, begin if stored else None)
    return found
