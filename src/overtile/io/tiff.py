"""TIFF, through tifffile: every bit depth and compression that it and imagecodecs know.

A file is opened by reading its directory only; of its pages only those strips and tiles are decoded
that a slice touches.
"""

from __future__ import annotations

import math
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from overtile.errors import FormatError, MissingError
from overtile.image import AXES, Image, pixel_type
from overtile.io.damage import decoding
from overtile.io.geotiff import open_raster
from overtile.io.limits import check_memory
from overtile.io.quiet import quiet
from overtile.io.segments import Page, Segments
from overtile.io.spacing import from_tiff
from overtile.io.tiffnames import channel_names, palette_of
from overtile.io.windows import Reordered, Window, resolve, size_of

LETTERS = {"T": "t", "C": "c", "S": "c", "Z": "z", "Q": "z", "I": "z", "Y": "y", "X": "x"}
"""Axes as tifffile names them. Pages of which a file says nothing (Q, I) are a stack."""

COLOURS = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)
ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)

PLACE = (33550, 34264, 34735)
"""Tags of GeoTIFF 1.1 (OGC 19-008r4): ModelPixelScale, ModelTransformation, GeoKeyDirectory."""

GDAL_NODATA = 42113
"""Tag of the value that means "no data", as text."""


def open_tiff(path: Path, as_label: bool) -> Image:
    """A TIFF with the axes that it names; its data are read where they are sliced.

    Values are those of the file: a colour table is not applied (microscopes attach one to gray
    images) but given with a label, and neither is "white is zero". A channel marked as alpha is
    left out.

    A GeoTIFF is read by `overtile.io.geotiff`, if rasterio is installed. Without it, the values are
    the same, but its place in the world is not known, and nothing that is predicted from it has
    one; a channel marked as alpha is kept, as the mark sits on near-infrared bands too.

    Raises
    ------
    FormatError
        The file is damaged or truncated, or holds no image that we understand.
    MissingError
        Some of its pixels may be missing, and rasterio is not installed, which tells them.
    """
    pages = TiffPages(path)
    if pages.geographic:
        try:
            image = open_raster(path, "GTiff", as_label)
        except MissingError as error:
            if pages.masked:
                raise MissingError(
                    f"{path} has pixels that count as missing (by a value or a mask), and they "
                    f"would be taken for real ones. {error}"
                ) from error
        else:
            if image.spacing is None:
                image = replace(image, spacing=pages.spacing[0], unit=pages.spacing[1])
            return replace(image, by_window=pages.by_window)
    data = Reordered(pages, pages.letters)
    return Image(
        data,
        data.axes,
        *pages.spacing,
        by_window=pages.by_window,
        channel_names=pages.channel_names,
        palette=pages.palette if as_label else (),
    )


class TiffPages:
    """The pixels of a TIFF, its axes in the order of the file, as an array read by slicing.

    The file is open only while it is read, so that any number of them can be at hand, and read by
    several threads at once.

    Attributes
    ----------
    letters
        Of the axes: those of "tczyx" that there are, in the order of the file.
    shape, dtype
        Of the whole. Truth values become 0 and 1.
    spacing
        Sizes of a pixel along those of z, y, x that there are, or None; and their unit.
    by_window
        Whether no part that has to be decoded as one is large.
    geographic, masked
        Whether it is one plane (of any bands) with something that only GDAL understands: a place
        in the world, or pixels that are missing. And whether it has the latter.
    channel_names, palette
        As in `Image`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _reading(path):
            _check_directory(path)
            self._tiff = tifffile.TiffFile(path)
            with self._tiff:
                every = self._tiff.series
                found = [s for s in every if not (s.keyframe.is_reduced or s.keyframe.is_mask)]
                masks = any(series.keyframe.is_mask for series in every)
                if self._tiff.is_imagej and any(s.kind in ("uniform", "generic") for s in found):
                    raise EOFError("ImageJ's description promises more pixels than there are")
        if len(found) != 1:
            kinds = ", ".join(f"{s.shape} {s.dtype}" for s in found)
            raise FormatError(
                f"{path} holds {len(found)} kinds of image ({kinds or 'none'}): expected one, or "
                "pages of one size and type. Split it into one file each."
            )
        self._series: Any = found[0]
        key = self._series.keyframe
        _check_pixels(path, key)
        self.letters, self._leading = _axes_in_file(path, self._series)
        sizes = list(self._series.shape)
        if 0 in sizes:
            raise FormatError(f"{path} holds an image of {sizes}, which has no pixels.")
        if key.extrasamples and key.extrasamples[-1] in ALPHA and not self._tiff.is_geotiff:
            sizes[self.letters.index("c")] -= 1
        self.shape = tuple(sizes)
        kind = self._series.dtype
        self.dtype = pixel_type(kind)
        masks = masks or path.with_name(f"{path.name}.msk").exists()
        self.masked = masks or GDAL_NODATA in key.tags
        placed = any(tag in key.tags for tag in PLACE) or path.with_suffix(".tfw").exists()
        self.geographic = (self.masked or placed) and len(self._series) == 1
        self._lock = threading.Lock()
        with _reading(path), self._opened():
            self._segments = Segments(key, object())
            self.spacing = from_tiff(self._tiff, self._series, self.letters)
            count = dict(zip(self.letters, sizes, strict=True)).get("c", 1)
            self.channel_names = channel_names(self._tiff, self._series, self.letters, count)
            self.palette = palette_of(key) if key.photometric == PHOTOMETRIC.PALETTE else ()
            self._segments.check_place(key)
        self.by_window = not self._segments.large
        if self._segments.large:
            remedy = "write it again with tiles, which are read one by one."
            check_memory(path, self._segments.largest, self.dtype.itemsize, remedy)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """The part that integers and slices choose, read from the file."""
        window, rest = resolve(key, self.shape)
        result = np.empty(size_of(window), self.dtype)
        if result.size:
            sizes = self._series.shape[: self._leading]
            numbers = np.arange(math.prod(sizes)).reshape(sizes)[window[: self._leading]]
            inside = self._inside(window)
            parts = result.reshape(numbers.size, *size_of(inside))
            with _reading(self._path):
                pages = self._pages(numbers.reshape(-1).tolist())
                for (path, page), part in zip(pages, parts, strict=True):
                    with FileIO(path) as file:
                        self._segments.read(file, page, inside, part)
        return np.asarray(result[rest])

    def _inside(self, window: Window) -> Window:
        """The window in a page, along the 5 axes that tifffile gives to every page."""
        sizes = self._series.shape[self._leading :]
        long = (w for w, size in zip(window[self._leading :], sizes, strict=True) if size > 1)
        return tuple(next(long) if size > 1 else slice(0, 1) for size in self._segments.shape)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """Give tifffile its file, for one thread at a time."""
        with self._lock:
            self._tiff.filehandle.open()
            try:
                yield
            finally:
                self._tiff.filehandle.close()

    def _pages(self, numbers: list[int]) -> list[tuple[str, Page]]:
        """The file of each page (those of an OME-TIFF may lie in several), and where in it."""
        series = self._series
        if series.is_truncated:  # one directory entry for pages that follow each other (ImageJ)
            size, first = series.keyframe.nbytes, series.dataoffset
            return [(str(self._path), Page(n, (first + n * size,), (size,), None)) for n in numbers]
        with self._opened():
            pages = [series[number] for number in numbers]
            return [
                (
                    page.parent.filehandle.path,
                    Page(number, page.dataoffsets, page.databytecounts, page.jpegtables),
                )
                for number, page in zip(numbers, pages, strict=True)
            ]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever the library stops with into our error, and keep its log lines quiet."""
    with decoding(path), quiet("tifffile"):
        yield


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
        seen: set[int] = set()
        while place := _unpack(order + next_form, file):
            if place in seen:
                raise ValueError(f"the list of pages runs in a circle, back to byte {place}")
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
    kind = "" if page.dtype is None else page.dtype.kind
    if (page.photometric not in COLOURS and not as_rgb) or kind not in tuple("buif"):
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
    long = [size for size in series.keyframe.shaped if size > 1]
    fits = [[n for n in series.shape[place:] if n > 1] == long for place in range(len(letters))]
    plain = sorted(letters) == sorted(set(letters) & set(AXES)) and {"y", "x"} <= set(letters)
    if not plain or not any(fits):
        raise FormatError(
            f"{path} has the axes '{series.axes}' with the sizes {series.shape}, which Overtile "
            "does not understand: expected at most one each of T, Z, C, Y, X, with pages of Y "
            "and X. Write it with these, or as one file a plane."
        )
    return letters, fits.index(True)
