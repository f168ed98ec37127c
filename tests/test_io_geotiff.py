"""GeoTIFF and VRT read as rasterio, tifffile and a definition by loops say; missing pixels."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io
from overtile.errors import FormatError, MissingError
from overtile.image import Georeference
from overtile.io import rasters

rasterio = pytest.importorskip("rasterio", reason="pip install 'overtile[geo]'")

some = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
UTM = "EPSG:32632"
PLACE = rasterio.Affine(2, 0, 465595.5, 0, -3, 5245788.5)
TURNED = rasterio.Affine(2, 0.5, 465595.5, 1, -3, 5245788.5)


def noise(shape: tuple[int, ...], kind: str = "uint8", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 100, shape).astype(kind)


def write(path: Path, array: NDArray[Any], **how: Any) -> Path:
    """What rasterio writes of an array (c y x)."""
    more: dict[str, Any] = {"crs": UTM, "transform": PLACE, "photometric": "minisblack"} | how
    mask, alpha = more.pop("mask", None), more.pop("alpha", False)
    count, height, width = array.shape
    form = {"driver": "GTiff", "count": count, "height": height, "width": width}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=more.pop("inside", True)),
        rasterio.open(path, "w", dtype=array.dtype.name, **form, **more) as dataset,
    ):
        if alpha:
            kinds = rasterio.enums.ColorInterp
            dataset.colorinterp = [kinds.gray] * (count - 1) + [kinds.alpha]
        dataset.write(array)
        if mask is not None:
            dataset.write_mask(mask)
    return path


@some
@given(data=st.data())
def test_what_rasterio_writes_comes_back_whole_and_by_window(
    tmp_path: Path, data: st.DataObject
) -> None:
    shape = tuple(data.draw(st.integers(1, n)) for n in (5, 40, 50))
    kinds = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
    array = noise(shape, data.draw(st.sampled_from(kinds)))
    tiled = {"tiled": True, "blockxsize": 16, "blockysize": 32}
    crs = data.draw(st.sampled_from([None, UTM, "EPSG:4326", "EPSG:2263"]))
    transform = data.draw(st.sampled_from([PLACE, TURNED, rasterio.Affine(0.5, 0, 7, 0, 0.5, 50)]))
    how: dict[str, Any] = {
        "crs": crs,
        "transform": transform,
        "interleave": data.draw(st.sampled_from(["pixel", "band"])),
        "compress": data.draw(st.sampled_from([None, "deflate", "lzw"])),
        **data.draw(st.sampled_from([{}, tiled])),
    }
    image = io.open(write(tmp_path / "a.tif", array, **how))
    array = array if len(array) > 1 else array[0]
    assert image.axes == "cyx"[-array.ndim :]
    assert image.data.dtype == array.dtype
    assert image.data.shape == array.shape
    assert np.array_equal(image.data[()], array)
    key = tuple(
        slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))))
        for n in array.shape
    )
    assert np.array_equal(image.data[key], array[key])
    assert np.array_equal(image.data[-1, ::-2], array[-1, ::-2])
    assert isinstance(image.frame, Georeference)
    assert image.frame.transform == transform[:6]
    if crs is None:
        assert (image.frame.crs, image.spacing) == ("", None)
        return
    wanted = rasterio.crs.CRS.from_user_input(crs)
    assert rasterio.crs.CRS.from_wkt(image.frame.crs) == wanted
    corner, right, below = (np.array(transform @ place) for place in ((0, 0), (1, 0), (0, 1)))
    sides = np.array([np.linalg.norm(below - corner), np.linalg.norm(right - corner)])
    foot = 1200 / 3937  # the U.S. survey foot in metres, by its definition
    if wanted.is_projected:
        assert image.spacing == pytest.approx(sides * (foot if crs == "EPSG:2263" else 1))
        assert image.unit == "meter"
    else:
        assert image.spacing is None


@some
@given(
    kind=st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]),
    bands=st.integers(1, 3),
    value=st.sampled_from([0, 7, 255, -9999, np.nan, -3.4028234663852886e38]),
    seed=st.integers(0, 99),
)
def test_pixels_without_data_are_missing_in_all_channels(
    tmp_path: Path, kind: str, bands: int, value: float, seed: int
) -> None:
    """In all bands at once for values that can be measured, in any band for others."""
    info = np.iinfo(kind) if "int" in kind else np.finfo(kind)
    if not (np.isnan(value) and "float" in kind) and not info.min <= value <= info.max:
        value = 0
    random = np.random.default_rng(seed)
    array = np.where(random.random((bands, 9, 11)) < 0.5, value, noise((bands, 9, 11)))
    array = array.astype(kind)
    image = io.open(write(tmp_path / "a.tif", array, nodata=value))
    assert image.data.dtype == (np.float64 if kind in ("int32", "float64") else np.float32)
    held = np.isnan(array) if np.isnan(value) else array == np.asarray(value, kind)
    want = array.astype(image.data.dtype)
    for y, x in np.ndindex(9, 11):
        pixel = held[:, y, x]
        if pixel.all() if value == 0 or "u" in kind else pixel.any():
            want[:, y, x] = np.nan
    want = want if bands > 1 else want[0]
    assert np.array_equal(image.data[()], want, equal_nan=True)
    assert np.array_equal(image.data[-1, 2:7], want[-1, 2:7], equal_nan=True)


@pytest.mark.parametrize("inside", [True, False])
def test_masks_of_any_kind_are_heeded(tmp_path: Path, inside: bool) -> None:
    array, mask = noise((2, 30, 40), "uint16"), noise((30, 40)) > 30
    path = write(tmp_path / "a.tif", array, mask=mask, inside=inside)
    assert (tmp_path / "a.tif.msk").exists() != inside
    want = np.where(mask, array, np.float32(np.nan))
    assert np.array_equal(io.open(path).data[()], want, equal_nan=True)
    assert np.array_equal(io.open(path, as_label=True).data[1, 5:], want[1, 5:], equal_nan=True)


def test_a_mask_counts_without_a_place_too(tmp_path: Path) -> None:
    mask = noise((30, 40)) > 30
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write(tmp_path / "a.tif", noise((1, 30, 40)), crs=None, transform=None, mask=mask)
    image = io.open(tmp_path / "a.tif")
    assert (image.frame, image.spacing) == (None, None)
    assert np.array_equal(np.isnan(image.data[()]), ~mask)


def test_alpha_masks_and_is_no_channel(tmp_path: Path) -> None:
    opaque = (noise((30, 40)) > 30).astype(np.uint8) * np.uint8(255)
    array = np.concatenate([noise((3, 30, 40)), opaque[None]])
    image = io.open(write(tmp_path / "a.tif", array, alpha=True))
    want = np.where(opaque > 0, array[:3], np.float32(np.nan))
    assert np.array_equal(image.data[()], want, equal_nan=True)


def test_near_infrared_declared_as_alpha_is_a_channel(tmp_path: Path) -> None:
    array = noise((4, 300, 700))
    image = io.open(write(tmp_path / "a.tif", array, alpha=True))
    assert image.data.dtype == np.uint8
    assert np.array_equal(image.data[()], array)


def test_labels_keep_their_background_and_what_is_not_labelled(tmp_path: Path) -> None:
    ids = noise((1, 9, 11)) % np.uint8(3)
    for value, kind, kept in ((0, "uint8", True), (255, "uint8", True), (2, "uint8", False)):
        array = np.where(ids == 2, value, ids).astype(kind)
        label = io.open(write(tmp_path / "a.tif", array, nodata=value), as_label=True)
        assert (label.data.dtype == kind) == kept
        want = array[0] if kept else np.where(array[0] == value, np.nan, array[0])
        assert np.array_equal(label.data[()], want, equal_nan=True)
    label = io.open(write(tmp_path / "a.tif", ids.astype("int16"), nodata=255), as_label=True)
    assert np.array_equal(label.data[()], ids[0])


def test_a_colour_table_is_the_palette_of_a_label(tmp_path: Path) -> None:
    ids = noise((1, 9, 11)) % np.uint8(3)
    colours = {0: (9, 8, 7, 255), 1: (0, 0, 0, 255), 2: (255, 0, 3, 255)}
    path = write(tmp_path / "a.tif", ids, photometric="palette")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, colours)
    label = io.open(path, as_label=True)
    assert label.palette == tuple(colour[:3] for colour in colours.values())
    assert np.array_equal(label.data[()], ids[0])
    assert io.open(path).palette == ()


def test_names_of_bands_are_those_of_channels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise((2, 5, 6)))
    assert io.open(path).channel_names == ()
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("red", "near infrared")
    assert io.open(path).channel_names == ("red", "near infrared")
    path = write(tmp_path / "b.tif", noise((1, 5, 6)))
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("Band 1",)
    assert io.open(path).channel_names == ()  # without an axis of channels, none has a name


def test_a_world_file_places_a_plain_tiff(tmp_path: Path) -> None:
    """ESRI's six lines: a, d, b, e, and the centre of the first pixel."""
    array = noise((9, 11))
    tifffile.imwrite(tmp_path / "a.tif", array)
    (tmp_path / "a.tfw").write_text("2\n0\n0\n-4\n101\n298\n")
    image = io.open(tmp_path / "a.tif")
    assert image.frame == Georeference("", (2, 0, 100, 0, -4, 300))
    assert np.array_equal(image.data[()], array)


def test_ground_control_points_alone_are_no_frame(tmp_path: Path) -> None:
    points = [rasterio.control.GroundControlPoint(r, c, c, r) for r, c in ((0, 0), (0, 5), (5, 0))]
    path = write(tmp_path / "a.tif", noise((1, 6, 6)), transform=None, gcps=points)
    assert io.open(path).frame is None


def test_real_tiles_equal_what_tifffile_reads(shared_data: Path) -> None:
    paths = [*(shared_data / "geotiff").glob("*.tif"), *(shared_data / "multiband").glob("*.tif")]
    assert len(paths) == 4
    for path in paths:
        image, want = io.open(path), np.moveaxis(tifffile.imread(path), -1, 0)
        assert image.by_window
        assert np.array_equal(image.data[()], want)
        assert np.array_equal(image.data[1:, 500:600, 37:-100:3], want[1:, 500:600, 37:-100:3])
        with rasterio.open(path) as dataset:
            assert image.frame == Georeference(dataset.crs.to_wkt(), dataset.transform[:6])
            assert image.spacing == pytest.approx(dataset.res[::-1])


def test_a_large_strip_is_not_read_by_window(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("overtile.io.segments.LARGE_BYTES", 1000)
    path = write(tmp_path / "a.tif", noise((1, 40, 50)), compress="deflate", blockysize=40)
    assert not io.open(path).by_window


def test_many_threads_read_at_once_and_few_files_stay_open(tmp_path: Path) -> None:
    array = noise((3, 200, 300))
    paths = [
        write(tmp_path / f"{n}.tif", array + np.uint8(n), tiled=True, compress="deflate")
        for n in range(20)
    ]
    images = [io.open(path) for path in paths]
    barrier = threading.Barrier(8)

    def read(number: int) -> bool:
        barrier.wait(60)
        rows = slice(number, number + 150)
        return all(
            np.array_equal(image.data[:, rows], (array + np.uint8(n))[:, rows])
            for n, image in enumerate(images)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
    assert len(rasters._IDLE) <= rasters.MOST_IDLE


def test_a_file_that_was_replaced_is_read_anew_and_readers_are_pickled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise((1, 20, 30)))
    assert np.array_equal(io.open(path).data[()], noise((20, 30)))
    write(path, noise((1, 20, 30), seed=1))
    copy = pickle.loads(pickle.dumps(io.open(path)))
    assert np.array_equal(copy.data[()], noise((20, 30), seed=1))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="no processes are forked there")
def test_forked_processes_do_not_share_an_open_file(tmp_path: Path) -> None:
    array = noise((1, 400, 300))
    image = io.open(write(tmp_path / "a.tif", array, blockysize=1))
    assert np.array_equal(image.data[:2], array[0, :2])  # the file stays open
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_compare, args=(image.data, array[0])) for _ in range(3)]
    for child in children:
        child.start()
    _compare(image.data, array[0])
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]


def _compare(data: Any, want: NDArray[Any]) -> None:
    for row in range(len(want)):
        assert np.array_equal(data[row], want[row])


@pytest.mark.parametrize("compress", [None, "deflate"])
def test_no_truncated_geotiff_is_taken_for_a_whole_one(
    tmp_path: Path, compress: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.tif", noise((3, 40, 50)), nodata=0, compress=compress)
    content = path.read_bytes()
    for end in np.linspace(1, len(content) - 1, 25).astype(int):
        path.write_bytes(content[:end])
        with pytest.raises(FormatError, match=r"a\.tif (is damaged|is empty|is named)"):
            io.open(path).data[()]
    assert not caplog.records


def test_without_rasterio_a_geotiff_has_its_values_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = noise((4, 9, 11))
    plain = write(tmp_path / "a.tif", array)
    masked = write(tmp_path / "b.tif", array, nodata=0)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    image = io.open(plain)
    assert image.frame is None
    assert np.array_equal(image.data[()], array)
    with pytest.raises(MissingError, match=r"b\.tif has pixels that count as missing.*\[geo\]"):
        io.open(masked)
