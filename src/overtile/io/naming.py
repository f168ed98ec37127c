"""Which format a name stands for, and what the image of a name is called."""

from __future__ import annotations

from pathlib import Path

from overtile.errors import FormatError
from overtile.io.dicom import holds_dicom, is_series
from overtile.io.formats import FORMATS, Format
from overtile.io.place import Url, is_zarr


def is_known(path: Path) -> bool:
    """Whether a name is that of an image: by its suffix, as a URL, or inside of a file of images.

    What is there already counts too: a folder only where the format is one, a file only where it
    is not; and of DICOM a folder that holds a series, and a file with another suffix or none.
    """
    if isinstance(path, Url) or _holder(path) is not None:
        return True
    known = [form for form in FORMATS if path.name.lower().endswith(form.suffixes)]
    try:
        named = any(not (path.is_file() if form.folder else path.is_dir()) for form in known)
        return named or _is_dicom(path)
    except PermissionError:  # inside a folder that may not be entered: opening it says so
        return True


def _is_dicom(path: Path) -> bool:
    return is_series(path) if path.is_dir() else holds_dicom(path)


def stem_of(path: Path) -> str:
    """The name of a file without the suffix of its format: "brain" of "brain.nii.gz".

    Of a name that is no image's, without what follows its last dot. The "ome" of .ome.tif and
    .ome.zarr is taken off as well. What is named inside of a file follows: "cells-raw" of
    "cells.h5/raw".
    """
    if (held := _holder(path)) is not None:
        return "-".join([stem_of(held[1]), *path.relative_to(held[1]).parts])
    name = path.name
    for form in FORMATS:
        for suffix in sorted(form.suffixes, key=len, reverse=True):
            if name.lower().endswith(suffix):
                stem = name[: -len(suffix)]
                return stem[:-4] if stem.lower().endswith(".ome") else stem
    return path.name if path.is_dir() else path.stem


def format_of(path: Path) -> Format:
    """The format that a name stands for, whether or not there is such a file.

    Raises
    ------
    FormatError
        The suffix is that of no format in the table, or a URL is one of a single file.
    """
    if (held := _holder(path)) is not None:
        return held[0]
    form = _named(path)
    if isinstance(path, Url):
        if form is not None and not (form.folder and form.inside):
            raise FormatError(
                f"{path} is the URL of a {form.name}, and only Zarrs are read where they lie: "
                "download it."
            )
        return next(form for form in FORMATS if form.folder and form.inside)
    if form is not None:
        return form
    if _is_dicom(path):
        return next(form for form in FORMATS if form.series)
    known = ", ".join(suffix for form in FORMATS for suffix in form.suffixes)
    if path.suffix.lower() == ".gz":
        raise FormatError(
            f"{path} is compressed as a whole (gzip), so that no part of it can be read alone: "
            f"unpack it first (gunzip). Overtile knows {known}."
        )
    raise FormatError(
        f"{path} has the suffix '{path.suffix}', which is not that of an image file that "
        f"Overtile knows: {known}."
    )


def file_of(path: Path) -> Path:
    """The file, or the folder of a Zarr, that an image is or lies in."""
    held = _holder(path)
    return path if held is None else held[1]


def _holder(path: Path) -> tuple[Format, Path] | None:
    """The file, or the Zarr, that a path lies in, if it does, and its format."""
    for parent in path.parents:
        form = _named(parent)
        if form is not None and form.inside:
            # In a folder of Zarr there may be files of other formats, with their own suffixes.
            if form.folder and _named(path) is None and is_zarr(parent):
                return form, parent
            if not form.folder and parent.is_file():
                return form, parent
    return None


def _named(path: Path) -> Format | None:
    """The format that the suffix of a name stands for."""
    name = path.name.lower()
    return next((form for form in FORMATS if name.endswith(form.suffixes)), None)
