"""What lies in a folder, looked at with care: one level at a time, links that loop passed over."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from overtile import io
from overtile.errors import DataError

LONGEST_NUMBER = 18
"""Digits by which names are ordered; more are no number, and slow."""


@dataclass(frozen=True)
class Folder:
    """What a folder holds, in the order of names, numbers in them ordered by value.

    Attributes
    ----------
    path
        Of the folder.
    images
        Image files, and folders that are images (.zarr).
    folders
        All other folders.
    others
        All other files.
    """

    path: Path
    images: tuple[Path, ...]
    folders: tuple[Path, ...]
    others: tuple[Path, ...]
    _seen: dict[str, Folder] = field(default_factory=dict, compare=False, repr=False)

    def has(self, *names: str) -> bool:
        """Whether there are sub-folders of all these names."""
        return set(names) <= {path.name for path in self.folders}

    def into(self, name: str) -> Folder:
        """What a sub-folder holds, looked at once: many layouts ask for it. Raises as `look`."""
        if name not in self._seen:
            self._seen[name] = look(self.path / name)
        return self._seen[name]


def look(path: Path) -> Folder:
    """What a folder holds; hidden names and links that lead nowhere are passed over.

    Raises
    ------
    DataError
        It cannot be read.
    """
    images: list[Path] = []
    folders: list[Path] = []
    others: list[Path] = []
    suffixes = tuple(s for form in io.FORMATS if not form.folder for s in form.suffixes)
    try:
        with os.scandir(path) as found:  # tells files from folders without a call for each
            entries = sorted(found, key=lambda entry: in_order(entry.name))
        (path / "..").stat()  # fails where names may be listed, but files not be reached
    except OSError as error:
        raise DataError(f"The folder {path} cannot be read: {error.strerror}.") from error
    for entry in entries:
        inside, is_link = path / entry.name, entry.is_symlink()
        if entry.name.startswith(".") or (is_link and not is_there(inside)):
            continue
        if is_folder(inside) if is_link else entry.is_dir():
            kind = images if io.is_known(inside) else folders
        else:
            known = entry.name.lower().endswith(suffixes) or io.is_known(inside)
            kind = images if known else others
            if not known and not entry.is_file():  # reading a pipe would wait for its writer
                continue
        kind.append(inside)
    return Folder(path, tuple(images), tuple(folders), tuple(others))


def is_folder(path: Path) -> bool:
    """Whether there is a folder; not where a link loops or the way there is barred."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_there(path: Path) -> bool:
    """Whether there is a file or folder; not where no file could have such a name."""
    try:
        return path.exists()
    except OSError:
        return False


def check_reachable(path: Path) -> None:
    """Refuse a path of which the system does not even say whether it is there.

    Raises
    ------
    DataError
        The way is barred, links loop, or no file could have such a name.
    """
    try:
        path.exists()
    except OSError as error:
        raise DataError(f"{path} cannot be reached: {error.strerror}.") from error


def in_order(name: str) -> tuple[list[tuple[str, int]], str]:
    """A key that orders numbers inside names by value; equal ones by the name itself."""
    pieces = re.findall(r"(\D*)(\d*)", name)
    return [(text, int(digits[:LONGEST_NUMBER] or -1)) for text, digits in pieces], name
