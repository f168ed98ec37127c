"""An image with its label, and all that belong to one set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from overtile.labels import Hints, Label
from overtile.layouts.found import NO_HINTS, Part
from overtile.layouts.source import Source
from overtile.resample import PixelSize
from overtile.text import shortened, shown

ROWS_SHOWN = 3
GROUPS_SHOWN = 8


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
    part: Part = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """What it can be chosen by, beside its position."""
        return tuple(filter(None, (self.name, self.group, self.part)))

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
    layout
        The name of the one that was recognised; empty where images and labels were given.
    aside
        Names of images that are left aside because they have no label.
    pixel_size
        What all were brought to; None where they are as they came.
    """

    members: tuple[Pair, ...]
    how: str
    hints: Hints = NO_HINTS
    dimensions: int = 2
    layout: str = ""
    aside: tuple[str, ...] = ()
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

    @property
    def groups(self) -> Counter[str]:
        """The number of images of each group, in order; each that is in none is its own."""
        return Counter(pair.group or pair.name for pair in self.members)

    def describe(self) -> str:
        """How many there are, how they were recognised, and the first and the last of them."""
        volumes, labelled = self.dimensions == 3, self.members[0].label is not None
        noun = "pair" if labelled else "volume" if volumes else "image"
        head = f"{len(self)} {noun}{'s' * (len(self) != 1)}"
        head += f"{' of volumes' * (volumes and labelled)}, {self.how}"
        lines = [f"Layout {self.layout}: {head}" if self.layout else head]
        if any(pair.group for pair in self.members) and len(self.groups) > 1:
            lines.append(f"  groups: {_counted(self.groups)}")
        if any(pair.part for pair in self.members):
            parts: Counter[str] = Counter(pair.part or "no part" for pair in self.members)
            lines.append(f"  parts: {_counted(parts)}")
        rows = [
            f"  {shortened(pair.name)}: {_shortened_path(pair.image.origin)}"
            + (f" + {_shortened_path(pair.label.origin)}" if pair.label else "")
            for pair in self.members
        ]
        if len(rows) > ROWS_SHOWN + 1:
            rows[ROWS_SHOWN:-1] = ["  ..."]
        if self.aside:
            rows.append(f"  left aside, without label: {shown(self.aside)}")
        return "\n".join([*lines, *rows])


def _counted(counts: Counter[str]) -> str:
    listed = [f"{name} ({count})" for name, count in counts.items()]
    return shown(listed) if len(listed) > GROUPS_SHOWN else ", ".join(listed)


def _shortened_path(path: str) -> str:
    return "/".join(shortened(part) for part in path.split("/"))
