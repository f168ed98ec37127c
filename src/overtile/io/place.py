"""Where an image is: a file, a place inside of one, or a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from overtile.errors import DataError

PROTOCOL = re.compile(r"[a-z][a-z0-9+.:-]+:")
"""Of a URL, or several chained ones (fsspec: "simplecache::s3:"); a drive has one letter."""

if TYPE_CHECKING:
    _Local = Path
else:
    _Local = type(Path())  # before Python 3.12, Path itself cannot be derived from


class Url(_Local):
    """The place of an image that fsspec reaches: a path whose first part is a protocol.

    It is taken apart and put together as a path is. Nothing is asked of the server before the image
    is opened, since many servers do not say what a folder holds: such a place is taken to exist.

    Examples
    --------
    >>> str(Url("s3:", "bucket", "a.zarr") / "labels")
    's3://bucket/a.zarr/labels'
    """

    def __str__(self) -> str:
        if not self.parts or not PROTOCOL.fullmatch(self.parts[0]):
            return "/".join(self.parts) or "."  # a part of a URL, as `relative_to` gives it
        return f"{self.parts[0]}//{'/'.join(self.parts[1:])}"

    __fspath__ = __str__

    def exists(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Whether it can be tried to open."""
        return True

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Whether it is a folder: an image there is one."""
        return True

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Whether it is a file."""
        return False

    def absolute(self) -> Url:
        """Itself."""
        return self

    def resolve(self, strict: bool = False) -> Url:  # noqa: ARG002
        """Itself."""
        return self

    def iterdir(self) -> Generator[Url, None, None]:
        """Never the content of a folder.

        Raises
        ------
        DataError
            Always.
        """
        raise DataError(f"{self} is a URL, whose images cannot be listed: give that of an image.")


def is_regular(path: Path) -> bool:
    """Whether there is a file of bytes; not where no file could have such a name."""
    try:
        return path.is_file()
    except OSError:
        return False


def place(path: str | os.PathLike[str]) -> Path:
    """A path, which is a `Url` where it begins with a protocol such as "s3://".

    A path that has already lost one of the two strokes ("s3:/bucket") is understood as well.
    """
    if isinstance(path, Url):
        return path
    parts = Path(path).parts
    if not parts or not PROTOCOL.fullmatch(parts[0]):
        return Path(path)
    return Path("/", *parts[1:]) if parts[0] == "file:" else Url(*parts)


FOLDER_SUFFIX = ".zarr"
"""Of the images that are folders: such a folder is an output like a file."""


LABELS = "labels"
"""The group of an OME-Zarr in which the labels of the image lie."""


ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""One of these lies in every folder of Zarr (its specifications, versions 3 and 2)."""


def is_zarr(path: Path) -> bool:
    """Whether a folder is one of Zarr, as far as can be told without asking a server."""
    if isinstance(path, Url):
        return path.suffix.lower() == FOLDER_SUFFIX
    return any((path / name).exists() for name in ZARR_FILES)


def home_of(path: Path) -> Path | None:
    """The Zarr of the image among whose labels a path lies, if it does."""
    groups = (folder for folder in path.parents if folder.name == LABELS)
    return next((group.parent for group in groups if is_zarr(group.parent)), None)
