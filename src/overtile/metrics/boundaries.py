"""Pixels on the boundary of a class, matched within a tolerance (Csurka et al. 2013).

A pixel of the class is on its boundary where a pixel beside it, sharing a face, is not of the
class. The image's edge is no boundary: there it would be matched however wrong the prediction is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.metrics.surfaces import check_masks, check_tolerance

TOLERANCE_PX = 2.0
"""How far two careful drawings of one boundary lie apart.

Csurka et al. take 0.75 % of the image's diagonal instead. That is 5 px of a 512 px slice, the
width of its membranes, and grows with the piece of the world that the image happens to show.
"""


@dataclass(frozen=True)
class BoundaryMatches:
    """How many pixels of two boundaries match; those of several images are their sum.

    Attributes
    ----------
    right, predicted
        Pixels of the predicted boundary: within the tolerance of the truth's, and all.
    found, true
        Pixels of the truth's boundary: within the tolerance of the predicted, and all.
    """

    right: int = 0
    predicted: int = 0
    found: int = 0
    true: int = 0

    def __add__(self, other: BoundaryMatches) -> BoundaryMatches:
        return BoundaryMatches(
            self.right + other.right,
            self.predicted + other.predicted,
            self.found + other.found,
            self.true + other.true,
        )


def match_boundaries(
    truth: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    tolerance_px: float = TOLERANCE_PX,
    known: NDArray[np.bool_] | None = None,
) -> BoundaryMatches:
    """The boundary pixels of one class, and how many lie near the other boundary.

    Parameters
    ----------
    truth, prediction
        Whether a pixel is of the class, (y x) or (z y x).
    tolerance_px
        Between the centres of pixels, in pixels along every axis; exactly this is near.
    known
        Whether a pixel is labelled; all without it. One that is not is on no boundary, nor does
        it make one of the pixels beside it.

    Raises
    ------
    DataError
        Different shapes, or neither two nor three axes.
    SettingsError
        A tolerance that is not a number from 0 up.
    """
    check_masks(truth, prediction, known)
    check_tolerance(tolerance_px)
    boundaries = [_boundary(mask, known) for mask in (truth, prediction)]
    either = boundaries[0] | boundaries[1]
    if not either.any():
        return BoundaryMatches()
    around = ndimage.find_objects(either.view(np.uint8))[0]
    true, predicted = (boundary[around] for boundary in boundaries)
    return BoundaryMatches(
        _near(predicted, true, tolerance_px),
        int(predicted.sum()),
        _near(true, predicted, tolerance_px),
        int(true.sum()),
    )


def boundary_f1(matches: BoundaryMatches) -> float:
    """The harmonic mean of precision and recall of boundary pixels (doi:10.5244/C.27.32).

    NaN where neither has a boundary, 0 where only one of them has.
    """
    if not matches.predicted + matches.true:
        return math.nan
    precision = matches.right / max(matches.predicted, 1)
    recall = matches.found / max(matches.true, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: NDArray[np.bool_], known: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    inside, outside = (mask, ~mask) if known is None else (mask & known, ~mask & known)
    return inside & ndimage.binary_dilation(outside)


def _near(of: NDArray[np.bool_], to: NDArray[np.bool_], tolerance_px: float) -> int:
    if not to.any():
        return 0
    return int((ndimage.distance_transform_edt(~to)[of] <= tolerance_px).sum())
