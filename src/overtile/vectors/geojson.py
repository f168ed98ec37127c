"""GeoJSON (RFC 7946): polygons with properties, on the earth or, from QuPath, on an image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overtile.image import Colour
from overtile.legend import colour_of
from overtile.vectors.outlines import Outline
from overtile.vectors.parsing import expecting, points
from overtile.vectors.placing import name_crs
from overtile.vectors.raster import Part, polygon
from overtile.vectors.shapes import Annotations, Shape

EXPECTED = (
    "GeoJSON: a FeatureCollection whose 'features' have a 'geometry' of type Polygon or "
    "MultiPolygon, with 'coordinates' [[[x, y], ...]], and 'properties'"
)
TYPES = {
    *("FeatureCollection", "Feature", "Polygon", "MultiPolygon", "GeometryCollection"),
    *("Point", "MultiPoint", "LineString", "MultiLineString"),
}


def is_geojson(content: Any) -> bool:
    """Whether this, from a JSON file, is in the form of GeoJSON, or QuPath's list of features."""
    if isinstance(content, list):
        return all(isinstance(item, dict) and item.get("type") == "Feature" for item in content)
    return isinstance(content, dict) and str(content.get("type")) in TYPES


def parse_geojson(path: Path, content: Any) -> dict[str, Annotations]:
    """The annotations of the image that the file is given with.

    The member "crs" of GeoJSON 2008, which many programs still write, is honoured.

    Raises
    ------
    FormatError
        The content has another form.
    """
    with expecting(path, EXPECTED):
        system, features = "unstated", content
        if isinstance(content, dict):
            features = content.get("features", [content])
            declared = content.get("crs")
            if declared is not None:
                system = str(declared["properties"]["name"])
        found = [_shape(feature) for feature in features]
    shapes = tuple(shape for shape in found if shape is not None)
    left_out = len(found) - len(shapes)
    return {"": Annotations(path.name, shapes, system=system, left_out=left_out)}


def _shape(feature: Any) -> Shape | None:
    """None where the geometry has no area."""
    geometry = feature if "coordinates" in feature else feature["geometry"]
    if geometry is None:
        return None
    properties = feature.get("properties") or {}
    stated = properties.get("classification")
    classification = stated if isinstance(stated, dict) else {}
    # QuPath counts z and t from 0 and says -1 for all channels; of a single plane both are 0.
    plane = geometry.get("plane") or {}
    named = {key: str(value) for key, value in properties.items() if _is_plain(value)}
    if "name" in classification:
        named["class"] = str(classification["name"])
    colour = classification.get("color") or properties.get("color")
    return of_geometry(
        geometry, named, {axis: int(plane[axis]) for axis in "tz" if axis in plane}, _colour(colour)
    )


def of_geometry(
    geometry: Any,
    properties: Mapping[str, str],
    place: Mapping[str, int] | None = None,
    colour: Colour | None = None,
) -> Shape | None:
    """The shape of a geometry in the words of GeoJSON; None where it has no area."""
    parts = tuple(_parts(geometry))
    stated = {axis: int(properties[key]) for axis in "tz" if (key := f"plane_{axis}") in properties}
    return Shape(parts, properties, stated | dict(place or {}), colour) if parts else None


def _parts(geometry: Any) -> Iterator[Part]:
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for one in geometry["geometries"]:
            yield from _parts(one)
    if kind not in ("Polygon", "MultiPolygon"):
        return
    coordinates = geometry["coordinates"]
    for rings in [coordinates] if kind == "Polygon" else coordinates:
        part = polygon([points(ring) for ring in rings]) if rings else None
        if part is not None:
            yield part


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _colour(value: Any) -> Colour | None:
    """Of [red, green, blue] as QuPath has it now, or of one number as it had it before."""
    if isinstance(value, int):
        return colour_of(value & 0xFFFFFF)
    if not (isinstance(value, list) and [type(part) for part in value] == [int] * 3):
        return None
    red, green, blue = (part & 255 for part in value)
    return red, green, blue


def write_geojson(path: Path, outlines: Iterator[Outline], crs: str | None) -> None:
    """A FeatureCollection, one feature for each outline.

    Parameters
    ----------
    path
        A new file.
    outlines
        Taken one after the other.
    crs
        Of the coordinates, as WKT; it is stated, unless it is that of RFC 7946. Without: pixels,
        and every class is one of QuPath as well.
    """
    head: dict[str, Any] = {"type": "FeatureCollection"}
    name = name_crs(crs) if crs else None
    if name is not None:
        head["crs"] = {"type": "name", "properties": {"name": name}}
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ', "features": [')
        for number, outline in enumerate(outlines):
            file.write(",\n" if number else "\n")
            json.dump(_feature(outline, crs), file)
        file.write("\n]}\n")


def _feature(outline: Outline, crs: str | None) -> dict[str, Any]:
    polygons = [[ring.tolist() for ring in rings] for rings in outline.polygons]
    geometry: dict[str, Any] = (
        {"type": "Polygon", "coordinates": polygons[0]}
        if len(polygons) == 1
        else {"type": "MultiPolygon", "coordinates": polygons}
    )
    if crs is None and outline.place:
        geometry["plane"] = {"c": -1, "z": 0, "t": 0} | outline.place
    properties: dict[str, Any] = dict(outline.attributes)
    if crs is None and outline.colour is not None:
        name, colour = outline.attributes["class"], list(outline.colour)
        properties |= {
            "objectType": "annotation",
            "classification": {"name": name, "color": colour},
        }
    return {"type": "Feature", "geometry": geometry, "properties": properties}
