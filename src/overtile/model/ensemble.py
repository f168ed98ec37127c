"""Several models as one, whose probabilities are averaged; together they are a folder on disk.

::

    membrane.model/
      ensemble.yaml            format version, and the checksum of each member's model.yaml
      member-1/                an ordinary model, which can be loaded by itself
      member-2/
      ...
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from overtile import model as storage
from overtile.errors import ModelError, OutputError
from overtile.geometry import Field, per_axis
from overtile.model import ENSEMBLE, Model
from overtile.model.manifest import Origin, read_manifest
from overtile.normalise import Normalisation
from overtile.settings import Frozen, to_yaml

FORMAT = 1
"""Version of the form of ``ensemble.yaml``."""

FEWEST = 2


class EnsembleManifest(Frozen):
    """The content of ``ensemble.yaml``.

    Attributes
    ----------
    members
        The SHA-256 of the ``model.yaml`` of ``member-1``, ``member-2``, ..., which holds those of
        the member's other files.
    """

    format: int
    members: tuple[str, ...]


def combine(members: Sequence[Model], names: Sequence[str] = ()) -> Model:
    """The model that averages the probabilities of several.

    What describes it is the first one's, but for the origin, which is of all: the images that any
    of them was trained on, those that all held out, the steps and seconds of all together; and but
    for the smallest object, which is the smallest of all.

    Parameters
    ----------
    members
        At least two, of the same classes, channels, dimensions, pixel size, border, activation and
        field. Their networks may differ otherwise, and so may their normalisation: each sees the
        image as in its own training.
    names
        What errors call them; by default ``member 1``, ``member 2``, ...

    Raises
    ------
    ModelError
        Fewer than two, one is an ensemble itself, or they do not go together.
    """
    names = names or [f"member {number}" for number in range(1, len(members) + 1)]
    if len(members) < FEWEST:
        raise ModelError(
            f"An ensemble averages {FEWEST} models or more, not {len(members)}: add models that "
            "were trained with another seed or on other folds, or use the one as it is."
        )
    first = members[0]
    for name, model in zip(names, members, strict=True):
        if model.members:
            raise ModelError(
                f"{name} is an ensemble itself, of {len(model.members)} models: give its members "
                "(member-1, ... in its folder) instead."
            )
        for what, of in _SHARED.items():
            if of(model) != of(first):
                raise ModelError(
                    f"{name} has {what} {_said(of(model))}, and {names[0]} has "
                    f"{_said(of(first))}: the models of an ensemble need the same."
                )
    origin = _together([model.origin for model in members])
    known = [model.classes for model in members]
    objects = {
        "smallest_object_px": min(classes.smallest_object_px for classes in known),
        "inside": statistics.mean(classes.inside for classes in known),
    }
    return replace(
        first,
        classes=first.classes.model_copy(update=objects),
        exact=all(model.exact for model in members),
        origin=origin,
        members=tuple(members),
    )


def save_ensemble(members: Sequence[Model], folder: Path, *, overwrite: bool = False) -> Model:
    """Write several models as one folder, whole or not at all.

    Returns
    -------
    Model
        As it will be loaded.

    Raises
    ------
    ModelError
        As `combine` says.
    OutputError
        As `overtile.model.save` says.
    """
    together = combine(members)
    storage.save(together, folder, overwrite=overwrite)
    return together


def ensemble_of(folders: Sequence[Path], output: Path, *, overwrite: bool = False) -> Model:
    """Copy models that lie on disk into the folder of an ensemble.

    Raises
    ------
    ModelError
        A model cannot be read, is given twice, or as `combine` says.
    OutputError
        As `overtile.model.save` says, or the output is one of the models.
    """
    storage.check_replaceable(output, overwrite=overwrite)
    names = [str(folder) for folder in folders]
    models = [storage.load(folder) for folder in folders]
    known: dict[str, str] = {}
    for name, folder in zip(names, folders, strict=True):
        if (other := known.setdefault(storage.identity(folder), name)) is not name:
            raise ModelError(
                f"{name} and {other} are the same model, which would count twice: give models of "
                "different runs."
            )
    if output.resolve() in [folder.resolve() for folder in folders]:
        raise OutputError(f"{output} is one of the models: give the ensemble another folder.")
    together = combine(models, names)
    storage.save(together, output, overwrite=overwrite)
    return together


def files_of(members: Sequence[Model]) -> dict[str, bytes]:
    """The files of all members and the manifest, by their names in the folder."""
    files: dict[str, bytes] = {}
    checksums = []
    for number, model in enumerate(members):
        own = storage.files_of(model)
        checksums.append(hashlib.sha256(own[storage.MANIFEST]).hexdigest())
        files |= {f"{_name(number)}/{name}": content for name, content in own.items()}
    manifest = EnsembleManifest(format=FORMAT, members=tuple(checksums))
    return files | {ENSEMBLE: to_yaml(manifest).encode()}


def read(folder: Path) -> Model:
    """Read the folder of an ensemble.

    Raises
    ------
    ModelError
        It is of another format, or a member is damaged, missing, or not the one that was saved.
    """
    manifest = read_manifest(folder / ENSEMBLE, EnsembleManifest, FORMAT)
    places = [member_folder(folder, number) for number in range(len(manifest.members))]
    for place, checksum in zip(places, manifest.members, strict=True):
        path = place / storage.MANIFEST
        if not path.is_file():
            raise ModelError(
                f"{folder} is damaged: {place.name} is missing or is no model. Copy the whole "
                "folder again."
            )
        if hashlib.sha256(path.read_bytes()).hexdigest() != checksum:
            raise ModelError(
                f"{folder} is damaged: {place.name} is not the model that was saved. Copy the "
                "whole folder again, or make the ensemble anew of its members ('overtile "
                "ensemble')."
            )
    return combine([storage.load(place) for place in places], [str(place) for place in places])


def member_folder(folder: Path, number: int) -> Path:
    """Where a member, counted from 0, lies in the folder of an ensemble."""
    return folder / _name(number)


def _name(number: int) -> str:
    return f"member-{number + 1}"


def normalisations(model: Model) -> tuple[tuple[Normalisation, ...], tuple[int, ...]]:
    """The different normalisations of the members, and which of them is each member's.

    Of a plain model, its own.
    """
    plain = [replace(one.normalisation, reason="") for one in model.members or (model,)]
    different = tuple(dict.fromkeys(plain))
    return different, tuple(different.index(one) for one in plain)


def _together(origins: Sequence[Origin]) -> Origin:
    """The origin of all."""
    images: dict[str, str] = {}
    for number, origin in enumerate(origins, start=1):
        for name, digest in origin.images.items():
            other = images.get(name, digest) != digest  # two sets may use one name
            images[f"{name} (member {number})" if other else name] = digest
    held_out = origins[0].held_out
    for origin in origins[1:]:
        held_out = tuple(name for name in held_out if name in origin.held_out)
    return origins[0].model_copy(
        update={
            "steps": sum(origin.steps for origin in origins),
            "planned_steps": sum(origin.planned_steps for origin in origins),
            "seconds": round(sum(origin.seconds for origin in origins), 1),
            "stopped": next((origin.stopped for origin in origins if origin.stopped), None),
            "images": images,
            "held_out": held_out,
        }
    )


def _said(value: Any) -> str:
    """A value of `_SHARED` for people."""
    if not isinstance(value, tuple):
        return str(value)
    if all(isinstance(part, Field) for part in value):
        sizes = (per_axis(getattr(part, name) for part in value) for name in ("grid", "margin"))
        return "{} padding, grid {} px, margin {} px".format(value[0].padding, *sizes)
    return ", ".join(map(str, value))


_SHARED: dict[str, Callable[[Model], Any]] = {
    "the classes": lambda model: model.classes.names,
    "a line between objects as": lambda model: "a class" if model.has_line else "background",
    "labels of the kind": lambda model: model.classes.kind,
    "the values in labels": lambda model: model.classes.values,
    "dimensions": lambda model: model.settings.network.dimensions,
    "channels": lambda model: model.settings.network.channels,
    "a pixel size of": lambda model: (
        "its images"
        if model.pixel_size is None
        else (*model.pixel_size.sizes, model.pixel_size.unit)
    ),
    "the border": lambda model: model.settings.border,
    "the activation": lambda model: model.settings.loss.activation,
    "a network with": lambda model: model.fields,
}
"""What all members have in common, and how it is called. With the same field, the result of each
for a whole image is the same in the ensemble as alone."""
