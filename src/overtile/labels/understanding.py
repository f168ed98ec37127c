"""What label values mean, decided over all labels of a set together, streaming.

These are the rules, unless the user or the layout of the data says which it is:

1. Several channels of which each is 0 or one other value: a class each, and classes overlap.
2. Colours that differ within a pixel (RGB), or palettes that differ from file to file: a colour is
   a class, whatever its index; gray pixels among them are colours too. Palettes that agree leave
   numbers, and the classes take their colours.
3. No value but 0 and one other, as in a 0/255 mask: classes.
4. Object ids, if no value is negative and at least three values of some label are ids: nearly every
   value is one connected region, and values are numbered without gaps from 1, as programs number
   objects, in a label of more than 12 or in all labels up to different numbers; or they differ
   between labels: on average one is found in less than half of them, as in a stack or a film whose
   objects come and go; of planes with eight values or more, each one region everywhere, and numbers
   that are left out, in less than three quarters.
5. Scribbles, if every label is 0 but for thin strokes of two values or more (`scribbles`), and 0
   has no name: there 0 is not labelled.
6. Otherwise classes, in the order of their values; where all others are at most 40, the value 255
   means "not labelled" (as in Pascal VOC), unless it is the only one beside 0; and so does -1
   beside two others.

More than 40 class values are no classification but damage, such as a mask that was saved as JPEG.
A colour without a name that covers less than 0.0005 of all labels is left unlabelled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError
from overtile.labels.deciding import decide_classes, decide_scribbles
from overtile.labels.label import NO_HINTS, Hints, Kind, Label, as_label
from overtile.labels.meaning import LabelMeaning
from overtile.labels.seen import Seen
from overtile.labels.valuetable import Said
from overtile.legend import default_colours


def understand(
    labels: Iterable[Label | NDArray[Any]],
    kind: Literal["auto"] | Kind = "auto",
    hints: Hints = NO_HINTS,
    *,
    repair: bool = False,
) -> LabelMeaning:
    """The meaning of the values of all labels of a set.

    Parameters
    ----------
    labels
        Looked at one after the other: `Label`, or arrays (y x), or (z y x) of volumes, of whole
        numbers.
    kind
        What the values are, or ``auto`` to tell by the rules at the head of this module.
    hints
        What the layout of the data and the user say of them (`overtile.labels.told`).
    repair
        Whether stray values, as JPEG and smooth edges leave them, become the nearest class; classes
        are then the values that are named, or frequent and far from each other.

    Raises
    ------
    DataError
        No label, one that is not (y x) or (z y x) of whole numbers, negative object ids, a single
        value everywhere, too many values to be classes, labels of different kinds in one set, or
        labels that cannot be of this kind.
    """
    seen = Seen(repair)
    for label in labels:
        seen.add(as_label(label))
    if seen.labels == 0:
        raise DataError("There is no label to learn from: expected at least one.")
    chosen = kind if kind != "auto" else hints.kind or "auto"
    why = "as you said" if kind != "auto" else "as the data set says" if hints.kind else ""
    if chosen == "multilabel" or (chosen == "auto" and "channels" in seen.codings):
        return _multilabel(seen, hints, why)
    if "channels" in seen.codings:
        raise DataError(
            f"Labels with a channel for each class cannot be {chosen}: expected one value for each "
            "pixel, or say --labels-are multilabel."
        )
    said = Said(hints, why, repair)
    objects = chosen == "instances" or (
        chosen == "auto" and "colours" not in seen.codings and seen.look_like_objects()
    )
    if objects:
        return _instances(seen, said)
    # Where a data set names the value 0, it is a class of it, and thin is what it shows.
    guess = chosen == "auto" and seen.drawn and all(hint.value != 0 for hint in hints.classes)
    if chosen == "scribbles" or guess:
        found = decide_scribbles(seen, said, sure=chosen == "scribbles")
        if found is not None:
            return found
    return decide_classes(seen, said)


def _instances(seen: Seen, said: Said) -> LabelMeaning:
    coloured = "colours" in seen.codings
    values = sorted(set(seen.codes if coloured else seen.numbers) - set(said.hints.ignored))
    if values and values[0] < 0:
        raise DataError(
            f"The labels hold the value {values[0]}, and object ids are not negative: "
            "expected 0 for background and a number above 0 for each object."
        )
    if not any(values):
        raise DataError("All labels are 0 everywhere: expected at least one object.")
    why = said.why or (
        "because nearly every value is one region of its label, and the values count up or differ "
        "between labels"
    )
    most = "black" if coloured else f"0 is an object (up to {seen.most_objects} in a label)"
    what = f"Each colour but {most} is an object" if coloured else f"Each value but {most}"
    return LabelMeaning(
        "instances",
        (0, 1),
        ("background", "object"),
        f"{what}, {why}.",
        default_colours(2),
        coding="colours" if coloured else "numbers",
        ignored=said.hints.ignored,
    )


def _multilabel(seen: Seen, hints: Hints, why: str) -> LabelMeaning:
    if len(seen.layers) != 1 or (seen.codings - {"channels", "colours"}):
        found = [f"{count} channels" for count in sorted(seen.layers)]
        found += ["a single number for each pixel"] * ("numbers" in seen.codings)
        raise DataError(
            f"Classes that overlap need a channel each, the same number in all labels, and the "
            f"labels have {' and '.join(found)}: give one file or one channel for each class."
        )
    ((count, present),) = seen.layers.items()
    by_place = {hint.value: hint.name for hint in hints.classes if hint.value is not None}
    names = tuple(
        by_place.get(place, seen.names[place] if place < len(seen.names) else f"class {place}")
        for place in range(count)
    )
    reason = (
        f"Each of {count} channels is a class{f', {why}' if why else ''}, and classes may overlap: "
        f"{', '.join(names)}."
    )
    lost = [
        name for name, seldom in zip(names, np.asarray(present).tolist(), strict=True) if not seldom
    ]
    if lost:
        reason += f" No pixel of any label is {' or '.join(lost)}."
    return LabelMeaning(
        "multilabel",
        tuple(range(count)),
        names,
        reason,
        default_colours(count + 1)[1:],
        coding="channels",
        ignored=hints.ignored,
        background=None,
    )
