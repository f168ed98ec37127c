"""HDF5: whether all that a name leads to can be opened, which the library tries without asking.

A name may be a link into another file, and a data set may be put together of others, in this file
or elsewhere (virtual), or have its bytes in files of any kind (external). HDF5 waits for ever where
such a file is a pipe, shows zeros for one that is missing, and crashes where data sets show parts
of each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overtile.errors import FormatError, optional

MOST_LINKS = 16
"""So many links and virtual data sets may lead from one to the next: as HDF5 counts links."""

Place = tuple[Path, str]
"""A file, and a name inside."""


def check_way(
    file: Path, inside: str, above: tuple[Place, ...] = (), passed: set[Place] | None = None
) -> None:
    """Pass where a name in a file leads to nothing, or to what can be opened and read.

    Parameters
    ----------
    file, inside
        Where it begins.
    above, passed
        What led here, and what is known to be in order.

    Raises
    ------
    FormatError
        It needs something that is no file here, or leads back to itself.
    """
    inside = inside.strip("/")
    here, passed = (file.resolve(), inside), set() if passed is None else passed
    if here in above or len(above) > MOST_LINKS:
        raise FormatError(
            f"{file} has links or virtual data sets that lead back to '{inside}', or on and on: "
            "expected data in the end. Name the data set itself."
        )
    if here in passed:
        return
    with optional("h5py", "hdf5").File(file, "r") as opened:
        following = list(_following(file, opened, inside))
    for other, name in following:
        check_way(other, name, (*above, here), passed)
    passed.add(here)


def _following(file: Path, opened: Any, inside: str) -> Iterator[Place]:
    """Where a name leads: of a link its target, of a virtual data set its sources."""
    h5py = optional("h5py", "hdf5")
    node, names = opened, [name for name in inside.split("/") if name not in ("", ".")]
    for number, name in enumerate(names):
        link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
        rest = [*names[number + 1 :]]
        if isinstance(link, h5py.ExternalLink):
            yield _there(file, link.filename, file.parent), "/".join([link.path, *rest])
            return
        if isinstance(link, h5py.SoftLink):
            before = [] if link.path.startswith("/") else names[:number]
            yield file, "/".join([*before, link.path, *rest])
            return
        if link is None:
            return
        node = node[name]
    if not isinstance(node, h5py.Dataset):
        return
    for name, _, _ in node.external or ():
        _there(file, name, Path())  # HDF5 looks it up from the folder of the process
    for source in node.virtual_sources() if node.is_virtual else ():
        other = file if source.file_name == "." else _there(file, source.file_name, file.parent)
        yield other, source.dset_name


def _there(file: Path, name: str, folder: Path) -> Path:
    """A file that another one names, from a folder on; raises `FormatError` where it is none."""
    tried = (folder / name, Path(name))
    found = next((path for path in tried if path.exists()), None)
    if found is None or not found.is_file():
        raise FormatError(
            f"{file} leads on to '{name}', which is not a file here: expected one where it says. "
            "Copy it to that place, or name a data set that lies in the file itself."
        )
    return found
