"""SEG and DET of the Cell Tracking Challenge (Ulman et al. 2017, doi:10.1038/nmeth.4473).

Both match a reference object with the predicted one that covers more than half of it, of which
there is at most one; exactly half is no match. A predicted object may cover several.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overtile.metrics.objects import Overlaps

SPLIT_COST, MISSED_COST, INVENTED_COST = 5, 10, 1
"""Of the operations that mend a detection (Matula et al. 2015,
doi:10.1371/journal.pone.0144959): an object is cut into two, added, deleted."""


@dataclass(frozen=True)
class Detections:
    """What is wrong with the detected objects; sums of several images are those of a sequence.

    Attributes
    ----------
    references
        Objects of the truth.
    to_split
        Cuts needed: a predicted object that covers k > 1 reference objects needs k - 1.
    missed
        Reference objects that nothing covers.
    invented
        Predicted objects that cover none.
    """

    references: int
    to_split: int
    missed: int
    invented: int


def _covered(overlaps: Overlaps) -> NDArray[np.bool_]:
    """Of the pairs of objects, those where more than half of the reference object is covered."""
    return 2 * overlaps.shared_px > overlaps.truth_px[overlaps.i]


def segmentation(overlaps: Overlaps) -> tuple[float, int]:
    """Sum of the Jaccard indices of the reference objects, and their number.

    SEG is the one over the other, over all objects of a sequence. An object that nothing covers
    by more than half has 0, and what is invented costs nothing.
    """
    return float(overlaps.iou[_covered(overlaps)].sum()), len(overlaps.truth_px)


def detections(overlaps: Overlaps) -> Detections:
    """The errors of detection, of which `detection_score` makes DET."""
    covered = _covered(overlaps)
    found, used = int(covered.sum()), len(np.unique(overlaps.j[covered]))
    return Detections(
        references=len(overlaps.truth_px),
        to_split=found - used,
        missed=len(overlaps.truth_px) - found,
        invented=len(overlaps.predicted_px) - used,
    )


def detection_score(counted: Detections) -> float:
    """DET: 1 - min(AOGM-D, AOGM-D0) / AOGM-D0 (Matula et al. 2015), 1 at best and 0 at worst.

    AOGM-D is the cost of all operations that mend the detection, AOGM-D0 that of adding all
    reference objects to nothing. NaN without a reference object, where AOGM-D0 is 0.
    """
    from_nothing = MISSED_COST * counted.references
    cost = (
        SPLIT_COST * counted.to_split
        + MISSED_COST * counted.missed
        + INVENTED_COST * counted.invented
    )
    return 1 - min(cost, from_nothing) / from_nothing if from_nothing else np.nan
