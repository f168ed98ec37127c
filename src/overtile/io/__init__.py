"""Image files: one module a format, one contract, one line a format in the table.

`open` gives an `Image` whose data can be sliced; `write` makes a file that appears whole or not at
all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from overtile.errors import FormatError
from overtile.image import Image, Sliceable
from overtile.io.output import check_free, new_file
from overtile.io.pillow import open_jpeg, open_png, write_png
from overtile.io.tiff import open_tiff, write_tiff

__all__ = ["FORMATS", "Format", "check_free", "format_of", "is_known", "new_file", "open", "write"]


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    name, suffixes, signatures
        What it is called, how its files end (lower case), and how their content begins.
    open
        From (path, as_label) to an image.
    write
        From (binary file, image, colours of values); None where we do not write it.
    stacks
        Whether a file can hold more than one plane.
    """

    name: str
    suffixes: tuple[str, ...]
    signatures: tuple[bytes, ...]
    open: Callable[[Path, bool], Image]
    write: Callable[[BinaryIO, Image, NDArray[np.uint8] | None], None] | None
    stacks: bool


TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

FORMATS = (
    Format("TIFF", (".tif", ".tiff"), TIFF_SIGNATURES, open_tiff, write_tiff, stacks=True),
    Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), open_png, write_png, stacks=False),
    # JPEG is lossy: it would change labels and probabilities, so it is only read.
    Format("JPEG", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), open_jpeg, None, stacks=False),
)


def is_known(path: Path) -> bool:
    """Whether the suffix of a name is that of a format in the table."""
    return any(path.suffix.lower() in form.suffixes for form in FORMATS)


def format_of(path: Path) -> Format:
    """The format that the suffix of a name stands for, whether or not there is such a file.

    Raises
    ------
    FormatError
        The suffix is that of no format in the table.
    """
    for form in FORMATS:
        if path.suffix.lower() in form.suffixes:
            return form
    known = ", ".join(suffix for form in FORMATS for suffix in form.suffixes)
    raise FormatError(
        f"{path} has the suffix '{path.suffix}', which is not that of an image file that "
        f"Overtile knows: {known}."
    )


def open(path: str | Path, *, as_label: bool = False) -> Image:  # noqa: A001 - io.open, as in numpy
    """An image file, its data read where they are sliced if the format allows it.

    Parameters
    ----------
    path
        A file with a known suffix.
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
    path = Path(path)
    form = format_of(path)
    _check_content(path, form)
    return form.open(path, as_label)


def write(
    path: str | Path,
    array: Sliceable,
    axes: str,
    *,
    overwrite: bool = False,
    colours: NDArray[np.uint8] | None = None,
) -> None:
    """A new image file, which gets its name when it is complete.

    Parameters
    ----------
    path
        The suffix chooses the format: TIFF holds everything, deflated; PNG one plane of uint8 or
        uint16, or RGB of uint8.
    array
        The pixels.
    axes
        Of the array, as in `Image`: "yx", "zyx", "cyx" ...
    overwrite
        Whether a file of this name may be replaced.
    colours
        (n, 3), in which viewers show the values 0 to n - 1 of class ids in uint8; the values
        themselves are stored as they are.

    Raises
    ------
    FormatError
        An unknown suffix, one that we only read, or pixels that the format cannot hold.
    DataError
        Axes that do not fit the array.
    OutputError
        The file exists already, or cannot be written.
    """
    path = Path(path)
    form = format_of(path)
    if form.write is None:
        raise FormatError(
            f"{path} would be a {form.name}, which changes values when it compresses: use .png, "
            "or .tif, which holds everything."
        )
    image = Image(array, axes)
    with new_file(path, overwrite) as file:
        form.write(file, image, colours)


def _check_content(path: Path, form: Format) -> None:
    """Compare the first bytes of a file with what its suffix says."""
    if path.is_dir():
        raise FormatError(f"{path} is a folder: expected an image file.")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}.") from error
    if not start:
        raise FormatError(f"{path} is empty (0 bytes): expected {form.name}. Copy it again.")
    if start.startswith(form.signatures):
        return
    for other in FORMATS:
        if start.startswith(other.signatures):
            raise FormatError(
                f"{path} is named like {form.name} but holds {other.name}: rename it to "
                f"{path.with_suffix(other.suffixes[0]).name}."
            )
    raise FormatError(
        f"{path} is named like {form.name}, but its first bytes are those of no image that "
        "Overtile knows. Copy or export it again."
    )
