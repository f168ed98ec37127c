"""Data Science Bowl 2018: a folder for each image, with one mask file for each nucleus."""

from __future__ import annotations

from overtile import io
from overtile.labels import Hints
from overtile.layouts.found import Found, Row
from overtile.layouts.openers import Objects
from overtile.layouts.tree import Folder


def find_dsb2018(folder: Folder) -> Found | None:
    """ID/images with a single image, and ID/masks with a file for each object."""
    rows, aside, several = [], [], False
    for inside in folder.folders:
        parts = folder.into(inside.name)
        if not parts.has("images"):
            return None
        images = parts.into("images").images
        masks = parts.into("masks").images if parts.has("masks") else ()
        if len(images) != 1 or io.stem_of(images[0]) in map(io.stem_of, masks):
            return None  # a pair of folders, as in aerial tiles
        several = several or len(masks) > 1
        if masks:
            rows.append(Row(inside.name, images[0], Objects(masks)))
        else:
            aside.append(inside.name)
    if not several:
        return None
    how = "one mask file for each object"
    return Found(tuple(rows), how, Hints(kind="instances"), False, tuple(aside))
