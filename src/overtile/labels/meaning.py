"""What the values of a set of labels mean: how they become class ids and objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.errors import DataError
from overtile.image import Colour
from overtile.labels.label import (
    IGNORE,
    NOT_A_NUMBER,
    Coding,
    Kind,
    Label,
    as_label,
    colour_codes,
    counted,
    whole_numbers,
)
from overtile.legend import Legend, code_of, colour_of, written

RARE_IN_ONE = 2e-3
"""Colours that no label had when the meaning was found, and that cover less of another label, are
slips of the drawing, as `deciding.RARE` says of a set: in single labels there were 0.0009."""


@dataclass(frozen=True)
class LabelMeaning:
    """What the values of a set of labels mean.

    Attributes
    ----------
    kind
        ``classes``: a value is a class. ``instances``: a value is an object, 0 is background.
        ``multilabel``: a channel is a class, and classes overlap. ``scribbles``: a value is a
        class, drawn as a few strokes, and 0 is not labelled.
    values
        Of classes: the value of class 0, 1, ...; of overlapping ones their channels. Of
        instances: (0, 1).
    names
        Of the classes; of instances "background" and "object".
    reason
        What was understood, and from what.
    colours
        Of the classes.
    coding
        What `values` and `ignored` are: of ``colours``, 65536 red + 256 green + blue.
    ignored
        Values that mean "not labelled".
    background
        The class id of what is no object; None where no class is.
    palette
        The colours of values in the labels' own palettes: a label in colour, or whose palette has
        another order, is read by them.
    repair
        Whether a value that no class has becomes that of the nearest class.
    """

    kind: Kind
    values: tuple[int, ...]
    names: tuple[str, ...]
    reason: str
    colours: tuple[Colour, ...] = ()
    coding: Coding = "numbers"
    ignored: tuple[int, ...] = ()
    background: int | None = 0
    palette: dict[int, Colour] = field(default_factory=dict)
    repair: bool = False

    @property
    def legend(self) -> Legend:
        """Names and colours of the classes."""
        return Legend(self.names, self.colours, self.background)

    def class_map(self, label: Label | NDArray[Any]) -> NDArray[np.int16]:
        """The class id of every pixel of a label (*space), -1 where it is unlabelled.

        Of overlapping classes (k *space), 1 where a pixel belongs to the class and 0 where not; -1
        in all classes where it is unlabelled.

        Raises
        ------
        DataError
            A value or a colour that no label had when the meaning was found and that is not to be
            repaired (colours that cover less than 0.002 are left unlabelled), or another number of
            channels.
        """
        label = as_label(label)
        if self.kind == "multilabel":
            return self._layers(label)
        numbers = self._numbers(label)
        if self.kind == "instances":
            unlabelled = np.isin(numbers, (NOT_A_NUMBER, *self.ignored))
            return np.where(unlabelled, IGNORE, numbers != 0).astype(np.int16)
        ids, stray = self._look_up(numbers)
        slip = self.coding == "colours" and stray.mean() < RARE_IN_ONE
        if stray.any() and (self.repair or not slip):
            if not self.repair:
                word = "colour" if self.coding == "colours" else "value"
                first, known = self.shown(int(numbers[stray][0])), map(self.shown, self.values)
                raise DataError(
                    f"A label holds the {word} {first}, which is none of the classes "
                    f"{', '.join(known)}: expected the {word}s of the other labels. --repair takes "
                    "the nearest class instead."
                )
            ids[stray], _ = self._look_up(self._nearest(numbers[stray]))
        return ids

    def values_in(self, label: Label) -> tuple[set[int], set[int]]:
        """The values of classes that a label of classes holds, and those that `class_map` refuses.

        Raises
        ------
        DataError
            What is no single number or known colour for each pixel.
        """
        numbers = self._numbers(label)
        values, pixels = counted(numbers)
        ids, stray = self._look_up(values)
        slip = self.coding == "colours" and pixels[stray].sum() < RARE_IN_ONE * numbers.size
        known, strange = values[ids != IGNORE], values[stray & (not slip)]
        return set(known.tolist()), set(strange.tolist())

    def stray(self, label: Label | NDArray[Any]) -> NDArray[np.bool_]:
        """Pixels (*space) of a label of classes that have the value of no class, or a fraction."""
        label = as_label(label)
        found = self._look_up(self._numbers(label))[1]
        if label.values.dtype.kind == "f":
            found |= ~np.isnan(label.values) & (label.values != np.rint(label.values))
        return found

    def repaired(self, label: Label) -> NDArray[np.int64]:
        """The values (*space) of a label of classes, stray ones as those of the nearest class.

        NaN stays `NOT_A_NUMBER`.
        """
        numbers = self._numbers(label)
        stray = self._look_up(numbers)[1]
        numbers = numbers.copy()
        numbers[stray] = self._nearest(numbers[stray])
        return numbers

    def objects(self, label: Label | NDArray[Any]) -> NDArray[np.int32]:
        """Object ids of a label (*space), 0 for background.

        Of classes: the face-connected regions of each class but the background, or but the first.
        Strokes and overlapping classes tell no objects.
        """
        label = as_label(label)
        if self.kind in ("multilabel", "scribbles"):
            return np.zeros(label.shape, np.int32)
        if self.kind == "instances":
            numbers = self._numbers(label)
            numbers = np.where(np.isin(numbers, (NOT_A_NUMBER, *self.ignored)), 0, numbers)
            if self.coding == "colours":  # codes are too large to be counted up to
                found, place = np.unique(numbers, return_inverse=True)
                numbers = (place + (found[0] != 0)).reshape(numbers.shape)
            return numbers.astype(np.int32)
        classes = self.class_map(label)
        ids = np.zeros(label.shape, np.int32)
        for number in range(len(self.values)):
            if number != (self.background or 0):
                regions, _ = ndimage.label(classes == number)
                ids = np.where(regions > 0, regions + ids.max(), ids).astype(np.int32)
        return ids

    def _numbers(self, label: Label) -> NDArray[np.int64]:
        """The values of a label, coded as those of the meaning."""
        if label.coding == "channels":
            raise DataError(
                f"A label has {len(label.values)} channels, one for each class: expected one value "
                "for each pixel, as in the other labels."
            )
        numbers = whole_numbers(label.values, repair=self.repair)
        if self.coding == "colours":
            return colour_codes(numbers, label.coding, label.palette)
        return self._by_palette(numbers, label) if self._is_foreign(numbers, label) else numbers

    def _is_foreign(self, numbers: NDArray[np.int64], label: Label) -> bool:
        """Whether the numbers of a label stand for other colours than those of the meaning."""
        if label.coding == "colours":
            return True
        if not label.palette or not self.palette or self.kind == "instances":
            return False
        return any(
            value >= len(label.palette)
            or self.palette.get(value, label.palette[value]) != label.palette[value]
            for value in counted(numbers)[0].tolist()
        )

    def _by_palette(self, numbers: NDArray[np.int64], label: Label) -> NDArray[np.int64]:
        codes = colour_codes(numbers, label.coding, label.palette)
        known = {code_of(colour): value for value, colour in self.palette.items()}
        found, place = np.unique(codes, return_inverse=True)
        strange = [code for code in found.tolist() if code not in known and code != NOT_A_NUMBER]
        if strange:
            raise DataError(
                f"A label holds the colour {written(strange[0])}, which is none of those that "
                f"the other labels show their classes in ({', '.join(map(written, known))}): "
                "expected these colours, or numbers."
            )
        values = np.array([known.get(code, NOT_A_NUMBER) for code in found.tolist()])
        return values[place].reshape(codes.shape)

    def _look_up(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """The class id of every value, and which values are those of no class."""
        known = np.array([*self.values, *self.ignored, NOT_A_NUMBER])
        ids = np.full(len(known), IGNORE, np.int16)
        ids[: len(self.values)] = np.arange(len(self.values))
        order = np.argsort(known, kind="stable")
        place = np.searchsorted(known[order], numbers).clip(max=len(known) - 1)
        stray = known[order][place] != numbers
        return np.where(stray, IGNORE, ids[order][place]), stray

    def _nearest(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The value of a class, or of "not labelled", next to each of these values."""
        known = np.array([*self.values, *self.ignored])
        found, place = np.unique(numbers, return_inverse=True)
        if self.coding == "colours":
            colours = np.array([colour_of(code) for code in known.tolist()])
            distance = np.stack(
                [
                    ((colours - np.array(colour_of(code))) ** 2).sum(axis=1)
                    for code in found.tolist()
                ],
                axis=1,
            )
        else:
            distance = np.abs(known[:, None] - found)
        return np.asarray(known[distance.argmin(axis=0)][place])

    def _layers(self, label: Label) -> NDArray[np.int16]:
        values = layers_of(label)
        if len(values) != len(self.values):
            raise DataError(
                f"A label has {len(values)} channels, and the others have {len(self.values)}: "
                "expected one for each class."
            )
        missing = np.isnan(values) | np.isin(values, self.ignored)
        return np.where(missing.any(axis=0), IGNORE, values != 0).astype(np.int16)

    def shown(self, value: int) -> str:
        """A value as people write it: a colour as #3C1098."""
        return written(value) if self.coding == "colours" else str(value)


def layers_of(label: Label) -> NDArray[Any]:
    """A label as one channel for each class (k *space); red, green and blue are channels too."""
    if label.coding == "channels":
        return label.values
    if label.coding == "colours":
        return np.stack([label.values >> 16, (label.values >> 8) & 255, label.values & 255])
    return label.values[None]
