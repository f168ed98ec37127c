"""Probabilities -> objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError, SettingsError
from overtile.image import Sliceable
from overtile.objects.flooding import split_by_seeds
from overtile.objects.growing import grow_in_blocks
from overtile.objects.regions import (
    Regions,
    Store,
    Window,
    cut_blocks,
    label_regions,
    read_ids,
    write_ids,
)

BLOCK_PX, BLOCK_3D_PX = 1024, 96
"""Side of a block of an image in memory. Growing 4096 x 4096 px in such blocks takes a third of the
time and a tenth of the memory that it takes in one piece."""


@dataclass(frozen=True)
class ObjectSettings:
    """What is an object.

    Attributes
    ----------
    threshold
        Objects lie where the probability is above it.
    smallest_px
        Objects of fewer pixels are left out, before any grows.
    grow_px
        Every object is then grown by up to so many pixels into what is left, never into another: a
        network that was trained with a line of background between touching objects predicts them
        thinner by half the line.
    seed_threshold
        Seeds are the regions above it; a region that holds several is parted between them by a
        watershed, as touching objects. None parts nothing.
    grow_above
        Where they may grow: pixels whose probability is above it.

    Raises
    ------
    SettingsError
        A seed threshold that is not above the threshold.
    """

    threshold: float = 0.5
    smallest_px: int = 0
    grow_px: float = 0
    seed_threshold: float | None = None
    grow_above: float = -math.inf

    def __post_init__(self) -> None:
        if self.seed_threshold is not None and not self.seed_threshold > self.threshold:
            raise SettingsError(
                f"A seed threshold of {self.seed_threshold} parts nothing: expected more than the "
                f"threshold of the objects, {self.threshold}."
            )


def find_objects(
    foreground: NDArray[np.floating],
    *,
    threshold: float = 0.5,
    smallest_px: int = 0,
    grow_px: float = 0,
    seed_threshold: float | None = None,
    grow_above: float = -math.inf,
) -> NDArray[np.int32]:
    """The objects of a foreground: its face-connected regions, each with a number from 1.

    Parameters
    ----------
    foreground
        Probability (y x) or (z y x) that a pixel belongs to an object.
    threshold, smallest_px, grow_px, seed_threshold, grow_above
        See `ObjectSettings`.

    Returns
    -------
    array of int32
        Object ids, 0 for background; see `find_objects_in_blocks`, of which this is a case.

    Raises
    ------
    SettingsError
        See `ObjectSettings`.
    """
    objects = np.zeros(foreground.shape, np.int32)
    settings = ObjectSettings(threshold, smallest_px, grow_px, seed_threshold, grow_above)
    blocks = cut_blocks(foreground.shape, BLOCK_PX if foreground.ndim == 2 else BLOCK_3D_PX)
    find_objects_in_blocks(foreground, objects, blocks, settings)
    return objects


def find_objects_in_blocks(
    foreground: Sliceable,
    objects: Store,
    blocks: Sequence[Window],
    settings: ObjectSettings,
    *,
    most_bytes: int | None = None,
) -> int:
    """Write the objects of a foreground that need not fit into memory.

    Parameters
    ----------
    foreground
        Probability (y x) or (z y x) that a pixel belongs to an object; it is read again for seeds
        and touching objects.
    objects
        A store of the same shape, into which the ids are written, 0 for background. What it holds
        does not matter, and until this returns it is working space. Ids count from 1 in the order
        of the objects' first pixels (C order, before they grow).
    blocks
        Disjoint windows that cover the image, such as `cut_blocks` gives. The result does not
        depend on them; memory does, which holds one block (with a rim of `grow_px`) and a few
        hundred bytes for each region above a threshold in each block.
    settings
        What is an object.
    most_bytes
        That parting one region of touching objects may take, about 100 for each pixel of its
        bounding box; None for as many as it needs.

    Returns
    -------
    int
        How many objects there are.

    Raises
    ------
    DataError
        The store's numbers are too short, there are too many regions to be numbered in 32 bits, or
        touching objects need more than `most_bytes`.

    Notes
    -----
    A region of touching objects is parted in its own bounding box, by
    `skimage.segmentation.watershed` of the negative foreground from the seeds in it, highest
    probabilities first. A pixel into which two objects can grow goes to the nearer one (Euclidean
    distance between pixel centres), and of equally near ones to the smaller id.
    """
    if objects.dtype.kind not in "iu" or objects.dtype.itemsize < 4:
        raise DataError(
            f"Objects cannot be written as '{objects.dtype}': expected integers of 32 bits or more."
        )
    if settings.seed_threshold is None:
        regions = label_regions(foreground, settings.threshold, objects, blocks)
    else:
        seeds = label_regions(foreground, settings.seed_threshold, objects, blocks)
        regions = label_regions(foreground, settings.threshold, objects, blocks)
        regions = split_by_seeds(foreground, objects, blocks, regions, seeds, most_bytes)
    ids = _ids_of_fragments(regions, settings.smallest_px)
    if settings.grow_px >= 1:
        grow_in_blocks(objects, blocks, ids, settings.grow_px)
    for block in blocks:
        fragments = read_ids(objects, block)
        if settings.grow_above > -math.inf:
            outside = np.asarray(foreground[block]) <= settings.grow_above
            fragments = np.where((fragments < 0) & outside, 0, fragments)
        write_ids(objects, block, ids[np.maximum(fragments, 0)] - np.minimum(fragments, 0))
    return int(ids.max())


def _ids_of_fragments(regions: Regions, smallest_px: int) -> NDArray[np.int32]:
    """The object id of each fragment from 0, the background; 0 where the object is too small."""
    extents = regions.extents
    kept = np.flatnonzero(extents.size >= max(smallest_px, 1))
    ids = np.zeros(len(extents.size), np.int32)
    ids[kept[np.argsort(extents.first[kept])]] = np.arange(1, len(kept) + 1)
    return np.concatenate([np.zeros(1, np.int32), ids[regions.of_fragment]])
