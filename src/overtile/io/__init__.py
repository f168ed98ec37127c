"""Image files: one module a format, one contract, one line a format in the table (`formats`).

`open` gives an `Image` whose data can be sliced; `write` makes a file that appears whole or not at
all; `create` makes one that is filled part by part, by several processes if need be. `naming` tells
what a path stands for: a file, a folder, a place inside of either, or a URL.
"""

from __future__ import annotations

from pathlib import Path

from overtile.errors import DataError, FormatError, OutputError
from overtile.image import Image, Store
from overtile.io.content import check_content
from overtile.io.formats import FORMATS, Filling, Format
from overtile.io.limits import check_memory
from overtile.io.naming import file_of, format_of, is_known, stem_of
from overtile.io.output import (
    Content,
    Manner,
    check_free,
    check_label,
    check_room,
    new_file,
    new_path,
    remove,
    writing,
)
from overtile.io.output import move as rename
from overtile.io.place import Url, place
from overtile.io.windows import blocks
from overtile.io.within import exists, member, modified_ns, name_of
from overtile.legend import Legend

__all__ = [
    "FORMATS",
    "Content",
    "Format",
    "Url",
    "check_free",
    "check_label",
    "check_memory",
    "check_room",
    "create",
    "exists",
    "file_of",
    "finish",
    "format_of",
    "is_known",
    "labels_in",
    "member",
    "modified_ns",
    "move",
    "name_of",
    "new_file",
    "open",
    "place",
    "reopen",
    "stem_of",
    "write",
]

COPIED_PX = 2048
"""Side of the parts in which an image is copied into a store: 16 MiB of floats a plane."""


def open(path: str | Path, *, as_label: bool = False) -> Image:  # noqa: A001 - io.open, as in numpy
    """An image file, its data read where they are sliced if the format allows it.

    Parameters
    ----------
    path
        A file with a known suffix; a folder that holds a DICOM series; the URL of a Zarr
        ("s3://bucket/image.zarr"); or, of a file or Zarr that holds several images, the name of one
        behind it ("cells.h5/raw", "image.zarr/labels/nuclei").
    as_label
        Whether it holds a label: then the indices of a palette are its values, not the colours.

    Returns
    -------
    Image
        With its own type of pixel; truth values become 0 and 1; alpha is left out.

    Raises
    ------
    FormatError
        No such file, a folder, an unknown suffix, an empty, damaged or truncated file, content
        that is not what the suffix says, or colours and axes that we do not read.
    """
    path = place(path)
    form = format_of(path)
    check_content(path, form)
    return form.open(path, as_label)


def write(
    path: str | Path,
    image: Image,
    *,
    overwrite: bool = False,
    legend: Legend | None = None,
    content: Content = "image",
    overviews: bool = False,
) -> None:
    """A new image file, which gets its name when it is complete.

    Parameters
    ----------
    path
        The suffix chooses the format; see the table in `overtile.io.formats` for what each holds.
    image
        Its data may be anything sliceable: a large one is read part by part. What belongs to it
        (spacing, place in the world, names of channels) is kept as far as the format can hold it.
    overwrite
        Whether a file of this name may be replaced.
    legend
        Of class ids in uint8: viewers show them in its colours; the values are stored as they are.
    content
        What the pixels are.
    overviews
        Whether smaller copies are added to a TIFF, for viewers; a Zarr always has them.

    Raises
    ------
    FormatError
        An unknown suffix, one that we only read, or pixels or a unit that the format cannot hold.
    OutputError
        The file exists already, or cannot be written.
    MissingError
        The library of the format is not installed.
    """
    path = place(path)
    form = format_of(path)
    manner = Manner(path.name, legend, overviews, content)
    if form.write is not None:
        with new_path(path, overwrite) as part:
            form.write(part, image, manner)
    elif form.filling is not None:
        with new_path(path, overwrite) as part:
            _copy(form.filling, part, image, manner)
        _placed(form, path)
    else:
        raise FormatError(
            f"{path} would be a {form.name}, which Overtile only reads, because it changes values "
            "or holds less than others: use .png, or .tif, which holds everything."
        )


def move(part: Path, path: Path, overwrite: bool = False) -> None:
    """Give a file or folder that is complete its name, in the same file system.

    A label of an OME-Zarr is listed among those of its image. Raises as `write`.
    """
    rename(part, path, overwrite)
    _placed(format_of(path), path)


def _placed(form: Format, path: Path) -> None:
    if form.filling is not None:
        with writing(path):
            form.filling.place(path)


def labels_in(path: str | Path) -> tuple[Path, ...]:
    """The labels that lie with an image in its own file: what to give as labels of this image.

    Those that an OME-Zarr lists; of HDF5 and .npz, the array that is called as labels mostly are,
    beside one that is the image. Empty where there are none, or there is no such file.
    """
    path = place(path)
    form = format_of(path)
    try:
        if form.inside is not None and form.inside.labels is not None:
            return form.inside.labels(path)
        label, image = member(path, as_label=True), member(path)
    except FormatError:
        return ()
    return () if label == image else (label,)


def _copy(filling: Filling, path: Path, image: Image, manner: Manner) -> None:
    """Fill a new store with an image."""
    block = tuple(COPIED_PX if axis in "yx" else 1 for axis in image.axes)
    store = filling.create(path, image, block, manner)
    for window in blocks(image.data.shape, block):
        store[window] = image.data[window]
    filling.finish(path)


def create(
    path: str | Path,
    like: Image,
    block: tuple[int, ...],
    *,
    overwrite: bool = False,
    legend: Legend | None = None,
    content: Content = "image",
) -> Store:
    """A new file or folder, full of zeros, to be written part by part; `finish` it at the end.

    It has its name from the beginning, so that a run that was stopped can go on with `reopen`.

    Parameters
    ----------
    path
        Its suffix chooses the format.
    like
        With the axes, shape, type and spacing that the new image has; its pixels are not read.
    block
        Size along each axis of what is written at a time. All parts must begin on multiples of it,
        and end on multiples or with the image: then no two of them share a file of a Zarr.
    overwrite
        Whether something of this name may be replaced.
    legend, content
        As in `write`.

    Raises
    ------
    FormatError
        The suffix is that of no format that can be written so.
    DataError
        A block that does not fit the axes.
    OutputError
        There is something of this name, or it cannot be written.
    MissingError
        Zarr is not installed.
    """
    path = place(path)
    form = format_of(path)
    if form.filling is None:
        able = ", ".join(s for other in FORMATS if other.filling for s in other.suffixes)
        raise FormatError(
            f"{path} would be a {form.name}, which is written in one go and not part by part: use "
            f"one of {able}, and convert it afterwards."
        )
    if len(block) != len(like.axes) or min(block) < 1:
        raise DataError(
            f"The block {block} does not fit the axes '{like.axes}': expected a size of at least "
            "1 for each."
        )
    check_free(path, overwrite)
    remove(path)
    return form.filling.create(path, like, block, Manner(path.name, legend, False, content))


def reopen(path: str | Path) -> Store:
    """The store that `create` made, to be written on, as after a run that was stopped.

    Raises
    ------
    FormatError
        It cannot be read, or has a format that is not written part by part.
    OutputError
        There is none.
    """
    path = place(path)
    form = format_of(path)
    if form.filling is None or not path.exists():
        raise OutputError(f"{path} is no output that could be written on: create it anew.")
    return form.filling.reopen(path)


def finish(path: str | Path) -> None:
    """Complete what `create` made when all parts are written: smaller copies for viewers.

    May be repeated after an interruption. Raises as `open`.
    """
    path = place(path)
    form = format_of(path)
    if form.filling is not None:
        form.filling.finish(path)
