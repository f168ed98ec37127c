"""NIfTI files written, through nibabel's headers: pixels as they lie, with their place."""

from __future__ import annotations

import gzip
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from overtile.errors import FormatError, optional
from overtile.image import METRES, Image, Orientation, pixel_type
from overtile.io.gzipped import LEVEL
from overtile.io.nifti import AXES_NAME, SPACES, UNITS
from overtile.io.orientation import matrix_of, sizes_mm, voxel_sizes
from overtile.io.output import Manner
from overtile.io.windows import planes_in_order

LARGEST_NIFTI1 = 32767
"""The longest axis whose size fits its 16 bits."""

ROUGH = 1e-3
"""Share of a voxel by which a qform may miss: near half a turn its quaternion is rough."""


def write_nifti(path: Path, image: Image, manner: Manner) -> None:
    """An image of any axes as NIfTI-1, or NIfTI-2 where an axis is longer than 32767.

    Names in .gz are compressed. Where the image has no place in a patient, both codes are 0, as in
    a file that states none. The channels come last. Names, colours and background of classes, or
    the names of channels, stand in a header extension (comment).

    Raises
    ------
    FormatError
        Pixels or a unit that the format cannot hold.
    """
    kind = pixel_type(np.dtype(image.data.dtype), "<")
    sizes = image.sizes
    last = max("xyztc".index(axis) for axis in image.axes)
    letters = "".join(axis if axis in sizes else "-" for axis in "xyztc"[: last + 1])
    letters = letters.replace("-c", "c") if len(letters) == 5 and letters[3] == "-" else letters
    header = _new_header(image, tuple(sizes.get(axis, 1) for axis in letters), kind)
    _name(header, image, manner)
    if len(letters) > 3:
        header["intent_name"] = (AXES_NAME + letters).encode()
    packed = manner.name.lower().endswith(".gz")
    with path.open("xb") as file, _compressed(file) if packed else nullcontext(file) as target:
        header.write_to(target)
        for plane in planes_in_order(image, "ctz"):
            target.write(np.ascontiguousarray(plane, kind).data)


def _name(header: Any, image: Image, manner: Manner) -> None:
    """Names of classes or channels, as a comment that NIfTI has room for before the pixels."""
    if manner.content in ("classes", "objects"):
        header.set_intent("label")
    lines = [f"{number} {name}" for number, name in enumerate(image.channel_names)]
    text = manner.legend.described if manner.legend is not None else "\n".join(lines)
    if text:
        extension = optional("nibabel", "medical").nifti1.Nifti1Extension("comment", text.encode())
        header.extensions.append(extension)


def _compressed(file: BinaryIO) -> gzip.GzipFile:
    """A stream that states neither name nor time, so that equal images give equal bytes."""
    return gzip.GzipFile("", "wb", LEVEL, file, mtime=0)


def _new_header(image: Image, shape: tuple[int, ...], kind: np.dtype[Any]) -> Any:
    """The header of an image, with its place as sform and, where it can be one, as qform."""
    module = optional("nibabel", "medical")
    long = max(shape) > LARGEST_NIFTI1
    header = (module.nifti2.Nifti2Header if long else module.Nifti1Header)(endianness="<")
    try:
        header.set_data_dtype(kind)
    except module.spatialimages.HeaderDataError as error:
        raise FormatError(f"NIfTI cannot hold pixels of the type {kind}: {error}.") from error
    header.set_data_shape(shape)
    header.set_slope_inter(1, 0)
    unit = image.unit if image.unit in UNITS.values() else "millimeter"
    scale = METRES["millimeter"] / METRES[unit or "millimeter"]
    zooms = [size * scale for size in sizes_mm(image)]
    frame = image.frame if isinstance(image.frame, Orientation) else None
    if frame is not None:
        to_unit = np.diag([scale, scale, scale, 1.0])
        matrix, other = to_unit @ matrix_of(image), frame.second or frame
        second = to_unit @ matrix_of(replace(image, frame=other))
        header.set_qform(second, _code(other), strip_shears=True)
        if frame.second is None and not np.allclose(
            header.get_qform(), second, atol=ROUGH * max(voxel_sizes(second))
        ):
            header.set_qform(None, 0)  # a matrix with shears, which only the sform can hold
        header.set_sform(matrix, _code(frame))
        zooms = list(voxel_sizes(second))
    header.set_zooms([*zooms, 1.0, 1.0][: len(shape)])
    header.set_xyzt_units(next(name for name, full in UNITS.items() if full == unit))
    return header


def _code(frame: Orientation) -> int:
    """What the coordinates are aligned with; never 0, with which programs ignore the matrix."""
    return SPACES.index(frame.space) or SPACES.index("aligned")
