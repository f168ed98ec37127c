"""A line of background between objects that touch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def separate_touching(objects: NDArray[np.integer], width_px: int) -> NDArray[np.int32]:
    """Objects with a line of background between those that touch (the paper's separation border).

    Parameters
    ----------
    objects
        Ids (y x) or (z y x), 0 for background.
    width_px
        Of the line (of volumes: the sheet); 0 draws none. Half of it is taken from each of two
        objects that touch by a face or a corner; of an odd width the lower id gives one pixel more.

    Returns
    -------
    array of int32
        Without a face or corner between two objects, where the width is above 0. Pixels farther
        than half the width from a contact, and objects that touch none, are unchanged. An object
        too thin to give is kept, as far as it then touches no other.
    """
    ids: NDArray[np.int32] = objects.astype(np.int32)
    if width_px == 0:
        return ids
    inside = ids > 0
    others = np.where(inside, ids, np.iinfo(np.int32).max)
    low = inside & (ndimage.maximum_filter(ids, 3) > ids)
    high = inside & (ndimage.minimum_filter(others, 3) < ids)
    contact = low | high
    if not contact.any():
        return ids
    distance, nearest = ndimage.distance_transform_edt(~contact, return_indices=True)
    giver = tuple(nearest)  # of each pixel, the contact pixel next to it
    gives_more = np.where(ids[giver] == ids, low[giver], ~low[giver])
    # A contact pixel is half a pixel from the contact, so `reach` pixels are those nearer than it.
    reach = np.where(gives_more, (width_px + 1) // 2, width_px // 2)
    separated = np.where(distance < reach, 0, ids)
    for lost in np.setdiff1d(ids, separated).tolist():
        rival = (separated > 0) & (separated != lost)
        separated[(ids == lost) & ~ndimage.binary_dilation(rival, touching(ids.ndim))] = lost
    return separated.astype(np.int32)


def touching(dimensions: int) -> NDArray[np.bool_]:
    """The neighbourhood of a pixel: all that touch it by a face, an edge or a corner."""
    return np.ones((3,) * dimensions, bool)
