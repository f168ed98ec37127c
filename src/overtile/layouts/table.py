"""The table of layouts, and which of them a folder has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from overtile.errors import DataError, SettingsError
from overtile.layouts.annotations import find_annotations
from overtile.layouts.camvid import find_camvid
from overtile.layouts.ctc import find_ctc, find_ctc_gold
from overtile.layouts.dsb2018 import find_dsb2018
from overtile.layouts.found import Found
from overtile.layouts.nnunet import find_nnunet
from overtile.layouts.pairlist import find_pairlist, read_pairlist
from overtile.layouts.subfolders import find_folders, find_tiles
from overtile.layouts.together import find_class_files, find_together
from overtile.layouts.tree import Folder, is_folder, look
from overtile.layouts.voc import find_voc, find_voc_objects


@dataclass(frozen=True)
class Layout:
    """How a known kind of data set lies on disk.

    Attributes
    ----------
    name, looks
        What it is called, and how it looks.
    find
        What of it there is in a folder; None where it is none of this kind.
    rank
        1 of data sets with marks of their own, which go before the general ones of 2; 0 of those
        that are only taken when they are asked for.
    """

    name: str
    looks: str
    find: Callable[[Folder], Found | None]
    rank: int = 1


LAYOUTS = (
    Layout("nnunet", "dataset.json, imagesTr and labelsTr (nnU-Net, Decathlon)", find_nnunet),
    Layout("voc", "JPEGImages and SegmentationClass (Pascal VOC)", find_voc),
    Layout("voc-objects", "JPEGImages and SegmentationObject", find_voc_objects, 0),
    Layout("ctc", "01 with 01_ST/SEG or else 01_GT/SEG (Cell Tracking Challenge)", find_ctc),
    Layout("ctc-gold", "01 with 01_GT/SEG alone", find_ctc_gold, 0),
    Layout("dsb2018", "ID/images with one image, ID/masks with one file an object", find_dsb2018),
    Layout("camvid", "train and trainannot, val and valannot, with CamVid's names", find_camvid),
    Layout("csv", "a CSV with the columns image and label", find_pairlist),
    Layout("folders", "images and masks, img and ann, train and trainannot, ...", find_folders, 2),
    Layout("tiles", "the same in several folders: train, val, or scenes", find_tiles, 2),
    Layout("together", "a.png beside a_mask.png, or a pair of stacks", find_together, 2),
    Layout("annotations", "a.png beside a.json, a.zip, ..., or a COCO file", find_annotations, 2),
    Layout("class-files", "a.png beside a_road.png, a_building.png", find_class_files, 2),
)
"""A new layout is a file and a line here."""

DEEPEST = 3
"""How many folders above a data set one may be and still find it."""

MOST_LOOKED_AT = 20
"""So many folders are looked into for a data set."""


@dataclass(frozen=True)
class Recognised:
    """A folder with the layout that it has, and what was found."""

    root: Path
    layout: str
    found: Found


def recognise(path: Path, layout: str | None = None) -> Recognised | None:
    """The layout of the data set in a folder, or in the only one inside that has one.

    Parameters
    ----------
    path
        A folder, or a CSV of pairs.
    layout
        The name of the one that it must have; by default any.

    Raises
    ------
    DataError
        Two layouts fit equally well, or two data sets lie there; it does not have the layout that
        is named; or what the layout itself refuses.
    SettingsError
        No layout has this name.
    """
    if layout is not None and layout not in {known.name for known in LAYOUTS}:
        known = "; ".join(f"{known.name}: {known.looks}" for known in LAYOUTS)
        raise SettingsError(f"There is no layout '{layout}'. Known are: {known}.")
    if not is_folder(path):
        return Recognised(path.parent, "csv", read_pairlist(path)) if is_pairlist(path) else None
    # A folder above a known data set may look like a general one.
    ranks = ((1,), (2,)) if layout is None else ((0, 1, 2),)
    folder = look(path)
    found = next(filter(None, (_search(folder, layout, some, DEEPEST) for some in ranks)), None)
    if found is None and layout is not None:
        looks = next(known.looks for known in LAYOUTS if known.name == layout)
        raise DataError(f"{path} does not have the layout {layout}: expected {looks}.")
    return found


def is_pairlist(path: Path) -> bool:
    """Whether a name is that of a CSV."""
    return path.suffix.lower() == ".csv"


def _search(
    folder: Folder, layout: str | None, ranks: tuple[int, ...], depth: int
) -> Recognised | None:
    """The data set in this folder, or else in those inside."""
    own = _of_folder(folder, layout, ranks)
    if own is not None or depth == 0 or folder.images:
        return own
    inside = [folder.into(path.name) for path in folder.folders[:MOST_LOOKED_AT]]
    deeper = [_search(below, layout, ranks, depth - 1) for below in inside]
    # A link may lead to what another name leads to as well.
    there = list({found.root.resolve(): found for found in deeper if found is not None}.values())
    if len(there) > 1:
        listed = "; ".join(f"{one.root} ({one.layout})" for one in there[:5])
        raise DataError(
            f"{folder.path} holds several data sets: {listed}. Give the one that is meant."
        )
    return there[0] if there else None


def _of_folder(folder: Folder, layout: str | None, ranks: tuple[int, ...]) -> Recognised | None:
    """The layout of this very folder."""
    fitting = [
        Recognised(folder.path, known.name, found)
        for known in LAYOUTS
        if known.rank in ranks and layout in (None, known.name)
        if (found := known.find(folder)) is not None
    ]
    if len(fitting) > 1:
        listed = "; ".join(
            f"{one.layout} ({len(one.found.rows)} pairs, {one.found.how})" for one in fitting
        )
        raise DataError(
            f"{folder.path} fits several layouts equally well: {listed}. Choose one with "
            f"--layout {' or --layout '.join(one.layout for one in fitting)}, or give images "
            "and labels apart."
        )
    return fitting[0] if fitting else None
