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
        if _is_folder(path, form):
            return
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}.") from error
    if not start:
        raise FormatError(f"{path} is empty (0 bytes): expected {form.name}. Copy it again.")
    if form.signatures and not start.startswith(form.signatures):
        raise _other(path, form, start)


def _is_folder(path: Path, form: Format) -> bool:
    """Whether it is a folder that the format can be, and not a file; refuse what is neither."""
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind) and form.folder:
        odd = [name for name in ZARR_FILES if (path / name).exists()]
        odd = [name for name in odd if not (path / name).is_file()]
        if odd:
            raise FormatError(f"{path} holds {odd[0]}, which is no file: expected {form.name}.")
        return True
    if form.folder:
        raise FormatError(
            f"{path} is a file, and a {form.name} is a folder: if it is an archive, unpack it."
        )
    if stat.S_ISDIR(kind) and not form.series:
        raise FormatError(f"{path} is a folder: expected an image file.")
    if not (stat.S_ISDIR(kind) or stat.S_ISREG(kind)):
        raise FormatError(
            f"{path} is a pipe, a socket or a device: expected a file with an image in it."
        )
    return stat.S_ISDIR(kind)


def _other(path: Path, form: Format, start: bytes) -> FormatError:
    """What to say of a file whose first bytes are those of something else."""
    if start.startswith(GZIP):
        return FormatError(
            f"{path} is named like {form.name} but compressed as a whole (gzip): unpack it first "
            f"(gunzip)."
        )
    for other in FORMATS:
        if other.signatures and not other.inside and start.startswith(other.signatures):
            return FormatError(
                f"{path} is named like {form.name} but holds {other.name}: rename it to "
                f"{path.with_suffix(other.suffixes[0]).name}."
            )
    return FormatError(
        f"{path} is named like {form.name}, but its first bytes are those of no image that "
        "Overtile knows. Copy or export it again."
    )
