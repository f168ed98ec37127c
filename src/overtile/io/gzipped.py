"""An array in a file that is compressed as a whole (gzip): decoded once, and kept."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import FormatError
from overtile.io.damage import decoding
from overtile.machine import free_memory

SIGNATURE = b"\x1f\x8b"
MOST_RATIO = 1040
"""Deflate makes at most 1032 bytes of one (zlib's technical notes): a file that promises more is
damaged, however it decodes."""

LEVEL = 4
"""Of compression, of 9: class maps become as small as with more, in a fraction of the time."""

CHUNK_BYTES = 2**24


class GzippedArray:
    """An array in C order at an offset of a gzip stream; it takes memory from its first slice on.

    Parameters
    ----------
    path, offset, shape, kind
        The file, where in the decoded bytes the array begins, and what it is.

    Raises
    ------
    FormatError
        So small a file cannot hold it; or it does not fit the memory that is free now.
    """

    def __init__(
        self, path: Path, offset: int, shape: tuple[int, ...], kind: np.dtype[Any]
    ) -> None:
        self.shape, self.dtype = shape, kind.newbyteorder("=")
        self._path, self._offset, self._kind = path, offset, kind
        self._count = check_promise(path, shape, kind.itemsize) // kind.itemsize
        self._lock = threading.Lock()
        self._array: NDArray[Any] | None = None

    def __getitem__(self, key: Any) -> NDArray[Any]:
        with self._lock:
            if self._array is None:
                self._array = self._decode()
        return np.asarray(self._array[key])

    def _decode(self) -> NDArray[Any]:
        array = np.empty(self._count, self._kind)
        content, filled = array.view(np.uint8).data, 0
        with decoding(self._path), gzip.open(self._path) as file:
            file.seek(self._offset)
            while filled < len(content):
                # Every array is filled chunk by chunk, so that no second copy is made of it.
                count = file.readinto(content[filled : filled + CHUNK_BYTES])
                if not count:
                    raise EOFError(f"{len(content) - filled} bytes are missing at its end")
                filled += count
        return array.reshape(self.shape).astype(self.dtype, copy=False)


def check_promise(path: Path, shape: tuple[int, ...], itemsize: int) -> int:
    """The bytes of an array in a compressed file, which could be so many.

    Raises
    ------
    FormatError
        So small a file cannot hold it; or it does not fit the memory that is free now.
    """
    size = itemsize
    for length in shape:
        size *= length
    if size > path.stat().st_size * MOST_RATIO:
        raise FormatError(
            f"{path} is damaged or truncated: its header promises {' x '.join(map(str, shape))} "
            f"pixels, which no compression brings into {path.stat().st_size} bytes. Copy or "
            "export it again."
        )
    free = free_memory()
    if size > free:
        raise FormatError(
            f"{path} takes {size / 1e9:.1f} GB when it is decoded, and {free / 1e9:.1f} GB of "
            "memory are free: unpack it (gunzip), or save it without compression, so that it can "
            "be read part by part."
        )
    return size
