"""Sub-folders of images and of labels under common names, once, or once for each part or scene."""

from __future__ import annotations

from dataclasses import replace

from overtile.layouts.classtable import read_class_table
from overtile.layouts.folders import pair_folders
from overtile.layouts.found import Found, Part, Row, with_own_names
from overtile.layouts.names import LABEL_WORDS, match_by_words, part_of, words
from overtile.layouts.together import find_together
from overtile.layouts.tree import Folder


def find_folders(folder: Folder) -> Found | None:
    """A folder of images and one of labels: images and masks, img and ann, train and trainannot."""
    rows, how = _rows(folder)
    if not rows:
        return None
    return Found(with_own_names(rows), how, read_class_table(folder), aside=_aside(folder))


def _rows(folder: Folder) -> tuple[list[Row], str]:
    """The pairs of all sub-folders that belong together."""
    names = [path.name for path in folder.folders if _has_images(folder.into(path.name))]
    advice = f"Give the one that is meant, as in: {folder.path / 'IMAGES'} {folder.path / 'LABELS'}"
    matched = match_by_words(names, str(folder.path), advice) or {}
    rows, hows = [], []
    for images, labels in matched.items():
        if labels is not None:
            inside, how = pair_folders(folder.into(images), folder.into(labels))
            part = part_of(images)
            rows += [replace(row, part=row.part or part) for row in inside]
            hows.append(f"{images} with {labels}, {how}")
    return rows, "; ".join(hows)


def _aside(folder: Folder) -> tuple[str, ...]:
    """Folders of images without a folder of labels."""
    names = [path.name for path in folder.folders if _has_images(folder.into(path.name))]
    matched = match_by_words(names, "", "") or {}
    return tuple(f"{images}/" for images, labels in matched.items() if labels is None)


def _has_images(folder: Folder) -> bool:
    """Whether a folder, or one of those in it, holds images."""
    return bool(folder.images) or any(folder.into(p.name).images for p in folder.folders)


def find_tiles(folder: Folder) -> Found | None:
    """Folders that each hold one of images and one of labels; each is a part, or else a group.

    In a part, images may also lie beside their labels.
    """
    rows, hows, aside = [], [], []
    tables = [read_class_table(folder)]
    for scene in folder.folders:
        if LABEL_WORDS.intersection(words(scene.name)):
            return None  # this is itself one of labels
        part: Part = part_of(scene.name)
        below = folder.into(scene.name)
        inside, how = _rows(below)
        if part and not inside and (both := find_together(below)):
            inside, how = list(both.rows), both.how
            tables.append(both.hints)
        group = "" if part else scene.name
        rows += [replace(row, part=row.part or part, group=group or row.group) for row in inside]
        if inside:
            hows.append(how)
        elif _has_images(below):
            aside.append(f"{scene.name}/")
    if not rows:
        return None
    how = f"{hows[0]}, in {f'each of {len(hows)} folders' if len(hows) > 1 else '1 folder'}"
    hints = next((table for table in tables if table.classes), tables[0])
    return Found(with_own_names(rows), how, hints, aside=tuple(aside))
