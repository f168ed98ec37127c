"""COCO: one JSON file with the polygons or packed masks of many images.

Source of the form: "COCO data format", object detection, at https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.vectors.parsing import expecting, points
from overtile.vectors.raster import Part, Runs, polygon
from overtile.vectors.shapes import Annotations, Shape

EXPECTED = (
    "COCO: 'images' with 'id' and 'file_name', 'categories' with 'id' and 'name', 'annotations' "
    "with 'image_id', 'category_id' and 'segmentation', a list of polygons [x, y, x, y, ...] or "
    "{'size': [height, width], 'counts': ...}"
)

MOST_BITS = 60


def is_coco(content: Any) -> bool:
    """Whether this, from a JSON file, is in the form of COCO."""
    return isinstance(content, dict) and "images" in content and "annotations" in content


def parse_coco(path: Path, content: Any) -> dict[str, Annotations]:
    """The annotations of each image, by its file name; images without any have none.

    Objects marked as crowds are unlabelled pixels; those with boxes alone are left out.

    Raises
    ------
    FormatError
        The content has another form.
    """
    with expecting(path, EXPECTED):
        names = {
            int(category["id"]): str(category["name"]) for category in content.get("categories", [])
        }
        listed = tuple(names[number] for number in sorted(names))
        shapes: dict[Any, list[Shape]] = defaultdict(list)
        left_out: dict[Any, int] = defaultdict(int)
        for annotation in content["annotations"]:
            image, parts = annotation["image_id"], _parts(annotation.get("segmentation") or [])
            if not parts:
                left_out[image] += 1
                continue
            named = {"class": names[int(annotation["category_id"])]} if names else {}
            crowd = bool(annotation.get("iscrowd", 0))
            shapes[image].append(Shape(parts, named, unlabelled=crowd))
        return {
            str(image["file_name"]): Annotations(
                f"{path.name}[{image['file_name']}]",
                tuple(shapes[image["id"]]),
                listed,
                _size(image),
                left_out=left_out[image["id"]],
            )
            for image in content["images"]
        }


def _size(image: Any) -> tuple[int, int] | None:
    known = "height" in image and "width" in image
    return (int(image["height"]), int(image["width"])) if known else None


def _parts(segmentation: Any) -> tuple[Part, ...]:
    """The polygons of an object, or its mask."""
    if isinstance(segmentation, dict):
        height, width = segmentation["size"]
        counts = segmentation["counts"]
        runs = unpack(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
        if runs.ndim != 1:
            raise ValueError("'counts' is no list of lengths")
        return (Runs(runs, int(height), int(width)),)
    found = [polygon([points(np.reshape(corners, (-1, 2)))]) for corners in segmentation]
    return tuple(part for part in found if part is not None)


def unpack(text: str) -> NDArray[np.int64]:
    """Lengths of runs from COCO's compressed string.

    A number takes one or more characters, the lowest five bits first: a character minus 48 holds
    five bits and, as 32, whether another follows; the last one's bit 16 is the sign. From the
    fourth number on, each is the difference to the number two before it.

    Raises
    ------
    ValueError
        It has other characters, or ends within a number.

    Examples
    --------
    >>> unpack("16").tolist()
    [1, 6]
    """
    lengths: list[int] = []
    number, bits = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"'{character}' does not occur in compressed 'counts'")
        number |= (code & 31) << bits
        bits += 5
        if bits > MOST_BITS:
            raise ValueError("a length in compressed 'counts' is beyond any image")
        if code & 32:
            continue
        if code & 16:
            number -= 1 << bits
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number, bits = 0, 0
    if bits:
        raise ValueError("compressed 'counts' end within a number")
    return np.array(lengths, np.int64)
