"""Coordinates of the earth to pixels of an image, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from overtile.errors import DataError, optional
from overtile.image import Georeference, Image
from overtile.vectors.raster import Points, Rings
from overtile.vectors.shapes import Annotations, Shape

LONGITUDE_LATITUDE = "OGC:CRS84"
"""What the coordinates of a GeoJSON are that states no other system (RFC 7946, section 4)."""

FARTHEST_LONGITUDE = 360.0
"""Beyond it no coordinate is in degrees; up to it, where a map continues past 180."""

Move = Callable[[Points], Points]


def place(annotations: Annotations, like: Image) -> tuple[Shape, ...]:
    """The shapes with their coordinates in pixels of an image.

    Raises
    ------
    DataError
        They lie on the earth and the image does not, or in a system that is not known.
    MissingError
        rasterio is not installed.
    """
    frame, shapes = like.frame, annotations.shapes
    if annotations.system == "pixels" or not shapes:
        return shapes
    if not isinstance(frame, Georeference):
        if annotations.system in ("map", "unstated"):
            return shapes
        raise DataError(
            f"The shapes of {annotations.origin} lie on the earth ({annotations.system[:40]}), and "
            "their image does not say where it does: expected a GeoTIFF with its georeference, or "
            "coordinates in pixels."
        )
    to_map = _to_map(annotations, frame)
    to_pixels = _pixels_of(frame)
    return tuple(_moved(shape, lambda corners: to_pixels(to_map(corners))) for shape in shapes)


def _moved(shape: Shape, move: Move) -> Shape:
    moved = [part.moved(move) if isinstance(part, Rings) else part for part in shape.parts]
    return replace(shape, parts=tuple(moved))


def _to_map(annotations: Annotations, frame: Georeference) -> Move:
    """From the coordinates of the shapes to those of the image's map."""
    source = annotations.system
    if source == "map" or not frame.crs:
        return lambda corners: corners
    if source == "unstated":
        _check_degrees(annotations)
        source = LONGITUDE_LATITUDE
    rasterio = optional("rasterio", "geo")
    warp = optional("rasterio.warp", "geo")
    with rasterio.Env():
        try:
            known = [rasterio.crs.CRS.from_user_input(crs) for crs in (source, frame.crs)]
        except rasterio.errors.CRSError as error:
            raise DataError(
                f"{annotations.origin} states the coordinate reference system '{source[:40]}', "
                "which is not known: expected a name such as EPSG:32632, or WKT."
            ) from error

    def move(corners: Points) -> Points:
        try:
            with rasterio.Env():
                moved = np.array(warp.transform(*known, *corners.T.tolist()))
        except optional("rasterio._err", "geo").CPLE_BaseError:  # what GDAL says has no public name
            moved = np.array([np.inf])
        if not np.isfinite(moved).all():
            x, y = corners[0]
            raise DataError(
                f"{annotations.origin} has a shape at {x:.6g}, {y:.6g} ({source[:40]}), which is "
                "beyond what the coordinate reference system of its image can express: expected "
                "shapes near the image. Clip them to its surroundings."
            )
        return np.asarray(moved.T)

    return move


def _check_degrees(annotations: Annotations) -> None:
    """Refuse what cannot be longitude and latitude."""
    boxes = np.array([part.box for shape in annotations.shapes for part in shape.parts])
    if np.abs(boxes[:, ::2]).max() > FARTHEST_LONGITUDE or np.abs(boxes[:, 1::2]).max() > 90:
        raise DataError(
            f"{annotations.origin} has coordinates such as {boxes[0, 0]:g}, {boxes[0, 1]:g}, and "
            "no 'crs': GeoJSON then means longitude and latitude in degrees. Export it again with "
            "these, or with a 'crs'; for shapes in pixels, give an image without georeference."
        )


def to_world(frame: Georeference) -> Move:
    """From pixels of an image to the coordinates of its map."""
    a, b, c, d, e, f = frame.transform
    matrix, origin = np.array([[a, b], [d, e]]), np.array([c, f])
    return lambda corners: np.asarray(corners @ matrix.T + origin)


def _pixels_of(frame: Georeference) -> Move:
    """From the coordinates of a map to pixels."""
    a, b, c, d, e, f = frame.transform
    if a * e == b * d:
        raise DataError(
            f"The georeference {frame.transform} of an image has pixels without area: expected "
            "one that can be undone."
        )
    matrix, origin = np.linalg.inv(np.array([[a, b], [d, e]])), np.array([c, f])
    return lambda corners: np.asarray((corners - origin) @ matrix.T)


def name_crs(wkt: str) -> str | None:
    """How a GeoJSON names a system: as a URN, or as WKT; None for longitude and latitude.

    Raises
    ------
    MissingError
        rasterio is not installed.
    """
    rasterio = optional("rasterio", "geo")
    with rasterio.Env():
        authority = rasterio.crs.CRS.from_wkt(wkt).to_authority()
    if authority is None:
        return wkt
    name, code = authority
    known = (name, code) in {("EPSG", "4326"), ("OGC", "CRS84")}
    return None if known else f"urn:ogc:def:crs:{name}::{code}"
