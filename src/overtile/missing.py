"""Pixels of an image that are missing: NaN, as a reader gives what its file marks as "no data".

A pixel that is NaN in one channel is missing in all: a network takes all channels or none. Missing
pixels are left out of statistics and scores, weigh nothing in training, and enter the network as
the mean of its images. What is written there says that nothing is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError


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
