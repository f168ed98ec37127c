"""Objects matched by overlap: average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from overtile.metrics.partitions import shared_pixels, totals


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
        Object ids (*space), 0 for background; they need not be consecutive.
    threshold
        0 to 1, exclusive: an IoU of exactly this is no match. From 0.5 on no object can have two
        partners; below, those are chosen that match most objects, and among these the largest
        overlap.

    Raises
    ------
    DataError
        Different shapes, or an id below 0.
    """
    truth_ids, predicted_ids, counts = shared_pixels(truth, prediction)
    truth_areas, i = totals(truth_ids, counts)
    predicted_areas, j = totals(predicted_ids, counts)
    overlap = counts / (truth_areas[i] + predicted_areas[j] - counts)
    good = (truth_ids > 0) & (predicted_ids > 0) & (overlap > threshold)
    matched = overlap[good]
    if threshold < 0.5:
        matched = _one_to_one(i[good], j[good], matched)
    found = len(matched)
    return Matches(
        found,
        len(np.unique(predicted_ids[predicted_ids > 0])) - found,
        len(np.unique(truth_ids[truth_ids > 0])) - found,
        float(matched.sum()),
    )


def _one_to_one(
    i: NDArray[np.int64], j: NDArray[np.int64], overlap: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The overlaps of those pairs (i, j) that remain when no i and no j has two partners."""
    rows, columns = (np.unique(ids, return_inverse=True)[1] for ids in (i, j))
    table = np.zeros((rows.max(initial=-1) + 1, columns.max(initial=-1) + 1))
    # A match counts more than any sum of overlaps, so that their number is maximised first.
    bonus = len(overlap) + 1
    table[rows, columns] = overlap + bonus
    chosen = table[linear_sum_assignment(table, maximize=True)]
    kept: NDArray[np.float64] = chosen[chosen > 0] - bonus
    return kept


def average_precision(matches: Matches) -> float:
    """TP / (TP + FP + FN), as in the Data Science Bowl 2018 and in StarDist's tables.

    The bowl (Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7) then averages over thresholds of
    the IoU from 0.5 to 0.95; this is one of them. NaN where there is no object in truth and
    prediction: such an image says nothing of objects.
    """
    total = matches.found + matches.invented + matches.missed
    return matches.found / total if total else np.nan
