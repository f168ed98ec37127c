"""Tables of class names, colours and values that lie beside images, such as classes.json."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from typing import Any

from overtile.errors import DataError
from overtile.image import Colour
from overtile.labels import ClassHint, Hints
from overtile.layouts.tree import Folder

NAMES = re.compile(
    r"_?(classes|class[-_ ]?(dict|names|table|colou?rs|map)|label[-_ ]?(colou?rs|map|names)|labels"
    r"|colou?r[-_ ]?map|legend)\.(json|txt|csv)",
    re.IGNORECASE,
)
UNLABELLED = ("unlabelled", "unlabeled", "void", "ignore", "ignored")
LARGEST = 1 << 20
"""Bytes of such a table at most; what is larger is something else."""


def read_class_table(folder: Folder) -> Hints:
    """What the first table of classes in a folder says; nothing where there is none.

    Known are lists of {"title" or "name", "color", "id" or "value"}, {"name": value or colour},
    lines of "name" or "red green blue name", and CSV with the columns name, r, g, b or value.

    Raises
    ------
    DataError
        A file of such a name is not understood.
    """
    for path in folder.others:
        if NAMES.fullmatch(path.name):
            readers = {".json": _from_json, ".csv": _from_csv, ".txt": _from_lines}
            try:
                if path.stat().st_size > LARGEST:
                    continue
                text = path.read_text("utf-8-sig")
                entries = list(readers[path.suffix.lower()](text))
            except (OSError, ValueError, RecursionError, csv.Error) as error:
                raise DataError(
                    f"{path} cannot be read as a table of classes: {error}. Mend it, or move it "
                    "elsewhere."
                ) from error
            return _hints(entries)
    return Hints()


def _hints(entries: list[ClassHint]) -> Hints:
    ignored = [entry for entry in entries if entry.name.lower() in UNLABELLED]
    classes = tuple(entry for entry in entries if entry not in ignored)
    return Hints(classes, tuple(code for entry in ignored for code in _codes(entry)))


def _codes(entry: ClassHint) -> Iterator[int]:
    """The value of an entry, or its colour as `Label` codes it."""
    if entry.value is not None:
        yield entry.value
    elif entry.colour is not None:
        red, green, blue = entry.colour
        yield red << 16 | green << 8 | blue


def _from_json(text: str) -> Iterator[ClassHint]:
    about = json.loads(text)
    if isinstance(about, dict) and isinstance(about.get("classes"), list | dict):
        about = about["classes"]
    if isinstance(about, dict):  # of names; anything else in it is no table of classes
        whole = all(isinstance(given, int) or _colour(given) for given in about.values())
        named = about.items() if whole else ()
        about = [{"name": name, "value": given, "color": given} for name, given in named]
    for number, entry in enumerate(about if isinstance(about, list) else []):
        if isinstance(entry, str):
            yield ClassHint(entry, number)
        elif isinstance(entry, dict) and ("title" in entry or "name" in entry):
            name = str(entry.get("title", entry.get("name")))
            value = entry.get("value", entry.get("id"))
            colour = _colour(entry.get("color", entry.get("colour")))
            whole = isinstance(value, int) and not isinstance(value, bool)
            yield ClassHint(name, value if isinstance(value, int) and not colour else None, colour)


def _from_csv(text: str) -> Iterator[ClassHint]:
    for row in csv.DictReader(text.splitlines()):
        named = {str(key).strip().lower(): str(cell).strip() for key, cell in row.items()}
        name = named.get("name", named.get("class", named.get("label", "")))
        colour = _colour([named.get(letter) for letter in "rgb"])
        colour = colour or _colour(named.get("color", named.get("colour")))
        value = named.get("value", named.get("pixel value", named.get("id", "")))
        if name:
            yield ClassHint(name, int(value) if value.isdigit() else None, colour)


def _from_lines(text: str) -> Iterator[ClassHint]:
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines()))):
        coloured = re.fullmatch(r"(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,:]+(.+)", line)
        if coloured is not None:
            yield ClassHint(coloured[4].strip(), None, _colour(list(coloured.groups()[:3])))
        else:
            yield ClassHint(line, number)


def _colour(given: Any) -> Colour | None:
    """The colour of "#50E3C2" or [80, 227, 194]; None of anything else."""
    if isinstance(given, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", given):
        red, green, blue = bytes.fromhex(given[1:])
        return red, green, blue
    if isinstance(given, list | tuple) and len(given) == 3:
        numbers = [int(part) for part in given if str(part).isdigit()]
        if len(numbers) == 3 and max(numbers) <= 255:
            return numbers[0], numbers[1], numbers[2]
    return None
