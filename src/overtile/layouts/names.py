"""Which label belongs to which image, told by their names alone."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from overtile.errors import DataError

_OF_IMAGES = """
    image images img imgs input inputs raw volume volumes photo photos picture pictures
    frame frames scan scans
"""
_OF_LABELS = """
    label labels lbl mask masks msk gt groundtruth truth ann anns annot annots annotation
    annotations seg segs segm segmentation segmentations target targets
"""
IMAGE_WORDS, LABEL_WORDS = frozenset(_OF_IMAGES.split()), frozenset(_OF_LABELS.split())
PARTS: dict[str, Literal["training", "validation", "test"]] = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Words for the parts of a data set."""

_GLUED = re.compile(f"({'|'.join(PARTS)})({'|'.join(IMAGE_WORDS | LABEL_WORDS)})")
"""Two words written as one, such as "trainannot"."""


def words(name: str) -> list[str]:
    """The words and numbers of a name, in lower case: "Train-labels01" is train, labels, 01."""
    text = re.sub(r"ground[^a-z0-9]+truth", "groundtruth", name.lower())
    found: list[str] = []
    for word in re.findall(r"[^\W\d_]+|\d+", text):
        glued = _GLUED.fullmatch(word)
        found += glued.groups() if glued else [word]
    return found


def part_of(name: str) -> Literal["", "training", "validation", "test"]:
    """The part of a data set that a name speaks of, if it speaks of one."""
    found = {PARTS[word] for word in words(name) if word in PARTS}
    return found.pop() if len(found) == 1 else ""


def match_by_words(names: Sequence[str], where: str, advice: str) -> dict[str, str | None] | None:
    """Image -> its label, or None; told by words such as "mask", the other words being equal.

    Parameters
    ----------
    names
        Of images and labels together, all different.
    where, advice
        For the message: where they lie, and how to choose.

    Returns
    -------
    dict or None
        None where no label has an image, or some label has none.

    Raises
    ------
    DataError
        Two labels fit one image, or two images one label.
    """
    images: dict[tuple[str, ...], list[str]] = defaultdict(list)
    labels: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        found = words(name)
        kind = labels if LABEL_WORDS.intersection(found) else images
        kind[tuple(word for word in found if word not in IMAGE_WORDS | LABEL_WORDS)].append(name)
    if not labels or not set(labels) <= set(images):
        return None
    for key, fitting in labels.items():
        _check_one(fitting, f"the image {images[key][0]}", where, advice)
        _check_one(images[key], f"the label {fitting[0]}", where, advice)
    matched: dict[str, str | None] = {name: None for many in images.values() for name in many}
    return matched | {images[key][0]: fitting[0] for key, fitting in labels.items()}


def _check_one(fitting: list[str], what: str, where: str, advice: str) -> None:
    if len(fitting) > 1:
        raise DataError(
            f"In {where}, {' and '.join(fitting)} fit {what} equally well, so which belongs to it "
            f"is unclear. {advice}"
        )


def match_cores(images: Sequence[str], labels: Sequence[str]) -> dict[str, str] | None:
    """Image -> label where names differ by what all images, or all labels, begin and end with.

    If every image is B + core + D and its label A + core + C, then what is left when the longest
    common beginning, and then the longest common end, is taken off each side is the same on both.
    No number is cut in two: else t01, t02 would fit t11, t12. A single image fits a single label
    unless both have numbers, and other ones.

    Parameters
    ----------
    images, labels
        Names, those of each side all different.

    Returns
    -------
    dict or None
        A bijection; None where there is none.
    """
    if len(images) == len(labels) == 1:
        numbers = [re.findall(r"\d+", name) for name in (images[0], labels[0])]
        differ = all(numbers) and numbers[0] != numbers[1]
        return None if differ else {images[0]: labels[0]}
    left = dict(zip(_cores(images), images, strict=True))
    right = dict(zip(_cores(labels), labels, strict=True))
    if left.keys() != right.keys():
        return None
    return {name: right[core] for core, name in left.items()}


def _cores(names: Sequence[str]) -> list[str]:
    start = _common_start(names)
    rests = [name[start:] for name in names]
    end = _common_start([rest[::-1] for rest in rests])
    return [rest[: len(rest) - end] for rest in rests]


def _common_start(names: Sequence[str]) -> int:
    """How many characters all names have in common at their beginning."""
    first, last = min(names), max(names)  # in this order, all others lie between them
    at = (place for place, letter in enumerate(first) if not last.startswith(letter, place))
    end = next(at, len(first))
    while any(name[end - 1 : end + 1].isdigit() and 0 < end < len(name) for name in names):
        end -= 1
    return end


def describe_match(matched: dict[str, str]) -> str:
    """How names of images and labels differ: "a label is named 'mask_' + image + '.gt'"."""
    image, label = next(iter(matched.items()))
    if image == label:
        return "paired by file name"
    if all(image in label for image, label in matched.items()):
        before, _, after = label.partition(image)
        how = " + ".join([repr(before)] * bool(before) + ["image"] + [repr(after)] * bool(after))
    else:
        how = f"{label} for {image}"
    return f"paired by file name ({how})"


def match_children(names: Sequence[str]) -> dict[str, dict[str, str]] | None:
    """Image -> what is added to its name -> label: "a" -> {"_tumour": "a_tumour"}.

    What is added stands before or behind the image's name, with a letter in it, and parted from it
    by a sign that is neither letter nor digit.

    Returns
    -------
    dict or None
        None unless every name is an image with at least one label, or the label of one image.

    Raises
    ------
    DataError
        A name fits two images.
    """
    there = set(names)
    parents: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        splits = [(name[:at], name[at:]) for at in range(1, len(name))]
        fitting = [
            (image, added)
            for image, added in [*splits, *((end, start) for start, end in splits)]
            if image in there and _is_addition(added, behind=name.startswith(image))
        ]
        if len({image for image, _ in fitting}) > 1:
            raise DataError(
                f"The label {name} fits {' and '.join(sorted(i for i, _ in fitting))} equally "
                "well. Put images and labels into two folders, or write a CSV of the pairs "
                "(columns image, label)."
            )
        if fitting:
            parents[fitting[0][0]][fitting[0][1]] = name
    children = {name for added in parents.values() for name in added.values()}
    if not parents or children & parents.keys() or children | parents.keys() != there:
        return None
    return dict(parents)


def _is_addition(added: str, *, behind: bool) -> bool:
    sign = added[0] if behind else added[-1]
    return not sign.isalnum() and any(letter.isalpha() for letter in added)
