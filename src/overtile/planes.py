"""Planes: whatever holds an image, the rest of the house sees arrays (c y x), or volumes (c z y x).

The channel axis is always there, and nothing is read before it is sliced.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError
from overtile.image import AXES, Image, as_image


def planes(image: Image | NDArray[Any]) -> list[NDArray[Any]]:
    """All 2-D planes (c y x) of an image, or of an array as `as_image` understands it."""
    found = Planes(image if isinstance(image, Image) else as_image(image))
    return [found[number].read() for number in range(len(found))]


def of_plane(pixels: NDArray[Any], like: Image | None = None) -> Image:
    """The image of one plane (c y x) or volume (c z y x), with the pixel size of another."""
    space = pixels.ndim - 1
    made = Image(pixels, "c" + AXES[-space:])
    if like is None or like.spacing is None:
        return made
    return replace(made, spacing=like.spacing[-space:], unit=like.unit)


class Planes:
    """An image as a sequence of what a network takes: planes (c y x), or volumes (c z y x).

    Nothing is read until a plane is sliced.

    Parameters
    ----------
    image
        With any axes.
    dimensions
        2 for planes, 3 for volumes.

    Attributes
    ----------
    space
        The spatial axes of a plane, "yx" or "zyx"; `shape` are their sizes.
    leading
        The other axes, without the channels.
    channels
        How many; 1 where the image has no such axis.

    Raises
    ------
    DataError
        Volumes are asked for, and the image has no axis z.
    """

    def __init__(self, image: Image, dimensions: int = 2) -> None:
        self.image = image
        self.space = AXES[-dimensions:]
        if not set(self.space) <= set(image.axes):
            raise DataError(
                f"The image has the axes '{image.axes}' without z, and the model was made for "
                "volumes: expected a stack (z y x), or a model for planes."
            )
        sizes = image.sizes
        self.shape = tuple(sizes[axis] for axis in self.space)
        self.channels = sizes.get("c", 1)
        self.leading = "".join(axis for axis in image.axes if axis not in self.space + "c")
        self._leading_sizes = tuple(sizes[axis] for axis in self.leading)

    def __len__(self) -> int:
        """Number of planes."""
        return math.prod(self._leading_sizes)

    def __getitem__(self, number: int) -> Plane:
        """One plane, still unread; the last of the leading axes runs fastest."""
        return Plane(self, self.place(number))

    def place(self, number: int) -> dict[str, int]:
        """Where a plane lies along the leading axes."""
        indices = np.unravel_index(number, self._leading_sizes) if self.leading else ()
        return {axis: int(i) for axis, i in zip(self.leading, indices, strict=True)}

    def axes_of(self, classes: int | None) -> tuple[str, tuple[int, ...]]:
        """Axes and shape of a result for all planes: with so many classes as channels, or none."""
        axes = [a for a in AXES if a in self.leading + self.space + ("c" if classes else "")]
        sizes = dict(zip(self.leading + self.space, self._leading_sizes + self.shape, strict=True))
        sizes["c"] = classes or 0
        return "".join(axes), tuple(sizes[axis] for axis in axes)

    def key(self, axes: str, number: int, write: tuple[slice, ...]) -> tuple[int | slice, ...]:
        """The index of a part of a plane in a result with these axes."""
        inside = dict(zip(self.space, write, strict=True))
        place = self.place(number)
        return tuple(place.get(axis, inside.get(axis, slice(None))) for axis in axes)


class Plane:
    """One plane (c *space) of an image, read where it is sliced."""

    def __init__(self, planes: Planes, place: dict[str, int]) -> None:
        self._image, self._place = planes.image, place
        self._space = planes.space
        self.shape = (planes.channels, *planes.shape)
        self.dtype = planes.image.data.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        """The chosen channels and part, in memory."""
        chosen: dict[str, Any] = dict(zip("c" + self._space, key, strict=True)) | self._place
        axes = self._image.axes
        part = np.asarray(self._image.data[tuple(chosen[axis] for axis in axes)])
        return part if "c" in axes else part[None][key[0]]

    def read(self) -> NDArray[Any]:
        """All of it, in memory."""
        return self[(slice(None),) * len(self.shape)]
