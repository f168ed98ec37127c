"""Folders of images and of labels, paired by the names of the files."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from overtile import io
from overtile.errors import DataError
from overtile.layouts.found import Row, with_own_names
from overtile.layouts.names import describe_match, match_cores, part_of
from overtile.layouts.openers import ClassMasks, Objects
from overtile.layouts.source import Source, file_planes
from overtile.layouts.tree import Folder, look
from overtile.text import shown


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
    return {
        stem: file_planes(path, f"{folder.name}/{path.name}", is_label, dimensions)
        for stem, path in by_stem(look(folder)).items()
    }


def by_stem(folder: Folder) -> dict[str, Path]:
    """The image files of a folder by their stems.

    Raises
    ------
    DataError
        There is none, or several have one stem.
    """
    files = folder.images
    if not files:
        inside = [path.name for path in folder.folders]
        there = f"{len(folder.others)} other files" if folder.others else "no file"
        there += f" and the folders {shown(inside)}" if inside else ""
        known = ", ".join(suffix for form in io.FORMATS for suffix in form.suffixes)
        raise DataError(f"{folder.path} holds no image: found {there}, expected files of {known}.")
    stems = Counter(map(io.stem_of, files))
    double = [path.name for path in files if stems[io.stem_of(path)] > 1]
    if double:
        raise DataError(
            f"{folder.path} holds several files of one name: {shown(double)}. Which belongs to "
            "which is unclear: keep one of each."
        )
    return {io.stem_of(path): path for path in files}


def pair_folders(images: Folder, labels: Folder) -> tuple[tuple[Row, ...], str]:
    """The images of a folder with the labels of another, and how they were paired.

    Either both hold files, or both the same sub-folders of files (parts or groups), or the labels
    have a sub-folder for each class, with files named like the images, or one for each image, with
    a file for each object.

    Raises
    ------
    DataError
        A file without partner, no image, or several of one name.
    """
    if not labels.images and labels.folders:
        if images.images:
            left = by_stem(images)
            of_images = all(path.name in left for path in labels.folders)
            return _pair_objects(left, labels) if of_images else _pair_classes(left, labels)
        same = [path.name for path in images.folders if labels.has(path.name)]
        if same:
            return _pair_inside(same, images, labels)
    left, right = by_stem(images), by_stem(labels)
    same_names = {stem: stem for stem in left} if left.keys() == right.keys() else None
    matched = same_names or match_cores(list(left), list(right))
    if matched is None:
        raise _without_partner(images.path, left, labels.path, right)
    rows = tuple(Row(stem, left[stem], right[matched[stem]]) for stem in left)
    return rows, describe_match(matched)


def _pair_inside(same: list[str], images: Folder, labels: Folder) -> tuple[tuple[Row, ...], str]:
    rows, how = [], ""
    for name in same:
        inner, how = pair_folders(images.into(name), labels.into(name))
        part = part_of(name)
        rows += [replace(row, part=part, group="" if part else name) for row in inner]
    return with_own_names(rows), f"{how}, in each folder of images with that of labels"


def _pair_objects(images: dict[str, Path], labels: Folder) -> tuple[tuple[Row, ...], str]:
    """Every image with the folder of its name, one file an object."""
    alone = [stem for stem in images if not (labels.has(stem) and labels.into(stem).images)]
    if alone:
        raise DataError(
            f"{labels.path} has a folder of masks for each of {len(images) - len(alone)} images, "
            f"one file an object, but not for {shown(alone)}. Add the masks (an empty one where "
            "there is no object), or move these images elsewhere."
        )
    rows = [Row(s, image, Objects(labels.into(s).images)) for s, image in images.items()]
    return tuple(rows), "one mask file for each object"


def _pair_classes(images: dict[str, Path], labels: Folder) -> tuple[tuple[Row, ...], str]:
    """Every image with one file a class, of the same stem; some classes may have none."""
    classes = {path.name: by_stem(labels.into(path.name)) for path in labels.folders}
    for name, files in classes.items():
        strange = [stem for stem in files if stem not in images]
        if strange:
            raise DataError(
                f"{labels.path / name} looks like the masks of the class '{name}', but "
                f"{shown(strange)} in it have no image of the same name: expected some of "
                f"{shown(list(images))}."
            )
    rows = []
    for stem, image in images.items():
        paths = tuple(files.get(stem) for files in classes.values())
        if not any(paths):
            raise DataError(
                f"The image {image.name} has no mask of any class in {labels.path}: expected "
                f"{labels.path / next(iter(classes)) / stem} with any known suffix."
            )
        rows.append(Row(stem, image, ClassMasks(paths, tuple(classes))))
    return tuple(rows), f"one mask for each class: {shown(list(classes))}"


def _without_partner(
    images: Path, left: dict[str, Path], labels: Path, right: dict[str, Path]
) -> DataError:
    """What to say where there is no bijection of names."""
    alone = [stem for stem in left if stem not in right]
    if alone:
        return DataError(
            f"{len(alone)} of {len(left)} images in {images} have no label of the same name in "
            f"{labels}, or of one that differs by what all labels begin or end with: "
            f"{shown(alone)}. Expected {labels / alone[0]} with any known suffix (there are "
            f"{shown(list(right))}). Rename the labels, or move these images elsewhere."
        )
    alone = [stem for stem in right if stem not in left]
    return DataError(
        f"{len(alone)} of {len(right)} labels in {labels} have no image of the same name in "
        f"{images}: {shown(alone)}. Add the images, or move these labels elsewhere."
    )
