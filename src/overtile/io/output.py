"""Files that appear whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from overtile.errors import OutputError


def check_free(path: Path, overwrite: bool) -> None:
    """Pass where an output may be written; ask before the work rather than after it.

    Raises
    ------
    OutputError
        Something of this name exists and `overwrite` is false, or it is a folder, or there is no
        folder to write into.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder: expected the name of a file to write.")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already and is kept: choose another name, or allow it to be replaced "
            "(--overwrite, overwrite=True)."
        )
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}. Create it.")


@contextmanager
def new_file(path: Path, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which gets its name when all is written.

    Until then the bytes lie under a hidden temporary name in the same folder (a rename is atomic
    only inside one file system); after any exception, Ctrl-C included, that file is removed and
    whatever was at `path` is untouched.

    Raises
    ------
    OutputError
        As `check_free`; or the operating system refuses (no permission, disk full).
    """
    check_free(path, overwrite)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
