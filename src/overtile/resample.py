"""Images brought to another size of pixel, and results back to the grid they came from.

Every pixel is a function of a few pixels around its place, and no window of the result depends on
how it was cut: what is read by window here is what the whole would give there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.errors import DataError
from overtile.image import METRES, Georeference, Image, Orientation, Sliceable

SAME = 0.01
"""Sizes of pixels that differ by less are one: files round them, and resampling blurs."""


@dataclass(frozen=True)
class PixelSize:
    """The size of a pixel that images are brought to.

    Attributes
    ----------
    sizes
        Along z y x, or y x.
    unit
        As of `Image`.
    """

    sizes: tuple[float, ...]
    unit: str

    def __str__(self) -> str:
        """As a person writes it."""
        return " x ".join(f"{size:g}" for size in self.sizes) + (f" {self.unit}" * bool(self.unit))


def size_of_pixels(image: Image, dimensions: int) -> PixelSize | None:
    """The size of the image's pixels along its last axes, if its file states it."""
    if image.spacing is None or len(image.spacing) < dimensions:
        return None
    return PixelSize(image.spacing[-dimensions:], image.unit)


def factors(image: Image, wanted: PixelSize, name: str = "The image") -> tuple[float, ...]:
    """How many pixels each pixel of an image becomes along the axes of `wanted`.

    Returns
    -------
    tuple of float
        Exactly 1 along axes whose sizes differ by less than 1 %.

    Raises
    ------
    DataError
        The image states no size of its pixels, or in a unit that is not a length.
    """
    own = size_of_pixels(image, len(wanted.sizes))
    if own is None:
        raise DataError(
            f"{name} states no size of its pixels, and is to be brought to {wanted}: expected a "
            "file with a pixel size (OME-TIFF, OME-Zarr, NIfTI, GeoTIFF ...), or leave out "
            "--spacing for such images."
        )
    scale = 1.0
    if own.unit != wanted.unit:
        if not (own.unit in METRES and wanted.unit in METRES):
            raise DataError(
                f"{name} states its pixel size in '{own.unit}', which cannot be converted to "
                f"'{wanted.unit}': expected a unit of length in both."
            )
        scale = METRES[own.unit] / METRES[wanted.unit]
    ratios = [size * scale / new for size, new in zip(own.sizes, wanted.sizes, strict=True)]
    return tuple(1.0 if abs(ratio - 1) < SAME else ratio for ratio in ratios)


def to_pixel_size(
    image: Image, wanted: PixelSize, *, as_label: bool = False, name: str = "The image"
) -> Image:
    """An image resampled to another size of pixel, read where it is sliced.

    Parameters
    ----------
    image
        With any axes; those of `wanted` are resampled.
    wanted
        The size of the new pixels.
    as_label
        Whether values are ids: then each pixel takes that of the nearest; otherwise intensities
        are interpolated linearly, smoothed first where pixels become larger.
    name
        For messages.

    Raises
    ------
    DataError
        As `factors`.
    """
    return rescaled(image, factors(image, wanted, name), as_label=as_label)


def rescaled(image: Image, ratios: Sequence[float], *, as_label: bool = False) -> Image:
    """An image whose last axes have so many times as many pixels; see `to_pixel_size`."""
    if all(ratio == 1 for ratio in ratios):
        return image
    last = "zyx"[-len(ratios) :]
    every = [dict(zip(last, ratios, strict=True)).get(axis, 1.0) for axis in image.axes]
    sizes = image.data.shape
    shape = tuple(max(1, round(n * ratio)) for n, ratio in zip(sizes, every, strict=True))
    data = Resampled(image.data, shape, nearest=as_label)
    steps = {
        axis: size / new for axis, size, new in zip(image.axes, sizes, shape, strict=True)
    }  # what a new pixel spans in old ones: the rounded shape covers the same extent
    spacing = image.spacing
    if spacing is not None:
        pairs = zip(image.space, spacing, strict=True)
        spacing = tuple(size * steps[axis] for axis, size in pairs)
    frame = _moved(image.frame, steps)
    return replace(image, data=data, spacing=spacing, frame=frame)


def _moved(
    frame: Georeference | Orientation | None, steps: dict[str, float]
) -> Georeference | Orientation | None:
    """The place of the new pixels: a pixel spans so many of the old ones."""
    x, y, z = (steps.get(axis, 1.0) for axis in "xyz")
    if isinstance(frame, Georeference):
        a, b, c, d, e, f = frame.transform
        return replace(frame, transform=(a * x, b * y, c, d * x, e * y, f))
    if isinstance(frame, Orientation):
        affine = np.array(frame.affine)
        scale = np.array([x, y, z])
        moved = affine.copy()
        moved[:, :3] = affine[:, :3] * scale
        moved[:, 3] += affine[:, :3] @ ((scale - 1) / 2)  # centres, not corners
        return replace(frame, affine=tuple(map(tuple, moved.tolist())))
    return None


class Resampled:
    """Data at another resolution: the same extent in other pixels.

    Parameters
    ----------
    data
        Anything sliceable.
    shape
        The new one, with as many axes.
    nearest
        Whether the nearest pixel is taken, as ids need it. Otherwise neighbours are interpolated
        linearly; along axes that become coarser by a factor s after a Gaussian of (s - 1) / 2 old
        pixels, which keeps fine stripes from becoming coarse ones. Beyond the edge lie its pixels.

    Attributes
    ----------
    shape, dtype
        The type is that of the data if `nearest`; else float32, or float64 of wider numbers.
    """

    def __init__(self, data: Sliceable, shape: tuple[int, ...], *, nearest: bool) -> None:
        self._data, self.shape, self._nearest = data, shape, nearest
        kind = np.dtype(data.dtype)
        wide = kind.itemsize > 2 if kind.kind in "iu" else kind.itemsize > 4
        self.dtype = kind if nearest else np.dtype(np.float64 if wide else np.float32)
        self._steps = [old / new for old, new in zip(data.shape, shape, strict=True)]
        self._sigmas = [max(0.0, (step - 1) / 2) for step in self._steps]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = key if isinstance(key, tuple) else (key,)
        keys += (slice(None),) * (len(self.shape) - len(keys))
        places = [np.arange(size)[one] for size, one in zip(self.shape, keys, strict=True)]
        centres = [
            (np.atleast_1d(place) + 0.5) * step - 0.5
            for place, step in zip(places, self._steps, strict=True)
        ]
        part = self._nearest_at(centres) if self._nearest else self._linear_at(centres)
        return part.reshape([place.size for place in places if place.ndim])

    def _nearest_to(self, centres: list[NDArray[np.float64]]) -> list[NDArray[np.intp]]:
        """The nearest pixel along each axis; half-way places go to the lower one."""
        return [
            np.clip(np.ceil(at - 0.5).astype(np.intp), 0, size - 1)
            for at, size in zip(centres, self._data.shape, strict=True)
        ]

    def _nearest_at(self, centres: list[NDArray[np.float64]]) -> NDArray[Any]:
        indices = self._nearest_to(centres)
        starts = [int(index.min()) for index in indices]
        block = self._block(starts, [int(index.max()) + 1 for index in indices])
        inside = [index - start for index, start in zip(indices, starts, strict=True)]
        return np.asarray(block[np.ix_(*inside)])

    def _linear_at(self, centres: list[NDArray[np.float64]]) -> NDArray[Any]:
        reach = [math.ceil(4 * sigma) + 1 for sigma in self._sigmas]
        ends = zip(centres, reach, self._data.shape, strict=True)
        spans = [
            (max(0, math.floor(at.min()) - far), min(size, math.floor(at.max()) + 2 + far))
            for at, far, size in ends
        ]
        block = self._block(*[[span[end] for span in spans] for end in (0, 1)]).astype(self.dtype)
        missing = np.isnan(block)
        starts = [start for start, _ in spans]
        if not missing.any():
            return self._interpolated(block, centres, starts)
        # Missing pixels weigh nothing, and the pixels nearest to them are missing.
        block[missing] = 0
        values = self._interpolated(block, centres, starts)
        weights = self._interpolated((~missing).astype(self.dtype), centres, starts)
        nearest = np.ix_(*[i - s for i, s in zip(self._nearest_to(centres), starts, strict=True)])
        weights[missing[nearest] | (weights == 0)] = np.nan
        return np.asarray(values / weights)

    def _interpolated(
        self, block: NDArray[Any], centres: list[NDArray[np.float64]], starts: list[int]
    ) -> NDArray[Any]:
        """Values of a block, which begins at these pixels, around places along each axis."""
        for axis, (sigma, at, start) in enumerate(zip(self._sigmas, centres, starts, strict=True)):
            if self._steps[axis] == 1:
                block = np.take(block, at.astype(np.intp) - start, axis)
                continue
            if sigma:
                block = ndimage.gaussian_filter1d(
                    block, sigma, axis, mode="nearest", radius=math.ceil(4 * sigma)
                )
            block = self._between(block, axis, at, start)
        return block

    def _between(
        self, block: NDArray[Any], axis: int, at: NDArray[np.float64], start: int
    ) -> NDArray[Any]:
        """Values between the pixels of a block, which begins at `start`."""
        last = self._data.shape[axis] - 1
        at = np.clip(at, 0, last)
        low = np.floor(at).astype(np.intp)
        across = [1] * block.ndim
        across[axis] = -1
        share = (at - low).astype(self.dtype).reshape(across)
        below = np.take(block, low - start, axis)
        above = np.take(block, np.minimum(low + 1, last) - start, axis)
        return np.asarray(below * (1 - share) + above * share)

    def _block(self, starts: list[int], stops: list[int]) -> NDArray[Any]:
        window = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
        return np.asarray(self._data[window])
