"""A corpus of bad annotations and lists: `python tests/bad_annotations.py FOLDER` makes it.

The table is that of `bad_files`: COCO, LabelMe, GeoJSON, GeoPackage and ROIs as labels of an image;
and what lies beside the images of a data set (lists of pairs, dataset.json, classes.json, lists of
the parts).
"""

from __future__ import annotations

import io
import json
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import roifile
import shapely

SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]
SIZE = 64


def coco(**changed: Any) -> bytes:
    """One image, `good.tif`, with two polygons and a mask in runs."""
    flat = [number for corner in SQUARE for number in corner]
    rest = SIZE * SIZE - 100 - 50
    shape = {"image_id": 1, "category_id": 1, "iscrowd": 0}
    about: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "good.tif", "height": SIZE, "width": SIZE}],
        "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "nucleus"}],
        "annotations": [
            shape | {"id": 1, "segmentation": [flat]},
            shape | {"id": 2, "segmentation": [flat], "category_id": 2},
            shape | {"id": 3, "segmentation": {"size": [SIZE] * 2, "counts": [100, 50, rest]}},
        ],
    }
    return json.dumps(about | changed).encode()


def labelme(**changed: Any) -> bytes:
    """The file of one image, with two polygons and a circle."""
    shape = {"label": "cell", "points": SQUARE, "group_id": None, "shape_type": "polygon"}
    round_one = {"shape_type": "circle", "points": [[30, 30], [40, 30]], "label": "nucleus"}
    about = {"imagePath": "good.tif", "imageHeight": SIZE, "imageWidth": SIZE}
    shapes = {"shapes": [shape, shape | {"label": "nucleus"}, shape | round_one]}
    return json.dumps(about | shapes | changed).encode()


def geojson(**changed: Any) -> bytes:
    """Two polygons, one with a hole."""
    rings = [[*SQUARE, SQUARE[0]], [[15, 15], [20, 15], [20, 20], [15, 15]]]
    shapes = [
        {
            "type": "Feature",
            "properties": {"class": name, "plane": 0},
            "geometry": {"type": "Polygon", "coordinates": coordinates},
        }
        for name, coordinates in (("cell", rings), ("nucleus", rings[:1]))
    ]
    return json.dumps({"type": "FeatureCollection", "features": shapes} | changed).encode()


def geopackage() -> bytes:
    """Two polygons that pyogrio writes."""
    shapes = np.array([shapely.to_wkb(shapely.Polygon(SQUARE))] * 2, object)
    names = np.array(["cell", "nucleus"], object)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.gpkg"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")
            pyogrio.raw.write(path, shapes, [names], ["class"], geometry_type="Polygon")
        return path.read_bytes()


def roi(**changed: Any) -> bytes:
    """A region that roifile writes."""
    made = roifile.ImagejRoi.frompoints(np.array(SQUARE, np.float32) + 0.5, name="cell")
    for name, value in changed.items():
        setattr(made, name, value)
    return bytes(made.tobytes())


def archive(**members: bytes) -> bytes:
    """A zip of files that end in .roi."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(f"{name}.roi", content)
    return file.getvalue()


def whole() -> dict[str, bytes]:
    """A good file of each kind."""
    return {
        "coco.json": coco(),
        "labelme.json": labelme(),
        "plain.geojson": geojson(),
        "map.gpkg": geopackage(),
        "set.zip": archive(a=roi(), b=roi(name="nucleus", position=1)),
        "one.roi": roi(),
    }
