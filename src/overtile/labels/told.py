"""What a user says of labels, and the file of names and colours that comes with a data set."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from overtile.errors import DataError
from overtile.labels.label import ClassHint, Hints, code_of
from overtile.settings import LabelSettings, NamedClass

NAMES = ("name", "title", "class", "label")
CODES = ("color", "colour", "hex", "rgb")
VALUES = ("value", "id", "index")
"""Keys that JSON files of classes have, and the heads of columns."""


def told(settings: LabelSettings, hints: Hints) -> Hints:
    """The hints of a data set, with what the user says instead of them or besides."""
    classes = tuple(
        ClassHint(named.name, named.value, _colour(named.colour)) for named in settings.colours
    )
    codes = [item if isinstance(item, int) else int(item[1:], 16) for item in settings.ignore]
    return replace(
        hints,
        classes=classes or hints.classes,
        ignored=tuple(dict.fromkeys((*hints.ignored, *codes))),
    )


def _colour(code: str | None) -> tuple[int, int, int] | None:
    if code is None:
        return None
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def read_table(path: Path) -> tuple[NamedClass, ...]:
    """Names of values and colours from a file.

    Parameters
    ----------
    path
        JSON: a list of objects with ``name`` (or ``title``), ``colour`` and ``value``, or such a
        list under a key, or an object from names to colours. Any other file: a class a line, its
        fields between commas, semicolons or tabs: a name, then #RRGGBB or red, green, blue; a value
        before or behind the name. A first line of headings is passed over.

    Raises
    ------
    DataError
        It cannot be read, or a line names neither a value nor a colour.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text) if path.suffix.lower() == ".json" else None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table of classes: {error}.") from error
    classes = [_of_line(row) for row in _lines(text)] if found is None else _of_json(found)
    if not classes or None in classes:
        line = classes.index(None) + 1 if classes else 0
        raise DataError(
            f"{path} is no table of classes{f' (entry {line})' if line else ', it is empty'}: "
            "expected a name with a colour, 'road,#6EC1E4' or 'road,110,193,228', or with a value, "
            "'2,road', or 'value,name,colour', for each class."
        )
    return tuple(each for each in classes if each is not None)


def _of_json(found: Any) -> list[NamedClass | None]:
    if isinstance(found, dict):
        inside = next((item for item in found.values() if _is_list(item)), None)
        if inside is None:
            return [_named(str(name), None, colour) for name, colour in found.items()]
        found = inside
    if not isinstance(found, list):
        return []
    return [_of_object(item) if isinstance(item, dict) else None for item in found]


def _is_list(item: Any) -> bool:
    """Whether it is a list of classes: that of a colour holds numbers."""
    return isinstance(item, list) and any(isinstance(part, dict) for part in item)


def _of_object(item: dict[str, Any]) -> NamedClass | None:
    lower = {str(key).lower(): value for key, value in item.items()}
    name, colour, value = (
        next((lower[key] for key in keys if key in lower), None) for keys in (NAMES, CODES, VALUES)
    )
    return None if name is None else _named(str(name), value, colour)


def _lines(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    mark = next((mark for mark in "\t;," if lines and mark in lines[0]), ",")
    rows = [[field.strip() for field in row] for row in csv.reader(lines, delimiter=mark)]
    if rows and {field.lower() for field in rows[0]} & {*NAMES, *CODES, *VALUES, "r", "red"}:
        rows = rows[1:]
    return rows


def _of_line(fields: list[str]) -> NamedClass | None:
    """A class of the fields of a line: what is no number and no colour is its name."""
    fields = [field for field in fields if field]
    numbers = [int(field) for field in fields if re.fullmatch(r"-?\d+", field)]
    codes = [field for field in fields if re.fullmatch(r"#?[0-9A-Fa-f]{6}", field)]
    codes = [code for code in codes if code.startswith("#") or len(numbers) < 3]
    codes = [code for code in codes if not re.fullmatch(r"\d{6}", code)]
    words = [field for field in fields if field not in codes and not re.fullmatch(r"-?\d+", field)]
    if len(words) != 1 or len(codes) > 1 or len(numbers) not in (0, 1, 3, 4):
        return None
    colour: Any = codes[0] if codes else None
    if len(numbers) >= 3:
        colour = numbers[-3:]
        numbers = numbers[:-3]
    return _named(words[0], numbers[0] if numbers else None, colour)


def _named(name: str, value: Any, colour: Any) -> NamedClass | None:
    """A class, None without a value and a colour that can be understood."""
    if isinstance(colour, str):
        digits = colour.strip().removeprefix("#")
        if not re.fullmatch(r"[0-9A-Fa-f]{6}", digits):
            return None
        colour = f"#{digits.upper()}"
    elif isinstance(colour, list | tuple):
        if len(colour) < 3 or not all(isinstance(c, int) and 0 <= c <= 255 for c in colour):
            return None
        colour = f"#{code_of(tuple(colour[:3])):06X}"
    elif colour is not None:  # names to values, as nnU-Net writes them
        value, colour = colour, None
    if colour is None and not isinstance(value, int):
        return None
    return NamedClass(name=name, value=value if isinstance(value, int) else None, colour=colour)
