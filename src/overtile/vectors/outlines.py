"""Class ids or objects of an image as polygons with attributes, which files of shapes hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.image import Colour, Georeference, Image
from overtile.labels import UNLABELLED_VALUE
from overtile.legend import Legend
from overtile.planes import Planes
from overtile.vectors.placing import to_world
from overtile.vectors.raster import Points
from overtile.vectors.tracing import Region, trace


@dataclass(frozen=True, eq=False)
class Outline:
    """A region of a class, or an object.

    Attributes
    ----------
    name
        Of its own in the file.
    polygons
        Each with its border and then its holes, closed rings (n 2) of x and y; the border has a
        positive area by the shoelace formula, holes a negative one. Of an object in several pieces
        there are several polygons.
    attributes
        ``id`` and ``area_px``; of a class ``class`` and ``class_id`` as well, and of several planes
        ``plane_z`` and the like: the place along each axis, from 0.
    place, plane
        Along t and z, from 0; and the number of the plane, None where there is only one.
    colour
        Of the class; None of objects.
    """

    name: str
    polygons: tuple[tuple[Points, ...], ...]
    attributes: dict[str, Any]
    place: dict[str, int]
    plane: int | None
    colour: Colour | None


def outlines(image: Image, legend: Legend | None) -> Iterator[Outline]:
    """The outlines of every plane, one plane in memory at a time.

    Parameters
    ----------
    image
        Class ids, or of classes that overlap a channel each, not 0 where a pixel belongs to it; or
        object ids from 1. Its georeference, if it has one, is applied.
    legend
        Of class ids: one outline for each connected region of every class but the background.
        Without: one for each object and plane.
    """
    planes = Planes(image)
    several = len(planes) > 1
    number = 0
    for plane in range(len(planes)):
        ids = planes[plane].read()
        place = planes.place(plane) if several else {}
        groups = _objects(ids[0]) if legend is None else _classes(ids, legend)
        for value, regions in groups:
            number += 1
            area = sum(region.area_px for region in regions)
            attributes: dict[str, Any] = {"id": number if legend else value, "area_px": area}
            name, colour = "object", None
            if legend is not None:
                name, colour = legend.names[value], legend.colours[value]
                attributes |= {"class": name, "class_id": value}
            yield Outline(
                "-".join([re.sub(r"[^\w.]+", "_", name), f"{attributes['id']:05}", *_of(place)]),
                tuple(_placed(region.rings, image.frame) for region in regions),
                attributes | {f"plane_{axis}": position for axis, position in place.items()},
                place,
                plane if several else None,
                colour,
            )


def _of(place: dict[str, int]) -> list[str]:
    return [f"{axis}{position:04}" for axis, position in place.items()]


def _objects(ids: NDArray[np.integer[Any]]) -> Iterator[tuple[int, list[Region]]]:
    """Each object with its regions, in the order of ids."""
    found: dict[int, list[Region]] = {}
    for region in trace(ids):
        found.setdefault(region.value, []).append(region)
    yield from sorted(found.items())


def _classes(ids: NDArray[np.integer[Any]], legend: Legend) -> Iterator[tuple[int, list[Region]]]:
    """Each region with its class id; neither background nor what nothing is known of."""
    hidden = UNLABELLED_VALUE if legend.background is None else legend.background
    if len(ids) > 1:
        for number, layer in enumerate(ids):
            if number != hidden:
                inside = (layer != 0) & (layer != UNLABELLED_VALUE)
                yield from ((number, [region]) for region in trace(inside.astype(np.uint8)))
        return
    shown = np.where(np.isin(ids[0], (hidden, UNLABELLED_VALUE)), 0, ids[0].astype(np.int32) + 1)
    for region in trace(shown):
        yield region.value - 1, [region]


def _placed(rings: tuple[Points, ...], frame: Any) -> tuple[Points, ...]:
    """Rings in the coordinates of the map, if there is one, with the sign of their areas kept."""
    if not isinstance(frame, Georeference):
        return rings
    move = to_world(frame)
    a, b, _, d, e, _ = frame.transform
    turn = 1 if a * e > b * d else -1  # a map counts upwards: what was to the right is to the left
    return tuple(move(ring)[::turn] for ring in rings)
