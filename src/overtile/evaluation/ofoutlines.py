"""Measures of where the outlines of classes lie, and of their shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from overtile import metrics
from overtile.evaluation.measure import Case, Measure, Name, Scores, Tally, each, mean
from overtile.metrics import TOLERANCE_PX, BoundaryMatches, SurfaceOverlap, Warping


def boundaries(names: Sequence[str]) -> Measure:
    """Boundary F1; the tally has a row for each class, of the counts of its boundary pixels."""

    def count(case: Case) -> Tally:
        found = [metrics.match_boundaries(true, p, known=known) for true, p, known in case.masks()]
        return np.array([list(vars(one).values()) for one in found])

    def score(row: Sequence[float]) -> float:
        return metrics.boundary_f1(BoundaryMatches(*map(int, row)))

    return Measure(count, _of_classes("boundary F1", names, score))


def surfaces(names: Sequence[str]) -> Measure:
    """Surface Dice; the tally has a row for each class: what is near, and all."""

    def count(case: Case) -> Tally:
        tolerance = TOLERANCE_PX * min(case.spacing)
        found = [metrics.surface_overlap(one, tolerance) for one in case.surfaces]
        return np.array([(one.near, one.total) for one in found])

    def score(row: Sequence[float]) -> float:
        return metrics.surface_dice(SurfaceOverlap(*row))

    return Measure(count, _of_classes("surface Dice", names, score))


def hausdorff(names: Sequence[str]) -> Measure:
    """Hausdorff 95; the tally has a row for each class: its distance, infinite left undefined."""

    def count(case: Case) -> Tally:
        found = np.array([metrics.hausdorff(one) for one in case.surfaces])
        return np.where(np.isfinite(found), found, np.nan)[:, None]

    return Measure(count, _of_classes("Hausdorff 95", names, lambda row: row[0]), pooled=False)


def warping() -> Measure:
    """The warping error of slices with one foreground class; the tally is its two counts."""

    def count(case: Case) -> Tally:
        true, found, known = next(case.masks())
        counted = metrics.warp_and_count(true, found, known)
        return np.array([counted.wrong, counted.total])

    def scores(tally: Tally) -> Scores:
        return {Name("warping error"): metrics.warping_error(Warping(*tally.tolist()))}

    return Measure(count, scores)


def _of_classes(
    score: str, names: Sequence[str], of: Callable[[Sequence[float]], float]
) -> Callable[[Tally], Scores]:
    """From a tally with a row for each class: the mean over classes, and each."""

    def scores(tally: Tally) -> Scores:
        values = [of(row) for row in tally.tolist()]
        return {Name(f"mean {score}"): mean(values)} | each(score, names, values)

    return scores
