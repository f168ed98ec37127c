"""Files that name classes by values and colours, in JSON or line by line, as people write them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overtile.errors import DataError
from overtile.image import Colour
from overtile.labels.label import ClassHint
from overtile.legend import colour_of

NAMES = ("name", "title", "class", "label")
CODES = ("color", "colour", "hex", "rgb")
VALUES = ("value", "id", "index", "pixel value")
"""Keys that JSON files of classes have, and the heads of columns."""

RGB = ("red", "green", "blue")
NUMBER, CODE = re.compile(r"-?\d+"), re.compile(r"#?[0-9A-Fa-f]{6}")
COLOUR_FIRST = re.compile(r"(\d+)\s+(\d+)\s+(\d+)[\s:]+(\D.*)")


def read_classes(path: Path) -> list[ClassHint | None]:
    """The classes that a file names, in its order.

    Parameters
    ----------
    path
        JSON: a list of objects with ``name`` (or ``title``), ``colour`` and ``value``, or of names;
        such a list under a key; or an object from names to colours or values. Any other file: a
        class a line, its fields between commas, semicolons or tabs, in the columns that a first
        line of headings names; without one, a name and #RRGGBB or red, green, blue, or a value, or
        all three with the value first. Or red, green, blue and a name between spaces.

    Returns
    -------
    list
        None in the place of an entry that is no class. What is a name alone has neither value nor
        colour.

    Raises
    ------
    DataError
        It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return _of_json(json.loads(text)) if path.suffix.lower() == ".json" else _of_lines(text)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read as a table of classes: {error}. Mend it, or leave it out."
        ) from error


def _of_json(found: Any) -> list[ClassHint | None]:
    if isinstance(found, dict):
        inside = found.get("classes")
        if not isinstance(inside, list | dict):
            inside = next((item for item in found.values() if _lists_objects(item)), None)
        if inside is not None:
            return _of_json(inside)
        named = [_named(str(name), None, code) for name, code in found.items()]
        return named if None not in named else [None]  # a file on something else
    if not isinstance(found, list):
        return []
    return [ClassHint(item) if isinstance(item, str) else _of_object(item) for item in found]


def _lists_objects(item: Any) -> bool:
    """Whether it is a list of classes: that of a colour holds numbers."""
    return isinstance(item, list) and any(isinstance(part, dict) for part in item)


def _of_object(item: Any) -> ClassHint | None:
    if not isinstance(item, dict):
        return None
    lower = {str(key).lower(): value for key, value in item.items()}
    name, colour, value = (
        next((lower[key] for key in keys if key in lower), None) for keys in (NAMES, CODES, VALUES)
    )
    return None if name is None else _named(str(name), value, colour)


def _of_lines(text: str) -> list[ClassHint | None]:
    lines = [line for line in text.splitlines() if line.strip()]
    mark = next((mark for mark in "\t;," if lines and mark in lines[0]), ",")
    rows = [[field.strip() for field in row] for row in csv.reader(lines, delimiter=mark)]
    heads = [field.lower() for field in rows[0]] if rows else []
    numbers = any(NUMBER.fullmatch(head) or head.startswith("#") for head in heads)
    names = [place for place, head in enumerate(heads) if any(word in head for word in NAMES)]
    if len(heads) > 1 and names and not numbers:
        return [_of_row(heads, names[0], row) for row in rows[1:]]
    return [_of_fields([field for field in row if field]) for row in rows]


def _of_row(heads: list[str], name: int, row: list[str]) -> ClassHint | None:
    """A class of the cells of a row, by the heads of their columns."""
    cells = {head: cell for head, cell in zip(heads, row, strict=False) if cell}
    parts = [cells.get(short, cells.get(full)) for short, full in zip("rgb", RGB, strict=True)]
    code = next((cells[key] for key in CODES if key in cells), None)
    value = next((cells[key] for key in VALUES if key in cells), "")
    number = int(value) if NUMBER.fullmatch(value) else None
    colour = [int(part) if part.isdecimal() else -1 for part in parts if part]
    return _named(row[name], number, colour or code) if name < len(row) and row[name] else None


def _of_fields(fields: list[str]) -> ClassHint | None:
    """A class of the fields of a line: what is no number and no colour is its name."""
    if coloured := COLOUR_FIRST.fullmatch(" ".join(fields)):
        return _named(coloured[4], None, [int(part) for part in coloured.groups()[:3]])
    numbers = [int(field) for field in fields if NUMBER.fullmatch(field)]
    rest = [field for field in fields if not NUMBER.fullmatch(field)]
    codes = [f for f in rest if f.startswith("#") or (CODE.fullmatch(f) and len(numbers) < 3)]
    words = [field for field in rest if field not in codes]
    if not words and codes and not codes[0].startswith("#"):
        words.append(codes.pop(0))  # a name of six letters up to f, such as "facade"
    if not codes and not numbers:
        return ClassHint(", ".join(words))
    if len(words) != 1 or len(codes) > 1 or len(numbers) not in (0, 1, 3, 4):
        return None
    colour: Any = codes[0] if codes else None
    if len(numbers) >= 3:
        colour = numbers[-3:]
        numbers = numbers[:-3]
    return _named(words[0], numbers[0] if numbers else None, colour)


def _named(name: str, value: Any, colour: Any) -> ClassHint | None:
    """A class; None without a value and a colour that can be understood."""
    if isinstance(colour, int):  # names to values, as nnU-Net writes them
        value, colour = colour, None
    known = _colour(colour)
    if (colour is not None and known is None) or (known is None and not isinstance(value, int)):
        return None
    return ClassHint(name, value if isinstance(value, int) else None, known)


def _colour(given: Any) -> Colour | None:
    """The colour of "#50E3C2", "50E3C2" or [80, 227, 194]; None of anything else."""
    if isinstance(given, str) and CODE.fullmatch(given.strip()):
        return colour_of(int(given.strip().removeprefix("#"), 16))
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given) >= 3:
        red, green, blue = given[:3]
        if all(isinstance(part, int) and 0 <= part <= 255 for part in (red, green, blue)):
            return red, green, blue
    return None
