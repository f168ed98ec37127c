"""What is refused before it is decoded, because the memory of this machine cannot hold it."""

from __future__ import annotations

import math
from pathlib import Path

from overtile.errors import FormatError
from overtile.machine import free_memory

COPIES = 2
"""A decoder holds its own pixels while they are copied into ours."""


HARMLESS_BYTES = 16 * 2**20
"""So much fits any machine, and asking how much is free takes longer than decoding a small file."""


def check_memory(path: Path | str, shape: tuple[int, ...], itemsize: int, remedy: str) -> None:
    """Pass where so many pixels can be decoded at once.

    Their number is taken from a header, which a damaged file or a decompression bomb (few bytes
    that claim to be gigabytes) may state too high: nothing is allocated before this is asked.

    Parameters
    ----------
    path
        Or another name, for the message.
    shape
        Of what has to be decoded in one go.
    itemsize
        Bytes of each of its values.
    remedy
        A sentence on what would work, if the size is meant.

    Raises
    ------
    FormatError
        Twice their size is more than the memory that is free.
    """
    size = math.prod(shape) * itemsize
    if size <= HARMLESS_BYTES:
        return
    free = free_memory()
    if COPIES * size > free:
        raise FormatError(
            f"{path} claims to hold {' x '.join(map(str, shape))} values that have to be decoded "
            f"at once, {size / 2**30:.3g} GiB, and twice that is more than the "
            f"{free / 2**30:.3g} GiB of memory that are free. If the size is meant, {remedy}"
        )
