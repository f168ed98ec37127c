"""Annotations drawn as a label: what they mean over a whole set, and the pixels they cover."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError
from overtile.image import Colour, Image
from overtile.labels import MOST_CLASSES, UNLABELLED_VALUE, ClassHint, Hints, Kind, LabelMeaning
from overtile.planes import Planes
from overtile.vectors.placing import place
from overtile.vectors.raster import Patch
from overtile.vectors.shapes import Annotations, Shape

CLASS_KEYS = ("class", "label", "category", "classification", "name")
"""Properties that hold the class, the first that is there."""

BACKGROUND = "background"
BACKGROUND_NAMES = (BACKGROUND, "_background_", "__background__")

UNNAMED = "unnamed"
"""The class of shapes without one, where others have one."""

LONGEST_NUMBER = 18
"""Digits by which names are ordered; more are no number, and slow."""

UNLABELLED_OBJECT = 65535
"""The least value that stands for "not labelled" among object ids."""


@dataclass(frozen=True)
class Meaning:
    """What the shapes of a set are drawn as.

    Attributes
    ----------
    kind
        ``classes``: each shape gets the value of its class. ``instances``: each its own.
    key
        The property that holds the class; None where all shapes are of one kind.
    values
        Of the classes; background is 0.
    unlabelled
        The value where nothing is known.
    hints
        The same for whoever reads the label.
    """

    kind: Kind
    key: str | None
    values: Mapping[str, int]
    unlabelled: int
    hints: Hints

    def value(self, shape: Shape, number: int) -> int:
        """Of the shape with this number, from 1."""
        if shape.unlabelled:
            return self.unlabelled
        name = _class_of(shape, self.key)
        return number * (self.values[name] > 0) if self.kind == "instances" else self.values[name]


def understand_shapes(
    found: Sequence[Annotations], kind: Literal["auto"] | Kind | LabelMeaning = "auto"
) -> Meaning:
    """What the shapes of all images of a set are drawn as.

    Parameters
    ----------
    found
        Of the images.
    kind
        Or ``auto``: instances where all shapes are of one class, else classes. Or what a model
        learnt from other shapes: then classes of the same names have the same values.
    """
    known: dict[str, int] = {}
    if isinstance(kind, LabelMeaning):
        known, kind = dict(zip(kind.names, kind.values, strict=True)), kind.kind
    shapes = [shape for one in found for shape in one.shapes if not shape.unlabelled]
    key = _class_key(shapes)
    listed = dict.fromkeys(name for one in found for name in one.classes)
    named = sorted({_class_of(shape, key) for shape in shapes}, key=_in_order)
    names = [name for name in dict.fromkeys([*listed, *named]) if name not in BACKGROUND_NAMES]
    values = dict.fromkeys(BACKGROUND_NAMES, 0)
    if not set(known) & set(names):
        known = {}
    unknown = [name for name in names if name not in known]
    values |= known
    values |= {name: n for n, name in enumerate(unknown, start=max(known.values(), default=0) + 1)}
    if kind == "auto":
        kind = "classes" if len(names) > 1 else "instances"
    unlabelled = UNLABELLED_VALUE
    if kind == "instances":
        unlabelled = max([UNLABELLED_OBJECT, *(len(one.shapes) + 1 for one in found)])
    ignored = any(shape.unlabelled for one in found for shape in one.shapes)
    classes = (ClassHint(BACKGROUND, 0, (0, 0, 0)), *_hints(names, values, shapes, key))
    hints = Hints(
        classes if kind != "instances" and shapes else (),
        (unlabelled,) if ignored else (),
        kind,
    )
    return Meaning(kind, key, values, unlabelled, hints)


def _hints(
    names: Sequence[str], values: Mapping[str, int], shapes: Sequence[Shape], key: str | None
) -> list[ClassHint]:
    colours: dict[str, Colour] = {}
    for shape in shapes:
        if shape.colour is not None:
            colours.setdefault(_class_of(shape, key), shape.colour)
    different = len(set(colours.values())) == len(names)  # else it is one colour for all shapes
    return [
        ClassHint(name, values[name], colours.get(name) if different else None) for name in names
    ]


def _class_key(shapes: Sequence[Shape]) -> str | None:
    """The property that holds the class: one of that name, or the only one with few values."""
    seen: dict[str, Counter[str]] = {}
    for shape in shapes:
        for name, value in shape.properties.items():
            seen.setdefault(name, Counter())[value] += 1
    if "class" in seen:
        return "class"
    few = {
        name
        for name, values in seen.items()
        if len(values) <= MOST_CLASSES and len(values) <= max(1, len(shapes) // 2)
    }
    for wanted in CLASS_KEYS:
        for name in sorted(few):
            if name.lower() == wanted:
                return name
    rest = [name for name in few if seen[name].total() == len(shapes) and len(seen[name]) > 1]
    return rest[0] if len(rest) == 1 else None


def _class_of(shape: Shape, key: str | None) -> str:
    return "object" if key is None else shape.properties.get(key, UNNAMED)


def _in_order(name: str) -> tuple[list[tuple[str, int]], str]:
    """A key that orders numbers inside names by value; equal ones by the name itself."""
    pieces = re.findall(r"(\D*)(\d*)", name)
    return [(text, int(digits[:LONGEST_NUMBER] or -1)) for text, digits in pieces], name


@dataclass(frozen=True, eq=False)
class Drawing:
    """The label of an image, drawn from its annotations when it is asked for.

    Attributes
    ----------
    annotations, meaning
        Of the image, and of all of its set.
    of_many
        Whether the file belongs to several images, so that none of its shapes may lie in this one.
    """

    annotations: Annotations
    meaning: Meaning
    of_many: bool = False

    def draw(self, like: Image) -> Image:
        """The label of an image: class or object ids (int32), with its axes but the channels.

        Later shapes cover earlier ones. Where a shape says in which plane it lies, only there.

        Raises
        ------
        DataError
            The annotations are of an image of another size, lie in planes that there are not, or
            all lie outside of it, or on the earth where the image does not.
        """
        planes = Planes(like)
        size = self.annotations.size
        if size is not None and size != planes.shape:
            raise DataError(
                f"{self.annotations.origin} is for an image of {size[0]} x {size[1]} pixels, and "
                f"this one has {planes.shape[0]} x {planes.shape[1]} (height x width): expected "
                "the image that was annotated. Was it turned or resized since?"
            )
        shapes = place(self.annotations, like)
        if shapes and not self.of_many:
            self._check_inside(shapes, planes.shape)
        on_plane = self._by_plane(shapes, planes)
        axes, sizes = planes.axes_of(None)
        canvas = Canvas(self.meaning, tuple(on_plane), sizes)
        return Image(canvas, axes, like.spacing, like.unit, frame=like.frame)

    def _check_inside(self, shapes: Sequence[Shape], size: tuple[int, ...]) -> None:
        height, width = size
        boxes = np.array([part.box for shape in shapes for part in shape.parts])
        left, top, right, bottom = boxes.T
        if not ((right > 0) & (bottom > 0) & (left < width) & (top < height)).any():
            raise DataError(
                f"All {len(shapes)} shapes of {self.annotations.origin} lie outside of their "
                f"image: they span x from {left.min():.6g} to {right.max():.6g} and y from "
                f"{top.min():.6g} to {bottom.max():.6g} in pixels of an image of {width} x "
                f"{height}. Is it the image that was annotated, and are both in the coordinate "
                "reference system that they state?"
            )

    def _by_plane(self, shapes: Sequence[Shape], planes: Planes) -> list[list[tuple[Shape, int]]]:
        """The shapes of each plane with their values."""
        places = [planes.place(number) for number in range(len(planes))]
        found: list[list[tuple[Shape, int]]] = [[] for _ in places]
        for number, shape in enumerate(shapes, start=1):
            value = self.meaning.value(shape, number)
            on = [
                plane
                for plane, at in enumerate(places)
                if len(places) == 1 or _lies_on(shape.place, plane, at)
            ]
            if not on:
                where = ", ".join(f"{axis} {index}" for axis, index in shape.place.items())
                raise DataError(
                    f"Shape {number} of {self.annotations.origin} lies in {where} (from 0), which "
                    f"its image of {len(places)} planes ({planes.leading or 'one'}) has not: "
                    "expected the stack that was annotated."
                )
            for plane in on:
                found[plane].append((shape, value))
        return found


def _lies_on(wanted: Mapping[str, int], plane: int, at: Mapping[str, int]) -> bool:
    here = {"plane": plane, **at}
    return all(here.get(axis, 0) == index for axis, index in wanted.items())


class Canvas:
    """A label whose planes are drawn when they are sliced.

    Parameters
    ----------
    meaning
        Of the shapes.
    shapes
        Of each plane, with their values.
    shape
        Sizes of the leading axes, y and x.
    """

    dtype: np.dtype[Any] = np.dtype(np.int32)

    def __init__(
        self,
        meaning: Meaning,
        shapes: tuple[Sequence[tuple[Shape, int]], ...],
        shape: tuple[int, ...],
    ) -> None:
        self.meaning, self.shapes, self.shape = meaning, shapes, shape

    def __getitem__(self, key: Any) -> NDArray[np.int32]:
        """The chosen planes and part of them."""
        whole = (*(key if isinstance(key, tuple) else (key,)),)
        whole += (slice(None),) * (len(self.shape) - len(whole))
        leading = self.shape[:-2]
        numbers = np.arange(math.prod(leading)).reshape(leading)[whole[:-2]]
        drawn = [self._plane(int(number))[whole[-2:]] for number in numbers.ravel()]
        return np.stack(drawn).reshape(*numbers.shape, *drawn[0].shape)

    def _plane(self, number: int) -> NDArray[np.int32]:
        height, width = self.shape[-2:]
        plane = np.zeros((height, width), np.int32)
        for shape, value in self.shapes[number]:
            for part in shape.parts:
                patch: Patch = part.cover(height, width)
                plane[patch.window][patch.mask] = value
        return plane
