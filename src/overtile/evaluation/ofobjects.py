"""Measures of objects, all from the overlaps that were counted once."""

from __future__ import annotations

import numpy as np

from overtile import metrics
from overtile.evaluation.measure import Case, Measure, Name, Scores, Tally
from overtile.metrics import AP_THRESHOLDS

MEAN_AP = Name("mean AP 0.5-0.9")


def average_precision() -> Measure:
    """AP at every threshold; the tally is found, invented, missed of each."""

    def count(case: Case) -> Tally:
        matched = [metrics.match(case.overlaps, threshold) for threshold in AP_THRESHOLDS]
        return np.array([(each.found, each.invented, each.missed) for each in matched])

    def scores(tally: Tally) -> Scores:
        each = [metrics.average_precision(metrics.Matches(*row)) for row in tally.tolist()]
        named = {Name(f"AP at {t:g}"): ap for t, ap in zip(AP_THRESHOLDS, each, strict=True)}
        return {MEAN_AP: float(np.mean(each))} | named

    return Measure(count, scores)


def panoptic_quality() -> Measure:
    """PQ; the tally is that of the matches above an IoU of one half."""

    def count(case: Case) -> Tally:
        found = metrics.match(case.overlaps, metrics.ABOVE_HALF)
        return np.array([found.found, found.invented, found.missed, found.overlap])

    def scores(tally: Tally) -> Scores:
        return {Name("PQ"): metrics.panoptic_quality(metrics.Matches(*tally.tolist()))}

    return Measure(count, scores)


def aggregated_jaccard() -> Measure:
    """AJI; the tally is intersection and union."""

    def count(case: Case) -> Tally:
        return np.array(metrics.aggregated_jaccard(case.overlaps))

    return Measure(count, lambda tally: {Name("AJI"): _ratio(tally)})


def segmentation() -> Measure:
    """SEG; the tally is the sum of Jaccard indices and the number of reference objects."""

    def count(case: Case) -> Tally:
        return np.array(metrics.segmentation(case.overlaps))

    return Measure(count, lambda tally: {Name("SEG"): _ratio(tally)})


def detection() -> Measure:
    """DET; the tally is the operations that mend the detection."""

    def count(case: Case) -> Tally:
        return np.array(list(vars(metrics.detections(case.overlaps)).values()))

    def scores(tally: Tally) -> Scores:
        return {Name("DET"): metrics.detection_score(metrics.Detections(*tally.tolist()))}

    return Measure(count, scores)


def numbers() -> Measure:
    """How many there are and were found; the tally is both."""

    def count(case: Case) -> Tally:
        return np.array([len(case.overlaps.truth_px), len(case.overlaps.predicted_px)])

    def scores(tally: Tally) -> Scores:
        true, found = tally.tolist()
        return {
            Name("objects"): true,
            Name("predicted objects"): found,
            Name("count error"): abs(found - true),
        }

    return Measure(count, scores)


def _ratio(tally: Tally) -> float:
    part, whole = tally.tolist()
    return part / whole if whole else np.nan
