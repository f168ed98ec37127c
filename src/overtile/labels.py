"""What label values mean: class ids or object ids; and a line of background between objects.

Values are understood over all labels of a set together, streaming, by these rules, unless the user
says which it is:

1. No value but 0 and one other, as in a 0/255 mask: classes.
2. Object ids, if no value is negative and at least three values of some label are ids: nearly every
   value is one connected region, and values are numbered without gaps from 1, as programs number
   objects, in a label of more than 12 or in all labels up to different numbers; or they differ
   between labels: on average one is found in less than half of them, as in a stack or a film whose
   objects come and go.
3. Otherwise classes, in the order of their values; where all others are at most 40, the value 255
   means "not labelled" (as in Pascal VOC), unless it is the only one beside 0.

More than 40 class values are no classification but damage, such as a mask that was saved as JPEG.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.errors import DataError
from overtile.image import Colour
from overtile.legend import Legend, default_colours

IGNORE = -1
"""The class id of a pixel that nobody labelled."""

UNLABELLED_VALUE = 255
"""Stands for "not labelled" in masks of a few small class ids, and in the files that we write."""

MOST_CLASSES = 40
SURE_OBJECTS = 12
"""A label numbered without gaps beyond this counts objects: so many classes are seldom seen."""

Kind = Literal["classes", "instances"]


@dataclass(frozen=True)
class Label:
    """A label as it was read, its values not understood yet.

    Attributes
    ----------
    values
        (*space) numbers; of ``colours``, 65536 red + 256 green + blue; of ``channels``
        (c *space), where classes overlap: not 0 where a pixel belongs to the class.
    coding
        What the values are.
    palette
        The colour of the numbers 0, 1, ..., where they are indices of a palette.
    names
        Of the channels, if the files tell them.
    """

    values: NDArray[Any]
    coding: Literal["numbers", "colours", "channels"] = "numbers"
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


@dataclass(frozen=True)
class LabelMeaning:
    """What the values of a set of labels mean.

    Attributes
    ----------
    kind
        ``classes``: a value is a class. ``instances``: a value is an object, 0 is background.
    values
        Of classes: the value of class 0, 1, ... in increasing order. Of instances: (0, 1).
    names
        Of the classes; of instances "background" and "object".
    reason
        One sentence that says what was understood, and from what.
    colours
        Of the classes.
    """

    kind: Kind
    values: tuple[int, ...]
    names: tuple[str, ...]
    reason: str
    colours: tuple[Colour, ...] = ()

    @property
    def legend(self) -> Legend:
        """Names and colours of the classes."""
        return Legend(self.names, self.colours)

    def class_map(self, label: NDArray[Any]) -> NDArray[np.int16]:
        """The class id of every pixel of a label (*space), -1 where it is unlabelled.

        Raises
        ------
        DataError
            A value that no label had when the meaning was found.
        """
        label = whole_numbers(label)
        if self.kind == "instances":
            return np.asarray(label != 0, np.int16)
        place = np.searchsorted(self.values, label).clip(max=len(self.values) - 1)
        known = np.asarray(self.values)[place] == label
        ignored = (label == UNLABELLED_VALUE) & ~known
        strange = np.unique(label[~known & ~ignored])
        if strange.size:
            raise DataError(
                f"A label holds the value {strange[0]}, which is none of the classes "
                f"{', '.join(map(str, self.values))}: expected the values of the other labels."
            )
        return np.where(ignored, IGNORE, place).astype(np.int16)

    def objects(self, label: NDArray[Any]) -> NDArray[np.int32]:
        """Object ids of a label (*space), 0 for background.

        Of classes: the face-connected regions of each class but the first.
        """
        if self.kind == "instances":
            return whole_numbers(label).astype(np.int32)
        classes = self.class_map(label)
        ids = np.zeros(label.shape, np.int32)
        for number in range(1, len(self.values)):
            regions, _ = ndimage.label(classes == number)
            ids = np.where(regions > 0, regions + ids.max(), ids).astype(np.int32)
        return ids


def understand(
    labels: Iterable[NDArray[Any]], kind: Literal["auto"] | Kind = "auto"
) -> LabelMeaning:
    """The meaning of the values of all labels of a set.

    Parameters
    ----------
    labels
        Arrays (y x), or (z y x) of volumes, of whole numbers, looked at one after the other.
    kind
        What the values are, or ``auto`` to tell by the rules at the head of this module.

    Raises
    ------
    DataError
        No label, one that is not (y x) or (z y x) of whole numbers, negative object ids, a single
        value everywhere, or too many values to be classes.
    """
    seen = _Values()
    for label in labels:
        seen.add(whole_numbers(label))
    if seen.labels == 0:
        raise DataError("There is no label to learn from: expected at least one.")
    if kind == "instances" or (kind == "auto" and seen.look_like_objects()):
        return _instances(seen, kind)
    return _classes(seen, kind)


def whole_numbers(label: NDArray[Any]) -> NDArray[np.int64]:
    """A label (y x) or (z y x) as integers.

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
    numbers = label.astype(np.int64)
    if label.dtype.kind == "f" and not np.array_equal(numbers, label):
        raise DataError(
            "A label holds values with a fraction: expected whole numbers, one class or object id "
            "for each pixel. Was it resized with interpolation? Resize with nearest neighbour."
        )
    return numbers


class _Values:
    """What is counted of the labels while they go by."""

    def __init__(self) -> None:
        self.labels = 0
        self.appearances: dict[int, int] = {}
        self.most_numbered = 0
        self.most_values = 0
        self.numbered = 0
        self.counts: set[int] = set()
        self.single_regions = 0
        self.regions_of = 0

    def add(self, label: NDArray[np.int64]) -> None:
        self.labels += 1
        values = np.unique(label)
        for value in values.tolist():
            self.appearances[value] = self.appearances.get(value, 0) + 1
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
                _, regions = ndimage.label(label[box] == value, _touching(label.ndim))
                self.single_regions += regions == 1

    @property
    def values(self) -> list[int]:
        return sorted(self.appearances)

    def look_like_objects(self) -> bool:
        ids = [value for value in self.values if value != 0]
        if not ids or ids[0] < 0 or self.most_values < 3:
            return False
        if self.single_regions < 0.9 * self.regions_of:
            return False
        each_its_own = self.numbered == self.labels and len(self.counts) > 1
        recurrence = sum(self.appearances[value] for value in ids) / (self.labels * len(ids))
        differ = recurrence < 1 / 2
        many = self.most_numbered > SURE_OBJECTS or self.most_values > MOST_CLASSES
        return many or each_its_own or differ


def _instances(seen: _Values, kind: str) -> LabelMeaning:
    if seen.values[0] < 0:
        raise DataError(
            f"The labels hold the value {seen.values[0]}, and object ids are not negative: "
            "expected 0 for background and a number above 0 for each object."
        )
    if seen.most_values == 0:
        raise DataError("All labels are 0 everywhere: expected at least one object.")
    why = (
        "as you said"
        if kind == "instances"
        else "because nearly every value is one region of its "
        "label, and the values count up or differ between labels"
    )
    reason = f"Each value but 0 is an object (up to {seen.most_values} in a label), {why}."
    names = ("background", "object")
    return LabelMeaning("instances", (0, 1), names, reason, default_colours(2))


def _classes(seen: _Values, kind: str) -> LabelMeaning:
    values = seen.values
    ignored = len(values) > 2 and values[-1] == UNLABELLED_VALUE and values[-2] <= MOST_CLASSES
    if ignored:
        values = values[:-1]
    if len(values) > MOST_CLASSES:
        shown = ", ".join(map(str, values[:6]))
        raise DataError(
            f"The labels hold {len(values)} different values ({shown}, ...), which is too many to "
            f"be classes (at most {MOST_CLASSES}). Masks saved as JPEG or resized with "
            "interpolation have such stray values: export them again as PNG or TIFF. If each "
            "value is an object, say so (--labels-are instances)."
        )
    if len(values) == 1:
        raise DataError(
            f"All labels hold the value {values[0]} everywhere: expected at least two classes."
        )
    names = tuple(f"class {number}" for number in range(len(values)))
    if len(values) == 2:
        names = ("background", "foreground")
    listed = ", ".join(
        f"{value} = {name}" for value, name in list(zip(values, names, strict=True))[:12]
    )
    listed += ", ..." if len(values) > 12 else ""
    reason = f"Each value is a class{', as you said' if kind == 'classes' else ''}: {listed}"
    reason += f"; {UNLABELLED_VALUE} = not labelled." if ignored else "."
    return LabelMeaning("classes", tuple(values), names, reason, default_colours(len(values)))


def separate_touching(objects: NDArray[np.integer], width_px: int) -> NDArray[np.int32]:
    """Objects with a line of background between those that touch (the paper's separation border).

    Parameters
    ----------
    objects
        Ids (y x) or (z y x), 0 for background.
    width_px
        Of the line (of volumes: the sheet); 0 draws none. Half of it is taken from each of two
        objects that touch by a face or a corner; of an odd width the lower id gives one pixel more.

    Returns
    -------
    array of int32
        Without a face or corner between two objects, where the width is above 0. Pixels farther
        than half the width from a contact, and objects that touch none, are unchanged. An object
        too thin to give is kept, as far as it then touches no other.
    """
    ids: NDArray[np.int32] = objects.astype(np.int32)
    if width_px == 0:
        return ids
    inside = ids > 0
    others = np.where(inside, ids, np.iinfo(np.int32).max)
    low = inside & (ndimage.maximum_filter(ids, 3) > ids)
    high = inside & (ndimage.minimum_filter(others, 3) < ids)
    contact = low | high
    if not contact.any():
        return ids
    distance, nearest = ndimage.distance_transform_edt(~contact, return_indices=True)
    giver = tuple(nearest)  # of each pixel, the contact pixel next to it
    gives_more = np.where(ids[giver] == ids, low[giver], ~low[giver])
    # A contact pixel is half a pixel from the contact, so `reach` pixels are those nearer than it.
    reach = np.where(gives_more, (width_px + 1) // 2, width_px // 2)
    separated = np.where(distance < reach, 0, ids)
    for lost in np.setdiff1d(ids, separated).tolist():
        rival = (separated > 0) & (separated != lost)
        separated[(ids == lost) & ~ndimage.binary_dilation(rival, _touching(ids.ndim))] = lost
    return separated.astype(np.int32)


def _touching(dimensions: int) -> NDArray[np.bool_]:
    """The neighbourhood of a pixel: all that touch it by a face, an edge or a corner."""
    return np.ones((3,) * dimensions, bool)
