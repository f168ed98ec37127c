"""What a mask parts by brightness: how much brighter the image is inside than outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Contrast:
    """How an image differs under the two values of a mask.

    Attributes
    ----------
    brighter
        How much brighter the image is under the higher value than under the lower, in standard
        deviations of the image.
    share
        Of the higher value.
    """

    brighter: float
    share: float


def contrast_of(image: NDArray[Any], mask: NDArray[np.bool_]) -> Contrast:
    """The contrast of an image (c *space) under a mask (*space) that is neither empty nor full."""
    gray = image.mean(axis=0, dtype=np.float64)
    known = np.isfinite(gray)
    gray, mask = gray[known], mask[known]
    spread = float(gray.std()) or 1.0
    return Contrast(float(gray[mask].mean() - gray[~mask].mean()) / spread, float(mask.mean()))
