"""GeoTIFF files written, through rasterio, from a band of rows at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from overtile.errors import FormatError, optional
from overtile.image import Georeference, Image, pixel_type
from overtile.io.output import Manner
from overtile.io.pyramid import is_averaged
from overtile.io.quiet import quiet
from overtile.io.rasters import gdal, opened
from overtile.io.windows import blocks
from overtile.legend import UNLABELLED_VALUE

TILE_PX = 512
"""Side of a tile, as that of a Cloud-Optimized GeoTIFF by default."""

CLASSIC_LIMIT = 2**31
"""Bytes of pixels beyond which offsets of 32 bits may not do, smaller copies included."""


def write_geotiff(path: Path, image: Image, manner: Manner) -> None:
    """A plane of any bands with its place on the earth, tiled and deflated.

    Names of channels become descriptions of the bands; the legend of class ids in uint8 becomes a
    colour table, and tags ``CLASS_0``, ``CLASS_1``, ... of the band. Missing pixels are declared as
    "no data": 255 in class ids, NaN in floats; nothing in object ids, where they are background.
    With overviews, it is a Cloud-Optimized GeoTIFF. Beyond 2 GiB it is a BigTIFF.

    Raises
    ------
    FormatError
        Other axes than (y x) and (c y x), or a coordinate system that is no WKT.
    OSError
        It cannot be written.
    MissingError
        Rasterio is not installed.
    """
    assert isinstance(image.frame, Georeference)
    if image.axes not in ("yx", "cyx"):
        raise FormatError(
            f"A GeoTIFF cannot hold '{image.axes}': expected one plane (y x) or (c y x). Write one "
            "file for each plane, or drop the place on the earth (frame=None)."
        )
    with gdal() as rasterio, _failing(rasterio):
        flat = path.with_name(f"flat {path.name}") if manner.overviews else path
        with opened(rasterio, flat, "w", **_form(rasterio, image, manner)) as dataset:
            _describe(dataset, image, manner)
            _fill(dataset, image)
        _check_complete(flat)
        if manner.overviews:
            _as_cog(flat, path, np.dtype(image.data.dtype))
            _check_complete(path)


def _form(rasterio: Any, image: Image, manner: Manner) -> dict[str, Any]:
    """What rasterio asks for a new GeoTIFF."""
    frame, (*leading, height, width) = image.frame, image.data.shape
    assert isinstance(frame, Georeference)
    kind = _stored(np.dtype(image.data.dtype))
    try:
        crs = rasterio.crs.CRS.from_wkt(frame.crs) if frame.crs else None
    except rasterio.errors.CRSError as error:
        raise FormatError(
            f"The coordinate system of the image is no WKT that PROJ knows ({error}): expected one "
            f"such as rasterio's CRS.to_wkt(), came '{frame.crs[:60]}'."
        ) from error
    nodata: float | None = None
    if manner.content == "classes" and kind == np.uint8:
        nodata = UNLABELLED_VALUE
    elif manner.content != "objects" and kind.kind == "f":
        nodata = math.nan
    # Unless told, GDAL takes the last of 4 bands of 8 bits for alpha.
    gray = {"photometric": "minisblack"} if manner.legend is None else {}
    large = math.prod(image.data.shape) * kind.itemsize * 4 / 3 > CLASSIC_LIMIT
    return {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": math.prod(leading),
        "dtype": kind.name,
        "crs": crs,
        "transform": rasterio.Affine(*frame.transform),
        "nodata": nodata,
        "tiled": True,
        "blockxsize": TILE_PX,
        "blockysize": TILE_PX,
        "compress": "deflate",
        "predictor": 3 if kind.kind == "f" else 2 if kind.itemsize < 8 else 1,
        "interleave": "pixel" if _is_rgb(image) else "band",
        **({"photometric": "rgb"} if _is_rgb(image) else gray),
        "bigtiff": "yes" if large else "no",
    }


def _stored(kind: np.dtype[Any]) -> np.dtype[Any]:
    """The type of pixel in the file: GDAL has no truth values, and no floats of 16 bits."""
    return np.dtype(np.float32) if kind.char == "e" else pixel_type(kind)


def _is_rgb(image: Image) -> bool:
    return image.axes == "cyx" and image.data.shape[0] == 3 and image.data.dtype == np.uint8


def _describe(dataset: Any, image: Image, manner: Manner) -> None:
    """Names and colours, which must be there before the pixels."""
    if len(image.channel_names) == dataset.count:
        dataset.descriptions = image.channel_names
    if manner.legend is not None and manner.content == "classes":
        colours = {n: (*colour, 255) for n, colour in enumerate(manner.legend.colours)}
        dataset.write_colormap(1, colours)
        names = {f"CLASS_{n}": name for n, name in enumerate(manner.legend.names)}
        dataset.update_tags(1, **names)


def _fill(dataset: Any, image: Image) -> None:
    """Copy the pixels, a row of tiles at a time: of one band, or of all where they lie together."""
    data, kind = image.data, np.dtype(dataset.dtypes[0])
    together = _is_rgb(image)
    bands = dataset.count if together else 1
    height, width = data.shape[-2:]
    for band, rows, columns in blocks((dataset.count, height, width), (bands, TILE_PX, width)):
        part = data[(band, rows)] if image.axes == "cyx" else data[(rows,)]
        planes = np.asarray(part, kind).reshape(bands, -1, width)
        numbers = list(range(band.start + 1, band.stop + 1))
        window = ((rows.start, rows.stop), (columns.start, columns.stop))
        dataset.write(planes, numbers, window=window)


def _as_cog(flat: Path, path: Path, kind: np.dtype[Any]) -> None:
    """A Cloud-Optimized GeoTIFF of a plain one: smaller copies first, then the pixels."""
    copying = optional("rasterio.shutil", "geo")
    resampling = "AVERAGE" if is_averaged(kind) else "NEAREST"
    copying.copy(
        flat,
        path,
        driver="COG",
        COMPRESS="DEFLATE",
        PREDICTOR="YES" if kind.itemsize < 8 else "NO",
        BLOCKSIZE=TILE_PX,
        OVERVIEW_RESAMPLING=resampling,
        BIGTIFF="IF_SAFER",
    )


@contextmanager
def _failing(rasterio: Any) -> Iterator[None]:
    """Let GDAL's own words say why nothing can be written, which rasterio keeps below its own."""
    try:
        yield
    except rasterio.errors.RasterioError as error:
        raise OSError(str(error.__cause__ or error)) from error


def _check_complete(path: Path) -> None:
    """Find what GDAL does not tell: that the disk was full when it closed the file."""
    size = path.stat().st_size
    with quiet("tifffile"), tifffile.TiffFile(path) as tiff:
        pages = [(page.dataoffsets, page.databytecounts) for page in tiff.pages]
    ends = [o + n if n else math.inf for page in pages for o, n in zip(*page, strict=True)]
    if not ends or max(ends) > size:
        raise OSError("some of its pixels are missing (is the disk full?)")
