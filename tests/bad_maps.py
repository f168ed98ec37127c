"""A corpus of bad maps: `python tests/bad_maps.py FOLDER` makes it.

The table is that of `bad_files`, with GeoTIFF and VRT, which show the file `plane.tif` beside them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from bad_files import (
    DAMAGED,
    DEFLATE,
    GIBIBYTE,
    MEMORY,
    NONE,
    PERCENT,
    SIDE,
    Case,
    Row,
    Tags,
    classic_tiff,
    make,
    noise,
    put,
    tags,
    zeros,
)


def geotiff(array: np.ndarray, *, mask: bool = False, **how: Any) -> bytes:
    """Bands (c y x) that rasterio writes, somewhere in Germany."""
    about = {"count": len(array), "height": array.shape[1], "width": array.shape[2]}
    about |= {"dtype": array.dtype.name, "crs": "EPSG:32632"}
    place = rasterio.Affine(0.5, 0, 4e5, 0, -0.5, 5.5e6)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.MemoryFile() as file:
        with file.open(driver="GTiff", transform=place, **about, **how) as opened:
            opened.write(array)
            if mask:
                opened.write_mask(array[0] > 100)
        return bytes(file.getbuffer())


def whole() -> dict[str, bytes]:
    """A good file of each kind, by a name that says which."""
    bands = noise(2, 40, 48)
    return {
        "nodata.tif": geotiff(bands, nodata=0, tiled=True, compress="deflate"),
        "mask.tif": geotiff(bands, mask=True, compress="lzw"),
    }


def truncated() -> Iterator[Row]:
    """What is left when a copy stops."""
    for name, content in whole().items():
        for percent in PERCENT:
            part = content[: max(9, len(content) * percent // 100)]
            yield f"{percent}-percent-{name}", DAMAGED, part


PLACE: Tags = {33550: ("d", [0.5, 0.5, 0]), 33922: ("d", [0, 0, 0, 4e5, 5.5e6, 0])}


def geotiffs() -> Iterator[Row]:
    """Those that GDAL reads, not tifffile."""
    strip = zeros(GIBIBYTE)
    page = PLACE | tags(2**15, 2**15, DEFLATE, [len(strip)])
    yield "bomb.tif", MEMORY, classic_tiff(page, strip)
    page = PLACE | tags(SIDE, SIDE, DEFLATE, [99])
    yield "huge.tif", f"{MEMORY}|{DAMAGED}", classic_tiff(page, bytes(99))
    page = PLACE | tags(SIDE, SIDE, DEFLATE, [0] * 245**2, tile=4096)
    yield "huge-tiles.tif", f"{MEMORY}|GB free", classic_tiff(page)
    page = PLACE | tags(2**10, 2**10, NONE, [2**20])
    yield "short.tif", DAMAGED, classic_tiff(page, bytes(1000))
    page = PLACE | tags(0, 0, NONE, [0])
    yield "zero-wide.tif", f"{DAMAGED}|no pixels", classic_tiff(page)
    yield "complex.tif", "complex", geotiff(noise(1, 40, 48).astype(np.complex64))
    content = bytearray(geotiff(noise(1, 40, 48), compress="deflate"))
    content[-900:-100] = bytes(800)
    yield "damaged-strip.tif", DAMAGED, bytes(content)


def vrt(body: str, width: int = 48, height: int = 40) -> bytes:
    """GDAL's list of files."""
    return f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{body}</VRTDataset>'.encode()


def shows(name: str) -> str:
    """A band that shows a file."""
    return (
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
    )


def vrts() -> Iterator[Row]:
    """Of files that are missing, or show each other."""
    here = "is not a file here"
    yield "zero-bytes.vrt", r"is empty \(0 bytes\)", b""
    yield "text.vrt", "holds no VRTDataset", b"<html>no</html>"
    yield "gone.vrt", here, vrt(shows("gone.tif"))
    yield "long.vrt", here, vrt(shows("x" * 5000))
    yield "device.vrt", here, vrt(shows("/dev/zero"))
    yield "url.vrt", here, vrt(shows("/vsicurl/http://127.0.0.1:1/a.tif"))
    yield "itself.vrt", "shows a part of it", vrt(shows("itself.vrt"))
    yield "half.vrt", DAMAGED, vrt(shows("gone.tif"))[:150]
    yield "huge.vrt", f"{MEMORY}|GB free", vrt(shows("plane.tif"), SIDE, SIDE)
    yield "negative.vrt", DAMAGED, vrt(shows("plane.tif"), -5)
    yield "overflow.vrt", DAMAGED, vrt(shows("plane.tif"), 2**40)
    yield "no-bands.vrt", DAMAGED, vrt("")
    entities = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
    laughs = f'<!DOCTYPE a [<!ENTITY a0 "ha">{entities}]>'
    yield "laughs.vrt", f"{DAMAGED}|{here}", laughs.encode() + vrt(f"<a>&a9;</a>{shows('x')}")
    coded = b'<?xml version="1.0" encoding="utf-32"?>' + vrt(shows("plane.tif"))
    yield "encoded.vrt", "is no XML", coded
    yield "deep.vrt", DAMAGED, vrt("<a>" * 20_000 + "</a>" * 20_000 + shows("plane.tif"))

    def circle(path: Path) -> None:
        (path.parent / "second.tif").write_bytes(vrt(shows(path.name)))
        path.write_bytes(vrt(shows("second.tif")))

    def doubling(path: Path) -> None:
        for number in range(40):
            both = shows(f"level-{number + 1}.xml") + shows(f"./level-{number + 1}.xml")
            (path.parent / f"level-{number}.xml").write_bytes(vrt(both))
        path.write_bytes(vrt(shows("level-0.xml")))

    yield "circle.vrt", "shows a part of it", circle
    yield "doubling.vrt", "shows a VRT that shows a VRT", doubling


USABLE = {"huge.vrt", "huge-tiles.tif"}


def cases() -> Iterator[Case]:
    """The table."""
    for table in (truncated(), geotiffs(), vrts()):
        for name, words, made in table:
            yield Case(name, words, partial(put, made), name in USABLE, "plane.tif")


CASES = list(cases())


if __name__ == "__main__":
    make(CASES, Path(sys.argv[1]))
