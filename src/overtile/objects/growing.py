"""Objects grown into the background around them, a pixel going to the object that is nearest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from overtile.objects.regions import Store, Window, read_ids, write_ids

FAR = 1 << 62
"""The key of a pixel that no object reaches: farther than any, and of id 0."""


def grow(ids: NDArray[np.int32], grow_px: float) -> NDArray[np.int32]:
    """Objects grown by up to a distance into the background.

    Parameters
    ----------
    ids
        Of objects, 0 for background; any number of axes.
    grow_px
        The farthest that a pixel may lie from the object it joins, between pixel centres.

    Returns
    -------
    array of int32
        Background pixels take the id of the object with the nearest pixel by Euclidean distance;
        of several equally near, the smallest id. Objects themselves are unchanged.

    Notes
    -----
    A pixel's key is (squared distance, id) in one integer, so that the smallest key is the answer.
    Squared distances add up axis by axis, and adding the same to all keys keeps their order: with
    ``K_0`` the key of the pixels themselves and s the step along axis i::

        K_i(p) = min over |s| <= grow_px of K_{i-1}(p + s e_i) + (s^2, 0)

    (the separable distance transform of Felzenszwalb and Huttenlocher 2012,
    doi:10.4086/toc.2012.v008a019, over a window). It takes 2 grow_px steps along each axis.
    """
    key = np.where(ids > 0, ids.astype(np.int64), FAR)
    for axis in range(ids.ndim):
        before = np.moveaxis(key, axis, 0)
        nearest = before.copy()
        for step in range(1, min(int(grow_px), len(before) - 1) + 1):
            farther = step**2 << 32
            np.minimum(nearest[step:], before[:-step] + farther, out=nearest[step:])
            np.minimum(nearest[:-step], before[step:] + farther, out=nearest[:-step])
        key = np.moveaxis(nearest, 0, axis)
    return np.where(np.sqrt(key >> 32) <= grow_px, key & 0xFFFFFFFF, 0).astype(np.int32)


def grow_in_blocks(
    store: Store, blocks: Sequence[Window], ids: NDArray[np.int32], grow_px: float
) -> None:
    """Write into the store, as negative ids, what objects take of the background around them.

    Parameters
    ----------
    store
        Holds fragments. A later block must see them as they were, so they stay, and what an object
        takes gets a sign by which it can be told apart.
    blocks
        Disjoint windows that cover the image.
    ids
        Of each fragment, from fragment 0, the background.
    grow_px
        See `grow`.
    """
    reach = int(grow_px)
    for block in blocks:
        window = tuple(
            slice(max(side.start - reach, 0), min(side.stop + reach, size))
            for side, size in zip(block, store.shape, strict=True)
        )
        core = tuple(
            slice(side.start - around.start, side.stop - around.start)
            for side, around in zip(block, window, strict=True)
        )
        fragments = read_ids(store, window)
        objects = ids[np.maximum(fragments, 0)]
        taken = grow(objects, grow_px)[core]
        write_ids(store, block, np.where(objects[core] > 0, fragments[core], -taken))
