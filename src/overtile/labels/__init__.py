"""What label values mean: class ids, object ids, colours, overlapping classes, strokes, or nothing.

`label` holds what was read, and what is said of it beside the pixels (`told` by the user, or by a
table of classes); `understanding` decides for a set of labels together; `meaning` is what it
decides: how values become class ids and objects.
"""

from overtile.labels.label import (
    IGNORE,
    MOST_CLASSES,
    NO_HINTS,
    ClassHint,
    Hints,
    Kind,
    Label,
    as_label,
    whole_numbers,
)
from overtile.labels.meaning import LabelMeaning
from overtile.labels.separation import separate_touching
from overtile.labels.told import told
from overtile.labels.understanding import understand
from overtile.labels.unseen import with_unseen
from overtile.legend import UNLABELLED_VALUE

__all__ = [
    "IGNORE",
    "MOST_CLASSES",
    "NO_HINTS",
    "UNLABELLED_VALUE",
    "ClassHint",
    "Hints",
    "Kind",
    "Label",
    "LabelMeaning",
    "as_label",
    "separate_touching",
    "told",
    "understand",
    "whole_numbers",
    "with_unseen",
]
