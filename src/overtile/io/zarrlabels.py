"""Labels of OME-Zarr: what a label image says of itself, and the group of those of an image.

https://ngff.openmicroscopy.org/0.5 and 0.4, "labels" and "image-label": an image lists its labels
in the attributes of its group `labels`, and each lies there under its name.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from overtile.errors import FormatError, optional
from overtile.image import Image
from overtile.io.output import Manner
from overtile.io.place import home_of
from overtile.io.zarrnode import open_node
from overtile.legend import code_of, written

WHITE = "FFFFFF"
LONGEST_NAME = 255
"""Bytes of a name, in most file systems."""


def about(node: Any) -> dict[str, Any]:
    """The attributes of OME: in 0.5 they have a name of their own."""
    attributes = node.attrs.asdict()
    found = attributes.get("ome", attributes)
    return found if isinstance(found, dict) else {}


def write_about(node: Any, described: dict[str, Any]) -> None:
    """Set attributes of OME, in the way of 0.4 (Zarr 2) or 0.5 (Zarr 3)."""
    if node.metadata.zarr_format == 2:
        node.attrs.update(described)
    else:
        node.attrs["ome"] = {"version": "0.5", **about(node), **described}


def labels_in(path: Path) -> tuple[Path, ...]:
    """The labels of an image, by what its group `labels` lists."""
    try:
        names = listed(about(open_node(path / "labels")))
    except FormatError:
        return ()
    return tuple(path / "labels" / name for name in names)


def listed(described: dict[str, Any]) -> list[str]:
    """The names in the attribute `labels`, as far as they can be those of groups inside."""
    names = described.get("labels")
    texts = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    plain = [name for name in texts if name.isprintable() and len(name) <= LONGEST_NAME]
    return [name for name in plain if not {"", "..", "/"} & {name, *PurePosixPath(name).parts}]


def register_label(path: Path) -> None:
    """List a label among those of the image that it lies in; nothing for other images."""
    home = home_of(path)
    if home is None:
        return
    zarr = optional("zarr", "zarr")
    version = open_node(home).metadata.zarr_format
    group = zarr.open_group(home / "labels", mode="a", zarr_format=version)
    names = listed(about(group))
    name = path.relative_to(home / "labels").as_posix()
    write_about(group, {"labels": [*[n for n in names if n != name], name]})


def describe_label(path: Path, manner: Manner, version: int) -> dict[str, Any]:
    """The attribute `image-label` of class ids or object ids; nothing for other contents."""
    if manner.content not in ("classes", "objects"):
        return {}
    described: dict[str, Any] = {"version": "0.4"} if version == 2 else {}
    if manner.legend is not None:
        # Background is not to hide the image below.
        clear = manner.legend.background
        described["colors"] = [
            {"label-value": number, "rgba": [*map(int, colour), 255 * (number != clear)]}
            for number, colour in enumerate(manner.legend.colours)
        ]
        described["properties"] = [
            {"label-value": number, "class": name}
            for number, name in enumerate(manner.legend.names)
        ]
    if home_of(path) is not None:
        described["source"] = {"image": "../../"}
    return {"image-label": described}


def channel_names(described: dict[str, Any], count: int) -> tuple[str, ...]:
    """What `omero` calls the channels, if it names each."""
    omero = described.get("omero")
    channels = omero.get("channels", []) if isinstance(omero, dict) else []
    names = [one.get("label", "") for one in channels if isinstance(one, dict)]
    return tuple(map(str, names)) if len(names) == count and all(names) else ()


def describe_channels(image: Image, manner: Manner) -> dict[str, Any]:
    """The attribute `omero` of an image whose channels have names: a window and a colour each."""
    if not image.channel_names:
        return {}
    kind = np.dtype(image.data.dtype)
    low, high = (0, 1) if kind.kind == "f" else (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    window = {"min": low, "max": high, "start": low, "end": high}
    colours = manner.legend.colours if manner.legend is not None else ()
    shown = [written(code_of(colour)).removeprefix("#") for colour in colours]
    shown += [WHITE] * (len(image.channel_names) - len(shown))
    channels = [
        {"label": name, "color": colour, "window": window, "active": True}
        for name, colour in zip(image.channel_names, shown, strict=False)
    ]
    return {"omero": {"channels": channels}}
