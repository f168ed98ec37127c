"""Tiles of a network that is not exact, blended: seams are soft, but the result depends on them.

For networks that look at the whole window (instance norm and its like) there is no seamless result.
Tiles overlap by what the network sees, and fade into each other over that. The probabilities of a
whole plane are held in memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overtile.image import Sliceable
from overtile.metrics import Mismatch, mismatch
from overtile.tiler import Tiler
from overtile.tiles import Tile, cut, even_step


def blended(tiler: Tiler, image: Sliceable, step: tuple[int, ...]) -> NDArray[np.float32]:
    """Probabilities of all outputs (k *space) of an image (c *space), the mean over tiles.

    They are NaN where the image is missing.
    A tile counts most in its middle and least at its edges, but for those at the image's own edge:
    with the distance to the nearest edge, up to the margin.

    Parameters
    ----------
    tiler
        What computes.
    image
        Of any size; the result, and as much again, is held in memory.
    step
        Distance of the tiles along each axis, multiples of its grid.
    """
    shape = tuple(image.shape[1:])
    margins = [max(field.margin, 1) for field in tiler.fields]
    total, weights = np.zeros(0, np.float32), np.zeros(shape, np.float32)
    tiler = tiler.of(image)
    for tile in cut(shape, tiler.fields, step, tiler.border):
        loaded = tiler.read(image, tile)
        likely = tiler.likely(tiler.engine(loaded.window)[0])
        weight, inside, write = _faded(tile, likely.shape[1:], shape, margins)
        if total.size == 0:
            total = np.zeros((len(likely), *shape), np.float32)
        total[:, *write] += weight * likely[:, *inside]
        weights[*write] += weight
        if loaded.missing is not None:  # later tiles add to it, and it stays NaN
            weights[*tile.write][loaded.missing] = np.nan
    return total / weights


def _faded(
    tile: Tile, out: tuple[int, ...], shape: tuple[int, ...], margins: list[int]
) -> tuple[NDArray[np.float32], list[slice], list[slice]]:
    """The weight of what a tile gives inside the image, where it is in that, and where it goes."""
    weight = np.ones((), np.float32)
    inside, write = [], []
    axes = zip(tile.crop, tile.write, out, shape, margins, strict=True)
    for crop, at, length, size, margin in axes:
        origin = at.start - crop.start
        start, stop = max(origin, 0), min(origin + length, size)
        place = np.arange(start, stop)
        before = np.where(start == 0, margin, place - origin + 1)
        after = np.where(stop == size, margin, origin + length - place)
        ramp = np.minimum(np.minimum(before, after), margin).astype(np.float32) / margin
        weight = np.multiply.outer(weight, ramp)
        inside.append(slice(start - origin, stop - origin))
        write.append(slice(start, stop))
    return weight, inside, write


def tile_mismatch(tiler: Tiler, image: Sliceable, *, exact: bool) -> Mismatch:
    """How far two tilings of an image (c *space) differ: in tiles of a half and of a third of it.

    Missing pixels are left out.

    Parameters
    ----------
    exact
        Whether tiles are put together as they are, rather than blended.
    """
    shape = tuple(image.shape[1:])
    results = []
    for parts in (2, 3):
        step = tuple(
            even_step(size, max(-(-size // parts), field.grid), field.grid)
            for size, field in zip(shape, tiler.fields, strict=True)
        )
        if exact:
            results.append(tiler.predict(image, step, "probabilities"))
        else:
            results.append(blended(tiler, image, step))
    known = ~np.isnan(results[0][0])
    return mismatch(*[result[:, known] for result in results])
