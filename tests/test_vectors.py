"""Annotations by shapes, read: against brute force, shapely, and files of other libraries."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import overtile
from overtile import io, layouts, vectors
from overtile.cli.commands import app
from overtile.errors import DataError, FormatError
from overtile.image import Georeference, Image
from overtile.labels import UNLABELLED_VALUE, LabelMeaning
from overtile.layouts import Pairs
from overtile.settings import Settings, UNetSettings, WindowSettings
from overtile.vectors.coco import unpack
from overtile.vectors.drawing import UNLABELLED_OBJECT
from overtile.vectors.geojson import parse_geojson
from overtile.vectors.raster import Ellipse, Rings, Runs

SQUARE = [[2, 3], [9, 3], [9, 8], [2, 8]]
"""Its pixels: rows 3 to 7, columns 2 to 8."""


def square(height: int = 20, width: int = 24) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[3:8, 2:9] = True
    return mask


def plane(height: int = 20, width: int = 24, frame: Georeference | None = None) -> Image:
    return Image(np.zeros((height, width), np.uint8), "yx", frame=frame)


def drawn(path: Path, like: Image | None = None, kind: Any = "auto") -> np.ndarray:
    (found,) = vectors.open(path).values()
    meaning = vectors.understand_shapes([found], kind)
    return vectors.Drawing(found, meaning).draw(like or plane()).data[:]


def cover(part: Any, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    patch = part.cover(height, width)
    mask[patch.window] = patch.mask
    return mask


def is_inside(x: float, y: float, rings: list[np.ndarray]) -> bool:
    """Even-odd by the definition: crossings of a ray to the left, edge by edge."""
    crossings = 0
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if (y0 <= y) != (y1 <= y):
                upper, lower = ((x0, y0), (x1, y1)) if y0 < y1 else ((x1, y1), (x0, y0))
                share = (lower[0] - upper[0]) / (lower[1] - upper[1])
                crossings += upper[0] + (y - upper[1]) * share <= x
    return crossings % 2 == 1


numbers = st.one_of(
    st.integers(-4, 16).map(float), st.integers(-8, 32).map(lambda n: n / 2), st.floats(-5, 20)
)
rings_of_any_form = st.lists(
    st.lists(st.tuples(numbers, numbers), min_size=3, max_size=7).map(np.array),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=60)
@given(rings_of_any_form, st.integers(1, 12), st.integers(1, 12))
def test_a_pixel_belongs_to_rings_around_its_centre(
    rings: list[np.ndarray], height: int, width: int
) -> None:
    # Self-intersecting ones, holes, and what reaches beyond the image among them.
    expected = [[is_inside(x + 0.5, y + 0.5, rings) for x in range(width)] for y in range(height)]
    np.testing.assert_array_equal(cover(Rings(tuple(rings)), height, width), expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32))
def test_polygons_with_holes_cover_what_shapely_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 12)))
    around = np.column_stack([np.cos(angles), np.sin(angles)])
    border = around * random.uniform(4, 9, (len(angles), 1)) + [10, 9]
    hole = around * random.uniform(1, 3, (len(angles), 1)) + [10, 9]
    shape = shapely.Polygon(border, [hole])
    if not shape.is_valid:
        return
    y, x = np.indices((18, 21)) + 0.5
    found = cover(Rings((border, hole)), 18, 21)
    np.testing.assert_array_equal(found, shapely.contains_xy(shape, x, y))


def test_polygons_that_share_an_edge_leave_no_gap_and_do_not_overlap() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        corners = random.integers(0, 12, (3, 2)).astype(float)
        fourth = random.integers(0, 12, 2).astype(float)
        counts = np.zeros((12, 12), int)
        # The triangles of a point with the edges of another cover it once, or cancel.
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            counts += cover(Rings((np.array([a, b, fourth]),)), 12, 12)
        whole = cover(Rings((corners,)), 12, 12)
        np.testing.assert_array_equal(counts % 2, whole)


@settings(deadline=None, max_examples=30)
@given(*[st.floats(-3, 12)] * 2, *[st.floats(0.1, 9)] * 2)
def test_an_ellipse_covers_the_centres_inside_it(x: float, y: float, rx: float, ry: float) -> None:
    rows, columns = np.indices((11, 9)) + 0.5
    inside = ((columns - x) / rx) ** 2 + ((rows - y) / ry) ** 2 < 1
    np.testing.assert_array_equal(cover(Ellipse(x, y, rx, ry), 11, 9), inside)


def pack(lengths: list[int]) -> str:
    """Lengths of runs as COCO compresses them: the inverse, from the description of the format."""
    text = ""
    for place, length in enumerate(lengths):
        number = length - (lengths[place - 2] if place > 2 else 0)
        while True:
            five, number = number & 31, number >> 5
            done = number == (-1 if five & 16 else 0)
            text += chr(48 + five + (0 if done else 32))
            if done:
                break
    return text


def runs_of(mask: np.ndarray) -> list[int]:
    """Pixel by pixel down the columns."""
    lengths, inside = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != inside:
            lengths.append(0)
            inside = not inside
        lengths[-1] += 1
    return lengths


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 10**7), max_size=20))
def test_compressed_lengths_come_back(lengths: list[int]) -> None:
    assert unpack(pack(lengths)).tolist() == lengths


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32))
def test_runs_go_down_the_columns(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    part = Runs(np.array(runs_of(mask)), height, width)
    np.testing.assert_array_equal(cover(part, height, width), mask)


# The formats


def coco(images: list[dict[str, Any]], annotations: list[dict[str, Any]], *names: str) -> Any:
    categories = [{"id": 3 * n + 1, "name": name} for n, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def flat(points: Any) -> list[float]:
    return [float(number) for point in points for number in point]


def save(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def write_image(path: Path, height: int = 20, width: int = 24, **more: Any) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width), np.uint8)
    io.write(path, Image(pixels, "yx", **more))
    return path


def read_labels(pairs: Pairs) -> list[np.ndarray]:
    return [pair.read_label().values for pair in pairs]


def test_coco_draws_polygons_and_runs_as_classes(tmp_path: Path) -> None:
    cell = square()
    crowd = np.zeros((20, 24), bool)
    crowd[15:, 20:] = True
    hole = np.zeros((20, 24), bool)
    hole[5, 5] = True
    content = coco(
        [{"id": 7, "file_name": "a.png", "height": 20, "width": 24}],
        [
            # Two polygons of one object; where they overlap, it is the object too.
            {"image_id": 7, "category_id": 4, "segmentation": [flat(SQUARE), flat(SQUARE)]},
            {
                "image_id": 7,
                "category_id": 1,
                "segmentation": {"size": [20, 24], "counts": pack(runs_of(hole))},
            },
            {
                "image_id": 7,
                "category_id": 1,
                "iscrowd": 1,
                "segmentation": {"size": [20, 24], "counts": runs_of(crowd)},
            },
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 3, 3]},
        ],
        "soil",
        "cell",
    )
    image, file = write_image(tmp_path / "a.png"), save(tmp_path / "set.json", content)
    pairs = layouts.pairs(image, file)
    expected = np.where(cell, 2, 0)
    expected[hole], expected[crowd] = 1, UNLABELLED_VALUE
    np.testing.assert_array_equal(read_labels(pairs)[0], expected)
    assert pairs.hints.kind == "classes"
    assert [(hint.name, hint.value) for hint in pairs.hints.classes] == [
        ("background", 0),
        ("soil", 1),
        ("cell", 2),
    ]
    assert pairs.hints.ignored == (UNLABELLED_VALUE,)
    assert "1 shapes are left out" in pairs.how
    forced = layouts.drawn_as(pairs, "instances")
    assert forced.hints.kind == "instances"
    assert np.unique(read_labels(forced)[0]).tolist() == [0, 1, 2, UNLABELLED_OBJECT]


def test_one_category_is_drawn_as_objects_unless_classes_are_asked_for(tmp_path: Path) -> None:
    second = [[x + 10, y] for x, y in SQUARE]
    annotations = [
        {"image_id": 1, "category_id": 1, "segmentation": [flat(points)]}
        for points in (SQUARE, second)
    ]
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    file = save(tmp_path / "set.json", coco(images, annotations, "cell"))
    for name in "ab":
        write_image(tmp_path / f"{name}.png")
    pairs = layouts.pairs(tmp_path, file)
    assert pairs.names == ["a", "b"]
    label, empty = read_labels(pairs)
    expected = square() + 2 * np.roll(square(), 10, axis=1)
    np.testing.assert_array_equal(label, expected)
    assert not empty.any()
    assert pairs.hints.kind == "instances"
    classes = layouts.drawn_as(pairs, "classes")
    np.testing.assert_array_equal(read_labels(classes)[0], expected > 0)
    # A folder with this one file, or the folder of the images with it, stand for it.
    np.testing.assert_array_equal(read_labels(layouts.pairs(tmp_path, tmp_path))[0], expected)


def test_coco_finds_images_in_folders_and_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    write_image(tmp_path / "train" / "a.png")
    names = ["train/a.png", "/somewhere/else/b.png", "../c.png"]
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    file = save(tmp_path / "set.json", coco(images, [], "cell"))
    with pytest.raises(DataError, match=r"2 annotations have no image: /somewhere.*c\.png"):
        layouts.pairs(tmp_path, file)
    for name in "bc":
        write_image(tmp_path / f"{name}.png")
    assert layouts.pairs(tmp_path, file).names == ["b", "c", "train/a"]
    write_image(tmp_path / "d.png")
    with pytest.raises(DataError, match=r"1 images have no annotations in .*set\.json: d\.png"):
        layouts.pairs(tmp_path, file)
    with pytest.raises(DataError, match=r"annotations of 3 images, none of them d\.png"):
        layouts.pairs(tmp_path / "d.png", file)
    assert len(layouts.pairs(tmp_path / "c.png", file)) == 1


def labelme(shapes: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"shapes": shapes, "imagePath": "a.png", "imageHeight": 20, "imageWidth": 24} | more


def test_labelme_draws_polygons_rectangles_and_circles(tmp_path: Path) -> None:
    shapes = [
        {"label": "cell", "points": SQUARE, "shape_type": "polygon"},
        {"label": "soil", "points": [[20, 12], [12, 16]], "shape_type": "rectangle"},
        {"label": "cell", "points": [[18, 5], [18, 8]], "shape_type": "circle"},
        {"label": "__ignore__", "points": [[0, 18], [4, 20]], "shape_type": "rectangle"},
        {"label": "_background_", "points": [[2, 3], [4, 5]], "shape_type": "rectangle"},
        {"label": "cell", "points": [[1, 1]], "shape_type": "point"},
        {"label": "cell", "points": [[1, 1], [1, 1]], "shape_type": "circle"},
        {"label": "cell", "points": [[1, 1], [5, 5]], "shape_type": "polygon"},
    ]
    write_image(tmp_path / "a.png")
    save(tmp_path / "a.json", labelme(shapes, imagePath="..\\images\\a.png"))
    expected = square().astype(int)
    expected[12:16, 12:20] = 2
    y, x = np.indices((20, 24)) + 0.5
    expected[(x - 18) ** 2 + (y - 5) ** 2 < 9] = 1
    expected[18:20, 0:4] = UNLABELLED_VALUE
    expected[3:5, 2:4] = 0
    pairs = layouts.pairs(tmp_path, tmp_path)
    np.testing.assert_array_equal(read_labels(pairs)[0], expected)
    assert [hint.name for hint in pairs.hints.classes] == ["background", "cell", "soil"]
    assert "3 shapes are left out" in pairs.how


def test_a_group_of_labelme_is_one_object(tmp_path: Path) -> None:
    halves = [[[2, 3], [5, 3], [5, 8], [2, 8]], [[5, 3], [9, 3], [9, 8], [5, 8]]]
    shapes = [{"label": "cell", "points": half, "group_id": 4} for half in halves]
    shapes.append({"label": "cell", "points": [[15, 15], [18, 15], [18, 18]], "group_id": None})
    label = drawn(save(tmp_path / "a.json", labelme(shapes)))
    np.testing.assert_array_equal(label == 1, square())
    assert np.unique(label).tolist() == [0, 1, 2]


def test_annotations_of_another_size_are_refused(tmp_path: Path) -> None:
    shapes = [{"label": "cell", "points": SQUARE}]
    file = save(tmp_path / "a.json", labelme(shapes, imageHeight=24, imageWidth=20))
    with pytest.raises(DataError, match=r"image of 24 x 20 pixels, and this one has 20 x 24"):
        drawn(file)


def collection(*features: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features), **more}


def feature(points: Any, **properties: Any) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [[*points, points[0]]]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def wkt(code: int) -> str:
    crs = pytest.importorskip("rasterio.crs")
    return str(crs.CRS.from_epsg(code).to_wkt())


def to_map(points: Any, frame: Georeference, code: int) -> list[list[float]]:
    """Pixels on a map in another system, by rasterio itself."""
    rasterio = pytest.importorskip("rasterio")
    warp = pytest.importorskip("rasterio.warp")
    affine = rasterio.Affine(*frame.transform)
    x, y = zip(*[affine @ tuple(map(float, point)) for point in points], strict=True)
    return np.transpose(warp.transform(frame.crs, f"EPSG:{code}", x, y)).tolist()


def test_geojson_without_georeference_is_in_pixels(tmp_path: Path) -> None:
    hole = [[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]
    area = feature(SQUARE)
    area["geometry"]["coordinates"].append(hole)
    expected = square()
    expected[4:6, 4:6] = False
    np.testing.assert_array_equal(drawn(save(tmp_path / "a.geojson", collection(area))), expected)
    # A bare feature, a bare geometry, and QuPath's list mean the same.
    for content in (area, area["geometry"], [area]):
        np.testing.assert_array_equal(drawn(save(tmp_path / "b.json", content)), expected)


def test_qupath_says_class_colour_and_plane(tmp_path: Path) -> None:
    tumor = feature(SQUARE, classification={"name": "Tumor", "color": [200, 0, 0]})
    other = feature(
        [[12, 3], [19, 3], [19, 8], [12, 8]], classification={"name": "Gland", "colorRGB": 1}
    )
    other["properties"]["color"] = 255
    nowhere = {"type": "Feature", "geometry": None, "properties": {}}
    line = {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}}
    tumor["geometry"]["plane"] = {"c": -1, "z": 1, "t": 0}
    many = {"type": "GeometryCollection", "geometries": [other["geometry"]]}
    other["geometry"] = many
    file = save(tmp_path / "a.geojson", collection(tumor, other, nowhere, line))
    stack = Image(np.zeros((3, 20, 24), np.uint8), "zyx")
    label = drawn(file, stack)
    gland = np.roll(square(), 10, axis=1)
    np.testing.assert_array_equal(label, [gland, gland + 2 * square(), gland])
    (found,) = vectors.open(file).values()
    hints = vectors.understand_shapes([found]).hints.classes
    assert [(h.name, h.value, h.colour) for h in hints[1:]] == [
        ("Gland", 1, (0, 0, 255)),
        ("Tumor", 2, (200, 0, 0)),
    ]
    assert found.left_out == 2


@pytest.mark.parametrize(
    ("properties", "names"),
    [
        ([{"class": "a"}, {"class": "b"}, {}], ["a", "b", "unnamed"]),
        ([{"Label": "b", "name": "x"}, {"Label": "a", "name": "x"}] * 2, ["a", "b"]),
        (
            [{"crop": "oats", "id": n} for n in range(3)] + [{"crop": "rye", "id": 9}],
            ["oats", "rye"],
        ),
        ([{"name": f"house {n}"} for n in range(4)], ["object"]),
        (
            [{"classification": "oats"}, {"classification": "rye", "color": ["r"]}] * 2,
            ["oats", "rye"],
        ),
        ([{"a": "x", "b": "y"}, {"a": "y", "b": "x"}] * 2, ["object"]),
        ([{}, {}], ["object"]),
    ],
)
def test_the_class_is_a_property(
    tmp_path: Path, properties: list[dict[str, Any]], names: list[str]
) -> None:
    file = save(tmp_path / "a.geojson", collection(*[feature(SQUARE, **one) for one in properties]))
    meaning = vectors.understand_shapes([vectors.open(file)[""]])
    assert [name for name, value in meaning.values.items() if value] == names
    assert meaning.kind == ("classes" if len(names) > 1 else "instances")


def frame() -> Georeference:
    return Georeference(wkt(32632), (10.0, 0.0, 500000.0, 0.0, -10.0, 5200000.0))


def test_geojson_over_a_map_is_longitude_and_latitude_or_says_what(tmp_path: Path) -> None:
    place = frame()
    degrees = collection(feature(to_map(SQUARE, place, 4326)))
    metres = collection(
        feature(to_map(SQUARE, place, 25833)),
        crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::25833"}},
    )
    for content in (degrees, metres):
        file = save(tmp_path / "a.geojson", content)
        np.testing.assert_array_equal(drawn(file, plane(frame=place)), square())
    with pytest.raises(DataError, match="their image does not say where"):
        drawn(file)
    metres["crs"]["properties"]["name"] = "nonsense"
    with pytest.raises(DataError, match="'nonsense', which is not known"):
        drawn(save(tmp_path / "a.geojson", metres), plane(frame=place))
    pixels = save(tmp_path / "a.geojson", collection(feature([[x * 90, y] for x, y in SQUARE])))
    with pytest.raises(DataError, match="means longitude and latitude in degrees"):
        drawn(pixels, plane(frame=place))
    far = save(tmp_path / "a.geojson", collection(feature([[99, 0], [99, 1], [98, 1]])))
    with pytest.raises(DataError, match=r"a shape at 99, 0 .* beyond what the coordinate"):
        drawn(far, plane(frame=place))
    flat_pixels = Georeference(place.crs, (10.0, 5.0, 0.0, 20.0, 10.0, 0.0))
    with pytest.raises(DataError, match="pixels without area"):
        drawn(save(tmp_path / "a.geojson", degrees), plane(frame=flat_pixels))


def test_geopackages_are_read_in_their_system(tmp_path: Path) -> None:
    raw = pytest.importorskip("pyogrio.raw")
    place = frame()
    path = tmp_path / "a.gpkg"
    polygon = shapely.Polygon(to_map(SQUARE, place, 25833))
    shapes = np.array([shapely.to_wkb(polygon), shapely.to_wkb(shapely.Point(1, 2)), None], object)
    kinds = np.array(["oats", "rye", None], object)
    raw.write(path, shapes, [kinds], ["class"], crs="EPSG:25833", geometry_type="Unknown")
    np.testing.assert_array_equal(drawn(path, plane(frame=place)), square())
    (found,) = vectors.open(path).values()
    assert found.left_out == 2
    assert found.shapes[0].properties == {"class": "oats"}
    raw.write(path, None, [kinds], ["class"], geometry_type=None, crs=None, driver="GPKG")
    with pytest.raises(FormatError, match="table without geometries"):
        vectors.open(path)
    path.write_bytes(b"no database")
    with pytest.raises(FormatError, match="no GeoPackage that can be read"):
        vectors.open(path)


def roi(points: Any = SQUARE, **more: Any) -> roifile.ImagejRoi:
    found = roifile.ImagejRoi.frompoints(np.array(points))
    found.name = ""
    for name, value in more.items():
        setattr(found, name, value)
    return found


def box(kind: roifile.ROI_TYPE, **more: Any) -> roifile.ImagejRoi:
    return roifile.ImagejRoi(roitype=kind, left=2, top=3, right=9, bottom=8, **more)


def test_rois_of_imagej_are_drawn(tmp_path: Path) -> None:
    kinds = roifile.ROI_TYPE
    polygon, rectangle, oval = roi(roitype=kinds.POLYGON), box(kinds.RECT), box(kinds.OVAL)
    composite = box(kinds.RECT)
    path: list[float] = []
    for ring in (SQUARE, [[4, 4], [6, 4], [6, 6], [4, 6]]):
        path += [0, *ring[0], *[v for point in ring[1:] for v in (1, *point)], 4]
    composite.multi_coordinates = np.array(path, np.float32)
    composite.shape_roi_size = len(path)
    precise = roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    fine = box(kinds.OVAL, options=precise, xd=2.5, yd=3.5, widthd=6.0, heightd=4.0, version=227)
    y, x = np.indices((20, 24)) + 0.5
    pierced = square()
    pierced[4:6, 4:6] = False
    for one, expected in (
        (polygon, square()),
        (rectangle, square()),
        (oval, ((x - 5.5) / 3.5) ** 2 + ((y - 5.5) / 2.5) ** 2 < 1),
        (composite, pierced),
        (fine, ((x - 5.5) / 3) ** 2 + ((y - 5.5) / 2) ** 2 < 1),
        (roi(np.array(SQUARE) + 0.25), square()),
    ):
        one.tofile(tmp_path / "one.roi")
        np.testing.assert_array_equal(drawn(tmp_path / "one.roi"), expected)


def test_a_zip_of_rois_names_classes_and_planes(tmp_path: Path) -> None:
    kinds = roifile.ROI_TYPE
    curved = box(kinds.RECT, multi_coordinates=np.array([0, 1, 1, 3, 1, 2, 3, 4, 5, 6], np.float32))
    curved.shape_roi_size = 10
    regions = [
        roi(group=2, position=2, name="0002-0005-0005", stroke_color=b"\xff\x01\x02\x03"),
        roi([[12, 3], [19, 3], [19, 8], [12, 8]], group=1),
        roi(roitype=kinds.POINT),
        box(kinds.OVAL, name="flat"),
        curved,
    ]
    regions[3].right = regions[3].left
    path = tmp_path / "RoiSet.zip"
    roifile.roiwrite(path, regions, name=[f"{n}" for n in range(5)])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._1.roi", b"resource fork")
    right = np.roll(square(), 10, axis=1)
    stack = Image(np.zeros((3, 20, 24), np.uint8), "zyx")
    expected = np.array([right, right + 2 * square(), right])
    np.testing.assert_array_equal(drawn(path, stack), expected)
    found = vectors.open(path)[""]
    assert found.left_out == 3
    assert found.shapes[0].colour == (1, 2, 3)
    # As a film whose planes are counted along both axes.
    regions[0].z_position, regions[0].t_position = 3, 2
    roifile.roiwrite(path, regions[:1], mode="w")
    film = Image(np.zeros((2, 3, 20, 24), np.uint8), "tzyx")
    assert np.argwhere(drawn(path, film).any(axis=(2, 3))).tolist() == [[1, 2]]
    with pytest.raises(DataError, match=r"lies in z 2, t 1 .* image of 2 planes \(t\)"):
        drawn(path, Image(np.zeros((2, 20, 24), np.uint8), "tyx"))
    assert drawn(path).any()  # a single plane is the one that was meant


def test_repeated_names_of_rois_are_classes(tmp_path: Path) -> None:
    names = ["cell", "cell", "soil", "soil"]
    roifile.roiwrite(tmp_path / "a.zip", [roi(name=n) for n in names], name=list("abcd"))
    meaning = vectors.understand_shapes([vectors.open(tmp_path / "a.zip")[""]])
    assert (meaning.kind, meaning.key) == ("classes", "name")


# Damage


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON, or damaged"),
        ("[" * 100000, "is not JSON, or damaged"),
        ('{"a": 1}', "no annotations that Overtile knows"),
        ('{"images": 3, "annotations": []}', "expected COCO"),
        ('{"images": [], "annotations": [{}]}', "there is no 'image_id'"),
        ('{"shapes": [{"label": "a"}]}', "there is no 'points'"),
        ('{"shapes": [{"label": "a", "points": [[1, "b"]]}]}', "expected LabelMe"),
        ('{"shapes": [{"label": "a", "points": [[1, NaN], [2, 3], [4, 5]]}]}', "finite x and y"),
        ('{"shapes": [{"label": "a", "points": [[1, 1e300], [2, 3], [4, 5]]}]}', "finite x and y"),
        ('{"shapes": [{"label": "a", "points": [1, 2, 3]}]}', "no list of finite x and y"),
        ('{"type": "FeatureCollection", "features": [3]}', "expected GeoJSON"),
        ('{"type": "FeatureCollection", "features": 3}', "expected GeoJSON"),
        ('{"type": "Feature", "geometry": {"type": "Polygon"}}', "there is no 'coordinates'"),
    ],
)
def test_damaged_json_is_refused_in_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(FormatError, match=words):
        vectors.open(path)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ("1~", "'~' does not occur"),
        ("1P", "end within a number"),
        ("P" * 20, "beyond any image"),
        ([[1, 2]], "no list of lengths"),
        ([3, 4], "counts 7 pixels of 20 x 24"),
        ([500, -20], "counts 480 pixels of 20 x 24"),
    ],
)
def test_damaged_runs_are_refused(tmp_path: Path, counts: Any, words: str) -> None:
    mask = {"image_id": 1, "category_id": 1, "segmentation": {"size": [20, 24], "counts": counts}}
    file = save(tmp_path / "a.json", coco([{"id": 1, "file_name": "a.png"}], [mask], "cell"))
    with pytest.raises(DataError, match=words):
        drawn(file)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    mask = {
        "image_id": 1,
        "category_id": 1,
        "segmentation": {"size": [10**6, 10**6], "counts": [1]},
    }
    file = save(tmp_path / "a.json", coco([{"id": 1, "file_name": "a.png"}], [mask], "cell"))
    with pytest.raises(DataError, match="1000000 x 1000000 pixels, and its image 20 x 24"):
        drawn(file)


def test_damaged_rois_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK not a zip")
    with pytest.raises(FormatError, match="no regions of ImageJ that can be read"):
        vectors.open(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.txt", "x")
    with pytest.raises(FormatError, match=r"none of them a \.roi"):
        vectors.open(path)
    whole = roi().tobytes()
    for end in (0, 10, 64, 70):
        (tmp_path / "a.roi").write_bytes(whole[:end])
        with pytest.raises(FormatError, match="no regions of ImageJ that can be read"):
            vectors.open(tmp_path / "a.roi")
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        vectors.open(tmp_path / "none.zip")
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        vectors.open(tmp_path / "none.json")
    with pytest.raises(FormatError, match="no file of annotations that Overtile knows"):
        vectors.open(tmp_path / "a.svg")


def test_shapes_outside_the_image_are_refused_if_all_are(tmp_path: Path) -> None:
    outside = feature([[x + 100, y] for x, y in SQUARE])
    with pytest.raises(DataError, match=r"All 1 shapes .* lie outside .* x from 102 to 109"):
        drawn(save(tmp_path / "a.geojson", collection(outside)))
    file = save(tmp_path / "a.geojson", collection(outside, feature(SQUARE)))
    np.testing.assert_array_equal(drawn(file) > 0, square())
    assert not drawn(save(tmp_path / "a.geojson", collection())).any()


# Layouts


def test_folders_of_annotations_are_paired_by_stem(tmp_path: Path) -> None:
    images, shapes = tmp_path / "images", tmp_path / "shapes"
    images.mkdir()
    shapes.mkdir()
    for name in "ab":
        write_image(images / f"{name}.tif")
        save(shapes / f"{name}.geojson", collection(feature(SQUARE)))
    pairs = layouts.pairs(images, shapes)
    assert pairs.names == ["a", "b"]
    for label in read_labels(pairs):
        np.testing.assert_array_equal(label, square())
    save(shapes / "b.json", labelme([]))
    with pytest.raises(DataError, match=r"several annotations of one name: b\.geojson"):
        layouts.pairs(images, shapes)
    (shapes / "b.geojson").unlink()
    (shapes / "b.json").unlink()
    with pytest.raises(DataError, match=r"1 images have no annotations .*: b\.tif"):
        layouts.pairs(images, shapes)
    roifile.roiwrite(shapes / "b.zip", [roi()])
    save(shapes / "c.json", labelme([]))
    with pytest.raises(DataError, match=r"1 annotations have no image: c\.json"):
        layouts.pairs(images, shapes)
    (shapes / "c.json").unlink()
    assert len(layouts.pairs(images, shapes)) == 2
    with pytest.raises(DataError, match="There is no file or folder"):
        layouts.pairs(tmp_path / "none.tif", shapes / "b.zip")


def test_one_map_of_shapes_is_drawn_onto_every_tile(tmp_path: Path) -> None:
    file = save(tmp_path / "all.geojson", collection(feature(SQUARE)))
    for name in "ab":
        write_image(tmp_path / f"{name}.png")
    pairs = layouts.pairs(tmp_path, file)
    assert len(pairs) == 2
    assert all((label == square()).all() for label in read_labels(pairs))


def test_a_stack_has_a_label_for_each_plane_and_a_volume_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 20, 24), np.uint8)
    io.write(tmp_path / "a.tif", Image(pixels, "zyx"))
    roifile.roiwrite(tmp_path / "a.zip", [roi(position=2)])
    pairs = layouts.pairs(tmp_path / "a.tif", tmp_path / "a.zip")
    assert pairs.names == ["a[0]", "a[1]", "a[2]"]
    assert [label.any() for label in read_labels(pairs)] == [False, True, False]
    (volume,) = read_labels(layouts.pairs(tmp_path / "a.tif", tmp_path / "a.zip", 3))
    np.testing.assert_array_equal(volume[1], square())


def test_annotations_beside_images_are_a_layout(tmp_path: Path) -> None:
    for name in ("a2", "a10"):
        write_image(tmp_path / f"{name}.png")
        save(tmp_path / f"{name}.json", labelme([{"label": "cell", "points": SQUARE}]))
    found = layouts.pairs(tmp_path)
    assert (found.layout, found.names) == ("annotations", ["a2", "a10"])
    for name in ("a2", "a10"):
        save(tmp_path / f"{name}.json", {"exposure_ms": 3})  # what a microscope says
    assert layouts.pairs(tmp_path).layout == ""


def test_a_folder_of_images_and_one_coco_file_are_a_layout(tmp_path: Path) -> None:
    content = coco([{"id": 1, "file_name": "a.png"}], [], "cell")
    write_image(tmp_path / "a.png")
    save(tmp_path / "_annotations.coco.json", content)
    assert layouts.pairs(tmp_path).layout == "annotations"
    (tmp_path / "images").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "images" / "a.png")
    assert layouts.pairs(tmp_path).names == ["a"]
    shapes = tmp_path / "shapes"
    shapes.mkdir()
    (tmp_path / "_annotations.coco.json").rename(shapes / "set.json")
    assert layouts.pairs(tmp_path / "images", shapes).names == ["a"]
    assert layouts.pairs(tmp_path).layout == "annotations"
    with pytest.raises(DataError, match="is a folder, and what was given with it is not"):
        layouts.pairs(tmp_path / "images" / "a.png", shapes)


def test_labels_that_are_images_are_drawn_as_they_are() -> None:
    label = np.eye(6, dtype=np.uint8)
    pairs = layouts.pairs(label, label)
    assert layouts.drawn_as(pairs, "instances") is pairs


def test_classes_keep_the_values_that_a_model_learnt(tmp_path: Path) -> None:
    names = ["soil", "cell", "weed"]
    for name, label in zip("abc", names, strict=True):
        save(tmp_path / f"{name}.json", labelme([{"label": label, "points": SQUARE}]))
    read = [next(iter(vectors.open(tmp_path / f"{name}.json").values())) for name in "abc"]
    values = vectors.understand_shapes(read).values
    learnt = LabelMeaning("classes", (0, *[values[n] for n in names]), ("background", *names), "")
    for one, name in zip(read, names, strict=True):
        again = vectors.understand_shapes([one], learnt)
        assert (again.kind, again.values[name]) == ("classes", values[name])
    other = LabelMeaning("classes", (0, 7), ("background", "cell"), "")
    assert vectors.understand_shapes(read, other).values["soil"] == 8


@pytest.mark.parametrize("form", ["coco", "labelme", "geojson", "rois"])
def test_a_network_trains_on_annotations(tmp_path: Path, form: str) -> None:
    image, cells = overtile.sample.draw_sample(0, 0, (64, 64))
    io.write(tmp_path / "a.tif", Image(image, "yx"))
    polygons = []
    for number in np.unique(cells)[1:]:
        y, x = np.nonzero(cells == number)
        polygons.append([[x.min(), y.min()], [x.max() + 1, y.min()], [x.max() + 1, y.max() + 1]])
    polygons = [[[int(v) for v in point] for point in points] for points in polygons]
    files = {
        "coco": ("set.json", None),
        "labelme": ("a.json", None),
        "geojson": ("a.geojson", None),
        "rois": ("a.zip", None),
    }
    path = tmp_path / files[form][0]
    if form == "rois":
        roifile.roiwrite(
            path, [roi(points) for points in polygons], name=list(map(str, range(len(polygons))))
        )
    elif form == "coco":
        annotations = [
            {"image_id": 1, "category_id": 1, "segmentation": [flat(points)]} for points in polygons
        ]
        save(path, coco([{"id": 1, "file_name": "a.tif"}], annotations, "cell"))
    elif form == "labelme":
        shapes = [{"label": "cell", "points": points} for points in polygons]
        save(path, labelme(shapes, imageHeight=64, imageWidth=64))
    else:
        save(path, collection(*[feature(points) for points in polygons]))
    model = overtile.train(
        tmp_path / "a.tif",
        path,
        steps=2,
        settings=Settings(
            network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0),
            window=WindowSettings(size_px=32, batch_size=1),
            border="own",
            precision="float32",
            layout="channels_last",
        ),
    )
    assert model.meaning.kind == "instances"
    scores = overtile.evaluate(model, tmp_path / "a.tif", path)
    assert "AP at 0.5" in scores.pooled


def test_the_command_line_checks_annotations(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    second = [[x + 10, y] for x, y in SQUARE]
    shapes = [{"label": "cell", "points": points} for points in (SQUARE, second)]
    save(tmp_path / "a.json", labelme(shapes))
    run = CliRunner()
    for paths, words in (
        ([tmp_path], "Layout annotations"),
        ([tmp_path / "a.tif", tmp_path / "a.json"], "drawn from a.json"),
    ):
        done = run.invoke(app, ["check", *map(str, paths)])
        assert done.exit_code == 0, done.output
        assert words in done.output
        assert "is an object (up to 2 in a label)" in done.output
        done = run.invoke(app, ["check", *map(str, paths), "--labels-are", "classes"])
        assert "Each value is a class" in done.output


def test_collections_inside_of_each_other_have_an_end(tmp_path: Path) -> None:
    """Deeper than Python calls functions; the JSON of later versions may be."""
    nested: Any = {"type": "Polygon", "coordinates": [SQUARE]}
    for _ in range(5000):
        nested = {"type": "GeometryCollection", "geometries": [nested]}
    with pytest.raises(FormatError, match=r"is not as expected \(maximum recursion depth"):
        parse_geojson(tmp_path / "a.geojson", [{"type": "Feature", "geometry": nested}])


def test_names_of_very_many_digits_are_ordered(tmp_path: Path) -> None:
    """Python makes no number of more than 4300 of them."""
    shapes = [{"label": f"{n}" * 5000, "points": SQUARE} for n in (2, 1)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"shapes": shapes}))
    assert set(np.unique(drawn(path))) == {0, 1}  # the first covers the second
