"""The warping error: pixels that no change of shape explains (Jain et al. 2010).

The truth is warped towards the prediction by flipping simple pixels, those whose flip changes no
number of objects and holes. So a boundary may move for nothing. What still differs in the end are
mergers, splits, holes and objects too many or too few (doi:10.1109/CVPR.2010.5539950).

Objects are joined through faces, their background through corners too (4- and 8-connected), so
that a boundary of one pixel, drawn aslant, parts two cells. Beyond the image is background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.errors import DataError, SettingsError

# The eight neighbours of a pixel, row by row; a bit of a pattern for each.
NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


@dataclass(frozen=True)
class Warping:
    """How many pixels no change of shape explains; that of several images is their sum.

    Attributes
    ----------
    wrong
        Pixels that differ after warping.
    total
        Labelled pixels.
    """

    wrong: int = 0
    total: int = 0

    def __add__(self, other: Warping) -> Warping:
        return Warping(self.wrong + other.wrong, self.total + other.total)


def warping_error(warping: Warping) -> float:
    """The share of pixels that differ after warping, 0 is best; NaN without a labelled pixel."""
    return warping.wrong / warping.total if warping.total else math.nan


def warp_and_count(
    truth: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    known: NDArray[np.bool_] | None = None,
    farthest_px: float = math.inf,
) -> Warping:
    """The pixels in which a prediction differs from the truth once that is warped to it.

    Parameters
    ----------
    truth, prediction
        Whether a pixel is inside an object (y x).
    known
        Whether a pixel is labelled; all without it. Others are taken as the prediction has them,
        and not counted.
    farthest_px
        See `warped`.

    Raises
    ------
    DataError, SettingsError
        As `warped`; or `known` has another shape.
    """
    if known is None:
        known = np.ones(truth.shape, bool)
    _check(truth, known)
    _check(truth, prediction)
    # Without labels nothing is wrong.
    start = np.where(known, truth, prediction)
    wrong = (warped(start, prediction, farthest_px) != prediction) & known
    return Warping(int(wrong.sum()), int(known.sum()))


def warped(
    truth: NDArray[np.bool_], prediction: NDArray[np.bool_], farthest_px: float = math.inf
) -> NDArray[np.bool_]:
    """The truth, with boundaries moved to those of the prediction, and the same topology.

    Parameters
    ----------
    truth, prediction
        Whether a pixel is inside an object (y x).
    farthest_px
        The geometric constraint: no pixel is flipped whose nearest pixel of the other value lies
        farther away in the truth. Without it boundaries move any way.

    Raises
    ------
    DataError
        Different shapes, or not two axes.
    SettingsError
        A `farthest_px` that is not a number from 0 up.

    Notes
    -----
    Pixels are flipped in rounds until none that differs is simple, so the result is a local
    optimum, as in the paper. There, ties are broken at random. Here a round takes the pixels of
    even row and even column, then those of even row and odd column, of odd and even, of odd and
    odd. No two pixels of one of these four sets touch, so that all which are simple can be flipped
    at once as if one after the other, and a boundary moves from all sides alike.
    """
    _check(truth, prediction)
    if not farthest_px >= 0:
        raise SettingsError(
            f"Expected how far a boundary may move as a number of pixels from 0 up, but got "
            f"{farthest_px}: leave it out to let boundaries move any way."
        )
    width = truth.shape[1] + 2
    now, wanted = (np.pad(mask, 1).ravel() for mask in (truth, prediction))
    movable = np.pad(_near_boundary(truth, farthest_px), 1).ravel()
    steps = np.array([y * width + x for y, x in NEIGHBOURS])
    waiting = np.flatnonzero((now != wanted) & movable)
    while len(waiting):
        flipped = []
        parity = 2 * (waiting // width % 2) + waiting % width % 2
        for subset in range(4):
            at = waiting[parity == subset]
            pattern = np.zeros(len(at), np.uint8)
            for bit, step in enumerate(steps):
                pattern |= now[at + step].view(np.uint8) << np.uint8(bit)
            at = at[_simple()[pattern]]
            now[at] = wanted[at]
            flipped.append(at)
        # Only beside a flip can a pixel have become simple.
        beside = (np.concatenate(flipped)[:, None] + steps).ravel()
        waiting = np.unique(beside[(now[beside] != wanted[beside]) & movable[beside]])
    result: NDArray[np.bool_] = now.reshape(-1, width)[1:-1, 1:-1]
    return result


def _check(truth: NDArray[np.bool_], other: NDArray[np.bool_]) -> None:
    if truth.shape != other.shape or truth.ndim != 2:
        raise DataError(
            f"A truth of {truth.shape} pixels cannot be warped to a mask of {other.shape}: "
            "expected two slices (y x) of the same shape."
        )


def _near_boundary(truth: NDArray[np.bool_], farthest_px: float) -> NDArray[np.bool_]:
    if math.isinf(farthest_px) or not truth.any() or truth.all():
        return np.full(truth.shape, math.isinf(farthest_px))
    inside, outside = (ndimage.distance_transform_edt(mask) for mask in (truth, ~truth))
    near: NDArray[np.bool_] = np.maximum(inside, outside) <= farthest_px
    return near


@lru_cache(maxsize=1)
def _simple() -> NDArray[np.bool_]:
    """Whether a pixel is simple, by the pattern of its neighbours.

    It is where one object and one piece of background meet it, seen among its neighbours alone
    (Kong and Rosenfeld 1989, doi:10.1016/0734-189X(89)90147-3).
    """
    simple = np.zeros(256, bool)
    by_faces, by_corners = (ndimage.generate_binary_structure(2, reach) for reach in (1, 2))
    for pattern in range(256):
        block = np.zeros((3, 3), bool)
        for bit, (y, x) in enumerate(NEIGHBOURS):
            block[y + 1, x + 1] = pattern >> bit & 1
        objects = ndimage.label(block, by_faces)[0]
        outside = ~block
        outside[1, 1] = False
        meeting = np.unique(objects[by_faces & block])
        simple[pattern] = len(meeting) == 1 == ndimage.label(outside, by_corners)[1]
    return simple
