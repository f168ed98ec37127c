"""What is counted of the labels of a set while they go by, one after the other."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.errors import DataError
from overtile.labels.label import (
    MOST_CLASSES,
    NOT_A_NUMBER,
    Label,
    colour_codes,
    counted,
    whole_numbers,
)
from overtile.labels.meaning import layers_of
from overtile.labels.scribbles import looks_drawn
from overtile.labels.separation import touching

SURE_OBJECTS = 12
"""A label numbered without gaps beyond this counts objects: so many classes are seldom seen."""

FILM_OBJECTS = 8
"""Planes of a film hold as many, or it takes other signs to know it for one."""


class Seen:
    """What is counted; with `repair`, of values that are rounded first.

    Attributes
    ----------
    labels
        How many.
    codings
        That there are.
    numbers, codes
        Pixels of each value, and of each colour: of a palette, of gray, or as they are.
    shown
        Of each value the colours that palettes show it in.
    layers
        For labels with a channel for each class: the names of the channels, as far as files tell
        them, and in how many labels each is present, by the number of channels.
    """

    def __init__(self, repair: bool = False) -> None:
        self.repair = repair
        self.labels = 0
        self.codings: set[str] = set()
        self.numbers: Counter[int] = Counter()
        self.codes: Counter[int] = Counter()
        self.shown: dict[int, set[int]] = {}
        self.layers: dict[int, NDArray[np.int64]] = {}
        self.names: tuple[str, ...] = ()
        self.uncoloured: DataError | None = None
        self.drawn = True
        self._objects = _Objects()

    def add(self, label: Label) -> None:
        """Count one label."""
        self.labels += 1
        self.codings.add(label.coding)
        if label.coding != "numbers":
            self._add_layers(label)
        if label.coding == "channels":
            return
        numbers = whole_numbers(label.values, repair=self.repair)
        values, pixels = counted(numbers)
        self._add_codes(label, values, pixels)
        plain = np.where(numbers == NOT_A_NUMBER, 0, numbers)
        self.drawn = self.drawn and looks_drawn(plain)
        if label.coding == "numbers":
            self.numbers.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
            self._objects.add(plain, values)

    def _add_layers(self, label: Label) -> None:
        layers = layers_of(label)
        present = np.array([bool((np.nan_to_num(layer) != 0).any()) for layer in layers], np.int64)
        self.layers[len(layers)] = self.layers.get(len(layers), 0) + present
        self.names = self.names or label.names

    def _add_codes(
        self, label: Label, values: NDArray[np.int64], pixels: NDArray[np.int64]
    ) -> None:
        try:
            codes = colour_codes(values, label.coding, label.palette)
        except DataError as error:  # it matters only where the set turns out to be in colour
            self.uncoloured = self.uncoloured or error
            return
        for value, code, count in zip(
            values.tolist(), codes.tolist(), pixels.tolist(), strict=True
        ):
            self.codes[code] += count
            if label.palette:
                self.shown.setdefault(value, set()).add(code)

    @property
    def palettes_agree(self) -> bool:
        """Whether no two palettes show a value in two colours."""
        return all(len(codes) == 1 for codes in self.shown.values())

    @property
    def palette(self) -> dict[int, int]:
        """The colour of each value that palettes show; empty where two have the same."""
        palette = {value: min(codes) for value, codes in sorted(self.shown.items())}
        return palette if len(set(palette.values())) == len(palette) else {}

    @property
    def most_objects(self) -> int:
        """The most values of one label but 0."""
        return self._objects.most_values

    def look_like_objects(self) -> bool:
        """Whether the numbers of the labels are those of objects; see `understanding`."""
        return self._objects.are_likely(self.labels)


class _Objects:
    """What tells object ids from classes."""

    def __init__(self) -> None:
        self.appearances: Counter[int] = Counter()
        self.most_numbered = 0
        self.most_values = 0
        self.numbered = 0
        self.counts: set[int] = set()
        self.single_regions = 0
        self.regions_of = 0
        self.planes = True

    def add(self, label: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        self.appearances.update(values.tolist())
        self.planes &= label.ndim == 2
        ids = values[values != 0]
        if not ids.size or ids[0] < 0 or ids[-1] > 2**24:
            return
        self.most_values = max(self.most_values, ids.size)
        self.counts.add(ids.size)
        if ids[-1] == ids.size:
            self.numbered += 1
            self.most_numbered = max(self.most_numbered, ids.size)
        for value, box in enumerate(ndimage.find_objects(label), start=1):
            if box is not None:
                self.regions_of += 1
                _, regions = ndimage.label(label[box] == value, touching(label.ndim))
                self.single_regions += regions == 1

    def are_likely(self, labels: int) -> bool:
        ids = [value for value in self.appearances if value != 0]
        if not ids or min(ids) < 0 or self.most_values < 3:
            return False
        if self.single_regions < 0.9 * self.regions_of:
            return False
        each_its_own = self.numbered == labels and len(self.counts) > 1
        recurrence = sum(self.appearances[value] for value in ids) / (labels * len(ids))
        differ = recurrence < 1 / 2 or (self._is_film(ids) and recurrence < 3 / 4)
        many = self.most_numbered > SURE_OBJECTS or self.most_values > MOST_CLASSES
        return many or each_its_own or differ

    def _is_film(self, ids: list[int]) -> bool:
        """Whether many objects keep their numbers, some of which are gone or yet to come.

        Of planes alone: organs of volumes are one region each, too, and not all are in each.
        """
        gaps = max(ids) > len(ids)
        single = self.single_regions == self.regions_of
        many = self.most_values >= FILM_OBJECTS and len(self.counts) > 1
        return self.planes and gaps and single and many
