"""What `overtile predict` does around a segmenter."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

import overtile.model as storage
from overtile import io, segmenter, vectors
from overtile.cli.listing import list_jobs
from overtile.cli.show import note, pixel_progress, say
from overtile.engines.choice import Name
from overtile.errors import OutputError, SettingsError
from overtile.file_to_file import FilePrediction, PredictOptions, Told
from overtile.image import Image, Sliceable
from overtile.journal import Journal
from overtile.pictures import overlay as draw
from overtile.planes import Plane, Planes
from overtile.segmenter import Segmenter
from overtile.settings import Precision
from overtile.text import shown

OVERLAY_PX = 4096
"""Longest side of an overlay: a picture to look at; larger images are thinned out for it."""

COMPARED_PX = 1024
"""Side of the part of an image in which two tilings are compared."""

UNITS = {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
UNITS |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_memory(text: str | None) -> int | None:
    """Bytes of "2GiB", "500 MB", or of a plain number.

    Raises
    ------
    SettingsError
        Not a size.
    """
    if text is None:
        return None
    number = text.strip().rstrip("BKMGTibkmgt ")
    unit = text.strip()[len(number) :].strip().upper() or "B"
    try:
        size = float(number) * UNITS[unit]
    except (ValueError, KeyError) as error:
        raise SettingsError(f"--memory {text}: expected a size such as 2GiB or 500MB.") from error
    if size < 1:
        raise SettingsError(f"--memory {text}: expected more than nothing.")
    return int(size)


def load_for(
    model: Path,
    images: Path,
    output: Path,
    options: PredictOptions,
    engine: Name | None,
    precision: Precision | None,
    threads: int | None,
    *,
    suffix: str | None,
    inexact: bool,
    prune: int | None,
    turns: bool | None,
) -> Segmenter:
    """The segmenter that is asked for; to resume, with the engine with which it was begun."""
    journals = []
    if options.resume:
        channels = storage.load(model).settings.network.channels
        jobs = list_jobs(images, output, suffix, channels)
        journals = [Journal(target) for _, target in jobs.todo(resume=True)]
    begun = next((journal.read() for journal in journals if journal.exists()), None)
    if begun is not None:
        engine, precision = engine or cast(Name, begun.engine), precision or begun.precision
        threads = threads or (None if options.workers else begun.threads)
        turns = begun.turns > 1 if turns is None else turns
    loaded = segmenter.load(
        model,
        engine=engine or "auto",
        precision=precision or "auto",
        threads=threads,
        inexact=inexact,
        prune=prune,
        turns=turns,
    )
    averaged = loaded.predictor.engine.turns
    if turns is None and averaged > 1:
        note(
            f"The mean over {averaged} flips and turns, as the model's settings say: "
            f"--no-turns computes 1/{averaged} as much."
        )
    return loaded


def run_prediction(
    model: Segmenter,
    images: Path,
    output: Path,
    options: PredictOptions,
    overlay: Path | None,
    *,
    suffix: str | None,
    measurements: bool,
    explain: bool,
) -> None:
    """Predict each file into its output; all are checked before the first is begun."""
    if overlay is not None and overlay.is_file():
        raise OutputError(f"{overlay} is a file: expected a folder for the overlays.")
    runs = []
    jobs = list_jobs(images, output, suffix, model.model.settings.network.channels)
    if jobs.aside:
        note(f"Left aside, because they are labels of others: {shown(jobs.aside)}.")
    for source, target in jobs.todo(resume=options.resume):
        # Beside the output; of one among the labels of a Zarr, beside that.
        table = io.file_of(target).with_name(f"{io.stem_of(target)}.csv")
        one = replace(options, measurements=table if measurements else None)
        if options.resume and source != images:  # of a folder, some files were never begun
            one = replace(one, resume=Journal(target).exists())
        runs.append(model.prepare_file(source, target, one))
    if explain:
        for run in runs:
            _explain(model, run)
    with model.computing(options) as client, pixel_progress() as told:
        before, whole = 0, sum(run.pixels for run in runs)
        for run in runs:
            try:
                run.run(partial(_tell_all, told, before, whole), client)
            except KeyboardInterrupt:
                note(f"Finished tiles are kept in {run.journal.folder}: --resume goes on.")
                raise
            before += run.pixels
            if overlay is not None:
                _draw_overlays(model, run, overlay / jobs.place(run.output))
    if runs and not model.predictor.is_exact:
        note(f"Tiles were blended. {describe_mismatch(model, runs[0].planes[0])}")
    say(f"{options.content} of {len(runs)} file{'s' * (len(runs) != 1)} in {output}")


def _tell_all(told: Told, before: int, whole: int, done: int, _: int) -> None:
    """Pass on how far one of several files is."""
    told(before + done, whole)


def describe_mismatch(model: Segmenter, plane: Plane) -> str:
    """A sentence on two tilings of a plane, or of its middle where it is large."""
    middle = tuple(
        slice(max(0, (size - COMPARED_PX) // 2), max(0, (size - COMPARED_PX) // 2) + COMPARED_PX)
        for size in plane.shape[1:]
    )
    part = plane[
        (
            slice(None),
            *[slice(m.start, min(m.stop, s)) for m, s in zip(middle, plane.shape[1:], strict=True)],
        )
    ]
    found = model.predictor.mismatch(part)
    size = " x ".join(map(str, part.shape[1:]))
    return (
        f"Two tilings of {size} px differ by {found.largest:.2g} at most and {found.mean:.2g} on "
        f"average in probability; {found.flipped:.3%} of the pixels change their class."
    )


def _explain(model: Segmenter, run: FilePrediction) -> None:
    engine = model.predictor.engine
    say(f"{run.source} -> {run.output}")
    say(f"  {engine.name}, {engine.precision}, {engine.threads} threads.")
    for reason in (*model.reasons, *run.plan.reasons, *run.notes):
        say(f"  {reason}")


def _draw_overlays(model: Segmenter, run: FilePrediction, folder: Path) -> None:
    """One picture for each plane: outlines on the image."""
    folder.mkdir(parents=True, exist_ok=True)
    content = run.options.content
    data: Sliceable
    if isinstance(run.result.form, vectors.Form):
        legend = model.legend if content == "classes" else None
        data = vectors.redraw(run.output, run.image, legend).data
    else:  # a .npy does not keep its axes; the run knows them
        opened = io.reopen if run.is_filled else _open_label
        data = opened(run.output)
    results = Planes(Image(data, run.result.axes))
    images = Planes(run.image)
    for number in range(len(images)):
        image, result = (_thinned(planes[number]) for planes in (images, results))
        values = _shown_ids(model, result, content) if content != "objects" else result[0]
        legend = model.legend.pictured
        tinted = content != "objects" and len(legend.names) > 2
        picture = draw(image, values, legend=legend if tinted else None)
        name = io.stem_of(run.source) + (f"_{number}" if len(images) > 1 else "")
        io.write(
            folder / f"{name}.png",
            Image(np.moveaxis(picture, -1, 0), "cyx"),
            overwrite=run.options.overwrite,
        )


def _shown_ids(model: Segmenter, result: np.ndarray, content: str) -> np.ndarray:
    """The ids that a picture shows of a result (c y x): of classes or their probabilities."""
    overlap = model.model.classes.overlap
    if content == "probabilities":
        result = result > 0.5 if overlap else result.argmax(axis=0)[None]
    return model.legend.pictured_ids(result if overlap else result[0], overlap=overlap)


def _open_label(path: Path) -> Sliceable:
    return io.open(path, as_label=True).data


def _thinned(plane: Sliceable | Plane) -> np.ndarray:
    """A plane (c y x), every n-th pixel of it where it is larger than an overlay."""
    channels, height, width = plane.shape
    every = -(-max(height, width) // OVERLAY_PX)
    whole = slice(0, channels)
    bands = [
        plane[whole, slice(start, min(start + 64 * every, height)), slice(0, width)][
            :, ::every, ::every
        ]
        for start in range(0, height, 64 * every)
    ]
    return np.concatenate(bands, axis=1)
