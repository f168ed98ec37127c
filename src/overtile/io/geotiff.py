"""GeoTIFF and VRT, through rasterio: bands with a place on the earth, and pixels that are missing.

What `overtile.io.tiff` finds to be a GeoTIFF is read here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import FormatError, optional
from overtile.image import Colour, Georeference, Image
from overtile.io.limits import check_memory
from overtile.io.quiet import muted
from overtile.io.rasters import lent
from overtile.io.vrt import check_sources
from overtile.io.windows import Window, resolve, size_of

ALPHA_PX = 256
"""Side of the nine windows by which alpha is told from a band of values."""

ALPHA_SHARE = 0.9
"""Of the pixels of an alpha band at least so many are fully opaque or fully transparent: all but
the rims of shapes. In near infrared hardly any are."""

NO_PLACE = (1, 0, 0, 0, 1, 0)


def open_vrt(path: Path, as_label: bool) -> Image:
    """What a VRT of GDAL shows of other files; see `open_raster`.

    Raises
    ------
    FormatError
        It is no VRT, a source is missing or not a file of this machine, or GDAL cannot read it.
    MissingError
        Rasterio is not installed.
    """
    optional("rasterio", "geo")
    check_sources(path)
    return open_raster(path, "VRT", as_label)


def open_raster(path: Path, driver: str, as_label: bool) -> Image:
    """All bands of a data set of GDAL, (c y x), or (y x) of one; read where they are sliced.

    Values are those of the file, of the type that holds those of all bands; scale and offset are
    not applied, nor a colour table, which becomes the palette of a label. The size of a pixel is
    known in metres where the map is projected.

    A pixel is missing, and NaN, where the file's mask or alpha says so, or its bands hold their
    declared "no data" value. For a value that cannot be measured (-9999, NaN) one band is enough.
    But 0 is an honest value, as is any of unsigned integers: there, all bands must hold it. In a
    label, 0 stays 0 (QGIS declares it in whatever it rasterises, and means background), as does
    255 in 8 bits, which labels understand as "not labelled".

    A band declared as alpha is left out, and masks, unless it holds other values than on and off
    (aerial photographs of NAIP declare near infrared so), or "no data" is declared as well.

    Raises
    ------
    FormatError
        GDAL cannot read it, or its pixels are no numbers that we read.
    MissingError
        Rasterio is not installed.
    """
    with muted():  # of PROJ, which prints of places that it does not understand
        raster = Raster(path, driver, as_label)
    with muted(), raster.lent() as dataset:
        frame = _frame(dataset)
        names = tuple(dataset.descriptions[band - 1] or "" for band in raster.bands)
        colours = _palette(dataset) if as_label and len(raster.bands) == 1 else ()
        size = _size_in_metres(dataset) if frame is not None else None
    return Image(
        raster,
        "cyx"[-len(raster.shape) :],
        size,
        "" if size is None else "meter",
        frame=frame,
        channel_names=names if len(names) > 1 and all(names) else (),
        palette=colours,
    )


class Raster:
    """The bands of a data set of GDAL as an array (c y x), or (y x) of one, read by slicing.

    Any number of threads may read it at once, and it travels to another process by pickling.

    Attributes
    ----------
    bands
        Their numbers in the file, from 1.
    shape, dtype
        Of the whole. Floats where pixels may be missing.
    """

    def __init__(self, path: Path, driver: str, as_label: bool) -> None:
        self._path, self._driver, self._owner = path, driver, _Owner()
        with self.lent() as dataset:
            self._mask = _Mask(dataset, as_label)
            self.bands = [band for band in dataset.indexes if band != self._mask.alpha]
            sizes = (len(self.bands), dataset.height, dataset.width)
            together = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
            block = (together, *map(max, zip(*dataset.block_shapes, strict=True)))
            kinds = {dataset.dtypes[band - 1] for band in self.bands}
        if not self.bands or any("complex" in kind for kind in kinds):
            raise FormatError(
                f"{path} has bands of the types {', '.join(sorted(kinds)) or 'none'}: expected at "
                "least one, of integers or floats. Convert it, to magnitudes for example."
            )
        self.shape: tuple[int, ...] = sizes if len(self.bands) > 1 else sizes[1:]
        self._mixed = len(kinds) > 1
        kind = np.result_type(*kinds)
        # From 32 bits of integers on, this is float64.
        self.dtype = np.result_type(kind, np.float32) if self._mask.any else kind
        remedy = "write it again in tiles (gdal_translate -co TILED=YES)."
        check_memory(path, block, kind.itemsize, remedy)

    def lent(self) -> Any:
        """The open data set, in a `with`, for this thread alone."""
        return lent(self._path, self._driver, self._owner)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        window, rest = resolve(key, self.shape)
        if 0 in size_of(window):
            return np.empty(size_of(window), self.dtype)[rest]
        chosen = window[0] if len(window) == 3 else slice(None)
        with self.lent() as dataset:
            # That one band holds "no data" says nothing without the others.
            bands = self.bands if self._mask.values else self.bands[chosen]
            place = _as_pairs(window[-2:])
            if self._mixed:
                planes = [dataset.read(band, window=place) for band in bands]
            else:
                planes = dataset.read(bands, window=place)
            missing = self._mask.missing(dataset, place, planes) if self._mask.any else None
        part = np.asarray(planes[chosen] if self._mask.values else planes, self.dtype)
        if missing is not None:
            part[:, missing] = np.nan
        return np.asarray(part.reshape(size_of(window))[rest])


class _Owner:
    """Tells the data sets of one reader from those of others, also after pickling."""


class _Mask:
    """Which pixels of a data set are missing.

    Attributes
    ----------
    alpha
        The band that is alpha, or None.
    values
        The "no data" value of each other band; empty where such values mean nothing.
    any
        Whether a pixel can be missing at all.
    """

    def __init__(self, dataset: Any, as_label: bool) -> None:
        flags = [{flag.name for flag in of_band} for of_band in dataset.mask_flag_enums]
        kinds = set().union(*flags)
        self.alpha: int | None = None
        if "alpha" in kinds:
            declared = [kind.name for kind in dataset.colorinterp].index("alpha") + 1
            self.alpha = declared if _holds_alpha(dataset, declared) else None
        # Bands without any flag have each a mask of its own.
        self._masked = [band for band, own in zip(dataset.indexes, flags, strict=True) if not own]
        if "per_dataset" in kinds and (self.alpha is not None or "alpha" not in kinds):
            self._masked.append(1 + next(n for n, own in enumerate(flags) if "per_dataset" in own))
        self.values: list[float | None] = []
        if "nodata" in kinds:
            bands = zip(dataset.indexes, dataset.nodatavals, strict=True)
            self.values = [value for band, value in bands if band != self.alpha]
        eight_bits = set(dataset.dtypes) == {"uint8"}
        if as_label and (set(self.values) == {0} or (set(self.values) == {255} and eight_bits)):
            self.values = []
        self.any = bool(self._masked or self.values)

    def missing(
        self, dataset: Any, place: tuple[tuple[int, int], ...], planes: Sequence[NDArray[Any]]
    ) -> NDArray[np.bool_]:
        """Of a window (y x), by the pixels of all bands in it."""
        alone = [dataset.read_masks(band, window=place) == 0 for band in self._masked]
        together: list[NDArray[np.bool_]] = []
        for plane, value in zip(planes if self.values else (), self.values, strict=True):
            if value is not None:
                honest = plane.dtype.kind == "u" or value == 0
                (together if honest else alone).append(_holds(plane, value))
        if together:
            alone.append(np.all(together, axis=0))
        return np.asarray(np.any(alone, axis=0))


def _holds(plane: NDArray[Any], value: float) -> NDArray[np.bool_]:
    """Where a band holds a value; GDAL keeps that of float32 with the digits of float64."""
    if math.isnan(value):
        return np.asarray(np.isnan(plane))
    with np.errstate(over="ignore"):
        return np.asarray(plane == (plane.dtype.type(value) if plane.dtype.kind == "f" else value))


def _as_pairs(window: Window) -> tuple[tuple[int, int], ...]:
    """A window (y x) as rasterio takes it."""
    return tuple((part.start, part.stop) for part in window)


def _holds_alpha(dataset: Any, band: int) -> bool:
    """Whether nearly all pixels of a band are on or off, by nine windows spread over it."""
    room = [(size, max(size - ALPHA_PX, 0)) for size in (dataset.height, dataset.width)]
    sides = [
        [(start, min(start + ALPHA_PX, size)) for start in (0, last // 2, last)]
        for size, last in room
    ]
    parts = [dataset.read(band, window=window) for window in product(*sides)]
    values = np.concatenate([part.reshape(-1) for part in parts])
    extreme = (values == 0) | (values == values.max())
    return bool(extreme.mean() >= ALPHA_SHARE)


def _frame(dataset: Any) -> Georeference | None:
    """Where the pixels lie; None where the file says nothing of use, or of some points only."""
    crs = dataset.crs.to_wkt() if dataset.crs else ""
    a, b, c, d, e, f = map(float, dataset.transform[:6])
    area = abs(a * e - b * d)
    usable = 0 < area < math.inf and math.isfinite(c + f) and (a, b, c, d, e, f) != NO_PLACE
    return Georeference(crs, (a, b, c, d, e, f)) if usable else None


def _size_in_metres(dataset: Any) -> tuple[float, float] | None:
    """Height and width of a pixel of a projected map, None for any other."""
    if not dataset.crs or not dataset.crs.is_projected:
        return None
    metres = float(dataset.crs.linear_units_factor[1])
    a, b, _, d, e, _ = dataset.transform[:6]
    sizes = math.hypot(b, e) * metres, math.hypot(a, d) * metres
    return sizes if all(0 < size < math.inf for size in sizes) else None


def _palette(dataset: Any) -> tuple[Colour, ...]:
    """The colours of the first band's values, if it has a table of them.

    A TIFF has a colour for every value; the black ones at its end are those that nobody chose.
    """
    try:
        table = dataset.colormap(1)
    except ValueError:  # so rasterio says that there is none
        return ()
    last = max((value for value, colour in table.items() if any(colour[:3])), default=-1)
    return tuple(tuple(table.get(value, (0, 0, 0))[:3]) for value in range(last + 1))
