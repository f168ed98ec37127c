"""NRRD and MetaImage written: some lines of text, and the pixels behind them, compressed.

The channels of a pixel lie next to each other. Both formats are so simple that no library is
needed, and none writes a volume that is larger than memory.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import FormatError
from overtile.image import Image, pixel_type
from overtile.io.gzipped import LEVEL
from overtile.io.orientation import MIRROR_LPS, matrix_of
from overtile.io.output import Manner
from overtile.io.windows import planes_in_order
from overtile.legend import Legend

TYPES = {
    "uint8": ("uint8", "MET_UCHAR"),
    "int8": ("int8", "MET_CHAR"),
    "uint16": ("uint16", "MET_USHORT"),
    "int16": ("int16", "MET_SHORT"),
    "uint32": ("uint32", "MET_UINT"),
    "int32": ("int32", "MET_INT"),
    "uint64": ("uint64", "MET_ULONG_LONG"),
    "int64": ("int64", "MET_LONG_LONG"),
    "float32": ("float", "MET_FLOAT"),
    "float64": ("double", "MET_DOUBLE"),
}
"""How NRRD and MetaImage call the types of numpy."""


LONGEST_FIELD = 120
"""Letters of a field: MetaIO reads 255 bytes, without looking whether there are more, and a letter
may take two."""


def write_nrrd(path: Path, image: Image, manner: Manner) -> None:
    """An image of any axes and type, its pixels compressed (gzip).

    Classes are named by the key `Classes`, and as segments of 3D Slicer.

    Raises
    ------
    FormatError
        A type of pixel or a unit that the format does not have.
    """
    names, sizes, columns, origin = _grid(image)
    vector = ["none"] * ("c" in names)
    directions = vector + [_vector(column) for column in columns]
    space = "space: left-posterior-superior"
    lines = [
        "NRRD0004",
        f"type: {_type_of(image)[0]}",
        f"dimension: {len(sizes)}",
        space if len(columns) == 3 else f"space dimension: {len(columns)}",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {' '.join(['vector'] * len(vector) + ['domain'] * len(columns))}",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(origin)}",
        *_keys(image, manner.legend),
    ]
    with path.open("xb") as file:
        file.write(("\n".join(lines) + "\n\n").encode())
        with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as target:
            for part in _pixels(image):
                target.write(part.data)


def write_meta(path: Path, image: Image, manner: Manner) -> None:
    """An image of any axes and type, its pixels compressed (zlib), in one file for .mhd too.

    Classes are named by a field `Classes`, channels by `Channels`; what is too long for one field
    goes on in `Classes1`, `Classes2` ...

    Raises
    ------
    FormatError
        As `write_nrrd`.
    """
    names, sizes, columns, origin = _grid(image)
    channels = sizes.pop(0) if "c" in names else 1
    lengths = np.linalg.norm(columns, axis=1)
    turn = columns / lengths[:, None]
    named = _named(image, manner.legend)
    word = "Channels" if manner.legend is None else "Classes"
    lines = [
        "ObjectType = Image",
        f"NDims = {len(sizes)}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        "CompressedDataSize = ",
        f"TransformMatrix = {_numbers(turn.reshape(-1))}",
        f"Offset = {_numbers(origin)}",
        f"ElementSpacing = {_numbers(lengths)}",
        f"DimSize = {' '.join(map(str, sizes))}",
        *_fields(word, named),
        f"ElementNumberOfChannels = {channels}",
        f"ElementType = {_type_of(image)[1]}",
        "ElementDataFile = LOCAL",
    ]
    before = "\n".join(lines[:6])
    with path.open("xb") as file:
        file.write(f"{before}{0:020}\n".encode())
        file.write(("\n".join(lines[6:]) + "\n").encode())
        packer, size = zlib.compressobj(LEVEL), 0
        for part in _pixels(image):
            size += file.write(packer.compress(part.data))
        size += file.write(packer.flush())
        file.seek(len(before))
        file.write(f"{size:020}".encode())  # known at the end only, and readers need it


def _fields(word: str, named: list[str]) -> list[str]:
    """Fields of MetaIO with all names, none longer than it can read."""
    texts: list[str] = []
    for name in (name[:LONGEST_FIELD] for name in named):
        if texts and len(texts[-1]) + len(name) + 2 <= LONGEST_FIELD:
            texts[-1] += f"; {name}"
        else:
            texts.append(name)
    return [f"{word}{number or ''} = {text}" for number, text in enumerate(texts)]


def _named(image: Image, legend: Legend | None) -> list[str]:
    """A line for each class, or for each channel that has a name."""
    if legend is not None:
        return legend.described.splitlines()
    return [f"{number} {name}" for number, name in enumerate(image.channel_names)]


def _keys(image: Image, legend: Legend | None) -> list[str]:
    """Keys and values of an NRRD: all classes or channels, and of classes the segments."""
    named = _named(image, legend)
    if not named:
        return []
    if legend is None:
        return [f"Channels:={_escaped(named)}"]
    keys = [f"Classes:={_escaped(named)}"]
    shown = [n for n in range(len(legend.names)) if n != legend.background]
    for place, number in enumerate(shown):
        keys += [
            f"Segment{place}_ID:=Segment_{number}",
            f"Segment{place}_LabelValue:={number}",
            f"Segment{place}_Name:={_escaped([legend.names[number]])}",
            f"Segment{place}_Color:={' '.join(f'{c / 255:.6f}' for c in legend.colours[number])}",
        ]
    return keys


def _escaped(lines: list[str]) -> str:
    """Text as the value of a key, which is one line."""
    return "\n".join(lines).replace("\\", "\\\\").replace("\n", "\\n")


def _grid(image: Image) -> tuple[str, list[int], NDArray[np.float64], NDArray[np.float64]]:
    """Axes and sizes in the order of the file, a direction for each of space, and the origin.

    A plane is written as one where it lies at z = 0 without a turn, else as a volume of one.
    """
    matrix = MIRROR_LPS @ matrix_of(image)
    flat = not matrix[2, [0, 1, 3]].any() and not matrix[:2, 2].any()
    names = "xy" if flat and not set(image.axes) & set("zt") else "xyz"
    names += "t" * ("t" in image.axes)
    sizes = image.sizes
    count, space = len(names), min(len(names), 3)
    columns, origin = np.eye(count), np.zeros(count)
    columns[:space, :space] = matrix[:space, :space].T
    origin[:space] = matrix[:space, 3]
    names = "c" * ("c" in image.axes) + names
    return names, [sizes.get(axis, 1) for axis in names], columns, origin


def _type_of(image: Image) -> tuple[str, str]:
    name = str(pixel_type(np.dtype(image.data.dtype)))
    if name not in TYPES:
        raise FormatError(
            f"NRRD and MetaImage cannot hold pixels of the type {name}: expected one of "
            f"{', '.join(TYPES)}."
        )
    return TYPES[name]


def _pixels(image: Image) -> Any:
    """The planes in the order of the file, as bytes would lie."""
    kind = pixel_type(np.dtype(image.data.dtype), "<")
    for part in planes_in_order(image, "tz"):
        ordered = np.moveaxis(part, 0, -1) if "c" in image.axes else part
        yield np.ascontiguousarray(ordered, kind)


def _numbers(values: NDArray[np.float64]) -> str:
    """With all digits that a float has, and no sign before a zero."""
    return " ".join(repr(float(value) + 0.0) for value in values)


def _vector(values: NDArray[np.float64]) -> str:
    return f"({_numbers(values).replace(' ', ',')})"
