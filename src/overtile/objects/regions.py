"""The face-connected regions of an image larger than memory.

Every block is labelled alone, which gives *fragments*; where two fragments meet over the face
between two blocks, they belong to the same *region*. Only one pixel on each side of a face is read
for that, and what is kept in memory is one block and a few numbers for each fragment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from overtile.errors import DataError
from overtile.image import Sliceable

Window = tuple[slice, ...]
"""A part of an image: for each axis a slice with start and stop."""

MOST_FRAGMENTS = int(np.iinfo(np.int32).max)
"""Fragments are counted in 32 bits, as ids are, and so written where the ids will be."""


class Store(Sliceable, Protocol):
    """An array of integers of at least 32 bits, or what behaves like one, read and written."""

    def __setitem__(self, key: Any, value: Any, /) -> None:
        """Write the chosen part."""


def cut_blocks(shape: Sequence[int], size_px: int | Sequence[int]) -> list[Window]:
    """Blocks of an image, in C order.

    Parameters
    ----------
    shape
        Of the image, in pixels.
    size_px
        The side of a block, the same for every axis or one for each; the last block of an axis is
        what is left.
    """
    sides = [size_px] * len(shape) if isinstance(size_px, int) else size_px
    axes = [
        [slice(start, min(start + side, size)) for start in range(0, size, side)]
        for size, side in zip(shape, sides, strict=True)
    ]
    return list(product(*axes))


def read_ids(store: Sliceable, window: Window) -> NDArray[np.int32]:
    """The numbers in a window; of an unsigned store, negative ones as they were written."""
    return np.asarray(store[window]).astype(np.int32, copy=False)


def write_ids(store: Store, window: Window, ids: NDArray[np.int32]) -> None:
    """Write numbers into a window, negative ones too where the store's are unsigned."""
    store[window] = ids.astype(store.dtype, copy=False)


@dataclass(frozen=True)
class Extents:
    """Where regions lie, and how large they are: one entry, or row, for each.

    Attributes
    ----------
    size
        In pixels.
    first
        The first pixel in C order, counted through the whole image.
    start, stop
        Of the bounding box (row: one for each axis).
    """

    size: NDArray[np.int64]
    first: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @classmethod
    def of(
        cls, labels: NDArray[np.integer], count: int, origin: Sequence[int], shape: tuple[int, ...]
    ) -> Extents:
        """Of regions labelled from 1 to `count`, none missing, in a window.

        Parameters
        ----------
        labels
            Of the window.
        count
            Of the regions.
        origin
            The window's first pixel.
        shape
            Of the whole image.
        """
        flat = labels.ravel()
        inside = np.flatnonzero(flat)[::-1]
        first = np.zeros(count + 1, np.int64)
        first[flat[inside]] = inside  # backwards: what is written last, stays
        place = np.unravel_index(first[1:], labels.shape)
        moved = tuple(along + offset for along, offset in zip(place, origin, strict=True))
        boxes = ndimage.find_objects(labels, count)
        rows, low = (count, labels.ndim), np.asarray(origin, np.int64)
        start = np.array([[side.start for side in box] for box in boxes], np.int64)
        stop = np.array([[side.stop for side in box] for box in boxes], np.int64)
        return cls(
            np.bincount(flat, minlength=count + 1)[1:],
            np.ravel_multi_index(moved, shape).astype(np.int64),
            start.reshape(rows) + low,
            stop.reshape(rows) + low,
        )

    @classmethod
    def chain(cls, parts: Iterable[Extents]) -> Extents:
        """Those of all parts, one after the other."""
        rows = [(part.size, part.first, part.start, part.stop) for part in parts]
        return cls(*(np.concatenate(column) for column in zip(*rows, strict=True)))

    def merge(self, group: NDArray[np.integer], count: int) -> Extents:
        """Those of `count` groups, given the group of each region."""
        none = np.iinfo(np.int64).max
        axes = self.start.shape[1]
        merged = Extents(
            np.zeros(count, np.int64),
            np.full(count, none),
            np.full((count, axes), none),
            np.zeros((count, axes), np.int64),
        )
        np.add.at(merged.size, group, self.size)
        np.minimum.at(merged.first, group, self.first)
        np.minimum.at(merged.start, group, self.start)
        np.maximum.at(merged.stop, group, self.stop)
        return merged


@dataclass(frozen=True)
class Regions:
    """The regions of an image, whose fragments are written in a store as 1, 2, ...

    Attributes
    ----------
    threshold
        Above which they lie.
    fragments, extents
        Where fragments and regions lie.
    ends
        How many fragments there are up to the end of each block, beginning with a 0.
    of_fragment
        The region of each fragment, counted from 0.
    """

    threshold: float
    fragments: Extents
    ends: tuple[int, ...]
    of_fragment: NDArray[np.integer]
    extents: Extents


def label_regions(
    foreground: Sliceable, threshold: float, store: Store, blocks: Sequence[Window]
) -> Regions:
    """The face-connected regions where the foreground is above a threshold.

    Parameters
    ----------
    foreground
        Probabilities of any number of axes.
    threshold
        The regions' probabilities are above it.
    store
        Of the same shape; the fragments are written into it.
    blocks
        Disjoint windows that cover the image.

    Raises
    ------
    DataError
        More fragments than 32 bits can count.
    """
    shape = tuple(foreground.shape)
    parts, ends = [], [0]
    for block in blocks:
        labels, count = ndimage.label(np.asarray(foreground[block]) > threshold)
        parts.append(Extents.of(labels, count, [side.start for side in block], shape))
        check_count(ends[-1] + count)
        write_ids(store, block, np.where(labels > 0, labels + ends[-1], 0).astype(np.int32))
        ends.append(ends[-1] + count)
    fragments = Extents.chain(parts)
    groups, of_fragment = _joined(ends[-1], [_contacts(store, block) for block in blocks])
    extents = fragments.merge(of_fragment, groups)
    return Regions(threshold, fragments, tuple(ends), of_fragment, extents)


def check_count(count: int) -> None:
    """Refuse more fragments than can be written.

    Raises
    ------
    DataError
        There are more.
    """
    if count > MOST_FRAGMENTS:
        raise DataError(
            f"The foreground falls into {count} regions or more, and at most {MOST_FRAGMENTS} can "
            "be numbered: expected objects rather than noise. Raise the threshold, smooth the "
            "probabilities, or cut the image."
        )


def _contacts(store: Store, block: Window) -> NDArray[np.int64]:
    """Pairs (row) of fragments that meet over the faces where a block begins."""
    keys = [np.zeros(0, np.int64)]
    for axis, side in enumerate(block):
        if side.start > 0:
            seam = slice(side.start - 1, side.start + 1)
            fragments = read_ids(store, (*block[:axis], seam, *block[axis + 1 :]))
            low, high = np.moveaxis(fragments, axis, 0).astype(np.int64)
            touch = (low > 0) & (high > 0)
            # One number for a pair, because pairs are slow to sort.
            keys.append(np.unique(low[touch] << 32 | high[touch]))
    both = np.concatenate(keys)
    return np.stack([both >> 32, both & 0xFFFFFFFF], axis=1)


def _joined(count: int, contacts: Sequence[NDArray[np.int64]]) -> tuple[int, NDArray[np.integer]]:
    """How many regions `count` fragments form, and the region of each."""
    if count == 0:
        return 0, np.zeros(0, np.int32)
    low, high = (np.concatenate(contacts) - 1).T
    graph = coo_array((np.ones(len(low), bool), (low, high)), shape=(count, count))
    groups, of_fragment = connected_components(graph, directed=False)
    return int(groups), np.asarray(of_fragment)
