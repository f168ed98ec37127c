"""What an examination gives: rows, findings, a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from overtile.labels import LabelMeaning

Mark = Callable[[NDArray[Any]], NDArray[np.bool_]]
"""From class ids, object ids or values (*space) to pixels (*space)."""

MOST_ALIKE = 3
"""So many findings with one remedy are shown each, the others counted."""


@dataclass(frozen=True)
class Row:
    """What one pair holds.

    Attributes
    ----------
    name
        Of the pair.
    size_px
        Height and width of the image; of a volume its depth before them.
    dtype, channels
        Of the image.
    low, high
        Least and greatest intensity; NaN where no pixel is finite.
    shares
        Share of the pixels of the label that have each value, as stored or as repaired; of classes
        that overlap, of each by its number. Empty without a label that can be used.
    objects
        Number of objects: values of instances, face-connected regions of semantic classes; without
        the background and what is ignored. None where the label could not be understood.
    """

    name: str
    size_px: tuple[int, ...]
    dtype: str
    channels: int
    low: float
    high: float
    shares: dict[int, float]
    objects: int | None


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes
    ----------
    severity
        With an ``error`` there is no training; a ``warning`` may be meant.
    name
        Of the pair; "" where it concerns all together.
    found, remedy
        A sentence that says what was found, and one that says what to do.
    mark
        For a picture: from what `marked` names (*space) to the pixels that it is about; None where
        there are none to show.
    marked
        What is given to `mark`: class ids, object ids, or the values of the label as read.
    """

    severity: Literal["error", "warning"]
    name: str
    found: str
    remedy: str
    mark: Mark | None = None
    marked: Literal["classes", "objects", "values"] = "values"


@dataclass(frozen=True)
class Report:
    """The result of an examination.

    Attributes
    ----------
    rows
        One for each pair whose files could be read, in order.
    findings
        In the order of the pairs, those that concern all at the end.
    meaning
        How the labels are understood, with the reason; None without usable labels.
    """

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    meaning: LabelMeaning | None

    @property
    def ok(self) -> bool:
        """Whether training can start: no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    @property
    def shortened(self) -> list[Finding]:
        """The findings, of which at most three with the same remedy, and a line for the others."""
        alike = Counter(finding.remedy for finding in self.findings)
        seen: Counter[str] = Counter()
        kept = []
        for finding in self.findings:
            seen[finding.remedy] += 1
            if seen[finding.remedy] <= MOST_ALIKE:
                kept.append(finding)
            elif seen[finding.remedy] == MOST_ALIKE + 1:
                more = alike[finding.remedy] - MOST_ALIKE
                found = f"{more} more finding{'s' * (more > 1)} of this kind."
                kept.append(Finding(finding.severity, "", found, finding.remedy))
        return kept
