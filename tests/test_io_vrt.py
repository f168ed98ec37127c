"""VRT: mosaics equal what they are made of; what is not here, or no number, is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from overtile import io
from overtile.errors import FormatError, MissingError
from overtile.image import Image

rasterio = pytest.importorskip("rasterio", reason="pip install 'overtile[geo]'")
pytest.importorskip("rasterio.shutil")


def write(path: Path, array: NDArray[Any], left: int = 0, **how: Any) -> Path:
    """A GeoTIFF of an array (c y x), its left side at a column of the map."""
    count, height, width = array.shape
    place = rasterio.Affine(2, 0, 465595.5 + 2 * left, 0, -2, 5245788.5)
    form = {"driver": "GTiff", "count": count, "height": height, "width": width}
    more = {"dtype": array.dtype.name, "crs": "EPSG:32632", "transform": place} | how
    with rasterio.open(path, "w", **form, **more) as dataset:
        dataset.write(array)
    return path


def noise(shape: tuple[int, ...], kind: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 100, shape).astype(kind)


def mosaic(
    path: Path, bands: list[list[tuple[str, int]]], size: tuple[int, int], **how: Any
) -> Path:
    """A VRT whose bands are files (name, left) side by side."""
    height, width = size
    relative, part = int(how.get("relative", True)), how.get("part", width)
    lines = []
    for number, files in enumerate(bands, 1):
        kind = how.get("kinds", ["Byte"] * 9)[number - 1]
        lines.append(f'<VRTRasterBand dataType="{kind}" band="{number}">{how.get("inside", "")}')
        for name, left in files:
            lines.append(
                f'<SimpleSource><SourceFilename relativeToVRT="{relative}">{name}'
                f"</SourceFilename><SourceBand>1</SourceBand>"
                f'<SrcRect xOff="0" yOff="0" xSize="{part}" ySize="{height}"/>'
                f'<DstRect xOff="{left}" yOff="0" xSize="{part}" ySize="{height}"/></SimpleSource>'
            )
        lines.append("</VRTRasterBand>")
    path.write_text(
        f'{how.get("head", "")}<VRTDataset rasterXSize="{width}" rasterYSize="{height}">'
        f"<SRS>EPSG:32632</SRS><GeoTransform>465595.5,2,0,5245788.5,0,-2</GeoTransform>"
        f"{''.join(lines)}</VRTDataset>"
    )
    return path


@pytest.mark.parametrize("head", ["", '<?xml version="1.0"?>\n'])
def test_a_mosaic_is_its_tiles_side_by_side(tmp_path: Path, head: str) -> None:
    array = noise((1, 30, 50))
    write(tmp_path / "a.tif", array[..., :25])
    write(tmp_path / "b.tif", array[..., 25:], left=25)
    path = tmp_path / "mosaic.vrt"
    image = io.open(mosaic(path, [[("a.tif", 0), ("b.tif", 25)]], (30, 50), part=25, head=head))
    assert (image.axes, image.spacing, image.unit) == ("yx", (2, 2), "meter")
    assert np.array_equal(image.data[()], array[0])
    assert np.array_equal(image.data[3:9, 20:31], array[0, 3:9, 20:31])
    with rasterio.open(path) as dataset:
        assert image.frame is not None
        assert image.frame.transform == dataset.transform[:6]


def test_what_gdal_copies_to_a_vrt_is_the_same(tmp_path: Path, shared_data: Path) -> None:
    source = next((shared_data / "geotiff").glob("*.tif"))
    rasterio.shutil.copy(source, tmp_path / "a.vrt", driver="VRT")
    plain, image = io.open(source), io.open(tmp_path / "a.vrt")
    assert (image.frame, image.spacing, image.axes) == (plain.frame, plain.spacing, plain.axes)
    assert np.array_equal(image.data[:, 300:], plain.data[:, 300:])


def test_bands_of_several_types_get_the_type_that_holds_them_all(tmp_path: Path) -> None:
    small, large = noise((1, 9, 11)), noise((1, 9, 11), "int16") - np.int16(5000)
    write(tmp_path / "a.tif", small)
    write(tmp_path / "b.tif", large)
    bands = [[("a.tif", 0)], [("b.tif", 0)]]
    image = io.open(mosaic(tmp_path / "m.vrt", bands, (9, 11), kinds=["Byte", "Int16"]))
    assert image.data.dtype == np.int16
    assert np.array_equal(image.data[()], np.concatenate([small, large]))
    assert np.array_equal(image.data[1, 2:], large[0, 2:])


def test_bands_with_a_mask_each_are_missing_where_one_is(tmp_path: Path) -> None:
    array, mask = noise((1, 9, 11)), (noise((1, 9, 11)) > 30).astype(np.uint8) * np.uint8(255)
    write(tmp_path / "a.tif", array)
    write(tmp_path / "mask.tif", mask)
    inside = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">'
        "mask.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        "</MaskBand>"
    )
    image = io.open(mosaic(tmp_path / "m.vrt", [[("a.tif", 0)]], (9, 11), inside=inside))
    want = np.where(mask[0] > 0, array[0], np.float32(np.nan))
    assert np.array_equal(image.data[()], want, equal_nan=True)


@pytest.mark.parametrize(
    "name",
    ["gone.tif", "/vsicurl/http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a.tif", "folder"],
)
def test_a_source_that_is_not_a_file_here_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    path = mosaic(tmp_path / "m.vrt", [[(name, 0)]], (9, 11), relative=name == "gone.tif")
    with pytest.raises(FormatError, match=rf"m\.vrt shows parts of .*{name}' is not a file here"):
        io.open(path)


def test_lists_of_lists_are_followed_to_their_end(tmp_path: Path) -> None:
    array = noise((1, 9, 11))
    write(tmp_path / "a.tif", array)
    mosaic(tmp_path / "inner.vrt", [[("a.tif", 0)]], (9, 11))
    outer = mosaic(tmp_path / "outer.vrt", [[("inner.vrt", 0)]], (9, 11))
    assert np.array_equal(io.open(outer).data[()], array[0])
    mosaic(tmp_path / "inner.vrt", [[("outer.vrt", 0)]], (9, 11))
    with pytest.raises(FormatError, match=r"outer\.vrt', which shows a part of it"):
        io.open(outer)


def test_what_is_no_vrt_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.vrt"
    path.write_text("<html>not found</html>")
    with pytest.raises(FormatError, match=r"a\.vrt is named like a VRT, but holds no VRTDataset"):
        io.open(path)
    path.write_text('<VRTDataset rasterXSize="9"')
    with pytest.raises(FormatError, match=r"a\.vrt is damaged or truncated: it is no XML"):
        io.open(path)
    path.write_text("<VRTDataset></VRTDataset>")
    with pytest.raises(FormatError, match=r"a\.vrt is damaged or truncated: its decoder"):
        io.open(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match=r"a\.vrt is empty"):
        io.open(path)
    with pytest.raises(FormatError, match=r"a\.vrt would be a VRT"):
        io.write(path, Image(noise((9, 11)), "yx"), overwrite=True)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    path.write_text("<VRTDataset></VRTDataset>")
    with pytest.raises(MissingError, match=r"'rasterio'.*overtile\[geo\]"):
        io.open(path)


def test_complex_bands_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", noise((1, 9, 11), "complex64"))
    path = mosaic(tmp_path / "m.vrt", [[("a.tif", 0)]], (9, 11), kinds=["CFloat32"])
    with pytest.raises(FormatError, match=r"m\.vrt has bands of the types complex64"):
        io.open(path)


def test_a_file_may_be_shown_twice_and_through_another(tmp_path: Path) -> None:
    array = noise((1, 6, 8))
    write(tmp_path / "a.tif", array)
    mosaic(tmp_path / "inner.xml", [[("a.tif", 0)]], (6, 8))
    path = mosaic(tmp_path / "b.vrt", [[("inner.xml", 0)], [("inner.xml", 0)]], (6, 8))
    assert np.array_equal(io.open(path).data[()], np.concatenate([array, array]))
