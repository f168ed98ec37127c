"""How data lie on disk or in memory -> pairs of image and label, in one order, read when asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from overtile import io
from overtile.errors import DataError, SettingsError
from overtile.labels import Label
from overtile.layouts.annotations import are_annotations, drawn_as, pair_annotations
from overtile.layouts.choosing import scored, select, split, straddling
from overtile.layouts.folders import check_lengths, list_folder, pair_folders, shortened, shown
from overtile.layouts.found import Found
from overtile.layouts.pair import Pair, Pairs
from overtile.layouts.selection import parse_range
from overtile.layouts.sizes import bring_to, common_pixel_size
from overtile.layouts.source import (
    Content,
    Opener,
    PathLike,
    Source,
    file_planes,
    list_planes,
    name_planes,
    opener_planes,
)
from overtile.layouts.table import LAYOUTS, Recognised, is_pairlist, recognise
from overtile.layouts.tree import as_text, check_reachable, is_there, look
from overtile.missing import find_missing, refuse_infinite
from overtile.vectors import Drawing

__all__ = [
    "LAYOUTS",
    "Content",
    "Pair",
    "Pairs",
    "Source",
    "bring_to",
    "check_labelled",
    "check_pair",
    "common_pixel_size",
    "drawn_as",
    "image_folders",
    "list_images",
    "pairs",
    "parse_range",
    "scored",
    "select",
    "shortened",
    "shown",
    "split",
    "straddling",
]

MOST_FILES = 3
"""Of a label in more files than this, the folder is named and not the first of them."""


def pairs(
    images: Content,
    labels: Content | None = None,
    dimensions: int | None = None,
    layout: str | None = None,
) -> Pairs:
    """Images with their labels.

    Parameters
    ----------
    images, labels
        Two folders, paired by the names of their files (stacks inside page by page); or two files,
        arrays or lists of these, paired by position, plane by plane. Arrays are understood as
        `overtile.image.as_image` says. Labels can be annotations by shapes
        (`annotations.pair_annotations`). Without labels: the folder of a data set in one of the
        `LAYOUTS`, or a CSV of pairs; anything else is images alone.
    dimensions
        2: every plane of a stack is an image of its own. 3: a stack (z y x) is one volume, and of
        a film (t z y x) there is one for each time. By default 3 where the layout or the format
        says so, else 2.
    layout
        The name of the layout that the folder has; by default it is recognised.

    Raises
    ------
    DataError
        Nothing there, no image in a folder, files without partner, different numbers, an image
        without axis z where volumes are asked for, or a choice between two ways to pair.
    FormatError
        A file whose format or directory is not understood.
    SettingsError
        No layout has this name, or labels are given beside it.
    """
    for content in (images, labels):
        for item in content if isinstance(content, list | tuple) else [content]:
            if isinstance(item, PathLike) and not isinstance(io.place(item), io.Url):
                check_reachable(Path(item))
    if labels is None and layout is None and isinstance(images, PathLike):
        path = io.place(images)
        inside = io.labels_in(path) if io.is_known(path) else ()
        labels = inside[0] if len(inside) == 1 else None
    if labels is None:
        known = _recognise(images, layout)
        return _alone(images, dimensions) if known is None else _of_layout(known, dimensions)
    if layout is not None:
        raise SettingsError(
            f"The layout {layout} tells where labels lie, and labels were given as well: leave "
            "out one of the two."
        )
    if isinstance(images, PathLike) and isinstance(labels, PathLike):
        place = io.place(images)
        if not isinstance(place, io.Url) and are_annotations(place, io.place(labels)):
            found = pair_annotations(place, io.place(labels))
            dimensions = dimensions or _dimensions(found)
            return Pairs(_members(found, None, dimensions), found.how, found.hints, dimensions)
        _check_different(place, io.place(labels))
    left_folder, right_folder = _folder(images), _folder(labels)
    if left_folder and right_folder:
        rows, how = pair_folders(look(left_folder), look(right_folder))
        found = Found(rows, how)
        dimensions = dimensions or _dimensions(found)
        return Pairs(_members(found, None, dimensions), how, dimensions=dimensions)
    if left_folder or right_folder:
        raise DataError(
            f"{left_folder or right_folder} is a folder, and what was given with it is not: "
            "expected images and labels both as folders, or both as files, arrays or lists."
        )
    dimensions = dimensions or (3 if _first_is_volume(images) else 2)
    left = list_planes(images, is_label=False, dimensions=dimensions)
    right = list_planes(labels, is_label=True, dimensions=dimensions)
    check_lengths([image for _, image in left], [label for _, label in right])
    groups = _stacks(left)
    members = [
        Pair(name, image, label, group)
        for (name, image), (_, label), group in zip(left, right, groups, strict=True)
    ]
    return Pairs(tuple(members), "paired by position", dimensions=dimensions)


def _recognise(images: Content, layout: str | None) -> Recognised | None:
    if isinstance(images, PathLike) and (_folder(images) or is_pairlist(Path(images))):
        return recognise(Path(images), layout)
    if layout is not None:
        raise SettingsError(f"The layout {layout} is that of a folder, and another thing is given.")
    return None


def _alone(images: Content, dimensions: int | None) -> Pairs:
    dimensions = dimensions or (3 if _first_is_volume(images) else 2)
    alone = list_images(images, dimensions)
    members = tuple(
        Pair(*plane, None, group) for plane, group in zip(alone, _stacks(alone), strict=True)
    )
    return Pairs(members, "without labels", dimensions=dimensions)


def _of_layout(known: Recognised, dimensions: int | None) -> Pairs:
    found = known.found
    dimensions = dimensions or _dimensions(found)
    members = _members(found, known.root, dimensions)
    return Pairs(members, found.how, found.hints, dimensions, known.layout, found.aside)


def _members(found: Found, root: Path | None, dimensions: int) -> tuple[Pair, ...]:
    """A pair for each plane (or volume) of the files that were found."""
    members: list[Pair] = []
    for row in found.rows:
        images = _planes(row.image, root, False, dimensions)
        if isinstance(row.label, Drawing):
            origin = row.label.annotations.origin
            labels = [Source(origin, row.label, image.plane, True, dimensions) for image in images]
        else:
            labels = _planes(row.label, root, True, dimensions)
        check_lengths(images, labels)
        group = as_text(row.group or (row.name if len(images) > 1 else ""))
        members += [
            Pair(name, image, label, group, row.part)
            for (name, image), label in zip(name_planes(row.name, images), labels, strict=True)
        ]
    return tuple(members)


def _planes(
    content: Path | Opener, root: Path | None, is_label: bool, dimensions: int
) -> list[Source]:
    if isinstance(content, Path):
        return file_planes(content, _origin(content, root), is_label, dimensions)
    there = [path for path in content.paths if path is not None]
    many = len(there) > MOST_FILES and len({path.parent for path in there}) == 1
    origin = _origin(there[0].parent if many else there[0], root)
    origin += f" ({len(there)} files)" if many else f" and {len(there) - 1} more" * (len(there) > 1)
    return opener_planes(content, origin, is_label, dimensions)


def _origin(path: Path, root: Path | None) -> str:
    """A path as it is shown: from the folder of the data set on."""
    if root is None or not path.is_relative_to(root):
        return f"{path.parent.name}/{path.name}"
    return path.relative_to(root).as_posix()


def _dimensions(found: Found) -> int:
    if found.volumes is not None:
        return 3 if found.volumes else 2
    image = found.rows[0].image
    path = image if isinstance(image, Path) else next(filter(None, image.paths))
    return 3 if _is_volume(path) else 2


def _first_is_volume(content: Content) -> bool:
    """Whether the first file is one of volumes."""
    folder = _folder(content)
    if folder is not None:
        files = look(folder).images
        return bool(files) and _is_volume(files[0])
    if not isinstance(content, PathLike) and isinstance(content, Sequence) and len(content):
        content = content[0]
    return isinstance(content, PathLike) and _is_volume(io.place(content))


def _is_volume(path: Path) -> bool:
    """Whether a file has a format of volumes, and more than one plane."""
    if not is_there(path) or not io.is_known(path) or not io.format_of(path).volumes:
        return False
    image = io.open(path)
    return dict(zip(image.axes, image.data.shape, strict=True)).get("z", 1) > 1


def _stacks(planes: Sequence[tuple[str, Source]]) -> list[str]:
    """The group of each plane: the stack, where several are of one."""
    times = Counter(id(source.content) for _, source in planes)
    return [
        (name.rpartition("[")[0] or "stack") if times[id(source.content)] > 1 else ""
        for name, source in planes
    ]


def image_folders(path: Path) -> list[Path]:
    """The folders of a data set that hold its images; none where it is no data set."""
    known = recognise(path)
    images = [row.image for row in known.found.rows] if known else []
    files = [i if isinstance(i, Path) else next(filter(None, i.paths)) for i in images]
    return list(dict.fromkeys(file.parent for file in files))


def list_images(content: Content, dimensions: int = 2) -> list[tuple[str, Source]]:
    """Name and source of every plane of a folder, a file, an array or a list.

    Of every volume where `dimensions` is 3; raises as `pairs`.
    """
    folder = _folder(content)
    if folder is None:
        return list_planes(content, is_label=False, dimensions=dimensions)
    return [
        plane
        for stem, planes in list_folder(folder, False, dimensions).items()
        for plane in name_planes(stem, planes)
    ]


def check_labelled(pairs: Pairs, given: object) -> None:
    """Refuse images without labels.

    Raises
    ------
    DataError
        There are no labels.
    """
    if any(pair.label is None for pair in pairs):
        known = "; ".join(f"{known.name}: {known.looks}" for known in LAYOUTS)
        what = str(given) if isinstance(given, PathLike) else "What was given"
        raise DataError(
            f"{what} holds images, and no labels were found with them. Give the labels as well, or "
            f"a folder in one of the known layouts. {known}."
        )


def _check_different(images: Path, labels: Path) -> None:
    try:
        same = images.resolve() == labels.resolve()
    except RuntimeError:  # links that lead in a circle: opening them says so
        same = False
    if same:
        inside = io.labels_in(images) if io.is_known(images) else ()
        hint = f" It holds labels itself: {shown(list(map(str, inside)))}." if inside else ""
        raise DataError(
            f"{images} was given both as the images and as the labels: expected two different "
            f"files or folders.{hint}"
        )


def _folder(content: Content) -> Path | None:
    """The folder that was given, if it is one of images and not itself an image (.zarr)."""
    if isinstance(content, PathLike) and Path(content).is_dir():
        path = io.place(content)
        return None if io.is_known(path) else path
    return None


def check_pair(name: str, image: NDArray[Any], label: Label | NDArray[Any]) -> None:
    """Refuse an image (c *space) and a label (*space) that do not belong together, or of no use.

    Raises
    ------
    DataError
        Their sizes differ, all pixels of the image are missing, or some are infinite.
    """
    if image.shape[1:] != label.shape:
        raise DataError(
            f"{name}: the image has {' x '.join(map(str, image.shape[1:]))} pixels and its label "
            f"{' x '.join(map(str, label.shape))}: expected equal sizes. 'overtile check' shows "
            "all pairs."
        )
    refuse_infinite(f"{name}: the image", image)
    missing = find_missing(image)
    if missing is not None and missing.all():
        raise DataError(
            f"{name}: all pixels of the image are missing (NaN): expected some to learn from. "
            "Leave the image out, or check what its file declares to be no data."
        )
