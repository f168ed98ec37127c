"""VRT, GDAL's list of files that are seen as one: whether they are all here.

GDAL would fetch a source from the network where it is named so, and stops in the middle of the
work where one is missing.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from overtile.errors import FormatError
from overtile.io.place import is_regular

START_BYTES = 1024
"""GDAL expects the root of the document so early; anything else of this suffix is not parsed."""

MOST_LEVELS = 8
"""A mosaic of mosaics has three or four."""

SOURCES = ("SourceFilename", "SourceDataset")
"""The elements that name a file, of mosaics and of warped images."""


def check_sources(
    path: Path, above: tuple[Path, ...] = (), passed: set[Path] | None = None
) -> None:
    """Pass where all files that a VRT needs are here; those of VRTs among them too.

    Parameters
    ----------
    path
        Of the VRT.
    above
        The VRTs that it is a source of, the first of all in front.
    passed
        Those that are known to be in order: several may show the same ones.

    Raises
    ------
    FormatError
        It is no VRT, or is damaged; or a source is missing, is no file, or contains the VRT.
    """
    here, passed = path.resolve(), set() if passed is None else passed
    if len(above) > MOST_LEVELS:
        raise FormatError(
            f"{above[0]} shows a VRT that shows a VRT, and so on, over more than {MOST_LEVELS} of "
            "them: make it anew from the files with pixels (gdalbuildvrt)."
        )
    for name, source in _sources(path).items():
        if not is_regular(source):
            raise FormatError(
                f"{path} shows parts of other files, of which '{name}' is not a file here: "
                "expected files of this machine, where the VRT says. Copy or download them, and "
                "make the VRT anew (gdalbuildvrt)."
            )
        if source.resolve() in passed:
            continue
        if _is_vrt(source):
            if source.resolve() in (*above, here):
                raise FormatError(
                    f"{path} shows a part of '{source}', which shows a part of it: expected files "
                    "with pixels in the end. Make the VRT anew (gdalbuildvrt)."
                )
            check_sources(source, (*above, here), passed)
        passed.add(source.resolve())


def _is_vrt(path: Path) -> bool:
    """Whether GDAL takes a file for a VRT, whatever its name: it looks for the root of one."""
    with path.open("rb") as file:
        return b"<VRTDataset" in file.read(START_BYTES)


def _sources(path: Path) -> dict[str, Path]:
    """The files that a VRT names, each once, as it names them."""
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    try:
        root = ElementTree.parse(path).getroot() if b"<VRTDataset" in start else None
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last of encodings
        raise FormatError(
            f"{path} is damaged or truncated: it is no XML ({error}). Make the VRT anew "
            "(gdalbuildvrt)."
        ) from error
    if root is None:
        raise FormatError(
            f"{path} is named like a VRT, but holds no VRTDataset: expected GDAL's list of images."
        )
    found = {}
    for node in root.iter():
        if node.tag in SOURCES and node.text:
            name = node.text.strip()
            found[name] = path.parent / name if node.get("relativeToVRT") == "1" else Path(name)
    return found
