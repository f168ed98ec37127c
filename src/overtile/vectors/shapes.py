"""What a file of annotations holds, whatever its format: shapes with names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from overtile.image import Colour
from overtile.vectors.raster import Part


@dataclass(frozen=True, eq=False)
class Shape:
    """One object, or one area of a class.

    Attributes
    ----------
    parts
        What it consists of; together they cover what any of them covers.
    properties
        What the file says of it; its class among them, under a name that differs between files.
    place
        Where it lies along t and z, from 0, or under the key "plane" the number of the plane;
        without an axis it lies in every plane along it.
    colour
        In which a program shows it.
    unlabelled
        Whether nothing is known of the pixels that it covers.
    """

    parts: tuple[Part, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    place: Mapping[str, int] = field(default_factory=dict)
    colour: Colour | None = None
    unlabelled: bool = False


@dataclass(frozen=True, eq=False)
class Annotations:
    """The shapes of one image.

    Attributes
    ----------
    origin
        Where they come from, for messages.
    shapes
        In the order in which they are drawn: later ones cover earlier ones.
    classes
        Names of all classes, in their order, where the file lists them.
    size
        (y, x) of the image, if the file says it.
    system
        Of the coordinates: ``pixels``; ``map``, those of the image's map, or pixels if it has
        none; ``unstated``, longitude and latitude over a map, as GeoJSON means it, else pixels; or
        the name or WKT of a coordinate reference system.
    left_out
        How many shapes of the file have no area (points, lines) or a form that we do not read.
    """

    origin: str
    shapes: tuple[Shape, ...]
    classes: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    system: str = "pixels"
    left_out: int = 0
