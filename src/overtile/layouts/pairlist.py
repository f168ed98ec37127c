"""A CSV of pairs: columns image and label, and if need be group and split."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from overtile import io
from overtile.errors import DataError
from overtile.layouts.found import Found, Row, with_own_names
from overtile.layouts.names import IMAGE_WORDS, LABEL_WORDS, PARTS
from overtile.layouts.openers import Channels, ClassMasks
from overtile.layouts.source import Opener
from overtile.layouts.tree import Folder, is_there

GROUPS = ("group", "scene", "patient", "case", "sequence")
SPLITS = ("split", "part", "subset", "set")
FORM = (
    "expected a first line such as 'image,label' (and group, split), then one pair a line, paths "
    "from the folder of the CSV on, several files of one image parted by ';'"
)


@dataclass(frozen=True)
class _Columns:
    """Where in a line the files, the group and the part stand."""

    images: list[int]
    labels: list[int]
    names: list[str]
    group: int | None
    split: int | None


def find_pairlist(folder: Folder) -> Found | None:
    """The only CSV in a folder whose first line names images and labels."""
    lists = [path for path in folder.others if path.suffix.lower() == ".csv" and _is_list(path)]
    if len(lists) > 1:
        raise DataError(
            f"{folder.path} holds several lists of pairs: "
            f"{', '.join(path.name for path in lists)}. Give the one that is meant."
        )
    return read_pairlist(lists[0]) if lists else None


def _is_list(path: Path) -> bool:
    """Whether the first line names images and labels, and the second a label that is a file.

    Classes of whole images are listed under the same headings.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head, first = (file.readline(1 << 16) for _ in range(2))
        comma = _comma(head)
        columns, cells = _columns(_split(head, comma)), _split(first, comma)
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    if columns is None or len(cells) <= columns.labels[0]:
        return False
    named = cells[columns.labels[0]].split(";")[0].strip()
    return bool(named) and is_there(path.parent / named)


def read_pairlist(path: Path) -> Found:
    """The pairs of a CSV.

    Raises
    ------
    DataError
        It cannot be read, its first line names no images and labels, or a file is not there.
    """
    try:
        if not path.is_file() and path.exists():
            raise OSError("it is a pipe, a socket or a device")
        lines = path.read_text("utf-8-sig").splitlines()
        head, *table = csv.reader(lines, delimiter=_comma(lines[0])) if lines else [[""]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV of pairs: {error}; {FORM}.") from error
    columns = _columns(head)
    if columns is None:
        raise DataError(f"{path} begins with '{','.join(head)}': {FORM}.")
    rows, aside = [], []
    for number, cells in enumerate(table, start=2):
        if any(map(str.strip, cells)):
            row = _row(path, number, [*cells, *[""] * (len(head) - len(cells))], columns)
            if isinstance(row, Row):
                rows.append(row)
            else:
                aside.append(row)
    if not rows:
        raise DataError(f"{path} lists no image with a label: {FORM}.")
    how = f"listed in {path.name}"
    return Found(with_own_names(rows), how, aside=tuple(aside))


def _comma(line: str) -> str:
    return next((sign for sign in ",\t;" if sign in line), ",")


def _split(line: str, comma: str) -> list[str]:
    return next(csv.reader([line.rstrip("\r\n")], delimiter=comma), [])


def _columns(head: list[str]) -> _Columns | None:
    """What each column holds; None where there are not both images and labels."""
    words = [re.findall(r"[a-z]+|\d+", name.lower()) for name in head]
    labels = [place for place, found in enumerate(words) if LABEL_WORDS.intersection(found)]
    images = [
        place
        for place, found in enumerate(words)
        if IMAGE_WORDS.intersection(found) and place not in labels
    ]
    if not images or not labels:
        return None
    plain = LABEL_WORDS | {"path", "file", "filename"}
    names = ["_".join(word for word in words[place] if word not in plain) for place in labels]
    lower = [name.strip().lower() for name in head]
    group, split = (
        next((place for place, name in enumerate(lower) if name in known), None)
        for known in (GROUPS, SPLITS)
    )
    return _Columns(images, labels, names, group, split)


def _row(path: Path, number: int, cells: list[str], columns: _Columns) -> Row | str:
    """The pair of a line; the image's name where it has no label."""
    where = f"{path}, line {number}"
    images = _files(path.parent, where, [cells[place] for place in columns.images])
    labels = [_files(path.parent, where, [cells[place]]) for place in columns.labels]
    if not images:
        raise DataError(f"{where}: there is no image; {FORM}.")
    name = io.stem_of(images[0])
    image: Path | Opener = images[0] if len(images) == 1 else Channels(tuple(images))
    given = "" if columns.split is None else cells[columns.split].strip().lower()
    if given and given not in PARTS:
        raise DataError(f"{where}: '{given}' is no part: expected train, validation or test.")
    group = "" if columns.group is None else cells[columns.group].strip()
    flat = [file for files in labels for file in files]
    if not flat:
        return name
    label: Path | Opener = flat[0]
    if len(labels) > 1:
        names = tuple(name or str(place) for place, name in enumerate(columns.names, start=1))
        label = ClassMasks(tuple(files[0] if files else None for files in labels), names)
    elif len(flat) > 1:
        label = ClassMasks(tuple(flat), tuple(str(n) for n in range(1, len(flat) + 1)))
    return Row(name, image, label, group, PARTS[given] if given else "")


def _files(root: Path, where: str, cells: list[str]) -> list[Path]:
    texts = [text.strip() for cell in cells for text in cell.split(";")]
    paths = [root / text.replace("\\", "/") for text in texts if text]
    for path in paths:
        if not is_there(path):
            raise DataError(f"{where}: there is no file {path}; {FORM}.")
    return paths
