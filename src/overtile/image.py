"""Images: pixels with named axes, whole in memory or sliced out of a file, and their 2-D planes.

Whatever holds an image, the rest of the house sees planes: arrays (c y x), always with the channel
axis. An array without named axes is understood by one rule, `as_image`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError

AXES = "tczyx"
"""Time, channel, depth, height, width: the axes that an image can have, in their order."""

MOST_COLOURS = 4
"""An axis of an array up to this long can be the channels: gray, gray + alpha, RGB, RGB + alpha."""


class Sliceable(Protocol):
    """An array, or what behaves like one when it is indexed with integers and slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""

    def __getitem__(self, key: Any, /) -> Any:
        """The chosen part, as an array in memory."""


@dataclass(frozen=True)
class Image:
    """Pixels with named axes.

    Attributes
    ----------
    data
        Anything sliceable; a large file is read only where it is sliced.
    axes
        One letter for each axis of `data`: those of "tczyx" that there are, in this order;
        y and x always.

    Raises
    ------
    DataError
        The axes are not of this form, or do not fit the data.
    """

    data: Sliceable
    axes: str

    def __post_init__(self) -> None:
        known = "".join(axis for axis in AXES if axis in self.axes)
        shape = self.data.shape
        if self.axes != known or not known.endswith("yx") or len(shape) != len(known):
            raise DataError(
                f"The axes '{self.axes}' do not fit an array of {len(shape)} axes: expected one "
                f"letter for each, those of '{AXES}' that there are, in this order, with y and x."
            )


def as_image(array: NDArray[Any]) -> Image:
    """An array with its axes named by its shape.

    Parameters
    ----------
    array
        Of numbers or truth values, by its shape: (y x), one plane; (y x c) with c at most 4, one
        plane in colour; any other 3 axes, (z y x), a stack of planes; (z y x c) or (z c y x) with
        c at most 4, a stack in colour. Other arrays need an `Image` with axes.

    Returns
    -------
    Image
        A view of the array; truth values become 0 and 1. Where the last of 2 or 4 colours
        is everywhere the highest value of its type (1 for floats), it is an opaque alpha channel
        and left out. Any other fourth channel is kept: an array cannot say whether it is alpha or
        near infrared.

    Raises
    ------
    DataError
        An array of another shape, of no pixels, or of something else than numbers.
    """
    if array.dtype.kind not in "buif":
        raise DataError(
            f"The array holds '{array.dtype}', which is not a kind of pixel: expected integers, "
            "floats or truth values."
        )
    if array.size == 0:
        raise DataError(f"The array of shape {array.shape} has no pixels: expected at least one.")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.ndim == 2:
        return Image(array, "yx")
    if array.ndim in (3, 4) and array.shape[-1] <= MOST_COLOURS:
        channels_first = np.moveaxis(_without_opaque_alpha(array), -1, 0)
        return Image(channels_first, "cyx" if array.ndim == 3 else "czyx")
    if array.ndim == 3:
        return Image(array, "zyx")
    if array.ndim == 4 and array.shape[1] <= MOST_COLOURS:
        return Image(array.swapaxes(0, 1), "czyx")
    raise DataError(
        f"An array of shape {array.shape} does not say which axis is which: expected (y x), "
        "(y x c), (z y x), (z y x c) or (z c y x) with at most 4 channels c. For any other, name "
        "them: Image(array, axes='czyx')."
    )


def _without_opaque_alpha(array: NDArray[Any]) -> NDArray[Any]:
    if array.shape[-1] not in (2, 4):
        return array
    opaque = np.iinfo(array.dtype).max if array.dtype.kind in "ui" else 1.0
    return array[..., :-1] if (array[..., -1] == opaque).all() else array


def count_planes(image: Image) -> int:
    """Number of 2-D planes: the product of the sizes of t and z, 1 without them."""
    sizes = zip(image.axes, image.data.shape, strict=True)
    return math.prod(size for axis, size in sizes if axis in "tz")


def read_plane(image: Image, number: int) -> NDArray[Any]:
    """One 2-D plane (c y x), read alone.

    Parameters
    ----------
    image
        With any axes.
    number
        From 0 to `count_planes` - 1; z runs faster than t.
    """
    sizes = dict(zip(image.axes, image.data.shape, strict=True))
    place = dict(zip("tz", divmod(number, sizes.get("z", 1)), strict=True))
    plane = image.data[tuple(place.get(axis, slice(None)) for axis in image.axes)]
    return np.asarray(plane if "c" in image.axes else plane[None])


def planes(image: Image | NDArray[Any]) -> list[NDArray[Any]]:
    """All 2-D planes (c y x) of an image, or of an array as `as_image` understands it."""
    image = image if isinstance(image, Image) else as_image(image)
    return [read_plane(image, number) for number in range(count_planes(image))]
