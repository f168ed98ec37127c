"""How far the surfaces of truth and prediction lie apart (Nikolov et al. 2021).

A surface runs between pixels. Each cell of 2 x 2 neighbouring pixels (2 x 2 x 2 in a volume) that
holds inside and outside is one element of it: a point at the cell's centre, with the length
(area) of the piece of contour (surface) that marching cubes (Lorensen and Cline 1987,
doi:10.1145/37401.37422) puts into it. Distances are between these points, and every figure weighs
them by length (area), so that none depends on how a surface lies to the grid more than it must
(doi:10.2196/26151). Beyond the image is outside: an object that leaves it has a surface there.
The program published with the paper, surface-distance, gives the same figures, as does MONAI for
the surface Dice with `use_subvoxels=True`. Programs that count pixels on the inner side of a
boundary instead, each as one, give others, by about a pixel in a distance.

Of a class that is in neither image there is nothing to say: every figure is NaN. Of one that is
in only one of them every distance is infinite, and the surface Dice 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from overtile.errors import DataError, SettingsError

# Sums of equal lengths reach a share, and multiples of a pixel a tolerance, up to rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class SurfaceDistances:
    """The distance of each element of two surfaces from the other surface.

    Attributes
    ----------
    to_prediction, truth_areas
        Of the elements of the truth's surface: distance from the prediction's, in the unit of the
        spacing, infinite where that has none; length in 2-D, area in 3-D.
    to_truth, prediction_areas
        The same of the prediction's elements.
    """

    to_prediction: NDArray[np.float64]
    truth_areas: NDArray[np.float64]
    to_truth: NDArray[np.float64]
    prediction_areas: NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceOverlap:
    """How much of two surfaces lies together; that of several images is their sum.

    Attributes
    ----------
    near
        Length (area) of both surfaces that is within the tolerance of the other.
    total
        Of both surfaces.
    """

    near: float = 0.0
    total: float = 0.0

    def __add__(self, other: SurfaceOverlap) -> SurfaceOverlap:
        return SurfaceOverlap(self.near + other.near, self.total + other.total)


def surface_distances(
    truth: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing: Sequence[float],
    known: NDArray[np.bool_] | None = None,
) -> SurfaceDistances:
    """The distances between the surfaces of one class.

    Parameters
    ----------
    truth, prediction
        Whether a pixel is of the class, (y x) or (z y x).
    spacing
        The size of a pixel along each axis.
    known
        Whether a pixel is labelled; all without it. A cell with a pixel that is not holds no
        element of either surface.

    Raises
    ------
    DataError
        Different shapes, neither two nor three axes, or a spacing that is not one positive number
        per axis.
    """
    check_masks(truth, prediction, known)
    _check_spacing(truth.ndim, spacing)
    either = truth | prediction
    if not either.any():
        return SurfaceDistances(*(np.empty(0) for _ in range(4)))
    around = ndimage.find_objects(either.view(np.uint8))[0]
    # One pixel more, where the image has it, shows whether the pixels outside are labelled.
    box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in around)
    patterns = [_patterns(mask[box]) for mask in (truth, prediction)]
    areas = _areas(tuple(float(size) for size in spacing))
    surfaces = [areas[pattern] > 0 for pattern in patterns]
    if known is not None:
        unknown = _patterns(~known[box]) > 0
        surfaces = [surface & ~unknown for surface in surfaces]
    from_truth, from_prediction = (_distance_from(surface, spacing) for surface in surfaces)
    return SurfaceDistances(
        from_prediction[surfaces[0]],
        areas[patterns[0][surfaces[0]]],
        from_truth[surfaces[1]],
        areas[patterns[1][surfaces[1]]],
    )


def hausdorff(distances: SurfaceDistances, percent: float = 95.0) -> float:
    """The percentile of the distances from truth to prediction or back, whichever is larger.

    It is the least distance within which `percent` of a surface's length (area) lies, taken of each
    surface by itself. 100 is the Hausdorff distance of the elements, 95 what is called HD95.
    Definitions that take the percentile of both sets together, or count boundary pixels instead of
    their length, give other figures.

    Raises
    ------
    SettingsError
        A percentage that is not above 0 and at most 100.
    """
    if not 0 < percent <= 100:
        raise SettingsError(
            f"Expected a percentage above 0 and up to 100 for the Hausdorff distance, but got "
            f"{percent}: 95 is usual."
        )
    both = (
        (distances.to_prediction, distances.truth_areas),
        (distances.to_truth, distances.prediction_areas),
    )
    return max((_percentile(*one, percent) for one in both if len(one[0])), default=math.nan)


def mean_surface_distance(distances: SurfaceDistances) -> float:
    """The mean distance over both surfaces together, weighted by length (area).

    The average symmetric surface distance of Heimann et al. 2009 (doi:10.1109/TMI.2009.2013851).
    The mean of the two directed means is another figure where the surfaces differ in size.
    """
    each, areas = _both(distances)
    return float((each * areas).sum() / areas.sum()) if len(areas) else math.nan


def surface_overlap(distances: SurfaceDistances, tolerance: float) -> SurfaceOverlap:
    """How much of both surfaces lies within a tolerance of the other.

    Parameters
    ----------
    distances
        Of one class in one image.
    tolerance
        In the unit of the spacing; a distance of exactly this is within.

    Raises
    ------
    SettingsError
        A tolerance that is not a number from 0 up.
    """
    check_tolerance(tolerance)
    each, areas = _both(distances)
    near = each <= tolerance * (1 + ROUNDING)
    return SurfaceOverlap(float(areas[near].sum()), float(areas.sum()))


def surface_dice(overlap: SurfaceOverlap) -> float:
    """The share of both surfaces that lies within the tolerance (Nikolov et al. 2021)."""
    return overlap.near / overlap.total if overlap.total else math.nan


def check_masks(
    truth: NDArray[np.bool_], prediction: NDArray[np.bool_], known: NDArray[np.bool_] | None
) -> None:
    """Refuse masks that are not of the same two or three axes."""
    shapes = [mask.shape for mask in (truth, prediction, known) if mask is not None]
    if len(set(shapes)) > 1 or truth.ndim not in (2, 3):
        raise DataError(
            f"Surfaces of masks of the shapes {', '.join(map(str, shapes))} cannot be compared: "
            "expected the same (y x) or (z y x) for all."
        )


def check_tolerance(tolerance: float) -> None:
    """Refuse what is no distance."""
    if not tolerance >= 0:
        raise SettingsError(
            f"Expected a tolerance from 0 up for the distance of surfaces, but got {tolerance}: "
            "give how far apart two good annotations lie."
        )


def _check_spacing(axes: int, spacing: Sequence[float]) -> None:
    if len(spacing) != axes or not all(0 < size < math.inf for size in spacing):
        raise DataError(
            f"Expected a spacing of {axes} positive numbers, one per axis, but got "
            f"{tuple(spacing)}: give the size of a pixel, or 1 for each axis."
        )


def _patterns(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Which of the pixels around each corner of the grid are in the mask, one bit for each."""
    padded = np.pad(mask, 1).view(np.uint8)
    patterns = np.zeros([size + 1 for size in mask.shape], np.uint8)
    for bit, corner in enumerate(product((0, 1), repeat=mask.ndim)):
        moved = tuple(slice(c, c + n) for c, n in zip(corner, patterns.shape, strict=True))
        patterns |= padded[moved] << np.uint8(bit)
    return patterns


@lru_cache(maxsize=64)
def _areas(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """The length (area) of the surface in a cell of each pattern; 0 where there is none."""
    pixels = 2 ** len(spacing)
    areas = np.zeros(2**pixels)
    for pattern in range(1, 2**pixels - 1):
        cell = (pattern >> np.arange(pixels)) & 1
        # Marching cubes treats some patterns and their complements differently. The published
        # areas are those of the pattern with fewer pixels, so that inside and outside are alike.
        if 2 * cell.sum() > pixels:
            cell = 1 - cell
        cell = cell.reshape((2,) * len(spacing)).astype(np.float32)
        size = np.array(spacing)
        if len(spacing) == 2:  # a contour is the edge of a sheet of thickness 1
            cell, size = np.stack([cell, cell]), np.array([1.0, *spacing])
        vertices, faces = marching_cubes(cell, 0.5, method="lorensen")[:2]
        a, b, c = np.moveaxis((vertices.astype(np.float64) * size)[faces], 1, 0)
        areas[pattern] = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    return areas


def _distance_from(surface: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    if not surface.any():
        return np.full(surface.shape, math.inf)
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~surface, sampling=spacing)
    return distance


def _percentile(
    distances: NDArray[np.float64], areas: NDArray[np.float64], percent: float
) -> float:
    order = np.argsort(distances, kind="stable")
    share = np.cumsum(areas[order])
    place = int(np.searchsorted(share, (percent / 100 - ROUNDING) * share[-1]))
    return float(distances[order[place]])


def _both(distances: SurfaceDistances) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (
        np.concatenate([distances.to_prediction, distances.to_truth]),
        np.concatenate([distances.truth_areas, distances.prediction_areas]),
    )
