"""Images that are named inside of a file, "cells.h5/raw", as files are."""

from __future__ import annotations

from pathlib import Path

from overtile.io.content import check_content
from overtile.io.naming import file_of, format_of
from overtile.io.place import Url


def name_of(path: Path) -> str:
    """What a path is called in messages: the name of its file, and what is named inside."""
    return path.relative_to(file_of(path).parent).as_posix()


def member(path: Path, as_label: bool = False) -> Path:
    """The path of the image that `open` reads, where a file holds several; else the path itself."""
    form = format_of(path)
    if form.inside is None or form.inside.member is None:
        return path
    check_content(path, form)
    return form.inside.member(path, as_label)


def exists(path: Path) -> bool:
    """Whether there is such a file or folder, or the file that it should lie in."""
    file = file_of(path)
    return file.exists() if file.is_file() else path.exists()


def modified_ns(path: Path) -> int:
    """When the file of an image was last changed; 0 of a URL, which cannot be asked."""
    return 0 if isinstance(path, Url) else file_of(path).stat().st_mtime_ns
