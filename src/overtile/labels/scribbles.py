"""Whether a label is a few strokes on nothing, drawn where labelling all would take too long."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.labels.separation import touching

EMPTY_SHARE = 0.85
"""So much of a label of strokes is 0, at least."""

THIN = 1 / 6
"""A stroke is no wider than this part of the diagonal of its bounding box: cells and organs are
wider, and a brush that fills an area as well."""

MOST_STROKES = 30
"""Of a class in a label: vessels and fibres that are labelled one by one are more."""


def looks_drawn(label: NDArray[np.int64]) -> bool:
    """Whether a label (*space) holds nothing but thin strokes, none of which touches another class.

    Its value 0 covers at least 85 % of it. A label without any stroke is none. The classes of
    arteries and veins would be thin as well, but cross; contours go around what they belong to.
    """
    drawn = label != 0
    if not drawn.any() or drawn.mean() > 1 - EMPTY_SHARE:
        return False
    top = 2**52  # filters compute in floats, which hold it exactly
    low = ndimage.minimum_filter(np.where(drawn, label, top), 3)
    high = ndimage.maximum_filter(np.where(drawn, label, -top), 3)
    if (drawn & (high != low)).any():
        return False
    return all(_are_strokes(label == value) for value in np.unique(label[drawn]).tolist())


def _are_strokes(mask: NDArray[np.bool_]) -> bool:
    regions, count = ndimage.label(mask, touching(mask.ndim))
    if count > MOST_STROKES:
        return False
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]
    for number, box in enumerate(ndimage.find_objects(regions), start=1):
        width = 2 * float(inside[box][regions[box] == number].max()) - 1
        if width > THIN * float(np.hypot.reduce([side.stop - side.start for side in box])):
            return False
    return True
