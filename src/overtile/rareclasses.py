"""Windows around classes that are rare.

A window drawn anywhere seldom shows a class of few pixels. So a share of the windows is drawn
around a pixel of a class that is drawn first, each as often as another (as nnU-Net does: Isensee et
al. 2021, doi:10.1038/s41592-020-01008-z). Where such pixels are is looked up in an index of a
bounded number of them, made once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_PX = 10_000
"""Pixels of a class that are kept of an image. A window of 256 px holds 65,536, so those around
so many pixels show the class everywhere that it is."""

FEWEST_PX = 100
"""Kept of each, however many images there are."""

ALL_PX = 2**22
"""Kept of all images and classes together, 4 bytes each."""

BLOCK_PX = 2**22
"""Looked through at a time; the places of a large image's background would take 8 bytes a pixel."""

RARE = 0.01
"""A class with less of the labelled pixels than this is rare."""

SHARE = 1 / 3
"""Of the windows, where a class is rare; nnU-Net's."""


@dataclass(frozen=True)
class ClassPixels:
    """Where the classes of an image are.

    Attributes
    ----------
    counts
        Pixels of each class (k).
    places
        For each class flat indices of some of its pixels, or of all.
    """

    counts: NDArray[np.int64]
    places: tuple[NDArray[np.integer], ...]


def kept_px(images: int, classes: int) -> int:
    """How many pixels of each class and image are kept, so that all together are bounded."""
    return min(MOST_PX, max(FEWEST_PX, ALL_PX // (images * classes)))


def find_classes(masks: Iterable[NDArray[np.bool_]], most: int, seed: int) -> ClassPixels:
    """Where the classes of an image are, given where each one is (*space).

    Of a class with more pixels than `most`, so many are drawn, each as likely as another, as a
    function of the seed.
    """
    random = np.random.default_rng(seed)
    counts, places = [], []
    for mask in masks:
        count = np.count_nonzero(mask)
        wanted = np.arange(count)
        if count > most:
            wanted = np.sort(random.choice(count, most, replace=False, shuffle=False))
        counts.append(count)
        places.append(_places(mask, wanted))
    return ClassPixels(np.array(counts, np.int64), tuple(places))


def _places(mask: NDArray[np.bool_], wanted: NDArray[np.int64]) -> NDArray[np.integer]:
    """Flat indices of the pixels of a mask whose numbers, counted in order, are wanted."""
    flat, passed = mask.reshape(-1), 0
    found = []
    for start in range(0, flat.size, BLOCK_PX):
        here = np.flatnonzero(flat[start : start + BLOCK_PX]) + start
        low, high = np.searchsorted(wanted, (passed, passed + len(here)))
        found.append(here[wanted[low:high] - passed])
        passed += len(here)
    small = flat.size <= np.iinfo(np.int32).max
    return np.concatenate(found).astype(np.int32 if small else np.int64)


class RareWindows:
    """Which windows are drawn around a pixel of a class, and around which.

    Classes are drawn uniformly from those that training images have; the commonest is left out,
    which any window shows. Then a pixel is drawn uniformly from those of the class in all images.

    Parameters
    ----------
    share
        Of the windows, from 0 to below 1.
    images
        Where the classes are in each image.
    overlap
        Whether classes overlap; then the commonest counts as well.
    """

    def __init__(self, share: float, images: Sequence[ClassPixels], *, overlap: bool) -> None:
        self.share, self.images = share, images
        self.counts = np.stack([image.counts for image in images])
        of_class = self.counts.sum(axis=0)
        drawn = of_class > 0
        if not overlap:
            drawn[of_class.argmax()] = False
        self.classes = np.flatnonzero(drawn)

    def takes(self, number: int) -> bool:
        """Whether the window of this number, counted from the run's first, is such a one.

        They are spread evenly: of any n windows in a row n times the share, to within one.
        """
        each = len(self.classes) > 0
        return each and math.floor((number + 1) * self.share) > math.floor(number * self.share)

    def draw(self, random: np.random.Generator) -> tuple[int, int]:
        """The place of an image, and the flat index of a pixel in it."""
        number = random.choice(self.classes)
        of_images = self.counts[:, number]
        place = int(random.choice(len(self.images), p=of_images / of_images.sum()))
        return place, int(random.choice(self.images[place].places[number]))


def choose_share(
    counts: Sequence[int], names: Sequence[str], labelled_px: int
) -> tuple[float, str]:
    """The share of windows to draw around rare classes, with the reason in a sentence.

    Parameters
    ----------
    counts, names
        Pixels, and the name, of each class.
    labelled_px
        The sum of the counts; less, where classes overlap.

    Returns
    -------
    share, reason
        `SHARE` if any class that is there has less than `RARE` of the labelled pixels, or else 0.
    """
    present = [pair for pair in zip(counts, names, strict=True) if pair[0]]
    if not present:
        return 0.0, "Windows are drawn evenly: no class has a pixel."
    fewest, rarest = min(present)
    part = fewest / labelled_px
    if part >= RARE:
        return 0.0, f"Windows are drawn evenly: the rarest class, {rarest}, has {part:.2%} of all."
    return SHARE, (
        "A third of the windows are drawn around a pixel of a class, each class as often as "
        f"another, because {rarest} has only {part:.2%} of the labelled pixels."
    )
