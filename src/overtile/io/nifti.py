"""NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz), their headers through nibabel.

The pixels lie as i, j, k, t and one more axis, the first running fastest; i, j, k are our x, y, z
whatever way the patient lies: nothing is turned, the matrix says where it is.

The fourth axis can be time or channels (the modalities of a brain, say), and the header does not
tell: up to `MOST_CHANNELS` are channels, more are times. The files that we write tell it by the
letters of their axes in `intent_name`.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from overtile.errors import FormatError, optional
from overtile.image import METRES, Image, Orientation, Sliceable
from overtile.io.damage import check_length, decoding
from overtile.io.gzipped import SIGNATURE, GzippedArray
from overtile.io.npy import NpyFile
from overtile.io.orientation import (
    SAME,
    Matrix,
    of_axes,
    orientation_of,
    voxel_sizes,
)
from overtile.io.windows import Reordered

NIFTI_SIGNATURES = (
    *(size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")),
    SIGNATURE,
)
"""The size of the header comes first; a compressed file is known by its content too."""

MOST_CHANNELS = 8
UNITS = {"unknown": "", "mm": "millimeter", "meter": "meter", "micron": "micrometer"}
Space = Literal["unknown", "scanner", "aligned", "talairach", "mni"]
SPACES: tuple[Space, ...] = get_args(Space)
"""By their codes (nifti1.h, NIFTI_XFORM_)."""

COLOURS = {128: 3, 2304: 4}
"""Codes of the types rgb24 and rgba32, and how many bytes they have."""

AXES_NAME = "axes "


def open_nifti(path: Path, as_label: bool) -> Image:  # noqa: ARG001 - one contract for all formats
    """A NIfTI image in its own values, its axes x, y, z as they are stored.

    Numbers with a scale (scl_slope, scl_inter) become floats. A compressed file is decoded when
    it is first sliced, and kept.

    Raises
    ------
    FormatError
        The file is damaged, promises more pixels than it holds, or holds no integers or floats.
    """
    header, compressed = _read_header(path)
    shape, kind = _shape_of(path, header)
    letters, sizes = _axes_of(path, header, shape)
    offset = _offset_of(path, header)
    data: Sliceable
    if compressed:
        data = GzippedArray(path, offset, sizes, kind)
    else:
        check_length(path, offset + math.prod(sizes) * kind.itemsize)
        data = NpyFile(path, offset, sizes, kind)
    if int(header["datatype"]) == 2304:
        data = _Opaque(data)
    ordered = Reordered(_scaled(path, data, header), letters)
    frame, spacing, unit = _geometry(header)
    if spacing is not None:
        spacing = of_axes(spacing, ordered.axes)
    return Image(ordered, ordered.axes, spacing, unit, not compressed, frame)


def _read_header(path: Path) -> tuple[Any, bool]:
    """The header as nibabel knows it, and whether the file is compressed."""
    nifti1, nifti2 = optional("nibabel.nifti1", "medical"), optional("nibabel.nifti2", "medical")
    with decoding(path):
        with path.open("rb") as file:
            compressed = file.read(2) == SIGNATURE
        with gzip.open(path) if compressed else path.open("rb") as file:
            start = file.read(540)
        of_two = 540 in (int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big"))
        form = nifti2.Nifti2Header if of_two else nifti1.Nifti1Header
        header = form(start[: form.template_dtype.itemsize], check=False)
        if header["magic"].item() not in (b"n+1", b"n+2"):
            raise ValueError(f"its mark is {header['magic'].item()!r}, that of one file is b'n+1'")
    return header, compressed


def _shape_of(path: Path, header: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Sizes along i, j, k, ... and the type of the numbers, both checked."""
    dim, code = [int(size) for size in header["dim"]], int(header["datatype"])
    shape = tuple(dim[1 : dim[0] + 1]) if 0 < dim[0] <= 7 else ()
    with decoding(path):
        kind = np.dtype(np.uint8) if code in COLOURS else header.get_data_dtype()
    if kind.kind not in "iuf" or kind.itemsize > 8:
        raise FormatError(
            f"{path} holds '{kind}', which is not a kind of pixel: expected integers, floats of 32 "
            "or 64 bits, or colours of 8 bits."
        )
    if len(shape) < 2 or min(shape) < 1:
        raise FormatError(
            f"{path} has the sizes {dim[1:]} along {dim[0]} axes: expected 2 to 5, which are x, y, "
            "z, time and channels."
        )
    return shape, kind


def _offset_of(path: Path, header: Any) -> int:
    """Where the pixels begin, a float in NIfTI-1."""
    with decoding(path):
        return max(int(header["vox_offset"]), int(header.single_vox_offset))


def _axes_of(path: Path, header: Any, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Our letters and the sizes of the axes, in C order."""
    colours = COLOURS.get(int(header["datatype"]), 0)
    name = header["intent_name"].item().decode("latin-1")
    letters = name.removeprefix(AXES_NAME) if name.startswith(AXES_NAME + "xy") else ""
    if len(letters) != len(shape) or set(letters[2:]) - set("ztc-"):
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        channels = len(shape) == 4 and shape[3] <= MOST_CHANNELS and not colours
        fourth = "-" if len(shape) > 3 and shape[3] == 1 else "c" if channels else "t"
        letters = ("xyz" + fourth + "c")[: len(shape)]
    if len(letters) != len(shape) or (colours and "c" in letters):
        raise FormatError(
            f"{path} has the sizes {shape}{' and colours' * bool(colours)}: expected at most x, "
            "y, z, time and channels."
        )
    kept = [(axis, size) for axis, size in zip(letters, shape, strict=True) if axis != "-"]
    kept[:0] = [("c", colours)] if colours else []
    return "".join(axis for axis, _ in kept[::-1]), tuple(size for _, size in kept[::-1])


class _Opaque:
    """Colours (... c) without the alpha behind them."""

    def __init__(self, data: Sliceable) -> None:
        self._data, self.dtype = data, data.dtype
        self.shape = (*data.shape[:-1], data.shape[-1] - 1)

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return np.asarray(self._data[key])


class _Scaled:
    """Numbers of a file times a slope, and an intercept more, as floats."""

    def __init__(self, data: Sliceable, slope: float, intercept: float) -> None:
        self._data, self._slope, self._intercept = data, slope, intercept
        self.shape = data.shape
        exact = data.dtype.itemsize <= 2 or data.dtype == np.float32
        self.dtype = np.dtype(np.float32 if exact else np.float64)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):  # infinite values are refused by name
            scaled = np.asarray(self._data[key], np.float64) * self._slope + self._intercept
            return np.asarray(scaled, self.dtype)


def _scaled(path: Path, data: Sliceable, header: Any) -> Sliceable:
    with decoding(path):
        slope, intercept = header.get_slope_inter()
    if slope is None or (slope == 1 and intercept == 0) or int(header["datatype"]) in COLOURS:
        return data
    return _Scaled(data, slope, intercept)


def _geometry(header: Any) -> tuple[Orientation | None, tuple[float, ...] | None, str]:
    """Where the voxels lie, their sizes z, y, x, and the unit of these.

    The sform is believed before the qform, as the standard's authors advise; a qform that states
    something else is kept as the second.
    """
    unit = UNITS.get(_unit_name(header), "")
    scale = METRES[unit or "millimeter"] / METRES["millimeter"]
    sizes = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    found = [
        (matrix, SPACES[code] if 0 <= code < len(SPACES) else "aligned")
        for matrix, code in (header.get_sform(coded=True), _qform(header))
        if matrix is not None and orientation_of(matrix) is not None
    ]
    frames = [_frame(matrix, space, scale) for matrix, space in found]
    if not frames:
        known = bool(np.isfinite(sizes).all() and (sizes > 0).all())
        return None, tuple(map(float, sizes[::-1])) if known else None, unit
    of_matrix = np.array(voxel_sizes(found[0][0]))
    if not np.allclose(sizes, of_matrix, rtol=SAME):
        sizes = of_matrix
    first, spacing = frames[0], tuple(map(float, sizes[::-1]))
    if len(frames) == 2 and not _alike(found[0], found[1]):
        first = Orientation(first.affine, first.space, frames[1])
    return first, spacing, unit


def _unit_name(header: Any) -> str:
    try:
        return str(header.get_xyzt_units()[0])
    except KeyError:  # a code that the standard does not have
        return "unknown"


def _qform(header: Any) -> tuple[Matrix | None, int]:
    try:
        matrix, code = header.get_qform(coded=True)
    except Exception:  # a quaternion that is none, beside which the sform may be right
        return None, 0
    return matrix, int(code)


def _frame(matrix: Matrix, space: Space, scale: float) -> Orientation:
    found = orientation_of(np.diag([scale, scale, scale, 1.0]) @ matrix)
    assert found is not None
    return Orientation(found.affine, space)


def _alike(first: tuple[Matrix, str], second: tuple[Matrix, str]) -> bool:
    """Whether two statements differ by rounding only."""
    size = max(voxel_sizes(first[0]))
    return first[1] == second[1] and bool(np.abs(first[0] - second[0]).max() < SAME * size)
