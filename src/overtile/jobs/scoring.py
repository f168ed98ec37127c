"""A segmenter scored on images with labels, or two side by side."""

from __future__ import annotations

from collections.abc import Iterable

from overtile import layouts
from overtile.errors import DataError
from overtile.evaluation import (
    Comparison,
    Evaluation,
    check_classes,
    compare_evaluations,
    evaluate_pairs,
)
from overtile.jobs.finding import find_pairs
from overtile.layouts import Content, Pairs
from overtile.segmenter import Segmenter


def evaluate(
    segmenter: Segmenter,
    images: Content | Pairs,
    labels: Content | None = None,
    *,
    layout: str | None = None,
    only: str | Iterable[int] | None = None,
    all_scores: bool = False,
) -> Evaluation:
    """The scores of a segmenter on images with labels.

    Parameters
    ----------
    segmenter
        A trained one.
    images, labels, layout
        As in `train`.
    only
        Which of them, chosen as in `train`. By default those that training held out, if they are
        there; or those that the data set itself keeps for validation and test, or else all.
    all_scores
        Whether to compute those as well that take seconds for a slice: the warping error.

    Raises
    ------
    DataError
        Pairs that do not fit each other or the model.
    """
    pairs = find_pairs(images, labels, layout, segmenter.model.settings.network.dimensions)
    chosen = layouts.scored(pairs, only, segmenter.model.origin.held_out)
    return evaluate_with(segmenter, chosen, all_scores=all_scores)


def evaluate_with(segmenter: Segmenter, pairs: Pairs, *, all_scores: bool = False) -> Evaluation:
    """The scores of a segmenter on pairs; see `evaluate`."""
    return evaluate_pairs(
        layouts.drawn_as(pairs, segmenter.meaning),
        segmenter.meaning,
        segmenter.probabilities,
        segmenter.find_objects,
        all_scores=all_scores,
    )


def compare(
    first: Segmenter,
    second: Segmenter,
    images: Content | Pairs,
    labels: Content | None = None,
    *,
    layout: str | None = None,
    only: str | Iterable[int] | None = None,
) -> Comparison:
    """Two segmenters side by side on the same images with labels.

    Parameters
    ----------
    first, second
        Trained ones.
    images, labels, layout
        As in `train`.
    only
        Which of them, chosen as in `train`. By default those that both held out of training, if
        they are there; or those that the data set itself keeps for validation and test, or else
        all.

    Raises
    ------
    DataError
        Segmenters of other classes, or one of planes and one of volumes; or pairs that do not fit
        each other or the models.
    """
    pairs = pairs_to_compare(first, second, images, labels, layout=layout, only=only)
    return compare_evaluations(evaluate_with(first, pairs), evaluate_with(second, pairs))


def pairs_to_compare(
    first: Segmenter,
    second: Segmenter,
    images: Content | Pairs,
    labels: Content | None,
    *,
    layout: str | None,
    only: str | Iterable[int] | None,
) -> Pairs:
    """The pairs that `compare` scores, once it is sure that the models can be compared."""
    check_classes(first.classes, second.classes)
    dimensions = [each.model.settings.network.dimensions for each in (first, second)]
    if dimensions[0] != dimensions[1]:
        one, other = (("planes", "volumes")[number == 3] for number in dimensions)
        raise DataError(
            f"The first model is for {one} and the second for {other}: expected two that score the "
            "same images. Evaluate each by itself."
        )
    held = set(first.model.origin.held_out) & set(second.model.origin.held_out)
    return layouts.scored(find_pairs(images, labels, layout, dimensions[0]), only, held)
