"""Folders of images and of labels, paired by the stems of the file names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from overtile import io
from overtile.errors import DataError
from overtile.layouts.source import Source, file_planes, name_planes

MOST_NAMED = 5
"""So many names are shown in a message, and the number of the rest."""


def list_folder(folder: Path, is_label: bool, dimensions: int) -> dict[str, list[Source]]:
    """The planes (or volumes) of each image file of a folder, by stem, in the order of names.

    Numbers in names are ordered by value (t2 before t10). A folder in .zarr is an image. Hidden
    files, other subfolders and files that are no images are passed over.

    Raises
    ------
    DataError
        No image file, several with one stem, or one without axis z where volumes are asked for.
    FormatError
        A TIFF whose directory cannot be read.
    """
    visible = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and (path.is_file() or io.is_known(path))
    ]
    files = sorted(filter(io.is_known, visible), key=lambda path: _in_order(path.name))
    if not files:
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
        there = f"{len(visible)} other files" if visible else "no file"
        there += f" and the folders {shown(inside)}" if inside else ""
        known = ", ".join(suffix for form in io.FORMATS for suffix in form.suffixes)
        raise DataError(f"{folder} holds no image: found {there}, expected files of {known}.")
    stems = Counter(map(io.stem_of, files))
    double = [path.name for path in files if stems[io.stem_of(path)] > 1]
    if double:
        raise DataError(
            f"{folder} holds several files of one name: {shown(double)}. Which belongs to which "
            "is unclear: keep one of each."
        )
    return {
        io.stem_of(path): file_planes(path, f"{folder.name}/{path.name}", is_label, dimensions)
        for path in files
    }


def pair_folders(images: Path, labels: Path, dimensions: int) -> list[tuple[str, Source, Source]]:
    """Name, image and label of every plane (or volume), files being paired by stem, in order.

    Raises
    ------
    DataError
        A file without partner, stacks of different length, and as `list_folder`.
    """
    left = list_folder(images, is_label=False, dimensions=dimensions)
    right = list_folder(labels, is_label=True, dimensions=dimensions)
    _check_partners(images, left, labels, right)
    paired = []
    for stem, planes in left.items():
        partners = right[stem]
        check_lengths(planes, partners)
        named = name_planes(stem, planes)
        paired += [(*image, label) for image, label in zip(named, partners, strict=True)]
    return paired


def _check_partners(
    images: Path, left: dict[str, list[Source]], labels: Path, right: dict[str, list[Source]]
) -> None:
    alone = [stem for stem in left if stem not in right]
    if alone:
        raise DataError(
            f"{len(alone)} of {len(left)} images in {images} have no label of the same name in "
            f"{labels}: {shown(alone)}. Expected {labels / alone[0]} with any known suffix (there "
            f"are {shown(list(right))}). Rename the labels, or move these images elsewhere."
        )
    alone = [stem for stem in right if stem not in left]
    if alone:
        raise DataError(
            f"{len(alone)} of {len(right)} labels in {labels} have no image of the same name in "
            f"{images}: {shown(alone)}. Add the images, or move these labels elsewhere."
        )


def check_lengths(images: Sequence[Source], labels: Sequence[Source]) -> None:
    """Pass where there are as many labels as images.

    Raises
    ------
    DataError
        There are not; the message names the first of each.
    """
    if len(images) != len(labels):
        raise DataError(
            f"There are {len(images)} images (the first is {images[0].origin}) but {len(labels)} "
            f"labels (the first is {labels[0].origin}): expected one label for each image. A stack "
            "has one page for each; an array (c y x) needs its axes named: Image(array, 'cyx')."
        )


def shown(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _in_order(name: str) -> tuple[list[tuple[str, int]], str]:
    """A key that orders numbers inside names by value; equal ones by the name itself."""
    pieces = re.findall(r"(\D*)(\d*)", name)
    return [(text, int(digits or -1)) for text, digits in pieces], name
