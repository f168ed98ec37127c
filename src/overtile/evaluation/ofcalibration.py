"""Whether probabilities are what they say."""

from __future__ import annotations

import numpy as np

from overtile.evaluation.measure import Case, Measure, Name, Scores, Tally
from overtile.labels import IGNORE

CALIBRATION_ERROR = Name("calibration error")

BINS = 15
"""Of equal width from 0 to 1, as in Guo et al. 2017."""


def calibration() -> Measure:
    """The expected calibration error (Guo et al. 2017, arXiv:1706.04599, equation 3).

    The tally is, for each bin of the confidence (above its lower end, up to its upper one), the
    labelled pixels in it, the sum of their confidence, and how many of them are right. Confidence
    is the probability of the predicted class; of classes that overlap every class of a pixel counts
    by itself, and the confidence of its absence is 1 - its probability.
    """

    def count(case: Case) -> Tally:
        if case.truth.ndim == case.likely.ndim:
            confidence = np.maximum(case.likely, 1 - case.likely)
        else:
            confidence = case.likely.max(axis=0)
        known = case.truth != IGNORE
        sure = confidence[known].astype(np.float64)
        right = (case.predicted == case.truth)[known]
        bins = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
        weights = (None, sure, right)
        return np.stack([np.bincount(bins, weight, BINS) for weight in weights], axis=1)

    def scores(tally: Tally) -> Scores:
        pixels, sure, right = tally.T
        total = pixels.sum()
        return {CALIBRATION_ERROR: float(abs(sure - right).sum() / total) if total else np.nan}

    return Measure(count, scores)
