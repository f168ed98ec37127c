"""Which values or colours of a set of labels are classes, what they are called, what is ignored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from overtile.errors import DataError
from overtile.image import Colour
from overtile.labels.label import IGNORE, MOST_CLASSES, Kind
from overtile.labels.meaning import LabelMeaning
from overtile.labels.seen import Seen
from overtile.labels.valuetable import Said, ValueTable, value_table
from overtile.legend import UNLABELLED_VALUE, colour_of, default_colours, written

BACKGROUND_NAMES = frozenset({"background", "bg", "back"})

RARE = 5e-4
"""A colour without a name that covers a smaller share of all labels is a slip of the drawing: in a
set of aerial photographs, black pixels at the edges of its labels cover 0.00005, and of one scene
0.00013. A class that is as rare has to be named."""

SHOWN = 12

FREQUENT = 5e-3
"""To be repaired, a set has classes of at least this share, where they have no names."""
APART = 1 / 8
"""They lie farther apart than this part of all gray levels or colours that are frequent: the stray
values of JPEG that are frequent lie nearer. Up to 40, numbers are counted, and each may be one."""


def decide_classes(seen: Seen, said: Said) -> LabelMeaning:
    """The meaning of labels whose values or colours are classes."""
    table = value_table(seen, said)
    ignored = [value for value in table.pixels if table.is_ignored(value)]
    values = sorted(set(table.pixels) - set(ignored))
    if said.repair:
        values = _frequent(table, values)
    rare: list[int] = []
    if table.coding == "numbers":
        by_custom = (
            len(values) > 2 and values[-1] == UNLABELLED_VALUE and values[-2] <= MOST_CLASSES
        )
        if by_custom and not table.name(UNLABELLED_VALUE):
            ignored.append(values.pop())
        if len(values) > 2 and values[0] == IGNORE and not table.name(IGNORE):
            ignored.append(values.pop(0))
    elif len(values) <= MOST_CLASSES and not said.repair:
        rare = _rare(table, values)
        values = [value for value in values if value not in rare]
    _check(table, values)
    return _meaning("classes", table, values, ignored, rare)


def decide_scribbles(seen: Seen, said: Said, *, sure: bool) -> LabelMeaning | None:
    """The meaning of labels of strokes; None where they have a single class and it was a guess."""
    table = value_table(seen, said)
    ignored = [value for value in table.pixels if value == 0 or table.is_ignored(value)]
    values = sorted(set(table.pixels) - set(ignored))
    if len(values) < 2 and not sure:
        return None
    if len(values) < 2:
        raise DataError(
            f"The strokes of the labels have {len(values)} value{'s' * (len(values) != 1)} beside "
            "0: expected at least two classes, of which one may be background."
        )
    _check(table, values)
    return _meaning("scribbles", table, values, ignored, [])


def _rare(table: ValueTable, values: list[int]) -> list[int]:
    """The colours without a name that cover hardly any pixels; none where too few would be left."""
    total = sum(table.pixels.values())
    rare = [v for v in values if not table.name(v) and table.pixels[v] < RARE * total]
    return rare if len(values) - len(rare) >= 2 else []


def _frequent(table: ValueTable, values: list[int]) -> list[int]:
    """The classes among stray values: those with a name; or the frequent ones far apart."""
    named = [value for value in values if table.name(value)]
    if len(named) >= 2:
        return named
    total = sum(table.pixels.values())
    frequent = [value for value in values if table.pixels[value] >= FREQUENT * total]
    if not frequent or (table.coding == "numbers" and max(frequent) <= MOST_CLASSES):
        return frequent
    points = {value: np.array(_point(table, value)) for value in frequent}
    span = np.ptp([*points.values()], axis=0)
    kept: list[int] = []
    for value in sorted(frequent, key=lambda value: (-table.pixels[value], value)):
        apart = (np.linalg.norm(points[value] - points[other]) for other in kept)
        if all(distance > APART * np.linalg.norm(span) for distance in apart):
            kept.append(value)
    return sorted(kept)


def _point(table: ValueTable, value: int) -> tuple[int, ...]:
    return colour_of(value) if table.coding == "colours" else (value,)


def _check(table: ValueTable, values: list[int]) -> None:
    """Refuse what cannot be classes: too many, or a single one."""
    word = "values" if table.coding == "numbers" else "colours"
    if len(values) > MOST_CLASSES:
        listed = ", ".join(map(table.shown, values[:6]))
        raise DataError(
            f"The labels hold {len(values)} different {word} ({listed}, ...), which is too many to "
            f"be classes (at most {MOST_CLASSES}). Masks saved as JPEG or resized with "
            "interpolation have such stray values: export them again as PNG or TIFF, or let "
            f"--repair take the nearest class. If each {word[:-1]} is an object, say so "
            "(--labels-are instances)."
        )
    if len(values) < 2:
        one = (
            f"the {word[:-1]} {table.shown(values[0])}" if values else "nothing but what is ignored"
        )
        raise DataError(f"All labels hold {one} everywhere: expected at least two classes.")


def _meaning(
    kind: Kind, table: ValueTable, values: list[int], ignored: list[int], rare: list[int]
) -> LabelMeaning:
    background = _background(kind, table, values)
    if background is not None:
        values = [background, *(value for value in values if value != background)]
    names = _names(kind, table, values)
    palette = {
        value: colour_of(table.palette[value])
        for value in (*values, *ignored)
        if value in table.palette
    }
    small = kind == "classes" and table.coding == "numbers" and max(values) <= MOST_CLASSES
    also = [UNLABELLED_VALUE, IGNORE] if small and min(values) >= 0 else []
    return LabelMeaning(
        kind,
        tuple(values),
        names,
        _reason(kind, table, dict(zip(values, names, strict=True)), sorted(ignored), rare),
        _colours(table, values, background),
        coding=table.coding,
        ignored=tuple(dict.fromkeys((*sorted((*ignored, *rare)), *also))),
        background=None if background is None else 0,
        palette=palette,
        repair=table.said.repair,
    )


def _background(kind: Kind, table: ValueTable, values: list[int]) -> int | None:
    """The value of what is no object: by its name; 0 or black, or the first of two, without one."""
    named = {value: table.name(value) for value in values}
    for value, name in named.items():
        if name.strip("_ ").lower() in BACKGROUND_NAMES:
            return value
    if kind == "scribbles" or any(named.values()):
        return None
    return 0 if 0 in values else values[0] if len(values) == 2 else None


def _names(kind: Kind, table: ValueTable, values: list[int]) -> tuple[str, ...]:
    """The names as they are told, made different; else by the value, or the colour."""
    names = [table.name(value) for value in values]
    if kind == "classes" and len(values) == 2 and not any(names) and table.coding == "numbers":
        return ("background", "foreground")
    names = [
        name or (written(value) if table.coding == "colours" else f"class {value}")
        for value, name in zip(values, names, strict=True)
    ]
    often = Counter(names)
    return tuple(
        f"{name} ({table.shown(value)})" if often[name] > 1 else name
        for value, name in zip(values, names, strict=True)
    )


def _colours(table: ValueTable, values: list[int], background: int | None) -> tuple[Colour, ...]:
    """Those of the labels; of numbers those that are told, or default ones: background is black."""
    codes = [table.code(value) for value in values]
    told = {hint.value: hint.colour for hint in table.said.hints.classes if hint.colour is not None}
    if None not in codes:
        return tuple(colour_of(code) for code in codes if code is not None)
    default = default_colours(len(values) + 1)[background is None :][: len(values)]
    return tuple(told.get(value, colour) for value, colour in zip(values, default, strict=True))


def _reason(
    kind: Kind, table: ValueTable, names: dict[int, str], ignored: list[int], rare: list[int]
) -> str:
    word, said = ("value" if table.coding == "numbers" else "colour"), table.said
    why = f", {said.why}" if said.why else ""
    listed = [
        table.shown(value) + ("" if name == table.shown(value) else f" = {name}")
        for value, name in names.items()
    ]
    text = f"Each {word} is a class{why}: {_first(listed)}"
    if kind == "scribbles":
        text = f"Labels are strokes{why}: {_first(listed)}"
        guess = "" if said.why else "; if 0 is background, say --labels-are classes"
        zero = "black" if table.coding == "colours" else "0"
        text += f"; {zero} is taken as NOT LABELLED, and weighs nothing{guess}"
        ignored = [value for value in ignored if value != 0]
    told = {value: table.name(value) for value in ignored}
    for value, name in told.items():
        text += f"; {table.shown(value)}{f' ({name})' if name else ''} = not labelled"
    if rare:
        total = sum(table.pixels.values())
        shares = [f"{table.shown(v)} ({table.pixels[v] / total:.4%} of all pixels)" for v in rare]
        text += f"; {_first(shares)} without a name and so rare: left unlabelled"
    if said.repair:
        text += f"; any other {word} is taken for the nearest of these (--repair)"
    return text + "." + _disagreement(table, names)


def _disagreement(table: ValueTable, names: dict[int, str]) -> str:
    """What the table of names holds and labels do not, and the other way round."""
    hints = table.said.hints.classes
    if not hints:
        return ""
    found = {table.name(value) for value in table.pixels}
    lost = [hint.name for hint in hints if hint.name not in found]
    nameless = [table.shown(value) for value in names if not table.name(value)]
    text = f" Named, but in no label: {_first(lost)}." if lost else ""
    return text + (f" In labels, but without a name: {_first(nameless)}." if nameless else "")


def _first(listed: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    listed = list(listed)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
