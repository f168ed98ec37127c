"""Model + pairs -> scores per image, and over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from overtile.evaluation import bootstrap
from overtile.evaluation.bootstrap import Interval
from overtile.evaluation.measure import Case, Measure, Name, Scores, Tally, mean
from overtile.evaluation.ofcalibration import CALIBRATION_ERROR, as_confidences
from overtile.evaluation.table import measures_for
from overtile.image import Image
from overtile.labels import IGNORE, Label, LabelMeaning, with_unseen
from overtile.layouts import Pair, Pairs, check_pair
from overtile.metrics import THRESHOLDS, Reliability, reliability
from overtile.missing import find_missing
from overtile.resample import size_of_pixels

Predict = Callable[[Image], NDArray[np.float32]]
"""From an image of the axes (c *space) to probabilities (k *space)."""

Find = Callable[[NDArray[np.float32], Image], NDArray[np.int32]]
"""From probabilities (k *space) of an image to objects (*space)."""


@dataclass(frozen=True)
class Row:
    """The scores of one image.

    Attributes
    ----------
    name
        Of the image.
    scores
        By name; NaN where a score is not defined for this image.
    """

    name: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on pairs.

    Attributes
    ----------
    rows
        Per image.
    pooled
        Over the pixels or objects of all images together, for scores where that is defined.
    best_threshold
        Of the foreground's probability for V_rand, V_info and the Rand error, which are given at
        one threshold for all images: the one with the highest mean V_rand. None where they are not
        computed (several foreground classes, or none that is background, strokes, instances, or
        volumes).
    meaning
        Of the labels: as in training, and behind its classes those that training never saw, of
        which every pixel is an error.
    names
        Of each score, in the order of tables: what is scored, and of which class.
    intervals, pooled_intervals
        Of the mean over images, and of the pooled score: 95 % intervals by the bootstrap over
        images (`overtile.evaluation.bootstrap`), for scores that have one.
    unit
        Of distances: of the size of a pixel if all images state it, else "px".
    reliability
        Of each bin of the confidence: how many pixels of all images, their mean confidence, and
        the share of them that are right.
    """

    rows: tuple[Row, ...]
    pooled: dict[str, float]
    best_threshold: float | None
    meaning: LabelMeaning
    names: dict[str, Name] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    pooled_intervals: dict[str, Interval] = field(default_factory=dict)
    unit: str = "px"
    reliability: tuple[Reliability, ...] = ()

    @cached_property
    def mean(self) -> dict[str, float]:
        """The mean of each score over the images where it is defined."""
        return {name: mean([row.scores[name] for row in self.rows]) for name in self.names}


def evaluate_pairs(
    pairs: Pairs,
    meaning: LabelMeaning,
    predict: Predict,
    find: Find,
    *,
    all_scores: bool = False,
) -> Evaluation:
    """Scores of predictions against labels.

    Parameters
    ----------
    pairs
        With labels.
    meaning
        What the values of the labels are, as in training. Classes that labels hold besides are
        scored too, and always missed.
    predict, find
        The model's.
    all_scores
        Whether to compute those as well that take seconds for a slice: the warping error.

    Returns
    -------
    Evaluation
        Always: pixel error and accuracy, and IoU, Dice and accuracy of every class and their means,
        over the pixels that are labelled; of classes that overlap each at a probability of 0.5, and
        the pixel error is the mean of theirs; the calibration error. But for strokes: boundary F1,
        surface Dice and Hausdorff distance of every class but the background. Two classes in
        planes, one of them background: V_rand, V_info and Rand error of the segments. Instances:
        average precision at IoU 0.5 to 0.9, panoptic quality, aggregated Jaccard index, SEG, DET
        and counts; what is predicted on
        unlabelled pixels is cut off. `overtile.evaluation.DEFINITIONS` defines each, also where a
        class or all objects are absent.
        A volume is scored as a whole, its objects too. It has no V_rand, V_info and Rand error:
        they are defined for the slices of a stack, after the boundary was thinned to lines, and a
        volume's boundaries are surfaces. A model of planes gives them, slice by slice.

    Raises
    ------
    DataError
        A label whose size is not the image's, or with values that cannot be those of classes
        besides the ones of training (`overtile.labels.with_unseen`).
    """
    labels = (pair.read_label() for pair in pairs)
    meaning = with_unseen(meaning, labels, pairs.hints)
    measures = measures_for(meaning, pairs.dimensions, all_scores=all_scores)
    unit = _unit(pairs)
    counted = []
    for pair in pairs:
        case = _case(pair, meaning, predict, find, in_pixels=unit == "px")
        counted.append([measure.count(case) for measure in measures])
    scored = [
        _score(measure, tallies)
        for measure, tallies in zip(measures, zip(*counted, strict=True), strict=True)
    ]
    names = [name for each in scored for name in each.images[0]]
    rows = [
        Row(pair.name, {str(name): value for part in parts for name, value in part.items()})
        for pair, *parts in zip(pairs, *[each.images for each in scored], strict=True)
    ]
    means = {
        str(name): bootstrap.of_mean([row.scores[str(name)] for row in rows]) for name in names
    }
    best = [each.choice for each in scored if each.choice is not None]
    sure = next(each.total for each in scored if CALIBRATION_ERROR in each.pooled)
    return Evaluation(
        tuple(rows),
        {str(name): value for each in scored for name, value in each.pooled.items()},
        THRESHOLDS[best[0]] if best else None,
        meaning,
        {str(name): name for name in names},
        {name: found for name, found in means.items() if found is not None},
        {str(name): found for each in scored for name, found in each.intervals.items()},
        unit,
        reliability(as_confidences(sure)),
    )


@dataclass(frozen=True)
class _Scored:
    """What a measure says of each image and of all pooled, how sure that is, and what it chose."""

    images: list[Scores]
    total: Tally
    pooled: Scores
    intervals: dict[Name, Interval]
    choice: int | None


def _score(measure: Measure, tallies: Sequence[Tally]) -> _Scored:
    choice = None
    if measure.choose is not None:
        choice = measure.choose(tallies)
        tallies = [tally[choice] for tally in tallies]
    images = [measure.scores(tally) for tally in tallies]
    total = np.sum(tallies, axis=0)
    if not measure.pooled:
        return _Scored(images, total, {}, {}, choice)
    found = bootstrap.of_pooled(tallies, lambda total: list(measure.scores(total).values()))
    intervals = {
        name: each for name, each in zip(images[0], found, strict=True) if each is not None
    }
    return _Scored(images, total, measure.scores(total), intervals, choice)


def _unit(pairs: Pairs) -> str:
    """What distances are in: the unit that all images state for the size of their pixels, or px."""
    sizes = [size_of_pixels(pair.image.open(), pairs.dimensions) for pair in pairs]
    units = {size.unit for size in sizes if size is not None and size.unit}
    return units.pop() if None not in sizes and len(units) == 1 else "px"


def _case(
    pair: Pair, meaning: LabelMeaning, predict: Predict, find: Find, *, in_pixels: bool
) -> Case:
    assert pair.label is not None
    whole, label = pair.image.read_image(), pair.read_label()
    image = np.asarray(whole.data)
    check_pair(pair.name, image, label)
    likely = predict(whole)
    truth, objects = known_truth(meaning, image, label)
    found = np.zeros_like(objects)
    if meaning.kind == "instances":
        found = np.where(truth == IGNORE, 0, find(likely, whole)).astype(np.int32)
    size = None if in_pixels else size_of_pixels(whole, objects.ndim)
    spacing = (1.0,) * objects.ndim if size is None else size.sizes
    return Case(meaning, truth, objects, found, likely, spacing)


def known_truth(
    meaning: LabelMeaning, image: NDArray[np.generic], label: Label
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Class ids and objects (*space) of a label; -1 and 0 where the image (c *space) is missing."""
    truth, objects = meaning.class_map(label), meaning.objects(label)
    missing = find_missing(image)
    if missing is not None:
        truth[..., missing], objects[missing] = IGNORE, 0
    return truth, objects
