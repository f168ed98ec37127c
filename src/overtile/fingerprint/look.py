"""Looking at a data set, an image at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.contrast import contrast_of
from overtile.directions import Halves
from overtile.fingerprint.facts import CLOSE_PX, Fingerprint
from overtile.labels import LabelMeaning

OBJECT_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)

CLEARLY = 0.5
"""Standard deviations of an image by which its foreground is brighter or darker than the rest."""

ENOUGH_PX = 1_000_000
"""So many pixels of an image, evenly spaced, tell how bright its foreground is."""


class Look:
    """Collects what a `Fingerprint` tells, an image at a time.

    Parameters
    ----------
    meaning
        Of the labels.
    """

    def __init__(self, meaning: LabelMeaning) -> None:
        self.meaning = meaning
        count = len(meaning.names)
        self.has_pairs = count == 2 and meaning.kind in ("classes", "instances")
        self.class_px, self.class_images = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.labelled_px, self.touching, self.close = 0, 0, 0
        self.shapes: list[tuple[int, ...]] = []
        self.areas: list[NDArray[np.int64]] = []
        self.ends: list[NDArray[np.float64]] = []
        self.dtypes: set[str] = set()
        self.halves: Halves | None = None
        self.gray = self.brighter = self.darker = 0

    def add(
        self,
        image: NDArray[Any],
        target: NDArray[np.int16],
        drawn: NDArray[np.integer],
        objects: NDArray[np.integer],
    ) -> None:
        """One image more.

        Parameters
        ----------
        image
            (c *space).
        target
            Class ids (*space), -1 where unlabelled; of classes that overlap (k *space).
        drawn, objects
            Object ids (*space), 0 for background: as they are in the label, and as they are
            trained on.
        """
        self.shapes.append(image.shape[1:])
        self.dtypes.add(image.dtype.name)
        self.ends.append(_ends(image))
        pixels, labelled = count_classes(target, objects.ndim, len(self.class_px))
        if self.halves is None:
            self.halves = Halves(objects.ndim, len(self.class_px))
        self.halves.add(target)
        self.class_px += pixels
        self.class_images += pixels > 0
        self.labelled_px += labelled
        self.gray += len(image) > 1 and all(
            np.array_equal(image[0], channel, equal_nan=True) for channel in image[1:]
        )
        self._contrast(image, target)
        self.areas.append(np.unique(objects[objects > 0], return_counts=True)[1])
        if self.has_pairs:
            self.touching += count_neighbours(drawn, 1)
            self.close += count_neighbours(objects, CLOSE_PX)

    def _contrast(self, image: NDArray[Any], target: NDArray[np.int16]) -> None:
        """Count whether the foreground is clearly brighter or darker, where there is one."""
        if self.meaning.background is None or self.meaning.kind == "multilabel":
            return
        apart = math.ceil((target.size / ENOUGH_PX) ** (1 / target.ndim))
        every = (slice(None, None, apart),) * target.ndim
        image, target = image[:, *every], target[every]
        known = target >= 0
        inside = (target != self.meaning.background)[known]
        if inside.any() and not inside.all():
            brighter = contrast_of(image[:, known], inside).brighter
            self.brighter += brighter > CLEARLY
            self.darker += brighter < -CLEARLY

    def fingerprint(
        self, groups: int, spacing: tuple[float, ...] | None, normalisation: str
    ) -> Fingerprint:
        """What was seen; with the number of groups, the pixel size, and what is normalised how."""
        shapes, sizes = np.array(self.shapes), np.concatenate(self.areas)
        ends = np.stack(self.ends)
        return Fingerprint(
            dimensions=shapes.shape[1],
            images=len(shapes),
            groups=groups,
            smallest=_whole(shapes.min(axis=0)),
            median=_whole(np.median(shapes, axis=0)),
            largest=_whole(shapes.max(axis=0)),
            pixels=sum(map(math.prod, self.shapes)),
            spacing=spacing,
            channels=ends.shape[2],
            dtypes=tuple(sorted(self.dtypes)),
            low=tuple(np.fmin.reduce(ends[:, 0]).tolist()),
            high=tuple(np.fmax.reduce(ends[:, 1]).tolist()),
            normalisation=normalisation,
            kind=self.meaning.kind,
            classes=self.meaning.names,
            background=self.meaning.background,
            class_px=_whole(self.class_px),
            class_images=_whole(self.class_images),
            labelled_px=self.labelled_px,
            objects=sizes.size,
            object_px=tuple(np.quantile(sizes, OBJECT_QUANTILES).tolist()) if sizes.size else (),
            touching=self.touching if self.has_pairs else None,
            close=self.close if self.has_pairs else None,
            gray=self.gray,
            brighter=self.brighter,
            darker=self.darker,
            directed=() if self.halves is None else self.halves.directed(self.meaning.names),
        )


def count_classes(
    target: NDArray[np.integer], dimensions: int, classes: int
) -> tuple[NDArray[np.int64], int]:
    """The pixels of each class, and how many are labelled.

    Parameters
    ----------
    target
        Class ids (*space), -1 where unlabelled; of classes that overlap (k *space), 0 or 1 each,
        and -1 in all where unlabelled.
    dimensions
        Of space.
    classes
        How many there are.
    """
    if target.ndim > dimensions:
        pixels = (target > 0).sum(axis=tuple(range(1, target.ndim)), dtype=np.int64)
        return pixels, int(np.count_nonzero(target.min(axis=0) >= 0))
    counts = np.bincount(target[target >= 0], minlength=classes).astype(np.int64)
    return counts, int(counts.sum())


def count_neighbours(objects: NDArray[np.integer], reach_px: int) -> int:
    """How many objects have a pixel within this distance of another object's, along every axis.

    Parameters
    ----------
    objects
        Ids (*space), 0 for background.
    reach_px
        From 1 on: 1 counts objects that touch by a face, an edge or a corner.
    """
    ids: NDArray[np.int32] = objects.astype(np.int32)
    inside = ids > 0
    others = np.where(inside, ids, np.iinfo(np.int32).max)
    side = 2 * reach_px + 1
    meets = inside & (ndimage.maximum_filter(ids, side) > ids)
    meets |= inside & (ndimage.minimum_filter(others, side) < ids)
    return len(np.unique(ids[meets]))


def _ends(image: NDArray[Any]) -> NDArray[np.float64]:
    """The lowest and the highest intensity of each channel (2 c), without missing pixels."""
    flat = image.reshape(len(image), -1)
    return np.stack([np.fmin.reduce(flat, axis=1), np.fmax.reduce(flat, axis=1)]).astype(np.float64)


def _whole(numbers: NDArray[Any] | Sequence[float]) -> tuple[int, ...]:
    return tuple(round(float(number)) for number in numbers)
