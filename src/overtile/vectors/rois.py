"""Regions of interest of ImageJ and Fiji: a .roi, or a .zip of many (RoiSet.zip), by roifile."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import roifile

from overtile.errors import FormatError
from overtile.image import Colour
from overtile.io.quiet import quiet
from overtile.vectors.outlines import Outline
from overtile.vectors.parsing import points
from overtile.vectors.raster import Ellipse, Part, Points, Rings, polygon
from overtile.vectors.shapes import Annotations, Shape

LARGEST_ROI_BYTES = 2**24
"""Of one region: two million corners."""

MOST_RATIO = 200
"""Regions are packed to a fifth or so, a very regular one to a fiftieth: what promises more than
this is no set of regions, but would fill the memory."""

NUMBERED = re.compile(r"[\d-]+(\.roi)?")
"""Names that ImageJ gives: of slice, y and x."""

AREAS = {roifile.ROI_TYPE.POLYGON, roifile.ROI_TYPE.FREEHAND, roifile.ROI_TYPE.TRACED}

LARGEST_INTEGER = 32767
"""Of a coordinate that every program reads alike; ROIs hold larger ones as floats."""

DAMAGE = (ValueError, TypeError, IndexError, OverflowError, struct.error, zlib.error, EOFError)
DAMAGE_OF_ZIP = (zipfile.BadZipFile, RuntimeError, NotImplementedError, KeyError)


def read_rois(path: Path) -> dict[str, Annotations]:
    """The annotations of the image that the file is given with.

    Polygons, freehand and traced areas, rectangles (without the rounding of their corners), ovals,
    and composites of straight lines; other regions are left out. A region belongs to the slice
    that it was drawn in, and to all of them if it names none.

    Raises
    ------
    FormatError
        The file is damaged.
    """
    try:
        regions = [_region(data) for data in _members(path)]
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (*DAMAGE, *DAMAGE_OF_ZIP) as error:
        raise FormatError(
            f"{path} holds no regions of ImageJ that can be read ({error}): expected a .roi, or a "
            ".zip of them, as 'Save' of the ROI Manager writes it."
        ) from error
    shapes = tuple(shape for shape in regions if shape is not None)
    left_out = len(regions) - len(shapes)
    return {"": Annotations(path.name, shapes, left_out=left_out)}


def _members(path: Path) -> list[bytes]:
    if path.suffix.lower() != ".zip":
        with path.open("rb") as file:
            return [file.read(LARGEST_ROI_BYTES)]
    with zipfile.ZipFile(path) as archive:
        packed, size = path.stat().st_size, sum(info.file_size for info in archive.infolist())
        if size > MOST_RATIO * packed + LARGEST_ROI_BYTES:
            raise ValueError(f"its {packed} bytes would become {size}")
        names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
        found = []
        for name in names:
            if name.lower().endswith(".roi"):
                with archive.open(name) as file:
                    found.append(file.read(LARGEST_ROI_BYTES))
    if names and not found:
        raise ValueError(f"it holds {len(names)} files, none of them a .roi")
    return found


def _region(data: bytes) -> Shape | None:
    with quiet("roifile") as unsaid:
        roi = roifile.ImagejRoi.frombytes(data)
        part = _part(roi)
    cut = [words for words in unsaid if "exceeds data size" in words]
    if cut:  # the name, or the class, would be missing
        raise ValueError(cut[0])
    if part is None:
        return None
    properties = {}
    if "class" in (stated := roi.properties):
        properties["class"] = str(stated["class"])
    elif roi.group:
        properties["class"] = f"group {roi.group}"
    elif roi.name and not NUMBERED.fullmatch(roi.name):
        properties["name"] = roi.name
    place = {}
    if roi.z_position or roi.t_position:
        numbers = {"z": roi.z_position, "t": roi.t_position}
        place = {axis: number - 1 for axis, number in numbers.items() if number > 0}
    elif roi.position > 0:
        place = {"plane": roi.position - 1}
    return Shape((part,), properties, place, _colour(roi))


def _part(roi: roifile.ImagejRoi) -> Part | None:
    """The area of a region; None where it has none."""
    if roi.composite:
        try:
            return polygon([points(line) for line in roi.coordinates(multi=True)])
        except NotImplementedError:  # of curves
            return None
    if roi.roitype in AREAS:
        return polygon([points(roi.coordinates())])
    left, top = float(roi.left), float(roi.top)
    right, bottom = float(roi.right), float(roi.bottom)
    if roi.subpixelrect:
        left, top = roi.xd, roi.yd
        right, bottom = roi.xd + roi.widthd, roi.yd + roi.heightd
    (left, top), (right, bottom) = points([(left, top), (right, bottom)]).tolist()
    if right <= left or bottom <= top:
        return None
    if roi.roitype == roifile.ROI_TYPE.OVAL:
        x, y = (left + right) / 2, (top + bottom) / 2
        return Ellipse(x, y, (right - left) / 2, (bottom - top) / 2)
    if roi.roitype == roifile.ROI_TYPE.RECT:
        return Rings((points([(left, top), (right, top), (right, bottom), (left, bottom)]),))
    return None


def _colour(roi: roifile.ImagejRoi) -> Colour | None:
    text = roi.hexcolor(roi.stroke_color)
    return tuple(bytes.fromhex(text[1:])) if text else None  # type: ignore[return-value]


def write_rois(path: Path, outlines: Iterable[Outline]) -> None:
    """A zip with a region for each outline: a polygon, or a composite where it has several rings.

    Parameters
    ----------
    path
        A new file.
    outlines
        In pixels. The class of each becomes the region's group and its property "class".
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for outline in outlines:
            roi = _of_outline(outline)
            archive.writestr(f"{roi.name}.roi", roi.tobytes())


def _of_outline(outline: Outline) -> roifile.ImagejRoi:
    rings = [ring for polygon in outline.polygons for ring in polygon]
    corners = np.concatenate(rings)
    single = len(rings) == 1
    if single and corners.max() <= LARGEST_INTEGER:
        roi = roifile.ImagejRoi.frompoints(corners[:-1].astype(np.int32), name=outline.name)
    elif single:
        roi = roifile.ImagejRoi.frompoints(corners[:-1], name=outline.name)
    else:
        roi = roifile.ImagejRoi(name=outline.name, roitype=roifile.ROI_TYPE.RECT)
        roi.multi_coordinates = _path(rings)
        roi.shape_roi_size = len(roi.multi_coordinates)
    roi.roitype = roifile.ROI_TYPE.POLYGON if single else roifile.ROI_TYPE.RECT
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    roi.left, roi.top, roi.right, roi.bottom = int(left), int(top), int(right), int(bottom)
    if outline.plane is not None:
        roi.position = outline.plane + 1
    roi.z_position = outline.place.get("z", -1) + 1
    roi.t_position = outline.place.get("t", -1) + 1
    if outline.colour is not None:
        roi.group = min(outline.attributes["class_id"], 255)
        roi.properties = {"class": outline.attributes["class"]}
        roi.stroke_color = bytes([255, *outline.colour])
    return roi


def _path(rings: list[Points]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Rings as ImageJ writes composites: 0 x y to begin, 1 x y for a line, 4 to close."""
    path: list[float] = []
    for ring in rings:
        for number, (x, y) in enumerate(ring[:-1].tolist()):
            path += [1.0 if number else 0.0, x, y]
        path.append(4.0)
    return np.array(path, np.float32)
