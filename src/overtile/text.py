"""Names as messages, tables and files show them: printable, shortened, and of many the first."""

from __future__ import annotations

from collections.abc import Sequence

MOST_NAMED = 5
"""So many names are shown in a message, and the number of the rest."""


MOST_LETTERS = 32
"""Longer names are shown by their beginning and their end."""


def shortened(name: str) -> str:
    """A name by its beginning and its end where it is long: "4a424e0cb845c...f2a7794e656a794e"."""
    half = MOST_LETTERS // 2 - 2
    return name if len(name) <= MOST_LETTERS else f"{name[:half]}...{name[-half:]}"


def shown(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(map(shortened, names[:MOST_NAMED])) + (f" and {more} more" if more > 0 else "")


def as_text(name: str) -> str:
    r"""A file's name as models and reports can hold it, which are UTF-8: other bytes as \udce9."""
    return name.encode(errors="backslashreplace").decode()
