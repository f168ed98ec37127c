"""Whether a probability means what it says: calibration, counted over pixels.

Pixels are sorted into bins by confidence, which is the probability of the class that they get.
In each bin the share of pixels whose class is right should be the mean confidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError, SettingsError

BINS = 15
"""Of equal width from 0 to 1, as in Guo et al. 2017."""

# Sums of probabilities in float32 and bfloat16 miss 1 by about this.
SLACK = 1e-2


@dataclass(frozen=True)
class Confidences:
    """Pixels by confidence; the sum of those of several images is that of all together.

    Attributes
    ----------
    pixels, right
        In each bin (n): all, and those whose class is right.
    confidence
        Sum of the confidence of the pixels in each bin (n).
    """

    pixels: NDArray[np.int64]
    right: NDArray[np.int64]
    confidence: NDArray[np.float64]

    def __add__(self, other: Confidences) -> Confidences:
        return Confidences(
            self.pixels + other.pixels,
            self.right + other.right,
            self.confidence + other.confidence,
        )


@dataclass(frozen=True)
class Reliability:
    """A row of the table, or a point of the diagram, of reliability: one bin.

    Attributes
    ----------
    above, upto
        The bin's edges; a confidence of exactly `upto` is in it.
    pixels
        In the bin.
    confidence, accuracy
        Mean confidence, and share of pixels whose class is right; NaN in a bin without a pixel.
    """

    above: float
    upto: float
    pixels: int
    confidence: float
    accuracy: float


def confidences(
    truth: NDArray[np.integer], probabilities: NDArray[np.floating], bins: int = BINS
) -> Confidences:
    """The pixels of an image by their confidence, all and those whose class is right.

    Parameters
    ----------
    truth
        Class ids (*space), below 0 where unlabelled: such pixels are not counted.
    probabilities
        Of every class (k *space), 0 to 1. The class of a pixel is the most probable, the first of
        equals. Pixels without a probability (NaN) are not counted. For classes that overlap, call
        this for each with the two probabilities of its absence and presence, and add up.
    bins
        At least 1, each without its lower edge and with its upper one.

    Raises
    ------
    DataError
        Shapes that do not fit, or values that are no probabilities.
    SettingsError
        Fewer than one bin.
    """
    if probabilities.ndim == 0 or probabilities.shape[1:] != truth.shape or not len(probabilities):
        raise DataError(
            f"Probabilities of {probabilities.shape} do not fit a truth of {truth.shape} pixels: "
            "expected the same, behind an axis of one class or more."
        )
    if bins < 1:
        raise SettingsError(
            f"Expected at least one bin of confidence, but got {bins}: 15 is usual."
        )
    classes, most = probabilities.argmax(axis=0), probabilities.max(axis=0)
    counted = (truth >= 0) & ~np.isnan(most)
    confidence = most[counted].astype(np.float64)
    if len(confidence) and not (confidence.min() >= 0 and confidence.max() <= 1 + SLACK):
        raise DataError(
            "Expected probabilities from 0 to 1, but the largest of each pixel's reach from "
            f"{confidence.min():.4g} to {confidence.max():.4g}: apply softmax to logits."
        )
    right = classes[counted] == truth[counted]
    place = np.searchsorted(_edges(bins)[1:-1], confidence)
    return Confidences(
        np.bincount(place, minlength=bins),
        np.bincount(place[right], minlength=bins),
        np.bincount(place, confidence, minlength=bins).astype(np.float64),
    )


def calibration_error(counts: Confidences) -> float:
    """The mean difference of confidence and accuracy over pixels, bin by bin; 0 is best.

    The expected calibration error of Naeini et al. 2015 (doi:10.1609/aaai.v29i1.9602) for the most
    probable class, as in Guo et al. 2017 (arXiv:1706.04599, equation 3). NaN without a pixel.
    """
    total = int(counts.pixels.sum())
    return float(np.abs(counts.confidence - counts.right).sum()) / total if total else math.nan


def reliability(counts: Confidences) -> tuple[Reliability, ...]:
    """The confidence and the accuracy of every bin, from the least confident on."""
    columns = (counts.pixels.tolist(), counts.confidence.tolist(), counts.right.tolist())
    edges = pairwise(_edges(len(counts.pixels)).tolist())
    return tuple(
        Reliability(
            above,
            upto,
            pixels,
            confidence / pixels if pixels else math.nan,
            right / pixels if pixels else math.nan,
        )
        for (above, upto), pixels, confidence, right in zip(edges, *columns, strict=True)
    )


def _edges(bins: int) -> NDArray[np.float64]:
    return np.linspace(0, 1, bins + 1)
