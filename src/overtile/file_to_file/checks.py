"""What is refused before any work, and what a prediction needs of memory and disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from overtile import vectors
from overtile.errors import FormatError, OutputError, SettingsError, optional
from overtile.file_to_file.options import Content, PredictOptions
from overtile.io import Format, check_label
from overtile.journal import Journal
from overtile.model.ensemble import normalisations
from overtile.planes import Planes
from overtile.prediction import Predictor
from overtile.tileplan import mebibytes
from overtile.vectors import Form

OVERHEAD_BYTES = 128 * 2**20
"""For what no model of tiles accounts for: threads, allocators, decoded strips of a TIFF."""

PIXEL_BYTES = {"classes": 1, "probabilities": 4, "objects": 4}
"""Of a pixel of each content, for each channel."""

TRACED_PIXEL_BYTES = 48
"""Of a plane whose outlines are traced: its values, the numbers of its regions, its edges."""


def check_format(output: Path, form: Format | Form, content: Content, planes: int) -> None:
    """Refuse what could not be written when all is done.

    Raises
    ------
    FormatError
        The format is only read, or cannot hold this.
    MissingError
        Its library is not installed.
    """
    if isinstance(form, Form):
        vectors.check_content(output, content)
        return
    check_label(output, content)
    if form.folder:
        optional("zarr", "zarr")
    if form.write is None and form.filling is None:
        raise FormatError(
            f"{output} would be a {form.name}, which Overtile only reads, because it changes "
            "values or holds less than others: use .tif, .png or .zarr."
        )
    if not form.stacks and (content != "classes" or planes > 1):
        raise FormatError(
            f"{output}: a {form.name} holds the class ids of one plane, and this would be "
            f"{content} in {planes} plane{'s' * (planes != 1)} (slices, times or channels): use "
            ".tif or .zarr."
        )


def check_executor(options: PredictOptions, predictor: Predictor, pixels: Path) -> None:
    """Refuse what other processes cannot compute, or write to `pixels`.

    Raises
    ------
    SettingsError
        The model has no folder, the store would be shared by machines, or tiles are blended.
    """
    if not predictor.is_exact and (options.workers or options.cluster or options.resume):
        raise SettingsError(
            "Tiles that are blended depend on each other: no cluster computes them, and a "
            "prediction that was killed starts anew."
        )
    if not (options.workers or options.cluster):
        return
    if predictor.folder is None:
        raise SettingsError("Workers load the model from its folder: save it first.")
    if options.cluster and pixels.suffix != ".zarr":
        raise SettingsError(
            "The workers of a cluster write chunks of an OME-Zarr, which no two of them share: "
            "name the output .zarr (class ids or probabilities), or use --workers."
        )


def check_begun(journal: Journal, options: PredictOptions) -> None:
    """Refuse to resume nothing, or to start over without being told to.

    Raises
    ------
    OutputError
        Either of them.
    """
    if options.resume and not journal.exists():
        raise OutputError(
            f"There is nothing to resume: {journal.folder} does not hold a prediction that was "
            "begun. Start it without --resume."
        )
    if journal.exists() and not options.resume and not options.overwrite:
        raise OutputError(
            f"{journal.folder} holds a prediction that did not come to its end: go on with it "
            "(--resume), or start anew (--overwrite)."
        )


@dataclass(frozen=True)
class Needs:
    """What a prediction needs whatever the tiles.

    Attributes
    ----------
    memory, disk
        Bytes, before compression.
    notes
        Sentences that say what for.
    """

    memory: int
    disk: int
    notes: tuple[str, ...]


def count_needs(
    predictor: Predictor,
    planes: Planes,
    form: Format | Form,
    content: Content,
    shape: tuple[int, ...],
    staged: tuple[int, ...],
) -> Needs:
    """The memory beside tiles, and the disk, for a result of this shape, from what is staged."""
    memory, notes = OVERHEAD_BYTES, []
    if not planes.image.by_window:
        data = planes.image.data
        size = math.prod(data.shape) * data.dtype.itemsize
        memory += size
        notes.append(f"The image cannot be read by window: its pixels take {mebibytes(size)}.")
    if any(one.scheme == "per-image" for one in normalisations(predictor.model)[0]):
        notes.append("Its own mean and deviation are measured first: every pixel is read twice.")
    result = math.prod(shape) * PIXEL_BYTES[content]
    if isinstance(form, Form):
        traced = math.prod(planes.shape[-2:]) * TRACED_PIXEL_BYTES
        memory += traced
        notes.append(f"Outlines are traced in whole planes: that takes {mebibytes(traced)}.")
    elif not form.stacks:
        memory += result
        notes.append(
            f"A {form.name} cannot be written by window: its pixels take {mebibytes(result)} at "
            "the end."
        )
    if not predictor.is_exact:
        classes = predictor.model.settings.network.classes
        plane = math.prod(planes.shape) * 4 * (2 * classes + 1)
        memory += plane
        notes.append(f"Blended tiles of a plane are held in memory: {mebibytes(plane)}.")
    # Once more where it is converted at the end, and for the foreground of objects.
    filled = isinstance(form, Format) and form.filling is not None
    disk = (1 if filled else 2) * result
    disk += math.prod(staged) * PIXEL_BYTES["probabilities"] if content == "objects" else 0
    notes.append(f"Up to {mebibytes(disk)} of disk are needed.")
    return Needs(memory, disk, tuple(notes))
