"""Large images written from bands, and what can be created to be written by parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io
from overtile.errors import DataError, FormatError, OutputError
from overtile.image import Image
from overtile.io import pyramid, tiffwrite
from overtile.io.pyramid import Reduced
from overtile.legend import Legend

some = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def noise(shape: tuple[int, ...], kind: str = "uint8", seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    return (random.normal(0, 50, shape) + 100).astype(kind)


class Spy:
    """An array that remembers how many pixels were asked for at once."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.most = 0

    def __getitem__(self, key: Any) -> NDArray[Any]:
        part = self.array[key]
        self.most = max(self.most, part.size)
        return part


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image is written as a large one, in tiles of 32 px, with smaller copies to 20 px."""
    monkeypatch.setattr(tiffwrite, "SMALL_BYTES", 0)
    monkeypatch.setattr(tiffwrite, "CLASSIC_LIMIT", 3000)
    monkeypatch.setattr(tiffwrite, "TILE_PX", 32)
    monkeypatch.setattr(pyramid, "SMALLEST_PX", 20)
    monkeypatch.setattr(pyramid, "ROWS", 16)


@pytest.mark.usefixtures("small_is_large")
@some
@given(
    axes=st.sampled_from(["yx", "zyx", "cyx", "czyx", "tczyx"]),
    kind=st.sampled_from(["bool", "uint8", ">u2", "int32", "float32"]),
    name=st.sampled_from(["a.tif", "a.ome.tif"]),
    overviews=st.booleans(),
    height=st.integers(1, 70),
)
def test_a_large_tiff_is_read_back_by_us_and_by_tifffile(
    tmp_path: Path, axes: str, kind: str, name: str, overviews: bool, height: int
) -> None:
    path = tmp_path / name
    array = noise(tuple({"t": 2, "c": 3, "z": 4, "y": height, "x": 45}[a] for a in axes), kind)
    io.write(path, Image(array, axes), overwrite=True, overviews=overviews)
    image = io.open(path)
    assert image.axes == axes
    assert np.array_equal(image.data[()], array)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff or array.nbytes <= 3000
        assert tiff.is_ome == (name == "a.ome.tif")
        series = tiff.series[0]
        # tifffile takes copies for such only where z is halved too, but for OME-TIFF.
        levels = series.levels if len(tiff.series) == 1 else tiff.series
        assert len(tiff.series) == 1 or ("z" in axes and overviews)
        assert series.keyframe.is_tiled
        rgb = axes == "cyx" and kind == "uint8"
        found = np.moveaxis(series.asarray(), -1, 0) if rgb else series.asarray()
        assert np.array_equal(np.squeeze(found), np.squeeze(array))
        last = levels[-1].keyframe  # of 20 px, or as small as the smaller side allows
        assert not overviews or max(last.imagewidth, last.imagelength) <= 20 or height < 8
        assert overviews or len(levels) == 1
        for number, level in enumerate(levels):
            data = np.moveaxis(level.asarray(), -1, 0) if rgb else level.asarray()
            reduced = Reduced(array, 2**number)[()] if number else array
            assert np.array_equal(np.squeeze(data), np.squeeze(reduced))


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("axes", ["zyx", "cyx"])
def test_a_large_tiff_is_written_from_one_band_at_a_time(tmp_path: Path, axes: str) -> None:
    spy = Spy(noise((3, 200, 100)))
    io.write(tmp_path / "a.tif", Image(spy, axes), overviews=True)
    assert spy.most == 32 * 100 * (3 if axes == "cyx" else 1)
    assert np.array_equal(io.open(tmp_path / "a.tif").data[()], spy.array)


@pytest.mark.usefixtures("small_is_large")
def test_colours_of_a_large_tiff_are_kept(tmp_path: Path) -> None:
    ids = noise((40, 50)) % np.uint8(3)
    legend = Legend(("nothing", "cell", "debris"), ((0, 0, 0), (230, 159, 0), (86, 180, 233)))
    io.write(tmp_path / "a.tif", Image(ids, "yx"), legend=legend, overviews=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        shown = np.asarray(tiff.pages[0].colormap)[:, ids] // 257
    assert np.array_equal(shown, np.moveaxis(legend.table[ids], -1, 0))
    assert np.array_equal(io.open(tmp_path / "a.tif", as_label=True).data[()], ids)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize("unit", ["micrometer", "nanometer", "inch", ""])
def test_the_spacing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool, name: str, unit: str
) -> None:
    if large:
        monkeypatch.setattr(tiffwrite, "SMALL_BYTES", 0)
    path = tmp_path / name
    for axes, spacing in (("yx", (0.5, 0.25)), ("zyx", (2.0, 0.5, 0.25)), ("cyx", (3.0, 4.0))):
        io.write(
            path, Image(noise((3,) * len(axes)), axes, spacing=spacing, unit=unit), overwrite=True
        )
        image = io.open(path)
        assert (image.axes, image.spacing, image.unit) == (axes, spacing, unit)
    io.write(path, Image(noise((5, 7)), "yx"), overwrite=True)
    assert io.open(path).spacing is None


def test_the_resolution_is_stated_for_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    io.write(path, Image(noise((5, 7)), "yx", spacing=(0.5, 0.25), unit="micrometer"))
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert page.get_resolution("MICROMETER") == pytest.approx((4, 2))
    io.write(tmp_path / "b.tif", Image(noise((5, 7)), "yx", spacing=(5, 2), unit="furlong"))
    assert io.open(tmp_path / "b.tif").unit == "furlong"
    with pytest.raises(FormatError, match=r"OME-TIFF has no unit 'furlong': expected one of"):
        io.write(tmp_path / "b.ome.tif", Image(noise((5, 7)), "yx", spacing=(5, 2), unit="furlong"))
    assert not (tmp_path / "b.ome.tif").exists()


@some
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    factor=st.sampled_from([1, 2, 4, 8]),
    kind=st.sampled_from(["uint8", "float32"]),
    rows=st.sampled_from([4, 512]),
)
def test_a_reduced_pixel_is_the_mean_of_its_square_or_the_first_of_it(
    shape: tuple[int, ...], factor: int, kind: str, rows: int
) -> None:
    array = noise(shape, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyramid, "ROWS", rows)
        reduced = Reduced(array, factor)
        found = reduced[()]
        assert np.array_equal(reduced[:, 1:3, 1:2], found[:, 1:3, 1:2])
    assert found.dtype == array.dtype
    for y in range(-(-shape[1] // factor)):
        for x in range(-(-shape[2] // factor)):
            square = array[:, y * factor :, x * factor :][:, :factor, :factor]
            want = square.mean(axis=(1, 2)) if kind == "float32" else square[:, 0, 0]
            assert np.allclose(found[:, y, x], want)
    assert found.shape[1:] == (y + 1, x + 1)


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".tif"])
def test_a_large_image_is_copied_by_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(io, "COPIED_PX", 32)
    monkeypatch.setattr(tiffwrite, "SMALL_BYTES", 0)
    monkeypatch.setattr(tiffwrite, "TILE_PX", 32)
    spy = Spy(noise((5, 100, 70), "uint16"))
    io.write(tmp_path / f"a{suffix}", Image(spy, "zyx"))
    assert spy.most <= 32 * 70
    assert np.array_equal(io.open(tmp_path / f"a{suffix}").data[()], spy.array)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_what_cannot_be_created_by_parts_is_named(tmp_path: Path) -> None:
    image = Image(noise((5, 7)), "yx")
    with pytest.raises(FormatError, match=r"TIFF, which is written in one go.*\.npy, \.zarr"):
        io.create(tmp_path / "a.tif", image, (5, 7))
    for block in ((5,), (0, 7)):
        with pytest.raises(DataError, match=r"block .* does not fit the axes 'yx'"):
            io.create(tmp_path / "a.npy", image, block)
    for name in ("a.npy", "a.tif"):
        with pytest.raises(OutputError, match="is no output that could be written on"):
            io.reopen(tmp_path / name)
    io.create(tmp_path / "a.npy", image, (5, 7))[:] = 1
    with pytest.raises(OutputError, match=r"a\.npy exists already"):
        io.create(tmp_path / "a.npy", image, (5, 7))
    assert not io.create(tmp_path / "a.npy", image, (5, 7), overwrite=True)[:].any()


def test_files_that_are_gzipped_are_refused(tmp_path: Path) -> None:
    for name in ("a.tif.gz", "a.npy.gz"):
        with pytest.raises(FormatError, match=r"compressed as a whole \(gzip\).*unpack it first"):
            io.open(tmp_path / name)
