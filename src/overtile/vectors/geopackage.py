"""GeoPackage (.gpkg), by pyogrio: polygons with attributes, on the earth or on an image."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from overtile.errors import FormatError, optional
from overtile.vectors.geojson import of_geometry
from overtile.vectors.outlines import Outline
from overtile.vectors.parsing import expecting
from overtile.vectors.shapes import Annotations, Shape

TEXTS = ("class",)


def read_geopackage(path: Path) -> dict[str, Annotations]:
    """The annotations of the image that the file is given with: those of its first layer.

    Raises
    ------
    FormatError
        It cannot be read, or holds no layer with geometries.
    MissingError
        pyogrio or shapely is not installed.
    """
    pyogrio, shapely = optional("pyogrio", "geo"), optional("shapely", "geo")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what keeps it from being read is raised
            meta, _, geometries, columns = pyogrio.raw.read(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise FormatError(f"{path} is no GeoPackage that can be read: {error}") from error
    if geometries is None:
        raise FormatError(f"{path} holds a table without geometries: expected polygons.")
    found: list[Shape | None] = []
    for number, geometry in enumerate(shapely.from_wkb(geometries)):
        values = {
            name: str(column[number])
            for name, column in zip(meta["fields"], columns, strict=True)
            if column[number] is not None
        }
        with expecting(path, "polygons with attributes"):
            whole = None if geometry is None else shapely.geometry.mapping(geometry)
            found.append(None if whole is None else of_geometry(whole, values))
    shapes = tuple(shape for shape in found if shape is not None)
    left_out = len(found) - len(shapes)
    system = meta["crs"] or "map"
    return {"": Annotations(path.name, shapes, system=system, left_out=left_out)}


def write_geopackage(path: Path, outlines: Iterable[Outline], crs: str | None) -> None:
    """A layer with a row for each outline.

    Parameters
    ----------
    path
        A new file.
    outlines
        All of them are held in memory.
    crs
        Of the coordinates, as WKT; none for pixels.
    """
    pyogrio, shapely = optional("pyogrio", "geo"), optional("shapely", "geo")
    geometries, rows = [], []
    for outline in outlines:
        polygons = [shapely.Polygon(rings[0], rings[1:]) for rings in outline.polygons]
        geometries.append(shapely.to_wkb(shapely.MultiPolygon(polygons)))
        rows.append(outline.attributes)
    fields = list(rows[0]) if rows else []
    columns: list[Any] = [
        np.array([row[field] for row in rows], object if field in TEXTS else np.int64)
        for field in fields
    ]
    # GDAL wants to see the suffix.
    whole = path.with_name(f"{path.name}.gpkg")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)  # pixels have none
        pyogrio.raw.write(
            whole,
            np.array(geometries, object),
            columns,
            fields,
            layer="segments",
            driver="GPKG",
            geometry_type="MultiPolygon",
            crs=crs,
        )
    whole.replace(path)
