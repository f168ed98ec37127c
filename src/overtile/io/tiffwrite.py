"""TIFF files written: small ones in one piece, large ones tile by tile from a band at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from overtile.image import Georeference, Image, Sliceable, pixel_type
from overtile.io.geotiffwrite import write_geotiff
from overtile.io.output import Manner
from overtile.io.pyramid import Reduced, count_levels
from overtile.io.spacing import for_ome, for_tiff
from overtile.io.tiffnames import for_description

SMALL_BYTES = 16 * 2**20
"""Up to here an image is written in strips, from memory, as a classic TIFF that every program
reads: twice as much is no burden to any machine."""

CLASSIC_LIMIT = 2**32 - 2**25
"""Bytes beyond which offsets of 32 bits may not do; some space is left for the directory."""

TILE_PX = 512
"""Side of a tile: a few hundred kilobytes, a usual size for whole slides and Cloud-Optimized
GeoTIFFs; TIFF asks for multiples of 16."""

BUFFER_BYTES = 16 * 2**20
"""What tifffile may hold of tiles that wait to be compressed (its own default is 512 MiB)."""

OME_SUFFIXES = (".ome.tif", ".ome.tiff")


def write_tiff(path: Path, image: Image, manner: Manner) -> None:
    """An image of any axes and type, deflated, a page for each plane; RGB as one page.

    Beyond 16 MiB it is tiled, and read from its source in bands of 512 rows; beyond 3 GB, where
    classic TIFF may end, it is a BigTIFF, which not every program reads. With
    a legend, values of uint8 stay what they are and are shown in its colours, and the description
    tells the names. With overviews, there
    are smaller copies behind each page (SubIFDs), as `overtile.io.pyramid` makes them. Names in
    .ome.tif hold OME-XML. The spacing is kept: in OME-XML, else in the description that tifffile
    keeps, and for other programs as the resolution in y and x. Channels and classes are named
    there as well.

    An image with a place on the earth becomes a GeoTIFF, unless the name asks for OME-XML, which
    has no word for it; see `overtile.io.geotiffwrite`.

    Raises
    ------
    FormatError
        A unit that OME-XML does not have, or what a GeoTIFF cannot hold.
    MissingError
        It would be a GeoTIFF, and rasterio is not installed.
    """
    ome = manner.name.lower().endswith(OME_SUFFIXES)
    if isinstance(image.frame, Georeference) and not ome:
        write_geotiff(path, image, manner)
        return
    data = image.data
    kind, axes = np.dtype(data.dtype), image.axes.upper()
    rgb = image.axes == "cyx" and data.shape[0] == 3 and kind == np.uint8
    size = math.prod(data.shape) * kind.itemsize
    small, big = size <= SMALL_BYTES, size * 4 / 3 > CLASSIC_LIMIT  # smaller copies take a third
    described: dict[str, Any] = {"axes": "YXS" if rgb else axes}
    if ome:
        described |= for_ome(image)
    elif image.spacing is not None:
        described |= {"spacing": image.spacing, "unit": image.unit}
    described |= for_description(image, manner, ome, rgb)
    how: dict[str, Any] = {
        "photometric": "rgb" if rgb else "minisblack" if manner.legend is None else "palette",
        "colormap": None if manner.legend is None else _table(manner.legend.table),
        "compression": "zlib",
        "predictor": True,
        "buffersize": BUFFER_BYTES,
    }
    levels = count_levels(data.shape) if manner.overviews else 0
    with tifffile.TiffWriter(path, bigtiff=big, ome=ome) as writer:
        more = {"metadata": described, "subifds": levels, **for_tiff(image)}
        writer.write(**_pixels(data, rgb, small), **how, **more)
        for level in range(1, levels + 1):
            reduced = _pixels(Reduced(data, 2**level), rgb, small)
            # tifffile understands its description only where every copy has one as well.
            writer.write(**reduced, **how, subfiletype=1, metadata={"axes": described["axes"]})


def _table(colours: NDArray[np.uint8]) -> NDArray[np.uint16]:
    table = np.zeros((3, 256), np.uint16)
    table[:, : len(colours)] = colours.T.astype(np.uint16) * 257  # 255 becomes 65535
    return table


def _pixels(data: Sliceable, rgb: bool, small: bool) -> dict[str, Any]:
    """What tifffile is to write: an array, or tiles and how many."""
    if small:
        array = np.asarray(data[()])
        return {"data": np.moveaxis(array, 0, -1) if rgb else array}
    kind = pixel_type(np.dtype(data.dtype))
    shape = (*data.shape[1:], data.shape[0]) if rgb else data.shape
    tile = (TILE_PX, TILE_PX)
    return {"data": _tiles(data, rgb, kind), "shape": shape, "dtype": kind, "tile": tile}


def _tiles(data: Sliceable, rgb: bool, kind: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """The tiles of all planes, in the order of the file; those at the far sides are smaller."""
    height, width = data.shape[-2:]
    for place in [(slice(None),)] if rgb else np.ndindex(data.shape[:-2]):
        for top in range(0, height, TILE_PX):
            band = np.asarray(data[(*place, slice(top, min(top + TILE_PX, height)))], kind)
            band = np.moveaxis(band, 0, -1) if rgb else band
            for left in range(0, width, TILE_PX):
                yield band[:, left : left + TILE_PX]
