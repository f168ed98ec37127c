"""What a data set is like, measured in the pass over it that training makes anyway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.contrast import contrast_of
from overtile.directions import Halves
from overtile.labels import LabelMeaning

CLOSE_PX = 5
"""Objects with another within this are close: as far as sigma of the paper's border weight, whose
term is above half its height there."""

OBJECT_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)

CLEARLY = 0.5
"""Standard deviations of an image by which its foreground is brighter or darker than the rest."""

SOME = 0.05
"""The least share of the images that makes a kind of its own."""

ENOUGH_PX = 1_000_000
"""So many pixels of an image, evenly spaced, tell how bright its foreground is."""

NAMED = 12
"""So many classes or channels are listed one by one."""


@dataclass(frozen=True)
class Fingerprint:
    """What a data set is like.

    Attributes
    ----------
    dimensions
        2 of planes, 3 of volumes.
    images, groups
        How many there are; images of one group are alike.
    smallest, median, largest
        The shortest, the median and the longest side of the images along each axis, in pixels.
    pixels
        Of all images together.
    spacing
        The median size of a pixel along each axis, if all images state one.
    channels, dtypes
        Of the images.
    low, high
        The extreme intensities of each channel; NaN where every pixel is missing.
    normalisation
        What is done with intensities, and why, in a sentence.
    kind, classes, background
        What the labels are, the names of the classes, and which of them is no object.
    class_px, class_images
        The pixels of each class, and the number of images that have any.
    labelled_px
        Pixels that are labelled.
    objects, object_px
        How many, and the quantiles 0, 1/4, 1/2, 3/4 and 1 of their sizes; none without objects.
    touching, close
        How many objects touch another by a face, an edge or a corner, and how many have another
        within `CLOSE_PX`. None where there are several classes of objects, which touch as a rule.
    gray
        Of images of several channels: those whose channels are all equal.
    brighter, darker
        Images whose foreground is clearly brighter, or darker, than their background: by
        `CLEARLY` of the image's standard deviation.
    directed
        Axes whose ends are unlike, each with the class that shows it (`overtile.directions`).
    """

    dimensions: int
    images: int
    groups: int
    smallest: tuple[int, ...]
    median: tuple[int, ...]
    largest: tuple[int, ...]
    pixels: int
    spacing: tuple[float, ...] | None
    channels: int
    dtypes: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    normalisation: str
    kind: str
    classes: tuple[str, ...]
    background: int | None
    class_px: tuple[int, ...]
    class_images: tuple[int, ...]
    labelled_px: int
    objects: int
    object_px: tuple[float, ...]
    touching: int | None
    close: int | None
    gray: int = 0
    brighter: int = 0
    darker: int = 0
    directed: tuple[tuple[str, str], ...] = ()

    @property
    def has_both_colours(self) -> bool:
        """Whether some images are gray, and some are not."""
        return self._are_both(self.gray, (self.channels > 1) * self.images - self.gray)

    @property
    def has_both_contrasts(self) -> bool:
        """Whether what is looked for is brighter than the rest in some images, darker in others."""
        return self._are_both(self.brighter, self.darker)

    def _are_both(self, one: int, other: int) -> bool:
        return min(one, other) >= max(1.0, SOME * self.images)

    @property
    def labelled_share(self) -> float:
        """The share of all pixels that are labelled."""
        return self.labelled_px / self.pixels

    @property
    def class_shares(self) -> tuple[float, ...]:
        """The share of the labelled pixels that each class has."""
        return tuple(px / max(self.labelled_px, 1) for px in self.class_px)

    @property
    def close_share(self) -> float:
        """The share of the objects that have another within `CLOSE_PX`; 0 where not counted."""
        return (self.close or 0) / max(self.objects, 1)

    def rows(self) -> list[tuple[str, str]]:
        """(what, value) for a table that a person reads."""
        noun = "volumes" if self.dimensions == 3 else "images"
        several = f" in {self.groups} groups" if self.groups > 1 else " of one group"
        groups = several if self.groups < self.images else ""
        found = [(noun, f"{self.images}{groups}"), ("sizes", self._sizes())]
        if self.spacing is not None:
            found.append(("pixel size", " x ".join(f"{size:.4g}" for size in self.spacing)))
        found += [("channels", self._channels()), ("normalisation", self.normalisation)]
        found += [("labels", self._labels()), *self._classes()]
        if self.objects:
            found.append(("objects", self._objects()))
        if self.gray:
            found.append(("gray images", f"{self.gray} of {self.images}"))
        if self.has_both_contrasts:
            sides = f"brighter in {self.brighter} images, darker in {self.darker}"
            found.append(("foreground", sides))
        if self.directed:
            ends = ", ".join(f"{axis} (by {name})" for axis, name in self.directed)
            found.append(("axes with unlike ends", ends))
        return found

    def _sizes(self) -> str:
        if self.smallest == self.largest:
            return f"{_by(self.largest)} px"
        sides = (_by(sides) for sides in (self.smallest, self.largest, self.median))
        return "{} to {} px, median {}".format(*sides)

    def _channels(self) -> str:
        ends = [
            f"{low:.6g} to {high:.6g}"
            for low, high in zip(self.low[:NAMED], self.high[:NAMED], strict=True)
        ]
        shown = ends[:1] if len(set(ends)) == 1 else ends
        more = ", ..." if self.channels > NAMED else ""
        return f"{self.channels} of {' and '.join(self.dtypes)}, from {', '.join(shown)}{more}"

    def _labels(self) -> str:
        share = self.labelled_share
        part = "all pixels labelled" if share == 1 else f"{share:.3%} of the pixels labelled"
        return f"{self.kind}, {part}"

    def _classes(self) -> list[tuple[str, str]]:
        rows = [
            (f"class {name}", f"{share:.2%} of what is labelled, in {count} of {self.images}")
            for name, share, count in zip(
                self.classes, self.class_shares, self.class_images, strict=True
            )
        ]
        return [*rows[:NAMED], *([("...", f"{len(rows)} classes")] if len(rows) > NAMED else [])]

    def _objects(self) -> str:
        least, low, middle, high, most = self.object_px
        sizes = f"{self.objects} of {least:.0f} to {most:.0f} px, the middle half {low:.0f} to "
        sizes += f"{high:.0f} px (median {middle:.0f})"
        if self.touching is None or self.close is None:
            return sizes
        return f"{sizes}; {self.touching} touch another, {self.close} have one within {CLOSE_PX} px"


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


def _by(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
