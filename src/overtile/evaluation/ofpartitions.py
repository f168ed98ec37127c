"""V_rand, V_info and Rand error at the one threshold that is best for all images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overtile import metrics
from overtile.evaluation.measure import Case, Measure, Name, Scores, Tally, mean
from overtile.metrics import THRESHOLDS

NAMES = (Name("V_rand"), Name("V_info"), Name("Rand error"))


def partitions() -> Measure:
    """Of slices with one foreground class; the tally is (threshold, score)."""

    def count(case: Case) -> Tally:
        foreground = np.nan_to_num(1 - case.likely[0])
        scored = metrics.scores_by_threshold(case.objects, foreground)
        return np.array([(s.v_rand, s.v_info, s.rand_error) for s in scored])

    def scores(tally: Tally) -> Scores:
        return dict(zip(NAMES, tally.tolist(), strict=True))

    return Measure(count, scores, pooled=False, choose=best)


def best(tallies: Sequence[Tally]) -> int:
    """The place of the threshold with the highest mean V_rand, the first of equals."""
    means = [mean([tally[place, 0] for tally in tallies]) for place in range(len(THRESHOLDS))]
    return int(np.argmax(np.nan_to_num(means)))
