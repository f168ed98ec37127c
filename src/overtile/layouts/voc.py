"""Pascal VOC: JPEGImages, SegmentationClass and SegmentationObject, with lists of the parts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from overtile.errors import DataError
from overtile.labels import ClassHint, Hints
from overtile.layouts.folders import by_stem
from overtile.layouts.found import Found, Part, Row
from overtile.layouts.tree import Folder
from overtile.text import shown

NAMES = """
    background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse
    motorbike person pottedplant sheep sofa train tvmonitor
"""
VOID = 255
PARTS: dict[str, Part] = {"train": "training", "val": "validation", "test": "test"}


def find_voc(folder: Folder, *, objects: bool = False) -> Found | None:
    """The images that have a label: of classes, or of objects."""
    of = "SegmentationObject" if objects else "SegmentationClass"
    if not folder.has("JPEGImages", of):
        return None
    images, labels = by_stem(folder.into("JPEGImages")), by_stem(folder.into(of))
    strange = [stem for stem in labels if stem not in images]
    if strange:
        raise DataError(
            f"{folder.path / of} holds labels without an image of the same name in JPEGImages: "
            f"{shown(strange)}. Add the images, or move these labels elsewhere."
        )
    part_of = {
        name: part
        for file, part in PARTS.items()
        for name in _listed(folder.path / "ImageSets" / "Segmentation" / f"{file}.txt")
    }
    rows = [
        Row(stem, images[stem], label, part=part_of.get(stem, "")) for stem, label in labels.items()
    ]
    hints = Hints(ignored=(VOID,), kind="instances")
    if not objects:
        classes = tuple(ClassHint(name, value) for value, name in enumerate(NAMES.split()))
        hints = Hints(classes, (VOID,), "classes")
    aside = tuple(stem for stem in images if stem not in labels)
    how = f"JPEGImages with {of}"
    how += ", parted by ImageSets/Segmentation" if any(row.part for row in rows) else ""
    return Found(tuple(rows), how, hints, False, aside)


def _listed(file: Path) -> list[str]:
    """The names in a list of a part, one a line; none where there is no such list."""
    try:
        return file.read_text("utf-8").split() if file.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as a list of names: {error}.") from error


find_voc_objects = partial(find_voc, objects=True)
