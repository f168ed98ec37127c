"""TIFF, through tifffile: every bit depth and compression that it and imagecodecs know.

A file is opened by reading its directory only; pages are decoded when they are sliced out, each on
its own.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from overtile.errors import FormatError
from overtile.image import AXES, Image
from overtile.io.pillow import damaged

LETTERS = {"T": "t", "C": "c", "S": "c", "Z": "z", "Q": "z", "I": "z", "Y": "y", "X": "x"}
"""Axes as tifffile names them. Pages of which a file says nothing (Q, I) are a stack."""

COLOURS = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)
ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)

CLASSIC_LIMIT = 2**32 - 2**25
"""Bytes beyond which offsets of 32 bits may not do; some space is left for the directory."""


def open_tiff(path: Path, as_label: bool) -> Image:  # noqa: ARG001 - one contract for all formats
    """A TIFF with the axes that it names; its data are read where they are sliced.

    Values are those of the file: a colour table is not applied (microscopes attach one to gray
    images), and neither is "white is zero". A channel marked as alpha is left out, but not from a
    GeoTIFF, where the mark sits on near-infrared bands too (aerial photographs of NAIP).

    Raises
    ------
    FormatError
        The file is damaged or truncated, or holds no image that we understand.
    """
    pages = TiffPages(path)
    return Image(pages, pages.axes)


def write_tiff(file: BinaryIO, image: Image, colours: NDArray[np.uint8] | None) -> None:
    """An image of any axes and type, deflated, a page for each plane; RGB as one page.

    With colours, values of uint8 stay what they are and are shown in the colours.
    """
    array = np.asarray(image.data[()])
    rgb = image.axes == "cyx" and len(array) == 3 and array.dtype == np.uint8
    table = None
    if colours is not None:
        table = np.zeros((3, 256), np.uint16)
        table[:, : len(colours)] = colours.T.astype(np.uint16) * 257  # 255 becomes 65535
    tifffile.imwrite(
        file,
        np.moveaxis(array, 0, -1) if rgb else array,
        photometric="rgb" if rgb else "minisblack" if table is None else "palette",
        colormap=table,
        compression="zlib",
        predictor=True,
        bigtiff=array.nbytes > CLASSIC_LIMIT,
        metadata={"axes": "YXS" if rgb else image.axes.upper()},
    )


class TiffPages:
    """The pixels of a TIFF, as an array with axes in the house's order that is read by slicing.

    The file is open only while it is read, so that any number of them can be at hand.

    Attributes
    ----------
    axes
        Letters of "tczyx", in this order.
    shape, dtype
        Of the whole. Truth values become 0 and 1.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _reading(path):
            _check_directory(path)
            self._tiff = tifffile.TiffFile(path)
            with self._tiff:
                every = self._tiff.series
                found = [s for s in every if not (s.keyframe.is_reduced or s.keyframe.is_mask)]
                if self._tiff.is_imagej and any(s.kind in ("uniform", "generic") for s in found):
                    raise EOFError("ImageJ's description promises more pixels than there are")
        if len(found) != 1:
            kinds = ", ".join(f"{s.shape} {s.dtype}" for s in found)
            raise FormatError(
                f"{path} holds {len(found)} kinds of image ({kinds or 'none'}): expected one, or "
                "pages of one size and type. Split it into one file each."
            )
        self._series: Any = found[0]
        _check_pixels(path, self._series.keyframe)
        self._letters, self._leading = _axes_in_file(path, self._series)
        sizes = list(self._series.shape)
        extra = self._series.keyframe.extrasamples
        self._without_alpha: tuple[Any, ...] = ()
        if extra and extra[-1] in ALPHA and not self._tiff.is_geotiff:
            place = self._letters.index("c") - len(sizes)
            sizes[place] -= 1
            self._without_alpha = (..., slice(0, sizes[place]), *[slice(None)] * (-1 - place))
        self._sizes = tuple(sizes)
        self.axes = "".join(sorted(self._letters, key=AXES.index))
        self.shape = tuple(sizes[self._letters.index(axis)] for axis in self.axes)
        kind = self._series.dtype
        self.dtype = np.dtype(np.uint8) if kind.kind == "b" else kind.newbyteorder("=")

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """The part that integers and slices choose, read from the file."""
        keys = key if isinstance(key, tuple) else (key,)
        by_axis = dict(zip(self.axes, keys, strict=False))
        in_file = [by_axis.get(axis, slice(None)) for axis in self._letters]
        leading = self._leading
        numbers = np.arange(math.prod(self._sizes[:leading])).reshape(self._sizes[:leading])
        numbers = numbers[tuple(in_file[:leading])]
        inside = tuple(in_file[leading:])
        part = np.broadcast_to(np.zeros((), self.dtype), self._sizes[leading:])[inside].shape
        result = np.empty((numbers.size, *part), self.dtype)
        with _reading(self._path), self._opened():
            for place, number in enumerate(numbers.flat):
                page = self._page(int(number)).reshape(self._series.shape[leading:])
                result[place] = page[self._without_alpha][inside]
        left = [a for a, k in zip(self._letters, in_file, strict=True) if isinstance(k, slice)]
        order = [left.index(axis) for axis in self.axes if axis in left]
        return result.reshape(*numbers.shape, *part).transpose(order)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        self._tiff.filehandle.open()
        try:
            yield
        finally:
            self._tiff.filehandle.close()

    def _page(self, number: int) -> NDArray[Any]:
        """A page as it lies in the file, counted as if the leading axes were one."""
        series, file = self._series, self._tiff.filehandle
        key = series.keyframe
        if series.is_truncated:  # one directory entry for pages that follow each other (ImageJ)
            file.seek(series.dataoffset + number * key.nbytes)
            kind = key.parent.byteorder + key.dtype.char
            return np.asarray(file.read_array(kind, key.size))
        page = series[number]
        ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends) > file.size:  # some decoders would fill up with zeros
            raise EOFError(f"page {number} ends beyond the end of the file")
        return np.asarray(page.asarray())


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever the library stops with into our error, and keep its log lines quiet."""
    log = logging.getLogger("tifffile")
    before, log.disabled = log.disabled, True
    try:
        yield
    except Exception as error:
        raise damaged(path, error) from error
    finally:
        log.disabled = before


def _check_directory(path: Path) -> None:
    """Follow the chain of pages to its end: tifffile drops those behind a broken link.

    TIFF 6.0, section 2: a page's directory is a count, entries of 12 bytes (BigTIFF: 20), and the
    place of the next directory, 0 after the last.
    """
    with path.open("rb") as file:
        head = file.read(4)
        order = "<" if head[:2] == b"II" else ">"
        big = head[2:] == struct.pack(order + "H", 43)
        count_form, entry, next_form = ("Q", 20, "Q") if big else ("H", 12, "I")
        file.seek(8 if big else 4)
        seen = {0}
        while (place := _unpack(order + next_form, file)) not in seen:
            seen.add(place)
            file.seek(place)
            file.seek(_unpack(order + count_form, file) * entry, 1)


def _unpack(form: str, file: BinaryIO) -> int:
    size = struct.calcsize(form)
    content = file.read(size)
    if len(content) < size:
        raise EOFError("the list of pages ends beyond the end of the file")
    return int(struct.unpack(form, content)[0])


def _check_pixels(path: Path, page: Any) -> None:
    """Refuse what is no plain intensity or label."""
    # Inside JPEG compression YCbCr is a matter of the codec, which gives RGB.
    as_rgb = page.photometric == PHOTOMETRIC.YCBCR and page.compression == COMPRESSION.JPEG
    if (page.photometric not in COLOURS and not as_rgb) or page.dtype.kind not in "buif":
        colours = getattr(page.photometric, "name", page.photometric)
        raise FormatError(
            f"{path} has colours of the kind {colours} and pixels of the type {page.dtype}, which "
            "Overtile does not read: expected gray, RGB or several bands of integers or floats. "
            "Convert it to one of these."
        )


def _axes_in_file(path: Path, series: Any) -> tuple[str, int]:
    """The axes of a series in our letters, in the order of the file, and how many lead to a page.

    A page holds the last axes, all those whose sizes multiply to its own: axes of size 1 may be
    left out of its shape.
    """
    letters = "".join(LETTERS.get(axis, "?") for axis in series.axes)
    sizes = [math.prod(series.shape[leading:]) for leading in range(len(letters))]
    plain = sorted(letters) == sorted(set(letters) & set(AXES)) and {"y", "x"} <= set(letters)
    if not plain or series.keyframe.size not in sizes:
        raise FormatError(
            f"{path} has the axes '{series.axes}' with the sizes {series.shape}, which Overtile "
            "does not understand: expected at most one each of T, Z, C, Y, X, with pages of Y "
            "and X. Write it with these, or as one file a plane."
        )
    return letters, sizes.index(series.keyframe.size)
