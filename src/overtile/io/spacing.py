"""Sizes of pixels: what the metadata of a TIFF say, and the names of units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from overtile.errors import FormatError
from overtile.image import METRES, Image

OME_SYMBOLS = {
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "kilometer": "km",
    "inch": "in",
    "": "reference frame",
}
"""As OME-XML writes them (enumeration UnitsLength); the last is its word for "not known"."""

NAMES = {symbol: name for name, symbol in OME_SYMBOLS.items()} | {
    "μm": "micrometer",  # a Greek mu, where the micro sign has its own code
    "um": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "\\u00B5m": "micrometer",  # as ImageJ writes the micro sign
    **{name: name for name in METRES},
}

FINEST_PRINT_PER_CM = 2400 / 2.54
"""Pixels per centimetre of the finest usual printing. The resolution of a plain TIFF is set for
printing or left at a default (1, 72, 96, 300, ... per inch) unless it is finer than that."""

DEFAULT_PER_CM = 10_000
"""Exactly 1 µm is a default too: labels of the Cell Tracking Challenge state it beside images that
state the 0.19 µm of the microscope."""

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
CENTIMETRE = 3
"""Tags of TIFF 6.0, section 8; a ResolutionUnit of 2 (inch) is for printing."""

Spacing = tuple[tuple[float, ...] | None, str]
UNKNOWN: Spacing = (None, "")


def in_one_unit(lengths: Sequence[tuple[float, str]]) -> Spacing:
    """Lengths, each with its unit, as numbers of the last one's unit; or that they are unknown."""
    unit = lengths[-1][1]
    sizes = []
    for size, own in lengths:
        if own != unit and not (own in METRES and unit in METRES):
            return UNKNOWN
        sizes.append(size if own == unit else size * METRES[own] / METRES[unit])
    plausible = all(math.isfinite(size) and size > 0 for size in sizes)
    return (tuple(sizes), unit) if plausible else UNKNOWN


def from_tiff(tiff: Any, series: Any, axes: str) -> Spacing:
    """The size of a pixel along each spatial axis, as far as a TIFF states a physical one.

    OME-XML states it with its unit; so do our own files in the description that tifffile keeps;
    ImageJ states a unit, the resolution in x and y, and the distance of planes. A plain TIFF has
    nothing but a resolution, which is taken where it is given per centimetre, is finer than any
    print and no default (see `FINEST_PRINT_PER_CM`), and where there is no z axis.
    """
    spatial = [axis for axis in "zyx" if axis in axes]
    try:
        if series.kind == "ome":
            found = _from_ome(tiff.ome_metadata, tiff.series.index(series))
        elif series.kind == "imagej":
            found = _from_imagej(tiff.imagej_metadata, series.keyframe)
        elif series.kind == "shaped" and "spacing" in tiff.shaped_metadata[0]:
            described = tiff.shaped_metadata[0]
            unit = str(described.get("unit", ""))
            sizes = [float(size) for size in described["spacing"]]
            found = {a: (s, unit) for a, s in zip(spatial, sizes, strict=True)}
        else:
            found = _from_resolution(series.keyframe)
        return in_one_unit([found[axis] for axis in spatial])
    except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError, ElementTree.ParseError):
        return UNKNOWN  # metadata that state no size, or cannot be understood, cost no image


def _from_ome(text: str, number: int) -> dict[str, tuple[float, str]]:
    images = [node for node in ElementTree.fromstring(text).iter() if node.tag.endswith("}Pixels")]
    pixels = images[number]
    return {
        axis: (
            float(pixels.attrib[f"PhysicalSize{axis.upper()}"]),
            NAMES[pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm")],
        )
        for axis in "zyx"
        if f"PhysicalSize{axis.upper()}" in pixels.attrib
    }


def _from_imagej(described: dict[str, Any], page: Any) -> dict[str, tuple[float, str]]:
    unit = NAMES[described["unit"]]
    return {
        "z": (float(described.get("spacing", 1)), unit),  # ImageJ leaves out a depth of 1
        "y": (1 / _resolution(page, Y_RESOLUTION), unit),
        "x": (1 / _resolution(page, X_RESOLUTION), unit),
    }


def _from_resolution(page: Any) -> dict[str, tuple[float, str]]:
    per_cm = {"y": _resolution(page, Y_RESOLUTION), "x": _resolution(page, X_RESOLUTION)}
    printed = min(per_cm.values()) <= FINEST_PRINT_PER_CM
    unset = set(per_cm.values()) == {DEFAULT_PER_CM}
    if page.tags.valueof(RESOLUTION_UNIT) != CENTIMETRE or printed or unset:
        return {}
    return {axis: (1e4 / number, "micrometer") for axis, number in per_cm.items()}


def _resolution(page: Any, tag: int) -> float:
    """Pixels per unit, a fraction in the file."""
    above, below = page.tags.valueof(tag)
    return float(above / below)


def for_ome(image: Image) -> dict[str, Any]:
    """The spacing of an image as attributes of OME-XML.

    Raises
    ------
    FormatError
        A unit that OME-XML does not have.
    """
    if image.spacing is None:
        return {}
    if image.unit not in OME_SYMBOLS:
        raise FormatError(
            f"OME-TIFF has no unit '{image.unit}': expected one of {', '.join(METRES)}. Convert "
            "the spacing, or write a .tif, which keeps any unit."
        )
    described: dict[str, Any] = {}
    for axis, size in zip(image.space, image.spacing, strict=True):
        described[f"PhysicalSize{axis.upper()}"] = size
        described[f"PhysicalSize{axis.upper()}Unit"] = OME_SYMBOLS[image.unit]
    return described


def for_tiff(image: Image) -> dict[str, Any]:
    """The spacing of an image in y and x as the resolution tags of a TIFF, per centimetre."""
    if image.spacing is None or image.unit not in METRES:
        return {}
    y, x = (0.01 / (size * METRES[image.unit]) for size in image.spacing[-2:])
    return {"resolution": (x, y), "resolutionunit": "CENTIMETER"}
