"""Fingerprints of data sets that are only described."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from overtile.fingerprint import Fingerprint

CELLS = Fingerprint(
    dimensions=2,
    images=24,
    groups=24,
    smallest=(512, 512),
    median=(512, 512),
    largest=(512, 512),
    pixels=24 * 512 * 512,
    spacing=None,
    channels=1,
    dtypes=("uint8",),
    low=(0.0,),
    high=(255.0,),
    normalisation="Intensities are normalised.",
    kind="classes",
    classes=("background", "cell"),
    background=0,
    class_px=(24 * 512 * 512 // 5, 24 * 512 * 512 - 24 * 512 * 512 // 5),
    class_images=(24, 24),
    labelled_px=24 * 512 * 512,
    objects=2000,
    object_px=(1.0, 100.0, 500.0, 2000.0, 9000.0),
    touching=10,
    close=1950,
)
"""Much like ISBI 2012."""


def like(*shapes: tuple[int, ...], **changes: Any) -> Fingerprint:
    """The fingerprint of cells in images of these shapes, with other changes."""
    if shapes:
        axes = list(zip(*shapes, strict=True))
        small, large = tuple(map(min, axes)), tuple(map(max, axes))
        changes |= {"smallest": small, "largest": large, "dimensions": len(axes)}
    return replace(CELLS, **changes)
