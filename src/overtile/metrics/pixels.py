"""Pixels counted by class: IoU, Dice, pixel accuracy and error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError


def confusion(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """The number of pixels of each class (row) that were predicted as each class (column).

    Parameters
    ----------
    truth
        Class ids, -1 where unlabelled: such pixels are not counted.
    prediction
        Class ids, same shape.
    classes
        K. The sum of the (K, K) tables of several images is that of all of them together.

    Raises
    ------
    DataError
        Different shapes, or a class id of K or above, or below 0, on a labelled pixel.
    """
    if truth.shape != prediction.shape:
        raise DataError(
            f"A truth of {truth.shape} pixels and a prediction of {prediction.shape} cannot be "
            "compared: expected the same shape."
        )
    labelled = truth >= 0
    rows = truth[labelled].astype(np.int64)
    columns = prediction[labelled].astype(np.int64)
    lowest = columns.min(initial=0)
    highest = max(rows.max(initial=0), columns.max(initial=0))
    if lowest < 0 or highest >= classes:
        raise DataError(
            f"Expected class ids from 0 to {classes - 1} on labelled pixels, "
            f"but there is {lowest if lowest < 0 else highest}: give the number of all classes."
        )
    both = rows * classes + columns
    return np.bincount(both, minlength=classes**2).reshape(classes, classes)


def iou(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Intersection over union of each class, TP / (TP + FP + FN); NaN where it never occurs."""
    hit = np.diag(confusion).astype(np.float64)
    return _ratio(hit, confusion.sum(axis=0) + confusion.sum(axis=1) - hit)


def dice(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """The Dice coefficient of each class, 2 TP / (2 TP + FP + FN); NaN where it never occurs."""
    hit = np.diag(confusion).astype(np.float64)
    return _ratio(2 * hit, confusion.sum(axis=0) + confusion.sum(axis=1))


def pixel_accuracy(confusion: NDArray[np.integer]) -> float:
    """The share of labelled pixels with the right class; NaN without any."""
    return 1 - pixel_error(confusion)


def pixel_error(confusion: NDArray[np.integer]) -> float:
    """The share of labelled pixels with the wrong class; NaN without any.

    For two classes the most probable class is the one above a probability of 0.5, so this is the
    ISBI 2012 challenge's pixel error at 0.5.
    """
    total = int(confusion.sum())
    return 1 - float(np.trace(confusion)) / total if total else np.nan


def _ratio(part: NDArray[np.float64], whole: NDArray[Any]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result
