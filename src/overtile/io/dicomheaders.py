"""The headers of DICOM files, read without trust and without what they say of the patient."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from overtile.errors import FormatError, optional
from overtile.io.damage import decoding
from overtile.io.dicomjpeg import register
from overtile.io.limits import check_memory

SUFFIXES = (".dcm", ".dicom", ".ima")

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
"""The class of segmentations (PS3.4, table B.5-1)."""

SERIES_TAGS = ["SeriesInstanceUID"]
TAGS = [
    *("SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing"),
    *("SliceThickness", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
"""All that is read of a file beside its pixels; nothing of it tells who the patient is."""

NUMBERS = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"),
    *("BitsStored", "PixelRepresentation"),
)
ALIKE = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation")


ITEM_BYTES = 8
"""Of a compressed picture at least: its tag and its length (PS3.5, A.4)."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pydicom stops with into our error, and keep its warnings, which quote the file."""
    with decoding(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(path: Path, tags: list[str]) -> Any:
    """These tags of a file; to be called in `reading`."""
    pydicom = optional("pydicom", "medical")
    about = pydicom.filereader.read_file_meta_info(path)
    # pydicom would inflate it, however far that goes.
    if pydicom.uid.UID(about.TransferSyntaxUID).is_deflated:
        raise FormatError(
            f"{path} is deflated as a whole, so that no part of it can be read alone: inflate it "
            "first (dcmconv +te of DCMTK)."
        )
    return pydicom.dcmread(path, specific_tags=tags, stop_before_pixels=True)


def read_headers(path: Path) -> dict[Path, Any]:
    """The headers of the files of a series."""
    files = sorted(filter(_is_file_of, path.iterdir())) if path.is_dir() else [path]
    register()
    headers = {}
    for file in files:
        with reading(file):
            header = read_header(file, TAGS)
            if header.get("SOPClassUID") == SEGMENTATION:
                if len(files) > 1:
                    continue  # what was made of the series, beside it
                raise FormatError(
                    f"{path} is a segmentation (DICOM-SEG), which Overtile writes and does not "
                    "read: convert it to NIfTI first."
                )
            if header.get("Rows") and header.get("Columns"):
                _check_numbers(header)
                _check_pixels(file, header)
                headers[file] = header
            elif "Image" in getattr(header.get("SOPClassUID"), "name", "Image"):
                raise EOFError("its header ends before the size of the picture")
            # Reports, plans and the like have no picture.
    if not headers:
        raise FormatError(f"{path} holds no picture of DICOM: expected files with pixels.")
    with reading(path):
        _check_one_series(path, headers)
        _check_alike(path, headers)
    return headers


def _check_numbers(header: Any) -> None:
    """Refuse a header without the numbers by which pixels are decoded; floats need fewer."""
    needed = NUMBERS[:4] if header.get("BitsAllocated") in (32, 64) else NUMBERS
    wrong = [name for name in needed if not isinstance(header.get(name), int)]
    if wrong or not isinstance(header.get("PhotometricInterpretation"), str):
        raise ValueError(f"its {' and '.join(wrong) or 'kind of colours'} cannot be read")


def _is_file_of(path: Path) -> bool:
    """Whether a file of a folder is one of its series by its mark, or its name: a cut one is."""
    hidden = path.name.startswith(".") or path.name == "DICOMDIR"
    known = path.suffix.lower() in SUFFIXES
    return not hidden and path.is_file() and (known or has_mark(path))


def has_mark(path: Path) -> bool:
    """Whether a file has the mark of DICOM behind a preamble of 128 bytes."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _check_one_series(path: Path, headers: dict[Path, Any]) -> None:
    series = defaultdict(list)
    for header in headers.values():
        series[header.get("SeriesInstanceUID")].append(header)
    if len(series) > 1:
        listed = "; ".join(
            f"number {one[0].get('SeriesNumber')}, {one[0].get('Modality')} "
            f"'{one[0].get('SeriesDescription') or ''}', {len(one)} files"
            for one in series.values()
        )
        raise FormatError(
            f"{path} holds {len(series)} series ({listed}): expected one, which is one image. Put "
            "each into a folder of its own."
        )


def _check_alike(path: Path, headers: dict[Path, Any]) -> None:
    kinds = {tuple(header.get(name) for name in ALIKE) for header in headers.values()}
    if len(kinds) > 1:
        shown = " and ".join(sorted(f"{kind[0]} x {kind[1]}, {kind[3]} bits" for kind in kinds)[:3])
        raise FormatError(
            f"{path} holds slices of one series that differ: {shown}. Expected one size and type "
            "of pixel. Put them into folders of their own."
        )


def _check_pixels(path: Path, header: Any) -> None:
    """Refuse what cannot be decoded: by its compression, its size, or a table of values."""
    decoders = optional("pydicom.pixels", "medical")
    syntax = header.file_meta.TransferSyntaxUID
    shape = header.Rows, header.Columns, header.SamplesPerPixel
    itemsize = header.BitsAllocated / 8
    count = int(header.get("NumberOfFrames") or 1)
    least = count * (ITEM_BYTES if syntax.is_compressed else math.prod(shape) * itemsize)
    if least > path.stat().st_size:
        raise FormatError(
            f"{path} is damaged or truncated: its header promises {math.ceil(least)} bytes of "
            f"pixels, and it has {path.stat().st_size}. Copy or export it again."
        )
    check_memory(path, shape, math.ceil(itemsize), "cut its pictures into smaller ones.")
    if not decoders.get_decoder(syntax).is_available:
        raise FormatError(
            f"{path} is compressed as {syntax.name}, which needs another library: pip install "
            "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or decompress it (dcmdjpeg of DCMTK)."
        )
    if "ModalityLUTSequence" in header:
        raise FormatError(
            f"{path} gives its values by a table (Modality LUT), which Overtile does not read: "
            "expected a slope and an intercept. Export it again."
        )
