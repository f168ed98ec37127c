"""LabelMe: one JSON file an image, with named polygons, rectangles and circles.

Source of the form: the files of https://github.com/wkentaro/labelme, whose points are x and y from
the upper left corner of the image.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from overtile.vectors.parsing import expecting, points
from overtile.vectors.raster import Ellipse, Part, Points, Rings, polygon
from overtile.vectors.shapes import Annotations, Shape

EXPECTED = "LabelMe: 'shapes' with 'label', 'points' [[x, y], ...] and 'shape_type'"

IGNORED = "__ignore__"
"""LabelMe's own converters give this label the value for 'do not learn from it'."""


def is_labelme(content: Any) -> bool:
    """Whether this, from a JSON file, is in the form of LabelMe."""
    return isinstance(content, dict) and "shapes" in content


def parse_labelme(path: Path, content: Any) -> dict[str, Annotations]:
    """The annotations of the image that the file is of, by the name that it states.

    Shapes with the same label and group are one object. Lines, points and masks are left out.

    Raises
    ------
    FormatError
        The content has another form.
    """
    with expecting(path, EXPECTED):
        together: dict[Any, list[Part]] = {}
        left_out = 0
        for number, shape in enumerate(content["shapes"]):
            kind = str(shape.get("shape_type") or "polygon")
            part = _part(kind, points(shape["points"]))
            if part is None:
                left_out += 1
                continue
            group = shape.get("group_id")
            one = (str(shape["label"]), number if group is None else f"group {group}")
            together.setdefault(one, []).append(part)
        height, width = content.get("imageHeight"), content.get("imageWidth")
        shapes = tuple(
            Shape(tuple(parts), {"class": label}, unlabelled=label == IGNORED)
            for (label, _), parts in together.items()
        )
        # Written on Windows, the name may hold a folder after backslashes.
        name = str(content.get("imagePath") or "").replace("\\", "/").rpartition("/")[2]
        size = (int(height), int(width)) if height and width else None
        return {name: Annotations(path.name, shapes, size=size, left_out=left_out)}


def _part(kind: str, corners: Points) -> Part | None:
    if kind == "polygon":
        return polygon([corners])
    if kind == "rectangle" and len(corners) >= 2:
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        return Rings((points([(left, top), (right, top), (right, bottom), (left, bottom)]),))
    if kind == "circle" and len(corners) == 2:
        (x, y), rim = corners.tolist()
        radius = math.dist((x, y), rim)
        return Ellipse(x, y, radius, radius) if radius else None
    return None
