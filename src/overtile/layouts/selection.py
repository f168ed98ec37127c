"""Which images are meant by "24:30", "0,10,20", "-6:", "20%", "0006R0*" or "Tile 4"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from overtile.errors import DataError
from overtile.text import shown

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


def positions(
    choice: str | Iterable[int], keys: Sequence[Sequence[str]], groups: Sequence[str]
) -> list[int]:
    """The positions chosen, in order, each once.

    Parameters
    ----------
    choice
        Numbers; or a text of parts between commas, each a position from 0 (from the end where
        negative), a range, a share in percent, or a name, in which * stands for any letters.
    keys
        Of each image: its name, and those of the group and the part that it is in.
    groups
        Of each image the one that it is in; a share takes whole ones.

    Raises
    ------
    DataError
        A part that chooses nothing.
    """
    numbers = [] if isinstance(choice, str) else list(choice)
    if numbers:  # never a name: a group may be called "3"
        return sorted({_position(number, len(keys)) for number in numbers})
    parts = choice.split(",") if isinstance(choice, str) else [""]
    return sorted({position for part in parts for position in _part(part.strip(), keys, groups)})


def _position(number: int, count: int) -> int:
    if not -count <= number < count:
        raise DataError(
            f"There is no image {number}: expected a position from 0 to {count - 1}, or from "
            f"-{count} to -1, counted from the end."
        )
    return number % count


def _part(part: str, keys: Sequence[Sequence[str]], groups: Sequence[str]) -> Iterable[int]:
    count = len(keys)
    if (between := parse_range(part, count)) is not None:
        return between
    if re.fullmatch(r"\d+(\.\d+)?%", part):
        return _share(float(part[:-1]) / 100, groups)
    if re.fullmatch(r"-?\d+", part) and not any(part in own[1:] for own in keys):
        return [_position(int(part), count)]
    pattern = part.replace("[", "[[]")  # names of planes hold brackets: only * is special
    named = [p for p, own in enumerate(keys) if any(fnmatchcase(key, pattern) for key in own)]
    if not named:
        raise DataError(
            f"'{part}' chooses no image: expected a position (3), a range (24:30, -6:), a share "
            "(20%), or one of the names of groups or images, in which * stands for any letters: "
            f"{shown(list(dict.fromkeys(groups)))}."
        )
    return named


def _share(share: float, groups: Sequence[str]) -> Iterable[int]:
    """About this share, from the end: whole groups, or of a single one the block at its end.

    Neighbours in a stack are alike, so a choice at random would hold out what is nearly known.
    """
    count, sizes = len(groups), Counter(groups)
    wanted = max(1.0, share * count)
    if not 0 < share < 1:
        raise DataError(f"A share of {share:.0%} leaves nothing on one side: expected 1% to 99%.")
    if len(sizes) == 1:
        return range(count - round(wanted), count)
    chosen: set[str] = set()
    held = 0
    for name, size in reversed(list(sizes.items())[1:]):
        if chosen and abs(held + size - wanted) > abs(held - wanted):
            break
        chosen.add(name)
        held += size
    return [place for place, name in enumerate(groups) if name in chosen]
