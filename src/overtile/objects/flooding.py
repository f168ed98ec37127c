"""Touching objects parted by a watershed from seeds, each connected region flooded alone.

A region is flooded in its own bounding box, so that the result depends on nothing outside of it,
least of all on blocks. In one flood of the whole image it would: of seeds equally high, the first
is the one that the heap of scikit-image yields first, and that heap holds the seeds of all regions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from overtile.errors import DataError
from overtile.image import Sliceable
from overtile.objects.regions import (
    Extents,
    Regions,
    Store,
    Window,
    check_count,
    read_ids,
    write_ids,
)

BYTES_PER_PIXEL = 100
"""What flooding takes at most for each pixel of a bounding box: 80 were measured inside of
scikit-image 0.26 (a box full of seeds, so that its heap is full), the rest is the window."""


def split_by_seeds(
    foreground: Sliceable,
    store: Store,
    blocks: Sequence[Window],
    regions: Regions,
    seeds: Regions,
    most_bytes: int | None,
) -> Regions:
    """Regions that hold two or more seeds, parted between them.

    Parameters
    ----------
    foreground
        Probabilities.
    store
        Holds the fragments of the regions; those of the parts are written over them.
    blocks
        Disjoint windows that cover the image.
    regions, seeds
        Of the foreground, above the threshold of objects and above a higher one.
    most_bytes
        That flooding one region may take; None for as many as it needs.

    Returns
    -------
    Regions
        With the parts behind all others; what was parted has no pixels any more.

    Raises
    ------
    DataError
        A region whose bounding box is too large to be flooded, or more parts than can be numbered.

    Notes
    -----
    Flooding is `skimage.segmentation.watershed` of the negative foreground (Soille and Ansoult
    1990, doi:10.1016/0165-1684(90)90127-K), highest probabilities first.
    """
    held = _count_seeds(regions, seeds, store, blocks)
    touching = np.flatnonzero(held >= 2)
    _check_memory(regions, held, touching, most_bytes)
    # Behind the last there is one more, for fragments that are parts already.
    region_of = np.concatenate([[-1], regions.of_fragment, [-1]])
    parts: list[Extents] = []
    last = regions.ends[-1]
    for window, inside in _windows(regions, touching, blocks):
        probabilities = np.asarray(foreground[window])
        fragments = read_ids(store, window).copy()
        for region in inside:
            box = _box(regions, region)
            crop = tuple(
                slice(side.start - whole.start, side.stop - whole.start)
                for side, whole in zip(box, window, strict=True)
            )
            mask = region_of.take(fragments[crop], mode="clip") == region
            labels, count = _flood(probabilities[crop], mask, seeds.threshold)
            check_count(last + count)
            fragments[crop][mask] = labels[mask] + last
            last += count
            origin = [side.start for side in box]
            parts.append(Extents.of(labels, count, origin, tuple(store.shape)))
        write_ids(store, window, fragments)
    return _with_parts(regions, touching, parts)


def _count_seeds(
    regions: Regions, seeds: Regions, store: Store, blocks: Sequence[Window]
) -> NDArray[np.intp]:
    """How many seeds each region holds: the store tells the region at a pixel of every seed."""
    found = [np.zeros(0, np.int32)]
    for block, (begin, end) in zip(blocks, pairwise(seeds.ends), strict=True):
        place = np.unravel_index(seeds.fragments.first[begin:end], tuple(store.shape))
        inside = tuple(along - side.start for along, side in zip(place, block, strict=True))
        found.append(read_ids(store, block)[inside])
    region_of_seed = np.zeros(len(seeds.extents.size), np.intp)
    region_of_seed[seeds.of_fragment] = regions.of_fragment[np.concatenate(found) - 1]
    return np.bincount(region_of_seed, minlength=len(regions.extents.size))


def _check_memory(
    regions: Regions,
    held: NDArray[np.intp],
    touching: NDArray[np.intp],
    most_bytes: int | None,
) -> None:
    if most_bytes is None or not touching.size:
        return
    boxes = regions.extents.stop[touching] - regions.extents.start[touching]
    pixels = boxes.prod(axis=1)
    largest = int(pixels.argmax())
    needed = int(pixels[largest]) * BYTES_PER_PIXEL
    if needed > most_bytes:
        region = int(touching[largest])
        names = "zyx"[-boxes.shape[1] :]
        sides = zip(names, _box(regions, region), strict=True)
        where = ", ".join(f"{name} {side.start} to {side.stop}" for name, side in sides)
        raise DataError(
            f"One region of touching objects spans {where} (stops excluded) and holds "
            f"{held[region]} seeds: parting them takes about {needed / 2**20:,.1f} MiB, and "
            f"{most_bytes / 2**20:,.1f} MiB are allowed. Raise the threshold so that it falls "
            "apart, leave the seed threshold out, or allow more memory."
        )


def _windows(
    regions: Regions, touching: NDArray[np.intp], blocks: Sequence[Window]
) -> Iterator[tuple[Window, list[int]]]:
    """What to read and write for which regions.

    Files are read and written in chunks, so the regions between the same blocks share one window,
    as long as it is no larger than a block.
    """
    block_of = np.repeat(np.arange(len(blocks)), np.diff(regions.ends))
    first = np.full(len(regions.extents.size), len(blocks))
    last = np.zeros(len(regions.extents.size), np.intp)
    np.minimum.at(first, regions.of_fragment, block_of)
    np.maximum.at(last, regions.of_fragment, block_of)
    between: dict[tuple[int, int], list[int]] = defaultdict(list)
    for region in touching.tolist():
        between[int(first[region]), int(last[region])].append(region)
    most = max(math.prod(side.stop - side.start for side in block) for block in blocks)
    for several in between.values():
        start = regions.extents.start[several].min(axis=0)
        stop = regions.extents.stop[several].max(axis=0)
        if (stop - start).prod() <= most:
            yield _window(start, stop), several
        else:
            yield from ((_box(regions, region), [region]) for region in several)


def _box(regions: Regions, region: int) -> Window:
    return _window(regions.extents.start[region], regions.extents.stop[region])


def _window(start: NDArray[np.int64], stop: NDArray[np.int64]) -> Window:
    return tuple(map(slice, start.tolist(), stop.tolist()))


def _flood(
    probabilities: NDArray[np.floating], mask: NDArray[np.bool_], seed_threshold: float
) -> tuple[NDArray[np.int32], int]:
    """The parts of one region in its bounding box, numbered from 1, and how many."""
    seeds, count = ndimage.label((probabilities > seed_threshold) & mask)
    return np.asarray(watershed(-probabilities, seeds, mask=mask), np.int32), int(count)


def _with_parts(regions: Regions, touching: NDArray[np.intp], parts: list[Extents]) -> Regions:
    whole = regions.extents
    size = whole.size.copy()
    size[touching] = 0
    extents = Extents.chain([replace(whole, size=size), *parts])
    added = np.arange(len(whole.size), len(extents.size))
    return replace(
        regions,
        fragments=Extents.chain([regions.fragments, *parts]),
        of_fragment=np.concatenate([regions.of_fragment, added]),
        extents=extents,
    )
