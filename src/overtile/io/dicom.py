"""DICOM through pydicom: a folder that holds one series is one image, and so is a single file.

Slices are ordered by where they lie, not by their names or numbers. What a file says of the patient
is not even read here, so that it reaches no message, log or result.

Values are those of the modality (Hounsfield units of CT): rescaled as the file states. MONOCHROME1
says that low values are shown bright; like a TIFF that is "white is zero" it is not inverted, since
that is how to show the numbers and not what they measure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import FormatError, optional
from overtile.image import Image
from overtile.io.dicomheaders import SERIES_TAGS, SUFFIXES, has_mark, read_header, reading
from overtile.io.dicomseries import Frame, Series, read_series
from overtile.io.orientation import MIRROR_LPS, of_axes, orientation_of
from overtile.io.windows import Reordered, resolve, size_of

SAMPLED = 8
"""So many files of a folder are looked at to tell whether they are of one series."""

GRAY, COLOUR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT")
COLOUR_NAMES = ("red", "green", "blue")


def holds_dicom(path: Path) -> bool:
    """Whether a file is named as those of DICOM may be, and has its mark at byte 128.

    Many have no suffix, or are named by numbers between dots.
    """
    try:
        return _is_named_so(path) and path.is_file() and has_mark(path)
    except OSError:
        return False


def _is_named_so(path: Path) -> bool:
    suffix = path.suffix.lower()
    usual = suffix in (*SUFFIXES, "") or suffix[1:].isdigit()
    return usual and not path.name.startswith(".") and path.name != "DICOMDIR"


def is_series(folder: Path) -> bool:
    """Whether a folder is one image: its DICOM files are of one series, or of few.

    Where all that are looked at are of different series, as in a folder of radiographs, each file
    is an image of its own.
    """
    try:
        files = sorted(path for path in folder.iterdir() if _is_named_so(path) and path.is_file())
    except OSError:
        return False
    chosen = [path for path in files[:: max(1, len(files) // SAMPLED)] if holds_dicom(path)]
    if len(chosen) < 2:
        return bool(chosen)
    series = set()
    try:
        for path in chosen:
            with reading(path):
                series.add(read_header(path, SERIES_TAGS).SeriesInstanceUID)
    except FormatError:
        return True  # opening it tells what is wrong
    return len(series) < len(chosen)


def open_dicom(path: Path, as_label: bool) -> Image:  # noqa: ARG001 - one contract for all formats
    """A series or a file: (z y x) of slices, (t y x) of a film, (y x) of one picture; c of colours.

    The name of its channel is the modality ("CT"). Whole numbers stay so where the scale of the
    file leaves them whole; else values are float32.

    Raises
    ------
    FormatError
        Damaged files, several series, slices that are missing, double, at uneven distances, turned
        or sized differently, or a compression that pydicom does not decode here.
    """
    series = read_series(path)
    pixels = DicomPixels(series)
    data = Reordered(pixels, pixels.letters)
    gray = "c" not in pixels.letters
    with reading(path):
        names = (str(series.header.get("Modality") or ""),) if gray else COLOUR_NAMES
        syntax = series.header.file_meta.TransferSyntaxUID
    spacing, frame = None, None
    if series.matrix is not None:
        frame = orientation_of(MIRROR_LPS @ series.matrix)
    if series.spacing is not None:
        spacing = of_axes(series.spacing, data.axes)
    return Image(
        data,
        data.axes,
        spacing,
        "" if spacing is None else "millimeter",
        not syntax.is_compressed,
        frame,
        tuple(filter(None, names)),
        source=path,
    )


class DicomPixels:
    """The frames of a series as an array, each decoded when it is sliced.

    Attributes
    ----------
    letters
        Of the axes, in the order of the file.
    shape, dtype
        Of the whole.
    """

    def __init__(self, series: Series) -> None:
        self._frames, header = series.frames, series.header
        kind = header.PhotometricInterpretation
        if kind not in GRAY + COLOUR:
            raise FormatError(
                f"{series.path} has colours of the kind {kind}, which Overtile does not read: "
                "expected gray or RGB."
            )
        self._single = len(self._frames) == 1
        leading = "" if self._single else "t" if self._frames[0].place is None else "z"
        self.letters = f"{leading}yx{'c' * (kind in COLOUR)}"
        sizes = {"y": int(header.Rows), "x": int(header.Columns), "c": 3}
        self.shape = tuple(sizes.get(axis, len(self._frames)) for axis in self.letters)
        self.dtype = _kind_of(series)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        read = optional("pydicom.pixels", "medical").pixel_array
        window, rest = resolve(key, self.shape)
        frames, inside = (0, 1), window
        if not self._single:
            frames, inside = (window[0].start, window[0].stop), window[1:]
        result = np.empty((frames[1] - frames[0], *size_of(inside)), self.dtype)
        for part, frame in zip(result, self._frames[slice(*frames)], strict=True):
            with reading(frame.path):
                pixels = read(frame.path, index=frame.number)[inside]
                part[...] = self._rescaled(pixels, frame)
        return np.asarray(result.reshape(size_of(window))[rest])

    def _rescaled(self, pixels: NDArray[Any], frame: Frame) -> NDArray[Any]:
        if frame.slope == 1 and frame.intercept == 0:
            return pixels
        return pixels * np.float64(frame.slope) + frame.intercept


def _kind_of(series: Series) -> np.dtype[Any]:
    """The smallest type that holds all rescaled values."""
    header, frames = series.header, series.frames
    if int(header.BitsAllocated) > 16:
        return np.dtype(np.float64)  # whole numbers of 32 bits, or floats
    bits, signed = int(header.BitsStored), bool(header.PixelRepresentation)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if any(frame.slope != 1 or not float(frame.intercept).is_integer() for frame in frames):
        return np.dtype(np.float32)
    intercepts = [frame.intercept for frame in frames]
    if any(intercepts):
        fits = low + min(intercepts) >= -(2**15) and high + max(intercepts) < 2**15
        return np.dtype(np.int16 if fits else np.int32)
    return np.dtype(f"{'int' if signed else 'uint'}{8 if header.BitsAllocated <= 8 else 16}")
