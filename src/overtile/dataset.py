"""Pairs of image and label -> training windows, as a function of (seed, step, index).

Which window a step sees depends on nothing else: not on the device, the number of workers, or
whether the run was interrupted in between. A window is handed over as a *slab*: the window with as
much context around it as the augmentation can reach, cut out of the mirrored image, so that all
resampling happens once, later, on the device.
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
from overtile.normalise import Normalisation
from overtile.pixelweights import class_weights, pixel_weights
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
        (*space) int16, class ids, with a background line between objects that touched; -1 ignored.
        Of classes that overlap (k *space), 0 or 1 for each.
    weight
        (*space) float32, the pixel weight; 0 where ignored.
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
        overlap = self.target.ndim > self.weight.ndim
        return np.asarray((self.target.min(axis=0) if overlap else self.target) != IGNORE)


def prepare(
    images_and_labels: Iterable[tuple[NDArray[np.generic], Label | NDArray[np.generic]]],
    meaning: LabelMeaning,
    settings: PixelWeightSettings,
) -> list[Example]:
    """Targets and pixel weights of all training images.

    Parameters
    ----------
    images_and_labels
        Images (c *space) with their labels (*space) as read.
    meaning
        What the label values mean.
    settings
        Of the pixel weights; class weights are taken over all labels together. Classes that
        overlap weigh alike: each is a question of its own, and so is its balance.

    Raises
    ------
    DataError
        No pixel of any label is labelled.
    """
    parts = []
    counts = np.zeros(len(meaning.names), np.int64)
    for image, label in images_and_labels:
        target, objects = meaning.class_map(label), meaning.objects(label)
        if meaning.kind == "instances":
            objects = separate_touching(objects, settings.separation_px)
            target = np.where((objects == 0) & (target > 0), 0, target).astype(np.int16)
        counts += _count_classes(target, meaning)
        parts.append((image, target, objects))
    if counts.sum() == 0:
        raise DataError(
            "No pixel of the training labels belongs to a class: all are marked to be ignored. "
            "Label at least a few pixels of each class."
        )
    overlap = meaning.kind == "multilabel"
    balanced = settings.balance_classes and not overlap
    balance = class_weights(counts) if balanced else np.ones(len(counts))
    return [
        Example(
            image,
            target,
            pixel_weights(target.min(axis=0) if overlap else target, objects, balance, settings),
            np.unique(objects[objects > 0], return_counts=True)[1],
        )
        for image, target, objects in parts
    ]


def _count_classes(target: NDArray[np.int16], meaning: LabelMeaning) -> NDArray[np.int64]:
    """The labelled pixels of each class; of classes that overlap, those where it is known."""
    if meaning.kind == "multilabel":
        labelled = target != IGNORE
        return np.asarray(labelled.reshape(len(target), -1).sum(axis=1))
    return np.bincount(target[target != IGNORE], minlength=len(meaning.names))


def digest(image: NDArray[np.generic]) -> str:
    """The SHA-256 of an image's shape, type and pixels."""
    head = f"{image.shape} {image.dtype}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(image).tobytes()).hexdigest()


class Slabs(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """The training windows of steps `start` to `stop`, each with its context.

    Item i belongs to step ``start + i // batch_size``. It holds the normalised image (c *context)
    float32, the target and the pixel weight (*context), and the seed of its augmentation.

    Where less than half of all pixels are labelled, a random window might hold none: there a
    labelled pixel is drawn first, then a window that holds it.

    Parameters
    ----------
    examples
        What `prepare` made.
    normalisation
        Of the images.
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
        normalisation: Normalisation,
        *,
        context_px: Sequence[int],
        window_px: Sequence[int],
        seed: int,
        steps: tuple[int, int],
        batch_size: int,
    ) -> None:
        self.examples = examples
        self.normalisation = normalisation
        self.context_px = context_px
        self.window_px = window_px
        self.seed = seed
        self.steps = steps
        self.batch_size = batch_size
        labelled = np.array([np.count_nonzero(part.labelled) for part in examples])
        self.shares = labelled / labelled.sum()
        self.anchors: list[NDArray[np.intp]] = []
        if labelled.sum() < SPARSE * sum(part.weight.size for part in examples):
            self.anchors = [np.flatnonzero(part.labelled) for part in examples]

    def __len__(self) -> int:
        return (self.steps[1] - self.steps[0]) * self.batch_size

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        step, index = divmod(item, self.batch_size)
        step += self.steps[0]
        random = np.random.default_rng((self.seed, step, index))
        chosen = random.choice(len(self.examples), p=self.shares)
        example = self.examples[chosen]
        sizes = example.weight.shape
        anchor: Sequence[int | None] = [None] * len(sizes)
        if self.anchors:
            pixel = random.choice(self.anchors[chosen])
            anchor = [int(place) for place in np.unravel_index(pixel, sizes)]
        axes = zip(sizes, self.context_px, self.window_px, anchor, strict=True)
        window: tuple[Any, ...] = np.ix_(*[_span(*axis, random) for axis in axes])
        image = self.normalisation(example.image[(slice(None), *window)])
        return (
            torch.from_numpy(image),
            torch.from_numpy(example.target[(..., *window)].astype(np.int64)),
            torch.from_numpy(example.weight[window]),
            torch.tensor(int(random.integers(2**62))),
        )


def _span(
    size: int, context_px: int, window_px: int, anchor: int | None, random: np.random.Generator
) -> NDArray[np.intp]:
    """Source pixels of a slab along one axis of an image; the window holds the anchor, if any."""
    spare = size - window_px
    first, last = (0, spare) if anchor is None else (max(0, anchor - window_px + 1), anchor)
    start = int(random.integers(first, min(last, spare) + 1)) if spare > 0 else spare // 2
    begin = start - (context_px - window_px) // 2
    return mirror_indices(begin, begin + context_px, size)
