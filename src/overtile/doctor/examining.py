"""What is wrong with images and labels, found before any training, each with a remedy.

Every pair is read one at a time. No file is changed: what is found is said, and shown.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from overtile.cache import Kept, Room
from overtile.contrast import contrast_of
from overtile.doctor.cut import check_cuts
from overtile.doctor.findings import Finding, Report, Row
from overtile.doctor.inverted import check_background, find_inverted
from overtile.doctor.single import (
    EXCHANGE,
    LabelValues,
    check_image,
    check_label,
    check_sizes,
    count_values,
    describe_image,
    looks_like_label,
)
from overtile.doctor.together import compare_images, compare_labels, find_copies
from overtile.errors import DataError
from overtile.labels import Label, LabelMeaning, told, understand
from overtile.labels.label import colour_codes
from overtile.layouts import Pairs
from overtile.machine import free_memory
from overtile.settings import LabelSettings

__all__ = ["Finding", "Report", "Row", "examine"]


def examine(
    pairs: Pairs, settings: LabelSettings | None = None, held_out: Collection[str] = ()
) -> Report:
    """Rows and findings of all pairs, and how their labels are understood.

    Parameters
    ----------
    pairs
        With labels or without; each image and label is read once, where memory can keep it.
    settings
        What the user says of the labels; by default nothing.
    held_out
        Names of images that training is to leave out.

    Returns
    -------
    Report
        Files and labels that cannot be read or used are findings, not exceptions.
    """
    settings = settings or LabelSettings()
    seen = _Seen(pairs, repair=settings.repair)
    labels = seen.usable_labels()
    meaning = None
    try:
        hints = told(settings, pairs.hints)
        meaning = understand(labels, settings.kind, hints, repair=settings.repair)
    except DataError as error:
        if seen.labels:
            remedy = "Mend the labels, or say what they are."
            seen.findings.append(Finding("error", "", str(error), remedy))
    deque(labels, maxlen=0)  # pairs that were not asked for are examined all the same
    seen.findings += compare_images(seen.rows.values())
    seen.findings += find_copies(seen.fingerprints, held_out)
    if meaning is not None:
        seen.code_as(meaning)
        seen.findings += compare_labels(seen.labels, meaning)
        seen.findings += seen.by_meaning(meaning)
    rows = tuple(
        replace(row, shares=seen.shares[name])
        if name in seen.shares
        else _complete(row, seen.labels.get(name), meaning)
        for name, row in seen.rows.items()
    )
    return Report(rows, tuple(seen.findings), meaning)


T = TypeVar("T")

KEPT_SHARE = 0.25
"""Of the free memory, what images and labels may take between the two looks at them."""


class _Seen:
    """What is kept of the pairs while they go by, by their names."""

    def __init__(self, pairs: Pairs, *, repair: bool) -> None:
        self.pairs, self.repair = pairs, repair
        self.findings: list[Finding] = []
        self.rows: dict[str, Row] = {}
        self.labels: dict[str, LabelValues] = {}
        self.shares: dict[str, dict[int, float]] = {}
        self.read: dict[str, Label] = {}
        self.usable: list[int] = []
        self.fingerprints: dict[bytes, list[str]] = defaultdict(list)
        room = Room(int(KEPT_SHARE * free_memory()))
        count = len(pairs)
        self._labels = Kept(
            count, lambda n: pairs[n].read_label(), lambda label: label.values.nbytes, room
        )
        self._images = Kept(
            count, lambda n: pairs[n].image.read(), lambda image: image.nbytes, room
        )

    def usable_labels(self) -> Iterator[Label]:
        """Examine one pair after the other; yield the labels whose values have a meaning."""
        for place, pair in enumerate(self.pairs):
            image = self._read(pair.name, self._images, place)
            if image is None:
                continue
            self._look_at_image(pair.name, image)
            if pair.label is None:
                continue
            label = self._read(pair.name, self._labels, place, image)
            if label is None:
                continue
            self._look_at_label(pair.name, image, label)
            if pair.name in self.labels or label.coding == "channels":
                if image.shape[1:] == label.shape:
                    self.usable.append(place)
                yield label

    def _read(
        self, name: str, read: Kept[T], place: int, image: NDArray[Any] | None = None
    ) -> T | None:
        """The pixels; None, and a finding, where there are none to be had."""
        try:
            return read[place]
        except DataError as error:
            exchanged = image is not None and looks_like_label(image)
            remedy = EXCHANGE if exchanged else "Mend this file, or leave the pair out."
            self.findings.append(Finding("error", name, str(error), remedy))
            return None

    def _look_at_image(self, name: str, image: NDArray[Any]) -> None:
        row = self.rows[name] = describe_image(name, image)
        self.findings += check_image(name, image, row)
        if row.low != row.high:
            self.fingerprints[hashlib.sha256(image.tobytes()).digest()].append(name)

    def _look_at_label(self, name: str, image: NDArray[Any], label: Label) -> None:
        self.findings += check_sizes(name, image.shape[1:], label.shape)
        if label.coding == "channels":
            return
        in_colour = label.coding == "colours"
        values, found = check_label(
            name, image, label.values, in_colour=in_colour, repair=self.repair
        )
        self.findings += found
        if values is not None:
            self.labels[name] = values
            nothing = np.empty(0, np.int64)  # the pixels need not be kept
            self.read[name] = replace(label, values=nothing)

    def code_as(self, meaning: LabelMeaning) -> None:
        """Let values be those that tell classes apart: as they are repaired, or colours."""
        if meaning.repair and meaning.kind in ("classes", "scribbles"):
            for place in self.usable:
                values = meaning.repaired(self._labels[place])
                self.labels[self.pairs[place].name] = count_values(values)
        elif meaning.coding == "colours":
            for name, found in self.labels.items():
                label = self.read[name]
                codes = colour_codes(found.values, label.coding, label.palette)
                self.labels[name] = replace(found, values=codes)

    def by_meaning(self, meaning: LabelMeaning) -> Iterator[Finding]:
        """What can only be seen when it is known what labels mean, at a second look at them."""
        contrasts = {}
        for place in self.usable:
            name, label = self.pairs[place].name, self._labels[place]
            if meaning.kind == "instances":
                ids = meaning.objects(label)
                yield from check_background(name, ids)
                yield from check_cuts(name, ids)
                continue
            if meaning.kind == "multilabel":
                layers = meaning.class_map(label)
                known = layers[0] >= 0  # of all classes or of none
                self.shares[name] = dict(enumerate(layers[:, known].mean(axis=1).tolist()))
                continue
            if meaning.repair:
                yield from check_stray(name, label, meaning)
            seen = np.isfinite(self.rows[name].low)
            if seen and meaning.kind == "classes" and len(meaning.values) == 2:
                mask = meaning.class_map(label) == 1
                if mask.any() and not mask.all():
                    contrasts[name] = contrast_of(self._images[place], mask)
        yield from find_inverted(contrasts)


def check_stray(name: str, label: Label, meaning: LabelMeaning) -> Iterator[Finding]:
    """Pixels with the value of no class, which are taken for the nearest."""
    stray = meaning.stray(label)
    count = np.count_nonzero(stray)
    if count:
        yield Finding(
            "warning",
            name,
            f"{count} of {stray.size} pixels of the label have values of no class, and are taken "
            "for the nearest (--repair).",
            "Look at the picture: where a border is blurred that is right; the files stay as they "
            "are.",
            lambda values: meaning.stray(replace(label, values=values)),
        )


def _complete(row: Row, label: LabelValues | None, meaning: LabelMeaning | None) -> Row:
    """A row with what the label holds."""
    if label is None:
        return row
    total = label.pixels.sum()
    shares = dict(zip(label.values.tolist(), (label.pixels / total).tolist(), strict=True))
    objects = None
    if meaning is not None and meaning.kind == "instances":
        objects = int((label.values > 0).sum())
    elif meaning is not None:
        objects = int(label.regions[np.isin(label.values, meaning.values[1:])].sum())
    return replace(row, shares=shares, objects=objects)
