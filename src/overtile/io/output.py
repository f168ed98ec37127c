"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from overtile.errors import FormatError, OutputError
from overtile.io.place import FOLDER_SUFFIX, LABELS, Url, home_of, is_zarr
from overtile.legend import Legend

Content = Literal["image", "classes", "probabilities", "objects"]
"""What the pixels of a file are: intensities, class ids, a probability for each class, or ids of
objects."""


@dataclass(frozen=True)
class Manner:
    """How an image is written.

    Attributes
    ----------
    name
        Of the file when it is complete.
    legend
        Of class ids in uint8: their names, and the colours in which viewers show them.
    overviews
        Whether smaller copies for viewers are added, where the format can hold them.
    content
        What the pixels are.
    """

    name: str
    legend: Legend | None = None
    overviews: bool = False
    content: Content = "image"


def check_free(path: Path, overwrite: bool) -> None:
    """Pass where an output may be written; ask before the work rather than after it.

    Raises
    ------
    OutputError
        Something of this name exists and `overwrite` is false, or it is a folder (other than a
        Zarr), or there is no folder to write into.
    """
    if isinstance(path, Url):
        raise OutputError(
            f"{path} is a URL, and results are written to this machine: name a file or a .zarr "
            "here, and copy it when it is complete."
        )
    inside = home_of(path) is not None
    if not inside and (image := next(filter(is_zarr, path.parents), None)) is not None:
        raise OutputError(
            f"{path} lies inside of a Zarr, where results belong to its labels: name "
            f"{image / LABELS / path.name}, or a file elsewhere."
        )
    if path.is_dir() and path.suffix.lower() != FOLDER_SUFFIX and not inside:
        raise OutputError(f"{path} is a folder: expected the name of a file to write.")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already and is kept: choose another name, or allow it to be replaced "
            "(--overwrite, overwrite=True)."
        )
    if path.is_dir() and any(path.iterdir()) and not is_zarr(path):
        raise OutputError(
            f"{path} is a folder that holds no Zarr, and is not replaced: choose another name, or "
            "remove it yourself."
        )
    if not path.parent.is_dir() and not inside:
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}. Create it.")


def check_label(path: Path, content: Content) -> None:
    """Pass unless a place among the labels of an image is given to what is no label.

    Raises
    ------
    FormatError
        It is.
    """
    home = home_of(path)
    if home is not None and content not in ("classes", "objects"):
        raise FormatError(
            f"{path} would be a label of {home}, which holds class ids or object ids, and no "
            f"{content}: write to a .zarr of its own."
        )


def check_room(path: Path, needed_bytes: int) -> None:
    """Pass where the disk has so many bytes free for an output.

    Parameters
    ----------
    path
        Of the output; the nearest folder above it that exists tells the disk.
    needed_bytes
        What it may take at most.

    Raises
    ------
    OutputError
        There is less.
    """
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise OutputError(
            f"{path} may need {needed_bytes / 1e9:.3f} GB, and {folder} has {free / 1e9:.3f} GB "
            "free: make room, or choose a place on another disk."
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into our error.

    Raises
    ------
    OutputError
        No permission, disk full.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error


@contextmanager
def new_path(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """A path to make a file or folder at, which is moved to its name when it is complete.

    Until then it lies in a hidden temporary folder beside it (a rename is atomic only inside one
    file system), under its own name, by which libraries choose what they write. After any
    exception, Ctrl-C included, it is removed and whatever was at `path` is untouched.

    Raises
    ------
    OutputError
        As `check_free`; or the operating system refuses (no permission, disk full).
    """
    check_free(path, overwrite)
    folder = path.with_name(f".{secrets.token_hex(4)}.part")
    try:
        with writing(path):
            folder.mkdir(parents=True)  # the labels of a Zarr may be the first
            yield folder / path.name
        move(folder / path.name, path, overwrite)
    finally:
        remove(folder)


@contextmanager
def new_file(path: Path, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which gets its name when all is written; as `new_path`."""
    with new_path(path, overwrite) as part, part.open("xb") as file:
        yield file
        file.close()  # before it is renamed


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def move(part: Path, path: Path, overwrite: bool = False) -> None:
    """Give a file or folder that is complete its name, in the same file system.

    Raises
    ------
    OutputError
        As `check_free`; or the operating system refuses.
    """
    check_free(path, overwrite)
    with writing(path):
        if path.is_dir():
            remove(path)
        part.replace(path)
