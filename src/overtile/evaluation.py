"""Model + pairs -> scores per image, and over all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overtile import metrics
from overtile.image import Image
from overtile.labels import IGNORE, Label, LabelMeaning, with_unseen
from overtile.layouts import Pair, Pairs, check_pair
from overtile.missing import find_missing

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
    """

    rows: tuple[Row, ...]
    pooled: dict[str, float]
    best_threshold: float | None
    meaning: LabelMeaning

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each score over the images where it is defined."""
        names = self.rows[0].scores
        return {name: _mean([row.scores[name] for row in self.rows]) for name in names}


def evaluate_pairs(pairs: Pairs, meaning: LabelMeaning, predict: Predict, find: Find) -> Evaluation:
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

    Returns
    -------
    Evaluation
        Always: pixel error, and IoU and Dice of every class, over the pixels that are labelled; of
        classes that overlap each at a probability of 0.5, and the pixel error is the mean of
        theirs. Two classes in planes, one of them background: V_rand, V_info and Rand error of the
        segments. Instances: average precision of the objects at IoU 0.5.
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
    tallies = [_count(pair, meaning, predict, find) for pair in pairs]
    rows = [_pixel_scores(tally.confusion, meaning.names) for tally in tallies]
    pooled = _pixel_scores(np.sum([tally.confusion for tally in tallies], axis=0), meaning.names)
    two = len(meaning.names) == 2 and meaning.kind == "classes" and meaning.background is not None
    threshold = None
    if meaning.kind == "instances":
        for row, tally in zip(rows, tallies, strict=True):
            row["AP at 0.5"] = metrics.average_precision(tally.matches)
        pooled["AP at 0.5"] = metrics.average_precision(
            sum((tally.matches for tally in tallies), metrics.Matches())
        )
    elif two and tallies[0].objects.ndim == 2:
        threshold, partitions = metrics.best_threshold(
            [tally.objects for tally in tallies], [tally.foreground for tally in tallies]
        )
        for row, partition in zip(rows, partitions, strict=True):
            row["V_rand"] = partition.v_rand
            row["V_info"] = partition.v_info
            row["Rand error"] = partition.rand_error
    named = tuple(Row(t.name, row) for t, row in zip(tallies, rows, strict=True))
    return Evaluation(named, pooled, threshold, meaning)


@dataclass(frozen=True)
class _Tally:
    """What is kept of one image.

    Attributes
    ----------
    confusion
        Of the classes (k k); of those that overlap one for each, (k 2 2).
    objects
        Of the truth.
    foreground
        Probability of all classes but the first.
    matches
        Between the objects of truth and prediction.
    """

    name: str
    confusion: NDArray[np.int64]
    objects: NDArray[np.int32]
    foreground: NDArray[np.float32]
    matches: metrics.Matches


def _count(pair: Pair, meaning: LabelMeaning, predict: Predict, find: Find) -> _Tally:
    assert pair.label is not None
    whole, label = pair.image.read_image(), pair.read_label()
    image = np.asarray(whole.data)
    check_pair(pair.name, image, label)
    likely = predict(whole)
    truth, objects = known_truth(meaning, image, label)
    found = find(likely, whole) if meaning.kind == "instances" else objects
    return _Tally(
        pair.name,
        _confusion(truth, likely, len(meaning.names)),
        objects,
        np.nan_to_num(1 - likely[0]),
        metrics.match_objects(objects, found),
    )


def known_truth(
    meaning: LabelMeaning, image: NDArray[np.generic], label: Label
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Class ids and objects (*space) of a label; -1 and 0 where the image (c *space) is missing."""
    truth, objects = meaning.class_map(label), meaning.objects(label)
    missing = find_missing(image)
    if missing is not None:
        truth[..., missing], objects[missing] = IGNORE, 0
    return truth, objects


def _confusion(
    truth: NDArray[np.int16], likely: NDArray[np.float32], classes: int
) -> NDArray[np.int64]:
    """Of class ids (*space); one for each class where they overlap, of 0 and 1 (k *space)."""
    if truth.ndim < likely.ndim:
        return metrics.confusion(truth, likely.argmax(axis=0), classes)
    layers = zip(truth, likely > 0.5, strict=True)
    return np.stack([metrics.confusion(*layer, 2) for layer in layers])


def _pixel_scores(confusion: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    if confusion.ndim == 3:
        error = float(np.mean([metrics.pixel_error(each) for each in confusion]))
        iou, dice = (
            [float(of(each)[1]) for each in confusion] for of in (metrics.iou, metrics.dice)
        )
    else:
        error = metrics.pixel_error(confusion)
        iou, dice = metrics.iou(confusion).tolist(), metrics.dice(confusion).tolist()
    scores = {"pixel error": error}
    for word, values in (("IoU", iou), ("Dice", dice)):
        scores |= {f"{word} {name}": value for name, value in zip(names, values, strict=True)}
    return scores


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
