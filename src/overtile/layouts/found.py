"""What a layout finds in a folder: names, files, groups and parts; no file is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from overtile.labels import Hints
from overtile.layouts.source import Opener
from overtile.vectors import Drawing

NO_HINTS = Hints()
Part: TypeAlias = Literal["", "training", "validation", "test"]


@dataclass(frozen=True)
class Row:
    """An image file with its label, which may be stacks, and what `Pair` says of them."""

    name: str
    image: Path | Opener
    label: Path | Opener | Drawing
    group: str = ""
    part: Part = ""


@dataclass(frozen=True)
class Found:
    """What a layout finds.

    Attributes
    ----------
    rows
        At least one.
    how
        How images and labels were put together, as a phrase.
    hints
        What the data set says of its labels.
    volumes
        Whether its images are volumes; None where the files decide.
    aside
        Names of images without a label.
    """

    rows: tuple[Row, ...]
    how: str
    hints: Hints = NO_HINTS
    volumes: bool | None = None
    aside: tuple[str, ...] = ()


def with_own_names(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Rows whose names repeat, with their group or part in front: "Tile 1/image_part_001".

    Where that is not enough, with their number.
    """
    if not _repeat(rows):
        return tuple(rows)
    longer = [
        replace(row, name="/".join(filter(None, (row.part, row.group, row.name)))) for row in rows
    ]
    if _repeat(longer):
        longer = [replace(row, name=f"{place}-{row.name}") for place, row in enumerate(longer)]
    return tuple(longer)


def _repeat(rows: Sequence[Row]) -> bool:
    return max(Counter(row.name for row in rows).values(), default=0) > 1
