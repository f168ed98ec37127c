"""Pixels of an image that are missing: NaN, as a reader gives what its file marks as "no data".

A pixel that is NaN in one channel is missing in all: a network takes all channels or none. Missing
pixels are left out of statistics and scores, weigh nothing in training, and are 0 to the network,
about the mean of what it knows. What is written there says that nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError
from overtile.image import Sliceable


def find_missing(image: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where pixels of an image (c *space) are missing, (*space); None where none is.

    Integers are never missing, and nothing is looked at.
    """
    if image.dtype.kind != "f":
        return None
    # Most images have none: NumPy finds that out twice as fast as it says where they are.
    if not np.isnan(np.min(image, initial=np.inf)):
        return None
    return np.asarray(np.isnan(image).any(axis=0))


def clear_missing(objects: Any, image: Sliceable, blocks: Iterable[tuple[slice, ...]]) -> None:
    """Set object ids (*space) to 0 where the image (c *space) is missing, block by block.

    Objects are found in known pixels only, but they are grown back by the line that parted them.
    """
    if image.dtype.kind != "f":
        return
    for block in blocks:
        missing = find_missing(np.asarray(image[(slice(None), *block)]))
        if missing is not None:
            objects[block] = np.where(missing, 0, objects[block])


def refuse_infinite(name: str, image: NDArray[Any]) -> None:
    """Refuse an image with infinite values, which no network can use.

    Raises
    ------
    DataError
        It has some.
    """
    if image.dtype.kind == "f" and np.isinf(image).any():
        raise DataError(
            f"{name} holds infinite values: expected numbers, or NaN where a pixel is missing. "
            "Replace them, or leave the image out."
        )
