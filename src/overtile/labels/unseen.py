"""Classes of labels that a model was never shown, so that their pixels can be scored as wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from overtile.labels.label import MOST_CLASSES, Hints, Label
from overtile.labels.meaning import LabelMeaning
from overtile.legend import code_of, colour_of, default_colours


def with_unseen(meaning: LabelMeaning, labels: Iterable[Label], hints: Hints) -> LabelMeaning:
    """What labels to be scored mean: as in training, and a class for each value not seen there.

    Parameters
    ----------
    meaning
        Of the labels of training. Unchanged where its values are objects or channels, where stray
        values are repaired, or where there is none.
    labels
        To be scored, looked at one after the other.
    hints
        What the layout of the data and the user say of them.

    Returns
    -------
    LabelMeaning
        The new classes come last, by value. They are classes only where the data set names them,
        or where labels hold two classes of training besides: else these labels are written in
        another way than those (0 and 1 instead of 0 and 255), which `LabelMeaning.class_map`
        refuses.
    """
    if meaning.kind in ("instances", "multilabel") or meaning.repair:
        return meaning
    known: set[int] = set()
    strange: set[int] = set()
    for label in labels:
        here = meaning.values_in(label)
        known |= here[0]
        strange |= here[1]
    names = {value: _name(meaning, value, hints) for value in sorted(strange)}
    alike = len(known) >= 2 or all(names.values())
    if not strange or not alike or len(meaning.values) + len(strange) > MOST_CLASSES:
        return meaning
    colours = default_colours(len(meaning.values) + len(names))[-len(names) :]
    if meaning.coding == "colours":
        colours = tuple(map(colour_of, names))
    word = "" if meaning.coding == "colours" else "class "
    told = [name or f"{word}{meaning.shown(value)}" for value, name in names.items()]
    return replace(
        meaning,
        values=(*meaning.values, *names),
        names=(*meaning.names, *told),
        colours=(*meaning.colours, *colours),
    )


def _name(meaning: LabelMeaning, value: int, hints: Hints) -> str:
    """What the data set calls a value or a colour; empty where it does not."""
    for hint in hints.classes:
        if meaning.coding == "numbers" and hint.value == value:
            return hint.name
        if meaning.coding == "colours" and hint.colour and code_of(hint.colour) == value:
            return hint.name
    return ""
