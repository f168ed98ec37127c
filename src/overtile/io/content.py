"""Whether a file is what its name says, told by its first bytes."""

from __future__ import annotations

import stat
from pathlib import Path

from overtile.errors import FormatError
from overtile.io.formats import FORMATS, Format
from overtile.io.gzipped import SIGNATURE as GZIP
from overtile.io.naming import file_of
from overtile.io.place import ZARR_FILES, Url


def check_content(path: Path, form: Format) -> None:
    """Compare what a path leads to, and its first bytes, with what its suffix says.

    Nothing but regular files and folders is opened: reading a pipe would wait for its writer.
    """
    if isinstance(path, Url):
        return  # opening it says
    path = path if form.folder else file_of(path)
    try:
        kind = path.stat().st_mode
        if form.folder and stat.S_ISDIR(kind):
            odd = [name for name in ZARR_FILES if (path / name).exists()]
            odd = [name for name in odd if not (path / name).is_file()]
            if odd:
                raise FormatError(f"{path} holds {odd[0]}, which is no file: expected {form.name}.")
            return
        if form.folder:
            raise FormatError(
                f"{path} is a file, and a {form.name} is a folder: if it is an archive, unpack it."
            )
        if form.series and stat.S_ISDIR(kind):
            return
        if stat.S_ISDIR(kind):
            raise FormatError(f"{path} is a folder: expected an image file.")
        if not stat.S_ISREG(kind):
            raise FormatError(
                f"{path} is a pipe, a socket or a device: expected a file with an image in it."
            )
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}.") from error
    if not start:
        raise FormatError(f"{path} is empty (0 bytes): expected {form.name}. Copy it again.")
    if not form.signatures or start.startswith(form.signatures):
        return
    if start.startswith(GZIP):
        raise FormatError(
            f"{path} is named like {form.name} but compressed as a whole (gzip): unpack it first "
            f"(gunzip)."
        )
    for other in FORMATS:
        if other.signatures and not other.several and start.startswith(other.signatures):
            raise FormatError(
                f"{path} is named like {form.name} but holds {other.name}: rename it to "
                f"{path.with_suffix(other.suffixes[0]).name}."
            )
    raise FormatError(
        f"{path} is named like {form.name}, but its first bytes are those of no image that "
        "Overtile knows. Copy or export it again."
    )
