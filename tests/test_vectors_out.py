"""Class ids and objects written as shapes: drawn again, and read by other libraries."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from typer.testing import CliRunner

import overtile
from overtile import io, layouts, vectors
from overtile.cli.commands import app
from overtile.errors import FormatError, MissingError, OutputError, SettingsError
from overtile.file_to_file import PredictOptions
from overtile.image import Georeference, Image
from overtile.legend import Legend
from overtile.sample import draw_sample
from overtile.settings import Settings, UNetSettings, WindowSettings
from overtile.vectors.raster import Rings
from overtile.vectors.tracing import trace

LEGEND = Legend(("background", "cell", "soil/wet"), ((0, 0, 0), (10, 20, 30), (40, 50, 60)))

SMALL = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0),
    window=WindowSettings(size_px=32, batch_size=2),
    border="own",
    precision="float32",
    layout="channels_last",
)

ids = st.tuples(st.integers(1, 10), st.integers(1, 10), st.integers(0, 2**32), st.integers(2, 4))


def random_ids(height: int, width: int, seed: int, values: int) -> np.ndarray:
    """With holes, holes in holes, and many contacts by corners."""
    return np.random.default_rng(seed).integers(0, values, (height, width)).astype(np.uint8)


def example() -> np.ndarray:
    values = np.zeros((30, 40), np.uint8)
    values[3:9, 4:20] = 1
    values[5:7, 6:9] = 0
    values[15:20, 0:10] = 2
    values[10, 12] = values[11, 13] = 1  # two regions that touch by a corner
    values[25, 25] = 255  # nothing is known there
    return values


def wkt(code: int) -> str:
    crs = pytest.importorskip("rasterio.crs")
    return str(crs.CRS.from_epsg(code).to_wkt())


def frame(code: int = 32632) -> Georeference:
    return Georeference(wkt(code), (10.0, 0.0, 500000.0, 0.0, -10.0, 5200000.0))


@settings(deadline=None, max_examples=80)
@given(ids)
def test_outlines_drawn_again_cover_the_same_pixels(of: tuple[int, int, int, int]) -> None:
    values = random_ids(*of)
    again = np.zeros_like(values)
    for region in trace(values):
        patch = Rings(region.rings).cover(*values.shape)
        assert patch.mask.sum() == region.area_px
        assert not again[patch.window][patch.mask].any()
        again[patch.window][patch.mask] = region.value
    np.testing.assert_array_equal(again, values)


@settings(deadline=None, max_examples=40)
@given(ids)
def test_outlines_are_valid_polygons_of_face_connected_regions(
    of: tuple[int, int, int, int],
) -> None:
    values = random_ids(*of)
    regions = trace(values)
    for region in regions:
        polygon = shapely.Polygon(region.rings[0], region.rings[1:])
        assert polygon.is_valid
        assert polygon.area == region.area_px
        assert shapely.LinearRing(region.rings[0]).is_ccw
        assert not any(shapely.LinearRing(hole).is_ccw for hole in region.rings[1:])
        corners = np.diff(region.rings[0], axis=0)
        assert (np.count_nonzero(corners, axis=1) == 1).all()
        assert not (corners[1:] * corners[:-1]).any()  # every corner is one
    counted = sum(ndimage.label(values == value)[1] for value in np.unique(values[values > 0]))
    assert len(regions) == counted


@settings(deadline=None, max_examples=25)
@given(ids, st.sampled_from([".geojson", ".zip", ".gpkg"]))
def test_every_format_brings_all_classes_back(
    tmp_path_factory: pytest.TempPathFactory, of: tuple[int, int, int, int], suffix: str
) -> None:
    values = random_ids(*of)
    names = ("background", "a", "b", "c")
    legend = Legend(names, ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)))
    path = tmp_path_factory.getbasetemp() / f"again{suffix}"
    image = Image(values, "yx")
    vectors.write(path, image, content="classes", legend=legend, overwrite=True)
    np.testing.assert_array_equal(vectors.redraw(path, image, legend).data[:], values)


@pytest.mark.parametrize("suffix", [".geojson", ".zip", ".gpkg"])
def test_every_format_brings_objects_of_a_stack_back(tmp_path: Path, suffix: str) -> None:
    values = np.stack([np.where(example() == 255, 0, example())] * 2).astype(np.int32)
    values[1] = np.where(values[1] == 1, 2, values[1] // 2)
    path = tmp_path / f"objects{suffix}"
    image = Image(np.stack([values, values[::-1]]), "tzyx")
    vectors.write(path, image, content="objects")
    again = vectors.redraw(path, image, None).data[:]
    for before, after in zip(
        image.data[:].reshape(4, 30, 40), again.reshape(4, 30, 40), strict=True
    ):
        pairs = {*zip(before.ravel().tolist(), after.ravel().tolist(), strict=True)}
        assert len(pairs) == len(np.unique(before)) == len(np.unique(after))
        np.testing.assert_array_equal(before > 0, after > 0)


def features(path: Path) -> Any:
    return json.loads(path.read_text())["features"]


def test_geojson_of_pixels_is_what_qupath_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    vectors.write(path, Image(example(), "yx"), content="classes", legend=LEGEND)
    content = json.loads(path.read_text())
    assert "crs" not in content
    first = content["features"][0]
    assert first["properties"]["classification"] == {"name": "cell", "color": [10, 20, 30]}
    assert first["properties"]["objectType"] == "annotation"
    areas = {f["properties"]["id"]: f["properties"]["area_px"] for f in content["features"]}
    assert areas == {1: 6 * 16 - 6, 2: 1, 3: 1, 4: 50}
    assert [f["properties"]["class_id"] for f in content["features"]] == [1, 1, 1, 2]
    for one in content["features"]:
        assert shapely.from_geojson(json.dumps(one["geometry"])).is_valid


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg"])
@pytest.mark.parametrize("code", [32632, 4326])
def test_shapes_lie_on_the_map_as_gdal_reads_them(tmp_path: Path, suffix: str, code: int) -> None:
    raw, rasterio = pytest.importorskip("pyogrio.raw"), pytest.importorskip("rasterio")
    features_of = pytest.importorskip("rasterio.features")
    place = frame(code)
    if code == 4326:
        place = replace(place, transform=(0.001, 0.0002, 9.0, 0.0001, -0.001, 47.0))
    path = tmp_path / f"a{suffix}"
    vectors.write(path, Image(example(), "yx", frame=place), content="classes", legend=LEGEND)
    meta, _, geometries, columns = raw.read(path)
    assert meta["crs"] == f"EPSG:{code}"
    fields = dict(zip(meta["fields"], columns, strict=True))
    polygons = shapely.from_wkb(geometries)
    assert fields["class"].tolist() == ["cell"] * 3 + ["soil/wet"]
    pixel = abs(place.transform[0] * place.transform[4] - place.transform[1] * place.transform[3])
    np.testing.assert_allclose(shapely.area(polygons), fields["area_px"] * pixel, rtol=1e-6)
    burnt = features_of.rasterize(
        list(zip(polygons, fields["class_id"].tolist(), strict=True)),
        out_shape=(30, 40),
        transform=rasterio.Affine(*place.transform),
    )
    np.testing.assert_array_equal(burnt, np.where(example() == 255, 0, example()))


def test_geojson_states_its_system_unless_it_is_that_of_the_standard(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    for code, name in ((32632, "urn:ogc:def:crs:EPSG::32632"), (4326, None)):
        image = Image(example(), "yx", frame=frame(code))
        vectors.write(path, image, content="classes", legend=LEGEND, overwrite=True)
        stated = json.loads(path.read_text()).get("crs")
        assert stated == (name and {"type": "name", "properties": {"name": name}})
    # The border of a polygon turns against the clock (RFC 7946, 3.1.6), on the map.
    (border, *holes) = features(path)[0]["geometry"]["coordinates"]
    assert shapely.LinearRing(border).is_ccw
    assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)
    crs = pytest.importorskip("rasterio.crs")
    own = crs.CRS.from_proj4("+proj=tmerc +lat_0=47 +lon_0=9.3 +ellps=bessel").to_wkt()
    image = Image(example(), "yx", frame=replace(frame(), crs=own))
    vectors.write(path, image, content="classes", legend=LEGEND, overwrite=True)
    assert json.loads(path.read_text())["crs"]["properties"]["name"] == own
    expected = np.where(example() == 255, 0, example())
    np.testing.assert_array_equal(vectors.redraw(path, image, LEGEND).data[:], expected)


def test_rois_are_what_imagej_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    vectors.write(path, Image(example(), "yx", frame=frame()), content="classes", legend=LEGEND)
    pierced, single, _, soil = roifile.roiread(path)
    assert [soil.left, soil.top, soil.right, soil.bottom] == [0, 15, 10, 20]
    assert soil.roitype == roifile.ROI_TYPE.POLYGON
    assert sorted(map(tuple, soil.coordinates().tolist())) == [(0, 15), (0, 20), (10, 15), (10, 20)]
    assert (soil.group, soil.properties, soil.name) == (2, {"class": "soil/wet"}, "soil_wet-00004")
    assert soil.hexcolor(soil.stroke_color) == "#28323c"
    assert single.coordinates().min() == 10
    assert pierced.composite
    assert len(pierced.coordinates(multi=True)) == 2


def test_rois_beyond_the_integers_of_imagej_are_exact(tmp_path: Path) -> None:
    values = np.zeros((3, 70000), np.uint8)
    values[1, 40000:69999] = 1
    path = tmp_path / "a.zip"
    image = Image(values, "yx")
    vectors.write(path, image, content="classes", legend=LEGEND)
    np.testing.assert_array_equal(vectors.redraw(path, image, LEGEND).data[:], values)


def test_a_first_class_that_is_no_background_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    legend = Legend(("water", "land"), ((0, 0, 1), (0, 1, 0)), None)
    vectors.write(path, Image(example() % 2, "yx"), content="classes", legend=legend)
    assert {one["properties"]["class"] for one in features(path)} == {"water", "land"}


def test_background_gets_no_shapes_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    legend = Legend(("ground", "house"), ((0, 0, 1), (0, 1, 0)))
    vectors.write(path, Image(example() % 2, "yx"), content="classes", legend=legend)
    assert {one["properties"]["class"] for one in features(path)} == {"house"}


def test_nothing_found_is_an_empty_file(tmp_path: Path) -> None:
    raw = pytest.importorskip("pyogrio.raw")
    image = Image(np.zeros((4, 5), np.int32), "yx", frame=frame())
    for suffix in (".geojson", ".gpkg", ".zip"):
        path = tmp_path / f"a{suffix}"
        vectors.write(path, image, content="objects")
        assert not vectors.redraw(path, image, None).data[:].any()
    assert len(raw.read(tmp_path / "a.gpkg")[2]) == 0


def test_what_cannot_be_shapes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image(example(), "yx")
    with pytest.raises(FormatError, match="shapes of classes or objects, not probabilities"):
        vectors.write(tmp_path / "a.geojson", image, content="probabilities")
    with pytest.raises(FormatError, match=r"ends in \.geojson, \.gpkg, \.zip"):
        vectors.write(tmp_path / "a.roi", image, content="classes", legend=LEGEND)
    (tmp_path / "a.zip").write_bytes(b"kept")
    with pytest.raises(OutputError, match="exists already"):
        vectors.write(tmp_path / "a.zip", image, content="objects")
    monkeypatch.setitem(__import__("sys").modules, "pyogrio", None)
    with pytest.raises(MissingError, match=r"overtile\[geo\]"):
        vectors.write(tmp_path / "a.gpkg", image, content="objects")


# Through prediction


def saved_image(folder: Path, place: Georeference | None = None) -> Path:
    image, _ = draw_sample(3, 0, (96, 80))
    io.write(folder / "cells.tif", Image(image, "yx", frame=place))
    return folder / "cells.tif"


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".zip"])
@pytest.mark.parametrize("content", ["classes", "objects"])
def test_a_prediction_is_written_as_shapes(
    tmp_path: Path, model_folder: Path, suffix: str, content: Any
) -> None:
    place = frame()
    source = saved_image(tmp_path, place)
    model = overtile.load(model_folder)
    model.predict_file(source, tmp_path / "as.tif", PredictOptions(content=content))
    model.predict_file(source, tmp_path / f"as{suffix}", PredictOptions(content=content))
    expected = io.open(tmp_path / "as.tif", as_label=True).data[:]
    assert expected.any()
    legend = model.legend if content == "classes" else None
    like = Image(expected, "yx", frame=place)
    again = vectors.redraw(tmp_path / f"as{suffix}", like, legend).data[:]
    np.testing.assert_array_equal(again > 0, expected > 0)
    assert len(np.unique(again)) == len(np.unique(expected))
    assert not list(tmp_path.glob("*.prediction"))


def test_from_shapes_on_a_map_to_shapes_on_a_map(tmp_path: Path) -> None:
    """Train on polygons in degrees over a GeoTIFF in metres; GDAL finds what is predicted there."""
    raw, rasterio = pytest.importorskip("pyogrio.raw"), pytest.importorskip("rasterio")
    warp, features_of = (
        pytest.importorskip("rasterio.warp"),
        pytest.importorskip("rasterio.features"),
    )
    image, cells = draw_sample(3, 0, (96, 80))
    grown = tmp_path / "field.tif"
    place = frame()
    affine = rasterio.Affine(*place.transform)
    form = {"driver": "GTiff", "height": 96, "width": 80, "count": 1, "dtype": "uint8"}
    with rasterio.open(grown, "w", crs="EPSG:32632", transform=affine, **form) as file:
        file.write(image, 1)
    found = [
        {"type": "Feature", "properties": {"crop": crop}, "geometry": geometry}
        for crop, mask in (("oats", cells % 2 == 1), ("rye", (cells > 0) & (cells % 2 == 0)))
        for shape, value in features_of.shapes(mask.astype(np.uint8), transform=affine)
        if value and (geometry := warp.transform_geom("EPSG:32632", "OGC:CRS84", shape))
    ]
    shapes = tmp_path / "field.geojson"
    shapes.write_text(json.dumps({"type": "FeatureCollection", "features": found}))
    pair = layouts.pairs(grown, shapes)[0]
    np.testing.assert_array_equal(pair.read_label().values, np.where(cells, 2 - cells % 2, 0))
    model = overtile.train(grown, shapes, steps=30, settings=SMALL)
    assert model.meaning.kind == "classes"
    for name in ("out.gpkg", "out.geojson", "out.tif"):
        model.predict_file(grown, tmp_path / name)
    with rasterio.open(tmp_path / "out.tif") as file:
        expected = file.read(1)
    assert len(np.unique(expected)) > 1
    for name in ("out.gpkg", "out.geojson"):
        meta, _, geometries, columns = raw.read(tmp_path / name)
        assert meta["crs"] == "EPSG:32632"
        ids = dict(zip(meta["fields"], columns, strict=True))["class_id"].tolist()
        shown = list(zip(shapely.from_wkb(geometries), ids, strict=True))
        burnt = features_of.rasterize(shown, out_shape=expected.shape, transform=affine)
        np.testing.assert_array_equal(burnt, expected)


def test_classes_that_overlap_are_written_each(tmp_path: Path) -> None:
    layers = np.zeros((2, 9, 12), np.uint8)
    layers[0, 1:5, 1:8] = 1
    layers[1, 3:7, 4:9] = 1
    layers[1, 8, 8] = 255
    legend = Legend(("cell", "nucleus"), LEGEND.colours[:2], None)
    path = tmp_path / "a.geojson"
    vectors.write(path, Image(layers, "cyx"), content="classes", legend=legend)
    areas = {f["properties"]["class"]: f["properties"]["area_px"] for f in features(path)}
    assert areas == {"cell": 28, "nucleus": 20}


def test_probabilities_as_shapes_are_refused_before_the_work(
    tmp_path: Path, model_folder: Path
) -> None:
    model = overtile.load(model_folder)
    options = PredictOptions(content="probabilities")
    with pytest.raises(FormatError, match="not probabilities"):
        model.prepare_file(saved_image(tmp_path), tmp_path / "a.geojson", options)


def test_the_command_line_writes_a_folder_of_shapes(tmp_path: Path, model_folder: Path) -> None:
    images = tmp_path / "in"
    images.mkdir()
    saved_image(images)
    run = CliRunner()
    arguments = ["predict", str(model_folder), str(images), "-o", str(tmp_path / "out")]
    done = run.invoke(
        app,
        [*arguments, "--format", "geojson", "--explain", "--overlay", str(tmp_path / "o")],
    )
    assert done.exit_code == 0, done.output
    assert "Outlines are traced in whole planes" in done.output
    assert features(tmp_path / "out" / "cells.geojson")
    drawn = io.open(tmp_path / "o" / "cells.png").data[:]
    run.invoke(app, [*arguments, "--overlay", str(tmp_path / "p")])
    np.testing.assert_array_equal(drawn, io.open(tmp_path / "p" / "cells.png").data[:])
    single = [*arguments[:2], str(images / "cells.tif"), "-o", str(tmp_path / "a.tif")]
    with pytest.raises(SettingsError, match="--format png is for a folder"):
        run.invoke(app, [*single, "--format", "png"], catch_exceptions=False)
    with pytest.raises(OutputError, match=r"the output is one too: .*a\.gpkg names a file"):
        run.invoke(app, [*arguments[:4], str(tmp_path / "a.gpkg")], catch_exceptions=False)
