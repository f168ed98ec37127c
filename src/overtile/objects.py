"""Probabilities -> objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels


def find_objects(
    foreground: NDArray[np.floating],
    *,
    threshold: float = 0.5,
    smallest_px: int = 0,
    grow_px: float = 0,
) -> NDArray[np.int32]:
    """The objects of a foreground: its face-connected regions, each with a number from 1.

    Parameters
    ----------
    foreground
        Probability (y x) that a pixel belongs to an object.
    threshold
        A region's probabilities are above it.
    smallest_px
        Smaller regions are left out.
    grow_px
        Every object is then grown by up to so many pixels into what is left, never into another: a
        network that was trained with a line of background between touching objects predicts them
        thinner by half the line.

    Returns
    -------
    array of int32
        Object ids (y x), 0 for background.
    """
    regions, count = ndimage.label(foreground > threshold)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    kept = np.flatnonzero(sizes >= smallest_px)
    ids = np.zeros(count + 1, np.int32)
    ids[kept[kept > 0]] = np.arange(1, np.count_nonzero(kept) + 1)
    objects = ids[regions]
    return np.asarray(expand_labels(objects, grow_px) if grow_px else objects, np.int32)
