"""The values or colours of a set of labels, with what is said of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from overtile.labels.label import Coding, Hints
from overtile.labels.seen import Seen
from overtile.legend import UNLABELLED_VALUE, code_of, written

UNLABELLED_NAMES = frozenset(
    {
        *("unlabeled", "unlabelled", "notlabeled", "notlabelled", "nolabel", "unannotated"),
        *("void", "ignore", "ignored", "dontcare", "dontknow", "unknown", "undefined", "nodata"),
    }
)


@dataclass(frozen=True)
class Said:
    """What is known beside the pixels: hints, who says what the labels are, and if to repair."""

    hints: Hints
    why: str
    repair: bool


@dataclass(frozen=True)
class ValueTable:
    """The values of a set in one coding, with what is said of them.

    Attributes
    ----------
    coding
        "numbers" or "colours".
    pixels
        Of each value.
    palette
        The colour code of each number, where the labels' palettes tell it.
    """

    coding: Coding
    pixels: Counter[int]
    palette: dict[int, int]
    said: Said

    def code(self, value: int) -> int | None:
        return value if self.coding == "colours" else self.palette.get(value)

    def name(self, value: int) -> str:
        """The name of a value by its number or its colour; empty where it has none."""
        code = self.code(value)
        for hint in self.said.hints.classes:
            by_number = self.coding == "numbers" and hint.value == value
            if by_number or (hint.colour is not None and code_of(hint.colour) == code):
                return hint.name
        return ""

    def is_ignored(self, value: int) -> bool:
        """Whether it is said that a value means "not labelled"."""
        ignored, code = self.said.hints.ignored, self.code(value)
        # A number is no colour: only codes beyond the numbers that masks hold are looked up.
        by_colour = code is not None and code > UNLABELLED_VALUE and code in ignored
        return value in ignored or by_colour or is_unlabelled(self.name(value))

    def shown(self, value: int) -> str:
        return written(value) if self.coding == "colours" else str(value)


def is_unlabelled(name: str) -> bool:
    """Whether the name of a class says that it is none: "Unlabeled", "don't care", "void"."""
    letters = "".join(letter for letter in name.lower() if letter.isalnum())
    return letters in UNLABELLED_NAMES or letters == str(UNLABELLED_VALUE)


def value_table(seen: Seen, said: Said) -> ValueTable:
    """The set by colour where there is RGB or palettes differ, otherwise by number."""
    if "colours" in seen.codings or not seen.palettes_agree:
        if seen.uncoloured is not None:
            raise seen.uncoloured
        return ValueTable("colours", seen.codes, {}, said)
    return ValueTable("numbers", seen.numbers, seen.palette, said)
