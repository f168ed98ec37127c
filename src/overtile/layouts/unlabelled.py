"""Which files of a folder are images to be predicted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from overtile import io
from overtile.errors import DataError
from overtile.image import Image
from overtile.layouts.found import Found
from overtile.layouts.openers import Channels, as_bands
from overtile.layouts.table import DEEPEST, recognise
from overtile.layouts.together import find_together
from overtile.layouts.tree import Folder, look

FIRST = "_0000"
"""How the name of the first of several files ends that are the channels of an image (nnU-Net)."""


@dataclass(frozen=True)
class Images:
    """Files to be predicted, and labels that lie among them."""

    files: tuple[Path, ...]
    labels: tuple[Path, ...] = ()


def find_images(folder: Path) -> Images:
    """The images of a folder; where it holds none itself, those of the folders in it.

    Of a data set they are those with labels, and what lies beside them. Labels that lie beside
    their images, and are called so, are no images.

    Raises
    ------
    DataError
        A folder cannot be read, or what `overtile.layouts.table.recognise` says.
    """
    inside = look(folder)
    if inside.images:
        try:
            found = find_together(inside)
        except DataError:  # names that pair in two ways are those of images as well
            found = None
        return _without_labels([inside], found)
    known = recognise(folder)
    if known is None:
        return Images(tuple(_walk(inside, DEEPEST)))
    images = [row.image for row in known.found.rows]
    files = [i if isinstance(i, Path) else next(filter(None, i.paths)) for i in images]
    parents = dict.fromkeys(file.parent for file in files)
    return _without_labels([look(parent) for parent in parents], known.found)


def _without_labels(folders: list[Folder], found: Found | None) -> Images:
    labels = {row.label for row in found.rows if isinstance(row.label, Path)} if found else set()
    files = [file for folder in folders for file in folder.images]
    return Images(
        tuple(file for file in files if file not in labels),
        tuple(file for file in files if file in labels),
    )


def _walk(folder: Folder, depth: int) -> list[Path]:
    """All images in and below a folder."""
    deeper = folder.folders if depth else ()
    below = [file for path in deeper for file in _walk(folder.into(path.name), depth - 1)]
    return [*folder.images, *below]


def channel_files(path: Path, count: int) -> tuple[Path, ...]:
    """The files of an image of so many channels, of which `path` is the first.

    Empty unless it is called CASE_0000, holds one channel, and exactly so many of CASE_0000,
    CASE_0001, ... lie there.
    """
    if count < 2 or isinstance(path, io.Url) or not io.stem_of(path).endswith(FIRST):
        return ()
    case = io.stem_of(path).removesuffix(FIRST)
    ending = path.name.removeprefix(case + FIRST)
    *paths, one_more = [path.with_name(f"{case}_{n:04}{ending}") for n in range(count + 1)]
    if one_more.exists() or not all(file.exists() for file in paths):
        return ()
    image = io.open(path)
    channels = dict(zip(image.axes, image.data.shape, strict=True)).get("c", 1)
    return tuple(paths) if channels == 1 else ()


def open_channels(path: Path, count: int) -> Image:
    """An image file of so many channels, as far as it has them.

    Where it is the first of the files of its channels (see above), they are one image; and where
    it has so many pages of one channel, these are the channels.

    Raises as `overtile.io.open` and `overtile.layouts.openers.Channels.open`.
    """
    paths = channel_files(path, count)
    if paths:
        return Channels(paths).open(as_label=False)
    image = io.open(path)
    return as_bands(image) if count > 1 and image.data.shape[0] == count else image
