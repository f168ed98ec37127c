"""Whether images and labels belong together, and can be learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from overtile.errors import DataError
from overtile.labels import Label
from overtile.layouts.pair import Pairs
from overtile.layouts.source import PathLike, Source
from overtile.layouts.table import LAYOUTS
from overtile.missing import find_missing, refuse_infinite


def check_labelled(pairs: Pairs, given: object) -> None:
    """Refuse images without labels.

    Raises
    ------
    DataError
        There are no labels.
    """
    if any(pair.label is None for pair in pairs):
        known = "; ".join(f"{known.name}: {known.looks}" for known in LAYOUTS)
        what = str(given) if isinstance(given, PathLike) else "What was given"
        raise DataError(
            f"{what} holds images, and no labels were found with them. Give the labels as well, or "
            f"a folder in one of the known layouts. {known}."
        )


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


def check_lengths(images: Sequence[Source], labels: Sequence[Source]) -> None:
    """Pass where there are as many labels as images.

    Raises
    ------
    DataError
        There are not; the message names the first of each.
    """
    if len(images) != len(labels):
        raise DataError(
            f"There are {len(images)} images (the first is {images[0].origin}) but {len(labels)} "
            f"labels (the first is {labels[0].origin}): expected one label for each image. A stack "
            "has one page for each; an array (c y x) needs its axes named: Image(array, 'cyx')."
        )
