"""What ``model.yaml`` says: version, classes, normalisation, fields, origin, checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import pydantic
import yaml

from overtile.errors import ModelError, SettingsError
from overtile.fingerprint import Fingerprint
from overtile.image import Colour
from overtile.legend import Legend
from overtile.normalise import Scheme
from overtile.objects import INSIDE
from overtile.settings import Frozen, LabelKind, from_yaml

Read = TypeVar("Read", bound=Frozen)

FORMAT = 7
"""Version of the folder's format; raised when an older Overtile could not read it."""


class Classes(Frozen):
    """What the classes are, and how labels are read; see `overtile.labels.LabelMeaning`.

    Attributes
    ----------
    kind, names, values, colours, coding, ignored, background, palette
        Those of the meaning of the training labels.
    reason
        What was understood of the labels, and from what.
    labelled_share
        The share of the training pixels that are labelled.
    smallest_object_px
        What is smaller is a speck.
    inside
        Where the network knows lines between objects: the probability of being inside of one from
        which pixels hold together, fitted to the training images.
    """

    kind: LabelKind
    names: tuple[str, ...]
    values: tuple[int, ...]
    colours: tuple[Colour, ...]
    coding: Literal["numbers", "colours", "channels"] = "numbers"
    ignored: tuple[int, ...] = ()
    background: int | None = 0
    palette: dict[int, Colour] = pydantic.Field(default_factory=dict)
    reason: str = ""
    labelled_share: float = 1.0
    smallest_object_px: int = 0
    inside: float = pydantic.Field(INSIDE, ge=0, lt=1)

    @property
    def legend(self) -> Legend:
        """Names and colours, and which class is the background."""
        return Legend(self.names, self.colours, self.background)

    @property
    def overlap(self) -> bool:
        """Whether a pixel may belong to several classes, or to none."""
        return self.kind == "multilabel"


class FieldRecord(Frozen):
    """The network's field along one axis, for programs that read the folder without Overtile."""

    padding: Literal["valid", "same"]
    grid: int
    margin: int
    remainder: int | None


class NormalisationRecord(Frozen):
    """How intensities are normalised, and why; see `overtile.normalise.Normalisation`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: Literal["images", "pretraining"]
    scheme: Scheme
    clip: tuple[tuple[float, float], ...]
    zero_is_background: bool
    reason: str


class PixelSizeRecord(Frozen):
    """The size of a pixel that images are brought to before the network sees them."""

    sizes: tuple[float, ...]
    unit: str


class Disparity(Frozen):
    """How far a network whose norms use the batch at hand differs from itself in prediction.

    Attributes
    ----------
    probability
        The mean absolute difference of probabilities, over pixels and classes of some windows.
    training_loss, prediction_loss
        On the same windows.
    """

    probability: float
    training_loss: float
    prediction_loss: float


class Origin(Frozen):
    """Where a model comes from.

    Attributes
    ----------
    versions
        Of Python and the libraries that made it.
    processor
        The machine it was trained on.
    steps, planned_steps, stopped
        Training steps done and planned, and why they differ, if they do.
    seconds
        Wall-clock time of the run that ended it.
    images
        Name -> SHA-256 of the pixels of every image that training read: the data fingerprint.
        Evaluation warns when it is given one of them.
    held_out
        Names of the images that were left out and never read.
    started_from
        What the network had from an earlier model, in a sentence.
    notes
        What went amiss while it trained, and what was done about it, in sentences.
    disparity
        How far the network in training differs from the one that predicts.
    """

    versions: dict[str, str]
    processor: str
    steps: int
    planned_steps: int
    stopped: Literal["time", "interrupt"] | None
    seconds: float
    images: dict[str, str]
    held_out: tuple[str, ...] = ()
    started_from: str | None = None
    notes: tuple[str, ...] = ()
    disparity: Disparity | None = None


class Manifest(Frozen):
    """The content of ``model.yaml``."""

    format: int
    classes: Classes
    normalisation: NormalisationRecord
    fields: tuple[FieldRecord, ...]
    levels: tuple[tuple[FieldRecord, ...], ...]
    exact: bool
    pixel_size: PixelSizeRecord | None
    origin: Origin
    checksums: dict[str, str]
    reasons: dict[str, str] = pydantic.Field(default_factory=dict)
    fingerprint: Fingerprint | None = None


def read_manifest(path: Path, kind: type[Read], latest: int) -> Read:
    """A manifest of the format that this Overtile reads.

    Raises
    ------
    ModelError
        It is of another format, foreign or damaged.
    """
    folder, text = path.parent, path.read_text(errors="replace")
    try:
        found = yaml.safe_load(text)
        version = found.get("format") if isinstance(found, dict) else None
        if isinstance(version, int) and version > latest:
            raise ModelError(
                f"{folder} has model format {version}, and this Overtile reads {latest}: "
                "install a newer Overtile."
            )
        if isinstance(version, int) and version < latest:
            raise ModelError(
                f"{folder} has model format {version}, and this Overtile reads {latest}: train "
                "again, or install the Overtile that wrote it."
            )
        return from_yaml(kind, text, path.name)
    except (yaml.YAMLError, SettingsError) as error:
        raise ModelError(f"{folder} is not an Overtile model, or is damaged: {error}") from error
