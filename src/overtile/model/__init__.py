"""A model on disk, read and written safely: data, no verbs.

A model is a folder::

    membrane.model/
      model.yaml               format version, classes, normalisation, fields, origin, fingerprint
                               of the images, checksums
      settings.yaml            every setting of the training run, with the reasons of the plan
      parameters.safetensors   the network's parameters and stored statistics
      test.safetensors         a small window of a training image and its logits in float32
      history.csv              step, loss, learning rate and seconds along the training,
                           and the share of wrong pixels in its windows

`overtile convert` adds ``engines/NAME/``, the network in the form of another library, and
`overtile.model.ensemble` makes one model of several. All is read without PyTorch. Nothing in it is
unpickled, so a model from a stranger cannot run code. The test window is a crop of the training
data: leave it in mind when the data are private.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from overtile.errors import ModelError, OutputError, SettingsError
from overtile.fingerprint import Fingerprint
from overtile.geometry import Field, Fields
from overtile.model.history import HistoryRow, history_from_csv, history_to_csv
from overtile.model.manifest import (
    FORMAT,
    Classes,
    FieldRecord,
    Manifest,
    NormalisationRecord,
    Origin,
    PixelSizeRecord,
    read_manifest,
)
from overtile.normalise import Normalisation
from overtile.resample import PixelSize
from overtile.settings import Settings, from_yaml, to_explained_yaml, to_yaml

Arrays = dict[str, NDArray[np.generic]]

MANIFEST = "model.yaml"
SETTINGS = "settings.yaml"
PARAMETERS = "parameters.safetensors"
TEST = "test.safetensors"
HISTORY = "history.csv"

ENSEMBLE = "ensemble.yaml"
"""What stands in place of all these in the folder of an ensemble."""


@dataclass(frozen=True)
class Model:
    """All that a trained segmenter is made of.

    Attributes
    ----------
    exact
        Whether tiles of the network give what the whole image gives.
    pixel_size
        What images are brought to before the network sees them; None for their own pixels.
    parameters
        The state of the network that ``networks.build(settings.network)`` makes.
    test
        ``image``: a normalised window (1 c *space) float32; ``logits``: the network's (1 k *out);
        ``logits_1``, ...: those of the smaller networks that it holds, from level 1 on.
    levels
        The fields of these smaller networks, to which `overtile.pruning` prunes.
    pruned
        The level to which the model was pruned since it was read from its folder, or made.
    members
        Of an ensemble: the models whose probabilities are averaged. Everything else of it is then
        the first one's, but for what `overtile.model.ensemble.combine` says; none of a plain model.
    reasons
        Of the settings, by their dotted names, as they were planned.
    fingerprint
        What the training images are like.
    """

    settings: Settings
    classes: Classes
    normalisation: Normalisation
    fields: Fields
    exact: bool
    origin: Origin
    parameters: Arrays
    test: Arrays
    history: tuple[HistoryRow, ...]
    levels: tuple[Fields, ...] = ()
    pixel_size: PixelSize | None = None
    pruned: int | None = None
    members: tuple[Model, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)
    fingerprint: Fingerprint | None = None

    @property
    def has_line(self) -> bool:
        """Whether the network gives one output more than classes: the line between objects."""
        return self.settings.network.classes > len(self.classes.names)


def save(model: Model, folder: Path, *, overwrite: bool = False) -> None:
    """Write a model folder, whole or not at all.

    Raises
    ------
    OutputError
        The folder exists and `overwrite` is false, it exists and is no model, or it cannot be
        written, as on a disk that is full; what was there is kept.
    """
    check_replaceable(folder, overwrite=overwrite)
    if model.members:
        from overtile.model import ensemble  # which is made of models

        files = ensemble.files_of(model.members)
    else:
        files = files_of(model)
    try:
        _write(files, folder)
    except OSError as error:
        needed = sum(map(len, files.values())) / 2**20
        raise OutputError(
            f"{folder} cannot be written ({error.strerror or error}): expected a folder with "
            f"{needed:.1f} MiB of room. What was there before is kept; a training that kept its "
            "state can be ended by --resume."
        ) from error


def files_of(model: Model) -> dict[str, bytes]:
    """The files of a plain model, by their names in its folder."""
    files = {
        SETTINGS: to_explained_yaml(model.settings, model.reasons).encode(),
        PARAMETERS: safetensors.numpy.save(_plain(model.parameters)),
        TEST: safetensors.numpy.save(_plain(model.test)),
        HISTORY: history_to_csv(model.history).encode(),
    }
    size = model.pixel_size
    manifest = Manifest(
        format=FORMAT,
        classes=model.classes,
        normalisation=NormalisationRecord(**vars(model.normalisation)),
        fields=_records(model.fields),
        levels=tuple(map(_records, model.levels)),
        exact=model.exact,
        pixel_size=None if size is None else PixelSizeRecord(**vars(size)),
        origin=model.origin,
        reasons=model.reasons,
        fingerprint=model.fingerprint,
        checksums={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    files[MANIFEST] = to_yaml(manifest).encode()
    return files


def _write(files: dict[str, bytes], folder: Path) -> None:
    """Write all files of a folder, and only then put it in the place of one that is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        fresh, old = Path(temporary, "new"), Path(temporary, "old")
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).parent.mkdir(exist_ok=True)
            with (fresh / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(old)
        try:
            fresh.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise


def check_replaceable(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write a model where something else, or an unmentioned model, would be lost.

    Raises
    ------
    OutputError
        As `save` does.
    """
    if not folder.exists():
        return
    if not overwrite:
        raise OutputError(f"{folder} exists: choose another name, or give --overwrite.")
    if not manifest_of(folder).is_file():
        raise OutputError(
            f"{folder} exists and is not an Overtile model, so it is not overwritten: "
            "choose another name, or remove it yourself."
        )


def load(folder: Path) -> Model:
    """Read a model folder, or that of an ensemble.

    Raises
    ------
    ModelError
        No such folder, not an Overtile model, of another format, or a file that is missing,
        truncated or altered.
    """
    if (folder / ENSEMBLE).is_file():
        from overtile.model import ensemble  # which is made of models

        return ensemble.read(folder)
    if not (folder / MANIFEST).is_file():
        what = (
            "is not an Overtile model (it has no model.yaml)" if folder.exists() else "is missing"
        )
        raise ModelError(f"{folder} {what}: expected a folder that 'overtile train' wrote.")
    manifest = read_manifest(folder / MANIFEST, Manifest, FORMAT)
    size = manifest.pixel_size
    files = {name: _read_checked(folder, name, manifest) for name in _FILES}
    try:
        settings = from_yaml(Settings, files[SETTINGS].decode(), f"{folder / SETTINGS}")
        parameters = safetensors.numpy.load(files[PARAMETERS])
        test = safetensors.numpy.load(files[TEST])
    except (SettingsError, safetensors.SafetensorError) as error:
        raise ModelError(f"{folder} is damaged: {error}") from error
    return Model(
        settings=settings,
        classes=manifest.classes,
        normalisation=Normalisation(**manifest.normalisation.model_dump()),
        fields=_fields(manifest.fields),
        exact=manifest.exact,
        origin=manifest.origin,
        parameters=parameters,
        test=test,
        history=history_from_csv(files[HISTORY].decode()),
        levels=tuple(map(_fields, manifest.levels)),
        pixel_size=None if size is None else PixelSize(size.sizes, size.unit),
        reasons=manifest.reasons,
        fingerprint=manifest.fingerprint,
    )


def identity(folder: Path) -> str:
    """The SHA-256 of a model's manifest, which holds those of its files."""
    return hashlib.sha256(manifest_of(folder).read_bytes()).hexdigest()


def manifest_of(folder: Path) -> Path:
    """The file that makes a folder that of a model or of an ensemble."""
    ensemble = folder / ENSEMBLE
    return ensemble if ensemble.is_file() else folder / MANIFEST


_FILES = (SETTINGS, PARAMETERS, TEST, HISTORY)


def _read_checked(folder: Path, name: str, manifest: Manifest) -> bytes:
    path = folder / name
    if not path.is_file():
        raise ModelError(f"{folder} is damaged: {name} is missing. Copy the whole folder again.")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest.checksums.get(name):
        raise ModelError(
            f"{folder} is damaged: {name} ({len(content)} bytes) is not the file that was saved. "
            "Copy the whole folder again."
        )
    return content


def _records(fields: Fields) -> tuple[FieldRecord, ...]:
    return tuple(FieldRecord(**vars(field)) for field in fields)


def _fields(records: tuple[FieldRecord, ...]) -> Fields:
    return tuple(Field(**record.model_dump()) for record in records)


def _plain(arrays: Arrays) -> Arrays:
    return {name: np.asarray(value, order="C") for name, value in arrays.items()}
