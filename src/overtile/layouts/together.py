"""Images and labels in one folder, told apart by their names."""

from __future__ import annotations

from pathlib import Path

from overtile import io
from overtile.layouts.classtable import read_class_table
from overtile.layouts.found import Found, Row
from overtile.layouts.names import describe_match, match_by_words, match_children
from overtile.layouts.openers import ClassMasks
from overtile.layouts.tree import Folder

PHOTOS = (".jpg", ".jpeg")
APART = (
    "Give a stack and its labels as two files, put images and labels into two folders, or write a "
    "CSV of the pairs (columns image, label)."
)


def find_together(folder: Folder) -> Found | None:
    """Each image beside its label: a.png and a_mask.png, train-volume.tif and train-labels.tif."""
    files = {io.stem_of(path): path for path in folder.images}
    if len(files) < len(folder.images):
        return _by_suffix(folder)
    matched = match_by_words(list(files), str(folder.path), APART)
    if matched is None:
        children = match_children(list(files)) or {}
        if len({added for labels in children.values() for added in labels}) != 1:
            return None
        matched = {image: next(iter(labels.values())) for image, labels in children.items()}
    pairs = {image: label for image, label in matched.items() if label is not None}
    rows = tuple(Row(i, files[i], files[label]) for i, label in pairs.items())
    aside = tuple(image for image, label in matched.items() if label is None)
    how = f"images and labels in one folder, {describe_match(pairs)}"
    return Found(rows, how, read_class_table(folder), aside=aside)


def _by_suffix(folder: Folder) -> Found | None:
    """Photographs as JPEG, which changes values, with labels of the same name in another format."""
    photos = {io.stem_of(p): p for p in folder.images if p.name.lower().endswith(PHOTOS)}
    others: dict[str, Path] = {}
    for path in folder.images:
        if path not in photos.values():
            if io.stem_of(path) in others:
                return None
            others[io.stem_of(path)] = path
    if photos.keys() != others.keys():
        return None
    rows = tuple(Row(stem, image, others[stem]) for stem, image in photos.items())
    how = "images as JPEG, with labels of the same name in another format"
    return Found(rows, how, read_class_table(folder))


def find_class_files(folder: Folder) -> Found | None:
    """Each image beside a mask for each class: a.png, a_road.png, a_building.png."""
    stems = [io.stem_of(path) for path in folder.images]
    files = dict(zip(stems, folder.images, strict=True))
    if len(files) < len(stems) or match_by_words(stems, str(folder.path), APART):
        return None
    children = match_children(stems) or {}
    added = list(dict.fromkeys(name for labels in children.values() for name in labels))
    if len(added) < 2:
        return None
    names = tuple(name.strip("-_. ") for name in added)
    rows = tuple(
        Row(
            image,
            files[image],
            ClassMasks(tuple(files[labels[a]] if a in labels else None for a in added), names),
        )
        for image, labels in children.items()
    )
    return Found(rows, f"one mask for each class beside the image: {', '.join(names)}")
