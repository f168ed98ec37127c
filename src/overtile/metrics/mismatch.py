"""How far two predictions of one image differ, such as two tilings of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError


@dataclass(frozen=True)
class Mismatch:
    """The difference of two predictions.

    Attributes
    ----------
    largest, mean
        Of the absolute difference of probabilities, over all classes and pixels.
    flipped
        The share of pixels whose class differs.
    """

    largest: float
    mean: float
    flipped: float


def mismatch(first: NDArray[np.floating], second: NDArray[np.floating]) -> Mismatch:
    """How far two predictions differ.

    Parameters
    ----------
    first, second
        Probabilities (k *space). The class is the most probable, the first of equals; where k is 1
        it is whether the probability is above 0.5.

    Raises
    ------
    DataError
        The shapes differ, or there is no pixel.

    Examples
    --------
    >>> mismatch(np.array([[0.9, 0.4]]), np.array([[0.9, 0.6]])).flipped
    0.5
    """
    if first.shape != second.shape or first.size == 0:
        raise DataError(
            f"Predictions of shapes {first.shape} and {second.shape} cannot be compared: expected "
            "two of the same image, (k *space) with at least one pixel."
        )
    difference = np.abs(np.subtract(first, second, dtype=np.float64))
    flipped = float(np.mean(_classes(first) != _classes(second)))
    return Mismatch(float(difference.max()), float(difference.mean()), flipped)


def _classes(probabilities: NDArray[np.floating]) -> NDArray[np.generic]:
    single = len(probabilities) == 1
    classes: NDArray[np.generic]
    classes = probabilities[0] > 0.5 if single else probabilities.argmax(axis=0)
    return classes
