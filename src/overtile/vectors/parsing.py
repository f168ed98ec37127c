"""JSON of other programs, read without trust."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from overtile.errors import FormatError
from overtile.vectors.raster import Points

FARTHEST = 1e12
"""Beyond any pixel, and any metre on the earth."""

WRONG_FORM = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)

MOST_QUOTED = 200
"""Characters of what a library says of a value, which it quotes, however long that is."""


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    FormatError
        There is no such file, it cannot be read, or is damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{path} is not JSON, or damaged: {error}. Export or copy it again."
        ) from error


@contextmanager
def expecting(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a value of the wrong form causes into one sentence.

    Raises
    ------
    FormatError
        Something is missing, or of another type.
    """
    try:
        yield
    except (*WRONG_FORM, RecursionError) as error:
        missing = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        missing = missing if len(missing) <= MOST_QUOTED else missing[:MOST_QUOTED] + "..."
        raise FormatError(
            f"{path} is not as expected ({missing}): expected {what}. It is damaged, or was "
            "written by a program that Overtile does not know."
        ) from error


def points(values: Any) -> Points:
    """Corners (n 2), of pairs of x and y; further numbers, such as heights, are dropped.

    Raises
    ------
    ValueError
        They are no pairs of finite numbers.
    """
    corners = np.asarray(values, np.float64)
    if corners.size == 0:
        return np.zeros((0, 2))
    if corners.ndim != 2 or corners.shape[1] < 2 or not (np.abs(corners) < FARTHEST).all():
        raise ValueError(f"an array of shape {corners.shape} is no list of finite x and y")
    return corners[:, :2]
