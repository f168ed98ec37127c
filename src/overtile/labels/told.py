"""What a user says of labels, and the file of names and colours that comes with a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from overtile.errors import DataError
from overtile.image import Colour
from overtile.labels.classtable import read_classes
from overtile.labels.label import ClassHint, Hints
from overtile.legend import code_of, colour_of, written
from overtile.settings import LabelSettings, NamedClass


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


def _colour(code: str | None) -> Colour | None:
    return None if code is None else colour_of(int(code[1:], 16))


def read_table(path: Path) -> tuple[NamedClass, ...]:
    """Names of values and colours from a file, written as `classtable.read_classes` says.

    Raises
    ------
    DataError
        It cannot be read, or an entry names neither a value nor a colour.
    """
    classes = read_classes(path)
    known = [
        each for each in classes if each is not None and (each.value, each.colour) != (None, None)
    ]
    if not classes or len(known) < len(classes):
        line = next((n for n, each in enumerate(classes, 1) if each not in known), 0)
        raise DataError(
            f"{path} is no table of classes{f' (entry {line})' if line else ', it is empty'}: "
            "expected a name with a colour, 'road,#6EC1E4' or 'road,110,193,228', or with a value, "
            "'2,road', or 'value,name,colour', for each class."
        )
    return tuple(
        NamedClass(
            name=each.name,
            value=each.value,
            colour=None if each.colour is None else written(code_of(each.colour)),
        )
        for each in known
    )
