"""The images that a run is trained on, in memory while there is room, and what they are like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from overtile.cache import Kept, Room
from overtile.dataset import (
    SPARSE,
    Case,
    Example,
    Slabs,
    digest,
    understood,
    weigh,
    weights_of_classes,
)
from overtile.errors import DataError
from overtile.fingerprint import Look
from overtile.geometry import Fields
from overtile.labels import Label, told, understand
from overtile.layouts import Pair, Pairs, check_pair
from overtile.machine import free_memory
from overtile.networks import Network
from overtile.normalise import Normalisation
from overtile.normalise.choice import choose_normalisation
from overtile.rareclasses import ClassPixels, RareWindows, find_classes, kept_px
from overtile.settings import NormalisationSettings, PixelWeightSettings, Settings
from overtile.step import window_sizes
from overtile.tileplan import mebibytes

LINE = "line between objects"
"""What the network's output is called that no class has."""

KEPT_SHARE = 0.5
"""Of the free memory, what decoded images may take; the rest is for training."""


def _median(
    stated: Sequence[tuple[float, ...] | None], dimensions: int
) -> tuple[float, ...] | None:
    """The median size of a pixel along each axis, if all images state one."""
    known = [sizes[-dimensions:] for sizes in stated if sizes is not None]
    if len(known) < len(stated) or {len(sizes) for sizes in known} != {dimensions}:
        return None
    return tuple(np.median(known, axis=0).tolist())


@dataclass(frozen=True)
class _Read:
    """An image with its label, as they were read."""

    image: NDArray[Any]
    spacing: tuple[float, ...] | None
    label: Label

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self.image.nbytes + self.label.values.nbytes


def _read(pair: Pair) -> _Read:
    image = pair.image.read_image()
    return _Read(np.asarray(image.data), image.spacing, pair.read_label())


def _size(made: _Read | Case | Example) -> int:
    return made.size


class TrainingData:
    """The training images, and what was measured of them.

    Each image is read once, and kept with its target and pixel weight as far as the room allows;
    the others are read again whenever a window is drawn from them.

    Parameters
    ----------
    pairs, settings
        Of the run.
    sharers
        Processes on this machine that each keep the images.

    Attributes
    ----------
    meaning, normalisation
        Of the labels, and of the intensities.
    outputs
        What the network is to give of each pixel: the classes, and a line between objects, if it is
        to be one.
    examples, normalisations
        Of each image.
    shapes, labelled_px, areas_px
        Of each image; of all objects one after the other.
    spacing
        The median size of a pixel along each axis, if all images state one.
    fingerprint
        What all of it is like.
    pixel_size
        What the images were brought to.
    digests
        Name -> SHA-256 of the pixels.
    label_digests
        Name -> SHA-256 of the label as it was read.
    """

    def __init__(self, pairs: Pairs, settings: Settings, sharers: int = 1) -> None:
        self.pixel_size = pairs.pixel_size
        self.digests: dict[str, str] = {}
        self.label_digests: dict[str, str] = {}
        self.shapes: list[tuple[int, ...]] = []
        self._kinds: set[np.dtype[Any]] = set()
        free = int(KEPT_SHARE * free_memory()) // sharers
        self.room = Room(free if settings.kept_mib is None else settings.kept_mib * 2**20)
        read = Kept(len(pairs), lambda place: _read(pairs[place]), _size, self.room)
        self.meaning = understand(
            self._labels(pairs, read),
            settings.labels.kind,
            told(settings.labels, pairs.hints),
            repair=settings.labels.repair,
        )
        weighing = settings.pixel_weight

        look = Look(self.meaning)

        def make_case(place: int) -> Case:
            one = read.take(place)
            case = understood(one.image, one.label, self.meaning, weighing)
            if len(look.shapes) == place:  # and not one that is read again, for want of memory
                separated = self.meaning.kind == "instances"
                drawn = self.meaning.objects(one.label) if separated else case.objects
                classes = len(self.meaning.names)  # behind which is the line, part of objects
                target = np.where(case.target < classes, case.target, 1)
                look.add(case.image, target, drawn, case.objects)
            return case

        cases = self._cases = Kept(len(pairs), make_case, _size, self.room)
        labelled_px = []
        line = (LINE,) if weighing.has_line(self.meaning.kind) else ()
        self.outputs = (*self.meaning.names, *line)
        self._counts = np.zeros(len(self.outputs), np.int64)

        def seen() -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
            for case in cases:
                self._counts += case.count_classes(len(self._counts))
                labelled_px.append(np.count_nonzero(case.labelled))
                yield case.image, case.foreground

        self.normalisation = choose_normalisation(
            seen(), settings.normalisation, pairs.hints.modalities
        )
        self._is_open = settings.normalisation == NormalisationSettings()
        self.labelled_px, self.areas_px = np.array(labelled_px), np.concatenate(look.areas)
        self.fingerprint = look.fingerprint(
            len(pairs.groups), self.spacing, self.normalisation.reason
        )
        self.weigh_by(weighing)

    def weigh_by(self, weighing: PixelWeightSettings) -> None:
        """Set how much pixels weigh; before the first window is drawn, for it costs most."""
        of_class = weights_of_classes(self._counts, self.meaning, weighing)
        self.examples = Kept(
            len(self._cases),
            lambda place: weigh(self._cases.take(place), of_class, weighing),
            _size,
            self.room,
        )
        self.normalisations = self._of_each()

    def _labels(self, pairs: Pairs, read: Sequence[_Read]) -> Iterator[Label]:
        """All labels, while the images are looked at."""
        stated, counts = [], set()
        for pair, one in zip(pairs, read, strict=True):
            check_pair(pair.name, one.image, one.label)
            stated.append(one.spacing)
            counts.add(len(one.image))
            self.digests[pair.name] = digest(one.image)
            self.label_digests[pair.name] = digest(one.label.values)
            self.shapes.append(one.image.shape[1:])
            self._kinds.add(one.image.dtype)
            yield one.label
        if len(counts) > 1:
            raise DataError(
                f"The images have {' and '.join(map(str, sorted(counts)))} channels: expected the "
                "same number in all. Convert them to one form."
            )
        (self.channels,) = counts
        self.spacing = _median(stated, pairs.dimensions)

    def _of_each(self) -> Sequence[Normalisation]:
        """What normalises each example: of each by itself, measured when it is first asked for."""
        whole, examples = self.normalisation, self.examples
        if whole.scheme != "per-image":
            return [whole] * len(examples)
        return Kept(len(examples), lambda n: whole.of(examples[n].image), lambda _: 0, self.room)

    @cached_property
    def class_pixels(self) -> list[ClassPixels]:
        """Where the classes of each image are, found when first asked for, in one pass."""
        classes = range(len(self.meaning.names))
        most = kept_px(len(self.examples), len(classes))
        return [
            find_classes(map(example.of_class, classes), most, place)
            for place, example in enumerate(self.examples)
        ]

    def _rare(self, share: float) -> RareWindows | None:
        overlap = self.meaning.kind == "multilabel"
        return RareWindows(share, self.class_pixels, overlap=overlap) if share else None

    @property
    def labelled_share(self) -> float:
        """The share of all pixels that are labelled."""
        return float(self.labelled_px.sum() / sum(map(math.prod, self.shapes)))

    @property
    def memory(self) -> str:
        """A sentence on what is kept of the images, by their sizes."""
        needed = sum(
            math.prod(shape) * (self.channels * max(kind.itemsize for kind in self._kinds) + 6)
            for shape in self.shapes
        )
        limit = self.room.limit
        if needed <= limit:
            return f"Decoded images take {mebibytes(needed)} of memory, of {mebibytes(limit)}."
        return (
            f"Decoded images would take {mebibytes(needed)}, and {mebibytes(limit)} are kept "
            f"(kept_mib): {1 - limit / needed:.0%} of the windows cost reading an image again."
        )

    def normalise_for(self, network: Network) -> None:
        """As the network's parameters want it, where they say so and the images are of 8 bits.

        Unless the settings say how.
        """
        known = network.normalisation
        if known is None or not self._is_open:
            return
        if self._kinds == {np.dtype(np.uint8)}:
            self.normalisation = known
            self.fingerprint = replace(self.fingerprint, normalisation=known.reason)
            self.normalisations = self._of_each()

    def loader(
        self, settings: Settings, fields: Fields, rank: int = 0, ranks: int = 1
    ) -> Callable[[int, int], DataLoader[Any]]:
        """What makes the batches of a range of steps, or the share in them of one of `ranks`.

        It has every window whose number leaves `rank` when divided by `ranks`; together the shares
        are what one process would draw.
        """
        sizes, window = window_sizes(settings, fields), settings.window

        def load(start: int, stop: int) -> DataLoader[Any]:
            slabs = Slabs(
                self.examples,
                self.normalisations,
                labelled_px=self.labelled_px,
                sparse=self.labelled_share < SPARSE,
                rare=self._rare(window.rare_share),
                context_px=sizes.context,
                window_px=sizes.counted,
                seed=settings.seed,
                steps=(start, stop),
                batch_size=window.step_size,
            )
            # A generator of its own, because the loader would draw from the caller's.
            own = range(rank, len(slabs), ranks)
            size = window.batch_size // ranks
            return DataLoader(slabs, batch_size=size, sampler=own, generator=torch.Generator())

        return load
