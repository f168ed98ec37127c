"""What can be wrong with images or labels that are each fine by themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from overtile.doctor.findings import Finding, Row
from overtile.doctor.single import LabelValues
from overtile.labels import LabelMeaning

RARE = 1e-4
"""A class with a smaller share of all labelled pixels is hardly learnt."""

EMPTY = 0.99
"""So much 0 beside two classes or more is seldom all background; strokes cover less than the rest.
In the hippocampi of the Decathlon it is 0.95."""


def compare_images(rows: Iterable[Row]) -> Iterator[Finding]:
    """Different numbers of channels, different types, nothing in any of them."""
    rows = list(rows)
    if rows and all(row.low == row.high for row in rows):
        yield Finding(
            "error",
            "",
            "All images are constant.",
            "Give images that show something: export them again.",
        )
    channels, kinds = defaultdict(list), defaultdict(list)
    for row in rows:
        channels[f"{row.channels} channel{'s' * (row.channels > 1)}"].append(row.name)
        kinds[row.dtype].append(row.name)
    if len(channels) > 1:
        yield Finding(
            "error",
            "",
            f"The images differ in their channels: {_groups(channels)}.",
            "Convert all to the same channels: a network has a fixed number of them.",
        )
    if len(kinds) > 1:
        yield Finding(
            "warning",
            "",
            f"The images differ in their type: {_groups(kinds)}.",
            "Check that intensities mean the same in all, or export all with one type.",
        )


def find_copies(
    fingerprints: Mapping[bytes, list[str]], held_out: Collection[str]
) -> Iterator[Finding]:
    """Images of the same pixels, by fingerprint, and whether both sides of the split have them."""
    for names in fingerprints.values():
        if len(names) < 2:
            continue
        apart = [name for name in names if name in held_out]
        if apart and len(apart) < len(names):
            kept = next(name for name in names if name not in held_out)
            found = f"The image is held out as {apart[0]} and trained on as {kept}."
            remedy = "Leave one of them out: scores of an image that was trained on say nothing."
        else:
            found = f"The images {', '.join(names)} are identical."
            remedy = "Keep one: a held-out copy of a training image makes scores too good."
        yield Finding("warning", names[0], found, remedy)


def compare_labels(labels: Mapping[str, LabelValues], meaning: LabelMeaning) -> Iterator[Finding]:
    """Classes that are rare or in one label only; objects of a single pixel."""
    if meaning.kind == "instances":
        yield from _single_pixels(labels)
        return
    word = "colour" if meaning.coding == "colours" else "value"
    pixels: Counter[int] = Counter()
    where = defaultdict(list)
    for name, label in labels.items():
        for value, count in zip(label.values.tolist(), label.pixels.tolist(), strict=True):
            pixels[value] += count
            where[value].append(name)
    total = sum(pixels[value] for value in meaning.values)
    if meaning.kind == "classes" and len(meaning.values) > 2 and pixels[0] > EMPTY * total:
        yield Finding(
            "warning",
            "",
            f"{pixels[0] / total:.1%} of all labelled pixels have the {word} {meaning.shown(0)}.",
            "If it stands for what nobody labelled, as beside strokes of a brush, say "
            "--labels-are scribbles: else a network learns to answer it everywhere.",
        )
    for place, value in enumerate(meaning.values):
        shown = meaning.shown(value)
        named = meaning.names[place] not in (shown, f"class {value}")
        shown += f" ({meaning.names[place]})" if named else ""
        mark = partial(np.equal, place)
        if pixels[value] < RARE * total:
            found = f"Only {pixels[value]} of {total} labelled pixels have the {word} {shown}."
            remedy = "Label more of it, merge it with another class, or erase it if it is a slip."
            if value in where:
                yield Finding("warning", where[value][0], found, remedy, mark, "classes")
        elif len(where[value]) == 1 < len(labels):
            found = f"The {word} {shown} occurs in one label only."
            remedy = "Label it in more images: one image cannot both be learnt from and held out."
            yield Finding("warning", where[value][0], found, remedy, mark, "classes")


def _single_pixels(labels: Mapping[str, LabelValues]) -> Iterator[Finding]:
    for name, label in labels.items():
        objects = label.pixels[label.values > 0]
        single = int((objects == 1).sum())
        if single:
            found = f"{single} of {len(objects)} objects are a single pixel."
            remedy = "Erase them if they are left over from drawing."
            yield Finding("warning", name, found, remedy, _alone, "objects")


def _alone(ids: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Objects of a single pixel."""
    values, place, counts = np.unique(ids, return_inverse=True, return_counts=True)
    return np.asarray(((values > 0) & (counts == 1))[place].reshape(ids.shape))


def _groups(names: Mapping[str, list[str]]) -> str:
    """The kinds, the most frequent first, each with how many have it and the first of them."""
    ordered = sorted(names.items(), key=lambda group: -len(group[1]))
    return "; ".join(f"{kind} in {len(group)}, first {group[0]}" for kind, group in ordered)
