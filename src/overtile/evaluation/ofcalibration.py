"""Whether probabilities are what they say."""

from __future__ import annotations

import numpy as np

from overtile import metrics
from overtile.evaluation.measure import Case, Measure, Name, Scores, Tally
from overtile.metrics import Confidences

CALIBRATION_ERROR = Name("calibration error")


def calibration() -> Measure:
    """The expected calibration error; the tally is that of `as_confidences`."""

    def count(case: Case) -> Tally:
        if case.truth.ndim < case.likely.ndim:
            counted = metrics.confidences(case.truth, case.likely)
        else:  # each class of a pixel is a question of its own, of two answers
            layers = zip(case.truth, case.likely, strict=True)
            apart = [metrics.confidences(true, np.stack([1 - p, p])) for true, p in layers]
            counted = sum(apart[1:], apart[0])
        return np.stack([counted.pixels, counted.right, counted.confidence])

    def scores(tally: Tally) -> Scores:
        return {CALIBRATION_ERROR: metrics.calibration_error(as_confidences(tally))}

    return Measure(count, scores)


def as_confidences(tally: Tally) -> Confidences:
    """The counts of a tally: pixels, right ones, and sums of confidence of each bin."""
    pixels, right, confidence = tally
    return Confidences(pixels.astype(np.int64), right.astype(np.int64), confidence)
