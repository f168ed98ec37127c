"""A label as it was read, what a data set says of its labels, and the numbers behind both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError
from overtile.image import Colour
from overtile.legend import code_of
from overtile.settings import LabelKind

IGNORE = -1
"""The class id of a pixel that nobody labelled."""

MOST_CLASSES = 40

NOT_A_NUMBER = int(np.iinfo(np.int64).min)
"""What a NaN of a label becomes among whole numbers: such a pixel is not labelled."""

GRAY = 0x010101
"""The code of a gray colour, for each of its 255 steps."""

Kind: TypeAlias = LabelKind
Coding: TypeAlias = Literal["numbers", "colours", "channels"]


@dataclass(frozen=True)
class Label:
    """A label as it was read, its values not understood yet.

    Attributes
    ----------
    values
        (*space) numbers; of ``colours``, 65536 red + 256 green + blue; of ``channels``
        (c *space), where classes overlap: not 0 where a pixel belongs to the class. NaN where
        nobody labelled.
    coding
        What the values are.
    palette
        The colour of the numbers 0, 1, ..., where they are indices of a palette.
    names
        Of the channels, if the files tell them.
    """

    values: NDArray[Any]
    coding: Coding = "numbers"
    palette: tuple[Colour, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of space."""
        return self.values.shape[1:] if self.coding == "channels" else self.values.shape


@dataclass(frozen=True)
class ClassHint:
    """A class that a data set describes: its name, with its value in labels or its colour."""

    name: str
    value: int | None = None
    colour: Colour | None = None


@dataclass(frozen=True)
class Hints:
    """What a data set says of itself beside its pixels.

    Attributes
    ----------
    classes
        Names of values or colours.
    ignored
        Values, or colours as `Label` codes them, that mean "not labelled".
    kind
        What label values are, where the layout leaves no doubt.
    modalities
        Of the channels of the images: "CT", "MRI", "T1", ...
    """

    classes: tuple[ClassHint, ...] = ()
    ignored: tuple[int, ...] = ()
    kind: Kind | None = None
    modalities: tuple[str, ...] = ()


NO_HINTS = Hints()


def as_label(label: Label | NDArray[Any]) -> Label:
    """A label; an array is one of numbers."""
    return label if isinstance(label, Label) else Label(label)


def whole_numbers(label: NDArray[Any], *, repair: bool = False) -> NDArray[np.int64]:
    """A label (y x) or (z y x) as integers, NaN as `NOT_A_NUMBER`.

    Parameters
    ----------
    label
        One number for each pixel.
    repair
        Whether values with a fraction, as interpolation leaves them, are rounded.

    Raises
    ------
    DataError
        Another number of axes, or values with a fraction.
    """
    if label.ndim not in (2, 3):
        raise DataError(
            f"A label has the shape {label.shape}: expected (y x), or (z y x) of a volume, one "
            "whole number for each pixel."
        )
    if label.dtype.kind != "f":
        return label.astype(np.int64)
    missing = np.isnan(label)
    if repair:
        label = np.rint(label)
    with np.errstate(invalid="ignore"):  # infinity, refused below
        numbers = np.where(missing, 0, label).astype(np.int64)
    if not np.array_equal(numbers, np.where(missing, 0, label)):
        raise DataError(
            "A label holds values with a fraction: expected whole numbers, one class or object id "
            "for each pixel. Was it resized with interpolation? Resize with nearest neighbour."
        )
    return np.where(missing, NOT_A_NUMBER, numbers)


def colour_codes(
    numbers: NDArray[np.int64], coding: Coding, palette: tuple[Colour, ...]
) -> NDArray[np.int64]:
    """The colours that values of a label are shown in: of its palette, or gray.

    Parameters
    ----------
    numbers
        Values of the label, of any shape.
    coding, palette
        Of the label.

    Raises
    ------
    DataError
        A number that the palette does not hold; without a palette, one that is not from 0 to 255.
    """
    if coding == "colours":
        return numbers
    table = np.array([code_of(colour) for colour in palette] or [*range(0, 256 * GRAY, GRAY)])
    known = (numbers >= 0) & (numbers < len(table))
    missing = numbers == NOT_A_NUMBER
    if not (known | missing).all():
        raise DataError(
            f"A label holds the value {numbers[~(known | missing)][0]}, and other labels of the "
            f"set are in colour: expected an index of its {len(table)} colours. Give all labels in "
            "colour, or all as numbers."
        )
    return np.where(missing, NOT_A_NUMBER, table[np.where(known, numbers, 0)])


def counted(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values that there are, in order, and the number of pixels of each; NaN left out."""
    flat = values.ravel()
    # Labels are runs of one value, which are far fewer to sort than pixels.
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    found, run = np.unique(flat[starts], return_inverse=True)
    lengths = np.diff(np.append(starts, flat.size))
    pixels = np.bincount(run, weights=lengths).astype(np.int64)
    real = found != NOT_A_NUMBER
    return found[real], pixels[real]
