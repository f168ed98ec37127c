"""Which of the arrays of a file is meant: the only one, the one named, or the one of a usual name.

An array is named behind the file that holds it, as if that were a folder: "cells.h5/raw/volume".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from overtile.errors import FormatError

IMAGE_NAMES = {"raw", "image", "images", "data", "volume"}
LABEL_NAMES = {"label", "labels", "mask", "masks", "seg", "segmentation", "gt", "groundtruth"}
"""How people call the one image, or the one label, of a file (in any case of letters)."""

MOST_LISTED = 10

Arrays: TypeAlias = Mapping[str, tuple[tuple[int, ...], "np.dtype[Any]"]]
"""Shape and type of every array of a file, by its name inside."""


def parts_of(path: Path, suffixes: tuple[str, ...]) -> tuple[Path, str]:
    """The file that a path names or lies in, and the name inside, which may be empty."""
    for file in path.parents:
        if file.name.lower().endswith(suffixes) and file.is_file():
            return file, path.relative_to(file).as_posix()
    return path, ""


def choose(file: Path, inside: str, arrays: Arrays, as_label: bool) -> str:
    """The name of the array that is meant.

    Parameters
    ----------
    file
        That holds the arrays.
    inside
        The name of one, or of a group of them; empty for any.
    arrays
        All of the file. Those of fewer than 2 axes and those of no numbers are passed over.
    as_label
        Whether a label is looked for: among several without a name given, the only one that is
        called as labels mostly are is taken; else the only one called as images mostly are.

    Raises
    ------
    FormatError
        There is none, or several without a usual name; they are listed.
    """
    fitting = {
        name: about
        for name, about in arrays.items()
        if len(about[0]) >= 2 and 0 not in about[0] and about[1].kind in "buif"
    }
    below = [n for n in fitting if not inside or n == inside or n.startswith(f"{inside}/")]
    usual = LABEL_NAMES if as_label else IMAGE_NAMES
    called = [name for name in below if name.rsplit("/", 1)[-1].lower() in usual]
    for found in (below, called):
        if len(found) == 1:
            return found[0]
    if not fitting:
        held = _listed(arrays) or "nothing"
        raise FormatError(
            f"{file} holds no image: expected an array of numbers of at least 2 axes, found {held}."
        )
    if not below:
        raise FormatError(f"{file} has no array '{inside}': it holds {_listed(fitting)}.")
    raise FormatError(
        f"{file} holds several arrays: {_listed({name: fitting[name] for name in below})}. Name "
        f"the one that is meant behind the file: {file / below[0]}."
    )


def _listed(arrays: Arrays) -> str:
    """Names, shapes and types."""
    named = [f"{name} {shape} {kind}" for name, (shape, kind) in arrays.items()]
    more = len(named) - MOST_LISTED
    return "; ".join(named[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
