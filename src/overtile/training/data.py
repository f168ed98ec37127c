"""The images that a run is trained on, in memory, and what was measured of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from overtile.dataset import Slabs, digest, prepare
from overtile.errors import DataError
from overtile.geometry import Fields
from overtile.labels import told, understand
from overtile.layouts import Pairs, check_pair
from overtile.networks import Network
from overtile.normalise import measure_normalisation
from overtile.settings import Settings
from overtile.step import window_sizes


def _median(
    stated: Sequence[tuple[float, ...] | None], dimensions: int
) -> tuple[float, ...] | None:
    """The median size of a pixel along each axis, if all images state one."""
    known = [sizes[-dimensions:] for sizes in stated if sizes is not None]
    if len(known) < len(stated) or {len(sizes) for sizes in known} != {dimensions}:
        return None
    return tuple(np.median(known, axis=0).tolist())


class TrainingData:
    """The training images in memory, and what was measured of them."""

    def __init__(self, pairs: Pairs, settings: Settings) -> None:
        self.pixel_size = pairs.pixel_size
        read, stated = [], []
        self.digests = {}
        for pair in pairs:
            assert pair.label is not None
            image, label = pair.image.read(), pair.read_label()
            check_pair(pair.name, image, label)
            stated.append(pair.image.open().spacing)
            read.append((image, label))
            self.digests[pair.name] = digest(image)
        counts = {len(image) for image, _ in read}
        if len(counts) > 1:
            raise DataError(
                f"The images have {' and '.join(map(str, sorted(counts)))} channels: expected the "
                "same number in all. Convert them to one form."
            )
        (self.channels,) = counts
        self.spacing = _median(stated, pairs.dimensions)
        self.meaning = understand(
            (label for _, label in read),
            settings.labels.kind,
            told(settings.labels, pairs.hints),
            repair=settings.labels.repair,
        )
        self.normalisation = measure_normalisation(image for image, _ in read)
        self.examples = prepare(read, self.meaning, settings.pixel_weight)

    @property
    def labelled_share(self) -> float:
        """The share of all pixels that are labelled."""
        labelled = sum(np.count_nonzero(example.labelled) for example in self.examples)
        return float(labelled / sum(example.weight.size for example in self.examples))

    def normalise_for(self, network: Network) -> None:
        """As the network's parameters want it, where they say so and the images are of 8 bits."""
        known = network.normalisation
        if known and all(example.image.dtype == np.uint8 for example in self.examples):
            self.normalisation = known

    def check_same(self, images: dict[str, str]) -> None:
        """Refuse to go on with a run that was begun on other images."""
        if images != self.digests:
            raise DataError(
                "The run to be resumed was begun on other images: expected "
                f"{len(images)} images with the pixels they had, from {next(iter(images))} on. "
                "Give the same data and hold-out, or start anew without --resume."
            )

    def loader(self, settings: Settings, fields: Fields) -> Callable[[int, int], DataLoader[Any]]:
        """What makes the batches of a range of steps."""
        sizes, batch_size = window_sizes(settings, fields), settings.window.batch_size

        def load(start: int, stop: int) -> DataLoader[Any]:
            slabs = Slabs(
                self.examples,
                self.normalisation,
                context_px=sizes.context,
                window_px=sizes.counted,
                seed=settings.seed,
                steps=(start, stop),
                batch_size=batch_size,
            )
            # A generator of its own, because the loader would draw from the caller's.
            return DataLoader(slabs, batch_size=batch_size, generator=torch.Generator())

        return load
