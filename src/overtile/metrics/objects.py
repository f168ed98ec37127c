"""Objects matched by overlap: average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from overtile.metrics.partitions import shared_pixels


@dataclass(frozen=True)
class Matches:
    """How many objects were found; the sum of those of several images is that of all together.

    Attributes
    ----------
    found, invented, missed
        True positives, false positives, false negatives.
    overlap
        Sum of the IoU of the found objects.
    """

    found: int = 0
    invented: int = 0
    missed: int = 0
    overlap: float = 0.0

    def __add__(self, other: Matches) -> Matches:
        return Matches(
            self.found + other.found,
            self.invented + other.invented,
            self.missed + other.missed,
            self.overlap + other.overlap,
        )


def match_objects(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], threshold: float = 0.5
) -> Matches:
    """Objects of truth and prediction matched one to one, where their IoU is above a threshold.

    Parameters
    ----------
    truth, prediction
        Object ids (y x), 0 for background.
    threshold
        From 0.5 on no object can have two partners; below, those are chosen that match most
        objects, and among these the largest overlap.
    """
    truth_ids, predicted_ids, counts = shared_pixels(truth, prediction)
    area_truth = np.bincount(truth_ids, counts)
    area_predicted = np.bincount(predicted_ids, counts)
    both = (truth_ids > 0) & (predicted_ids > 0)
    i, j, shared = truth_ids[both], predicted_ids[both], counts[both]
    overlap = shared / (area_truth[i] + area_predicted[j] - shared)
    table = np.zeros((len(area_truth), len(area_predicted)))
    # A match counts more than any sum of overlaps, so that their number is maximised first.
    good = overlap > threshold
    table[i[good], j[good]] = overlap[good] + len(counts)
    rows, columns = linear_sum_assignment(table, maximize=True)
    chosen = table[rows, columns]
    found = int((chosen > 0).sum())
    return Matches(
        found,
        int((area_predicted[1:] > 0).sum()) - found,
        int((area_truth[1:] > 0).sum()) - found,
        float(chosen.sum()) - found * len(counts),
    )


def average_precision(matches: Matches) -> float:
    """TP / (TP + FP + FN), as in the Data Science Bowl 2018 and in StarDist's tables.

    NaN where there is no object in truth and prediction: such an image says nothing of objects.
    """
    total = matches.found + matches.invented + matches.missed
    return matches.found / total if total else np.nan
