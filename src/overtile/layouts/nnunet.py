"""Medical Segmentation Decathlon and nnU-Net: dataset.json, imagesTr, labelsTr, imagesTs.

The channels of an image may be several files, CASE_0000, CASE_0001: modalities, or dates.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from overtile.errors import DataError
from overtile.labels import ClassHint, Hints
from overtile.layouts.found import Found, Part, Row
from overtile.layouts.openers import Channels
from overtile.layouts.tree import Folder, in_order

PARTS: dict[str, Part] = {"Tr": "training", "Ts": "test"}
DECATHLON = ".nii.gz"
"""How files end where dataset.json does not say it, as that of the Decathlon."""


def find_nnunet(folder: Folder) -> Found | None:
    """All cases with a label."""
    about_it = [path for path in folder.others if path.name == "dataset.json"]
    if not folder.has("imagesTr", "labelsTr") or not about_it:
        return None
    about = _read(about_it[0])
    ending = str(about.get("file_ending", DECATHLON))
    modalities = _modalities(about)
    rows, aside = [], []
    for letters, part in PARTS.items():
        images = _cases(folder, f"images{letters}", ending, channels=True)
        labels = _cases(folder, f"labels{letters}", ending, channels=False)
        strange = [case for case in labels if case not in images]
        if strange:
            raise DataError(
                f"labels{letters} in {folder.path} holds {strange[0]}, and images{letters} no "
                f"image of it: expected {strange[0]}{ending} or {strange[0]}_0000{ending}."
            )
        for case, paths in images.items():
            if case not in labels:
                aside.append(case)
                continue
            image = paths[0] if len(paths) == 1 else Channels(tuple(paths), modalities)
            rows.append(Row(case, image, labels[case][0], part=part))
    if not rows:
        raise DataError(
            f"{folder.path} has a dataset.json, but no case with both an image in imagesTr and a "
            f"label in labelsTr, whose names end in {ending}."
        )
    most = max(len(row.image.paths) if isinstance(row.image, Channels) else 1 for row in rows)
    how = "imagesTr with labelsTr" + (f", {most} files for each image" if most > 1 else "")
    sizes = {"2D": False, "3D": True, "4D": True}
    volumes = sizes.get(str(about.get("tensorImageSize")))
    return Found(tuple(rows), how, _hints(about, modalities), volumes, tuple(aside))


def _read(file: Path) -> dict[str, Any]:
    try:
        about = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}.") from error
    if not isinstance(about, dict):
        raise DataError(f"{file} describes no data set: expected labels and channels by name.")
    return about


def _cases(folder: Folder, name: str, ending: str, *, channels: bool) -> dict[str, list[Path]]:
    """Case -> its files, in the order of channels."""
    if not folder.has(name):
        return {}
    inside = folder.into(name)
    cases: dict[str, list[Path]] = {}
    for path in sorted(inside.images + inside.others, key=lambda path: in_order(path.name)):
        stem = path.name.removesuffix(ending)
        if stem != path.name:
            cases.setdefault(re.sub(r"_\d{4}$", "", stem) if channels else stem, []).append(path)
    return cases


def _modalities(about: dict[str, Any]) -> tuple[str, ...]:
    """The channels' names, in order: {"0": "T1", "1": "T2"} in both dialects."""
    given = about.get("channel_names", about.get("modality"))
    if not isinstance(given, dict) or not all(str(key).isdecimal() for key in given):
        return ()
    return tuple(str(given[key]) for key in sorted(given, key=int))


def _hints(about: dict[str, Any], modalities: tuple[str, ...]) -> Hints:
    """Names of label values; regions of several values (nnU-Net) name none of them."""
    given = about.get("labels")
    values: dict[str, int] = {}
    for left, right in given.items() if isinstance(given, dict) else ():
        name, value = (right, left) if str(left).isdecimal() else (left, right)
        if str(value).isdecimal():
            values[str(name)] = int(value)
    ignored = tuple(value for name, value in values.items() if name == "ignore")
    classes = tuple(ClassHint(name, value) for name, value in values.items() if name != "ignore")
    return Hints(classes, ignored, "classes", modalities)
