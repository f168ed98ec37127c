"""What is wrong with images and labels, found before any training, each with a remedy.

Every pair is read once, one at a time. Nothing is repaired: what is found is said.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from overtile.doctor.findings import Finding, Report, Row
from overtile.doctor.single import (
    EXCHANGE,
    LabelValues,
    check_image,
    check_label,
    check_sizes,
    describe_image,
    looks_like_label,
)
from overtile.doctor.together import compare_images, compare_labels, find_copies
from overtile.errors import DataError
from overtile.labels import Label, LabelMeaning, told, understand
from overtile.labels.label import colour_codes
from overtile.layouts import Pairs
from overtile.settings import LabelSettings

__all__ = ["Finding", "Report", "Row", "examine"]


def examine(pairs: Pairs, settings: LabelSettings | None = None) -> Report:
    """Rows and findings of all pairs, and how their labels are understood.

    Parameters
    ----------
    pairs
        With labels or without; each image and label is read once.
    settings
        What the user says of the labels; by default nothing.

    Returns
    -------
    Report
        Files and labels that cannot be read or used are findings, not exceptions.
    """
    settings = settings or LabelSettings()
    seen = _Seen()
    labels = seen.usable_labels(pairs)
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
    seen.findings += find_copies(seen.fingerprints)
    if meaning is not None:
        seen.code_as(meaning)
        seen.findings += compare_labels(seen.labels, meaning)
    rows = tuple(_complete(row, seen.labels.get(name), meaning) for name, row in seen.rows.items())
    return Report(rows, tuple(seen.findings), meaning)


T = TypeVar("T")


class _Seen:
    """What is kept of the pairs while they go by, by their names."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.rows: dict[str, Row] = {}
        self.labels: dict[str, LabelValues] = {}
        self.read: dict[str, Label] = {}
        self.fingerprints: dict[bytes, list[str]] = defaultdict(list)

    def usable_labels(self, pairs: Pairs) -> Iterator[Label]:
        """Examine one pair after the other; yield the labels whose values have a meaning."""
        for pair in pairs:
            image = self._read(pair.name, pair.image.read)
            if image is None:
                continue
            self._look_at_image(pair.name, image)
            if pair.label is None:
                continue
            label = self._read(pair.name, pair.read_label, image)
            if label is None:
                continue
            self._look_at_label(pair.name, image, label)
            if pair.name in self.labels or label.coding == "channels":
                yield label

    def _read(
        self, name: str, read: Callable[[], T], image: NDArray[Any] | None = None
    ) -> T | None:
        """The pixels; None, and a finding, where there are none to be had."""
        try:
            return read()
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
        values, found = check_label(name, image, label.values, in_colour=label.coding == "colours")
        self.findings += found
        if values is not None:
            self.labels[name] = values
            nothing = np.empty(0, np.int64)  # the pixels need not be kept
            self.read[name] = replace(label, values=nothing)

    def code_as(self, meaning: LabelMeaning) -> None:
        """Let the values be colours where these are what tells classes apart."""
        if meaning.coding == "colours":
            for name, found in self.labels.items():
                label = self.read[name]
                codes = colour_codes(found.values, label.coding, label.palette)
                self.labels[name] = replace(found, values=codes)


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
