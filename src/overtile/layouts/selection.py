"""Which images are meant by "24:30", "0,10,20", "-6:" or "0006R0*"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from overtile.errors import DataError
from overtile.layouts.folders import shown

RANGE = re.compile(r"(-?\d+)?:(-?\d+)?(?::([1-9]\d*))?")


def parse_range(text: str, count: int) -> range | None:
    """The positions of "start:stop" or "start:stop:step" among `count`, as Python slices.

    Either end can be left out, and counts from the end where it is negative. None where the text
    has another form.

    Raises
    ------
    DataError
        An end lies beyond the images, or nothing between the ends.
    """
    found = RANGE.fullmatch(text)
    if found is None:
        return None
    start, stop, step = (None if group is None else int(group) for group in found.groups())
    for end in (start, stop):
        if end is not None and not -count <= end <= count:
            raise DataError(
                f"The range {text} reaches beyond the {count} images: expected numbers from 0 to "
                f"{count}, or from -{count} to -1, counted from the end; all of them are 0:{count}."
            )
    chosen = range(*slice(start, stop, step).indices(count))
    if not chosen:
        raise DataError(
            f"The range {text} holds none of the {count} images: expected a start before the stop, "
            "which itself is left out, as in 0:1 for the first."
        )
    return chosen


def positions(choice: str | Iterable[int], names: Sequence[str]) -> list[int]:
    """The positions chosen, in order, each once.

    Parameters
    ----------
    choice
        Numbers; or a text of parts between commas, each a position from 0 (from the end where
        negative), a range, or a name, in which * stands for any letters.
    names
        Of the images.

    Raises
    ------
    DataError
        A part that chooses nothing.
    """
    text = choice if isinstance(choice, str) else ",".join(map(str, choice))
    chosen = {position for part in text.split(",") for position in _part(part.strip(), names)}
    return sorted(chosen)


def _part(part: str, names: Sequence[str]) -> Iterable[int]:
    count = len(names)
    if (between := parse_range(part, count)) is not None:
        return between
    if re.fullmatch(r"-?\d+", part):
        if not -count <= int(part) < count:
            raise DataError(
                f"There is no image {part}: expected a position from 0 to {count - 1}, or from "
                f"-{count} to -1, counted from the end."
            )
        return [int(part) % count]
    pattern = part.replace("[", "[[]")  # names of planes hold brackets: only * is special
    named = [place for place, name in enumerate(names) if fnmatchcase(name, pattern)]
    if not named:
        raise DataError(
            f"'{part}' chooses no image: expected a position (3), a range (24:30, -6:), or one of "
            f"the names, in which * stands for any letters: {shown(names)}."
        )
    return named
