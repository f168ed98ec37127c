"""How data lie on disk or in memory -> pairs of image and label, in one order, read when asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from overtile import io
from overtile.errors import DataError
from overtile.labels import Hints, Label
from overtile.layouts.folders import check_lengths, list_folder, pair_folders
from overtile.layouts.selection import parse_range, positions
from overtile.layouts.source import Content, PathLike, Source, list_planes, name_planes
from overtile.missing import find_missing, refuse_infinite
from overtile.resample import PixelSize, factors, size_of_pixels

__all__ = [
    "Content",
    "Pair",
    "Pairs",
    "Source",
    "bring_to",
    "check_pair",
    "common_pixel_size",
    "list_images",
    "pairs",
    "parse_range",
    "select",
    "split",
]

ROWS_SHOWN = 3
NO_HINTS = Hints()


@dataclass(frozen=True, eq=False)
class Pair:
    """An image with its label, neither of them read yet.

    Attributes
    ----------
    name
        Of both.
    image, label
        The label is None where there is none.
    group
        Images of one group are alike, as neighbouring slices of a stack or tiles of one scene are:
        an honest split keeps them on one side. By default the image is a group of its own.
    part
        Which part of the data set its layout puts it into; empty where it tells none.
    """

    name: str
    image: Source
    label: Source | None
    group: str = ""
    part: Literal["", "training", "validation", "test"] = ""

    def read_label(self) -> Label:
        """The label; there must be one."""
        assert self.label is not None
        return self.label.read_label(self.image)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs in their order.

    Attributes
    ----------
    members
        At least one.
    how
        How images and labels were put together, as a phrase.
    hints
        What the data set says of its labels.
    dimensions
        2 of planes, 3 of volumes.
    pixel_size
        What all were brought to; None where they are as they came.
    """

    members: tuple[Pair, ...]
    how: str
    hints: Hints = NO_HINTS
    dimensions: int = 2
    pixel_size: PixelSize | None = None

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.members)

    def __getitem__(self, place: int) -> Pair:
        return self.members[place]

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return [pair.name for pair in self.members]

    def describe(self) -> str:
        """How many there are, how they were put together, and the first and the last of them."""
        rows = [
            f"  {pair.name}: {pair.image.origin}"
            + (f" + {pair.label.origin}" if pair.label else "")
            for pair in self.members
        ]
        if len(rows) > ROWS_SHOWN + 1:
            rows[ROWS_SHOWN:-1] = ["  ..."]
        noun = "image" if self.members[0].label is None else "pair"
        plural = "" if len(self) == 1 else "s"
        return "\n".join([f"{len(self)} {noun}{plural}, {self.how}", *rows])


def pairs(images: Content, labels: Content | None = None, dimensions: int = 2) -> Pairs:
    """Images with their labels.

    Parameters
    ----------
    images, labels
        Two folders, paired by the stems of their files (stacks inside page by page); or two files,
        arrays or lists of these, paired by position, plane by plane. Arrays are understood as
        `overtile.image.as_image` says. Without labels: the images alone.
    dimensions
        2: every plane of a stack is an image of its own. 3: a stack (z y x) is one volume, and of
        a film (t z y x) there is one for each time.

    Raises
    ------
    DataError
        Nothing there, no image in a folder, files without partner, different numbers, or an image
        without axis z where volumes are asked for.
    FormatError
        A file whose format or directory is not understood.
    """
    if labels is None:
        alone = list_images(images, dimensions)
        members = tuple(Pair(*plane, None) for plane in alone)
        return Pairs(members, "without labels", dimensions=dimensions)
    if isinstance(images, PathLike) and isinstance(labels, PathLike):
        _check_different(Path(images), Path(labels))
    left_folder, right_folder = _folder(images), _folder(labels)
    if left_folder and right_folder:
        found = pair_folders(left_folder, right_folder, dimensions)
        how = "paired by file name"
    elif left_folder or right_folder:
        raise DataError(
            f"{left_folder or right_folder} is a folder, and what was given with it is not: "
            "expected images and labels both as folders, or both as files, arrays or lists."
        )
    else:
        left = list_planes(images, is_label=False, dimensions=dimensions)
        right = list_planes(labels, is_label=True, dimensions=dimensions)
        check_lengths([image for _, image in left], [label for _, label in right])
        found = [
            (name, image, label) for (name, image), (_, label) in zip(left, right, strict=True)
        ]
        how = "paired by position"
    return Pairs(tuple(Pair(*parts) for parts in found), how, dimensions=dimensions)


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


def select(pairs: Pairs, choice: str | Iterable[int]) -> Pairs:
    """The pairs chosen by positions, ranges and names, as `selection.positions` reads them.

    Raises
    ------
    DataError
        A part of the choice that chooses nothing.
    """
    chosen = positions(choice, pairs.names)
    return replace(pairs, members=tuple(pairs[place] for place in chosen))


def split(pairs: Pairs, holdout: str | Iterable[int]) -> tuple[Pairs, Pairs]:
    """The pairs to train on, and those held out.

    Raises
    ------
    DataError
        As `select`; or all pairs are held out.
    """
    held = set(positions(holdout, pairs.names))
    kept = [place for place in range(len(pairs)) if place not in held]
    if not kept:
        raise DataError(
            f"All {len(pairs)} images are held out, which leaves nothing to train on: hold out "
            "fewer."
        )
    return select(pairs, kept), select(pairs, sorted(held))


def bring_to(pairs: Pairs, size: PixelSize) -> Pairs:
    """The same pairs, resampled when they are read so that all have pixels of this size."""
    members = tuple(
        replace(
            pair,
            image=replace(pair.image, pixel_size=size),
            label=None if pair.label is None else replace(pair.label, pixel_size=size),
        )
        for pair in pairs
    )
    return replace(pairs, members=members, pixel_size=size)


def common_pixel_size(pairs: Pairs) -> PixelSize:
    """The median size of a pixel along each axis, in the unit of the first image.

    Raises
    ------
    DataError
        An image states no size of its pixels, or units that cannot be converted.
    """
    first = size_of_pixels(pairs[0].image.open(), pairs.dimensions)
    unit = PixelSize((1.0,) * pairs.dimensions, "" if first is None else first.unit)
    sizes = [factors(pair.image.open(), unit, pair.image.origin) for pair in pairs]
    return PixelSize(tuple(np.median(sizes, axis=0).tolist()), unit.unit)


def _check_different(images: Path, labels: Path) -> None:
    if images.resolve() == labels.resolve():
        raise DataError(
            f"{images} was given both as the images and as the labels: expected two different "
            "files or folders."
        )


def _folder(content: Content) -> Path | None:
    """The folder that was given, if it is one of images and not itself an image (.zarr)."""
    if isinstance(content, PathLike) and Path(content).is_dir() and not io.is_known(Path(content)):
        return Path(content)
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
