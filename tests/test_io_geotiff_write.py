"""GeoTIFF files written: rasterio finds in them what belongs to the image; files to files."""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import overtile
from overtile import io
from overtile.errors import FormatError, MissingError, OutputError
from overtile.file_to_file import PredictOptions
from overtile.image import Georeference, Image
from overtile.io import geotiffwrite
from overtile.legend import Legend
from overtile.sample import draw_sample

rasterio = pytest.importorskip("rasterio", reason="pip install 'overtile[geo]'")

some = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
UTM = rasterio.crs.CRS.from_epsg(32632).to_wkt()
FRAME = Georeference(UTM, (2, 0, 465595.5, 0, -2, 5245788.5))
LEGEND = Legend(("ground", "house", "tree"), ((0, 0, 0), (230, 159, 0), (86, 180, 233)))


def noise(shape: tuple[int, ...], kind: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 100, shape).astype(kind)


class Spy:
    """An array that remembers how many pixels were asked for at once."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.most = 0

    def __getitem__(self, key: Any) -> NDArray[Any]:
        part = self.array[key]
        self.most = max(self.most, part.size)
        return part


@some
@given(
    kind=st.sampled_from(["bool", "uint8", "int8", ">u2", "int32", "uint64", "float16", ">f8"]),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 50)),
    plane=st.booleans(),
    epsg=st.sampled_from([None, 32632, 4326, 2263, 3035]),
    transform=st.tuples(*[st.floats(-1e6, 1e6)] * 6).filter(lambda t: t[0] * t[4] != t[1] * t[3]),
    overviews=st.booleans(),
)
def test_rasterio_and_we_read_back_what_is_written(
    tmp_path: Path, kind: str, shape: Any, plane: bool, epsg: Any, transform: Any, overviews: bool
) -> None:
    array = noise(shape, kind)[0] if plane else noise(shape, kind)
    crs = rasterio.crs.CRS.from_epsg(epsg) if epsg else None
    frame = Georeference(crs.to_wkt() if crs else "", transform)
    names = () if plane else tuple(f"band {n}" for n in range(shape[0]))
    image = Image(array, "yx" if plane else "cyx", frame=frame, channel_names=names)
    path = tmp_path / "a.tif"
    io.write(path, image, overwrite=True, overviews=overviews)
    with rasterio.open(path) as dataset:
        found = dataset.read()
        assert dataset.crs == crs
        assert dataset.transform[:6] == pytest.approx(transform, rel=1e-12)
        assert dataset.descriptions == (names or (None,))
        assert dataset.profile["tiled"]
        assert dataset.profile["compress"] == "deflate"
        assert (dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG") == overviews
    assert np.array_equal(found, array.reshape(found.shape))
    back = io.open(path)
    assert np.array_equal(back.data[()], found if len(found) > 1 else found[0])
    assert back.channel_names == (names if len(found) > 1 else ())


def test_classes_keep_their_colours_names_and_what_is_not_known(tmp_path: Path) -> None:
    ids = noise((40, 50)) % np.uint8(3)
    ids[5:9, 7:20] = 255
    path = tmp_path / "a.tif"
    for overviews in (False, True):
        image = Image(ids, "yx", frame=FRAME)
        how: dict[str, Any] = {"legend": LEGEND, "content": "classes", "overwrite": True}
        io.write(path, image, overviews=overviews, **how)
        with rasterio.open(path) as dataset:
            assert dataset.nodata == 255
            assert np.array_equal(dataset.read_masks(1) == 0, ids == 255)
            colours = [dataset.colormap(1)[number][:3] for number in range(3)]
            assert tuple(colours) == LEGEND.colours
            tags = dataset.tags(1)
            assert [tags[f"CLASS_{number}"] for number in range(3)] == list(LEGEND.names)
        label = io.open(path, as_label=True)
        assert label.data.dtype == np.uint8
        assert np.array_equal(label.data[()], ids)
        assert label.palette == LEGEND.colours
        assert np.array_equal(np.isnan(io.open(path).data[()]), ids == 255)


def test_no_data_is_declared_where_it_can_be(tmp_path: Path) -> None:
    for content, kind, want in (
        ("probabilities", "float32", math.nan),
        ("image", "float64", math.nan),
        ("image", "uint8", None),
        ("objects", "int32", None),
    ):
        path = tmp_path / f"{content}-{kind}.tif"
        io.write(path, Image(noise((9, 11), kind), "yx", frame=FRAME), content=content)
        with rasterio.open(path) as dataset:
            assert dataset.nodata == pytest.approx(want, nan_ok=True)
    array = noise((3, 9, 11), "float32")
    array[:, 2:4, 5] = np.nan
    io.write(tmp_path / "p.tif", Image(array, "cyx", frame=FRAME), content="probabilities")
    assert np.array_equal(io.open(tmp_path / "p.tif").data[()], array, equal_nan=True)


def test_four_bands_are_not_taken_for_colours_and_alpha(tmp_path: Path) -> None:
    """As GDAL would, of bytes."""
    path, array = tmp_path / "a.tif", noise((4, 9, 11)) % np.uint8(2)
    io.write(path, Image(array, "cyx", frame=FRAME))
    assert np.array_equal(io.open(path).data[()], array)
    io.write(tmp_path / "rgb.tif", Image(array[:3], "cyx", frame=FRAME))
    assert tifffile.imread(tmp_path / "rgb.tif").shape == (9, 11, 3)


@pytest.mark.parametrize(("shape", "kind"), [((3, 300, 70), "uint8"), ((4, 300, 70), "float32")])
def test_large_images_are_written_from_one_row_of_tiles_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], kind: str
) -> None:
    monkeypatch.setattr(geotiffwrite, "TILE_PX", 128)
    monkeypatch.setattr(geotiffwrite, "CLASSIC_LIMIT", 10_000)
    spy = Spy(noise(shape, kind))
    io.write(tmp_path / "a.tif", Image(spy, "cyx", frame=FRAME), overviews=True)
    assert spy.most == 128 * 70 * (3 if kind == "uint8" else 1)
    assert np.array_equal(io.open(tmp_path / "a.tif").data[()], spy.array)
    io.write(tmp_path / "b.tif", Image(spy, "cyx", frame=FRAME))
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert tiff.is_bigtiff


def test_smaller_copies_of_ids_hold_no_new_ids(tmp_path: Path) -> None:
    ids = np.kron(noise((30, 40)) % 2, np.full((40, 40), 200)).astype(np.uint8)
    io.write(tmp_path / "a.tif", Image(ids, "yx", frame=FRAME), content="classes", overviews=True)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.overviews(1) == [2, 4]
        copy = dataset.read(1, out_shape=(300, 400))
    assert np.array_equal(np.unique(copy), [0, 200])


def test_what_a_geotiff_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    with pytest.raises(FormatError, match=r"GeoTIFF cannot hold 'zyx'.*one plane"):
        io.write(path, Image(noise((3, 9, 11)), "zyx", frame=FRAME))
    strange = Georeference("Atlantis", FRAME.transform)
    with pytest.raises(FormatError, match=r"no WKT that PROJ knows.*came 'Atlantis'"):
        io.write(path, Image(noise((9, 11)), "yx", frame=strange))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingError, match=r"'rasterio'.*overtile\[geo\]"):
        io.write(path, Image(noise((9, 11)), "yx", frame=FRAME))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("overviews", [False, True])
def test_a_full_disk_is_noticed_even_when_the_file_is_closed(
    tmp_path: Path, overviews: bool
) -> None:
    image = Image(noise((600, 600)), "yx", frame=FRAME)
    io.write(tmp_path / "a.tif", image, overviews=overviews)
    size = (tmp_path / "a.tif").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit in (1000, size // 2, size - 2000, size - 20):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            with pytest.raises(OutputError, match=r"b\.tif cannot be written: \S+"):
                io.write(tmp_path / "b.tif", image, overviews=overviews)
        with pytest.raises(OutputError, match="some of its pixels are missing"):
            io.write(tmp_path / "b.tif", image, overviews=overviews)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("content", ["classes", "probabilities", "objects"])
def test_what_is_predicted_lies_where_the_image_lies(
    tmp_path: Path, model_folder: Path, content: Any
) -> None:
    cells = draw_sample(3, 0, (160, 150))[0]
    source, target = tmp_path / "map.tif", tmp_path / "out.tif"
    with rasterio.open(
        source, "w", driver="GTiff", count=1, width=150, height=160, dtype="uint8",
        crs="EPSG:3035", transform=rasterio.Affine(0.5, 0, 4e6, 0, -0.5, 3e6),
    ) as dataset:  # fmt: skip
        dataset.write(cells, 1)
    model = overtile.load(model_folder, precision="float32")
    model.predict_file(source, target, PredictOptions(content=content, tile_px=48))
    expected = {
        "classes": model.predict,
        "probabilities": model.probabilities,
        "objects": model.objects,
    }[content](cells, tile_px=48)
    with rasterio.open(source) as one, rasterio.open(target) as other:
        assert (other.crs, other.transform, other.bounds) == (one.crs, one.transform, one.bounds)
        assert np.array_equal(other.read().reshape(expected.shape), expected)
        nodata = {"classes": 255, "probabilities": math.nan, "objects": None}[content]
        assert other.nodata == pytest.approx(nodata, nan_ok=True)
        if content == "classes":
            colours = model.legend.colours
            assert [other.colormap(1)[n][:3] for n in range(len(colours))] == list(colours)
