"""Where voxels lie in a patient: matrices from voxel indices to millimetres, and what they hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overtile.errors import FormatError
from overtile.image import METRES, Image, Orientation

Matrix = NDArray[np.float64]
"""(4 4), from the indices (i, j, k, 1) along x, y, z of a voxel's centre to (x, y, z, 1) in mm."""

SAME = 1e-4
"""Two statements of one size that differ by no more than this share are one: float32 holds seven
digits, and a matrix built of quaternions loses some."""

FARTHEST = 1e30
"""No number of a matrix is so large, in whatever unit; products of such numbers overflow."""

MIRROR_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM and ITK count to the left and the back, NIfTI to the right and the front."""


def orientation_of(matrix: Matrix) -> Orientation | None:
    """A matrix to RAS as an `Orientation`; None where it is no place, or voxels have no volume."""
    if not (np.abs(matrix) < FARTHEST).all() or not np.linalg.det(matrix[:3, :3]):
        return None
    a, b, c = (tuple(map(float, row)) for row in matrix[:3])
    return Orientation(((*a,), (*b,), (*c,)))  # type: ignore[arg-type]


def matrix_of(image: Image) -> Matrix:
    """The matrix to RAS of an image; of one that does not state it, its voxel sizes alone."""
    if isinstance(image.frame, Orientation):
        return np.vstack([np.array(image.frame.affine, np.float64), [0, 0, 0, 1]])
    x, y, z = sizes_mm(image)
    return np.diag([x, y, z, 1.0])


def voxel_sizes(matrix: Matrix) -> tuple[float, float, float]:
    """The distance of neighbours along x, y, z: the lengths of the columns."""
    x, y, z = np.linalg.norm(matrix[:3, :3], axis=0)
    return float(x), float(y), float(z)


def of_axes(sizes: tuple[float, ...], axes: str) -> tuple[float, ...]:
    """Of the sizes along z, y, x those of the axes that there are."""
    return tuple(size for axis, size in zip("zyx", sizes, strict=True) if axis in axes)


def sizes_mm(image: Image) -> tuple[float, float, float]:
    """The spacing of an image along x, y, z in millimetres, 1 where it is not known.

    Numbers without a unit are taken as millimetres.

    Raises
    ------
    FormatError
        A unit that is no length.
    """
    if image.unit not in METRES and image.unit:
        raise FormatError(
            f"The spacing is in '{image.unit}', and medical formats hold lengths: expected one of "
            f"{', '.join(METRES)}. Convert the spacing, or write a .tif, which keeps any unit."
        )
    scale = METRES[image.unit or "millimeter"] / METRES["millimeter"]
    sizes = dict(zip(image.space, image.spacing or (), strict=False))
    x, y, z = (sizes.get(axis, 1 / scale) * scale for axis in "xyz")
    return x, y, z
