"""From which probability of being inside of an object on pixels hold together as one.

The line between touching objects is rare, and once the logits are shifted to what the labels say
(`calibration`), its probability is seldom above that of the inside: half-way between no line and a
certain one, two objects still hang together. Which probability parts them, and does not break
objects up, depends on the data and on how far the network is. It is read off the training images.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from overtile.labels import IGNORE
from overtile.metrics.objects import AP_THRESHOLDS, average_precision, match, overlaps
from overtile.objects import INSIDE, find_objects, objectness, told_apart
from overtile.training.calibration import ENOUGH_PX

THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Those that are tried."""

ALIKE = 0.01
"""Scores this far below the best one are as good: the middle of their thresholds is the farthest
from where objects merge and where they break up."""

MOST_IMAGES = 16
"""And no more pixels than calibration takes."""


def fit_inside(
    predicted: Iterable[tuple[NDArray[np.float32], NDArray[np.int16]]],
    line_px: int,
    smallest_px: int,
) -> float:
    """The threshold that finds the objects of the training images best.

    Parameters
    ----------
    predicted
        The objectness (*space) of an image, and its target (*space): 0 background, 1 object, 2 the
        line, -1 unlabelled. As many are taken as there are pixels enough.
    line_px, smallest_px
        As `overtile.objects.told_apart` takes them.

    Returns
    -------
    float
        By the mean over images of the average precision at an IoU of 0.5 to 0.9. `INSIDE` where
        the images hold no object.
    """
    scores, looked_at = [], 0
    for number, (likely, target) in enumerate(predicted, start=1):
        known = target != IGNORE
        truth = _objects(objectness(_certain(target)), 0.5, line_px)
        found = np.where(known, likely, 0)
        if truth.any():
            scores.append([_score(truth, found, t, line_px, smallest_px) for t in THRESHOLDS])
        looked_at += likely.size
        if number >= MOST_IMAGES or looked_at >= ENOUGH_PX:
            break
    if not scores:
        return INSIDE
    mean = np.mean(scores, axis=0)
    good = np.array(THRESHOLDS)[mean >= mean.max() - ALIKE]
    return round(float(good.mean()), 3)


def _certain(target: NDArray[np.int16]) -> NDArray[np.float32]:
    """Probabilities (background, object, line; *space) of a network that knows the target."""
    return np.stack([target < 1, target == 1, target > 1]).astype(np.float32)


def _objects(
    likely: NDArray[np.float32], threshold: float, line_px: int, smallest_px: int = 0
) -> NDArray[np.int32]:
    return find_objects(likely, **vars(told_apart(threshold, line_px, smallest_px)))


def _score(
    truth: NDArray[np.int32],
    likely: NDArray[np.float32],
    threshold: float,
    line_px: int,
    smallest_px: int,
) -> float:
    """The average precision, mean over the thresholds of the IoU."""
    shared = overlaps(truth, _objects(likely, threshold, line_px, smallest_px))
    return float(np.mean([average_precision(match(shared, iou)) for iou in AP_THRESHOLDS]))
