"""Pairs brought to one size of pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from overtile.layouts.pair import Pairs
from overtile.resample import PixelSize, factors, size_of_pixels


def bring_to(pairs: Pairs, size: PixelSize) -> Pairs:
    """The same pairs, resampled when they are read so that all have pixels of this size."""
    members = tuple(
        replace(
            pair,
            image=replace(pair.image, pixel_size=size),
            label=None if pair.label is None else replace(pair.label, pixel_size=size),
        )
        for pair in pairs
    )
    return replace(pairs, members=members, pixel_size=size)


def common_pixel_size(pairs: Pairs) -> PixelSize:
    """The median size of a pixel along each axis, in the unit of the first image.

    Raises
    ------
    DataError
        An image states no size of its pixels, or units that cannot be converted.
    """
    first = size_of_pixels(pairs[0].image.open(), pairs.dimensions)
    unit = PixelSize((1.0,) * pairs.dimensions, "" if first is None else first.unit)
    sizes = [factors(pair.image.open(), unit, pair.image.origin) for pair in pairs]
    return PixelSize(tuple(np.median(sizes, axis=0).tolist()), unit.unit)
