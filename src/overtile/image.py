"""Images: pixels with named axes, whole in memory or sliced out of a file.

An array without named axes is understood by one rule, `as_image`.

A pixel that is missing (outside of what a satellite saw, say) is NaN in all channels: a reader
whose file marks such pixels gives floats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError

AXES = "tczyx"
"""Time, channel, depth, height, width: the axes that an image can have, in their order."""

METRES = {
    "angstrom": 1e-10,
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "meter": 1.0,
    "kilometer": 1e3,
    "inch": 0.0254,
}
"""The units of length that are converted into each other, named as OME-Zarr names them."""

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


class Store(Sliceable, Protocol):
    """What is written part by part, and can be read back at once.

    Disjoint parts may be written from several threads and processes at the same time; a store
    travels to another process by pickling.
    """

    def __setitem__(self, key: Any, part: Any, /) -> None:
        """Write a part, chosen by integers and slices of step 1."""

    def sync(self) -> None:
        """Return when all that this object has written is on the disk, safe from a power cut."""


@dataclass(frozen=True)
class Georeference:
    """Where the pixels of a map lie on the earth.

    Attributes
    ----------
    crs
        The coordinate reference system, as WKT; empty where it is not known.
    transform
        (a, b, c, d, e, f): the upper left corner of the pixel in column i and row j lies at
        x = a i + b j + c, y = d i + e j + f in units of the crs.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Orientation:
    """Where the voxels of a scan lie in a patient, in millimetres.

    Attributes
    ----------
    affine
        Three rows of four numbers: the centre of the voxel (i, j, k), counted along x, y, z, lies
        at ``affine @ (i, j, k, 1)``, in coordinates towards the right, front (anterior), top
        (superior) of the patient (RAS, as in NIfTI; DICOM and ITK count the first two to the left
        and the back).
    space
        What the coordinates are aligned with, in the words of NIfTI-1: ``scanner``, ``aligned``,
        ``talairach``, ``mni``, or ``unknown``.
    second
        Another one that the file states beside it, such as that of the scanner where the first is
        that of an atlas: formats that hold two keep it.
    """

    affine: tuple[tuple[float, float, float, float], ...]
    space: Literal["unknown", "scanner", "aligned", "talairach", "mni"] = "scanner"
    second: Orientation | None = None


Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


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
    spacing
        Size of a pixel along each spatial axis that there is, in the order z y x; None where it is
        not known.
    unit
        Of the spacing, in full and in the singular, as OME-Zarr has it ("micrometer"); empty where
        it is not known.
    by_window
        Whether a small window can be read without decoding the whole: not from a PNG, a JPEG, or
        a TIFF whose compressed strips are large. Such an image is better read once, and kept.
    frame
        Where it lies in the world, as its file states it; what is predicted lies there too.
    channel_names
        One for each channel, or none.
    palette
        Of a label whose values are indices of colours: the colour of value 0, 1, ...; empty for
        any other.
    source
        The file or folder that it was read from, where a format must refer to that (DICOM).

    Raises
    ------
    DataError
        The axes are not of this form, or do not fit the data; or the spacing does not fit the axes.
    """

    data: Sliceable
    axes: str
    spacing: tuple[float, ...] | None = None
    unit: str = ""
    by_window: bool = True
    frame: Georeference | Orientation | None = None
    channel_names: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()
    source: Path | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each axis, by its letter."""
        return dict(zip(self.axes, self.data.shape, strict=True))

    @property
    def space(self) -> str:
        """The spatial axes that there are, of z y x."""
        return "".join(axis for axis in "zyx" if axis in self.axes)

    def __post_init__(self) -> None:
        known = "".join(axis for axis in AXES if axis in self.axes)
        shape = self.data.shape
        if self.axes != known or not known.endswith("yx") or len(shape) != len(known):
            raise DataError(
                f"The axes '{self.axes}' do not fit an array of {len(shape)} axes: expected one "
                f"letter for each, those of '{AXES}' that there are, in this order, with y and x."
            )
        spatial = self.space
        if self.spacing is not None and not (
            len(self.spacing) == len(spatial)
            and all(math.isfinite(size) and size > 0 for size in self.spacing)
        ):
            raise DataError(
                f"The spacing {self.spacing} does not fit the axes '{self.axes}': expected one "
                f"positive size of a pixel for each of '{spatial}', in this order."
            )


def pixel_type(stated: np.dtype[Any], order: Literal["=", "<"] = "=") -> np.dtype[Any]:
    """The type in which pixels are read, or written in this order of bytes; truth values: uint8."""
    return np.dtype(np.uint8) if stated.kind == "b" else stated.newbyteorder(order)


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
    letters = axes_by_shape(array.shape)
    if letters.endswith("c"):
        array = _without_opaque_alpha(array)
    axes = "".join(sorted(letters, key=AXES.index))
    return Image(array.transpose([letters.index(axis) for axis in axes]), axes)


def axes_by_shape(shape: tuple[int, ...]) -> str:
    """The letters of an array's axes, in their own order, by the rule of `as_image`.

    Raises
    ------
    DataError
        The shape does not say which axis is which.

    Examples
    --------
    >>> axes_by_shape((100, 512, 512, 3))
    'zyxc'
    """
    colour = shape[-1] <= MOST_COLOURS if shape else False
    if len(shape) == 2:
        return "yx"
    if len(shape) == 3:
        return "yxc" if colour else "zyx"
    if len(shape) == 4 and (colour or shape[1] <= MOST_COLOURS):
        return "zyxc" if colour else "zcyx"
    raise DataError(
        f"An array of shape {shape} does not say which axis is which: expected (y x), "
        "(y x c), (z y x), (z y x c) or (z c y x) with at most 4 channels c. For any other, name "
        "them: Image(array, axes='czyx')."
    )


def _without_opaque_alpha(array: NDArray[Any]) -> NDArray[Any]:
    if array.shape[-1] not in (2, 4):
        return array
    opaque = np.iinfo(array.dtype).max if array.dtype.kind in "ui" else 1.0
    return array[..., :-1] if (array[..., -1] == opaque).all() else array
