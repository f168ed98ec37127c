"""CamVid as it comes with SegNet: train and trainannot, val and valannot, test and testannot."""

from __future__ import annotations

import re
from dataclasses import replace

from overtile.labels import ClassHint, Hints
from overtile.layouts.folders import pair_folders
from overtile.layouts.found import Found
from overtile.layouts.names import part_of
from overtile.layouts.tree import Folder

NAMES = "Sky Building Pole Road Pavement Tree SignSymbol Fence Car Pedestrian Bicyclist"
VOID = 11
FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_\w+")
"""A frame of one of the four drives, each of which is a group."""


def find_camvid(folder: Folder) -> Found | None:
    """All frames of the parts that there are."""
    parts = [path for path in folder.folders if folder.has(f"{path.name}annot")]
    if not parts or not {path.name for path in parts} <= {"train", "val", "test"}:
        return None
    rows = []
    for path in parts:
        inside, _ = pair_folders(folder.into(path.name), folder.into(f"{path.name}annot"))
        rows += [replace(row, part=part_of(path.name)) for row in inside]
    drives = [FRAME.fullmatch(row.name) for row in rows]
    grouped = [replace(r, group=d[1]) for r, d in zip(rows, drives, strict=True) if d is not None]
    if len(grouped) < len(rows):
        return None
    classes = tuple(ClassHint(name, value) for value, name in enumerate(NAMES.split()))
    how = " and ".join(f"{path.name} with {path.name}annot" for path in parts)
    return Found(tuple(grouped), how, Hints(classes, (VOID,), "classes"), False)
