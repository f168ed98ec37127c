"""Pairs of image and label -> training windows, as a function of (seed, step, index).

Which window a step sees depends on nothing else: not on the device, the number of workers, or
whether the run was interrupted in between. A window is handed over as a *slab*: the window with as
much context around it as the augmentation can reach, cut out of the mirrored image, so that all
resampling happens once, later, on the device.

`understood` says what a label means for its image, `weigh` how much each pixel counts; `prepare`
does both for images that are all in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from overtile.errors import DataError
from overtile.geometry import mirror_indices
from overtile.labels import IGNORE, Label, LabelMeaning, separate_touching
from overtile.missing import find_missing
from overtile.normalise import Normalisation
from overtile.pixelweights import class_weights, pixel_weights
from overtile.rareclasses import RareWindows
from overtile.settings import PixelWeightSettings

SPARSE = 1 / 2
"""A share of labelled pixels below this lets windows be drawn around them; what is mostly labelled
is sampled evenly, edges and all."""


@dataclass(frozen=True)
class Example:
    """One image prepared for training.

    Attributes
    ----------
    image
        (c *space), as it was read.
    target
        (*space) int16, class ids, with a line between objects that touched (background, or the
        class behind all others); -1 ignored, as where the image is missing. Of classes that
        overlap (k *space), 0 or 1 for each.
    weight
        (*space) float32, the pixel weight; 0 where ignored, or where the image is missing.
    areas_px
        Of the objects, one after the other.
    """

    image: NDArray[np.generic]
    target: NDArray[np.int16]
    weight: NDArray[np.float32]
    areas_px: NDArray[np.int64]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Where a pixel is labelled (*space)."""
        return _known(self.target, self.weight.ndim)

    def of_class(self, number: int) -> NDArray[np.bool_]:
        """Where a pixel belongs to a class (*space)."""
        if self.target.ndim > self.weight.ndim:
            return np.asarray((self.target[number] > 0) & self.labelled)
        return np.asarray(self.target == number)

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self.image.nbytes + self.target.nbytes + self.weight.nbytes + self.areas_px.nbytes


@dataclass(frozen=True)
class Case:
    """One image with what its label says, its pixels not weighed yet.

    Attributes
    ----------
    image, target
        As of an `Example`.
    objects
        (*space), ids; 0 for background, and where the image is missing.
    """

    image: NDArray[np.generic]
    target: NDArray[np.int16]
    objects: NDArray[np.int32]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Where a pixel is labelled (*space)."""
        return _known(self.target, self.objects.ndim)

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """Where a pixel belongs to another class than the first (*space)."""
        inside = self.target > 0
        return np.asarray(inside.any(axis=0) if inside.ndim > self.objects.ndim else inside)

    @property
    def areas_px(self) -> NDArray[np.int64]:
        """Of the objects, one after the other."""
        return np.unique(self.objects[self.objects > 0], return_counts=True)[1]

    def count_classes(self, classes: int) -> NDArray[np.int64]:
        """The labelled pixels of each class; of classes that overlap, those where it is known."""
        if self.target.ndim > self.objects.ndim:
            return np.full(classes, np.count_nonzero(self.labelled), np.int64)
        return np.bincount(self.target[self.target != IGNORE], minlength=classes)

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self.image.nbytes + self.target.nbytes + self.objects.nbytes


def _known(target: NDArray[np.int16], dimensions: int) -> NDArray[np.bool_]:
    """Where a target, of classes that overlap or not, is labelled (*space)."""
    return np.asarray((target.min(axis=0) if target.ndim > dimensions else target) != IGNORE)


def understood(
    image: NDArray[np.generic],
    label: Label | NDArray[np.generic],
    meaning: LabelMeaning,
    settings: PixelWeightSettings,
) -> Case:
    """An image (c *space) with its label as read, by what the values of the label mean.

    Raises
    ------
    DataError
        A value that means nothing.
    """
    target, objects = meaning.class_map(label), meaning.objects(label)
    if meaning.kind == "instances":
        objects = separate_touching(objects, settings.separation_px)
        line = len(meaning.names) if settings.has_line(meaning.kind) else 0
        target = np.where((objects == 0) & (target > 0), line, target).astype(np.int16)
    missing = find_missing(image)
    if missing is not None:
        target[..., missing], objects[missing] = IGNORE, 0
    return Case(image, target, objects)


def weights_of_classes(
    counts: NDArray[np.int64], meaning: LabelMeaning, settings: PixelWeightSettings
) -> NDArray[np.float64]:
    """The weight of each class by the labelled pixels of each in all images together.

    Classes that overlap weigh alike: each is a question of its own, and so is its balance.

    Raises
    ------
    DataError
        No pixel of any label is labelled.
    """
    if counts.sum() == 0:
        raise DataError(
            "No pixel of the training labels belongs to a class: all are marked to be ignored, or "
            "the image is missing there. Label at least a few pixels of each class."
        )
    balanced = settings.balance_classes and meaning.kind != "multilabel"
    return class_weights(counts) if balanced else np.ones(len(counts))


def weigh(case: Case, of_class: NDArray[np.float64], settings: PixelWeightSettings) -> Example:
    """The example of a case, with the weight of each class."""
    target = case.target
    classes = target.min(axis=0) if target.ndim > case.objects.ndim else target
    weight = pixel_weights(classes, case.objects, of_class, settings)
    return Example(case.image, target, weight, case.areas_px)


def prepare(
    images_and_labels: Iterable[tuple[NDArray[np.generic], Label | NDArray[np.generic]]],
    meaning: LabelMeaning,
    settings: PixelWeightSettings,
) -> list[Example]:
    """Targets and pixel weights of all training images, in memory.

    Parameters
    ----------
    images_and_labels
        Images (c *space) with their labels (*space) as read.
    meaning
        What the label values mean.
    settings
        Of the pixel weights; class weights are taken over all labels together.

    Raises
    ------
    DataError
        As `understood` and `weights_of_classes`.
    """
    cases = [understood(image, label, meaning, settings) for image, label in images_and_labels]
    classes = len(meaning.names)
    counts = sum((case.count_classes(classes) for case in cases), np.zeros(classes, np.int64))
    of_class = weights_of_classes(counts, meaning, settings)
    return [weigh(case, of_class, settings) for case in cases]


def digest(image: NDArray[np.generic]) -> str:
    """The SHA-256 of an image's shape, type and pixels."""
    head = f"{image.shape} {image.dtype}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(image).tobytes()).hexdigest()


class Slabs(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """The training windows of steps `start` to `stop`, each with its context.

    Item i belongs to step ``start + i // batch_size``. It holds the normalised image (c *context)
    float32, the target and the pixel weight (*context), and the seed of its augmentation.

    Where few pixels are labelled, a random window might hold none: there a labelled pixel is drawn
    first, then a window that holds it.

    Parameters
    ----------
    examples
        Prepared images, in a list or kept as far as memory allows.
    normalisations
        Of each example.
    labelled_px
        Of each example; windows are drawn from it so often.
    sparse
        Whether every window is to hold a labelled pixel.
    rare
        Which windows are to hold a pixel of a class drawn first; none by default.
    context_px, window_px
        Sides of the slab along each axis, and of the part in its middle that enters the loss. That
        part lies inside the image along the axes where it fits; along others image and label are
        mirrored.
    seed, steps, batch_size
        Which windows: ``steps = (start, stop)``.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        normalisations: Sequence[Normalisation],
        *,
        labelled_px: NDArray[np.int64],
        sparse: bool = False,
        rare: RareWindows | None = None,
        context_px: Sequence[int],
        window_px: Sequence[int],
        seed: int,
        steps: tuple[int, int],
        batch_size: int,
    ) -> None:
        self.examples = examples
        self.normalisations = normalisations
        self.context_px = context_px
        self.window_px = window_px
        self.seed = seed
        self.steps = steps
        self.batch_size = batch_size
        self.shares = labelled_px / labelled_px.sum()
        self.sparse = sparse
        self.rare = rare

    def __len__(self) -> int:
        return (self.steps[1] - self.steps[0]) * self.batch_size

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        step, index = divmod(item, self.batch_size)
        step += self.steps[0]
        random = np.random.default_rng((self.seed, step, index))
        pixel: int | None = None
        if self.rare is not None and self.rare.takes(step * self.batch_size + index):
            place, pixel = self.rare.draw(random)
        else:
            place = int(random.choice(len(self.examples), p=self.shares))
        example = self.examples[place]
        sizes = example.weight.shape
        if self.sparse and pixel is None:
            pixel = int(random.choice(np.flatnonzero(example.labelled)))
        anchor: Sequence[int | None] = [None] * len(sizes)
        if pixel is not None:
            anchor = [int(at) for at in np.unravel_index(pixel, sizes)]
        axes = zip(sizes, self.context_px, self.window_px, anchor, strict=True)
        spans = [_span(*axis, random) for axis in axes]
        pixels = _taken(example.image, spans)
        image = self.normalisations[place](pixels, find_missing(pixels))
        return (
            torch.from_numpy(image),
            torch.from_numpy(_taken(example.target, spans).astype(np.int64)),
            torch.from_numpy(_taken(example.weight, spans)),
            torch.tensor(int(random.integers(2**62))),
        )


def _taken(array: NDArray[Any], spans: Sequence[NDArray[np.intp]]) -> NDArray[Any]:
    """A copy of the pixels of an array (..., *space) at the spans along its last axes.

    Axis by axis, which copies whole rows: taking all axes at once takes 2 to 30 times as long.
    """
    for axis, span in enumerate(spans, start=-len(spans)):
        array = array.take(span, axis=axis)
    return array


def _span(
    size: int, context_px: int, window_px: int, anchor: int | None, random: np.random.Generator
) -> NDArray[np.intp]:
    """Source pixels of a slab along one axis of an image; the window holds the anchor, if any."""
    spare = size - window_px
    first, last = (0, spare) if anchor is None else (max(0, anchor - window_px + 1), anchor)
    start = int(random.integers(first, min(last, spare) + 1)) if spare > 0 else spare // 2
    begin = start - (context_px - window_px) // 2
    return mirror_indices(begin, begin + context_px, size)
