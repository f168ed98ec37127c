"""Images with their labels: of a layout that is recognised, or as they were given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from overtile import io
from overtile.errors import DataError, SettingsError
from overtile.layouts.annotations import are_annotations, pair_annotations
from overtile.layouts.checks import check_lengths
from overtile.layouts.ctc import hints_by_name
from overtile.layouts.folders import list_folder, pair_folders
from overtile.layouts.found import Found, Row
from overtile.layouts.openers import Bands
from overtile.layouts.pair import Pair, Pairs
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
from overtile.layouts.table import Recognised, is_pairlist, recognise
from overtile.layouts.tree import check_reachable, is_there, look
from overtile.text import as_text, shown
from overtile.vectors import Drawing

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
    if labels is None and layout is None:
        labels = _labels_inside(images)
    if labels is None:
        known = _recognise(images, layout)
        if known is None:
            return _alone(images, dimensions)
        return _of_found(known.found, dimensions, known.root, known.layout)
    if layout is not None:
        raise SettingsError(
            f"The layout {layout} tells where labels lie, and labels were given as well: leave "
            "out one of the two."
        )
    if isinstance(images, PathLike) and isinstance(labels, PathLike):
        left, right = io.place(images), io.place(labels)
        if not isinstance(left, io.Url) and are_annotations(left, right):
            return _of_found(pair_annotations(left, right), dimensions)
        _check_different(left, right)
    found = _of_folders(images, labels, dimensions)
    return _by_position(images, labels, dimensions) if found is None else found


def _labels_inside(images: Content) -> Path | None:
    """The label that lies with the images in their own file, if there is one."""
    path = io.place(images) if isinstance(images, PathLike) else None
    inside = io.labels_in(path) if path is not None and io.is_known(path) else ()
    return inside[0] if len(inside) == 1 else None


def _of_folders(images: Content, labels: Content, dimensions: int | None) -> Pairs | None:
    """The pairs of two folders; None where neither is one."""
    left, right = _folder(images), _folder(labels)
    if left and right:
        rows, how = pair_folders(look(left), look(right))
        hints = hints_by_name(Path(str(row.label)).name for row in rows)
        return _of_found(Found(rows, how, hints), dimensions)
    if left or right:
        raise DataError(
            f"{left or right} is a folder, and what was given with it is not: expected images and "
            "labels both as folders, or both as files, arrays or lists."
        )
    return None


def _by_position(images: Content, labels: Content, dimensions: int | None) -> Pairs:
    """The planes of files, arrays or lists, one after the other."""
    dimensions = dimensions or (3 if _first_is_volume(images) else 2)
    if dimensions == 2 and isinstance(images, PathLike) and isinstance(labels, PathLike):
        row = Row(io.stem_of(io.place(images)), io.place(images), io.place(labels))
        found = Found((row,), "paired by position")
        if _with_bands(found, dimensions) is not found:
            return _of_found(found, dimensions)
    left = list_planes(images, is_label=False, dimensions=dimensions)
    right = list_planes(labels, is_label=True, dimensions=dimensions)
    check_lengths([image for _, image in left], [label for _, label in right])
    groups = _stacks(left)
    members = [
        Pair(name, image, label, group)
        for (name, image), (_, label), group in zip(left, right, groups, strict=True)
    ]
    hints = hints_by_name(label.origin for _, label in right)
    return Pairs(tuple(members), "paired by position", hints, dimensions)


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


def _of_found(
    found: Found, dimensions: int | None, root: Path | None = None, layout: str = ""
) -> Pairs:
    """The pairs of files that were found, by a layout with this root or in what was given."""
    dimensions = dimensions or _dimensions(found)
    found = _with_bands(found, dimensions)
    members = _members(found, root, dimensions)
    return Pairs(members, found.how, found.hints, dimensions, layout, found.aside)


def _with_bands(found: Found, dimensions: int) -> Found:
    """What was found, where one of image and label has several pages and the other a single one.

    The pages are then channels of the image, or a class each of the label.
    """
    first = found.rows[0]
    if dimensions == 3 or not isinstance(first.image, Path) or not isinstance(first.label, Path):
        return found
    image, label = (_count_pages(path, path is first.label) for path in (first.image, first.label))
    if image > 1 == label:
        rows = tuple(
            replace(row, image=Bands(row.image) if isinstance(row.image, Path) else row.image)
            for row in found.rows
        )
        return replace(found, rows=rows, how=f"{found.how}; the pages of an image are its channels")
    if label > 1 == image:
        rows = tuple(
            replace(row, label=Bands(row.label) if isinstance(row.label, Path) else row.label)
            for row in found.rows
        )
        return replace(found, rows=rows, how=f"{found.how}; the pages of a label are classes")
    return found


def _count_pages(path: Path, is_label: bool) -> int:
    """How many planes a file holds; 0 where they cannot be channels, being more than a stack."""
    planes = file_planes(path, "", is_label, 2)
    if len(planes) == 1:
        return 1
    return len(planes) if planes[0].open().axes in ("zyx", "tyx") else 0


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
    return io.open(path).sizes.get("z", 1) > 1


def _stacks(planes: Sequence[tuple[str, Source]]) -> list[str]:
    """The group of each plane: the stack, where several are of one."""
    times = Counter(id(source.content) for _, source in planes)
    return [
        (name.rpartition("[")[0] or "stack") if times[id(source.content)] > 1 else ""
        for name, source in planes
    ]


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
