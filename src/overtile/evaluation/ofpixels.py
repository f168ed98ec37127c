"""Measures that count pixels by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from overtile import metrics
from overtile.evaluation.measure import Case, Measure, Name, Scores, Tally, each, mean, outlined
from overtile.labels import LabelMeaning


def classes(meaning: LabelMeaning) -> Measure:
    """IoU, Dice and accuracy of classes of which every pixel has one; the tally is (k k)."""
    names, front = meaning.names, outlined(meaning)

    def count(case: Case) -> Tally:
        return metrics.confusion(case.truth, case.predicted, len(names))

    def scores(table: Tally) -> Scores:
        error = metrics.pixel_error(table)
        recall = _share(np.diag(table), table.sum(axis=1))
        overall = {Name("pixel error"): error, Name("pixel accuracy"): 1 - error}
        return overall | _of_classes(names, front, metrics.iou(table), metrics.dice(table), recall)

    return Measure(count, scores)


def layers(meaning: LabelMeaning) -> Measure:
    """The same of classes that overlap, each a question of its own; the tally is (k 2 2)."""
    names, front = meaning.names, outlined(meaning)

    def count(case: Case) -> Tally:
        pairs = zip(case.truth, case.predicted, strict=True)
        return np.stack([metrics.confusion(*pair, 2) for pair in pairs])

    def scores(tables: Tally) -> Scores:
        error = mean([metrics.pixel_error(table) for table in tables])
        iou, dice = (
            np.array([of(table)[1] for table in tables]) for of in (metrics.iou, metrics.dice)
        )
        recall = _share(tables[:, 1, 1], tables[:, 1].sum(axis=1))
        overall = {Name("pixel error"): error, Name("pixel accuracy"): 1 - error}
        return overall | _of_classes(names, front, iou, dice, recall)

    return Measure(count, scores)


def _of_classes(
    names: Sequence[str],
    front: Sequence[int],
    iou: NDArray[np.float64],
    dice: NDArray[np.float64],
    recall: NDArray[np.float64],
) -> Scores:
    """The means over classes, and then each."""
    means = {
        Name("mean IoU"): mean(iou.tolist()),
        Name("mean Dice"): mean(dice[list(front)].tolist()),
        Name("mean accuracy"): mean(recall.tolist()),
    }
    return (
        means
        | each("IoU", names, iou.tolist())
        | each("Dice", names, dice.tolist())
        | each("accuracy", names, recall.tolist())
    )


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
