"""Masks in which foreground and background are exchanged, told by the others of the set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from overtile.contrast import Contrast
from overtile.doctor.findings import Finding

SURE = 2 / 3
"""Share of the labels that must agree with each other before one that differs is doubted."""

FEWEST = 3
"""Labels; of two that differ nobody knows which is meant."""

MOST_BACKGROUND = 0.5
"""Share of the image from which on an object is rather its background."""


def find_inverted(contrasts: Mapping[str, Contrast]) -> Iterator[Finding]:
    """Masks whose contrast is that of the others turned round, and their share of pixels too."""
    if len(contrasts) < FEWEST:
        return
    sign = np.sign(np.median([one.brighter for one in contrasts.values()]))
    agree = [one for one in contrasts.values() if np.sign(one.brighter) == sign]
    if len(agree) < SURE * len(contrasts):
        return
    usual = float(np.median([one.share for one in agree]))
    for name, one in contrasts.items():
        turned = abs(1 - one.share - usual) < abs(one.share - usual)
        if np.sign(one.brighter) == -sign and turned:
            yield Finding(
                "warning",
                name,
                f"The mask looks inverted: its foreground covers {one.share:.0%} of the image and "
                f"is {'darker' if sign > 0 else 'brighter'} than the rest; in the other labels it "
                f"covers {usual:.0%} and is {'brighter' if sign > 0 else 'darker'}.",
                "Exchange the two values of this mask if foreground and background are swapped.",
                _foreground,
                "classes",
            )


def check_background(name: str, ids: NDArray[np.integer]) -> Iterator[Finding]:
    """Instances whose background has the id of an object, and 0 hardly occurs."""
    values, counts = np.unique(ids, return_counts=True)
    largest = counts.argmax()
    if values[largest] == 0 or counts[largest] < MOST_BACKGROUND * ids.size or len(values) < 3:
        return
    zero, most = counts[values == 0].sum() / ids.size, counts[largest] / ids.size
    yield Finding(
        "warning",
        name,
        f"The object {values[largest]} covers {most:.0%} of the image, and 0, the background, "
        f"{zero:.0%}.",
        f"Write 0 where the id is {values[largest]}, if that is the background.",
        _largest,
        "objects",
    )


def _foreground(classes: NDArray[np.integer]) -> NDArray[np.bool_]:
    return np.asarray(classes == 1)


def _largest(ids: NDArray[np.integer]) -> NDArray[np.bool_]:
    found, counts = np.unique(ids, return_counts=True)
    return np.asarray(ids == found[counts.argmax()])
