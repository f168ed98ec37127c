"""The fingerprint of a data set: its figures, and what a person reads of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CLOSE_PX = 5
"""Objects with another within this are close: as far as sigma of the paper's border weight, whose
term is above half its height there."""

SOME = 0.05
"""The least share of the images that makes a kind of its own."""

NAMED = 12
"""So many classes or channels are listed one by one."""


@dataclass(frozen=True)
class Fingerprint:
    """What a data set is like.

    Attributes
    ----------
    dimensions
        2 of planes, 3 of volumes.
    images, groups
        How many there are; images of one group are alike.
    smallest, median, largest
        The shortest, the median and the longest side of the images along each axis, in pixels.
    pixels
        Of all images together.
    spacing
        The median size of a pixel along each axis, if all images state one.
    channels, dtypes
        Of the images.
    low, high
        The extreme intensities of each channel; NaN where every pixel is missing.
    normalisation
        What is done with intensities, and why, in a sentence.
    kind, classes, background
        What the labels are, the names of the classes, and which of them is no object.
    class_px, class_images
        The pixels of each class, and the number of images that have any.
    labelled_px
        Pixels that are labelled.
    objects, object_px
        How many, and the quantiles 0, 1/4, 1/2, 3/4 and 1 of their sizes; none without objects.
    touching, close
        How many objects touch another by a face, an edge or a corner, and how many have another
        within `CLOSE_PX`. None where there are several classes of objects, which touch as a rule.
    gray
        Of images of several channels: those whose channels are all equal.
    brighter, darker
        Images whose foreground is clearly brighter, or darker, than their background: by
        half of the image's standard deviation (`look.CLEARLY`).
    directed
        Axes whose ends are unlike, each with the class that shows it (`overtile.directions`).
    """

    dimensions: int
    images: int
    groups: int
    smallest: tuple[int, ...]
    median: tuple[int, ...]
    largest: tuple[int, ...]
    pixels: int
    spacing: tuple[float, ...] | None
    channels: int
    dtypes: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    normalisation: str
    kind: str
    classes: tuple[str, ...]
    background: int | None
    class_px: tuple[int, ...]
    class_images: tuple[int, ...]
    labelled_px: int
    objects: int
    object_px: tuple[float, ...]
    touching: int | None
    close: int | None
    gray: int = 0
    brighter: int = 0
    darker: int = 0
    directed: tuple[tuple[str, str], ...] = ()

    @property
    def has_both_colours(self) -> bool:
        """Whether some images are gray, and some are not."""
        return self._are_both(self.gray, (self.channels > 1) * self.images - self.gray)

    @property
    def has_both_contrasts(self) -> bool:
        """Whether what is looked for is brighter than the rest in some images, darker in others."""
        return self._are_both(self.brighter, self.darker)

    def _are_both(self, one: int, other: int) -> bool:
        return min(one, other) >= max(1.0, SOME * self.images)

    @property
    def labelled_share(self) -> float:
        """The share of all pixels that are labelled."""
        return self.labelled_px / self.pixels

    @property
    def class_shares(self) -> tuple[float, ...]:
        """The share of the labelled pixels that each class has."""
        return tuple(px / max(self.labelled_px, 1) for px in self.class_px)

    @property
    def close_share(self) -> float:
        """The share of the objects that have another within `CLOSE_PX`; 0 where not counted."""
        return (self.close or 0) / max(self.objects, 1)

    def rows(self) -> list[tuple[str, str]]:
        """(what, value) for a table that a person reads."""
        noun = "volumes" if self.dimensions == 3 else "images"
        several = f" in {self.groups} groups" if self.groups > 1 else " of one group"
        groups = several if self.groups < self.images else ""
        found = [(noun, f"{self.images}{groups}"), ("sizes", self._sizes())]
        if self.spacing is not None:
            found.append(("pixel size", " x ".join(f"{size:.4g}" for size in self.spacing)))
        found += [("channels", self._channels()), ("normalisation", self.normalisation)]
        found += [("labels", self._labels()), *self._classes()]
        if self.objects:
            found.append(("objects", self._objects()))
        if self.gray:
            found.append(("gray images", f"{self.gray} of {self.images}"))
        if self.has_both_contrasts:
            sides = f"brighter in {self.brighter} images, darker in {self.darker}"
            found.append(("foreground", sides))
        if self.directed:
            ends = ", ".join(f"{axis} (by {name})" for axis, name in self.directed)
            found.append(("axes with unlike ends", ends))
        return found

    def _sizes(self) -> str:
        if self.smallest == self.largest:
            return f"{_by(self.largest)} px"
        sides = (_by(sides) for sides in (self.smallest, self.largest, self.median))
        return "{} to {} px, median {}".format(*sides)

    def _channels(self) -> str:
        ends = [
            f"{low:.6g} to {high:.6g}"
            for low, high in zip(self.low[:NAMED], self.high[:NAMED], strict=True)
        ]
        shown = ends[:1] if len(set(ends)) == 1 else ends
        more = ", ..." if self.channels > NAMED else ""
        return f"{self.channels} of {' and '.join(self.dtypes)}, from {', '.join(shown)}{more}"

    def _labels(self) -> str:
        share = self.labelled_share
        part = "all pixels labelled" if share == 1 else f"{share:.3%} of the pixels labelled"
        return f"{self.kind}, {part}"

    def _classes(self) -> list[tuple[str, str]]:
        rows = [
            (f"class {name}", f"{share:.2%} of what is labelled, in {count} of {self.images}")
            for name, share, count in zip(
                self.classes, self.class_shares, self.class_images, strict=True
            )
        ]
        return [*rows[:NAMED], *([("...", f"{len(rows)} classes")] if len(rows) > NAMED else [])]

    def _objects(self) -> str:
        least, low, middle, high, most = self.object_px
        sizes = f"{self.objects} of {least:.0f} to {most:.0f} px, the middle half {low:.0f} to "
        sizes += f"{high:.0f} px (median {middle:.0f})"
        if self.touching is None or self.close is None:
            return sizes
        return f"{sizes}; {self.touching} touch another, {self.close} have one within {CLOSE_PX} px"


def _by(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
