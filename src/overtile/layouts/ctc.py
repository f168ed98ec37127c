"""Cell Tracking Challenge: films in 01, 02, ...; labels in 01_GT/SEG (gold), 01_ST/SEG (silver).

Gold labels are drawn by people, but in some frames only of some cells, which no file tells: there,
a cell without a label would be learnt as background. Silver ones are made by programs, of all
cells. So training takes silver where there is some.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from overtile import io
from overtile.labels import Hints
from overtile.layouts.found import Found, Row
from overtile.layouts.tree import Folder

KINDS = {"GT": "gold", "ST": "silver"}


def find_ctc(folder: Folder, *, only_gold: bool = False) -> Found | None:
    """All frames with a label; each film is a group."""
    rows, aside, used = [], [], set()
    for film in folder.folders:
        kinds = ["GT"] if only_gold else ["ST", "GT"]
        found = [kind for kind in kinds if _labels(folder, film.name, kind)]
        if not re.fullmatch(r"\d\d", film.name) or not found:
            continue
        labels = _labels(folder, film.name, found[0])
        used.add(found[0])
        for path in folder.into(film.name).images:
            frame = re.fullmatch(r"t(\d+)", io.stem_of(path))
            if frame is None:
                continue
            name, label = f"{film.name}/{io.stem_of(path)}", labels.get(frame[1])
            if label is None:
                aside.append(name)
            else:
                rows.append(Row(name, path, label, film.name))
    if not rows:
        return None
    how = " and ".join(KINDS[kind] for kind in sorted(used, reverse=True)) + " labels"
    if "GT" in used:
        how += ", which in some frames may be of some cells only"
    volumes = "3D" in folder.path.name or None  # as in Fluo-N3DH-CE
    return Found(tuple(rows), how, Hints(kind="instances"), volumes, tuple(aside))


def hints_by_name(labels: Iterable[str]) -> Hints:
    """That labels are cells, where all of them are named as those of the challenge.

    Cells keep their numbers from frame to frame: a few frames by themselves look like classes.
    """
    cells = all(re.match(r"man_(seg|track)\d+", label) for label in labels)
    return Hints(kind="instances") if cells else Hints()


def _labels(root: Folder, film: str, kind: str) -> dict[str, Path]:
    """Frame -> file of segmented cells; single planes (man_seg_012_034) are passed over."""
    place = f"{film}_{kind}"
    there = root.has(place) and root.into(place).has("SEG")
    files = root.into(place).into("SEG").images if there else ()
    named = {re.fullmatch(r"man_seg(\d+)", io.stem_of(path)): path for path in files}
    return {frame[1]: path for frame, path in named.items() if frame is not None}


find_ctc_gold = partial(find_ctc, only_gold=True)
