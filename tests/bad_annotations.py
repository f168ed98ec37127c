"""A corpus of bad annotations and lists: `python tests/bad_annotations.py FOLDER` makes it.

The table is that of `bad_files`: COCO, LabelMe, GeoJSON, GeoPackage and ROIs as labels of an image;
and what lies beside the images of a data set (lists of pairs, dataset.json, classes.json, lists of
the parts).
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import roifile
import shapely
from bad_files import PERCENT, Case, Row, make, noise, picture, put

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


DAMAGED = (
    "is not JSON, or damaged|cannot be read|is no GeoPackage that can be read|"
    "no regions of ImageJ that can be read"
)
FORM = "is not as expected"


def cases() -> Iterator[Case]:
    """The table of labels of one image, `good.tif`."""
    tables = (truncated(), texts(), cocos(), labelmes(), geojsons(), geopackages(), rois())
    for name, words, made in (row for table in tables for row in table):
        yield Case(name, words, partial(put, made))


def truncated() -> Iterator[Row]:
    """What is left when a copy stops."""
    for name, content in whole().items():
        for percent in PERCENT:
            yield f"{percent}-percent-{name}", DAMAGED, content[: len(content) * percent // 100]


def texts() -> Iterator[Row]:
    """What is no annotation."""
    unknown = f"{DAMAGED}|but no annotations that Overtile knows"
    for suffix in ("json", "geojson", "gpkg", "zip", "roi"):
        yield f"zero-bytes.{suffix}", DAMAGED, b""
        yield f"text.{suffix}", DAMAGED, b"<html>no</html>"
        yield f"binary.{suffix}", DAMAGED, noise(9999).tobytes()
        yield f"pipe.{suffix}", "is a pipe, a socket or a device", os.mkfifo
        yield f"device.{suffix}", "is a pipe", lambda path: path.symlink_to("/dev/zero")
    yield "deep.json", unknown, b"[" * 10**6 + b"]" * 10**6
    yield "deep-objects.json", unknown, b'{"shapes":' * 10**5 + b"1" + b"}" * 10**5
    yield "long-number.json", unknown, b'{"shapes": %s}' % (b"9" * 10**5)
    yield "utf-16.json", unknown, "<html>".encode("utf-16")
    for name, content in {"list": [1], "number": 7, "nothing": None, "object": {}}.items():
        yield f"{name}.json", unknown, json.dumps(content).encode()


def cocos() -> Iterator[Row]:
    """COCO in another form, or with numbers of nonsense."""

    def shaped(segmentation: Any, **changed: Any) -> bytes:
        shape = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}
        return coco(annotations=[shape | changed])

    for name, images in {"number": 7, "text": ["a"], "unnamed": [{"id": 1}]}.items():
        yield f"images-{name}.json", FORM, coco(images=images)
    yield "no-class.json", FORM, shaped([[1, 1, 9, 1, 9, 9]], category_id=77)
    yield "odd-count.json", FORM, shaped([[1, 1, 9, 1, 9]])
    yield "words.json", FORM, shaped([["a", "b", "c", "d", "e", "f"]])
    yield "long-words.json", FORM, shaped([["a" * 10**5, 1] * 3])
    for name, number in {"nan": np.nan, "infinite": np.inf, "far": 1e30, "huge": 10**400}.items():
        yield f"{name}.json", FORM, shaped([[number, 1, 9, 1, 9, 9]])
    yield "outside.json", "lie outside", shaped([[900, 900, 990, 900, 990, 990]])
    square, rest = [SIZE, SIZE], SIZE * SIZE
    for name, counts in {
        "short": [1, 2, 3],
        "negative": [-5, rest + 5],
        "overflow": [2**62, 2**62, 2**62, 2**62],
    }.items():
        yield f"{name}-runs.json", "counts", shaped({"size": square, "counts": counts})
    yield "wide-runs.json", "counts|OverflowError|int", shaped({"size": square, "counts": [10**30]})
    yield "odd-runs.json", "counts", shaped({"size": square, "counts": "\u00ff\u00ff"})
    yield "endless-runs.json", "counts", shaped({"size": square, "counts": "o" * 10**5})
    yield (
        "large-runs.json",
        "expected equal sizes",
        shaped({"size": [10**6] * 2, "counts": [10**12]}),
    )
    image = {"id": 1, "file_name": "good.tif"}
    size = image | {"height": 10**6, "width": 10**6}
    yield "large-image.json", "is for an image of 1000000 x 1000000", coco(images=[size])
    yield (
        "wide-image.json",
        "is for an image|OverflowError|int",
        coco(images=[image | {"height": 10**300, "width": 1}]),
    )


def labelmes() -> Iterator[Row]:
    """LabelMe in another form."""
    shape = {"label": "cell", "shape_type": "polygon"}
    yield "shapes-text.json", FORM, labelme(shapes="abc")
    yield "no-points.json", FORM, labelme(shapes=[shape])
    yield "no-label.json", FORM, labelme(shapes=[{"points": SQUARE}])
    for name, points in {"flat": [1, 2, 3], "deep": [[[[1]]]], "odd": [[1, 2], [3]]}.items():
        yield f"points-{name}.json", FORM, labelme(shapes=[shape | {"points": points}])
    yield "size-text.json", FORM, labelme(imageHeight="tall")
    yield "size-infinite.json", FORM, labelme(imageHeight=np.inf)
    yield "other-size.json", "is for an image of 10 x 64", labelme(imageHeight=10)


def geojsons() -> Iterator[Row]:
    """GeoJSON in another form."""

    def collection(geometry: Any) -> bytes:
        return geojson(features=[{"type": "Feature", "properties": None, "geometry": geometry}])

    nested: Any = {"type": "Polygon", "coordinates": [SQUARE]}
    text = json.dumps(nested)
    for _ in range(400):
        text = f'{{"type": "GeometryCollection", "geometries": [{text}]}}'
    feature = f'{{"type": "FeatureCollection", "features": [{{"geometry": {text}}}]}}'
    yield "collections.geojson", f"{FORM}|{DAMAGED}|cell", (feature * 2).encode()
    yield "features.geojson", FORM, geojson(features=7)
    yield "no-geometry.geojson", FORM, geojson(features=[{"type": "Feature"}])
    yield "flat.geojson", FORM, collection({"type": "Polygon", "coordinates": SQUARE})
    yield (
        "outside.geojson",
        "lie outside",
        collection({"type": "Polygon", "coordinates": [[[900, 900], [990, 900], [990, 990]]]}),
    )
    name = {"type": "name", "properties": {"name": "EPSG:99999999"}}
    yield "system.geojson", "lie on the earth", geojson(crs=name)
    yield "no-system.geojson", FORM, geojson(crs=7)


def geopackages() -> Iterator[Row]:
    """Data bases of other kinds."""

    def base(path: Path) -> None:
        with closing(sqlite3.connect(path)) as opened:
            opened.execute("create table a (b)")
            opened.commit()

    yield "base.gpkg", DAMAGED, base
    content = bytearray(geopackage())
    content[4096:] = bytes(len(content) - 4096)
    yield "first-page.gpkg", DAMAGED, bytes(content)


def rois() -> Iterator[Row]:
    """Sets of nothing, bombs, and regions that are cut."""
    damaged = "no regions of ImageJ that can be read"
    yield "empty.roi", damaged, roi()[:8]
    yield "no-name.roi", "name exceeds data size", roi()[:-3]
    yield "images.zip", "none of them a .roi", named_zip("a.png", b"\x89PNG")
    yield "text.roi.zip", damaged, archive(a=b"<html>no</html>")
    yield "bomb.zip", "would become", named_zip("a.roi", bytes(2**28))
    many = archive(**{f"r{number}": roi() + bytes(2**20) for number in range(64)})
    yield "many-bombs.zip", f"{damaged}|would become", many
    secret = bytearray(archive(a=roi()))
    secret[6] |= 1
    secret[secret.rindex(b"PK\x01\x02") + 8] |= 1
    yield "secret.zip", damaged, bytes(secret)
    made = roifile.ImagejRoi.frompoints(np.array(SQUARE, np.float32) + 30_000)
    yield "far.roi", "lie outside", made.tobytes()


def named_zip(name: str, content: bytes) -> bytes:
    """A zip of one file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(name, content)
    return file.getvalue()


# ── what lies beside the images of a data set ─────────────────────────────────────────────────


def lists() -> Iterator[Case]:
    """The table of data sets, each a folder."""
    for name, content in {
        "empty": b"",
        "binary": noise(9999).tobytes(),
        "utf-16": "<html>".encode("utf-16"),
        "deep": b"[" * 10**5,
        "long-number": b'{"labels": %s}' % (b"9" * 10**5),
        "list": b"[1, 2]",
    }.items():
        words = "cannot be read as JSON|describes no data set"
        yield Case(f"dataset-{name}", words, partial(_nnunet, content))
        if name != "list":
            words = "cannot be read as a table of classes"
            yield Case(f"classes-{name}", words, partial(_folders, content))
    for name, content in {
        "empty": b"",
        "binary": noise(9999).tobytes(),
        "utf-16": "image,label".encode("utf-16"),
        "one-column": b"image\na.png\n",
        "no-rows": b"image,label\n",
        "gone": b"image,label\ngone.png,gone.png\n",
        "no-text": b"image,label\na\0b.png,c.png\n",
        "long-name": b"image,label\n" + b"x" * 9999 + b",c.png\n",
        "long-cell": b"image,label\n" + b"x" * 10**6 + b",c.png\n",
        "pipe": b"image,label\npipe.png,pipe.png\n",
        "itself": b"image,label\npairs.csv,pairs.csv\n",
        "odd-part": b"image,label,split\na.png,a.png,nonsense\n",
    }.items():
        words = (
            "CSV of pairs|begins with|lists no image|there is no file|is a pipe|suffix|is no part"
        )
        yield Case(f"pairs-{name}.csv", words, partial(_pairlist, content))
    words = "cannot be read as a list of names"
    yield Case("voc-binary", words, partial(_voc, noise(9999).tobytes()))
    yield Case("voc-utf-16", words, partial(_voc, "a".encode("utf-16")))


PICTURE = picture("PNG", (np.arange(SIZE * SIZE) % 2).reshape(SIZE, SIZE).astype(np.uint8))


def _nnunet(content: bytes, folder: Path) -> None:
    for kind in ("imagesTr/a_0000.png", "labelsTr/a.png"):
        (folder / kind).parent.mkdir(parents=True)
        (folder / kind).write_bytes(PICTURE)
    (folder / "dataset.json").write_bytes(content)


def _folders(content: bytes, folder: Path) -> None:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "a.png").write_bytes(PICTURE)
    (folder / "classes.json").write_bytes(content)


def _pairlist(content: bytes, path: Path) -> None:
    if b"pipe" in content:
        os.mkfifo(path.parent / "pipe.png")
    (path.parent / "a.png").write_bytes(PICTURE)
    path.write_bytes(content.replace(b"pairs.csv", path.name.encode()))


def _voc(content: bytes, folder: Path) -> None:
    for kind in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / kind).mkdir(parents=True)
    for kind in ("JPEGImages", "SegmentationClass"):
        (folder / kind / "a.png").write_bytes(PICTURE)
    (folder / "ImageSets/Segmentation/train.txt").write_bytes(content)


CASES, LISTS = list(cases()), list(lists())

if __name__ == "__main__":
    make(CASES + LISTS, Path(sys.argv[1]))
