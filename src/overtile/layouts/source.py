"""One plane or volume of an image or label, read when it is asked for and not before.

Listing a data set opens at most the directory of a TIFF, to count its pages: images that are held
out of training are listed with the others, but their pixels stay unread.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from overtile import io
from overtile.errors import DataError
from overtile.image import Image, as_image
from overtile.labels import Label
from overtile.layouts.tree import is_there
from overtile.planes import Planes, of_plane
from overtile.resample import PixelSize, factors, rescaled
from overtile.text import as_text

PathLike = (str, os.PathLike)
Single: TypeAlias = str | os.PathLike[str] | Image | NDArray[Any]
Content: TypeAlias = Single | Sequence[Single]
"""What a user gives: a file, a folder, an array, an `Image`, or a list of files and arrays."""

COLOUR_NAMES = (("red", "green", "blue"), ("r", "g", "b"))

VOLUMES = (
    "Expected volumes (z y x) for a network of 3 dimensions: a TIFF stack whose axis is named z, a "
    ".npy, an OME-Zarr, or an array, its axes named where its shape does not say them: "
    "Image(array, 'zyx'). Planes are for a network of 2 dimensions."
)


LABEL_BYTES = 8
"""Of each value of a label in memory: what is made of it are ids and their order."""


@runtime_checkable
class Opener(Protocol):
    """Several files that are one image or label: its channels, or a file for each object."""

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """The files; None for one that is missing."""

    def open(self, as_label: bool) -> Image:
        """The image, its data read where they are sliced."""


@runtime_checkable
class Drawn(Protocol):
    """Annotations of an image by polygons and the like."""

    def draw(self, like: Image) -> Image:
        """The label of an image, of its size along y and x (and z)."""


@dataclass(frozen=True, eq=False)
class Source:
    """One plane of an image or label, or one volume.

    Attributes
    ----------
    origin
        Where it comes from, for messages: "volume.tif[3]", "list[3]".
    content
        A file of one plane, an opened image, what opens as one, or annotations to be drawn.
    plane
        Its number in the image.
    is_label
        Whether it is read as a label.
    dimensions
        2 of a plane, 3 of a volume.
    pixel_size
        What the pixels are brought to; None for their own.
    """

    origin: str
    content: Path | Image | Opener | Drawn
    plane: int = 0
    is_label: bool = False
    dimensions: int = 2
    pixel_size: PixelSize | None = None

    def open(self, like: Source | None = None) -> Image:
        """The image that the plane is of, its data read where they are sliced.

        Parameters
        ----------
        like
            Of a label, the source of the image that it belongs to: annotations are drawn onto it,
            and the size of its pixels is that of the label's.

        Raises
        ------
        FormatError
            The file cannot be read.
        DataError
            The pixels are to be brought to another size, and their own is not known.
        """
        image = self._open(like)
        if self.pixel_size is None:
            return image
        stated = image if like is None else like._open()
        ratios = factors(stated, self.pixel_size, self.origin)
        return rescaled(image, ratios, as_label=self.is_label)

    def _open(self, like: Source | None = None) -> Image:
        """The image with its own pixels."""
        content = self.content
        if isinstance(content, Path):
            return io.open(content, as_label=self.is_label)
        if isinstance(content, Image):
            return content
        if isinstance(content, Opener):
            return content.open(self.is_label)
        assert like is not None
        return content.draw(like._open())

    def read(self) -> NDArray[Any]:
        """The pixels of an image (c *space), in their own type; space is y x, or z y x."""
        return self._whole(self.open())

    def read_image(self) -> Image:
        """The same with its axes and the size of its pixels; the file is opened once for both."""
        image = self.open()
        return of_plane(self._whole(image), image)

    def read_label(self, like: Source) -> Label:
        """The label, of the image `like`.

        One channel is one of numbers, and so are colours that are all gray. Three channels of uint8
        that differ are colours. Channels that have names, or of which each is 0 or one other
        value, are classes that may overlap.

        Raises
        ------
        FormatError
            The file cannot be read.
        DataError
            A label with channels that are none of these.
        """
        image = self.open(like)
        pixels = self._whole(image)
        if len(pixels) == 1:
            return Label(np.asarray(pixels[0]), palette=image.palette)
        names = tuple(name.lower() for name in image.channel_names)
        in_colour = len(pixels) == 3 and names in ((), *COLOUR_NAMES)
        if in_colour and (pixels[1:] == pixels[:1]).all():
            return Label(np.asarray(pixels[0]))
        if in_colour and _is_colour(pixels):
            wide = np.float64 if pixels.dtype.kind == "f" else np.int64  # NaN where it is missing
            red, green, blue = pixels.astype(wide)
            return Label(red * 65536 + green * 256 + blue, "colours")
        if image.channel_names or all(_is_binary(channel) for channel in pixels):
            return Label(np.asarray(pixels), "channels", names=image.channel_names)
        raise DataError(
            f"The label {self.origin} has {len(pixels)} channels that differ, of {pixels.dtype}: "
            "expected one number for each pixel, a colour of 3 x 8 bits, or a channel for each "
            "class, in which it is 0 or one other value."
        )

    def _whole(self, image: Image) -> NDArray[Any]:
        """The plane (c *space), if it fits the memory."""
        plane = Planes(image, self.dimensions)[self.plane]
        remedy = "cut it into parts; only 'overtile predict' reads it by window."
        size = max(plane.dtype.itemsize, LABEL_BYTES) if self.is_label else plane.dtype.itemsize
        io.check_memory(self.origin, plane.shape, size, remedy)
        return plane.read()


def _is_colour(pixels: NDArray[Any]) -> bool:
    """Whether three channels are a colour of 8 bits: also as floats, which tell missing pixels."""
    known = pixels[np.isfinite(pixels)]
    whole = pixels.dtype == np.uint8 or bool((known == np.round(known)).all())
    return whole and known.size > 0 and 1 < known.max() <= 255 and known.min() >= 0


def _is_binary(channel: NDArray[Any]) -> bool:
    """Whether it is 0 or one other value, or nothing where it is NaN."""
    values = np.unique(channel[channel != 0])
    return bool((values == values[:1]).sum() + np.isnan(values).sum() == values.size)


def list_planes(content: Content, is_label: bool, dimensions: int) -> list[tuple[str, Source]]:
    """Name and source of every plane (or volume) of a file, an array, or a list of them.

    Planes of a file are named by its stem, those of arrays by their position; where there are
    several, with the number of the plane behind, from 0: "volume[3]".

    Raises
    ------
    DataError
        Nothing of this name, an empty list, an array whose axes are unclear, or an image without
        axis z where volumes are asked for.
    FormatError
        A file whose format or content is not understood.
    """
    if isinstance(content, PathLike):
        path = io.place(content)
        planes = file_planes(path, io.name_of(path), is_label, dimensions)
        return name_planes(io.stem_of(path), planes)
    if isinstance(content, Image) or hasattr(content, "__array__"):
        planes = _image_planes(content, "array", is_label, dimensions)
        return [(str(number), source) for number, source in enumerate(planes)]
    if len(content) == 0:
        raise DataError("The list is empty: expected at least one file or array in it.")
    names = [
        io.stem_of(io.place(item)) if isinstance(item, PathLike) else str(place)
        for place, item in enumerate(content)
    ]
    if max(Counter(names).values()) > 1:  # files of one name from several folders
        names = [f"{place}-{name}" for place, name in enumerate(names)]
    listed = []
    for place, (name, item) in enumerate(zip(names, content, strict=True)):
        if isinstance(item, PathLike):
            path = io.place(item)
            planes = file_planes(path, io.name_of(path), is_label, dimensions)
        else:
            planes = _image_planes(item, f"list[{place}]", is_label, dimensions)
        listed += name_planes(name, planes)
    return listed


def file_planes(path: Path, origin: str, is_label: bool, dimensions: int) -> list[Source]:
    """The planes (or volumes) of a file, without decoding one; raises as `list_planes` does."""
    if not (is_there(path) or io.exists(path)):
        raise DataError(f"There is no file or folder {path}: check the name.")
    if (chosen := io.member(path, is_label)) != path:  # say which image of the file is read
        path, origin = chosen, f"{origin}/{chosen.relative_to(path).as_posix()}"
    if not io.format_of(path).stacks and path.is_file():
        if dimensions == 3:
            raise DataError(f"{origin} holds a single plane. {VOLUMES}")
        return [Source(origin, path, is_label=is_label)]
    return _image_planes(io.open(path, as_label=is_label), origin, is_label, dimensions)


def opener_planes(opener: Opener, origin: str, is_label: bool, dimensions: int) -> list[Source]:
    """The planes (or volumes) of several files that are one; raises as `list_planes` does."""
    if dimensions == 2 and not any(path and io.format_of(path).stacks for path in opener.paths):
        return [Source(origin, opener, is_label=is_label)]
    return _image_planes(opener.open(is_label), origin, is_label, dimensions)


def _image_planes(image: Any, origin: str, is_label: bool, dimensions: int) -> list[Source]:
    image = image if isinstance(image, Image) else as_image(np.asarray(image))
    if dimensions == 3 and "z" not in image.axes:
        raise DataError(
            f"{origin} has the axes '{image.axes}' of shape {tuple(image.data.shape)}, and none "
            f"of them is z. {VOLUMES}"
        )
    count = len(Planes(image, dimensions))
    origins = [origin] if count == 1 else [f"{origin}[{number}]" for number in range(count)]
    return [
        Source(name, image, number, is_label, dimensions) for number, name in enumerate(origins)
    ]


def name_planes(name: str, planes: list[Source]) -> list[tuple[str, Source]]:
    """Each plane with its name: that of all, and where there are several its number, "name[3]"."""
    name = as_text(name)
    if len(planes) == 1:
        return [(name, planes[0])]
    return [(f"{name}[{number}]", source) for number, source in enumerate(planes)]
