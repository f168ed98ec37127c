"""Tables of class names, colours and values that lie beside images, such as classes.json."""

from __future__ import annotations

import re
from dataclasses import replace

from overtile.labels import ClassHint, Hints
from overtile.labels.classtable import read_classes
from overtile.labels.valuetable import is_unlabelled
from overtile.layouts.tree import Folder
from overtile.legend import code_of

NAMES = re.compile(
    r"_?(classes|class[-_ ]?(dict|names|table|colou?rs|map)|label[-_ ]?(colou?rs|map|names)|labels"
    r"|colou?r[-_ ]?map|legend)\.(json|txt|csv)",
    re.IGNORECASE,
)
LARGEST = 1 << 20
"""Bytes of such a table at most; what is larger is something else."""


def read_class_table(folder: Folder) -> Hints:
    """What the first table of classes in a folder says; nothing where there is none.

    As `overtile.labels.classtable` reads it; names without a value or a colour are those of the
    values 0, 1, ...

    Raises
    ------
    DataError
        A file of such a name cannot be read.
    """
    for path in folder.others:
        if NAMES.fullmatch(path.name) and path.stat().st_size <= LARGEST:
            by_tool = path.suffix.lower() == ".json"
            found = enumerate(read_classes(path))
            return _hints([_coded(n, each, by_tool) for n, each in found if each is not None])
    return Hints()


def _coded(place: int, hint: ClassHint, by_tool: bool) -> ClassHint:
    if hint.colour is not None:  # annotation programs number classes for themselves
        return replace(hint, value=None) if by_tool else hint
    return hint if hint.value is not None else replace(hint, value=place)


def _hints(entries: list[ClassHint]) -> Hints:
    ignored = [entry for entry in entries if is_unlabelled(entry.name)]
    classes = tuple(entry for entry in entries if entry not in ignored)
    return Hints(classes, tuple(_code(entry) for entry in ignored))


def _code(entry: ClassHint) -> int:
    """The value of an entry, or its colour as `Label` codes it."""
    if entry.colour is not None:
        return code_of(entry.colour)
    assert entry.value is not None
    return entry.value
